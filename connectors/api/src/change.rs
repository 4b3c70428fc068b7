//! What a record of a table topic means: one change of one row.
//!
//! Layout of a record's value: `u8` operation, `u8` images (bits 0-1: 0 no before image, 1 the old key, 2 the whole old
//! row; bit 2: an after image follows), `u32` length of the before image (only when there is one), then the images as
//! rows. A delete of which only the key is known has no value at all: it is a plain tombstone.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::record::{Attributes, Record};
use crate::schema::Schema;
use crate::value::{Row, Value};

/// What happened to the row. The numbers are bytes on disk: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// A new row.
    Insert = 1,
    /// A changed row; its key may have changed too.
    Update = 2,
    /// The row is gone.
    Delete = 3,
    /// All rows of the table are gone.
    Truncate = 4,
    /// A row that an initial copy read: not an event, and idempotent.
    Read = 5,
}

impl Op {
    /// Debezium's letter: `c u d t r`.
    pub fn letter(self) -> &'static str {
        match self {
            Op::Insert => "c",
            Op::Update => "u",
            Op::Delete => "d",
            Op::Truncate => "t",
            Op::Read => "r",
        }
    }

    fn from_byte(byte: u8) -> Option<Op> {
        [Op::Insert, Op::Update, Op::Delete, Op::Truncate, Op::Read].into_iter().find(|op| *op as u8 == byte)
    }
}

/// How much of the old row the source sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before<'a> {
    /// The key columns only, in key order.
    Key(Row<'a>),
    /// Every column.
    Full(Row<'a>),
}

pub(crate) const BEFORE_KEY: u8 = 1;
pub(crate) const BEFORE_FULL: u8 = 2;
pub(crate) const AFTER: u8 = 4;

/// A view over one change.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The shape of its rows; shared, so that a sink may keep it and know it again by its address.
    pub schema: &'a Arc<Schema>,
    /// The record it was read from: offset, order, key.
    pub record: Record<'a>,
    /// What happened.
    pub op: Op,
    /// The old row, as far as the source sent it.
    pub before: Option<Before<'a>>,
    /// The new row; may hold [`Value::Unchanged`].
    pub after: Option<Row<'a>>,
}

impl<'a> Change<'a> {
    /// Reads a record of a table topic.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`] when the value does not decode.
    #[inline]
    pub fn decode(record: Record<'a>, schema: &'a Arc<Schema>) -> Result<Change<'a>> {
        if record.is_null() {
            return Ok(Change { schema, record, op: Op::Delete, before: None, after: None });
        }
        let corrupt = || Error::corrupt(format!("decode change at offset {}", record.offset));
        let mut reader = Reader::new(record.value);
        let op = Op::from_byte(reader.u8()).ok_or_else(corrupt)?;
        let images = reader.u8();
        let first = if images & 3 == 0 { 0 } else { reader.u32() as usize };
        let (first, second) = reader.rest().split_at_checked(first).ok_or_else(corrupt)?;
        let before = match images & 3 {
            0 => None,
            BEFORE_KEY => Some(Before::Key(Row::from_bytes(first))),
            BEFORE_FULL => Some(Before::Full(Row::from_bytes(first))),
            _ => return Err(corrupt()),
        };
        let after = (images & AFTER != 0).then(|| Row::from_bytes(second));
        if reader.is_bad() || images > 7 {
            return Err(corrupt());
        }
        Ok(Change { schema, record, op, before, after })
    }

    /// Appends a record's value, as [`Change::decode`] reads it.
    pub fn put(out: &mut Vec<u8>, op: Op, before: Option<Before<'_>>, after: Option<Row<'_>>) {
        let (bits, old) = match before {
            None => (0, None),
            Some(Before::Key(row)) => (BEFORE_KEY, Some(row)),
            Some(Before::Full(row)) => (BEFORE_FULL, Some(row)),
        };
        out.extend_from_slice(&[op as u8, bits | if after.is_some() { AFTER } else { 0 }]);
        if let Some(row) = old {
            out.extend_from_slice(&(row.as_bytes().len() as u32).to_le_bytes());
            out.extend_from_slice(row.as_bytes());
        }
        if let Some(row) = after {
            out.extend_from_slice(row.as_bytes());
        }
    }

    /// The values of the key of the row after the change (for a delete, of the row that is gone).
    #[inline]
    pub fn key(&self) -> Option<Row<'a>> {
        self.record.key.map(Row::from_bytes)
    }

    /// True for the second half of a key change: a tombstone that only compaction needs, because the update before it
    /// already moved the row.
    pub fn follows_move(&self) -> bool {
        self.record.attributes.has(Attributes::MOVED)
    }

    /// The key under which the row stood before this update, when the update changed it.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`] when the old image does not decode.
    pub fn old_key(&self) -> Result<Option<Vec<Value<'a>>>> {
        if self.op != Op::Update || self.schema.key.is_empty() {
            return Ok(None);
        }
        let old = match self.before {
            None => return Ok(None),
            Some(Before::Key(row)) => row.to_vec()?,
            Some(Before::Full(row)) => {
                let values = row.to_vec()?;
                let pick = |index: &usize| values.get(*index).copied();
                let picked: Option<Vec<_>> = self.schema.key.iter().map(pick).collect();
                picked.ok_or_else(|| {
                    Error::corrupt(format!("decode old key at offset {}", self.record.offset))
                })?
            }
        };
        let new = self.key().map(|row| row.to_vec()).transpose()?;
        Ok((new.as_ref() != Some(&old)).then_some(old))
    }
}
