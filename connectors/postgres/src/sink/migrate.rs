//! The bookkeeping tables of the sink, by numbered migrations that are recorded with their checksum.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_api::{Error, Result};

use super::names::{literal, qualified, quote};
use super::session::Session;
use crate::catalog::{number, text};

/// A migration. Its text never changes once it shipped.
#[derive(Debug, Clone, Copy)]
struct Migration {
    version: i64,
    name: &'static str,
    /// `{schema}` stands for the schema's quoted name.
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "bookkeeping",
    sql: include_str!("../../../../migrations/postgres/0001_bookkeeping.sql"),
}];

/// Names a lock of the database that only one migration at a time holds ("millmigr").
const LOCK: i64 = 0x6d69_6c6c_6d69_6772;

/// Runs what is missing, in one transaction.
///
/// # Errors
/// [`connector_api::Kind::Config`] when the schema is not there or may not be written to, and when it was migrated by a
/// newer version or by another text (I9).
pub(super) async fn migrate(session: &mut Session, schema: &str) -> Result<()> {
    match run(session, schema, MIGRATIONS).await {
        Ok(()) => Ok(()),
        Err(error) => Err(explain(session, error, schema).await),
    }
}

async fn run(session: &mut Session, schema: &str, migrations: &[Migration]) -> Result<()> {
    let known = recorded(session, schema).await?;
    if migrations.iter().any(|migration| !known.iter().any(|(version, _)| *version == migration.version)) {
        if known.is_empty() {
            require_schema(session, schema).await?;
        }
        let sql = script(schema, migrations);
        let done = session.query("create bookkeeping tables", &sql).await;
        if done.is_err() {
            session.query("create bookkeeping tables", "ROLLBACK").await?;
        }
        done?;
    }
    verify(&recorded(session, schema).await?, migrations)
}

/// One script: the lock makes a second session wait, and then find that everything is there.
fn script(schema: &str, migrations: &[Migration]) -> String {
    let register = qualified(schema, "_millstream_migrations");
    let mut sql = format!(
        "BEGIN; SELECT pg_advisory_xact_lock({LOCK}); CREATE TABLE IF NOT EXISTS {register} (version bigint PRIMARY KEY, \
         name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());"
    );
    for migration in migrations {
        let body = migration.sql.replace("{schema}", &quote(schema));
        let record = format!(
            "INSERT INTO {register} (version, name, checksum) VALUES ({}, {}, {});",
            migration.version,
            literal(migration.name),
            literal(&checksum(migration.sql))
        );
        let missing = format!("IF NOT EXISTS (SELECT FROM {register} WHERE version = {})", migration.version);
        let block = format!("BEGIN {missing} THEN {body}\n{record} END IF; END");
        sql += &format!("DO {};", literal(&block));
    }
    sql + "COMMIT"
}

/// Versions and checksums of what has run.
async fn recorded(session: &mut Session, schema: &str) -> Result<Vec<(i64, String)>> {
    let register = qualified(schema, "_millstream_migrations");
    let found = format!("SELECT to_regclass({}) IS NOT NULL", literal(&register));
    let found = session.query("read bookkeeping tables", &found).await?;
    if found.first().is_none_or(|row| text(row, 0) != "t") {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT version, checksum FROM {register} ORDER BY version");
    let rows = session.query("read bookkeeping tables", &sql).await?;
    rows.iter().map(|row| Ok((number(row, 0)?, text(row, 1).to_owned()))).collect()
}

async fn require_schema(session: &mut Session, schema: &str) -> Result<()> {
    let sql = format!(
        "SELECT n.oid IS NOT NULL, n.oid IS NOT NULL AND has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE'), \
           current_user FROM (SELECT {}::text AS name) w LEFT JOIN pg_namespace n ON n.nspname = w.name",
        literal(schema)
    );
    let rows = session.query("read schema", &sql).await?;
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let (quoted, role) = (quote(schema), quote(text(row, 2)));
    if text(row, 0) != "t" {
        return Err(Error::config(format!("create bookkeeping tables: there is no schema {schema:?}"))
            .with_remedy(format!("CREATE SCHEMA {quoted} AUTHORIZATION {role};")));
    }
    if text(row, 1) != "t" {
        return Err(Error::config(format!(
            "create bookkeeping tables: the role may not create tables in schema {schema:?}"
        ))
        .with_remedy(format!("GRANT USAGE, CREATE ON SCHEMA {quoted} TO {role};")));
    }
    Ok(())
}

fn verify(known: &[(i64, String)], migrations: &[Migration]) -> Result<()> {
    for migration in migrations {
        let found = known.iter().find(|(version, _)| *version == migration.version);
        if found.is_none_or(|(_, found)| *found != checksum(migration.sql)) {
            return Err(Error::config(format!(
                "check bookkeeping tables: migration {} ({}) was another text when they were made",
                migration.version, migration.name
            ))
            .with_remedy("run the version of millstream that made them"));
        }
    }
    match (known.last(), migrations.last()) {
        (Some((newest, _)), Some(last)) if *newest > last.version => Err(Error::config(format!(
            "check bookkeeping tables: they have migration {newest}, and this version knows {}",
            last.version
        ))
        .with_remedy("run the newer version of millstream that made them")),
        _ => Ok(()),
    }
}

/// Missing grants on tables that are there.
async fn explain(session: &mut Session, error: Error, schema: &str) -> Error {
    if crate::error::sqlstate(&error) != Some("42501") {
        return error;
    }
    let role = super::evolve::role(session).await.unwrap_or_default();
    let tables = ["_millstream_cursor", "_millstream_tables", "_millstream_migrations"];
    Error::config(error.to_string()).with_remedy(format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {};",
        super::names::list(tables.map(|table| qualified(schema, table))),
        quote(&role)
    ))
}

/// FNV-1a: this guards against an edited migration, not against an adversary.
fn checksum(sql: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", sql.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn another_text_and_a_newer_version_are_refused() {
        let now = MIGRATIONS.iter().map(|migration| (migration.version, checksum(migration.sql)));
        let mut known: Vec<_> = now.collect();
        verify(&known, MIGRATIONS).unwrap();
        known.push((99, String::new()));
        assert!(verify(&known, MIGRATIONS).unwrap_err().to_string().contains("have migration 99"));
        known[0].1 = "edited".into();
        assert!(verify(&known, MIGRATIONS).unwrap_err().to_string().contains("another text"));
    }

    #[test]
    fn a_hostile_schema_stays_a_name() {
        let sql = script("a'; DROP TABLE x; --\"", MIGRATIONS);
        assert!(sql.contains(r#""a''; DROP TABLE x; --""".""#), "{sql}");
    }
}
