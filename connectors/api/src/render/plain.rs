//! Plain JSON: the row after the change, with the operation beside it.

use std::io::Write as _;

use serde::de::IgnoredAny;

use crate::change::Before;
use crate::error::Result;
use crate::json;
use crate::render::{Event, Object, put_text};
use crate::value::{Row, Value};

/// Adds the members `op`, `key`, `row` (the columns that the change sets) and `before` (when the source sent the whole
/// old row) to an object.
///
/// # Errors
/// [`crate::Kind::Corrupt`] when a row does not decode.
pub fn put_change(object: &mut Object<'_>, event: &Event<'_>) -> Result<()> {
    let change = event.change;
    object.text("op", event.op().letter());
    if let Some(key) = change.key() {
        put_key(object.member("key"), event, key)?;
    }
    if let Some(after) = change.after {
        put_row(object.member("row"), event, after)?;
    }
    if let Some(Before::Full(before)) = change.before {
        put_row(object.member("before"), event, before)?;
    }
    Ok(())
}

fn put_key(out: &mut Vec<u8>, event: &Event<'_>, key: Row<'_>) -> Result<()> {
    let mut object = Object::begin(out);
    event.view.key(key, |name, value| put_value(object.member(name), value))?;
    object.end();
    Ok(())
}

fn put_row(out: &mut Vec<u8>, event: &Event<'_>, row: Row<'_>) -> Result<()> {
    let mut object = Object::begin(out);
    event.view.row(row, |name, value| match value {
        Value::Unchanged => Ok(()),
        value => put_value(object.member(name), value),
    })?;
    object.end();
    Ok(())
}

/// Appends a value: numbers as numbers, decimals as strings, JSON as it is, everything else as text.
///
/// # Errors
/// [`crate::Kind::Corrupt`] when an array does not decode.
pub fn put_value(out: &mut Vec<u8>, value: Value<'_>) -> Result<()> {
    match value {
        Value::Null | Value::Unchanged => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Int(value) => drop(write!(out, "{value}")),
        Value::Text(text) | Value::Decimal(text) => put_text(out, text),
        Value::Float(value) if value.is_finite() => put_float(out, value),
        Value::Json(text) => put_json(out, text),
        Value::Array(_) => {
            let mut text = String::new();
            json::put_json(&mut text, value)?;
            put_json(out, &text);
        }
        other => {
            let mut text = String::new();
            json::put_text(&mut text, other)?;
            put_text(out, &text);
        }
    }
    Ok(())
}

/// Appends a finite number.
pub(super) fn put_float(out: &mut Vec<u8>, value: f64) {
    // A number always serializes, and a vector takes everything.
    let _ = serde_json::to_writer(out, &value);
}

/// Appends JSON text in one line, digits and order of members as they are. A column holds whatever its source
/// accepted: what this program cannot parse is shown as text.
fn put_json(out: &mut Vec<u8>, text: &str) {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return put_text(out, text);
    }
    let (mut inside, mut escaped) = (false, false);
    out.extend(text.bytes().filter(|byte| {
        let space = !inside && matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        if *byte == b'"' && !escaped {
            inside = !inside;
        }
        escaped = inside && *byte == b'\\' && !escaped;
        !space
    }));
}
