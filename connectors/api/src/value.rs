//! One cell of a row, in about fifteen canonical kinds, so that N sources and M sinks need N + M mappings.
//!
//! A value is tagged with its kind in the bytes, so rows decode without a schema. What a tag cannot say (the width of
//! an integer, the precision of a decimal, the name of an enum) stands in the [`crate::Column`].

use crate::array::Array;
use crate::error::{Error, Result};
use crate::reader::{Reader, put_bytes, put_varint, put_zigzag};

/// One cell. Text, bytes and arrays borrow from the batch they are read from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// Not sent by the source because the update did not touch it (a TOAST value): the target keeps what it has.
    Unchanged,
    /// A boolean.
    Bool(bool),
    /// A signed integer of up to 64 bits.
    Int(i64),
    /// A binary float; NaN and the infinities included.
    Float(f64),
    /// A decimal of any size, as canonical text: digits, sign, point; also `NaN`, `Infinity`, `-Infinity`.
    Decimal(&'a str),
    /// Text; also every type without a kind of its own, with its type name in the column.
    Text(&'a str),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// A UUID, in network order.
    Uuid([u8; 16]),
    /// Days since 2000-01-01; [`DATE_INFINITY`] and [`DATE_MINUS_INFINITY`] are no dates.
    Date(i32),
    /// Microseconds since midnight; 24:00:00 is allowed.
    Time(i64),
    /// Microseconds since 2000-01-01 00:00:00 without a zone; see [`TIMESTAMP_INFINITY`].
    ///
    /// The epoch is 2000 and not 1970 because the last thirty years of the range that databases accept (to
    /// 294276) would overflow an `i64` of Unix microseconds.
    Timestamp(i64),
    /// Microseconds since 2000-01-01 00:00:00 UTC; see [`TIMESTAMP_INFINITY`].
    TimestampTz(i64),
    /// JSON text as the source wrote it.
    Json(&'a str),
    /// An array of values of one kind, of any number of dimensions.
    Array(Array<'a>),
}

/// `infinity` as a timestamp.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
/// `-infinity` as a timestamp.
pub const TIMESTAMP_MINUS_INFINITY: i64 = i64::MIN;
/// `infinity` as a date.
pub const DATE_INFINITY: i32 = i32::MAX;
/// `-infinity` as a date.
pub const DATE_MINUS_INFINITY: i32 = i32::MIN;

/// The canonical kind of a column. The numbers are bytes on disk: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ValueKind {
    /// [`Value::Bool`]
    Bool = 1,
    /// [`Value::Int`]
    Int = 2,
    /// [`Value::Float`]
    Float = 3,
    /// [`Value::Decimal`]
    Decimal = 4,
    /// [`Value::Text`]
    Text = 5,
    /// [`Value::Bytes`]
    Bytes = 6,
    /// [`Value::Uuid`]
    Uuid = 7,
    /// [`Value::Date`]
    Date = 8,
    /// [`Value::Time`]
    Time = 9,
    /// [`Value::Timestamp`]
    Timestamp = 10,
    /// [`Value::TimestampTz`]
    TimestampTz = 11,
    /// [`Value::Json`]
    Json = 12,
    /// [`Value::Array`]
    Array = 13,
}

impl ValueKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [ValueKind; 13] = [
        ValueKind::Bool,
        ValueKind::Int,
        ValueKind::Float,
        ValueKind::Decimal,
        ValueKind::Text,
        ValueKind::Bytes,
        ValueKind::Uuid,
        ValueKind::Date,
        ValueKind::Time,
        ValueKind::Timestamp,
        ValueKind::TimestampTz,
        ValueKind::Json,
        ValueKind::Array,
    ];

    /// The kind of a byte on disk.
    pub fn from_byte(byte: u8) -> Option<ValueKind> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// Lower-case name, for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueKind::Bool => "bool",
            ValueKind::Int => "int",
            ValueKind::Float => "float",
            ValueKind::Decimal => "decimal",
            ValueKind::Text => "text",
            ValueKind::Bytes => "bytes",
            ValueKind::Uuid => "uuid",
            ValueKind::Date => "date",
            ValueKind::Time => "time",
            ValueKind::Timestamp => "timestamp",
            ValueKind::TimestampTz => "timestamptz",
            ValueKind::Json => "json",
            ValueKind::Array => "array",
        }
    }
}

/// Tags of the encoding; FORMAT.md lists them. Never reuse one.
mod tag {
    pub const NULL: u8 = 0;
    pub const UNCHANGED: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const TRUE: u8 = 3;
    pub const INT: u8 = 4;
    pub const FLOAT: u8 = 5;
    pub const DECIMAL: u8 = 6;
    pub const TEXT: u8 = 7;
    pub const BYTES: u8 = 8;
    pub const UUID: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const TIMESTAMP: u8 = 12;
    pub const TIMESTAMPTZ: u8 = 13;
    pub const JSON: u8 = 14;
    pub const ARRAY: u8 = 15;
}

