//! `millstream check` for a Postgres source: everything that is wrong, where, and the exact command that mends it.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{Publication, Server, add_sql, create_sql, operations_sql, publication, server, slot};
use crate::catalog::{Catalog, Table};
use crate::connection::identifier;
use crate::options::{Checked, Snapshot};
use connector_api::{Error, Finding, Result, Severity};
use std::sync::Arc;

/// Looks, and changes nothing.
pub(crate) async fn check(options: Arc<Checked>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = look(options.clone(), &mut findings).await {
        let place = format!("source {}", options.source);
        findings.push(from_error("postgres-check", place, &error));
    }
    findings
}

fn from_error(code: &'static str, place: String, error: &Error) -> Finding {
    let finding = Finding::new(Severity::Error, code, place, error.to_string());
    match error.remedy() {
        Some(remedy) => finding.with_remedy(remedy),
        None => finding,
    }
}

async fn look(options: Arc<Checked>, findings: &mut Vec<Finding>) -> Result<()> {
    let mut catalog = Catalog::open(options.clone()).await?;
    let server = server(&mut catalog).await?;
    settings(&server, &options, findings);
    let wanted = catalog.wanted().await?;
    if let Err(error) = super::require_tables(&wanted, &options) {
        findings.push(from_error("postgres-tables", format!("source {}", options.source), &error));
    }
    let found = publication(&mut catalog, &options.publication).await?;
    let tables = match &found {
        None => {
            missing_publication(&options, &server, &wanted, findings);
            wanted
        }
        Some(found) => {
            let missing = super::missing(&mut catalog, &wanted, found).await?;
            existing_publication(&options, &server, found, &missing, findings);
            catalog.published().await?
        }
    };
    for table in &tables {
        identity(table, findings);
        if !table.readable && options.snapshot == Snapshot::Initial {
            let (role, name) = (identifier(&server.role), table.sql_name());
            let schema = identifier(&table.schema);
            findings.push(
                Finding::new(
                    Severity::Error,
                    "postgres-select",
                    table.full_name(),
                    "the role may not read it",
                )
                .with_remedy(format!(
                    "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {name} TO {role};"
                )),
            );
        }
    }
    slot_findings(&mut catalog, &options, &server, findings).await?;
    catalog.close().await;
    Ok(())
}

fn settings(server: &Server, options: &Checked, findings: &mut Vec<Finding>) {
    let place = options.target.address();
    if let Err(error) = super::require(server) {
        let code =
            if server.wal_level == "logical" { "postgres-replication-role" } else { "postgres-wal-level" };
        findings.push(from_error(code, place.clone(), &error));
    }
    let (used, limit) = server.senders;
    if used >= limit {
        findings.push(
            Finding::new(
                Severity::Error,
                "postgres-wal-senders",
                place.clone(),
                format!("all {limit} WAL senders are in use"),
            )
            .with_remedy("ALTER SYSTEM SET max_wal_senders = 20; -- then restart the server"),
        );
    }
    if server.standby {
        findings.push(Finding::new(
            Severity::Note,
            "postgres-standby",
            place,
            "the server is a standby: no heartbeat is written, and publications are made on its primary",
        ));
    }
}

fn missing_publication(options: &Checked, server: &Server, wanted: &[Table], findings: &mut Vec<Finding>) {
    let (severity, what) = match options.manage_publication && !server.standby {
        true => (Severity::Note, "it does not exist, and will be made at the first start"),
        false => (Severity::Error, "it does not exist, and this source may not make it"),
    };
    let place = format!("publication {}", options.publication);
    let finding = Finding::new(severity, "postgres-publication-missing", place, what);
    findings.push(if wanted.is_empty() { finding } else { finding.with_remedy(create_sql(options, wanted)) });
}

fn existing_publication(
    options: &Checked,
    server: &Server,
    found: &Publication,
    missing: &[Table],
    findings: &mut Vec<Finding>,
) {
    let place = format!("publication {}", options.publication);
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(Table::full_name).collect();
        let may = options.manage_publication && !server.standby;
        let severity = if may { Severity::Note } else { Severity::Error };
        let what = format!("it does not hold {}", names.join(", "));
        findings.push(
            Finding::new(severity, "postgres-publication-tables", place.clone(), what)
                .with_remedy(add_sql(options, missing)),
        );
    }
    for operation in &found.missing {
        let severity = if *operation == "truncate" { Severity::Warning } else { Severity::Error };
        findings.push(
            Finding::new(
                severity,
                "postgres-publication-operations",
                place.clone(),
                format!("it publishes no {operation}"),
            )
            .with_remedy(operations_sql(&options.publication)),
        );
    }
    if found.via_root != options.via_root {
        let what = format!(
            "its publish_via_partition_root is {}, the option says {}",
            found.via_root, options.via_root
        );
        let name = identifier(&options.publication);
        let wanted = options.via_root;
        findings.push(
            Finding::new(Severity::Warning, "postgres-publication-root", place, what).with_remedy(format!(
                "ALTER PUBLICATION {name} SET (publish_via_partition_root = {wanted});"
            )),
        );
    }
}

/// What the replica identity makes impossible.
fn identity(table: &Table, findings: &mut Vec<Finding>) {
    let name = table.sql_name();
    let (severity, code, what, remedy) = match table.identity {
        b'n' => (
            Severity::Error,
            "postgres-identity-nothing",
            "its replica identity is nothing: updates and deletes of it fail while it is published",
            format!("ALTER TABLE {name} REPLICA IDENTITY DEFAULT;"),
        ),
        b'd' if !table.has_primary_key() => (
            Severity::Error,
            "postgres-identity-missing",
            "it has no primary key and no replica identity: updates and deletes of it fail while it is published",
            format!("ALTER TABLE {name} REPLICA IDENTITY FULL; -- or add a primary key"),
        ),
        b'f' if !table.has_primary_key() => (
            Severity::Warning,
            "postgres-identity-keyless",
            "it has no key: its rows are matched by all their columns, and its topic is never compacted",
            format!("ALTER TABLE {name} ADD PRIMARY KEY (…);"),
        ),
        _ => return,
    };
    findings.push(Finding::new(severity, code, table.full_name(), what).with_remedy(remedy));
}

async fn slot_findings(
    catalog: &mut Catalog,
    options: &Checked,
    server: &Server,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let place = format!("slot {}", options.slot);
    let Some(found) = slot::find(catalog, &options.slot).await? else {
        let (used, limit) = server.slots;
        if used >= limit {
            findings.push(
                Finding::new(
                    Severity::Error,
                    "postgres-slots",
                    place,
                    format!("all {limit} replication slots are in use"),
                )
                .with_remedy("ALTER SYSTEM SET max_replication_slots = 20; -- then restart the server"),
            );
        }
        return Ok(());
    };
    if let Err(error) = found.require(&options.slot) {
        findings.push(from_error("postgres-slot-foreign", place.clone(), &error));
    }
    if found.wal_status == "lost" {
        let error = slot::lost(options, "the server removed WAL that the slot needs".to_owned());
        findings.push(from_error("postgres-slot-lost", place.clone(), &error));
    }
    if found.wal_status == "unreserved" {
        findings.push(
            Finding::new(
                Severity::Warning,
                "postgres-slot-unreserved",
                place.clone(),
                "WAL that it needs is about to be removed",
            )
            .with_remedy("ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf();"),
        );
    }
    if found.active {
        findings.push(Finding::new(
            Severity::Note,
            "postgres-slot-active",
            place,
            "a connection reads from it now",
        ));
    }
    Ok(())
}
