//! What one system's SQL looks like.

use std::fmt::Debug;

use connector_api::Column;

use crate::catalog::{Table, TableColumn};
use crate::ddl::Wanted;
use crate::gap::{Codes, Gap};
use crate::names::{list, quote_with};

/// A system that speaks SQL.
pub trait Dialect: Debug + Sized {
    /// What only this system knows of a column.
    type ColumnFacts: Debug;
    /// What only this system knows of a table.
    type TableFacts: Debug;

    /// The system's name, for people.
    const PRODUCT: &'static str;
    /// The codes of its findings, `codes!("sqlite")`.
    const CODES: &'static Codes;
    /// The quote around names; one inside a name is doubled.
    const QUOTE: char = '"';
    /// Most columns in a table.
    const COLUMNS_MAX: usize;
    /// Beginnings of names that belong to the system, beside ours, in any case.
    const RESERVED: &'static [&'static str] = &[];

    /// A name in quotes: the only way for a name to come into a statement (I12).
    fn quote(&self, name: &str) -> String {
        quote_with(Self::QUOTE, name)
    }

    /// What is wrong with a name, if anything. No system takes a NUL.
    fn refuses_name(&self, name: &str) -> Option<String> {
        name.contains('\0').then(|| format!("{} allows no NUL in a name", Self::PRODUCT))
    }

    /// A column's name as the system tells names apart: the same for two names that mean one column.
    fn fold(&self, name: &str) -> String;

    /// Whether two names mean one column.
    fn same_column(&self, one: &str, other: &str) -> bool {
        one == other || self.fold(one) == self.fold(other)
    }

    /// The declared type for a column of a topic; `key` when it is of the key.
    fn declared(&self, column: &Column, key: bool) -> String;

    /// Whether values of `column` come back as they went in from a column that is found in the target.
    fn keeps(&self, found: &TableColumn<Self>, column: &Column, key: bool) -> bool;

    /// True when the system takes values of another type and changes them in silence: for tables of somebody else that is a
    /// warning and not an error, because it may well be wanted.
    const CONVERTS: bool = false;

    /// Differences that only this system has. `column` is an index into the target's columns, for one that is there, can be
    /// written and keeps its values.
    fn column_gap(
        &self,
        _wanted: &Wanted<'_, Self>,
        _column: usize,
        _found: &TableColumn<Self>,
    ) -> Option<Gap> {
        None
    }

    /// Differences of the whole table that only this system has.
    fn table_gaps(&self, _wanted: &Wanted<'_, Self>, _table: &Table<Self>) -> Vec<Gap> {
        Vec::new()
    }

    /// The text of a column in `CREATE TABLE`, behind its name.
    fn definition(&self, wanted: &Wanted<'_, Self>, column: usize) -> String {
        let of_key = wanted.target.key.contains(&column);
        format!("{}{}", wanted.declared(column), if of_key { " NOT NULL" } else { "" })
    }

    /// True when [`Dialect::definition`] already says which column the primary key is.
    fn has_primary_inline(&self, _wanted: &Wanted<'_, Self>) -> bool {
        false
    }

    /// What comes behind the columns in `CREATE TABLE`, with a blank before it.
    fn table_options(&self) -> String {
        String::new()
    }

    /// `ALTER TABLE … ADD COLUMN`.
    fn add_column(&self, wanted: &Wanted<'_, Self>, column: usize) -> String {
        let (table, name) = (wanted.table(), self.quote(wanted.name(column)));
        format!("ALTER TABLE {table} ADD COLUMN {name} {}", wanted.declared(column))
    }

    /// The statements that give a column another declared type and keep its values; `None` where that cannot be done.
    fn retype(&self, wanted: &Wanted<'_, Self>, column: usize) -> Option<Vec<String>>;

    /// Makes rows unique by the key.
    fn unique_index(&self, wanted: &Wanted<'_, Self>) -> String {
        let name = format!("{}_{}_key", wanted.target.table, wanted.key().join("_"));
        format!("CREATE UNIQUE INDEX {} ON {} ({})", self.quote(&name), wanted.table(), wanted.key_list())
    }

    /// `CREATE TABLE`.
    fn create_table(&self, wanted: &Wanted<'_, Self>) -> String {
        let column = |at| format!("{} {}", self.quote(wanted.name(at)), self.definition(wanted, at));
        let columns = (0..wanted.target.columns.len()).map(column);
        let primary = match wanted.target.key.is_empty() || self.has_primary_inline(wanted) {
            true => None,
            false => Some(format!("PRIMARY KEY ({})", wanted.key_list())),
        };
        format!("CREATE TABLE {} ({}){}", wanted.table(), list(columns.chain(primary)), self.table_options())
    }
}
