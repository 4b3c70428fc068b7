//! Plain JSON of a value, for sinks without a richer type and for people: the edge of the data path, not the middle.

mod parse;

pub use parse::{encode_array, encode_text};

use std::fmt::Write as _;

use crate::array::{Array, Dimension, Elements};
use crate::civil::{put_date, put_time, put_timestamp};
use crate::error::Result;
use crate::value::Value;

/// Appends a value as JSON: numbers as numbers (decimals as strings, because readers would round them), JSON as it is,
/// everything else as text; NaN and the infinities as strings.
///
/// # Errors
/// [`crate::Kind::Corrupt`] when an array does not decode.
pub fn put_json(out: &mut String, value: Value<'_>) -> Result<()> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) if value.is_finite() => {
            let _ = write!(out, "{value:?}");
        }
        Value::Json(text) => out.push_str(text),
        Value::Array(array) => put_array(out, array)?,
        other => {
            let mut text = String::new();
            put_text(&mut text, other)?;
            put_string(out, &text);
        }
    }
    Ok(())
}

/// Appends a value as text: what a `TEXT` column would hold. Null and unchanged are empty.
///
/// # Errors
/// [`crate::Kind::Corrupt`] when an array does not decode.
pub fn put_text(out: &mut String, value: Value<'_>) -> Result<()> {
    match value {
        Value::Null | Value::Unchanged => {}
        Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => put_float(out, value),
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => out.push_str(text),
        Value::Bytes(bytes) => {
            out.push_str("\\x");
            bytes.iter().for_each(|byte| {
                let _ = write!(out, "{byte:02x}");
            });
        }
        Value::Uuid(bytes) => put_uuid(out, bytes),
        Value::Date(days) => put_date(out, days),
        Value::Time(micros) => put_time(out, micros),
        Value::Timestamp(micros) => put_timestamp(out, micros, ' ', ""),
        Value::TimestampTz(micros) => put_timestamp(out, micros, ' ', "+00:00"),
        Value::Array(array) => put_array(out, array)?,
    }
    Ok(())
}

fn put_float(out: &mut String, value: f64) {
    let _ = match value {
        value if value.is_nan() => write!(out, "NaN"),
        f64::INFINITY => write!(out, "Infinity"),
        f64::NEG_INFINITY => write!(out, "-Infinity"),
        value => write!(out, "{value:?}"),
    };
}

/// Appends a UUID in its usual form.
pub fn put_uuid(out: &mut String, bytes: [u8; 16]) {
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
}

fn put_array(out: &mut String, array: Array<'_>) -> Result<()> {
    let (dimensions, mut elements) = array.open()?;
    put_dimension(out, &dimensions, &mut elements)
}

fn put_dimension(out: &mut String, dimensions: &[Dimension], elements: &mut Elements<'_>) -> Result<()> {
    let Some((first, inner)) = dimensions.split_first() else {
        out.push_str("[]");
        return Ok(());
    };
    out.push('[');
    for at in 0..first.len {
        if at > 0 {
            out.push(',');
        }
        if inner.is_empty() {
            put_json(out, elements.next().transpose()?.unwrap_or(Value::Null))?;
        } else {
            put_dimension(out, inner, elements)?;
        }
    }
    out.push(']');
    Ok(())
}

/// Appends a JSON string with its quotes.
pub fn put_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", control as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
