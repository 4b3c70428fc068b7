//! The way back from calendar text.

use super::{MICROS_PER_DAY, civil_from_days, days_from_civil};
use crate::value::{DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY};

/// Reads what [`super::put_date`] writes: `2026-11-23`, `0044-03-15 BC`, `infinity`. `None` for anything else, days that no
/// calendar has included.
pub fn parse_date(text: &str) -> Option<i32> {
    match text {
        "infinity" => Some(DATE_INFINITY),
        "-infinity" => Some(DATE_MINUS_INFINITY),
        _ => {
            let (text, before) = era(text);
            let (days, rest) = day(text, before)?;
            let days = i32::try_from(days).ok().filter(|_| rest.is_empty())?;
            (days != DATE_INFINITY && days != DATE_MINUS_INFINITY).then_some(days)
        }
    }
}

/// Reads what [`super::put_time`] writes: `09:30:00`, `23:59:59.999999`, `24:00:00`.
pub fn parse_time(text: &str) -> Option<i64> {
    let (micros, rest) = time(text)?;
    rest.is_empty().then_some(micros)
}

/// Reads a timestamp without a zone: `2026-11-23 09:30:00.5`, with a blank or a `T`, ` BC` behind it, or `infinity`.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    moment(text, |rest| rest.is_empty().then_some(0))
}

/// Reads a timestamp with a zone, which may be `Z`, `+00`, `+0530`, `-03:30` or `+01:02:03`, as microseconds in UTC.
pub fn parse_timestamptz(text: &str) -> Option<i64> {
    moment(text, zone)
}

fn moment(text: &str, zone: impl Fn(&str) -> Option<i64>) -> Option<i64> {
    match text {
        "infinity" => return Some(TIMESTAMP_INFINITY),
        "-infinity" => return Some(TIMESTAMP_MINUS_INFINITY),
        _ => {}
    }
    let (text, before) = era(text);
    let (days, rest) = day(text, before)?;
    let rest = rest.strip_prefix([' ', 'T'])?;
    let (micros, rest) = time(rest)?;
    // The first day that fits begins before the first microsecond that does.
    let found = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(micros)
        - i128::from(zone(rest)?) * 1_000_000;
    let found = i64::try_from(found).ok()?;
    (found != TIMESTAMP_INFINITY && found != TIMESTAMP_MINUS_INFINITY).then_some(found)
}

/// The text without its era, and whether that is before Christ.
fn era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    }
}

/// Days since 2000-01-01, and what comes behind.
fn day(text: &str, before: bool) -> Option<(i64, &str)> {
    let (year, rest) = digits(text, 4, 7)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2, 2)?;
    let year = match (before, year) {
        (_, 0) => return None,
        (true, year) => 1 - year,
        (false, year) => year,
    };
    let (month, day) = (u32::try_from(month).ok()?, u32::try_from(day).ok()?);
    let inside = (1..=12).contains(&month) && (1..=31).contains(&day);
    let days = inside.then(|| days_from_civil(year, month, day))?;
    (civil_from_days(days) == (year, month, day)).then_some((days, rest))
}

/// Microseconds since midnight, and what comes behind.
fn time(text: &str) -> Option<(i64, &str)> {
    let (hours, rest) = digits(text, 2, 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let (seconds, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let length = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (value, after) = digits(rest, 1, 6)?;
            (value * 10i64.pow(6 - u32::try_from(length).ok()?), after)
        }
    };
    let micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction;
    (minutes < 60 && seconds < 60 && micros <= MICROS_PER_DAY).then_some((micros, rest))
}

/// Seconds east of Greenwich.
fn zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        _ => return None,
    };
    let (hours, mut rest) = digits(rest, 2, 2)?;
    let mut seconds = hours * 3_600;
    for unit in [60, 1] {
        if rest.is_empty() {
            break;
        }
        let (value, after) =
            digits(rest.strip_prefix(':').unwrap_or(rest), 2, 2).filter(|(value, _)| *value < 60)?;
        seconds += value * unit;
        rest = after;
    }
    rest.is_empty().then_some(sign * seconds)
}

/// A run of digits, of a length between `least` and `most`.
fn digits(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    // Fields of a fixed length may be followed by the next one at once.
    let length = length.min(if least == most { most } else { usize::MAX });
    let (number, rest) = text.split_at_checked(length).filter(|_| (least..=most).contains(&length))?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_ways_to_write_a_moment() {
        let noon = 12 * 3_600 * 1_000_000;
        for text in [
            "2000-01-01 12:00:00+00",
            "2000-01-01T12:00:00Z",
            "2000-01-01 12:00:00.000000+00:00",
            "2000-01-01 17:30:00+0530",
            "2000-01-01 17:30:00+05:30",
            "1999-12-31 23:59:57-12:00:03",
        ] {
            assert_eq!(parse_timestamptz(text), Some(noon), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "x",
            "2000-02-30",
            "1900-02-29",
            "2000-13-01",
            "2000-00-01",
            "2000-01-00",
            "0000-01-01",
            "200-01-01",
            "2000-1-1",
            "2000-01-01 ",
            " 2000-01-01",
            "+2000-01-01",
            "2000-01-01 AD",
            "99999999-01-01",
            "Infinity",
            "2000-01-01é",
            "5999999-01-01",
        ] {
            assert_eq!(parse_date(text), None, "{text:?}");
        }
        for text in
            ["24:00:00.000001", "25:00:00", "12:60:00", "12:00:60", "12:00", "12:00:00.", "12:00:00.1234567"]
        {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
        for text in [
            "2000-01-01",
            "2000-01-01 12:00:00+00",
            "2000-01-01_12:00:00",
            "999999-01-01 00:00:00",
            "2000-01-01 12:00:00 ",
        ] {
            assert_eq!(parse_timestamp(text), None, "{text:?}");
        }
        for text in [
            "2000-01-01 12:00:00",
            "2000-01-01 12:00:00+1",
            "2000-01-01 12:00:00+00:99",
            "2000-01-01 12:00:00 UTC",
        ] {
            assert_eq!(parse_timestamptz(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(days in -2_500_000i32..2_140_000_000, micros: i64, time in 0..=MICROS_PER_DAY) {
            let mut text = String::new();
            put_date(&mut text, days);
            prop_assert_eq!(parse_date(&text), Some(days));
            text.clear();
            put_time(&mut text, time);
            prop_assert_eq!(parse_time(&text), Some(time));
            text.clear();
            put_timestamp(&mut text, micros, ' ', "");
            prop_assert_eq!(parse_timestamp(&text), Some(micros));
            text.clear();
            put_timestamp(&mut text, micros, 'T', "Z");
            prop_assert_eq!(parse_timestamptz(&text), Some(micros));
        }

        #[test]
        fn any_text_is_taken(text in "[-+:. TZBC0-9é]{0,40}") {
            parse_date(&text);
            parse_time(&text);
            parse_timestamp(&text);
            parse_timestamptz(&text);
        }
    }

    #[test]
    fn the_ends_of_time() {
        for micros in [i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1, 0, -1] {
            let mut text = String::new();
            put_timestamp(&mut text, micros, ' ', "+00:00");
            assert_eq!(parse_timestamptz(&text), Some(micros), "{text}");
        }
        for days in [i32::MAX, i32::MIN] {
            let mut text = String::new();
            put_date(&mut text, days);
            assert_eq!(parse_date(&text), Some(days), "{text}");
        }
    }
}
