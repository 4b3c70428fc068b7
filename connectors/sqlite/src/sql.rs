//! The text of every statement on a target table. All names pass through [`quote`]: they come from a peer (I12).

use connector_sql::names::{list, quote_with};

/// Most columns that SQLite accepts in a table (SQLITE_MAX_COLUMN). A statement binds at most three times as many
/// values, so that the limit of 32,766 variables is never reached.
pub const COLUMNS_MAX: usize = 2_000;

/// An identifier in double quotes, inner quotes doubled.
pub fn quote(name: &str) -> String {
    quote_with('"', name)
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

fn marks(count: usize) -> String {
    list(std::iter::repeat_n("?", count))
}

#[cfg(test)]
mod tests {
    use super::*;

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
