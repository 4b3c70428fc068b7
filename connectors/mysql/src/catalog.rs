//! What a target table looks like now.

use std::collections::BTreeMap;

use connector_api::{Error, Result};

use crate::error::Failure;
use crate::form::Form;
use crate::session::{Server, Session};
use crate::sql::literal;
use crate::types::{Facts, form};

/// What stands under a name in the target.
#[derive(Debug)]
pub enum Object {
    /// Nothing.
    Missing,
    /// A table.
    Table(Table),
    /// A view or another thing that is no table, by the server's word for it.
    Other(String),
}

/// A table of the target.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Its storage engine.
    pub engine: String,
    /// Its columns, in their order.
    pub columns: Vec<TableColumn>,
    /// Unique indexes over whole columns: name and columns. The primary key is `PRIMARY`.
    pub unique: Vec<(String, Vec<String>)>,
    /// Tables that its foreign keys refer to.
    pub parents: Vec<String>,
}

/// A column of the target.
#[derive(Debug, Clone)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type as declared.
    pub declared: String,
    /// What it keeps.
    pub form: Form,
    /// It may be NULL.
    pub nullable: bool,
    /// A row must say it: NOT NULL, and neither a default nor a number of its own.
    pub required: bool,
    /// Computed by the database, cannot be written.
    pub generated: bool,
    /// Character set of a text.
    pub charset: String,
    /// Collation of a text.
    pub collation: String,
}

impl Table {
    /// A column by its name; MySQL ignores the case of columns' names.
    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| same_column(&column.name, name))
    }

    /// Whether rows are unique by exactly these columns, in any order.
    pub fn is_unique_by(&self, key: &[&str]) -> bool {
        self.unique.iter().any(|(_, set)| {
            set.len() == key.len() && key.iter().all(|name| set.iter().any(|other| same_column(other, name)))
        })
    }
}

/// Whether two names mean the same column.
pub fn same_column(one: &str, other: &str) -> bool {
    one == other || one.to_lowercase() == other.to_lowercase()
}

/// Reads what stands under a name.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn read(session: &mut Session, name: &str) -> Result<Object> {
    read_all(session, name).await.map_err(|failure| failure.into_error(format_args!("read table {name:?}")))
}

async fn read_all(session: &mut Session, name: &str) -> Result<Object, Failure> {
    let [tables, columns, indexes, keys] =
        ["t", "c", "s", "r"].map(|alias| here(alias, name, &session.server));
    let kind = session
        .rows(format!("SELECT t.TABLE_TYPE, t.ENGINE FROM information_schema.TABLES t WHERE {tables}"))
        .await?;
    let mut cells = match kind.into_iter().next() {
        None => return Ok(Object::Missing),
        Some(row) => row.into_iter().map(Option::unwrap_or_default),
    };
    let (kind, engine) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
    if kind != "BASE TABLE" {
        return Ok(Object::Other(kind.to_lowercase()));
    }
    let columns = session
        .rows(format!(
            "SELECT c.COLUMN_NAME, c.DATA_TYPE, c.COLUMN_TYPE, c.CHARACTER_MAXIMUM_LENGTH, c.CHARACTER_OCTET_LENGTH, \
             c.NUMERIC_PRECISION, c.NUMERIC_SCALE, c.DATETIME_PRECISION, c.IS_NULLABLE, \
             c.COLUMN_DEFAULT IS NULL OR (c.COLUMN_DEFAULT = 'NULL' AND c.IS_NULLABLE = 'NO'), c.EXTRA, \
             COALESCE(c.GENERATION_EXPRESSION, '') <> '', c.CHARACTER_SET_NAME, c.COLLATION_NAME \
             FROM information_schema.COLUMNS c WHERE {columns} ORDER BY c.ORDINAL_POSITION"
        ))
        .await?;
    let unique = session
        .rows(format!(
            "SELECT s.INDEX_NAME, s.COLUMN_NAME, s.SUB_PART FROM information_schema.STATISTICS s \
             WHERE {indexes} AND s.NON_UNIQUE = 0 ORDER BY s.INDEX_NAME, s.SEQ_IN_INDEX"
        ))
        .await?;
    let parents = session
        .rows(format!(
            "SELECT DISTINCT r.REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE r \
             WHERE {keys} AND r.REFERENCED_TABLE_SCHEMA = DATABASE()"
        ))
        .await?;
    let table = Table {
        engine,
        columns: columns.into_iter().map(column).collect::<Result<_>>()?,
        unique: whole_indexes(unique),
        parents: parents.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect(),
    };
    Ok(Object::Table(table))
}

/// The first column of each index of a table that finds rows by a value.
pub async fn heads(session: &mut Session, name: &str) -> Result<Vec<String>, Failure> {
    let here = here("s", name, &session.server);
    let rows = session
        .rows(format!(
            "SELECT s.COLUMN_NAME FROM information_schema.STATISTICS s \
             WHERE {here} AND s.SEQ_IN_INDEX = 1 AND s.INDEX_TYPE IN ('BTREE', 'HASH')"
        ))
        .await?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

/// The condition for one table in the catalog, which has its own idea of case: BINARY compares as the server's files do.
fn here(alias: &str, name: &str, server: &Server) -> String {
    let (column, name) = (format!("{alias}.TABLE_NAME"), server.table_name(name));
    let same = match server.lower_case {
        2 => format!("LOWER({column}) = {}", literal(&name.to_lowercase())),
        _ => format!("BINARY {column} = {}", literal(&name)),
    };
    format!("{alias}.TABLE_SCHEMA = DATABASE() AND {same}")
}

fn column(row: Vec<Option<String>>) -> Result<TableColumn> {
    let mut cells = row.into_iter();
    let mut next = || cells.next().flatten();
    let name = next().ok_or_else(|| Error::corrupt("read table: a column without a name"))?;
    let mut facts = Facts {
        data_type: next().unwrap_or_default(),
        column_type: next().unwrap_or_default(),
        ..Facts::default()
    };
    let mut number = || next().and_then(|text| text.parse::<u64>().ok());
    facts.chars = number();
    facts.octets = number();
    let narrow = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    facts.precision = narrow(number());
    facts.scale = narrow(number());
    facts.fraction = narrow(number());
    let nullable = next().as_deref() == Some("YES");
    let no_default = next().as_deref() == Some("1");
    let extra = next().unwrap_or_default().to_lowercase();
    let generated = next().as_deref() == Some("1") || extra.contains("generated");
    let generated = generated && !extra.contains("default_generated");
    Ok(TableColumn {
        name,
        form: form(&facts),
        declared: facts.column_type,
        nullable,
        required: !nullable && no_default && !extra.contains("auto_increment") && !generated,
        generated,
        charset: next().unwrap_or_default(),
        collation: next().unwrap_or_default(),
    })
}

/// Indexes on an expression, or on the head of a column, do not tell rows apart by their columns.
fn whole_indexes(rows: Vec<Vec<Option<String>>>) -> Vec<(String, Vec<String>)> {
    let mut indexes: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
    for row in rows {
        let mut cells = row.into_iter();
        let (name, column, part) = (cells.next().flatten(), cells.next().flatten(), cells.next().flatten());
        let index = indexes.entry(name.unwrap_or_default()).or_insert_with(|| Some(Vec::new()));
        match (column, part) {
            (Some(column), None) => index.iter_mut().for_each(|columns| columns.push(column.clone())),
            _ => *index = None,
        }
    }
    indexes.into_iter().filter_map(|(name, columns)| Some((name, columns?))).collect()
}
