//! Numbers, UUIDs and bytes.

use super::utf8;

/// An optional sign and up to 19 digits.
#[inline]
pub(super) fn int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut value = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits fit in a u64.
        value = value * 10 + u64::from(digit);
    }
    match negative {
        true if value <= i64::MIN.unsigned_abs() => Some((value as i64).wrapping_neg()),
        false if value <= i64::MAX as u64 => Some(value as i64),
        _ => None,
    }
}

pub(super) fn float(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        // Rust also reads "inf" and "nan"; the server never writes them.
        _ if text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
            utf8(text)?.parse().ok()
        }
        _ => None,
    }
}

/// The server's own form is canonical: it is only checked.
#[inline]
pub(super) fn decimal(text: &[u8]) -> Option<&str> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut points = 0;
    let mut numbers = 0;
    for byte in digits {
        match byte {
            b'0'..=b'9' => numbers += 1,
            b'.' => points += 1,
            _ => {
                let special = matches!(text, b"NaN" | b"Infinity" | b"-Infinity");
                return if special { utf8(text) } else { None };
            }
        }
    }
    if points > 1 || numbers == 0 { None } else { utf8(text) }
}

const fn hex_table() -> [u8; 256] {
    let mut table = [0xff; 256];
    let mut digit = 0u8;
    while digit < 16 {
        let lower = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        let upper = if digit < 10 { b'0' + digit } else { b'A' + digit - 10 };
        // A const block: the indexes are constants, checked by the compiler.
        #[allow(clippy::indexing_slicing)]
        {
            table[lower as usize] = digit;
            table[upper as usize] = digit;
        }
        digit += 1;
    }
    table
}

static HEX: [u8; 256] = hex_table();

/// Two hexadecimal digits.
#[inline]
fn hex(high: u8, low: u8) -> Option<u8> {
    let high = HEX.get(usize::from(high)).copied()?;
    let low = HEX.get(usize::from(low)).copied()?;
    if (high | low) > 15 { None } else { Some(high << 4 | low) }
}

pub(super) fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.try_into().ok()?;
    let mut out = [0u8; 16];
    let mut rest = &text[..];
    for (at, byte) in out.iter_mut().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            rest = rest.strip_prefix(b"-")?;
        }
        let (pair, tail) = rest.split_first_chunk::<2>()?;
        let [high, low] = *pair;
        *byte = hex(high, low)?;
        rest = tail;
    }
    rest.is_empty().then_some(out)
}

/// `\x` and hexadecimal digits, or the older escape form.
pub(super) fn bytes<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    scratch.clear();
    let Some(digits) = text.strip_prefix(b"\\x") else { return escaped(text, scratch) };
    let (pairs, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    scratch.reserve(pairs.len());
    for [high, low] in pairs {
        scratch.push(hex(*high, *low)?);
    }
    Some(scratch)
}

fn escaped<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'\\' {
            scratch.push(*byte);
        } else if let Some(tail) = rest.strip_prefix(b"\\") {
            scratch.push(b'\\');
            rest = tail;
        } else {
            let (octal, tail) = rest.split_first_chunk::<3>()?;
            let mut value = 0u32;
            for digit in octal {
                value = value * 8 + (*digit as char).to_digit(8)?;
            }
            scratch.push(u8::try_from(value).ok()?);
            rest = tail;
        }
    }
    Some(scratch)
}
