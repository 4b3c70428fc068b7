//! The rows of one change, decoded: what is known of the old and of the new one, column by column.

use connector_api::record::Attributes;
use connector_api::{Before, Change, Error, Result, Row, Value};

/// Room for the values of a row, kept from change to change.
#[derive(Debug, Default)]
pub(super) struct Room(Vec<Value<'static>>);

impl Room {
    /// An empty list with the room.
    pub(super) fn take<'a>(&mut self) -> Vec<Value<'a>> {
        std::mem::take(&mut self.0)
    }

    /// Gives the room back. The list is empty when it changes its lifetime, so that its memory is all that remains.
    pub(super) fn give(&mut self, mut values: Vec<Value<'_>>) {
        values.clear();
        self.0 = values.into_iter().map(|_| Value::Null).collect();
    }
}

/// What is known of the row before and after a change. What is not known is unchanged.
#[derive(Debug)]
pub(super) struct Images<'a> {
    /// The old row: all of it, or its key.
    pub(super) old: Vec<Value<'a>>,
    /// The source sent all of the old row.
    pub(super) whole: bool,
    /// The new row; values that the source left out are taken from the old one, if that is whole.
    pub(super) new: Vec<Value<'a>>,
    /// Which values of the new row the source left out; empty when none.
    pub(super) left_out: Vec<bool>,
    /// The source changed the key.
    pub(super) moved: bool,
}

impl<'a> Images<'a> {
    /// Decodes a change of a row.
    pub(super) fn of(change: &Change<'a>, old: &mut Room, new: &mut Room) -> Result<Self> {
        let (old, new) = (old.take(), new.take());
        let mut images = Images { old, whole: false, new, left_out: Vec::new(), moved: false };
        let width = change.schema.columns.len();
        if let Some(after) = change.after {
            decode(after, &mut images.new, width)?;
        }
        match change.before {
            Some(Before::Full(row)) => {
                decode(row, &mut images.old, width)?;
                images.whole = true;
            }
            Some(Before::Key(key)) => put_key(change, key, &mut images.old)?,
            // Before an update that says nothing of the old row, its key was the same.
            None => {
                if let Some(key) = change.key() {
                    put_key(change, key, &mut images.old)?;
                }
            }
        }
        if change.record.attributes.has(Attributes::PARTIAL) {
            images.left_out = images.new.iter().map(Value::is_unchanged).collect();
            images.complete(change)?;
        }
        images.moved = !images.new.is_empty() && images.key_changed(change);
        Ok(images)
    }

    /// Fills in what the source left out, as far as it is known.
    fn complete(&mut self, change: &Change<'a>) -> Result<()> {
        if self.whole {
            for (new, old) in self.new.iter_mut().zip(&self.old) {
                if new.is_unchanged() {
                    *new = *old;
                }
            }
        }
        // The record's own key is always complete.
        if let Some(key) = change.key() {
            for (at, value) in change.schema.key.iter().zip(key.values()) {
                if let Some(new) = self.new.get_mut(*at) {
                    *new = value?;
                }
            }
        }
        Ok(())
    }

    fn key_changed(&self, change: &Change<'_>) -> bool {
        let differs = |at: &usize| match (self.old.get(*at), self.new.get(*at)) {
            (Some(old), Some(new)) => !same(old, new),
            _ => false,
        };
        change.before.is_some() && change.schema.key.iter().any(differs)
    }

    /// Gives the room back.
    pub(super) fn give(self, old: &mut Room, new: &mut Room) {
        old.give(self.old);
        new.give(self.new);
    }
}

/// Equal as the log has it: NaN is itself.
fn same(one: &Value<'_>, two: &Value<'_>) -> bool {
    match (one, two) {
        (Value::Float(one), Value::Float(two)) => one.to_bits() == two.to_bits(),
        (one, two) => one == two,
    }
}

fn decode<'a>(row: Row<'a>, into: &mut Vec<Value<'a>>, width: usize) -> Result<()> {
    for value in row.values() {
        into.push(value?);
    }
    if into.len() != width {
        return Err(Error::corrupt(format!(
            "decode row: {} values, and the shape has {width} columns",
            into.len()
        )));
    }
    Ok(())
}

fn put_key<'a>(change: &Change<'a>, key: Row<'a>, into: &mut Vec<Value<'a>>) -> Result<()> {
    into.resize(change.schema.columns.len(), Value::Unchanged);
    for (at, value) in change.schema.key.iter().zip(key.values()) {
        if let Some(place) = into.get_mut(*at) {
            *place = value?;
        }
    }
    Ok(())
}
