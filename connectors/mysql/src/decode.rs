//! The server's text of a value, back into the kind of its column. What does not read as that is an error that names the
//! column and not the value.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::civil::{MICROS_PER_DAY, days_from_civil};
use connector_api::{
    Column, DATE_INFINITY, DATE_MINUS_INFINITY, Error, Result, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY,
    Value, ValueKind,
};

/// Appends a value, encoded.
///
/// # Errors
/// [`connector_api::Kind::Data`] when the text is no value of the column's kind.
pub fn put(out: &mut Vec<u8>, column: &Column, bytes: Option<&[u8]>) -> Result<()> {
    let Some(bytes) = bytes else {
        Value::Null.encode(out);
        return Ok(());
    };
    let wrong = || {
        Error::data(format!(
            "read column {:?}: it holds a value that is no {}",
            column.name,
            column.kind.as_str()
        ))
    };
    match column.kind {
        ValueKind::Bytes => Value::Bytes(bytes).encode(out),
        // A `binary(16)`.
        ValueKind::Uuid if bytes.len() == 16 => {
            Value::Uuid(bytes.try_into().map_err(|_| wrong())?).encode(out);
        }
        ValueKind::Bool if matches!(bytes, [0] | [1]) => Value::Bool(bytes == [1]).encode(out),
        kind => {
            let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
            value(kind, text).ok_or_else(wrong)?.encode(out);
        }
    }
    Ok(())
}

fn value(kind: ValueKind, text: &str) -> Option<Value<'_>> {
    Some(match kind {
        ValueKind::Bool => Value::Bool(match text {
            "0" | "false" => false,
            "1" | "true" => true,
            other => other.parse::<i64>().ok()? != 0,
        }),
        ValueKind::Int => Value::Int(text.parse().ok()?),
        ValueKind::Float => Value::Float(match text {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            other => other.parse().ok()?,
        }),
        ValueKind::Decimal => Value::Decimal(text),
        ValueKind::Text => Value::Text(text),
        // Arrays are kept as JSON, and compared as such.
        ValueKind::Json | ValueKind::Array => Value::Json(text),
        ValueKind::Uuid => Value::Uuid(uuid(text)?),
        ValueKind::Date => Value::Date(match text {
            "infinity" => DATE_INFINITY,
            "-infinity" => DATE_MINUS_INFINITY,
            other => i32::try_from(date(other)?).ok()?,
        }),
        ValueKind::Time => Value::Time(time(text)?),
        ValueKind::Timestamp => Value::Timestamp(timestamp(text)?),
        ValueKind::TimestampTz => Value::TimestampTz(timestamp(text)?),
        ValueKind::Bytes => return None,
    })
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| char::from(byte).to_digit(16));
    let mut uuid = [0u8; 16];
    for byte in &mut uuid {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = (high * 16 + low) as u8;
    }
    digits.next().is_none().then_some(uuid)
}

/// `2026-11-23`, with `BC` in a text column. A `datetime` that holds a date has a time of day behind it.
fn date(text: &str) -> Option<i64> {
    let (text, before) = match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let text = text.split(' ').next()?;
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let year: i64 = year.parse().ok()?;
    let (month, day): (u32, u32) = (month.parse().ok()?, day.parse().ok()?);
    let fits =
        parts.next().is_none() && (1..=12).contains(&month) && (1..=31).contains(&day) && year < 300_000;
    fits.then(|| days_from_civil(if before { 1 - year } else { year }, month, day))
}

fn time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let number = |text: &str| text.parse::<u32>().ok().map(i64::from);
    let fraction = match fraction.len() {
        0 => 0,
        digits if digits <= 6 => number(fraction)? * 10i64.pow(6 - digits as u32),
        _ => return None,
    };
    let (hours, minutes, seconds) = (number(hours)?, number(minutes)?, number(seconds)?);
    (hours < 1_000 && minutes < 60 && seconds < 60)
        .then_some((hours * 3_600 + minutes * 60 + seconds) * 1_000_000 + fraction)
}

fn timestamp(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(TIMESTAMP_INFINITY),
        "-infinity" => return Some(TIMESTAMP_MINUS_INFINITY),
        _ => {}
    }
    let (plain, era) = match text.strip_suffix(" BC") {
        Some(plain) => (plain, " BC"),
        None => (text, ""),
    };
    let plain = plain.strip_suffix("+00:00").unwrap_or(plain);
    let (day, clock) = plain.split_once(' ')?;
    let days = date(&format!("{day}{era}"))?;
    days.checked_mul(MICROS_PER_DAY)?.checked_add(time(clock)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn read(kind: ValueKind, text: &str) -> Option<Value<'_>> {
        value(kind, text)
    }

    #[test]
    fn known_texts() {
        assert_eq!(read(ValueKind::Date, "0001-01-01"), Some(Value::Date(-730_119)));
        assert_eq!(read(ValueKind::Time, "24:00:00.000000"), Some(Value::Time(MICROS_PER_DAY)));
        assert_eq!(read(ValueKind::Timestamp, "1999-12-31 23:59:59.999999"), Some(Value::Timestamp(-1)));
        assert_eq!(
            read(ValueKind::TimestampTz, "2000-01-01 00:00:00.5+00:00"),
            Some(Value::TimestampTz(500_000))
        );
        assert_eq!(read(ValueKind::Timestamp, "infinity"), Some(Value::Timestamp(i64::MAX)));
        assert_eq!(read(ValueKind::Bool, "1"), Some(Value::Bool(true)));
        for (kind, wrong) in [
            (ValueKind::Int, "1.5"),
            (ValueKind::Date, "2026-13-01"),
            (ValueKind::Time, "1:2"),
            (ValueKind::Time, "00:00:00.1234567"),
            (ValueKind::Uuid, "0102"),
            (ValueKind::Timestamp, "2026-01-01"),
        ] {
            assert_eq!(read(kind, wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in -210_866_803_200_000_000i64..252_000_000_000_000_000, id: [u8; 16]) {
            let mut text = String::new();
            connector_api::civil::put_timestamp(&mut text, micros, ' ', "");
            prop_assert_eq!(timestamp(&text), Some(micros));
            let mut text = String::new();
            connector_api::json::put_uuid(&mut text, id);
            prop_assert_eq!(uuid(&text), Some(id));
        }

        #[test]
        fn a_peers_text_never_panics(text in "\\PC{0,30}") {
            for kind in ValueKind::ALL {
                let _ = value(kind, &text);
            }
        }
    }
}
