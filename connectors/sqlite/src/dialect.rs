//! SQLite's SQL for what every SQL sink does to tables.

use connector_api::{Column, Severity, ValueKind};
use connector_sql::{Codes, Dialect, Flaw, Gap, TableColumn, Wanted, codes};

use crate::catalog::{Table, keeps, rowid};
use crate::sql::COLUMNS_MAX;

/// SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lite;

/// What only SQLite knows of a table.
#[derive(Debug, Clone, Copy)]
pub struct TableFacts {
    /// It has no row numbers.
    pub without_rowid: bool,
}

/// The declared type for values of a kind; [`crate::bind`] says what they look like.
fn declared(kind: ValueKind) -> &'static str {
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

/// A single integer key is the row number itself: one look-up less for every change.
fn row_number(wanted: &Wanted<'_, Lite>) -> Option<usize> {
    match wanted.target.key.as_slice() {
        [only] if wanted.kind(*only) == ValueKind::Int => Some(*only),
        _ => None,
    }
}

impl Dialect for Lite {
    type ColumnFacts = ();
    type TableFacts = TableFacts;

    const PRODUCT: &'static str = "SQLite";
    const CODES: &'static Codes = &codes!("sqlite");
    const COLUMNS_MAX: usize = COLUMNS_MAX;
    const RESERVED: &'static [&'static str] = &["sqlite_"];
    const CONVERTS: bool = true;

    fn fold(&self, name: &str) -> String {
        name.to_ascii_lowercase()
    }

    fn declared(&self, column: &Column, _key: bool) -> String {
        declared(column.kind).to_owned()
    }

    fn keeps(&self, found: &TableColumn<Lite>, column: &Column, _key: bool) -> bool {
        keeps(&found.declared, column.kind)
    }

    fn table_gaps(&self, wanted: &Wanted<'_, Lite>, table: &Table) -> Vec<Gap> {
        if !wanted.target.key.is_empty() || rowid(table).is_some() {
            return Vec::new();
        }
        let topic = &wanted.target.topic;
        vec![Gap::Own(Flaw {
            code: "sqlite-without-rowid",
            severity: Severity::Error,
            what: format!(
                "topic {topic} has no key, and the table has no row numbers to tell equal rows apart"
            ),
            remedy: Some("rebuild the table without WITHOUT ROWID".to_owned()),
            repair: None,
            ours_only: false,
        })]
    }

    fn definition(&self, wanted: &Wanted<'_, Lite>, column: usize) -> String {
        let constraint = match () {
            () if Some(column) == row_number(wanted) => " PRIMARY KEY NOT NULL",
            () if wanted.target.key.contains(&column) => " NOT NULL",
            () => "",
        };
        format!("{}{constraint}", wanted.declared(column))
    }

    fn has_primary_inline(&self, wanted: &Wanted<'_, Lite>) -> bool {
        row_number(wanted).is_some()
    }

    /// SQLite has no `ALTER COLUMN`; a column of the key cannot be dropped.
    fn retype(&self, wanted: &Wanted<'_, Lite>, column: usize) -> Option<Vec<String>> {
        if wanted.target.key.contains(&column) {
            return None;
        }
        let (table, name) = (wanted.table(), self.quote(wanted.name(column)));
        let fresh = self.quote("_millstream_retyped");
        Some(vec![
            format!("ALTER TABLE {table} ADD COLUMN {fresh} {}", wanted.declared(column)),
            format!("UPDATE {table} SET {fresh} = {name}"),
            format!("ALTER TABLE {table} DROP COLUMN {name}"),
            format!("ALTER TABLE {table} RENAME COLUMN {fresh} TO {name}"),
        ])
    }
}
