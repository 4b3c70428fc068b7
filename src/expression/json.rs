//! Paths into JSON text without a tree of it: values are found by passing over what lies before them.
//!
//! The text comes from a database that checked it; what is malformed all the same is taken as missing. Nothing here
//! recurses (I12).
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::borrow::Cow;

use super::datum::Datum;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key of an object.
    Key(String),
    /// An item of an array, from 0.
    Item(usize),
}

/// The text of the value at the end of a path, if there is one.
pub(super) fn find<'a>(text: &'a str, steps: &[Step]) -> Option<&'a str> {
    steps.iter().try_fold(text.trim_ascii(), |text, step| match step {
        // Of equal keys the last counts, as databases have it.
        Step::Key(name) => entries(text).filter(|(key, _)| same(key, name)).last().map(|(_, value)| value),
        Step::Item(at) => items(text).nth(*at),
    })
}

/// A key as it is written, without its quotes, against a name.
fn same(written: &str, name: &str) -> bool {
    if written.contains('\\') { unescaped(written) == name } else { written == name }
}

/// The value of JSON text: objects and arrays stay text.
pub(super) fn scalar(text: &str) -> Datum<'_> {
    let text = text.trim_ascii();
    match text.as_bytes().first() {
        Some(b'"') => {
            let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
            Datum::Text(if inner.contains('\\') {
                Cow::Owned(unescaped(inner))
            } else {
                Cow::Borrowed(inner)
            })
        }
        Some(b't') => Datum::Bool(true),
        Some(b'f') => Datum::Bool(false),
        Some(b'{' | b'[') => Datum::Json(text),
        Some(b'-' | b'0'..=b'9') => number(text),
        _ => Datum::Null,
    }
}

fn number(text: &str) -> Datum<'_> {
    if let Ok(whole) = text.parse() {
        return Datum::Int(whole);
    }
    if text.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
        return text.parse().map_or(Datum::Null, Datum::Float);
    }
    Datum::Decimal(Cow::Borrowed(text))
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(rest.get(..at).unwrap_or_default());
        let (character, length) = escape(rest.get(at + 1..).unwrap_or_default());
        out.push(character);
        rest = rest.get(at + 1 + length..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// What stands behind a backslash, and its bytes.
fn escape(text: &str) -> (char, usize) {
    let unit = |at: usize| text.get(at..at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match text.chars().next() {
        Some('n') => ('\n', 1),
        Some('t') => ('\t', 1),
        Some('r') => ('\r', 1),
        Some('b') => ('\u{8}', 1),
        Some('f') => ('\u{c}', 1),
        Some('u') => {
            let Some(first) = unit(1) else { return (char::REPLACEMENT_CHARACTER, 1) };
            let second = text.get(5..7).filter(|start| *start == "\\u").and_then(|_| unit(7));
            match (first, second) {
                (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) => {
                    let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11)
                }
                _ => (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 5),
            }
        }
        Some(other) => (other, other.len_utf8()),
        None => (char::REPLACEMENT_CHARACTER, 0),
    }
}

/// The items of an array; none when it is no array.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = opened(text, '[');
    std::iter::from_fn(move || value(&mut rest))
}

/// The keys, as they are written without quotes, and values of an object; none when it is no object.
fn entries(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = opened(text, '{');
    std::iter::from_fn(move || {
        let key = value(&mut rest)?;
        let key = key.strip_prefix('"')?.strip_suffix('"')?;
        Some((key, value(&mut rest)?))
    })
}

fn opened(text: &str, bracket: char) -> &str {
    text.trim_ascii_start().strip_prefix(bracket).unwrap_or_default()
}

/// Takes the next value off the inside of an object or an array, with the comma or colon before it.
fn value<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let separator = |char: char| char.is_ascii_whitespace() || char == ',' || char == ':';
    let text = rest.trim_start_matches(separator);
    let end = end_of(text.as_bytes())?;
    let (value, after) = text.split_at_checked(end)?;
    *rest = after;
    (!value.is_empty()).then_some(value)
}

/// Where the value at the beginning ends; 0 when there is none.
fn end_of(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    loop {
        match bytes.get(at) {
            None => return (depth == 0).then_some(at),
            Some(b'"') => at = end_of_text(bytes, at + 1)?,
            Some(b'{' | b'[') => {
                depth += 1;
                at += 1;
            }
            Some(b'}' | b']') => {
                if depth == 0 {
                    return Some(at);
                }
                depth -= 1;
                at += 1;
            }
            Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') if depth == 0 => return Some(at),
            Some(_) => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The byte after the closing quote.
fn end_of_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}
