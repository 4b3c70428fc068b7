//! The settings of the connection, in one place.

use std::time::Duration;

use connector_api::Result;
use rusqlite::Connection;

use crate::error::from_rusqlite;
use crate::options::Options;

/// How long a statement waits for another writer before the change is [`connector_api::Kind::Transient`].
pub const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Pages in the WAL before SQLite copies them into the database (80 MiB at 4 KiB a page). Twenty times the default:
/// a page that many transactions touch is then copied once, which doubles random updates.
pub const WAL_AUTOCHECKPOINT: u32 = 20_000;

/// Sets the connection up. Returns the journal mode when it is not WAL (a file system without shared memory).
pub fn configure(connection: &Connection, options: &Options) -> Result<Option<String>> {
    let failed = |error| from_rusqlite(error, "configure database");
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    let kibibytes = i64::try_from(options.cache_size.bytes() / 1024).unwrap_or(i64::MAX);
    let settings: [(&str, &dyn rusqlite::ToSql); 6] = [
        // FULL syncs the WAL at every commit: Ok from commit means durable.
        ("synchronous", &"FULL"),
        // Negative means KiB.
        ("cache_size", &-kibibytes),
        ("wal_autocheckpoint", &WAL_AUTOCHECKPOINT),
        ("temp_store", &"MEMORY"),
        // The bundled SQLite is built with foreign keys on; what counts is the option.
        ("foreign_keys", &options.foreign_keys),
        // ON and not FAST: a freed page is overwritten even when that alone writes it.
        ("secure_delete", &options.erases),
    ];
    for (name, value) in settings {
        connection.pragma_update(None, name, value).map_err(failed)?;
    }
    Ok((!mode.eq_ignore_ascii_case("wal")).then_some(mode))
}

/// What is worth doing when the sink closes: statistics for the planner, and the WAL into the database as far as
/// readers let it.
pub fn close(connection: &Connection) -> Result<()> {
    connection
        .execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(PASSIVE);")
        .map_err(|error| from_rusqlite(error, "close database"))
}
