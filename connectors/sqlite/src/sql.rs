//! The text of every statement on a target table. All names pass through [`quote`]: they come from a peer (I12).

use connector_api::{Error, Result};

/// Most columns that SQLite accepts in a table (SQLITE_MAX_COLUMN). A statement binds at most three times as many
/// values, so that the limit of 32,766 variables is never reached.
pub const COLUMNS_MAX: usize = 2_000;

/// An identifier in double quotes, inner quotes doubled.
pub fn quote(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for character in name.chars() {
        if character == '"' {
            out.push('"');
        }
        out.push(character);
    }
    out.push('"');
    out
}

/// Refuses names that SQLite cannot hold, and names that are not the mapping's to write to.
///
/// # Errors
/// [`connector_api::Kind::Config`].
pub fn check_table_name(name: &str) -> Result<()> {
    check_name("table", name)?;
    let reserved =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    if reserved("sqlite_") || reserved("_millstream_") {
        return Err(Error::config(format!("map table {name:?}: names that begin with this are reserved"))
            .with_remedy("give the rule another `table`"));
    }
    Ok(())
}

/// Refuses names with a NUL, which would end the statement's text.
///
/// # Errors
/// [`connector_api::Kind::Config`].
pub fn check_name(what: &str, name: &str) -> Result<()> {
    match name.contains('\0') {
        true => Err(Error::config(format!("map {what} {name:?}: SQLite allows no NUL in a name"))),
        false => Ok(()),
    }
}

/// A target column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShapeColumn {
    /// Index of the source column.
    pub source: usize,
    /// Its name, quoted.
    pub name: String,
    /// Part of the key.
    pub key: bool,
}

/// A target table as the statements need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The table's name, quoted.
    pub table: String,
    /// Its mapped columns in the order of the source, so that a row binds while it is decoded.
    pub columns: Vec<ShapeColumn>,
    /// Names of the key, quoted, in key order; empty without a key.
    pub key: Vec<String>,
    /// A name for the row number that no column hides; `None` when there is none (needed without a key only).
    pub rowid: Option<&'static str>,
}

impl Shape {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    fn rest(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| !column.key).map(|column| column.name.as_str())
    }

    fn where_key(&self) -> String {
        let terms = self.key.iter().map(|name| format!("{name} = ?"));
        terms.collect::<Vec<_>>().join(" AND ")
    }

    /// A row by its values in every mapped column. The row form keeps the expression flat: SQLite allows a depth of
    /// 1,000, and a chain of AND over 2,000 columns is deeper.
    fn where_row(&self) -> String {
        let rowid = self.rowid.unwrap_or("rowid");
        format!(
            "{rowid} = (SELECT {rowid} FROM {} WHERE ({}) IS ({}) LIMIT 1)",
            self.table,
            list(self.names()),
            marks(self.columns.len())
        )
    }

    /// Binds: the row.
    pub fn upsert(&self) -> String {
        let action = match list(self.rest().map(|name| format!("{name} = excluded.{name}"))) {
            nothing if nothing.is_empty() => "NOTHING".to_owned(),
            set => format!("UPDATE SET {set}"),
        };
        format!("{} ON CONFLICT ({}) DO {action}", self.insert(), list(self.key.iter()))
    }

    /// Binds: the row.
    pub fn insert(&self) -> String {
        format!("INSERT INTO {} ({}) VALUES ({})", self.table, list(self.names()), marks(self.columns.len()))
    }

    /// Binds: the key, then `kept`.
    pub fn fill(&self, kept: &[&str]) -> String {
        let names = self.key.iter().map(String::as_str).chain(kept.iter().copied());
        format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO NOTHING",
            self.table,
            list(names),
            marks(self.key.len() + kept.len()),
            list(self.key.iter())
        )
    }

    /// Binds: `kept`, then the key.
    pub fn update(&self, kept: &[&str]) -> String {
        format!("UPDATE {} SET {} WHERE {}", self.table, list(kept.iter().map(set)), self.where_key())
    }

    /// Binds: `kept`.
    pub fn mark_all(&self, kept: &[&str]) -> String {
        format!("UPDATE {} SET {}", self.table, list(kept.iter().map(set)))
    }

    /// Binds: the new key, `kept`, then the old key.
    pub fn relocate(&self, kept: &[&str]) -> String {
        let names = self.key.iter().map(String::as_str).chain(kept.iter().copied());
        format!("UPDATE {} SET {} WHERE {}", self.table, list(names.map(set)), self.where_key())
    }

    /// Binds: the key.
    pub fn delete(&self) -> String {
        format!("DELETE FROM {} WHERE {}", self.table, self.where_key())
    }

    /// The row that already stands where another is to be moved. Binds: the new key, then the old key.
    pub fn vacate(&self) -> String {
        format!("DELETE FROM {} WHERE {} AND NOT ({})", self.table, self.where_key(), self.where_key())
    }

    /// Binds: the old row.
    pub fn delete_row(&self) -> String {
        format!("DELETE FROM {} WHERE {}", self.table, self.where_row())
    }

    /// Binds: `kept` of the new row, then the old row.
    pub fn update_row(&self, kept: &[&str]) -> String {
        format!("UPDATE {} SET {} WHERE {}", self.table, list(kept.iter().map(set)), self.where_row())
    }

    /// Binds nothing.
    pub fn truncate(&self) -> String {
        format!("DELETE FROM {}", self.table)
    }
}

fn set(name: impl AsRef<str>) -> String {
    format!("{} = ?", name.as_ref())
}

/// Joins with commas.
pub fn list(parts: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut out = String::new();
    for part in parts {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(part.as_ref());
    }
    out
}

fn marks(count: usize) -> String {
    list(std::iter::repeat_n("?", count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote("plain"), r#""plain""#);
        assert_eq!(quote(r#"a"b; DROP TABLE x; --"#), r#""a""b; DROP TABLE x; --""#);
        assert_eq!(quote(""), r#""""#);
    }

    #[test]
    fn reserved_names_are_refused_in_any_case() {
        for name in ["sqlite_master", "SQLite_x", "_millstream_cursor", "_MILLSTREAM_x", "a\0b"] {
            assert!(check_table_name(name).is_err(), "{name:?}");
        }
        for name in ["", "sqlit", "é_millstream", "users"] {
            assert!(check_table_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_table_of_key_columns_only_has_nothing_to_set() {
        let column = |source, name: &str| ShapeColumn { source, name: name.to_owned(), key: true };
        let shape = Shape {
            table: r#""t""#.to_owned(),
            columns: vec![column(0, r#""a""#), column(1, r#""b""#)],
            key: vec![r#""b""#.to_owned(), r#""a""#.to_owned()],
            rowid: Some("rowid"),
        };
        assert_eq!(
            shape.upsert(),
            r#"INSERT INTO "t" ("a", "b") VALUES (?, ?) ON CONFLICT ("b", "a") DO NOTHING"#
        );
        assert_eq!(shape.delete(), r#"DELETE FROM "t" WHERE "b" = ? AND "a" = ?"#);
    }
}
