//! The parts of a date or a timestamp, in UTC, counted as CEL counts them.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::civil::{MICROS_PER_DAY, civil_from_days, days_from_civil};
use connector_api::{DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY};

use super::Answer;
use super::datum::Datum;

/// A name, and what it takes out of a value.
type Accessor = (&'static str, for<'r> fn(Datum<'r>) -> Answer<'r>);

/// Every accessor, by its name.
pub(super) const ACCESSORS: [Accessor; 9] = [
    ("getFullYear", |datum| day(&datum, |days| civil_from_days(days).0)),
    ("getMonth", |datum| day(&datum, |days| i64::from(civil_from_days(days).1) - 1)),
    ("getDate", |datum| day(&datum, |days| i64::from(civil_from_days(days).2))),
    ("getDayOfMonth", |datum| day(&datum, |days| i64::from(civil_from_days(days).2) - 1)),
    ("getDayOfWeek", |datum| day(&datum, |days| (days + 6).rem_euclid(7))),
    ("getDayOfYear", |datum| day(&datum, |days| days - days_from_civil(civil_from_days(days).0, 1, 1))),
    ("getHours", |datum| clock(&datum, 3_600_000_000, 24)),
    ("getMinutes", |datum| clock(&datum, 60_000_000, 60)),
    ("getSeconds", |datum| clock(&datum, 1_000_000, 60)),
];

/// Something of the day; the infinities have none.
fn day<'r>(datum: &Datum<'r>, part: fn(i64) -> i64) -> Answer<'r> {
    let days = match *datum {
        Datum::Date(DATE_INFINITY | DATE_MINUS_INFINITY)
        | Datum::Timestamp(TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY)
        | Datum::TimestampTz(TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) => return Ok(Datum::Null),
        Datum::Date(days) => i64::from(days),
        Datum::Timestamp(micros) | Datum::TimestampTz(micros) => micros.div_euclid(MICROS_PER_DAY),
        _ => return Ok(Datum::Null),
    };
    Ok(Datum::Int(part(days)))
}

/// Something of the time of day.
fn clock<'r>(datum: &Datum<'r>, unit: i64, most: i64) -> Answer<'r> {
    let micros = match *datum {
        Datum::Timestamp(TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY)
        | Datum::TimestampTz(TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) => return Ok(Datum::Null),
        Datum::Timestamp(micros) | Datum::TimestampTz(micros) => micros.rem_euclid(MICROS_PER_DAY),
        Datum::Time(micros) => micros,
        Datum::Date(_) => 0,
        _ => return Ok(Datum::Null),
    };
    Ok(Datum::Int(micros / unit % most))
}
