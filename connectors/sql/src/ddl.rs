//! A table as a topic needs it.
//!
//! Only columns of the key are NOT NULL: columns that the source drops stay behind without values, and a row of which
//! the source left values out must have a place.

use connector_api::{Target, ValueKind};

use crate::dialect::Dialect;
use crate::names::list;

/// A table that a topic is to be written to.
#[derive(Debug)]
pub struct Wanted<'a, D: Dialect> {
    /// The mapping, worked out for the shape.
    pub target: &'a Target,
    /// Where it is to stand.
    pub dialect: &'a D,
}

impl<D: Dialect> Clone for Wanted<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Dialect> Copy for Wanted<'_, D> {}

impl<'a, D: Dialect> Wanted<'a, D> {
    /// The target's name, quoted.
    pub fn table(&self) -> String {
        self.dialect.quote(&self.target.table)
    }

    /// Kind of the values of a target column.
    pub fn kind(&self, column: usize) -> ValueKind {
        self.target.column(column).map_or(ValueKind::Text, |column| column.kind)
    }

    /// The declared type of a target column.
    pub fn declared(&self, column: usize) -> String {
        let of_key = self.target.key.contains(&column);
        self.target.column(column).map_or_else(String::new, |found| self.dialect.declared(found, of_key))
    }

    /// Name of a target column, unquoted.
    pub fn name(&self, column: usize) -> &'a str {
        self.target.name(column)
    }

    /// Names of the key in the target, unquoted, in key order.
    pub fn key(&self) -> Vec<&'a str> {
        self.target.key_names()
    }

    /// Names of the key, quoted, with commas.
    pub fn key_list(&self) -> String {
        list(self.key().into_iter().map(|name| self.dialect.quote(name)))
    }
}
