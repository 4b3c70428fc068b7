//! A subject's key as text that is the same whatever type a system keeps it in.

use connector_api::json::put_text;
use connector_api::{Error, Result, Value};

/// Whole numbers up to here are exact as floats.
const FLOAT_EXACT: f64 = 9_007_199_254_740_992.0;
/// Where a UUID in text has its hyphens.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The canonical text of a subject's key: `7` for the number, the decimal `7.00` and the text `7` alike; a UUID in lower
/// case, also one that is kept as text.
///
/// # Errors
/// [`connector_api::Kind::Data`] for null and unchanged, which are no keys, and for an array that does not decode.
pub fn key_text(value: Value<'_>) -> Result<String> {
    let mut text = String::new();
    match value {
        Value::Null | Value::Unchanged => {
            return Err(Error::data("read a subject's key: it is null or was not sent"));
        }
        Value::Decimal(digits) => text.push_str(&decimal(digits)),
        Value::Float(number) if number.fract() == 0.0 && number.abs() <= FLOAT_EXACT => {
            put_text(&mut text, Value::Int(number as i64))?;
        }
        Value::Text(kept) if is_uuid(kept) => text.push_str(&kept.to_ascii_lowercase()),
        other => put_text(&mut text, other)?,
    }
    Ok(text)
}

/// Without zeros that say nothing. `NaN` and the infinities stay.
fn decimal(digits: &str) -> String {
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+')) {
        return digits.to_owned();
    }
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    match (whole, part) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, part) => format!("{sign}{whole}.{part}"),
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, byte)| if HYPHENS.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}
