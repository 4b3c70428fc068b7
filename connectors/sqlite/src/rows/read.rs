//! What SQLite holds as a value of the kind that the column has: [`crate::bind`] backwards. What was never written that
//! way comes as what it is, and then differs.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::civil::{MICROS_PER_DAY, days_from_civil};
use connector_api::{
    Column, DATE_INFINITY, DATE_MINUS_INFINITY, Result, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, Value,
    ValueKind,
};
use rusqlite::types::ValueRef;

/// Appends a stored value, encoded.
pub(super) fn value(stored: ValueRef<'_>, column: Option<&Column>, out: &mut Vec<u8>) -> Result<()> {
    let kind = column.map_or(ValueKind::Text, |column| column.kind);
    let value = match (stored, kind) {
        (ValueRef::Null, _) => Value::Null,
        (ValueRef::Integer(int @ (0 | 1)), ValueKind::Bool) => Value::Bool(int == 1),
        (ValueRef::Integer(int), _) => Value::Int(int),
        (ValueRef::Real(real), _) => Value::Float(real),
        (ValueRef::Blob(bytes), _) => Value::Bytes(bytes),
        (ValueRef::Text(bytes), kind) => match std::str::from_utf8(bytes) {
            Ok(text) => self::text(text, kind).unwrap_or(Value::Text(text)),
            Err(_) => Value::Bytes(bytes),
        },
    };
    value.encode(out);
    Ok(())
}

fn text(text: &str, kind: ValueKind) -> Option<Value<'_>> {
    Some(match kind {
        ValueKind::Decimal => Value::Decimal(text),
        ValueKind::Json | ValueKind::Array => Value::Json(text),
        ValueKind::Float if text == "NaN" => Value::Float(f64::NAN),
        ValueKind::Uuid => Value::Uuid(uuid(text)?),
        ValueKind::Date => Value::Date(date(text)?),
        ValueKind::Time => Value::Time(time(text)?),
        ValueKind::Timestamp => Value::Timestamp(timestamp(text, "")?),
        ValueKind::TimestampTz => Value::TimestampTz(timestamp(text, "+00:00")?),
        _ => return None,
    })
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    let bytes = u128::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    (digits.len() == 32).then_some(bytes)
}

fn date(text: &str) -> Option<i32> {
    match text {
        "infinity" => Some(DATE_INFINITY),
        "-infinity" => Some(DATE_MINUS_INFINITY),
        _ => {
            let (day, before) = era(text);
            i32::try_from(days(day, before)?).ok()
        }
    }
}

fn timestamp(text: &str, zone: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(TIMESTAMP_INFINITY),
        "-infinity" => return Some(TIMESTAMP_MINUS_INFINITY),
        _ => {}
    }
    let (text, before) = era(text);
    let (day, of_day) = text.strip_suffix(zone)?.split_once(' ')?;
    days(day, before)?.checked_mul(MICROS_PER_DAY)?.checked_add(time(of_day)?)
}

fn era(text: &str) -> (&str, bool) {
    text.strip_suffix(" BC").map_or((text, false), |text| (text, true))
}

fn days(day: &str, before: bool) -> Option<i64> {
    let mut parts = day.splitn(3, '-');
    let year: i64 = parts.next()?.parse().ok()?;
    let (month, day) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let sane = (1..=12).contains(&month) && (1..=31).contains(&day) && year < 10_000_000;
    sane.then(|| days_from_civil(if before { 1 - year } else { year }, month, day))
}

fn time(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':').map(str::parse::<i64>);
    let mut part = || parts.next()?.ok().filter(|part| (0..100).contains(part));
    let seconds = part()? * 3_600 + part()? * 60 + part()?;
    let micros: i64 = match fraction.len() {
        0 => 0,
        digits @ 1..=6 => fraction.parse::<i64>().ok()? * 10_i64.pow(6 - digits as u32),
        _ => return None,
    };
    Some(seconds * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use connector_api::json::put_text;

    fn there_and_back(value: Value<'_>, kind: ValueKind) {
        let mut shown = String::new();
        put_text(&mut shown, value).unwrap();
        assert_eq!(text(&shown, kind), Some(value), "{shown}");
    }

    #[test]
    fn what_is_stored_comes_back() {
        for days in [0, 9_000, -900_000, 2_000_000, DATE_INFINITY, DATE_MINUS_INFINITY] {
            there_and_back(Value::Date(days), ValueKind::Date);
        }
        for micros in
            [0, 1, -1, 500_000, i64::from(i32::MAX) * 77, -63_082_281_600_000_000, TIMESTAMP_INFINITY]
        {
            there_and_back(Value::Timestamp(micros), ValueKind::Timestamp);
            there_and_back(Value::TimestampTz(micros), ValueKind::TimestampTz);
        }
        for micros in [0, 1, 86_399_999_999, 86_400_000_000] {
            there_and_back(Value::Time(micros), ValueKind::Time);
        }
        there_and_back(Value::Uuid([7; 16]), ValueKind::Uuid);
    }

    #[test]
    fn what_was_never_stored_is_text() {
        for (shown, kind) in [("yesterday", ValueKind::Date), ("1:2", ValueKind::Time), ("", ValueKind::Uuid)]
        {
            assert_eq!(text(shown, kind), None);
        }
    }
}
