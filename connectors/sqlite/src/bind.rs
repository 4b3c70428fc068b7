//! A [`Value`] as SQLite stores it.
//!
//! | kind | stored as |
//! | --- | --- |
//! | bool | integer 0 or 1 |
//! | int | integer |
//! | float | real, infinities included; NaN as the text `NaN`, because SQLite would make it NULL |
//! | decimal | text: SQLite's NUMERIC keeps 15 digits and drops trailing zeros |
//! | text, json | text |
//! | bytes | blob |
//! | uuid | text, lower case with hyphens |
//! | date, time, timestamp | ISO text, `2026-11-23 09:30:00.5` |
//! | timestamptz | the same in UTC, ending in `+00:00` |
//! | array | JSON text |
//!
//! What SQLite keeps less of than a source may have: the sign of a zero float, the bits of a NaN, the lower bounds of an
//! array (they come back as 1), and the dimensions of an array of JSON (one). [`crate::read`] is the way back.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::json::put_text;
use connector_api::{Error, Result, Row, Value};
use rusqlite::types::Value as Stored;

use crate::error::Failure;
use crate::sql::ShapeColumn;
use crate::statement::Binder;

/// Binds one value. What has no form of its own in SQLite is written into `slot`, whose memory is used again for the
/// next row.
#[inline]
pub fn value<'v>(binder: &mut Binder<'v>, value: Value<'v>, slot: &'v mut String) -> Result<(), Failure> {
    match value {
        Value::Null => binder.null(),
        Value::Int(int) => binder.int(int),
        Value::Bool(bool) => binder.int(i64::from(bool)),
        Value::Float(float) if float.is_nan() => binder.text("NaN"),
        Value::Float(float) => binder.float(float),
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => binder.text(text),
        Value::Bytes(bytes) => binder.blob(bytes),
        Value::Unchanged => {
            Err(Error::data("bind row: a value that the source left out is needed here").into())
        }
        formatted => {
            slot.clear();
            put_text(slot, formatted)?;
            binder.text(slot)
        }
    }
}

/// The same for a statement that gives rows back, where a copy does not matter.
pub fn stored(value: Value<'_>) -> Result<Stored> {
    Ok(match value {
        Value::Null | Value::Unchanged => Stored::Null,
        Value::Int(int) => Stored::Integer(int),
        Value::Bool(bool) => Stored::Integer(i64::from(bool)),
        Value::Float(float) if !float.is_nan() => Stored::Real(float),
        Value::Bytes(bytes) => Stored::Blob(bytes.to_vec()),
        formatted => {
            let mut text = String::new();
            put_text(&mut text, formatted)?;
            Stored::Text(text)
        }
    })
}

/// Binds the `wanted` columns of a row, which are in source order. `slots` is at least as long.
#[inline]
pub fn row<'v, 'w>(
    binder: &mut Binder<'v>,
    row: Row<'v>,
    wanted: impl Iterator<Item = &'w ShapeColumn>,
    slots: &'v mut [String],
) -> Result<(), Failure> {
    let mut values = row.values();
    let mut at = 0;
    let mut current = None;
    for (column, slot) in wanted.zip(slots) {
        // A source column may feed several target columns.
        while at <= column.source {
            current = Some(values.next().ok_or_else(short_row)??);
            at += 1;
        }
        let found = current.ok_or_else(short_row)?;
        if column.key && matches!(found, Value::Null) {
            return Err(null_key().into());
        }
        value(binder, found, slot)?;
    }
    Ok(())
}

/// Binds a key, in key order.
#[inline]
pub fn key<'v>(binder: &mut Binder<'v>, key: Row<'v>, slots: &'v mut [String]) -> Result<(), Failure> {
    for (found, slot) in key.values().zip(slots) {
        match found? {
            Value::Null => return Err(null_key().into()),
            found => value(binder, found, slot)?,
        }
    }
    Ok(())
}

/// Binds a key whose values were already taken out of a row.
pub fn values<'v>(
    binder: &mut Binder<'v>,
    key: &[Value<'v>],
    slots: &'v mut [String],
) -> Result<(), Failure> {
    for (found, slot) in key.iter().zip(slots) {
        value(binder, *found, slot)?;
    }
    Ok(())
}

#[cold]
fn short_row() -> Error {
    Error::corrupt("bind row: fewer values than its schema has columns")
}

/// SQLite would invent a number for a NULL in an INTEGER PRIMARY KEY, and take any number of NULLs in other keys.
#[cold]
fn null_key() -> Error {
    Error::data("bind row: a column of the key is NULL")
}
