//! The parts of a lowered expression. Each is a small function over the values of a row, and over its parts.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::Value;
use regex::Regex;

use super::Answer;
use super::compare::{self, Order};
use super::datum::Datum;
use super::fault::Failure;
use super::json::{self, Step};

/// A part: gives a value for a row. Depth is bounded when it is made.
pub(super) trait Node: Send + Sync {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r>;
}

/// A part of a part.
pub(super) type Part = Box<dyn Node>;

/// The same for every row.
pub(super) struct Constant(pub(super) Datum<'static>);

impl Node for Constant {
    #[inline]
    fn run<'r>(&'r self, _: &'r [Value<'r>]) -> Answer<'r> {
        Ok(self.0.borrowed())
    }
}

/// A column.
pub(super) struct Column(pub(super) usize);

#[inline]
fn known<'r>(row: &'r [Value<'r>], at: usize) -> Result<Value<'r>, Failure> {
    match row.get(at) {
        None | Some(Value::Unchanged) => Err(Failure::Unknown(at)),
        Some(value) => Ok(*value),
    }
}

impl Node for Column {
    #[inline]
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        known(row, self.0).map(Datum::of)
    }
}

/// A path into a column of JSON; what is not there is null.
pub(super) struct Path {
    pub(super) column: usize,
    pub(super) steps: Vec<Step>,
}

impl Path {
    fn find<'r>(&self, row: &'r [Value<'r>]) -> Result<Option<&'r str>, Failure> {
        match known(row, self.column)? {
            Value::Json(text) => Ok(json::find(text, &self.steps)),
            _ => Ok(None),
        }
    }
}

impl Node for Path {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        Ok(self.find(row)?.map_or(Datum::Null, json::scalar))
    }
}

/// Whether a path leads to something, be it null.
pub(super) struct Has(pub(super) Path);

impl Node for Has {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        Ok(Datum::Bool(self.0.find(row)?.is_some()))
    }
}

/// Whether a column holds anything.
pub(super) struct NotNull(pub(super) usize);

impl Node for NotNull {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        Ok(Datum::Bool(known(row, self.0)? != Value::Null))
    }
}

/// A comparison.
pub(super) struct Compare {
    pub(super) order: Order,
    pub(super) left: Part,
    pub(super) right: Part,
}

impl Node for Compare {
    #[inline]
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        let (left, right) = (self.left.run(row)?, self.right.run(row)?);
        Ok(Datum::Bool(self.order.holds(&left, &right)))
    }
}

/// A column compared with a constant: most conditions are that.
pub(super) struct CompareColumn {
    pub(super) order: Order,
    pub(super) column: usize,
    pub(super) right: Datum<'static>,
}

impl Node for CompareColumn {
    #[inline]
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        let holds = match (known(row, self.column)?, &self.right) {
            (Value::Int(left), Datum::Int(right)) => self.order.of(left.cmp(right)),
            (Value::Text(left), Datum::Text(right)) => self.order.of_text(left, right),
            (left, right) => self.order.holds(&Datum::of(left), right),
        };
        Ok(Datum::Bool(holds))
    }
}

/// Membership in a list that stands in the expression.
pub(super) struct OneOf {
    pub(super) value: Part,
    pub(super) list: Vec<Part>,
}

impl Node for OneOf {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        let value = self.value.run(row)?;
        for item in &self.list {
            if compare::equal(&value, &item.run(row)?) {
                return Ok(Datum::Bool(true));
            }
        }
        Ok(Datum::Bool(false))
    }
}

/// Membership in an array, of SQL or of JSON.
pub(super) struct Within {
    pub(super) value: Part,
    pub(super) array: Part,
}

