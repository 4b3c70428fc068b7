//! The bookkeeping tables of the sink, by numbered migrations that are recorded with their checksum.

use connector_api::{Error, Result};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::error::Context;

/// A migration. Its text never changes once it shipped.
#[derive(Debug, Clone, Copy)]
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "bookkeeping",
    sql: include_str!("../../../migrations/sqlite/0001_bookkeeping.sql"),
}];

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
    if !is_current(connection, migrations)? {
        let what = "create bookkeeping tables";
        connection.execute_batch(REGISTER).context(what)?;
        for migration in migrations {
            // IMMEDIATE: another sink may be migrating the same file.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).context(what)?;
            if recorded(&transaction, migration.version)?.is_none() {
                transaction.execute_batch(migration.sql).context(what)?;
                transaction
                    .execute(
                        "INSERT INTO _millstream_migrations VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ'))",
                        (migration.version, migration.name, checksum(migration.sql)),
                    )
                    .context(what)?;
            }
            transaction.commit().context(what)?;
        }
    }
    verify(connection, migrations)
}

/// Whether there is nothing to write: reading must not wait for other writers.
fn is_current(connection: &Connection, migrations: &[Migration]) -> Result<bool> {
    let known = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_millstream_migrations')";
    if !connection.query_row(known, [], |row| row.get::<_, bool>(0)).context("read bookkeeping tables")? {
        return Ok(false);
    }
    for migration in migrations {
        if recorded(connection, migration.version)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn recorded(connection: &Connection, version: i64) -> Result<Option<String>> {
    connection
        .query_row("SELECT checksum FROM _millstream_migrations WHERE version = ?1", [version], |row| {
            row.get(0)
        })
        .optional()
        .context("read bookkeeping tables")
}

fn verify(connection: &Connection, migrations: &[Migration]) -> Result<()> {
    for migration in migrations {
        let found = recorded(connection, migration.version)?.unwrap_or_default();
        if found != checksum(migration.sql) {
            return Err(Error::config(format!(
                "check bookkeeping tables: migration {} ({}) was another text when this file was made",
                migration.version, migration.name
            ))
            .with_remedy("run the version of millstream that made this file"));
        }
    }
    let newest: i64 = connection
        .query_row("SELECT max(version) FROM _millstream_migrations", [], |row| row.get(0))
        .context("read bookkeeping tables")?;
    match migrations.last() {
        Some(last) if newest > last.version => Err(Error::config(format!(
            "check bookkeeping tables: this file has migration {newest}, and this version knows {}",
            last.version
        ))
        .with_remedy("run the newer version of millstream that made this file")),
        _ => Ok(()),
    }
}

/// FNV-1a: this guards against an edited migration, not against an adversary.
fn checksum(sql: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", sql.bytes().fold(0xcbf2_9ce4_8422_2325, step))
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
