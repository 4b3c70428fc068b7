//! Expressions over one row, in the syntax of CEL: `row.plan != 'free' && row.credit > 100`.
//!
//! The crate `cel` parses; nothing of it runs. What was parsed is lowered once, for one shape of a table, to a tree of
//! small functions over column indexes ([`node::Node`]), with a static type for every part, so that a row costs no look-up by
//! name and no tree of values, and so that errors show before the first row. What is outside the subset is an error with
//! its place, never a slow way. docs/MAPPING.md describes the language.
//!
//! Expressions come from a configuration and rows from a peer: neither may panic, recurse or allocate without a bound (I12).

mod calendar;
mod compare;
mod convert;
mod datum;
mod decimal;
mod fault;
mod functions;
mod json;
mod lower;
mod moment;
mod node;
mod number;
mod parse;
mod select;
#[cfg(test)]
mod tests;
mod types;

use std::fmt;

use connector_api::{Schema, Value};

pub use convert::cast;
pub use datum::Datum;
pub use fault::{Failure, Fault};
pub use types::Type;

use node::Node;

/// What a row answers.
pub type Answer<'r> = Result<Datum<'r>, Failure>;

/// An expression may have this many bytes.
pub const BYTES_MAX: usize = 4096;

/// An expression, ready for the rows of one shape.
pub struct Expression {
    text: String,
    kind: Type,
    columns: Vec<usize>,
    column: Option<usize>,
    constant: bool,
    node: Box<dyn Node>,
}

impl Expression {
    /// Works an expression out for rows of this shape.
    ///
    /// # Errors
    /// What is wrong with it, and where in the text.
    pub fn compile(text: &str, schema: &Schema) -> Result<Expression, Fault> {
        Self::lowered(text, Some(schema))
    }

    /// Finds what can be known to be wrong without the shape: syntax, functions that are not there, types of constants.
    ///
    /// # Errors
    /// What is wrong with it, and where in the text.
    pub fn check(text: &str) -> Result<(), Fault> {
        Self::lowered(text, None).map(drop)
    }

    /// Like [`Expression::check`], for a condition.
    ///
    /// # Errors
    /// What is wrong with it, and where in the text.
    pub fn check_condition(text: &str) -> Result<(), Fault> {
        Self::lowered(text, None)?.must_be_condition()
    }

    fn lowered(text: &str, schema: Option<&Schema>) -> Result<Expression, Fault> {
        let parsed = parse::parse(text)?;
        let mut lowering = lower::Lowering::new(&parsed, schema);
        let typed = lowering.lower(&parsed.tree)?;
        Ok(Expression {
            text: text.to_owned(),
            kind: typed.kind,
            columns: lowering.columns.into_iter().collect(),
            column: typed.column,
            constant: typed.constant.is_some(),
            node: typed.node,
        })
    }

    /// Refuses an expression that can be neither true nor false.
    ///
    /// # Errors
    /// Says what it is instead.
    pub fn must_be_condition(&self) -> Result<(), Fault> {
        match self.kind {
            Type::Bool | Type::Json | Type::Any | Type::Null => Ok(()),
            other => {
                let fault =
                    Fault::whole(&self.text, format!("a condition is true or false, and this is {other}"));
                Err(fault.help("compare it with something, as in `row.plan != 'free'`"))
            }
        }
    }

    /// The text that it was made of.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The type of what it gives.
    pub fn kind(&self) -> Type {
        self.kind
    }

    /// The columns that it reads, in order.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The column, when it is nothing but that.
    pub fn column(&self) -> Option<usize> {
        self.column
    }

    /// Whether it gives the same for every row.
    pub fn is_constant(&self) -> bool {
        self.constant
    }

    /// What it gives for a row: the values of all columns, in order.
    ///
    /// # Errors
    /// A value that it needs is not known, or cannot be worked with.
    #[inline]
    pub fn run<'r>(&'r self, row: &'r [Value<'r>]) -> Answer<'r> {
        self.node.run(row)
    }

    /// Whether the row fulfils it; null does not.
    ///
    /// # Errors
    /// As [`Expression::run`].
    #[inline]
    pub fn holds<'r>(&'r self, row: &'r [Value<'r>]) -> Result<bool, Failure> {
        Ok(matches!(self.node.run(row)?, Datum::Bool(true)))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({:?}: {})", self.text, self.kind)
    }
}
