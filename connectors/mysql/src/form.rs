//! How a column of the target keeps values, known from its declared type, and how values are written for it.
//!
//! The rule of this file: what a column cannot keep is refused ([`connector_api::Kind::Data`]), never rounded, cut or made
//! NULL. MySQL itself rounds fractions and cuts blanks without an error even in its strict mode, so those are checked here.
//! `docs/MYSQL.md` has the table.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::fmt::Write as _;

use connector_api::civil::{MICROS_PER_DAY, days_from_civil, put_date, put_time, put_timestamp};
use connector_api::json::put_text as put_plain;
use connector_api::{Error, Result, Value, ValueKind};

use crate::sql::{put_bytes, put_text};

/// How a column keeps values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An integer type, of so many bytes.
    Integer {
        /// 1 to 8.
        bytes: u8,
        /// Without a sign.
        unsigned: bool,
    },
    /// `bit(n)`.
    Bit,
    /// `decimal(precision, scale)`.
    Decimal {
        /// Digits.
        precision: u32,
        /// Digits behind the point.
        scale: u32,
    },
    /// `double`.
    Double,
    /// `float`.
    Single,
    /// `char`, `varchar` and the `text` types: at most so many characters, at most so many bytes.
    Text {
        /// Most characters.
        chars: u64,
        /// Most bytes.
        bytes: u64,
    },
    /// `binary`, `varbinary` and the `blob` types.
    Bytes {
        /// Most bytes; all values of `binary` have this length.
        len: u64,
        /// `binary`, which pads.
        fixed: bool,
    },
    /// `date`.
    Date,
    /// `time` with so many digits of a second.
    Time(u32),
    /// `datetime` or `timestamp` with so many digits of a second.
    DateTime(u32),
    /// MySQL's own `json`, which keeps the meaning of a document and not its text.
    Json,
    /// MariaDB's `uuid`.
    Uuid,
    /// `enum`, `set`, `inet6`, and what else takes text.
    Other,
}

impl Form {
    /// Whether values of a kind can be kept as what they are.
    pub fn takes(self, kind: ValueKind) -> bool {
        use ValueKind as Kind;
        match self {
            Form::Text { .. } => kind != Kind::Bytes,
            Form::Integer { .. } => matches!(kind, Kind::Int | Kind::Bool),
            Form::Bit => kind == Kind::Bool,
            Form::Decimal { .. } => matches!(kind, Kind::Decimal | Kind::Int | Kind::Bool),
            Form::Double | Form::Single => kind == Kind::Float,
            Form::Bytes { len, fixed } => {
                matches!(kind, Kind::Bytes | Kind::Text) || (kind == Kind::Uuid && len == 16 && fixed)
            }
            Form::Date => kind == Kind::Date,
            Form::Time(_) => kind == Kind::Time,
            Form::DateTime(_) => matches!(kind, Kind::Timestamp | Kind::TimestampTz | Kind::Date),
            Form::Json => matches!(kind, Kind::Json | Kind::Array),
            Form::Uuid => kind == Kind::Uuid,
            Form::Other => kind == Kind::Text,
        }
    }

    /// Whether a column of this form has room for all that one of the form `wanted` has.
    pub fn covers(self, wanted: Form) -> bool {
        match (self, wanted) {
            (Form::Integer { bytes, unsigned: false }, Form::Integer { bytes: wanted, .. }) => {
                bytes >= wanted
            }
            (Form::Integer { unsigned: true, .. }, Form::Integer { .. }) => false,
            (Form::Decimal { precision, scale }, Form::Decimal { precision: digits, scale: fraction }) => {
                scale >= fraction && precision.saturating_sub(scale) >= digits.saturating_sub(fraction)
            }
            (Form::Decimal { precision, scale }, Form::Integer { .. }) => {
                precision.saturating_sub(scale) >= 19
            }
            (Form::Decimal { .. } | Form::Single, Form::Text { .. } | Form::Double) => false,
            (Form::Text { bytes, .. }, Form::Text { bytes: wanted, .. }) => bytes >= wanted,
            (Form::Bytes { len, .. }, Form::Bytes { len: wanted, .. }) => len >= wanted,
            (Form::Time(digits) | Form::DateTime(digits), Form::Time(_) | Form::DateTime(_)) => digits == 6,
            _ => true,
        }
    }

