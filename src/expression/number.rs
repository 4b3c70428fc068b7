//! Arithmetic and text concatenation. Whole numbers do not wrap around: what does not fit is a failure of the row.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::borrow::Cow;

use super::Answer;
use super::convert;
use super::datum::Datum;
use super::decimal::{self, Work};
use super::fault::Failure;

const OVERFLOW: Failure = Failure::Bad("a whole number beyond 64 bits");
const MISFIT: Failure = Failure::Bad("arithmetic with something that is no number");

fn number<'r>(
    left: &Datum<'r>,
    right: &Datum<'r>,
    whole: fn(i64, i64) -> Option<i64>,
    float: fn(f64, f64) -> f64,
    exact: Option<Work>,
) -> Answer<'r> {
    Ok(match (left, right, exact) {
        (Datum::Int(left), Datum::Int(right), _) => Datum::Int(whole(*left, *right).ok_or(OVERFLOW)?),
        (Datum::Float(left), Datum::Float(right), _) => Datum::Float(float(*left, *right)),
        (Datum::Int(left), Datum::Float(right), _) => Datum::Float(float(*left as f64, *right)),
        (Datum::Float(left), Datum::Int(right), _) => Datum::Float(float(*left, *right as f64)),
        (Datum::Decimal(left), Datum::Decimal(right), Some(work)) => {
            Datum::Decimal(Cow::Owned(decimal::work(left, right, work)?))
        }
        (Datum::Int(left), Datum::Decimal(right), Some(work)) => {
            Datum::Decimal(Cow::Owned(decimal::work(&left.to_string(), right, work)?))
        }
        (Datum::Decimal(left), Datum::Int(right), Some(work)) => {
            Datum::Decimal(Cow::Owned(decimal::work(left, &right.to_string(), work)?))
        }
        _ => return Err(MISFIT),
    })
}

pub(super) fn add<'r>(left: Datum<'r>, right: Datum<'r>) -> Answer<'r> {
    number(&left, &right, i64::checked_add, |left, right| left + right, Some(Work::Add))
}

pub(super) fn subtract<'r>(left: Datum<'r>, right: Datum<'r>) -> Answer<'r> {
    number(&left, &right, i64::checked_sub, |left, right| left - right, Some(Work::Subtract))
}

pub(super) fn multiply<'r>(left: Datum<'r>, right: Datum<'r>) -> Answer<'r> {
    number(&left, &right, i64::checked_mul, |left, right| left * right, Some(Work::Multiply))
}

pub(super) fn divide<'r>(left: Datum<'r>, right: Datum<'r>) -> Answer<'r> {
    if right == Datum::Int(0) {
        return Err(Failure::Bad("a division by zero"));
    }
    number(&left, &right, i64::checked_div, |left, right| left / right, None)
}

pub(super) fn remainder<'r>(left: Datum<'r>, right: Datum<'r>) -> Answer<'r> {
    if right == Datum::Int(0) {
        return Err(Failure::Bad("a division by zero"));
    }
    number(&left, &right, i64::checked_rem, |left, right| left % right, None)
}

pub(super) fn negate(value: Datum<'_>) -> Answer<'_> {
    Ok(match value {
        Datum::Int(value) => Datum::Int(value.checked_neg().ok_or(OVERFLOW)?),
        Datum::Float(value) => Datum::Float(-value),
        Datum::Decimal(text) => Datum::Decimal(Cow::Owned(decimal::work("0", &text, Work::Subtract)?)),
        _ => return Err(MISFIT),
    })
}

/// Both as text, one behind the other.
pub(super) fn concatenate<'r>(left: Datum<'r>, right: Datum<'r>) -> Answer<'r> {
    let mut text = convert::text_of(left)?.into_owned();
    text.push_str(&convert::text_of(right)?);
    Ok(Datum::Text(Cow::Owned(text)))
}
