//! The way back from the text of values, for sinks that keep some kinds as text and are read again.

use crate::array::{Dimension, MAX_DIMENSIONS, put_array_head};
use crate::civil::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
use crate::value::{Value, ValueKind};

/// Appends, encoded, the value of this kind that [`super::put_text`] writes as `text`. False, and nothing is appended, when
/// the text is no such value. An array needs [`encode_array`].
#[must_use]
pub fn encode_text(out: &mut Vec<u8>, kind: ValueKind, text: &str) -> bool {
    let bytes;
    let value = match kind {
        ValueKind::Bool => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        ValueKind::Int => text.parse().ok().map(Value::Int),
        ValueKind::Float => float(text).map(Value::Float),
        ValueKind::Decimal => is_decimal(text).then_some(Value::Decimal(text)),
        ValueKind::Text => Some(Value::Text(text)),
        ValueKind::Json => Some(Value::Json(text)),
        ValueKind::Bytes => {
            bytes = text.strip_prefix("\\x").and_then(hex);
            bytes.as_deref().map(Value::Bytes)
        }
        ValueKind::Uuid => uuid(text).map(Value::Uuid),
        ValueKind::Date => parse_date(text).map(Value::Date),
        ValueKind::Time => parse_time(text).map(Value::Time),
        ValueKind::Timestamp => parse_timestamp(text).map(Value::Timestamp),
        ValueKind::TimestampTz => parse_timestamptz(text).map(Value::TimestampTz),
        ValueKind::Array => None,
    };
    value.inspect(|value| value.encode(out)).is_some()
}

fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Nothing else that begins with a letter is a number, though the standard library takes some.
        _ => {
            text.parse().ok().filter(|_| !text.bytes().any(|byte| matches!(byte, b'n' | b'N' | b'y' | b'Y')))
        }
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.strip_prefix('-').unwrap_or(text);
    matches!(text, "NaN" | "Infinity" | "-Infinity")
        || match number.split_once('.') {
            Some((whole, fraction)) => digits(whole) && digits(fraction),
            None => digits(number),
        }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    pairs.iter().map(byte).collect::<Option<_>>().filter(|_| rest.is_empty())
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let at = |at: usize| text.as_bytes().get(at);
    let shaped = text.len() == 36 && [8, 13, 18, 23].into_iter().all(|hyphen| at(hyphen) == Some(&b'-'));
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    shaped.then(|| hex(&digits))?.and_then(|bytes| bytes.try_into().ok())
}

/// Appends the array (its inner encoding, see [`crate::array::Array::from_bytes`]) that [`super::put_json`] writes as
/// `text`. Lower bounds are not in the text, and come back as 1; an array of JSON comes back with one dimension, because its
/// elements may be arrays themselves. False, and nothing is appended, when the text is no such array.
#[must_use]
pub fn encode_array(out: &mut Vec<u8>, element: ValueKind, text: &str) -> bool {
    let text = text.trim_ascii();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (mut lengths, mut elements) = (Vec::new(), Vec::new());
    if inner.is_none_or(|inner| !inner.trim_ascii().is_empty()) {
        let depth = if element == ValueKind::Json { 1 } else { depth(text) };
        let mut scan = Scan(text);
        if scan.array(element, depth, &mut lengths, 0, &mut elements).is_none() || !scan.0.is_empty() {
            return false;
        }
    }
    let dimensions: Vec<_> = lengths.into_iter().map(|len| Dimension { len, lower: 1 }).collect();
    put_array_head(out, &dimensions);
    out.extend_from_slice(&elements);
    true
}

/// How many brackets the text opens with.
fn depth(text: &str) -> usize {
    let opening = |byte: &u8| matches!(byte, b'[' | b' ' | b'\n' | b'\t' | b'\r');
    text.bytes().take_while(opening).filter(|byte| *byte == b'[').count()
}

/// What of a JSON text is yet to be read.
struct Scan<'a>(&'a str);

impl<'a> Scan<'a> {
    fn take(&mut self, mark: char) -> Option<()> {
        self.0 = self.0.trim_ascii_start().strip_prefix(mark)?.trim_ascii_start();
        Some(())
    }

    /// One array of `depth` dimensions; its first sets how long they are. No deeper than an array may be.
    fn array(
        &mut self,
        element: ValueKind,
        depth: usize,
        lengths: &mut Vec<u32>,
        level: usize,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        if depth == 0 || depth > MAX_DIMENSIONS {
            return None;
        }
        let first = lengths.len() == level;
        if first {
            lengths.push(0);
        }
        self.take('[')?;
        let mut length = 0u32;
        loop {
            match level + 1 < depth {
                true => self.array(element, depth, lengths, level + 1, out)?,
                false => self.element(element, out)?,
            }
            length = length.checked_add(1)?;
            if self.take(',').is_none() {
                break;
            }
        }
        self.take(']')?;
        let known = lengths.get_mut(level)?;
        if first {
            *known = length;
        }
        (*known == length).then_some(())
    }