    /// Appends the literal of a value.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] when the column cannot keep it.
    #[inline]
    pub fn put(self, out: &mut String, value: Value<'_>) -> Result<()> {
        match (self, value) {
            (_, Value::Null) => out.push_str("NULL"),
            (_, Value::Unchanged) => return Err(left_out()),
            (Form::Integer { .. } | Form::Decimal { .. }, Value::Int(int)) => put_int(out, int),
            (Form::Integer { .. } | Form::Decimal { .. }, Value::Bool(bool)) => {
                out.push(if bool { '1' } else { '0' })
            }
            (Form::Bit, Value::Bool(bool)) => out.push_str(if bool { "b'1'" } else { "b'0'" }),
            (Form::Decimal { precision, scale }, Value::Decimal(text)) => {
                put_decimal(out, text, precision, scale)?
            }
            (Form::Double | Form::Single, Value::Float(float)) => put_float(out, float, self)?,
            (Form::Text { chars, bytes }, value) => put_as_text(out, value, chars, bytes)?,
            (Form::Bytes { len, fixed }, value) => put_as_bytes(out, value, len, fixed)?,
            (Form::Date | Form::DateTime(_) | Form::Time(_), value) => put_moment(out, self, value)?,
            (Form::Json | Form::Uuid | Form::Other, value) => put_as_text(out, value, u64::MAX, u64::MAX)?,
            (Form::Integer { .. } | Form::Bit | Form::Decimal { .. } | Form::Double | Form::Single, _) => {
                return Err(refuse("its kind does not go into the column's type"));
            }
        }
        Ok(())
    }
}

/// What the column cannot keep. The value itself is not shown.
#[cold]
fn refuse(why: &str) -> Error {
    Error::data(format!("the column cannot keep the value: {why}"))
}

#[cold]
fn left_out() -> Error {
    Error::data("a value that the source left out is needed here")
}

fn put_int(out: &mut String, int: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = int.unsigned_abs();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if int < 0 {
        out.push('-');
    }
    out.extend(digits.get(at..).unwrap_or_default().iter().map(|digit| char::from(*digit)));
}

/// MySQL would round a fraction that is too long, with a note at most.
fn put_decimal(out: &mut String, text: &str, precision: u32, scale: u32) -> Result<()> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return Err(refuse("a decimal column has no place for NaN and the infinities"));
    }
    if fraction.trim_end_matches('0').len() > scale as usize {
        return Err(refuse("it has more digits behind the point than the column"));
    }
    if whole.trim_start_matches('0').len() > precision.saturating_sub(scale) as usize {
        return Err(refuse("it has more digits before the point than the column"));
    }
    // As a number and not as a text, so that an index of the column serves a comparison.
    out.push_str(text.trim_start_matches('+'));
    Ok(())
}

fn put_float(out: &mut String, float: f64, form: Form) -> Result<()> {
    if !float.is_finite() {
        return Err(refuse("MySQL's numbers have no place for NaN and the infinities"));
    }
    if form == Form::Single && f64::from(float as f32) != float {
        return Err(refuse("a float column keeps fewer digits (double has them)"));
    }
    // With an exponent it is a double from the start, and not a decimal that is converted.
    let _ = write!(out, "{float:e}");
    Ok(())
}

fn put_as_text(out: &mut String, value: Value<'_>, chars: u64, bytes: u64) -> Result<()> {
    let mut slot = String::new();
    let text = match value {
        Value::Text(text) | Value::Json(text) | Value::Decimal(text) => text,
        Value::Bytes(_) => return Err(refuse("bytes are not text")),
        other => {
            put_plain(&mut slot, other)?;
            slot.as_str()
        }
    };
    // What is too long is an error of the server, except blanks at the end, which it would cut.
    if text.len() as u64 > bytes || (text.len() as u64 > chars && text.chars().count() as u64 > chars) {
        return Err(refuse("it is longer than the column"));
    }
    put_text(out, text);
    Ok(())
}

fn put_as_bytes(out: &mut String, value: Value<'_>, len: u64, fixed: bool) -> Result<()> {
    let bytes = match &value {
        Value::Bytes(bytes) => *bytes,
        Value::Text(text) => text.as_bytes(),
        Value::Uuid(uuid) if fixed && len == 16 => uuid.as_slice(),
        _ => return Err(refuse("its kind does not go into the column's type")),
    };
    if bytes.len() as u64 > len || (fixed && bytes.len() as u64 != len) {
        return Err(refuse("it is not as long as the column"));
    }
    put_bytes(out, bytes);
    Ok(())
}

/// First day that MySQL has, 0001-01-01, and the day after its last, 9999-12-31.
fn days() -> std::ops::Range<i64> {
    days_from_civil(1, 1, 1)..days_from_civil(10_000, 1, 1)
}

