//! Rows of text into changes: from the stream's tuples and from the lines of a COPY, by the same readings.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::catalog::Shape;
use crate::pgoutput::{Datum, Old, Tuple};
use crate::types::Reading;
use connector_api::{BatchBuilder, ChangeWriter, Error, Image, Op, Result, SectionHandle, Value};

/// A table's shape with what is remembered between its changes.
pub(crate) struct Plan {
    shape: Shape,
    section: SectionHandle,
    /// For each column, whether it is part of the key.
    keys: Vec<bool>,
    key_count: usize,
}

/// Buffers for values that cannot be borrowed from the text.
#[derive(Default)]
pub(crate) struct Scratch {
    value: Vec<u8>,
    field: Vec<u8>,
}

impl Plan {
    pub(crate) fn new(shape: Shape) -> Plan {
        let key = &shape.schema.key;
        let keys: Vec<_> = (0..shape.readings.len()).map(|at| key.contains(&at)).collect();
        Plan { section: SectionHandle::default(), key_count: key.len(), keys, shape }
    }

    #[inline]
    fn begin<'b>(&mut self, into: &'b mut BatchBuilder, op: Op) -> ChangeWriter<'b> {
        let section = into.section(&mut self.section, &self.shape.topic, &self.shape.schema);
        into.change(section, op)
    }

    #[inline]
    pub(crate) fn insert(
        &mut self,
        mut new: Tuple<'_>,
        into: &mut BatchBuilder,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let mut writer = self.begin(into, Op::Insert);
        self.row(&mut writer, Image::NewRow, &mut new, None, scratch)?;
        writer.finish()
    }

    pub(crate) fn update(
        &mut self,
        old: Option<Old<'_>>,
        mut new: Tuple<'_>,
        into: &mut BatchBuilder,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let mut writer = self.begin(into, Op::Update);
        let mut whole = None;
        match old {
            Some(Old::Key(mut tuple)) => self.key(&mut writer, &mut tuple, scratch)?,
            Some(Old::Full(mut tuple)) => {
                whole = Some(tuple.clone());
                self.row(&mut writer, Image::OldRow, &mut tuple, None, scratch)?;
            }
            None => {}
        }
        self.row(&mut writer, Image::NewRow, &mut new, whole, scratch)?;
        writer.finish()
    }

    pub(crate) fn delete(
        &mut self,
        old: Old<'_>,
        into: &mut BatchBuilder,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let mut writer = self.begin(into, Op::Delete);
        match old {
            Old::Key(mut tuple) => self.key(&mut writer, &mut tuple, scratch)?,
            Old::Full(mut tuple) => self.row(&mut writer, Image::OldRow, &mut tuple, None, scratch)?,
        }
        writer.finish()
    }

    pub(crate) fn truncate(&mut self, into: &mut BatchBuilder) -> Result<()> {
        self.begin(into, Op::Truncate).finish()
    }

    /// One line of a COPY in text format, without its line end.
    pub(crate) fn line(&mut self, line: &[u8], into: &mut BatchBuilder, scratch: &mut Scratch) -> Result<()> {
        let mut writer = self.begin(into, Op::Read);
        writer.image(Image::NewRow, self.shape.readings.len());
        let plain = memchr::memchr(b'\\', line).is_none();
        let mut rest = Some(line);
        for (at, reading) in self.shape.readings.iter().enumerate() {
            let Some(text) = rest else { return Err(self.miscounted()) };
            let field = match memchr::memchr(b'\t', text) {
                Some(end) => {
                    rest = text.get(end + 1..);
                    text.get(..end).unwrap_or_default()
                }
                None => {
                    rest = None;
                    text
                }
            };
            let value = if plain {
                self.read(at, reading, field, &mut scratch.value)?
            } else if field == b"\\N" {
                Value::Null
            } else {
                unescape(field, &mut scratch.field);
                self.read(at, reading, &scratch.field, &mut scratch.value)?
            };
            writer.push(value);
        }
        let none_left = rest.is_none() || (self.shape.readings.is_empty() && line.is_empty());
        if none_left { writer.finish() } else { Err(self.miscounted()) }
    }

    #[inline]
    fn read<'a>(
        &self,
        at: usize,
        reading: &Reading,
        text: &'a [u8],
        scratch: &'a mut Vec<u8>,
    ) -> Result<Value<'a>> {
        reading.read(text, scratch).map_err(|error| self.unreadable(at, error))
    }

    /// A whole row. What a new row leaves out (TOAST values that were not touched) is taken from the `whole` old one,
    /// where the source sent it.
    #[inline]
    fn row(
        &self,
        writer: &mut ChangeWriter<'_>,
        image: Image,
        tuple: &mut Tuple<'_>,
        mut whole: Option<Tuple<'_>>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        if tuple.columns() != self.shape.readings.len() {
            return Err(self.miscounted());
        }
        writer.image(image, self.shape.readings.len());
        for (at, reading) in self.shape.readings.iter().enumerate() {
            let mut datum = tuple.next();
            if let Some(old) = &mut whole {
                let before = old.next();
                if datum == Datum::Unchanged {
                    datum = before;
                }
            }
            let value = match datum {
                Datum::Text(text) => self.read(at, reading, text, &mut scratch.value)?,
                Datum::Null => Value::Null,
                Datum::Unchanged => Value::Unchanged,
            };
            writer.push(value);
        }
        if tuple.is_bad() { Err(crate::error::malformed("row")) } else { Ok(()) }
    }

    /// The key columns of an old row; the others are sent as null.
    fn key(&self, writer: &mut ChangeWriter<'_>, tuple: &mut Tuple<'_>, scratch: &mut Scratch) -> Result<()> {
        if tuple.columns() != self.shape.readings.len() {
            return Err(self.miscounted());
        }
        writer.image(Image::OldKey, self.key_count);
        for (at, (reading, key)) in self.shape.readings.iter().zip(&self.keys).enumerate() {
            match tuple.next() {
                _ if !key => {}
                Datum::Text(text) => writer.push(self.read(at, reading, text, &mut scratch.value)?),
                Datum::Null => writer.push(Value::Null),
                Datum::Unchanged => writer.push(Value::Unchanged),
            }
        }
        if tuple.is_bad() { Err(crate::error::malformed("row")) } else { Ok(()) }
    }

    #[cold]
    fn unreadable(&self, at: usize, error: Error) -> Error {
        let column = self.shape.schema.columns.get(at).map_or("", |column| column.name.as_str());
        error.within(format!("column {column} of {}", self.shape.topic))
    }

    #[cold]
    fn miscounted(&self) -> Error {
        Error::corrupt(format!(
            "decode row of {}: not {} columns",
            self.shape.topic,
            self.shape.readings.len()
        ))
    }
}

/// The escapes of COPY's text format.
pub(crate) fn unescape(field: &[u8], into: &mut Vec<u8>) {
    into.clear();
    let mut bytes = field.iter();
    while let Some(byte) = bytes.next() {
        into.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'v') => 11,
                Some(other) => *other,
                None => b'\\',
            },
            byte => *byte,
        });
    }
}

#[cfg(test)]
mod tests;