    fn element(&mut self, kind: ValueKind, out: &mut Vec<u8>) -> Option<()> {
        let raw = self.value()?;
        if raw == "null" {
            Value::Null.encode(out);
            return Some(());
        }
        let quoted = raw.starts_with('"');
        let sound = match kind {
            ValueKind::Json => encode_text(out, kind, raw),
            ValueKind::Bool | ValueKind::Int if quoted => false,
            ValueKind::Bool | ValueKind::Int => encode_text(out, kind, raw),
            ValueKind::Float if !quoted => encode_text(out, kind, raw),
            _ if quoted => encode_text(out, kind, &unescape(raw)?),
            _ => false,
        };
        sound.then_some(())
    }

    /// The text of one value, whatever it is. Nesting is counted, so that no depth can harm.
    fn value(&mut self) -> Option<&'a str> {
        let text = self.0;
        let (mut depth, mut inside, mut escaped) = (0usize, false, false);
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if inside => escaped = true,
                b'"' => inside = !inside,
                _ if inside => {}
                b'[' | b'{' => depth += 1,
                b']' | b'}' if depth > 0 => depth -= 1,
                b',' | b']' | b'}' if depth == 0 => {
                    let (value, rest) = text.split_at_checked(at)?;
                    self.0 = rest;
                    return Some(value.trim_ascii_end()).filter(|value| !value.is_empty());
                }
                _ => {}
            }
        }
        None
    }
}

/// The text of a JSON string.
fn unescape(raw: &str) -> Option<String> {
    let mut rest = raw.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::with_capacity(rest.len());
    while let Some(at) = rest.find(['\\', '"']) {
        let (plain, escape) = rest.split_at_checked(at)?;
        out.push_str(plain);
        let mut characters = escape.strip_prefix('\\')?.chars();
        out.push(match characters.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'b' => '\u{8}',
            'f' => '\u{c}',
            mark @ ('"' | '\\' | '/') => mark,
            'u' => {
                let (character, after) = unicode(characters.as_str())?;
                out.push(character);
                rest = after;
                continue;
            }
            _ => return None,
        });
        rest = characters.as_str();
    }
    out.push_str(rest);
    Some(out)
}

/// The character behind `\u`, two escapes for those outside the first plane.
fn unicode(text: &str) -> Option<(char, &str)> {
    let (high, rest) = unit(text)?;
    if !(0xd800..0xdc00).contains(&high) {
        return Some((char::from_u32(high)?, rest));
    }
    let (low, rest) = unit(rest.strip_prefix("\\u")?)?;
    let low = Some(low).filter(|low| (0xdc00..0xe000).contains(low))?;
    Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?, rest))
}