fn put_moment(out: &mut String, form: Form, value: Value<'_>) -> Result<()> {
    let micros = match value {
        Value::Date(days) => i64::from(days).checked_mul(MICROS_PER_DAY),
        Value::Timestamp(micros) | Value::TimestampTz(micros) | Value::Time(micros) => Some(micros),
        _ => return Err(refuse("its kind does not go into the column's type")),
    };
    let day = micros.map(|micros| micros.div_euclid(MICROS_PER_DAY));
    let is_time = matches!(value, Value::Time(_));
    match (micros, day) {
        (Some(micros), _) if is_time && (0..=MICROS_PER_DAY).contains(&micros) => {}
        (Some(_), Some(day)) if !is_time && days().contains(&day) => {}
        _ => return Err(refuse("MySQL's calendar goes from 0001-01-01 to 9999-12-31 and has no infinity")),
    }
    let digits = match form {
        Form::Time(digits) | Form::DateTime(digits) => digits.min(6),
        _ => 6,
    };
    if micros.unwrap_or_default() % 10i64.pow(6 - digits) != 0 {
        return Err(refuse("the column keeps fewer digits of a second"));
    }
    out.push('\'');
    match value {
        Value::Date(days) => put_date(out, days),
        Value::Time(micros) => put_time(out, micros),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => put_timestamp(out, micros, ' ', ""),
        _ => {}
    }
    out.push('\'');
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn put(form: Form, value: Value<'_>) -> Result<String> {
        let mut out = String::new();
        form.put(&mut out, value).map(|()| out)
    }

    const LONG: Form = Form::Text { chars: u32::MAX as u64, bytes: u32::MAX as u64 };

    #[test]
    fn what_is_kept() {
        let int = Form::Integer { bytes: 8, unsigned: false };
        assert_eq!(put(int, Value::Int(i64::MIN)).unwrap(), "-9223372036854775808");
        assert_eq!(put(int, Value::Int(0)).unwrap(), "0");
        assert_eq!(put(int, Value::Bool(true)).unwrap(), "1");
        let decimal = Form::Decimal { precision: 5, scale: 2 };
        assert_eq!(put(decimal, Value::Decimal("-123.4500")).unwrap(), "-123.4500");
        assert_eq!(put(Form::Double, Value::Float(0.1)).unwrap(), "1e-1");
        assert_eq!(put(Form::Double, Value::Float(f64::MAX)).unwrap(), "1.7976931348623157e308");
        assert_eq!(put(LONG, Value::Float(f64::NAN)).unwrap(), "'NaN'");
        assert_eq!(put(LONG, Value::Uuid([1; 16])).unwrap(), "'01010101-0101-0101-0101-010101010101'");
        assert_eq!(put(Form::DateTime(6), Value::TimestampTz(1)).unwrap(), "'2000-01-01 00:00:00.000001'");
        assert_eq!(put(Form::Time(6), Value::Time(MICROS_PER_DAY)).unwrap(), "'24:00:00'");
        assert_eq!(put(Form::Date, Value::Date(-730_119)).unwrap(), "'0001-01-01'");
        assert_eq!(put(LONG, Value::Timestamp(i64::MAX)).unwrap(), "'infinity'");
        assert_eq!(put(Form::Bytes { len: 9, fixed: false }, Value::Bytes(b"\0'\\")).unwrap(), "x'00275c'");
    }

    #[test]
    fn what_is_refused_and_neither_rounded_nor_cut() {
        let decimal = Form::Decimal { precision: 5, scale: 2 };
        let short = Form::Text { chars: 3, bytes: 12 };
        for (form, value) in [
            (decimal, Value::Decimal("1.234")),
            (decimal, Value::Decimal("1234.5")),
            (decimal, Value::Decimal("NaN")),
            (decimal, Value::Decimal("1; DROP TABLE x")),
            (Form::Double, Value::Float(f64::INFINITY)),
            (Form::Single, Value::Float(0.1)),
            (short, Value::Text("abc ")),
            (Form::Bytes { len: 16, fixed: true }, Value::Bytes(b"short")),
            (Form::Date, Value::Date(i32::MAX)),
            (Form::Date, Value::Date(-730_120)),
            (Form::DateTime(6), Value::Timestamp(i64::MIN)),
            (Form::DateTime(3), Value::Timestamp(1)),
            (Form::Time(6), Value::Time(-1)),
            (LONG, Value::Unchanged),
        ] {
            let error = put(form, value).unwrap_err();
            assert_eq!(error.kind(), connector_api::Kind::Data, "{form:?}");
        }
        assert!(put(short, Value::Text("äöü")).is_ok());
    }
}
