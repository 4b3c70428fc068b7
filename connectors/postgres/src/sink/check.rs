//! What `millstream check` says about a Postgres sink, without changing anything.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use connector_api::{Error, Finding, Result, Severity, Target};
use connector_sql::names::check_target;
use connector_sql::{Object, Rights, Wanted, evolve};

use super::catalog;
use super::connect;
use super::dialect::Sql;
use super::evolve::{Basis, is_ours};
use super::names::{literal, qualified, quote};
use super::options::Options;
use super::session::Session;
use crate::catalog::{flag, text};

/// The sink's own tables.
const BOOKKEEPING: [&str; 3] = ["_millstream_cursor", "_millstream_tables", "_millstream_migrations"];

/// Looks at server, schema and tables.
pub(super) async fn check(name: &str, options: &Options, targets: &[Arc<Target>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = look(name, options, targets, &mut findings).await {
        findings.push(of_error("postgres-check", format!("sink {name}"), &error));
    }
    findings
}

fn of_error(code: &'static str, place: String, error: &Error) -> Finding {
    let finding = Finding::new(Severity::Error, code, place, error.to_string());
    match error.remedy() {
        Some(remedy) => finding.with_remedy(remedy),
        None => finding,
    }
}

async fn look(
    name: &str,
    options: &Options,
    targets: &[Arc<Target>],
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let address = options.target()?.address();
    let mut session = connect::open(options).await?;
    let role = server(&mut session, &address, options, findings).await?;
    let schema = schema(&mut session, options, &role, findings).await?;
    if schema.exists {
        for target in targets {
            table(&mut session, name, options, target, &schema, findings).await?;
        }
    }
    session.close().await;
    Ok(())
}

/// Version, encryption, and settings that matter. Returns who is connected.
async fn server(
    session: &mut Session,
    address: &str,
    options: &Options,
    findings: &mut Vec<Finding>,
) -> Result<String> {
    let sql = "SELECT current_user, current_setting('server_version'), current_setting('synchronous_commit'), \
         current_setting('fsync'), pg_is_in_recovery(), current_setting('default_transaction_read_only'), \
         current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')";
    let rows = session.query("read server settings", sql).await?;
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let found = |severity, code, what: String| Finding::new(severity, code, address, what);
    let tls = if session.is_encrypted() { "with TLS" } else { "without TLS" };
    findings.push(found(
        Severity::Note,
        "postgres-server",
        format!("PostgreSQL {}, connected {tls}", text(row, 1)),
    ));
    let role = text(row, 0).to_owned();
    if text(row, 2) == "off" {
        let what = "synchronous_commit is off: a crash of the server can lose the last commits, data and cursor together; the \
             sink then applies them again, unless the log no longer has them";
        findings.push(
            found(Severity::Warning, "postgres-synchronous-commit", what.into())
                .with_remedy(format!("ALTER ROLE {} SET synchronous_commit = on;", quote(&role))),
        );
    }
    if text(row, 3) == "off" {
        let what = "fsync is off: a crash of the machine can damage the whole database";
        findings.push(
            found(Severity::Warning, "postgres-fsync", what.into())
                .with_remedy("ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();"),
        );
    }
    if flag(row, 4) || text(row, 5) == "on" {
        let what = "the server takes no writes (a standby, or default_transaction_read_only)";
        findings.push(
            found(Severity::Error, "postgres-read-only", what.into())
                .with_remedy("name the primary in `url`"),
        );
    }
    let free: i64 = text(row, 6).parse().unwrap_or(i64::MAX);
    if free < options.lanes() as i64 {
        let what = format!("{free} connections are free, and the sink uses up to {}", options.lanes());
        findings.push(
            found(Severity::Warning, "postgres-connections", what)
                .with_remedy("raise max_connections of the server, or lower `connections` of this sink"),
        );
    }
    Ok(role)
}

/// What is known of the schema.
struct Schema {
    exists: bool,
    may_create: bool,
    /// The sink's own tables are there.
    ready: bool,
}

async fn schema(
    session: &mut Session,
    options: &Options,
    role: &str,
    findings: &mut Vec<Finding>,
) -> Result<Schema> {
    let name = &options.schema;
    let sql = format!(
        "SELECT n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'USAGE'), false), \
           coalesce(has_schema_privilege(n.oid, 'CREATE'), false) \
         FROM (SELECT {}::text AS name) w LEFT JOIN pg_namespace n ON n.nspname = w.name",
        literal(name)
    );
    let rows = session.query("read schema", &sql).await?;
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let (quoted, role) = (quote(name), quote(role));
    let error = |code, what: &str| Finding::new(Severity::Error, code, name.clone(), what);
    if !flag(row, 0) {
        let remedy = format!("CREATE SCHEMA {quoted} AUTHORIZATION {role};");
        findings.push(error("postgres-schema-missing", "the schema does not exist").with_remedy(remedy));
        return Ok(Schema { exists: false, may_create: false, ready: false });
    }
    if !flag(row, 1) {
        let remedy = format!("GRANT USAGE ON SCHEMA {quoted} TO {role};");
        findings.push(error("postgres-schema-usage", "the role may not use the schema").with_remedy(remedy));
        return Ok(Schema { exists: false, may_create: false, ready: false });
    }
    let may_create = flag(row, 2);
    let mut ready = true;
    for table in BOOKKEEPING {
        match catalog::read(session, name, table).await? {
            Object::Table(found) if !found.facts.missing.is_empty() => {
                let missing = super::names::list(&found.facts.missing);
                let remedy = format!("GRANT {missing} ON {} TO {role};", qualified(name, table));
                findings.push(
                    Finding::new(
                        Severity::Error,
                        "postgres-grant",
                        format!("{name}.{table}"),
                        format!("the role lacks {missing}"),
                    )
                    .with_remedy(remedy),
                );
            }
            Object::Table(_) => {}
            Object::Missing | Object::Other(_) => ready = false,
        }
    }
    if !ready && !may_create {
        let what = "the role may not create tables, and the sink's own (_millstream_…) are not there";
        let remedy = format!("GRANT CREATE ON SCHEMA {quoted} TO {role};");
        findings.push(error("postgres-schema-create", what).with_remedy(remedy));
    }
    Ok(Schema { exists: true, may_create, ready })
}

async fn table(
    session: &mut Session,
    sink: &str,
    options: &Options,
    target: &Arc<Target>,
    schema: &Schema,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let sql = Sql { schema: options.schema.clone() };
    if let Err(error) = check_target(&sql, target) {
        findings.push(of_error("postgres-mapping", format!("table {:?}", target.table), &error));
        return Ok(());
    }
    let basis = Basis { sink, sql: &sql, create: options.create_tables };
    let wanted = Wanted { target, dialect: &sql };
    let found = catalog::read(session, &options.schema, &target.table).await?;
    let ours = schema.ready && is_ours(session, basis, &target.table).await?;
    // Only the owner of a table changes it.
    let able = match &found {
        Object::Table(table) => table.facts.owned,
        _ => schema.may_create,
    };
    findings.extend(evolve::findings(
        &wanted,
        &found,
        Rights { create: options.create_tables && able, ours },
    ));
    Ok(())
}
