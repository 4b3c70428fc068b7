//! How long to wait: back-off with jitter, and what an endpoint asks for in `Retry-After`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connector_api::civil::{DAYS_1970_TO_2000, days_from_civil};

/// Doubling waits with jitter.
#[derive(Debug)]
pub(crate) struct Pace {
    first: Duration,
    max: Duration,
    jitter: u64,
}

impl Pace {
    /// `seed` keeps sinks that fail together from retrying together.
    pub fn new(first: Duration, max: Duration, seed: &str) -> Pace {
        let hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)) << 1);
        Pace { first, max, jitter: hash | 1 }
    }

    /// The wait after the `failed`th attempt, from 1.
    pub fn after(&mut self, failed: u32) -> Duration {
        let doubled =
            self.first.saturating_mul(1u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX));
        // xorshift64: jitter needs no better.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        let part = 0.5 + (self.jitter % 512) as f64 / 1024.0;
        doubled.min(self.max).mul_f64(part)
    }

    /// What an endpoint asked for, up to the bound.
    pub fn asked(&self, after: Duration) -> Duration {
        after.min(self.max)
    }
}

/// Reads `Retry-After`: seconds, or a date of HTTP. `None` for anything else.
pub(crate) fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are for ever, which the caller bounds.
        return Some(Duration::from_secs(text.parse().unwrap_or(u32::MAX.into())));
    }
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(unix_seconds(text)?))?;
    Some(at.duration_since(now).unwrap_or(Duration::ZERO))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that is still sent.
fn unix_seconds(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_ascii_whitespace();
    let _weekday = words.next()?.strip_suffix(',')?;
    let day: u32 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let month = u32::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u8>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next() != Some("GMT") || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let days = days_from_civil(year, month, day) + DAYS_1970_TO_2000;
    let seconds = u64::from(hours) * 3_600 + u64::from(minutes) * 60 + u64::from(seconds);
    Some(u64::try_from(days).ok()? * 86_400 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_with_jitter() {
        let mut pace = Pace::new(Duration::from_millis(100), Duration::from_secs(2), "hook");
        for (failed, most) in [(1, 100), (2, 200), (3, 400), (6, 2_000), (100, 2_000)] {
            let wait = pace.after(failed);
            let most = Duration::from_millis(most);
            assert!(wait <= most && wait >= most / 2, "{failed}: {wait:?}");
        }
        assert_eq!(pace.asked(Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!(pace.asked(Duration::from_secs(9_999)), Duration::from_secs(2));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(90)));
        assert_eq!(retry_after("Sat, 05 Nov 1994 08:49:37 GMT", now), Some(Duration::ZERO));
        assert!(
            retry_after("99999999999999999999999999", now).is_some_and(|long| long.as_secs() > 1_000_000)
        );
        for wrong in
            ["", "soon", "-1", "1.5", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT", "Sun, é"]
        {
            assert_eq!(retry_after(wrong, now), None, "{wrong}");
        }
    }
}