fn unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((u32::from_str_radix(digits, 16).ok().filter(|_| plain)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::Array;
    use crate::json::{put_json, put_text};
    use proptest::prelude::*;

    fn text_of(value: Value<'_>) -> String {
        let mut out = String::new();
        put_text(&mut out, value).unwrap();
        out
    }

    #[test]
    fn scalars_come_back() {
        let values = [
            Value::Bool(true),
            Value::Bool(false),
            Value::Int(i64::MIN),
            Value::Float(0.1),
            Value::Float(5e-324),
            Value::Float(f64::NEG_INFINITY),
            Value::Decimal("-0012.500"),
            Value::Decimal("NaN"),
            Value::Text("a\u{0}b"),
            Value::Json("{}"),
            Value::Bytes(&[0, 255]),
            Value::Bytes(&[]),
            Value::Uuid([0xab; 16]),
            Value::Date(-800_000),
            Value::Time(1),
            Value::Timestamp(i64::MAX),
            Value::TimestampTz(-1),
        ];
        for value in values {
            let mut out = Vec::new();
            assert!(encode_text(&mut out, value.kind().unwrap(), &text_of(value)), "{value:?}");
            assert_eq!(Value::from_bytes(&out), value);
        }
    }

    #[test]
    fn other_text_is_refused_and_leaves_nothing() {
        let cases = [
            (ValueKind::Bool, "1"),
            (ValueKind::Int, "1.0"),
            (ValueKind::Int, ""),
            (ValueKind::Float, "nan"),
            (ValueKind::Float, "inf"),
            (ValueKind::Float, "infinity"),
            (ValueKind::Decimal, "1."),
            (ValueKind::Decimal, "1e5"),
            (ValueKind::Decimal, "--1"),
            (ValueKind::Bytes, "00"),
            (ValueKind::Bytes, "\\x0"),
            (ValueKind::Bytes, "\\xzz"),
            (ValueKind::Uuid, "abababababababababababababababab"),
            (ValueKind::Uuid, "ab-babab-abab-abab-abab-abababababab"),
            (ValueKind::Date, "today"),
            (ValueKind::Array, "[]"),
        ];
        for (kind, text) in cases {
            let mut out = Vec::new();
            assert!(!encode_text(&mut out, kind, text) && out.is_empty(), "{kind:?} {text:?}");
        }
    }

    fn array(values: &[Value<'_>], dimensions: &[u32]) -> Vec<u8> {
        let dimensions: Vec<_> = dimensions.iter().map(|len| Dimension { len: *len, lower: 1 }).collect();
        let mut out = Vec::new();
        put_array_head(&mut out, &dimensions);
        values.iter().for_each(|value| value.encode(&mut out));
        out
    }

    fn back(bytes: &[u8], element: ValueKind) -> Option<Vec<u8>> {
        let mut text = String::new();
        put_json(&mut text, Value::Array(Array::from_bytes(bytes))).unwrap();
        let mut out = Vec::new();
        encode_array(&mut out, element, &text).then_some(out)
    }

    #[test]
    fn arrays_come_back_with_their_dimensions() {
        let texts = ["", "a\"b\\", "\u{1}\n", "null", "[1]", "é\u{1F600}"].map(Value::Text);
        let numbers = [1, 2, 3, 4, 5, 6, 7, 8].map(Value::Int);
        let cases = [
            (array(&[], &[]), ValueKind::Int),
            (array(&numbers, &[8]), ValueKind::Int),
            (array(&numbers, &[2, 2, 2]), ValueKind::Int),
            (array(&numbers, &[4, 2]), ValueKind::Int),
            (array(&texts, &[3, 2]), ValueKind::Text),
            (array(&[Value::Null, Value::Bool(true)], &[2]), ValueKind::Bool),
            (array(&[Value::Float(1.5), Value::Float(f64::INFINITY)], &[2]), ValueKind::Float),
            (array(&[Value::Decimal("1.50"), Value::Decimal("NaN")], &[2]), ValueKind::Decimal),
            (array(&[Value::Json("{\"a\": [1, 2]}"), Value::Json("[[]]")], &[2]), ValueKind::Json),
            (array(&[Value::Bytes(&[1]), Value::Null], &[2]), ValueKind::Bytes),
            (array(&[Value::Date(1), Value::Null], &[1, 2]), ValueKind::Date),
        ];
        for (bytes, element) in cases {
            assert_eq!(back(&bytes, element).as_ref(), Some(&bytes), "{element:?}");
        }
    }

    #[test]
    fn what_is_no_array_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "[",
            "]",
            "[1",
            "[1,]",
            "[,1]",
            "[[1],[2,3]]",
            "[[1],2]",
            "[1,[2]]",
            "[1]x",
            "[]x",
            "[\"a\"]",
            "[1.5]",
            "[\"\\u12\"]",
            "{}",
            "1",
            "[[[[[[[1]]]]]]]",
            "[[]]",
            &deep,
        ] {
            let mut out = b"kept".to_vec();
            assert!(!encode_array(&mut out, ValueKind::Int, text), "{text:?}");
            assert_eq!(out, b"kept");
        }
        for text in ["[\"\\ud800\"]", "[\"\\udc00\"]", "[\"\\q\"]", "[\"a\"b\"]", "[\"\\u+123\"]"] {
            assert!(!encode_array(&mut Vec::new(), ValueKind::Text, text), "{text:?}");
        }
        let mut out = Vec::new();
        assert!(encode_array(&mut out, ValueKind::Text, " [ \"\\ud83d\\ude00\\/\" , null ] "));
        assert_eq!(out, array(&[Value::Text("\u{1F600}/"), Value::Null], &[2]));
    }

    proptest! {
        #[test]
        fn texts_come_back(texts in proptest::collection::vec(any::<String>(), 1..5)) {
            let values: Vec<_> = texts.iter().map(|text| Value::Text(text)).collect();
            let bytes = array(&values, &[values.len() as u32]);
            prop_assert_eq!(back(&bytes, ValueKind::Text), Some(bytes));
        }

        #[test]
        fn any_text_is_taken(text in "[\\[\\],\"\\\\a1u ]{0,30}") {
            for kind in ValueKind::ALL {
                let _ = encode_array(&mut Vec::new(), kind, &text);
                let _ = encode_text(&mut Vec::new(), kind, &text);
            }
        }
    }
}
