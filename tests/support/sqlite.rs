//! What a SQLite target holds, to compare with the source.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// Opens a target for reading beside a running sink.
pub fn open(path: &Path) -> Connection {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("open the target");
    connection.busy_timeout(Duration::from_secs(10)).expect("set the busy timeout");
    connection
}

/// Every row of a query, as text; NULL is `None`. A target or table that does not exist yet has no rows.
pub fn rows(path: &Path, sql: &str) -> Vec<Vec<Option<String>>> {
    if !path.exists() {
        return Vec::new();
    }
    let connection = open(path);
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    let columns = statement.column_count();
    let mut rows = statement.query([]).expect("query the target");
    let mut found = Vec::new();
    while let Some(row) = rows.next().expect("read the target") {
        let text = |at| match row.get_ref(at).expect("a column") {
            ValueRef::Null => None,
            ValueRef::Integer(value) => Some(value.to_string()),
            ValueRef::Real(value) => Some(value.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        };
        found.push((0..columns).map(text).collect());
    }
    found
}

/// The one value of a query; `None` while the table does not exist.
pub fn value(path: &Path, sql: &str) -> Option<String> {
    rows(path, sql).into_iter().next()?.into_iter().next()?
}
