//! What a target table looks like now.

use connector_api::{Result, ValueKind};
use connector_sql::erase::Limits;
use rusqlite::{Connection, OptionalExtension};

use crate::dialect::{Lite, TableFacts};
use crate::error::Context;

/// What stands under a name in the target.
pub type Object = connector_sql::Object<Lite>;
/// A table of the target.
pub type Table = connector_sql::Table<Lite>;
/// A column of the target.
pub type TableColumn = connector_sql::TableColumn<Lite>;

/// A name of the row number that no column hides.
pub fn rowid(table: &Table) -> Option<&'static str> {
    match table.facts.without_rowid {
        true => None,
        false => ["rowid", "_rowid_", "oid"].into_iter().find(|name| table.column(&Lite, name).is_none()),
    }
}

/// Whether values of this kind come back as they went in from a column of this declared type. SQLite converts by it: the
/// text `007` becomes 7 in an INTEGER column, and 12.50 becomes 12.5 in a NUMERIC one.
pub fn keeps(declared: &str, kind: ValueKind) -> bool {
    match (Affinity::of(declared), kind) {
        (Affinity::Blob, _) | (_, ValueKind::Bytes | ValueKind::Bool) => true,
        (Affinity::Real, ValueKind::Int) | (Affinity::Text, ValueKind::Float) => false,
        (_, ValueKind::Int | ValueKind::Float) | (Affinity::Text, _) => true,
        (Affinity::Integer | Affinity::Real | Affinity::Numeric, _) => false,
    }
}

/// How SQLite converts what a column is given ("Determination Of Column Affinity").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Affinity {
    /// To whole numbers, where it can.
    Integer,
    /// To text.
    Text,
    /// Not at all.
    Blob,
    /// To floats, where it can.
    Real,
    /// To numbers, where it can.
    Numeric,
}

impl Affinity {
    /// By the type as declared.
    pub fn of(declared: &str) -> Affinity {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        match () {
            () if has(&["INT"]) => Affinity::Integer,
            () if has(&["CHAR", "CLOB", "TEXT"]) => Affinity::Text,
            () if declared.is_empty() || declared == "ANY" || has(&["BLOB"]) => Affinity::Blob,
            () if has(&["REAL", "FLOA", "DOUB"]) => Affinity::Real,
            () => Affinity::Numeric,
        }
    }
}

/// Reads what stands under a name.
pub fn read(connection: &Connection, name: &str) -> Result<Object> {
    let what = || format!("read table {name:?}");
    let found = connection
        .query_row(
            "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
            [name],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)),
        )
        .optional()
        .context(what())?;
    let without_rowid = match found {
        None => return Ok(Object::Missing),
        Some((kind, without_rowid)) if kind == "table" => without_rowid,
        Some((kind, _)) => return Ok(Object::Other(kind)),
    };
    let columns = columns(connection, name).context(what())?;
    let mut unique = indexes(connection, name).context(what())?;
    let mut primary: Vec<_> = columns.iter().filter(|(_, place)| *place > 0).collect();
    primary.sort_by_key(|(_, place)| *place);
    if !primary.is_empty() {
        unique.push(primary.into_iter().map(|(column, _)| column.name.clone()).collect());
    }
    let columns = columns.into_iter().map(|(column, _)| column).collect();
    Ok(Object::Table(Table { columns, unique, facts: TableFacts { without_rowid } }))
}

/// The columns, each with its place in the primary key, from 1; 0 outside of it.
fn columns(connection: &Connection, name: &str) -> rusqlite::Result<Vec<(TableColumn, u32)>> {
    // The row number fills itself.
    let mut statement = connection.prepare(
        "SELECT name, type, \"notnull\" AND dflt_value IS NULL AND hidden = 0 AND NOT (pk = 1 AND type = 'INTEGER' COLLATE \
         NOCASE), hidden <> 0, pk FROM pragma_table_xinfo(?1)",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        let column = TableColumn {
            name: row.get(0)?,
            declared: row.get(1)?,
            required: row.get(2)?,
            generated: row.get(3)?,
            facts: (),
        };
        Ok((column, row.get(4)?))
    };
    statement.query_map([name], read)?.collect()
}

