//! What a source needs on the server: makes it where the role may, and says exactly what to run where it may not.
//!
//! The publication comes before the slot, always: a slot decodes with the catalog of its past, and one that is older
//! than its publication fails for ever.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub(crate) mod check;
pub(crate) mod slot;

use crate::catalog::{Catalog, Table, flag, text};
use crate::connection::{identifier, literal};
use crate::error::sqlstate;
use crate::options::Checked;
use connector_api::{Error, Kind, Result};

/// Facts about the server that decide how the source goes on.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// A standby: nothing can be made or written there.
    pub(crate) standby: bool,
    pub(crate) wal_level: String,
    pub(crate) role: String,
    /// Whether the role may replicate.
    pub(crate) may_replicate: bool,
    pub(crate) slots: (u32, u32),
    pub(crate) senders: (u32, u32),
    /// `wal_sender_timeout` in milliseconds; 0 is never.
    pub(crate) sender_timeout: u64,
}

/// An existing publication.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) all_tables: bool,
    pub(crate) via_root: bool,
    /// The operations that it leaves out.
    pub(crate) missing: Vec<&'static str>,
}

pub(crate) async fn server(catalog: &mut Catalog) -> Result<Server> {
    let rows = catalog
        .query(
            "read server settings",
            "SELECT pg_is_in_recovery(), current_setting('wal_level'), current_user, \
               (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) OR coalesce( \
                 (SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = 'rds_replication'), false), \
               (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots'), \
               (SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders'), \
               (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout')",
        )
        .await?;
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    let pair = |at: usize| (text(row, at).parse().unwrap_or(0), text(row, at + 1).parse().unwrap_or(0));
    Ok(Server {
        standby: flag(row, 0),
        wal_level: text(row, 1).to_owned(),
        role: text(row, 2).to_owned(),
        may_replicate: flag(row, 3),
        slots: pair(4),
        senders: pair(6),
        sender_timeout: text(row, 8).parse().unwrap_or(60_000),
    })
}

/// Fails on what no source can work with.
pub(crate) fn require(server: &Server) -> Result<()> {
    if server.wal_level != "logical" {
        return Err(Error::config(format!("check server: wal_level is {}, not logical", server.wal_level))
            .with_remedy("ALTER SYSTEM SET wal_level = logical; -- then restart the server"));
    }
    if !server.may_replicate {
        let role = &server.role;
        return Err(Error::new(Kind::Auth, format!("check role: {role} has no REPLICATION attribute"))
            .with_remedy(format!("ALTER ROLE {} REPLICATION;", identifier(role))));
    }
    Ok(())
}

pub(crate) async fn publication(catalog: &mut Catalog, name: &str) -> Result<Option<Publication>> {
    let sql = format!(
        "SELECT puballtables, pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication \
         WHERE pubname = {}",
        literal(name)
    );
    let rows = catalog.query("read publication", &sql).await?;
    Ok(rows.first().map(|row| {
        let operations = [(2, "insert"), (3, "update"), (4, "delete"), (5, "truncate")];
        Publication {
            all_tables: flag(row, 0),
            via_root: flag(row, 1),
            missing: operations.into_iter().filter(|(at, _)| !flag(row, *at)).map(|(_, name)| name).collect(),
        }
    }))
}

/// Sees to it that the publication exists and holds every wanted table; returns what it publishes of them. `copied` says
/// whether an initial copy follows: without one, a table that is added begins with its next change.
///
/// # Errors
/// [`Kind::Config`] or [`Kind::Auth`] with the SQL to run, where the role may not or the options forbid it.
pub(crate) async fn ensure(
    catalog: &mut Catalog,
    options: &Checked,
    server: &Server,
    copied: bool,
) -> Result<Vec<Table>> {
    let wanted = catalog.wanted().await?;
    require_tables(&wanted, options)?;
    match publication(catalog, &options.publication).await? {
        None => {
            let sql = create_sql(options, &wanted);
            change(catalog, options, server, "create publication", sql).await?;
        }
        Some(found) => {
            if let Some(operation) = found.missing.iter().find(|operation| **operation != "truncate") {
                let name = &options.publication;
                return Err(Error::config(format!("use publication {name}: it publishes no {operation}"))
                    .with_remedy(operations_sql(name)));
            }
            let missing = missing(catalog, &wanted, &found).await?;
            if !missing.is_empty() {
                let sql = add_sql(options, &missing);
                change(catalog, options, server, "add tables to publication", sql).await?;
                if !copied {
                    let tables = missing.iter().map(Table::sql_name).collect::<Vec<_>>().join(", ");
                    tracing::warn!(source = options.source, tables, "captured from now on; the rows they had are not copied");
                }
            }
        }
    }
    catalog.published().await
}

/// The wanted tables that the publication does not publish.
async fn missing(catalog: &mut Catalog, wanted: &[Table], found: &Publication) -> Result<Vec<Table>> {
    if found.all_tables {
        return Ok(Vec::new());
    }
    let published = catalog.published().await?;
    let covered = |table: &Table| {
        published.iter().any(|one| {
            let name = (table.schema.clone(), table.name.clone());
            one.oid == table.oid || (table.kind == b'p' && one.ancestors.contains(&name))
        })
    };
    // A partitioned table without partitions is published and not listed, so that adding it may find it there.
    Ok(wanted.iter().filter(|table| !covered(table)).cloned().collect())
}

fn require_tables(wanted: &[Table], options: &Checked) -> Result<()> {
    for pattern in &options.patterns {
        let met = wanted.iter().any(|table| {
            pattern.matches(&table.schema, &table.name)
                || table.ancestors.iter().any(|(schema, name)| pattern.matches(schema, name))
        });
        if !met && pattern.is_exact() {
            return Err(Error::config(format!(
                "find table {}: there is none in this database",
                pattern.text()
            )));
        }
    }
    if wanted.is_empty() {
        return Err(Error::config("find tables: none matches the option tables"));
    }
    Ok(())
}

async fn change(
    catalog: &mut Catalog,
    options: &Checked,
    server: &Server,
    doing: &str,
    sql: String,
) -> Result<()> {
    let context = format!("{doing} {}", options.publication);
    if server.standby {
        return Err(Error::config(format!("{context}: the server is a standby"))
            .with_remedy(format!("run on its primary: {sql}")));
    }
    if !options.manage_publication {
        return Err(Error::config(format!("{context}: manage_publication is false")).with_remedy(sql));
    }
    match catalog.query(&context, &sql).await {
        // Added by somebody else since we looked.
        Err(error) if sqlstate(&error) == Some("42710") => Ok(()),
        Err(error) if matches!(error.kind(), Kind::Auth | Kind::Config) => {
            Err(error.with_remedy(format!("run as the owner of the tables or as a superuser: {sql}")))
        }
        Err(error) => Err(error),
        Ok(_) => {
            tracing::info!(publication = options.publication, "{doing}");
            Ok(())
        }
    }
}

pub(crate) fn create_sql(options: &Checked, tables: &[Table]) -> String {
    let names: Vec<_> = tables.iter().map(Table::sql_name).collect();
    let root = options.via_root;
    format!(
        "CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = {root});",
        identifier(&options.publication),
        names.join(", ")
    )
}

pub(crate) fn add_sql(options: &Checked, tables: &[Table]) -> String {
    let names: Vec<_> = tables.iter().map(Table::sql_name).collect();
    format!("ALTER PUBLICATION {} ADD TABLE {};", identifier(&options.publication), names.join(", "))
}

pub(crate) fn operations_sql(publication: &str) -> String {
    format!(
        "ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate');",
        identifier(publication)
    )
}
