//! The bookkeeping tables of the sink, by numbered migrations that are recorded with their checksum.

use connector_api::Result;
use connector_sql::{Migration, migrate::missing};
use rusqlite::{Connection, TransactionBehavior};

use crate::error::Context;

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "bookkeeping",
        sql: include_str!("../../../migrations/sqlite/0001_bookkeeping.sql"),
    },
    Migration {
        version: 2,
        name: "erasure",
        sql: include_str!("../../../migrations/sqlite/0002_erasure.sql"),
    },
];

const PLACE: &str = "this file";

const REGISTER: &str = "CREATE TABLE IF NOT EXISTS _millstream_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TEXT NOT NULL
)";

/// Runs what is missing, each migration in a transaction of its own.
///
/// # Errors
/// [`connector_api::Kind::Config`] when the file was migrated by a newer version or by another text (I9).
pub fn migrate(connection: &mut Connection) -> Result<()> {
    run(connection, MIGRATIONS)
}

fn run(connection: &mut Connection, migrations: &[Migration]) -> Result<()> {
    // Reading must not wait for other writers: only what is missing takes a lock.
    if missing(migrations, &recorded(connection)?, PLACE)?.is_empty() {
        return Ok(());
    }
    let what = "create bookkeeping tables";
    connection.execute_batch(REGISTER).context(what)?;
    for migration in migrations {
        // IMMEDIATE: another sink may be migrating the same file.
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).context(what)?;
        if missing(migrations, &recorded(&transaction)?, PLACE)?.contains(&migration) {
            transaction.execute_batch(migration.sql).context(what)?;
            transaction
                .execute(
                    "INSERT INTO _millstream_migrations VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ'))",
                    (migration.version, migration.name, migration.checksum()),
                )
                .context(what)?;
        }
        transaction.commit().context(what)?;
    }
    Ok(())
}

/// Remembers that the file holds no page that was freed without being overwritten, if that is so.
pub fn remember_overwrites(connection: &Connection) -> Result<()> {
    let what = "count free pages";
    if overwrites(connection)? {
        return Ok(());
    }
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0)).context(what)?;
    if free == 0 {
        let remember =
            "INSERT OR IGNORE INTO _millstream_overwrites VALUES (1, strftime('%Y-%m-%dT%H:%M:%fZ'))";
        connection.execute(remember, []).context("write bookkeeping tables")?;
    }
    Ok(())
}

/// Whether every page that the sink freed was overwritten.
pub fn overwrites(connection: &Connection) -> Result<bool> {
    let what = "read bookkeeping tables";
    let known = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_millstream_overwrites')";
    if !connection.query_row(known, [], |row| row.get::<_, bool>(0)).context(what)? {
        return Ok(false);
    }
    let is = "SELECT EXISTS (SELECT 1 FROM _millstream_overwrites)";
    connection.query_row(is, [], |row| row.get(0)).context(what)
}

/// Version and checksum of every migration that the file has.
fn recorded(connection: &Connection) -> Result<Vec<(i64, String)>> {
    let what = "read bookkeeping tables";
    let known = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_millstream_migrations')";
    if !connection.query_row(known, [], |row| row.get::<_, bool>(0)).context(what)? {
        return Ok(Vec::new());
    }
    let mut statement =
        connection.prepare("SELECT version, checksum FROM _millstream_migrations").context(what)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).context(what)?;
    rows.collect::<rusqlite::Result<_>>().context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        let count: i64 = connection
            .query_row("SELECT count(*) FROM _millstream_migrations", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, MIGRATIONS.len() as i64);
    }

    #[test]
    fn a_failed_migration_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = Migration { version: 1, name: "broken", sql: "CREATE TABLE a (b); SELECT nothing;" };
        run(&mut connection, &[broken]).unwrap_err();
        let made: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'a'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(made, 0);
        run(&mut connection, &[Migration { sql: "CREATE TABLE a (b)", ..broken }]).unwrap();
    }

    #[test]
    fn another_text_and_a_newer_file_are_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        let edited = Migration { sql: "SELECT 1", ..MIGRATIONS[0] };
        let error = run(&mut connection, &[edited]).unwrap_err();
        assert!(error.to_string().contains("another text"), "{error}");
        connection.execute_batch("INSERT INTO _millstream_migrations VALUES (99, 'new', '', '')").unwrap();
        let error = migrate(&mut connection).unwrap_err();
        assert!(error.to_string().contains("has migration 99"), "{error}");
        assert_eq!(error.kind(), connector_api::Kind::Config);
    }
}
