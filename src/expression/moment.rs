//! Text to dates, times and timestamps: `2026-11-23`, `09:30:00.5`, `2026-11-23T09:30:00Z`, `2026-11-23 09:30:00+02:00`.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::civil::{MICROS_PER_DAY, civil_from_days, days_from_civil};

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Days since 2000-01-01.
pub(super) fn date(text: &str) -> Option<i32> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let year = digits(year, 4).filter(|year| *year > 0)?;
    let month = u32::try_from(digits(month, 2)?).ok().filter(|month| (1..=12).contains(month))?;
    let day = u32::try_from(digits(day, 2)?).ok().filter(|day| (1..=31).contains(day))?;
    let days = days_from_civil(year, month, day);
    // 31 February would be another day.
    (civil_from_days(days) == (year, month, day)).then(|| i32::try_from(days).ok())?
}

/// Microseconds since midnight.
pub(super) fn time(text: &str) -> Option<i64> {
    let (clock, fraction) =
        text.split_once('.').map_or((text, None), |(clock, fraction)| (clock, Some(fraction)));
    let mut parts = clock.splitn(3, ':');
    let hours = digits(parts.next()?, 2).filter(|hours| *hours < 24)?;
    let minutes = digits(parts.next()?, 2).filter(|minutes| *minutes < 60)?;
    let seconds = match parts.next() {
        Some(seconds) => digits(seconds, 2).filter(|seconds| *seconds < 60)?,
        None if fraction.is_none() => 0,
        None => return None,
    };
    let micros = match fraction {
        None => 0,
        Some(fraction) if (1..=6).contains(&fraction.len()) => digits(&format!("{fraction:0<6}"), 6)?,
        Some(_) => return None,
    };
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

/// Microseconds since 2000-01-01 without a zone; a date alone is its midnight.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    let (day, clock) = match text.split_once(['T', ' ']) {
        Some((day, clock)) => (day, time(clock)?),
        None => (text, 0),
    };
    Some(i64::from(date(day)?) * MICROS_PER_DAY + clock)
}

/// Microseconds since 2000-01-01 UTC; without a zone it is UTC.
pub(super) fn timestamp_tz(text: &str) -> Option<i64> {
    if let Some(text) = text.strip_suffix('Z') {
        return timestamp(text);
    }
    // The date has minus signs of its own.
    let zone = text.get(10..).and_then(|rest| rest.rfind(['+', '-'])).map(|at| at + 10);
    let Some(at) = zone else { return timestamp(text) };
    let (moment, zone) = text.split_at_checked(at)?;
    let (sign, zone) = zone.split_at_checked(1)?;
    let (hours, minutes) = zone.split_once(':').unwrap_or((zone, "00"));
    let offset = digits(hours, 2).filter(|hours| *hours < 16)? * 60
        + digits(minutes, 2).filter(|minutes| *minutes < 60)?;
    let offset = offset * 60_000_000 * if sign == "-" { -1 } else { 1 };
    timestamp(moment)?.checked_sub(offset)
}
