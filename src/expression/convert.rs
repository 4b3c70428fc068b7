//! From one type to another: the conversions that an expression writes, and the one into a column of a kind.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::borrow::Cow;

use connector_api::civil::{MICROS_1970_TO_2000, MICROS_PER_DAY};
use connector_api::json::{put_json, put_string, put_text};
use connector_api::{
    DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, ValueKind,
};

use super::datum::Datum;
use super::fault::Failure;
use super::types::Type;
use super::{Answer, decimal, moment};

const NO_INT: Failure = Failure::Bad("int() of a value that is no whole number of 64 bits");

/// As the text that a column of text would hold.
pub(super) fn text_of(datum: Datum<'_>) -> Result<Cow<'_, str>, Failure> {
    match datum {
        Datum::Text(text) | Datum::Decimal(text) => Ok(text),
        Datum::Json(text) => Ok(Cow::Borrowed(text)),
        other => {
            let mut text = String::new();
            put_text(&mut text, other.value()).map_err(|_| Failure::Bad("an array that does not decode"))?;
            Ok(Cow::Owned(text))
        }
    }
}

pub(super) fn string(datum: Datum<'_>) -> Answer<'_> {
    text_of(datum).map(Datum::Text)
}

pub(super) fn int(datum: Datum<'_>) -> Answer<'_> {
    let whole = |value: f64| {
        let within = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
        within.then_some(value as i64)
    };
    let value = match &datum {
        Datum::Int(value) => Some(*value),
        Datum::Float(value) => whole(*value),
        Datum::Decimal(text) => match text.split('.').next().unwrap_or_default() {
            "" | "-" => Some(0),
            digits => digits.parse().ok(),
        },
        Datum::Text(text) => text.trim().parse().ok(),
        Datum::TimestampTz(micros)
            if *micros != TIMESTAMP_INFINITY && *micros != TIMESTAMP_MINUS_INFINITY =>
        {
            micros.checked_add(MICROS_1970_TO_2000).map(|micros| micros.div_euclid(1_000_000))
        }
        _ => None,
    };
    value.map(Datum::Int).ok_or(NO_INT)
}

pub(super) fn double(datum: Datum<'_>) -> Answer<'_> {
    let value = match &datum {
        Datum::Int(value) => Some(*value as f64),
        Datum::Float(value) => Some(*value),
        Datum::Decimal(text) | Datum::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    value.map(Datum::Float).ok_or(Failure::Bad("double() of a value that is no number"))
}

pub(super) fn bool(datum: Datum<'_>) -> Answer<'_> {
    match &datum {
        Datum::Bool(value) => Ok(Datum::Bool(*value)),
        Datum::Text(text) => match &**text {
            "true" | "t" | "True" | "TRUE" | "1" => Ok(Datum::Bool(true)),
            "false" | "f" | "False" | "FALSE" | "0" => Ok(Datum::Bool(false)),
            _ => Err(Failure::Bad("bool() of a text that is neither true nor false")),
        },
        _ => Err(Failure::Bad("bool() of a value that is neither true nor false")),
    }
}

pub(super) fn timestamp(datum: Datum<'_>) -> Answer<'_> {
    let value = match &datum {
        Datum::Text(text) => moment::timestamp_tz(text),
        Datum::Int(seconds) => {
            seconds.checked_mul(1_000_000).and_then(|micros| micros.checked_sub(MICROS_1970_TO_2000))
        }
        _ => return moved(datum, ValueKind::TimestampTz).map_err(|_| NO_TIMESTAMP),
    };
    value.map(Datum::TimestampTz).ok_or(NO_TIMESTAMP)
}

const NO_TIMESTAMP: Failure = Failure::Bad("timestamp() of a value that is none");

/// Whether values of a type can be put into a column of a kind; some of them may still not fit.
pub(super) fn converts(from: Type, to: ValueKind) -> bool {
    use ValueKind as Kind;
    match from {
        Type::Any | Type::Null => true,
        Type::Json => !matches!(to, Kind::Array | Kind::Bytes),
        Type::Array(_) => matches!(to, Kind::Array | Kind::Text | Kind::Json),
        _ if from.kind() == Some(to) || matches!(to, Kind::Text) => true,
        Type::Bool => to == Kind::Json,
        Type::Int => matches!(to, Kind::Float | Kind::Decimal | Kind::Json),
        Type::Float => matches!(to, Kind::Decimal | Kind::Json),
        Type::Decimal => matches!(to, Kind::Float | Kind::Json),
        Type::Text => {
            matches!(to, Kind::Decimal | Kind::Json | Kind::Uuid | Kind::Date | Kind::Time)
                || matches!(to, Kind::Timestamp | Kind::TimestampTz)
        }
        Type::Date | Type::Timestamp | Type::TimestampTz => {
            matches!(to, Kind::Date | Kind::Timestamp | Kind::TimestampTz)
        }
        Type::Bytes | Type::Uuid | Type::Time => false,
    }
}

/// A value as one of a kind.
///
/// # Errors
/// When it does not fit.
pub fn cast(datum: Datum<'_>, to: ValueKind) -> Answer<'_> {
    use ValueKind as Kind;
    const MISFIT: Failure = Failure::Bad("a value that does not fit the type of the column");
    match (&datum, to) {
        (Datum::Null, _) => return Ok(datum),
        (_, Kind::Json) => return json(datum),
        (Datum::Json(text), Kind::Text) => return Ok(Datum::Text(Cow::Borrowed(text))),
        _ if datum.value().kind() == Some(to) => return Ok(datum),
        _ => {}
    }
    match (datum, to) {
        (datum, Kind::Text) => string(datum),
        (datum @ (Datum::Int(_) | Datum::Decimal(_)), Kind::Float) => double(datum),
        (Datum::Text(text), Kind::Float) => double(Datum::Text(text)),
        (Datum::Text(text), Kind::Int) => int(Datum::Text(text)),
        // `3.0` in JSON is a whole number; `3.5` is none.
        (Datum::Decimal(text), Kind::Int) => {
            let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
            let exact = part.bytes().all(|digit| digit == b'0');
            whole.parse().ok().filter(|_| exact).map(Datum::Int).ok_or(MISFIT)
        }
        (Datum::Int(value), Kind::Decimal) => Ok(Datum::Decimal(Cow::Owned(value.to_string()))),
        (Datum::Float(value), Kind::Decimal) => Ok(Datum::Decimal(Cow::Owned(decimal::of_float(value)))),
        (Datum::Text(text), Kind::Decimal) => {
            if decimal::is_decimal(&text) {
                Ok(Datum::Decimal(text))
            } else {
                Err(MISFIT)
            }
        }
        (Datum::Text(text), to) => read(&text, to).ok_or(MISFIT),
        (datum, to) => moved(datum, to),
    }
}

/// Text as a value of a kind that text stands for.
pub(super) fn read(text: &str, to: ValueKind) -> Option<Datum<'static>> {
    match to {
        ValueKind::Uuid => uuid::Uuid::try_parse(text).ok().map(|uuid| Datum::Uuid(uuid.into_bytes())),
        ValueKind::Date => moment::date(text).map(Datum::Date),
        ValueKind::Time => moment::time(text).map(Datum::Time),
        ValueKind::Timestamp => moment::timestamp(text).map(Datum::Timestamp),
        ValueKind::TimestampTz => moment::timestamp_tz(text).map(Datum::TimestampTz),
        ValueKind::Bool => match text {
            "true" => Some(Datum::Bool(true)),
            "false" => Some(Datum::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

/// Between dates and timestamps; one without a zone is UTC.
fn moved(datum: Datum<'_>, to: ValueKind) -> Answer<'_> {
    let micros = match datum {
        Datum::Date(DATE_INFINITY) => TIMESTAMP_INFINITY,
        Datum::Date(DATE_MINUS_INFINITY) => TIMESTAMP_MINUS_INFINITY,
        Datum::Date(days) => {
            i64::from(days).checked_mul(MICROS_PER_DAY).ok_or(Failure::Bad("a date beyond the timestamps"))?
        }
        Datum::Timestamp(micros) | Datum::TimestampTz(micros) => micros,
        _ => return Err(Failure::Bad("a value that does not fit the type of the column")),
    };
    Ok(match to {
        ValueKind::Timestamp => Datum::Timestamp(micros),
        ValueKind::TimestampTz => Datum::TimestampTz(micros),
        ValueKind::Date => Datum::Date(match micros {
            TIMESTAMP_INFINITY => DATE_INFINITY,
            TIMESTAMP_MINUS_INFINITY => DATE_MINUS_INFINITY,
            micros => micros.div_euclid(MICROS_PER_DAY) as i32,
        }),
        _ => return Err(Failure::Bad("a value that does not fit the type of the column")),
    })
}

/// As JSON text, in a [`Datum::Text`]: the column's kind says what it is.
fn json(datum: Datum<'_>) -> Answer<'_> {
    let mut out = String::new();
    match &datum {
        Datum::Json(text) => return Ok(Datum::Text(Cow::Borrowed(text))),
        Datum::Text(text) => put_string(&mut out, text),
        Datum::Decimal(text) if !text.ends_with(['N', 'y']) => out.push_str(text),
        other => {
            put_json(&mut out, other.value()).map_err(|_| Failure::Bad("an array that does not decode"))?
        }
    }
    Ok(Datum::Text(Cow::Owned(out)))
}
