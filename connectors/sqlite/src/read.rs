//! A value as SQLite gives it back, in the kind that its column has in the source: the way back from [`crate::bind`].

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::array::Array;
use connector_api::json::{encode_array, encode_text, put_text};
use connector_api::{Column, Result, Value, ValueKind};
use rusqlite::types::{Value as Stored, ValueRef};
use serde_json::{Number, Value as Json};

use crate::bind;

/// Appends a stored value, encoded. What does not read back as its kind was written by somebody else: it is given in another
/// kind, as text where it can be, so that it differs from whatever the source has.
pub fn encode(out: &mut Vec<u8>, column: &Column, stored: ValueRef<'_>) {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let sound = match (column.kind, stored) {
        (_, ValueRef::Null) => put(out, Value::Null),
        (ValueKind::Bool, ValueRef::Integer(value @ (0 | 1))) => put(out, Value::Bool(value == 1)),
        (ValueKind::Int, ValueRef::Integer(value)) => put(out, Value::Int(value)),
        (ValueKind::Float, ValueRef::Real(value)) => put(out, Value::Float(plain(value))),
        (ValueKind::Float, ValueRef::Text(b"NaN")) => put(out, Value::Float(f64::NAN)),
        (ValueKind::Bytes, ValueRef::Blob(bytes)) => put(out, Value::Bytes(bytes)),
        (ValueKind::Array, ValueRef::Text(bytes)) => text(bytes).is_some_and(|text| array(out, column, text)),
        (ValueKind::Bool | ValueKind::Int | ValueKind::Float | ValueKind::Bytes, _) => false,
        (kind, ValueRef::Text(bytes)) => text(bytes).is_some_and(|text| encode_text(out, kind, text)),
        _ => false,
    };
    if !sound {
        other(out, column.kind, stored);
    }
}

fn put(out: &mut Vec<u8>, value: Value<'_>) -> bool {
    value.encode(out);
    true
}

/// Zero has no sign in a column of floats, where SQLite stores it as an integer.
fn plain(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value }
}

fn array(out: &mut Vec<u8>, column: &Column, text: &str) -> bool {
    let mut bytes = Vec::new();
    let element = column.element.unwrap_or(ValueKind::Text);
    encode_array(&mut bytes, element, text) && put(out, Value::Array(Array::from_bytes(&bytes)))
}

#[cold]
fn other(out: &mut Vec<u8>, kind: ValueKind, stored: ValueRef<'_>) {
    let natural = match stored {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Real(value) => Value::Float(value),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text),
            Err(_) => Value::Bytes(bytes),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes),
    };
    let mut text = String::new();
    // As text it could equal a text of the source.
    if kind == ValueKind::Text || put_text(&mut text, natural).is_err() {
        return natural.encode(out);
    }
    Value::Text(&text).encode(out);
}

/// A stored value for people to read: bytes, and text that is not UTF-8, as `\x` and hexadecimal digits, numbers that JSON
/// does not have as text.
pub fn json(stored: ValueRef<'_>) -> Json {
    let text = |value| {
        let mut text = String::new();
        // Only an array can fail, and there is none.
        let _ = put_text(&mut text, value);
        Json::String(text)
    };
    match stored {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(int) => Json::from(int),
        ValueRef::Real(float) => {
            Number::from_f64(float).map_or_else(|| text(Value::Float(float)), Json::Number)
        }
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Json::String(text.to_owned()),
            Err(_) => text(Value::Bytes(bytes)),
        },
        ValueRef::Blob(bytes) => text(Value::Bytes(bytes)),
    }
}

/// Appends what is left of a value after SQLite has held it.
pub fn keep(out: &mut Vec<u8>, column: &Column, value: Value<'_>) -> Result<()> {
    match value {
        Value::Unchanged => value.encode(out),
        Value::Bool(_) | Value::Int(_) | Value::Text(_) | Value::Bytes(_)
            if value.kind() == Some(column.kind) =>
        {
            value.encode(out);
        }
        _ => {
            let stored: Stored = bind::stored(value)?;
            encode(out, column, ValueRef::from(&stored));
        }
    }
    Ok(())
}
