//! Equality and order of values. Null equals null and nothing else, and has no order; numbers compare by what they are
//! worth, whatever they are kept as; values of other different types are unequal and have no order.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::borrow::Cow;
use std::cmp::Ordering;

use super::datum::Datum;
use super::decimal;

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    /// Whether it is `==` or `!=`, which say something of null, too.
    pub(super) fn is_equality(self) -> bool {
        matches!(self, Order::Equal | Order::NotEqual)
    }

    /// The same with its sides exchanged.
    pub(super) fn reversed(self) -> Order {
        match self {
            Order::Less => Order::Greater,
            Order::LessOrEqual => Order::GreaterOrEqual,
            Order::Greater => Order::Less,
            Order::GreaterOrEqual => Order::LessOrEqual,
            same => same,
        }
    }

    /// Whether sides that stand like this fulfil it.
    #[inline]
    pub(super) fn of(self, ordering: Ordering) -> bool {
        match self {
            Order::Equal => ordering.is_eq(),
            Order::NotEqual => ordering.is_ne(),
            Order::Less => ordering.is_lt(),
            Order::LessOrEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterOrEqual => ordering.is_ge(),
        }
    }

    /// For text; equality looks at lengths first.
    #[inline]
    pub(super) fn of_text(self, left: &str, right: &str) -> bool {
        match self {
            Order::Equal => left == right,
            Order::NotEqual => left != right,
            other => other.of(left.cmp(right)),
        }
    }

    /// Whether two values fulfil it.
    #[inline]
    pub(super) fn holds(self, left: &Datum<'_>, right: &Datum<'_>) -> bool {
        match self {
            Order::Equal => equal(left, right),
            Order::NotEqual => !equal(left, right),
            other => order(left, right).is_some_and(|ordering| other.of(ordering)),
        }
    }
}

/// Whether two values are the same.
pub(super) fn equal(left: &Datum<'_>, right: &Datum<'_>) -> bool {
    match (left, right) {
        (Datum::Null, Datum::Null) => true,
        (Datum::Bytes(left), Datum::Bytes(right)) => left == right,
        (Datum::Json(left), Datum::Json(right)) => left == right,
        (Datum::Array(left), Datum::Array(right)) => left == right,
        _ => order(left, right) == Some(Ordering::Equal),
    }
}

/// How two values stand; `None` when they have no order.
pub(super) fn order(left: &Datum<'_>, right: &Datum<'_>) -> Option<Ordering> {
    Some(match (left, right) {
        (Datum::Int(left), Datum::Int(right)) => left.cmp(right),
        (Datum::Text(left), Datum::Text(right)) => left.cmp(right),
        (Datum::Bool(left), Datum::Bool(right)) => left.cmp(right),
        (Datum::Float(left), Datum::Float(right)) => return left.partial_cmp(right),
        (Datum::Date(left), Datum::Date(right)) => left.cmp(right),
        (Datum::Time(left), Datum::Time(right))
        | (Datum::Timestamp(left), Datum::Timestamp(right))
        | (Datum::TimestampTz(left), Datum::TimestampTz(right)) => left.cmp(right),
        (Datum::Uuid(left), Datum::Uuid(right)) => left.cmp(right),
        (Datum::Bytes(left), Datum::Bytes(right)) => left.cmp(right),
        (Datum::Int(left), Datum::Float(right)) => return int_float(*left, *right),
        (Datum::Float(left), Datum::Int(right)) => return int_float(*right, *left).map(Ordering::reverse),
        (left, right) => return decimal::order(&exact(left)?, &exact(right)?),
    })
}

/// A number as decimal text.
fn exact<'a>(datum: &'a Datum<'_>) -> Option<Cow<'a, str>> {
    match datum {
        Datum::Decimal(text) => Some(Cow::Borrowed(text)),
        Datum::Int(value) => Some(Cow::Owned(value.to_string())),
        Datum::Float(value) => Some(Cow::Owned(decimal::of_float(*value))),
        _ => None,
    }
}

/// Exact, where a conversion of either to the other's type would round.
fn int_float(left: i64, right: f64) -> Option<Ordering> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if right.is_nan() {
        return None;
    }
    if right >= LIMIT {
        return Some(Ordering::Less);
    }
    if right < -LIMIT {
        return Some(Ordering::Greater);
    }
    let whole = right.trunc();
    Some(left.cmp(&(whole as i64)).then_with(|| 0.0f64.total_cmp(&(right - whole + 0.0))))
}
