//! Decimals in the server's binary form: groups of four digits, the place of the first, the sign, and how many digits
//! are shown behind the point.

use connector_api::{Error, Result};

/// Most groups that the form can count.
const GROUPS_MAX: usize = i16::MAX as usize;
/// Most digits behind the point (NUMERIC_MAX_DISPLAY_SCALE is what a declaration may say; a value may have more).
const SCALE_MAX: usize = 0x3fff;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const INFINITY: u16 = 0xd000;
const MINUS_INFINITY: u16 = 0xf000;

/// Appends a decimal.
///
/// # Errors
/// [`connector_api::Kind::Data`] for text that is no decimal, or one with more digits than the target has room for.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, text: &str) -> Result<()> {
    let special = match text {
        "NaN" => Some(NAN),
        "Infinity" => Some(INFINITY),
        "-Infinity" => Some(MINUS_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        head(out, 0, 0, sign, 0);
        return Ok(());
    }
    let (sign, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (NEGATIVE, rest),
        [b'+', rest @ ..] => (0, rest),
        rest => (0, rest),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = digits.split_at_checked(point).ok_or_else(unreadable)?;
    let fraction = fraction.strip_prefix(b".").unwrap_or_default();
    if whole.len() + fraction.len() == 0 || fraction.len() > SCALE_MAX {
        return Err(unreadable());
    }
    let start = out.len();
    head(out, 0, 0, sign, fraction.len() as u16);
    let groups = whole.len().div_ceil(4) + fraction.len().div_ceil(4);
    if groups > GROUPS_MAX {
        return Err(unreadable());
    }
    let mut packer = Packer { out, weight: whole.len().div_ceil(4) as i32, first: None, last: 0, count: 0 };
    let (short, rest) = whole.split_at_checked(whole.len() % 4).unwrap_or_default();
    if !short.is_empty() {
        packer.group(short, 4)?;
    }
    for group in rest.chunks(4) {
        packer.group(group, 4)?;
    }
    for group in fraction.chunks(4) {
        packer.group(group, group.len())?;
    }
    let (first, last, count) = (packer.first, packer.last, packer.count);
    out.truncate(out.len() - 2 * (count - last) as usize);
    // Zero has neither groups nor a sign.
    let (weight, sign) = match first {
        Some(weight) => (weight, sign),
        None => (0, 0),
    };
    let weight = i16::try_from(weight).map_err(|_| unreadable())?;
    let words = [last as u16, weight as u16, sign, fraction.len() as u16];
    if let Some(place) = out.get_mut(start..start + 8) {
        place.chunks_exact_mut(2).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_be_bytes()));
    }
    Ok(())
}

struct Packer<'a> {
    out: &'a mut Vec<u8>,
    /// One more than the power of 10,000 of the next group.
    weight: i32,
    /// The power of 10,000 of the first group that is not zero.
    first: Option<i32>,
    /// How many groups end with the last one that is not zero.
    last: u32,
    count: u32,
}

impl Packer<'_> {
    /// Up to four digits; in the fraction, those that are missing behind are zeros.
    #[inline]
    fn group(&mut self, digits: &[u8], place: usize) -> Result<()> {
        let mut value = 0u16;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return Err(unreadable());
            }
            value = value * 10 + u16::from(digit);
        }
        for _ in place..4 {
            value *= 10;
        }
        self.weight -= 1;
        if value != 0 {
            self.first.get_or_insert(self.weight);
        }
        if self.first.is_some() {
            self.out.extend_from_slice(&value.to_be_bytes());
            self.count += 1;
            if value != 0 {
                self.last = self.count;
            }
        }
        Ok(())
    }
}

#[inline]
fn head(out: &mut Vec<u8>, groups: u16, weight: i16, sign: u16, scale: u16) {
    out.extend_from_slice(&groups.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
}

#[cold]
fn unreadable() -> Error {
    Error::data("write row: a decimal is not one that PostgreSQL has")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Buf;

    /// groups, weight, sign, scale, then the groups.
    fn words(text: &str) -> Vec<i32> {
        let mut out = Vec::new();
        put(&mut out, text).unwrap();
        let mut bytes = &out[..];
        let mut words = Vec::new();
        while bytes.has_remaining() {
            words.push(i32::from(bytes.get_i16()));
        }
        words
    }

    #[test]
    fn known_forms() {
        assert_eq!(words("0"), [0, 0, 0, 0]);
        assert_eq!(words("0.00"), [0, 0, 0, 2]);
        assert_eq!(words("-0.0"), [0, 0, 0, 1]);
        assert_eq!(words("1"), [1, 0, 0, 0, 1]);
        assert_eq!(words("12345.67"), [3, 1, 0, 2, 1, 2345, 6700]);
        assert_eq!(words("-10000"), [1, 1, 0x4000, 0, 1]);
        assert_eq!(words("0.0001"), [1, -1, 0, 4, 1]);
        assert_eq!(words("0.00001"), [1, -2, 0, 5, 1000]);
        assert_eq!(words("100000000.5"), [4, 2, 0, 1, 1, 0, 0, 5000]);
        assert_eq!(words("NaN"), [0, 0, -0x4000, 0]);
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", "-", ".", "1e5", "1.2.3", "0x1", "١"] {
            assert!(put(&mut Vec::new(), text).is_err(), "{text}");
        }
    }
}
