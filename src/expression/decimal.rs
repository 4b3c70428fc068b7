//! Decimals as databases keep them: exact, of any size, as text. Compared at any size; worked with up to 38 digits.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::cmp::Ordering;

use super::fault::Failure;

/// The digits of a finite decimal.
struct Digits<'a> {
    negative: bool,
    /// Before the point, without leading zeros.
    whole: &'a str,
    /// After the point, without trailing zeros.
    part: &'a str,
}

/// A decimal, or one of the three that are no number of digits.
enum Parsed<'a> {
    Finite(Digits<'a>),
    Infinite { negative: bool },
    NotANumber,
}

fn parse(text: &str) -> Option<Parsed<'_>> {
    match text {
        "NaN" => return Some(Parsed::NotANumber),
        "Infinity" => return Some(Parsed::Infinite { negative: false }),
        "-Infinity" => return Some(Parsed::Infinite { negative: true }),
        _ => {}
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !only(whole) || !only(part) || digits.is_empty() {
        return None;
    }
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let zero = whole.is_empty() && part.is_empty();
    Some(Parsed::Finite(Digits { negative: negative && !zero, whole, part }))
}

/// Whether a text is a decimal.
pub(super) fn is_decimal(text: &str) -> bool {
    parse(text).is_some()
}

/// How two stand; `None` for NaN, and for what is no decimal.
pub(super) fn order(left: &str, right: &str) -> Option<Ordering> {
    let rank = |negative: bool| if negative { -1 } else { 1 };
    Some(match (parse(left)?, parse(right)?) {
        (Parsed::NotANumber, _) | (_, Parsed::NotANumber) => return None,
        (Parsed::Infinite { negative: left }, Parsed::Infinite { negative: right }) => {
            rank(left).cmp(&rank(right))
        }
        (Parsed::Infinite { negative }, _) => rank(negative).cmp(&0),
        (_, Parsed::Infinite { negative }) => 0.cmp(&rank(negative)),
        (Parsed::Finite(left), Parsed::Finite(right)) => match (left.negative, right.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => magnitude(&left, &right),
            (true, true) => magnitude(&right, &left),
        },
    })
}

fn magnitude(left: &Digits<'_>, right: &Digits<'_>) -> Ordering {
    let lengths = left.whole.len().cmp(&right.whole.len());
    lengths.then_with(|| left.whole.cmp(right.whole)).then_with(|| left.part.cmp(right.part))
}

/// A float as the shortest decimal that reads back as it.
pub(super) fn of_float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value => format!("{value}"),
    }
}

/// What is done with two decimals.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Add,
    Subtract,
    Multiply,
}

const TOO_LARGE: Failure = Failure::Bad("a decimal of more than 38 digits");

/// Works exactly: the scale of a sum is the larger one, of a product both together.
pub(super) fn work(left: &str, right: &str, work: Work) -> Result<String, Failure> {
    let ((left, left_scale), (right, right_scale)) = (mantissa(left)?, mantissa(right)?);
    let scaled = |value: i128, by: u32| 10i128.checked_pow(by).and_then(|factor| value.checked_mul(factor));
    let scale = left_scale.max(right_scale);
    let aligned = || Some((scaled(left, scale - left_scale)?, scaled(right, scale - right_scale)?));
    let (value, scale) = match work {
        Work::Multiply => (left.checked_mul(right), left_scale + right_scale),
        Work::Add => (aligned().and_then(|(left, right)| left.checked_add(right)), scale),
        Work::Subtract => (aligned().and_then(|(left, right)| left.checked_sub(right)), scale),
    };
    Ok(text(value.ok_or(TOO_LARGE)?, scale as usize))
}

/// All digits as one number, and how many of them stand after the point.
fn mantissa(text: &str) -> Result<(i128, u32), Failure> {
    let no_digits = Failure::Bad("a decimal that is NaN or infinite");
    if !matches!(parse(text), Some(Parsed::Finite(_))) {
        return Err(no_digits);
    }
    let scale = text.split_once('.').map_or(0, |(_, part)| part.len());
    let digits: String = text.chars().filter(|char| *char != '.').collect();
    let scale = u32::try_from(scale).ok().filter(|scale| *scale <= 38).ok_or(TOO_LARGE)?;
    digits.parse().map(|value| (value, scale)).map_err(|_| TOO_LARGE)
}

fn text(value: i128, scale: usize) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at_checked(digits.len() - scale).unwrap_or((&digits, ""));
    let sign = if value < 0 { "-" } else { "" };
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}