impl Node for Within {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        let value = self.value.run(row)?;
        let found = match self.array.run(row)? {
            Datum::Array(array) => {
                let (_, mut elements) =
                    array.open().map_err(|_| Failure::Bad("an array that does not decode"))?;
                elements.any(|item| item.is_ok_and(|item| compare::equal(&value, &Datum::of(item))))
            }
            Datum::Json(text) => json::items(text).any(|item| compare::equal(&value, &json::scalar(item))),
            Datum::Null => return Ok(Datum::Null),
            _ => return Err(Failure::Bad("`in` of a JSON value that is no array")),
        };
        Ok(Datum::Bool(found))
    }
}

/// What a condition says: true, false, or null, which also stands for JSON that is no truth value.
#[inline]
fn truth(answer: Answer<'_>) -> Result<Option<bool>, Failure> {
    match answer? {
        Datum::Bool(value) => Ok(Some(value)),
        _ => Ok(None),
    }
}

fn said<'r>(truth: Option<bool>) -> Answer<'r> {
    Ok(truth.map_or(Datum::Null, Datum::Bool))
}

/// `&&` and `||`. `decides` is what one side alone decides: false for `&&`, true for `||`; also beside a failure or a null.
pub(super) struct Logic {
    pub(super) decides: bool,
    pub(super) left: Part,
    pub(super) right: Part,
}

impl Node for Logic {
    #[inline]
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        let left = truth(self.left.run(row));
        if left == Ok(Some(self.decides)) {
            return Ok(Datum::Bool(self.decides));
        }
        let right = truth(self.right.run(row));
        if right == Ok(Some(self.decides)) {
            return Ok(Datum::Bool(self.decides));
        }
        match (left?, right?) {
            (Some(_), Some(_)) => Ok(Datum::Bool(!self.decides)),
            _ => Ok(Datum::Null),
        }
    }
}

/// `!`; of null, null.
pub(super) struct Not(pub(super) Part);

impl Node for Not {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        said(truth(self.0.run(row))?.map(|value| !value))
    }
}

/// `condition ? yes : no`; null is no.
pub(super) struct Choice {
    pub(super) condition: Part,
    pub(super) yes: Part,
    pub(super) no: Part,
}

impl Node for Choice {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        match truth(self.condition.run(row))? {
            Some(true) => self.yes.run(row),
            _ => self.no.run(row),
        }
    }
}

/// A function of one value; of null, null.
pub(super) struct One {
    pub(super) of: Part,
    pub(super) apply: for<'r> fn(Datum<'r>) -> Answer<'r>,
}

impl Node for One {
    #[inline]
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        match self.of.run(row)? {
            Datum::Null => Ok(Datum::Null),
            value => (self.apply)(value),
        }
    }
}

/// A function of two values; null when one of them is.
pub(super) struct Two {
    pub(super) left: Part,
    pub(super) right: Part,
    pub(super) apply: for<'r> fn(Datum<'r>, Datum<'r>) -> Answer<'r>,
}

impl Node for Two {
    #[inline]
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        match (self.left.run(row)?, self.right.run(row)?) {
            (Datum::Null, _) | (_, Datum::Null) => Ok(Datum::Null),
            (left, right) => (self.apply)(left, right),
        }
    }
}

/// A function of three values; null when one of them is.
pub(super) struct Three {
    pub(super) parts: [Part; 3],
    pub(super) apply: for<'r> fn(Datum<'r>, Datum<'r>, Datum<'r>) -> Answer<'r>,
}

impl Node for Three {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        let [first, second, third] = &self.parts;
        match (first.run(row)?, second.run(row)?, third.run(row)?) {
            (Datum::Null, _, _) | (_, Datum::Null, _) | (_, _, Datum::Null) => Ok(Datum::Null),
            (first, second, third) => (self.apply)(first, second, third),
        }
    }
}

/// Whether text matches a pattern that was compiled once.
pub(super) struct Matches {
    pub(super) text: Part,
    pub(super) pattern: Regex,
}

impl Node for Matches {
    fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        match self.text.run(row)? {
            Datum::Text(text) => Ok(Datum::Bool(self.pattern.is_match(&text))),
            Datum::Null => Ok(Datum::Null),
            _ => Err(Failure::Bad("`matches` of a JSON value that is no text")),
        }
    }
}