fn indexes(connection: &Connection, name: &str) -> rusqlite::Result<Vec<Vec<String>>> {
    let mut list =
        connection.prepare("SELECT name FROM pragma_index_list(?1) WHERE \"unique\" AND NOT partial")?;
    let mut info = connection.prepare("SELECT name FROM pragma_index_info(?1)")?;
    let names: Vec<String> = list.query_map([name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut sets = Vec::new();
    for index in names {
        let columns: Vec<Option<String>> =
            info.query_map([index], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        // An index on an expression has a column without a name, and cannot be named in an upsert.
        sets.extend(columns.into_iter().collect::<Option<Vec<String>>>());
    }
    Ok(sets)
}

/// The columns of a table as an erasure needs them: name, type as declared, whether it is computed.
pub fn searched(connection: &Connection, name: &str) -> rusqlite::Result<Vec<(String, String, bool)>> {
    // What a virtual table hides (1) is none of its columns.
    let mut statement =
        connection.prepare("SELECT name, type, hidden <> 0 FROM pragma_table_xinfo(?1) WHERE hidden <> 1")?;
    statement.query_map([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// What may be in the way of an erasure.
pub fn limits(connection: &Connection, name: &str) -> rusqlite::Result<Limits> {
    let names = |sql: &str| -> rusqlite::Result<Vec<String>> {
        connection.prepare(sql)?.query_map([name], |row| row.get(0))?.collect()
    };
    let key = names("SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk")?;
    let mut indexed = names(
        "SELECT i.name FROM pragma_index_list(?1) AS l, pragma_index_info(l.name) AS i \
         WHERE NOT l.partial AND i.seqno = 0 AND i.name IS NOT NULL",
    )?;
    indexed.extend(key.first().cloned());
    let filled = names("SELECT name FROM pragma_table_xinfo(?1) WHERE \"notnull\" OR pk > 0")?;
    let mut unique = indexes(connection, name)?;
    unique.retain(|set| *set != key);
    Ok(Limits { indexed, filled, key, unique, lacking: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(sql: &str) -> Table {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        match read(&connection, "T").unwrap() {
            Object::Table(table) => table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unique_sets_are_primary_keys_and_whole_unique_indexes() {
        let table = table(
            "CREATE TABLE t (a INTEGER PRIMARY KEY, b, c, d UNIQUE);
             CREATE UNIQUE INDEX whole ON t (b, c);
             CREATE UNIQUE INDEX part ON t (c) WHERE b > 0;
             CREATE UNIQUE INDEX expression ON t (lower(b));
             CREATE INDEX plain ON t (b);",
        );
        for key in [&["a"][..], &["C", "b"], &["d"]] {
            assert!(table.is_unique_by(&Lite, key), "{key:?}");
        }
        for key in [&["b"][..], &["c"], &["a", "b"], &[]] {
            assert!(!table.is_unique_by(&Lite, key), "{key:?}");
        }
    }

    #[test]
    fn facts_about_columns() {
        let table = table("CREATE TABLE t (a NOT NULL, b NOT NULL DEFAULT 1, c AS (a), rowid)");
        let facts: Vec<_> = table.columns.iter().map(|column| (column.required, column.generated)).collect();
        assert_eq!(facts, [(true, false), (false, false), (false, true), (false, false)]);
        assert_eq!(rowid(&table), Some("_rowid_"));
    }

    #[test]
    fn what_a_declared_type_keeps() {
        assert!(keeps("BIGINT", ValueKind::Int) && keeps("VARCHAR(9)", ValueKind::Decimal));
        assert!(
            keeps("", ValueKind::Text)
                && keeps("BOOLEAN", ValueKind::Bool)
                && keeps("REAL", ValueKind::Float)
        );
        assert!(!keeps("INTEGER", ValueKind::Text) && !keeps("NUMERIC", ValueKind::Decimal));
        assert!(!keeps("DATETIME", ValueKind::Timestamp) && !keeps("REAL", ValueKind::Int));
        assert!(!keeps("TEXT", ValueKind::Float));
    }

    #[test]
    fn a_view_is_no_table() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE VIEW v AS SELECT 1").unwrap();
        assert!(matches!(read(&connection, "v").unwrap(), Object::Other(kind) if kind == "view"));
        assert!(matches!(read(&connection, "w").unwrap(), Object::Missing));
    }
}
