//! Erasing: the statements of one step, for every system from one place. A sink looks at the tables that a step names
//! ([`names`]), and is given the text of what to run with its values: act, count what is left, show what is held.
//!
//! Another person's row must not be met. A row is found when its column holds the value itself, in the form that the
//! column's type has for it: the number 7 in a column of numbers, the text `7` in one of texts, a UUID as such, as text
//! or as sixteen bytes. Texts are compared byte by byte, whatever the collation; a comparison that an index serves comes
//! first. A text stands for a number only when it is written as numbers are (`7`, never `007`). A value for which the
//! column's type has no form finds nothing.
//!
//! All names are quoted; what is personal is bound, or goes through the one writer of literals (I12).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod clause;
mod examine;
mod sought;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use std::collections::BTreeMap;

use connector_api::erasure::{Constant, Find, Step};
use connector_api::{Error, Kind};

pub use clause::{Search, Statement};
pub use examine::{Codes, examine};
pub use sought::Sought;

/// The deepest that one table is found through others.
pub const LEVELS_MAX: usize = 16;

/// How one system looks for rows.
pub trait Finder {
    /// What only this system knows of a column.
    type Facts;
    /// A value that is bound; none where values are written as literals.
    type Value;

    /// The codes of its findings, `erasure_codes!("sqlite")`.
    const CODES: &'static Codes;
    /// Another table's rows are joined, because an `IN` with a subquery would not use an index when rows are changed.
    const JOINS: bool = false;

    /// A name in quotes.
    fn quote(&self, name: &str) -> String;

    /// A table's name, quoted, with what it needs to be found.
    fn table(&self, name: &str) -> String {
        self.quote(name)
    }

    /// Whether two names mean one column.
    fn same_column(&self, one: &str, other: &str) -> bool;

    /// The condition that a column holds what is sought; `None` when its type has no form for it.
    fn equals(
        &self,
        at: &At<'_, Self::Facts>,
        sought: &Sought<'_>,
        values: &mut Vec<Self::Value>,
    ) -> Option<String>;

    /// The condition that a JSON column holds it under these keys.
    ///
    /// # Errors
    /// Why the column cannot be searched so.
    fn holds(
        &self,
        at: &At<'_, Self::Facts>,
        path: &[String],
        sought: &Sought<'_>,
        values: &mut Vec<Self::Value>,
    ) -> Result<String, String>;

    /// What is compared when a column is to equal another table's.
    ///
    /// # Errors
    /// Why the two cannot be compared.
    fn link(&self, ours: &At<'_, Self::Facts>, theirs: &At<'_, Self::Facts>) -> Result<Link, String>;

    /// What a column is set to, and the condition that it is something else.
    ///
    /// # Errors
    /// Why the column does not take it.
    fn set(
        &self,
        at: &At<'_, Self::Facts>,
        constant: &Constant,
        values: &mut Vec<Self::Value>,
    ) -> Result<Set, String>;

    /// How a column is read in a row that is shown.
    fn shown(&self, at: &At<'_, Self::Facts>) -> String {
        at.sql.clone()
    }

    /// The statement that makes an index.
    fn index(&self, table: &str, column: &Column<Self::Facts>) -> String {
        let name = self.quote(&format!("{table}_{}", column.name));
        format!("CREATE INDEX {name} ON {} ({});", self.table(table), self.quote(&column.name))
    }

    /// The statement that gives a right.
    fn grant(&self, table: &str, right: &str) -> String {
        format!("GRANT {right} ON {} TO the sink's role;", self.table(table))
    }
}

/// What stands under the name of a table.
#[derive(Debug)]
pub enum Place<F> {
    /// Nothing: it holds nothing of anybody.
    Missing,
    /// No table, by the system's word for it.
    Other(String),
    /// A table.
    Table(Table<F>),
}

/// The tables of a step, by the names that it has for them.
pub type Tables<F> = BTreeMap<String, Place<F>>;

/// A table to be searched.
#[derive(Debug)]
pub struct Table<F> {
    /// Its columns, in their order.
    pub columns: Vec<Column<F>>,
    /// What only an examination asks for.
    pub limits: Limits,
}

/// A column.
#[derive(Debug, Clone)]
pub struct Column<F> {
    /// Its name.
    pub name: String,
    /// Computed by the system, cannot be written.
    pub generated: bool,
    /// What only this system knows.
    pub facts: F,
}

/// What may be in the way of an erasure.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// The first column of each index that serves every row.
    pub indexed: Vec<String>,
    /// Columns that take no NULL.
    pub filled: Vec<String>,
    /// The primary key.
    pub key: Vec<String>,
    /// Other sets of columns that are unique.
    pub unique: Vec<Vec<String>>,
    /// Rights that are missing, of SELECT, UPDATE and DELETE, as far as the catalog tells.
    pub lacking: Vec<&'static str>,
}

/// A column in a statement.
#[derive(Debug)]
pub struct At<'c, F> {
    /// The column.
    pub column: &'c Column<F>,
    /// Its name with its table's alias, quoted.
    pub sql: String,
}

/// What is compared of two tables: expressions of ours, each with the one of theirs that it is to equal. The first is
/// the one that an index serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Of the rows that are looked for.
    pub ours: Vec<String>,
    /// Of the other table's.
    pub theirs: Vec<String>,
}

impl Link {
    /// One expression of each.
    pub fn plain(ours: impl Into<String>, theirs: impl Into<String>) -> Link {
        Link { ours: vec![ours.into()], theirs: vec![theirs.into()] }
    }

    /// One more that has to be equal.
    #[must_use]
    pub fn and(mut self, ours: impl Into<String>, theirs: impl Into<String>) -> Link {
        self.ours.push(ours.into());
        self.theirs.push(theirs.into());
        self
    }
}

/// A column that is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The expression of its new value.
    pub value: String,
    /// The condition that it has another.
    pub differs: String,
}

/// The names of the tables that a step is about, its own first.
pub fn names(step: &Step) -> Vec<&str> {
    let mut names = vec![&*step.table];
    let mut find = &step.find;
    while let Find::Through { table, find: inner, .. } = find {
        if !names.contains(&&**table) {
            names.push(table);
        }
        find = inner;
    }
    names
}

/// What is done to a table, for errors: never with a value.
pub fn doing(step: &Step) -> String {
    format!("erase rows of table {:?}", step.table)
}

/// A failure of the statements of a step. What the target refuses (a foreign key, a trigger, NOT NULL) it would refuse
/// again: a person has to act, and the cursor stays where it is.
pub fn refused(step: &Step, error: Error) -> Error {
    if error.kind() != Kind::Data {
        return error;
    }
    let table = &step.table;
    Error::config(error.to_string()).with_remedy(format!(
        "in the `erasure` section put the rows that refer to table {table:?} before it, or change what its columns are set \
         to; `millstream check CONFIG` says which"
    ))
}
