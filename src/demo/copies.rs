//! Compares the services' copies with the shop, row by row.

use std::path::{Path, PathBuf};
use std::time::Duration;

use connector_api::{Error, Result};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use throwaway_servers::postgres::Session;

/// What one service keeps of one table.
pub struct Copy {
    /// The service; its database is `SERVICE.db`.
    pub service: &'static str,
    /// The rows in the service's database.
    pub sql: &'static str,
    /// The same rows in the shop.
    pub shop: &'static str,
}

impl Copy {
    /// The service's database.
    pub fn path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.db", self.service))
    }
}

/// The first copy that differs from the shop, in words; `None` when all agree.
///
/// # Errors
/// When a copy cannot be read.
pub fn differing(copies: &[Copy], shop: &Session, directory: &Path) -> Result<Option<String>> {
    for copy in copies {
        let null = |value: Option<String>| value.unwrap_or_else(|| "NULL".into());
        let wanted = shop.query_text(&format!("{} ORDER BY id", copy.shop));
        let wanted: Vec<Vec<String>> =
            wanted.into_iter().map(|row| row.into_iter().map(null).collect()).collect();
        // A table that is not there yet differs, that is all.
        let found = rows(&copy.path(directory), &format!("{} ORDER BY id", copy.sql)).unwrap_or_default();
        if wanted != found {
            return Ok(Some(format!(
                "{} has {} rows of {}, the shop {}",
                copy.service,
                found.len(),
                copy.sql,
                wanted.len()
            )));
        }
    }
    Ok(None)
}

/// Every row of a query on a SQLite database, as text.
///
/// # Errors
/// When the file or the table does not exist (yet).
pub fn rows(path: &Path, sql: &str) -> Result<Vec<Vec<String>>> {
    let failed =
        |error: rusqlite::Error| Error::transient(format!("read {}", path.display())).caused_by(error);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    let mut statement = connection.prepare(sql).map_err(failed)?;
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>, at: usize| {
        Ok(match row.get_ref(at)? {
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Integer(value) => value.to_string(),
            ValueRef::Real(value) => value.to_string(),
            ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
        })
    };
    let rows =
        statement.query_map([], |row| (0..columns).map(|at| text(row, at)).collect()).map_err(failed)?;
    rows.collect::<rusqlite::Result<_>>().map_err(failed)
}
