//! Calendar text of the date and time kinds, over the whole range that databases accept (4713 BC to 294276), which is
//! wider than the calendar libraries reach.
//!
//! Algorithm: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", proleptic Gregorian calendar.

mod parse;

pub use parse::{parse_date, parse_time, parse_timestamp, parse_timestamptz};

use crate::value::{DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY};

/// Days from 1970-01-01 to 2000-01-01.
pub const DAYS_1970_TO_2000: i64 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub const MICROS_1970_TO_2000: i64 = DAYS_1970_TO_2000 * MICROS_PER_DAY;
/// Microseconds in a day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Days since 2000-01-01 of a calendar day; `year` 0 is 1 BC.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 - DAYS_1970_TO_2000
}

/// Year (0 is 1 BC), month and day of a number of days since 2000-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468 + DAYS_1970_TO_2000;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Appends a date: `2026-11-23`, `0044-03-15 BC`, `infinity`.
pub fn put_date(out: &mut String, days: i32) {
    match days {
        DATE_INFINITY => out.push_str("infinity"),
        DATE_MINUS_INFINITY => out.push_str("-infinity"),
        _ => {
            let year = put_day(out, i64::from(days));
            put_era(out, year);
        }
    }
}

/// Appends a time of day: `09:30:00`, `23:59:59.999999`, `24:00:00`.
pub fn put_time(out: &mut String, micros: i64) {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000) as u64);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // Nothing else is a time of day, but bytes of a peer may claim it.
    let [hours, minutes, seconds] = [hours, minutes, seconds].map(i64::unsigned_abs);
    if hours > 99 {
        put_padded(out, hours, 2);
        put_ascii(out, &[b':', ten(minutes), one(minutes), b':', ten(seconds), one(seconds)]);
    } else {
        let (h, m, s) = (hours, minutes, seconds);
        put_ascii(out, &[ten(h), one(h), b':', ten(m), one(m), b':', ten(s), one(s)]);
    }
    if fraction != 0 {
        let (high, middle, low) = (fraction / 10_000, fraction / 100, fraction);
        let digits = [b'.', ten(high), one(high), ten(middle), one(middle), ten(low), one(low)];
        let shown = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        put_ascii(out, digits.get(..shown).unwrap_or_default());
    }
}

/// Appends a timestamp: `2026-11-23 09:30:00.5`, with `zone` (`""`, `"Z"`, `"+00"`) behind it and the era last.
pub fn put_timestamp(out: &mut String, micros: i64, separator: char, zone: &str) {
    match micros {
        TIMESTAMP_INFINITY => out.push_str("infinity"),
        TIMESTAMP_MINUS_INFINITY => out.push_str("-infinity"),
        _ => {
            let year = put_day(out, micros.div_euclid(MICROS_PER_DAY));
            out.push(separator);
            put_time(out, micros.rem_euclid(MICROS_PER_DAY));
            out.push_str(zone);
            put_era(out, year);
        }
    }
}

fn put_day(out: &mut String, days: i64) -> i64 {
    let (year, month, day) = civil_from_days(days);
    let shown = if year > 0 { year } else { 1 - year };
    let (shown, m, d) = (shown.unsigned_abs(), u64::from(month), u64::from(day));
    if shown > 9_999 {
        put_padded(out, shown, 4);
        put_ascii(out, &[b'-', ten(m), one(m), b'-', ten(d), one(d)]);
    } else {
        let century = shown / 100;
        let (y1, y2, y3, y4) = (ten(century), one(century), ten(shown), one(shown));
        put_ascii(out, &[y1, y2, y3, y4, b'-', ten(m), one(m), b'-', ten(d), one(d)]);
    }
    year
}

/// The last digit but one, and the last digit. Division by constants: this runs for every timestamp of every row.
#[inline]
fn ten(value: u64) -> u8 {
    b'0' + (value / 10 % 10) as u8
}

#[inline]
fn one(value: u64) -> u8 {
    b'0' + (value % 10) as u8
}

#[inline]
fn put_ascii(out: &mut String, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        out.push_str(text);
    }
}

fn put_era(out: &mut String, year: i64) {
    if year <= 0 {
        out.push_str(" BC");
    }
}

fn put_padded(out: &mut String, value: u64, width: u32) {
    let mut unit = 10u64.pow(width - 1);
    while unit <= value / 10 {
        unit *= 10;
    }
    while unit > 0 {
        out.push(char::from(b'0' + (value / unit % 10) as u8));
        unit /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timestamp(micros: i64) -> String {
        let mut out = String::new();
        put_timestamp(&mut out, micros, ' ', "");
        out
    }

    #[test]
    fn known_moments() {
        assert_eq!(timestamp(0), "2000-01-01 00:00:00");
        assert_eq!(timestamp(-1), "1999-12-31 23:59:59.999999");
        assert_eq!(timestamp(i64::MAX), "infinity");
        assert_eq!(timestamp(days_from_civil(-43, 3, 15) * MICROS_PER_DAY), "0044-03-15 00:00:00 BC");
        assert_eq!(timestamp(days_from_civil(294_276, 12, 31) * MICROS_PER_DAY), "294276-12-31 00:00:00");
        assert_eq!(days_from_civil(2000, 3, 1), 60);
    }

    #[test]
    fn times_of_day() {
        let time = |micros| {
            let mut out = String::new();
            put_time(&mut out, micros);
            out
        };
        assert_eq!(time(0), "00:00:00");
        assert_eq!(time(34_215_120_300), "09:30:15.1203");
        assert_eq!(time(86_399_999_999), "23:59:59.999999");
        assert_eq!(time(MICROS_PER_DAY), "24:00:00");
        assert_eq!(time(1), "00:00:00.000001");
        // No times, and no panic.
        for micros in [i64::MIN, -1, 400 * MICROS_PER_DAY, i64::MAX] {
            assert!(!time(micros).is_empty());
        }
    }

    proptest! {
        #[test]
        fn days_come_back(days in -2_500_000i64..2_500_000_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
