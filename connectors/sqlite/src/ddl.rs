//! The text of statements that create and change target tables.
//!
//! Only columns of the key are NOT NULL: columns that the source drops stay behind without values, and a row of which
//! the source left values out must have a place.

use connector_api::{Target, ValueKind};

use crate::sql::{list, quote};

/// A table that a topic is to be written to.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The mapping, worked out for the shape.
    pub target: &'a Target,
}

/// The declared type for values of a kind; [`crate::bind`] says what they look like.
pub fn declared(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Bool => "BOOLEAN",
        ValueKind::Int => "INTEGER",
        ValueKind::Float => "REAL",
        ValueKind::Bytes => "BLOB",
        // A decimal too: NUMERIC would make a float of it, which loses digits.
        ValueKind::Decimal
        | ValueKind::Text
        | ValueKind::Uuid
        | ValueKind::Date
        | ValueKind::Time
        | ValueKind::Timestamp
        | ValueKind::TimestampTz
        | ValueKind::Json
        | ValueKind::Array => "TEXT",
    }
}

impl<'a> Wanted<'a> {
    /// The target's name, quoted.
    pub fn table(&self) -> String {
        quote(&self.target.table)
    }

    /// Kind of the values of a target column.
    pub fn kind(&self, column: usize) -> ValueKind {
        self.target.column(column).map_or(ValueKind::Text, |column| column.kind)
    }

    /// Name of a target column, unquoted.
    pub fn name(&self, column: usize) -> &'a str {
        self.target.name(column)
    }

    /// Names of the key in the target, unquoted, in key order.
    pub fn key(&self) -> Vec<&'a str> {
        self.target.key_names()
    }

    fn key_list(&self) -> String {
        list(self.key().into_iter().map(quote))
    }

    /// `CREATE TABLE`.
    pub fn create_table(&self) -> String {
        // A single integer key is the row number itself: one look-up less for every change.
        let rowid = match self.target.key.as_slice() {
            [only] if self.kind(*only) == ValueKind::Int => Some(*only),
            _ => None,
        };
        let columns = (0..self.target.columns.len()).map(|column| {
            let constraint = match () {
                () if Some(column) == rowid => " PRIMARY KEY NOT NULL",
                () if self.target.key.contains(&column) => " NOT NULL",
                () => "",
            };
            format!("{} {}{constraint}", quote(self.name(column)), declared(self.kind(column)))
        });
        let primary = match self.target.key.is_empty() || rowid.is_some() {
            true => None,
            false => Some(format!("PRIMARY KEY ({})", self.key_list())),
        };
        format!("CREATE TABLE {} ({})", self.table(), list(columns.chain(primary)))
    }

    /// `ALTER TABLE … ADD COLUMN`.
    pub fn add_column(&self, column: usize) -> String {
        format!(
            "ALTER TABLE {} ADD COLUMN {} {}",
            self.table(),
            quote(self.name(column)),
            declared(self.kind(column))
        )
    }

    /// `CREATE UNIQUE INDEX` on the key.
    pub fn unique_index(&self) -> String {
        let name = format!("{}_{}_key", self.target.table, self.key().join("_"));
        format!("CREATE UNIQUE INDEX {} ON {} ({})", quote(&name), self.table(), self.key_list())
    }

    /// The statements that give a column another declared type and keep its values; SQLite has no `ALTER COLUMN`.
    pub fn retype(&self, column: usize) -> Vec<String> {
        let (table, name) = (self.table(), quote(self.name(column)));
        let fresh = quote("_millstream_retyped");
        vec![
            format!("ALTER TABLE {table} ADD COLUMN {fresh} {}", declared(self.kind(column))),
            format!("UPDATE {table} SET {fresh} = {name}"),
            format!("ALTER TABLE {table} DROP COLUMN {name}"),
            format!("ALTER TABLE {table} RENAME COLUMN {fresh} TO {name}"),
        ]
    }
}
