//! Erasing what a target holds of one person: what a sink is asked to do, and what it answers.
//!
//! A sink knows nothing of cases, rules and receipts: it is given steps, each about the rows of one table, and says how
//! many rows each step met and how many it would still meet.

use serde_json::{Map, Value as Json};

use crate::error::Result;
use crate::value::Value;

/// One person's erasure, as one sink is to carry it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Erasure {
    /// Names the case; the same in every repetition, so that it serves as an idempotency key.
    pub case: String,
    /// The kind of data subject, as the configuration names it.
    pub subject: String,
    /// The subject's key, an encoded [`Value`]. Personal: never shown, logged or put into an error.
    pub key: Vec<u8>,
    /// What to do, in this order.
    pub steps: Vec<Step>,
}

/// What is done to the rows of one table that are about the subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The target's table, unquoted. A table that does not exist holds nothing.
    pub table: String,
    /// Which of its rows.
    pub find: Find,
    /// What those rows hold, an encoded [`Value`] that is not null. Personal.
    pub value: Vec<u8>,
    /// What becomes of them.
    pub action: Action,
}

impl Step {
    /// The value that rows are found by.
    pub fn value(&self) -> Value<'_> {
        Value::from_bytes(&self.value)
    }

    /// An encoded value, for [`Step::value`] and [`Erasure::key`].
    pub fn encode(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out);
        out
    }
}

/// Which rows a step is about. A null, and a row without the column, is never found. Text is compared byte by byte,
/// whatever the collation of the column: another person's row must not be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Find {
    /// Those whose column equals the step's value.
    Column(String),
    /// Those whose JSON column holds the step's value, as a string or a number, under these keys of objects.
    Json {
        /// The column.
        column: String,
        /// Keys, the outermost first; at least one.
        path: Vec<String>,
    },
    /// Those whose column equals a column of another table's rows, which are found in turn.
    Through {
        /// The column of the step's table.
        column: String,
        /// The other table.
        table: String,
        /// The column of the other table that it equals.
        theirs: String,
        /// How the other table's rows are found.
        find: Box<Find>,
    },
}

/// What becomes of rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// They are deleted.
    Delete,
    /// These columns of them are set.
    Set(Vec<(String, Constant)>),
    /// They stay, for a legal reason that the configuration states; counted only.
    Keep,
}

/// What a column is set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Constant {
    /// Null.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text, also for columns of other types that read it.
    Text(String),
}

impl Constant {
    /// As a value.
    pub fn value(&self) -> Value<'_> {
        match self {
            Constant::Null => Value::Null,
            Constant::Bool(value) => Value::Bool(*value),
            Constant::Int(value) => Value::Int(*value),
            Constant::Float(value) => Value::Float(*value),
            Constant::Text(text) => Value::Text(text),
        }
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows deleted or set; for [`Action::Keep`], rows found. A row that is already as it should be does not count.
    pub rows: u64,
    /// Rows that the step would still act on, asked again afterwards in the same transaction: 0 when it did its work. For
    /// [`Action::Keep`] always 0.
    pub left: u64,
}

/// What a sink answers to an [`Erasure`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, one entry for each step, in order; where there is no step, because the other side sees to it itself, one entry
    /// for the whole.
    Done(Vec<Erased>),
    /// Taken over by the other side, which confirms later.
    Awaited,
}

/// Whether bytes remain under the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scrubbed {
    /// None that the sink knows of and can do anything about.
    Done,
    /// Some, for now: ask again later. The text says why, for people, and names no values.
    Later(String),
}

/// Takes one row of a subject: column names and values.
pub type EachHeld<'e> = dyn FnMut(Map<String, Json>) -> Result<()> + Send + 'e;
