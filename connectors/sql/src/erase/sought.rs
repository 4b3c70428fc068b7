//! What is looked for, in the forms that columns may have it in.

use connector_api::json::put_text;
use connector_api::{Error, Result, Value};

/// Most digits of a number that is compared as one: what every system keeps exactly.
const DIGITS_MAX: usize = 38;

/// The value that rows are found by. Personal: it has no `Debug` that shows it.
pub struct Sought<'v> {
    /// Itself.
    pub value: Value<'v>,
    /// Its texts, the usual one first.
    pub texts: Vec<String>,
    /// It as a number: sign, digits, point, without a zero that could be left out.
    pub number: Option<String>,
    /// It as a UUID.
    pub uuid: Option<[u8; 16]>,
}

impl std::fmt::Debug for Sought<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sought").field("kind", &self.value.kind()).finish_non_exhaustive()
    }
}

impl<'v> Sought<'v> {
    /// The forms of a value.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] for a null, or what does not decode.
    pub fn of(value: Value<'v>) -> Result<Sought<'v>> {
        if value.kind().is_none() {
            return Err(Error::corrupt("erase rows: there is no value to find them by"));
        }
        let mut text = String::new();
        put_text(&mut text, value)?;
        let number = match value {
            Value::Int(int) => Some(int.to_string()),
            Value::Bool(bool) => Some(u8::from(bool).to_string()),
            Value::Float(float) if float.is_finite() => number(&float.to_string()),
            Value::Decimal(text) => number(text),
            Value::Text(text) => number(text).filter(|number| number == text),
            _ => None,
        };
        let uuid = match value {
            Value::Uuid(uuid) => Some(uuid),
            Value::Text(text) => uuid(text),
            _ => None,
        };
        let mut texts = vec![text];
        if let (Value::Uuid(_), Some(first)) = (value, texts.first()) {
            // A UUID has no case; texts of it have.
            texts.push(first.to_ascii_uppercase());
        }
        Ok(Sought { value, texts, number, uuid })
    }

    /// Its usual text.
    pub fn text(&self) -> &str {
        self.texts.first().map_or("", String::as_str)
    }

    /// It as a whole number.
    pub fn integer(&self) -> Option<&str> {
        self.number.as_deref().filter(|number| !number.contains('.'))
    }

    /// Its bytes, for a column of bytes. Text goes into such a column as it is.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }
}

/// A number without what could be left out; `None` when it is none, or has more digits than can be compared.
pub(super) fn number(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.len() + fraction.len() > DIGITS_MAX {
        return None;
    }
    Some(match (whole, fraction) {
        ("", "") => "0".to_owned(),
        ("", fraction) => format!("{sign}0.{fraction}"),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    })
}

/// A UUID in its usual form, in any case of letters.
fn uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let mut nibbles = Vec::with_capacity(32);
    for (at, character) in text.char_indices() {
        match (at, character) {
            (8 | 13 | 18 | 23, '-') => {}
            (8 | 13 | 18 | 23, _) => return None,
            (_, digit) => nibbles.push(digit.to_digit(16)?),
        }
    }
    let mut uuid = [0u8; 16];
    for (byte, pair) in uuid.iter_mut().zip(nibbles.chunks(2)) {
        let [high, low] = pair else { return None };
        *byte = (high * 16 + low) as u8;
    }
    Some(uuid)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn forms(value: Value<'_>) -> (Vec<String>, Option<String>) {
        let sought = Sought::of(value).unwrap();
        (sought.texts, sought.number)
    }

    #[test]
    fn a_text_is_a_number_only_when_it_is_written_as_one() {
        for (text, wanted) in [("7", true), ("-12.5", true), ("0", true), ("9007199254740993", true)] {
            assert_eq!(forms(Value::Text(text)).1.is_some(), wanted, "{text}");
        }
        for text in ["007", "7 ", " 7", "+7", "7.0", "7.", ".5", "-0", "7e0", "7abc", "", "٧", "NaN"] {
            assert_eq!(forms(Value::Text(text)).1, None, "{text:?}");
        }
    }

    #[test]
    fn numbers_lose_only_what_means_nothing() {
        for (decimal, wanted) in
            [("12.50", "12.5"), ("-0.00", "0"), ("007", "7"), ("0.5", "0.5"), ("100", "100")]
        {
            assert_eq!(forms(Value::Decimal(decimal)).1.as_deref(), Some(wanted));
        }
        assert_eq!(forms(Value::Float(7.0)).1.as_deref(), Some("7"));
        for value in [Value::Float(f64::NAN), Value::Float(1e300), Value::Decimal("NaN")] {
            assert_eq!(forms(value).1, None);
        }
    }

    #[test]
    fn a_uuid_is_one_in_any_case_and_nothing_else_is() {
        let text = "0123abcd-0000-4000-8000-00000000fFfF";
        let sought = Sought::of(Value::Text(text)).unwrap();
        assert_eq!(sought.texts, [text], "as a text it is only itself");
        let uuid = sought.uuid.unwrap();
        let both = ["0123abcd-0000-4000-8000-00000000ffff", "0123ABCD-0000-4000-8000-00000000FFFF"];
        assert_eq!(Sought::of(Value::Uuid(uuid)).unwrap().texts, both);
        for text in
            ["", "0123abcd", "0123abcd-0000-4000-8000-00000000fffg", "0123abcd00000400080000000000ffff1234"]
        {
            assert_eq!(Sought::of(Value::Text(text)).unwrap().uuid, None);
        }
    }

    #[test]
    fn nothing_is_no_value_and_debug_shows_none() {
        assert!(Sought::of(Value::Null).is_err() && Sought::of(Value::Unchanged).is_err());
        let shown = format!("{:?}", Sought::of(Value::Text("hunter2")).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