impl<'a> Value<'a> {
    /// Appends the tagged encoding.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Value::Null => out.push(tag::NULL),
            Value::Unchanged => out.push(tag::UNCHANGED),
            Value::Bool(value) => out.push(if value { tag::TRUE } else { tag::FALSE }),
            Value::Int(value) => {
                out.push(tag::INT);
                put_zigzag(out, value);
            }
            Value::Float(value) => put_fixed(out, tag::FLOAT, &value.to_le_bytes()),
            Value::Decimal(text) => put_tagged(out, tag::DECIMAL, text.as_bytes()),
            Value::Text(text) => put_tagged(out, tag::TEXT, text.as_bytes()),
            Value::Bytes(bytes) => put_tagged(out, tag::BYTES, bytes),
            Value::Uuid(bytes) => put_fixed(out, tag::UUID, &bytes),
            Value::Date(days) => {
                out.push(tag::DATE);
                put_zigzag(out, i64::from(days));
            }
            Value::Time(micros) => {
                out.push(tag::TIME);
                put_zigzag(out, micros);
            }
            Value::Timestamp(micros) => put_fixed(out, tag::TIMESTAMP, &micros.to_le_bytes()),
            Value::TimestampTz(micros) => put_fixed(out, tag::TIMESTAMPTZ, &micros.to_le_bytes()),
            Value::Json(text) => put_tagged(out, tag::JSON, text.as_bytes()),
            Value::Array(array) => {
                out.push(tag::ARRAY);
                put_bytes(out, array.as_bytes());
            }
        }
    }

    /// Reads a value that stands alone, as [`Value::encode`] wrote it.
    pub fn from_bytes(bytes: &'a [u8]) -> Value<'a> {
        Value::decode(&mut Reader::new(bytes))
    }

    /// Reads one tagged value; an unknown tag or bad UTF-8 makes the reader bad and gives [`Value::Null`].
    #[inline]
    pub fn decode(reader: &mut Reader<'a>) -> Value<'a> {
        match reader.u8() {
            tag::NULL => Value::Null,
            tag::UNCHANGED => Value::Unchanged,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::Int(reader.zigzag()),
            tag::FLOAT => Value::Float(f64::from_bits(reader.u64())),
            tag::DECIMAL => Value::Decimal(reader.text()),
            tag::TEXT => Value::Text(reader.text()),
            tag::BYTES => Value::Bytes(reader.bytes()),
            tag::UUID => Value::Uuid(reader.bytes16()),
            tag::DATE => match i32::try_from(reader.zigzag()) {
                Ok(days) => Value::Date(days),
                Err(_) => {
                    reader.poison();
                    Value::Null
                }
            },
            tag::TIME => Value::Time(reader.zigzag()),
            tag::TIMESTAMP => Value::Timestamp(reader.i64()),
            tag::TIMESTAMPTZ => Value::TimestampTz(reader.i64()),
            tag::JSON => Value::Json(reader.text()),
            tag::ARRAY => Value::Array(Array::from_bytes(reader.bytes())),
            _ => {
                reader.poison();
                Value::Null
            }
        }
    }

    /// The kind, or `None` for null and unchanged.
    pub fn kind(&self) -> Option<ValueKind> {
        Some(match self {
            Value::Null | Value::Unchanged => return None,
            Value::Bool(_) => ValueKind::Bool,
            Value::Int(_) => ValueKind::Int,
            Value::Float(_) => ValueKind::Float,
            Value::Decimal(_) => ValueKind::Decimal,
            Value::Text(_) => ValueKind::Text,
            Value::Bytes(_) => ValueKind::Bytes,
            Value::Uuid(_) => ValueKind::Uuid,
            Value::Date(_) => ValueKind::Date,
            Value::Time(_) => ValueKind::Time,
            Value::Timestamp(_) => ValueKind::Timestamp,
            Value::TimestampTz(_) => ValueKind::TimestampTz,
            Value::Json(_) => ValueKind::Json,
            Value::Array(_) => ValueKind::Array,
        })
    }

    /// True for [`Value::Unchanged`].
    #[inline]
    pub fn is_unchanged(&self) -> bool {
        matches!(self, Value::Unchanged)
    }
}

#[inline]
fn put_fixed(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

#[inline]
fn put_tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_bytes(out, bytes);
}

/// The values of one row (or of one key), in column order, as encoded bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    bytes: &'a [u8],
}

impl<'a> Row<'a> {
    /// A view over an encoded row: a varint count and that many tagged values.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Row { bytes }
    }

    /// The encoded row.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many values the row claims to hold. No more than one per byte is believed (I12).
    pub fn len(&self) -> usize {
        let count = Reader::new(self.bytes).varint();
        usize::try_from(count).unwrap_or(usize::MAX).min(self.bytes.len())
    }

    /// True for a row without columns.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values in order. The iterator ends after the first value that does not decode, with an error.
    #[inline]
    pub fn values(&self) -> Values<'a> {
        let mut reader = Reader::new(self.bytes);
        let left = reader.varint();
        Values { reader, left }
    }

    /// All values decoded; for tests, errors and small rows, not for the hot path.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`] when a value does not decode.
    pub fn to_vec(&self) -> Result<Vec<Value<'a>>> {
        self.values().collect()
    }
}

/// Iterator over the values of a [`Row`].
#[derive(Debug, Clone)]
pub struct Values<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Value<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return if self.reader.is_bad() {
                self.reader = Reader::new(&[]);
                Some(Err(Error::corrupt("decode row: truncated or malformed")))
            } else {
                None
            };
        }
        self.left -= 1;
        let value = Value::decode(&mut self.reader);
        if self.reader.is_bad() {
            self.left = 0;
            self.reader = Reader::new(&[]);
            return Some(Err(Error::corrupt("decode row: truncated or malformed")));
        }
        Some(Ok(value))
    }
}

/// Appends a row: the count and the values.
pub fn put_row<'v>(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = Value<'v>>) {
    put_varint(out, values.len() as u64);
    for value in values {
        value.encode(out);
    }
}
