//! The bookkeeping tables of the sink, by numbered migrations that are recorded with their checksum.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_api::{Error, Result};
use connector_sql::Migration;
use connector_sql::migrate::missing;

use super::names::{literal, qualified, quote};
use super::session::Session;
use crate::catalog::{number, text};

/// `{schema}` stands for the schema's quoted name.
const MIGRATIONS: &[Migration] = &[Migration {
    version: 1,
    name: "bookkeeping",
    sql: include_str!("../../../../migrations/postgres/0001_bookkeeping.sql"),
}];

/// What has the tables, for people.
const PLACE: &str = "this schema";

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
    if missing(migrations, &known, PLACE)?.is_empty() {
        return Ok(());
    }
    if known.is_empty() {
        require_schema(session, schema).await?;
    }
    let done = session.query("create bookkeeping tables", &script(schema, migrations)).await;
    if done.is_err() {
        session.query("create bookkeeping tables", "ROLLBACK").await?;
    }
    done?;
    missing(migrations, &recorded(session, schema).await?, PLACE).map(drop)
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
            literal(&migration.checksum())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_schema_stays_a_name() {
        let sql = script("a'; DROP TABLE x; --\"", MIGRATIONS);
        assert!(sql.contains(r#""a''; DROP TABLE x; --""".""#), "{sql}");
    }
}
