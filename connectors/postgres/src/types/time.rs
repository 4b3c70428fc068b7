//! Dates and times in the ISO style, over the server's whole range.

use connector_api::civil::{MICROS_PER_DAY, days_from_civil};
use connector_api::{DATE_INFINITY, DATE_MINUS_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY};

/// Reads digits from the front of a text.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// Two digits.
    #[inline]
    fn two(&mut self) -> Option<u32> {
        let ([tens, ones], rest) = self.0.split_first_chunk::<2>()?;
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        if tens > 9 || ones > 9 {
            return None;
        }
        self.0 = rest;
        Some(u32::from(tens) * 10 + u32::from(ones))
    }

    /// A year: four to six digits.
    #[inline]
    fn year(&mut self) -> Option<i64> {
        let mut value = 0i64;
        let mut count = 0;
        while let Some((byte, rest)) = self.0.split_first() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value * 10 + i64::from(digit);
            count += 1;
            self.0 = rest;
            if count > 7 {
                return None;
            }
        }
        (count >= 4).then_some(value)
    }

    #[inline]
    fn skip(&mut self, byte: u8) -> Option<()> {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                Some(())
            }
            _ => None,
        }
    }

    /// `2026-11-23`: the year as it is written, month and day.
    #[inline]
    fn day(&mut self) -> Option<(i64, u32, u32)> {
        let year = self.year()?;
        self.skip(b'-')?;
        let month = self.two()?;
        self.skip(b'-')?;
        let day = self.two()?;
        let sound = (1..=12).contains(&month) && (1..=31).contains(&day) && year > 0;
        sound.then_some((year, month, day))
    }

    /// `09:30:00.5`, in microseconds; up to 24:00:00.
    #[inline]
    fn clock(&mut self) -> Option<i64> {
        let hours = self.two()?;
        self.skip(b':')?;
        let minutes = self.two()?;
        self.skip(b':')?;
        let seconds = self.two()?;
        if hours > 24 || minutes > 59 || seconds > 60 {
            return None;
        }
        let mut micros = i64::from(hours * 3600 + minutes * 60 + seconds) * 1_000_000;
        if self.skip(b'.').is_some() {
            let mut unit = 100_000;
            while let Some((byte, rest)) = self.0.split_first() {
                let digit = byte.wrapping_sub(b'0');
                if digit > 9 {
                    break;
                }
                micros += i64::from(digit) * unit;
                unit /= 10;
                self.0 = rest;
            }
        }
        (micros <= MICROS_PER_DAY).then_some(micros)
    }

    /// `+00`, `+05:30`, `-07:52:58`, in microseconds east.
    #[inline]
    fn zone(&mut self) -> Option<i64> {
        let (sign, rest) = self.0.split_first()?;
        let sign = match sign {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.0 = rest;
        let mut seconds = i64::from(self.two()?) * 3600;
        for unit in [60, 1] {
            if self.skip(b':').is_some() {
                seconds += i64::from(self.two()?) * unit;
            }
        }
        Some(sign * seconds * 1_000_000)
    }

    /// The end of the text: nothing, or ` BC`.
    #[inline]
    fn era(&self) -> Option<bool> {
        match self.0 {
            b"" => Some(false),
            b" BC" => Some(true),
            _ => None,
        }
    }
}

#[inline]
fn days((year, month, day): (i64, u32, u32), before_christ: bool) -> i64 {
    days_from_civil(if before_christ { 1 - year } else { year }, month, day)
}

/// Days since 2000-01-01.
pub(super) fn date(text: &[u8]) -> Option<i32> {
    match text {
        b"infinity" => return Some(DATE_INFINITY),
        b"-infinity" => return Some(DATE_MINUS_INFINITY),
        _ => {}
    }
    let mut digits = Digits(text);
    let day = digits.day()?;
    i32::try_from(days(day, digits.era()?)).ok()
}

/// Microseconds since midnight.
pub(super) fn time(text: &[u8]) -> Option<i64> {
    let mut digits = Digits(text);
    let micros = digits.clock()?;
    digits.0.is_empty().then_some(micros)
}

/// Microseconds since 2000-01-01; of UTC when the text has a `zone`.
#[inline]
pub(super) fn timestamp(text: &[u8], zone: bool) -> Option<i64> {
    let mut digits = Digits(text);
    let Some(day) = digits.day() else {
        return match text {
            b"infinity" => Some(TIMESTAMP_INFINITY),
            b"-infinity" => Some(TIMESTAMP_MINUS_INFINITY),
            _ => None,
        };
    };
    digits.skip(b' ')?;
    let clock = digits.clock()?;
    let east = if zone { digits.zone()? } else { 0 };
    days(day, digits.era()?).checked_mul(MICROS_PER_DAY)?.checked_add(clock - east)
}
