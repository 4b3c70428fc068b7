//! The replication slot: looked at, made, dropped. It is ours from the moment the unified log holds the intent to make it.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::catalog::{Catalog, flag, text};
use crate::connection::{Connection, identifier, literal};
use crate::error::malformed;
use crate::lsn::Lsn;
use crate::options::Checked;
use connector_api::{Error, Result};

/// A slot as the server shows it.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    plugin: String,
    database: String,
    pub(crate) active: bool,
    pub(crate) wal_status: String,
    /// Changes committed before this place are never sent again.
    pub(crate) confirmed: Lsn,
    current_database: String,
}

/// A slot that was just made.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// Changes committed after this place will be sent.
    pub(crate) consistent: Lsn,
    /// Shows the database as it was at `consistent`; gone with the next command of the connection that made it.
    pub(crate) snapshot: Option<String>,
}

pub(crate) async fn find(catalog: &mut Catalog, name: &str) -> Result<Option<Slot>> {
    let sql = format!(
        "SELECT plugin, database, active, coalesce(wal_status, ''), confirmed_flush_lsn, current_database() \
         FROM pg_replication_slots WHERE slot_name = {}",
        literal(name)
    );
    let rows = catalog.query("read replication slot", &sql).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Slot {
        plugin: text(row, 0).to_owned(),
        database: text(row, 1).to_owned(),
        active: flag(row, 2),
        wal_status: text(row, 3).to_owned(),
        // A physical slot has none; `require` refuses it.
        confirmed: Lsn::parse(text(row, 4)).unwrap_or_default(),
        current_database: text(row, 5).to_owned(),
    }))
}

impl Slot {
    /// Fails on a slot that is not for pgoutput and this database.
    pub(crate) fn require(&self, name: &str) -> Result<()> {
        let why = if self.plugin != "pgoutput" {
            format!("its plugin is {:?}, not pgoutput", self.plugin)
        } else if self.database != self.current_database {
            format!("it belongs to database {}", self.database)
        } else {
            return Ok(());
        };
        Err(Error::config(format!("use slot {name}: {why}"))
            .with_remedy("set another slot in the configuration"))
    }

    /// Fails when changes after `position` may be gone: they are never skipped over.
    pub(crate) fn require_after(&self, options: &Checked, position: Lsn) -> Result<()> {
        let name = &options.slot;
        self.require(name)?;
        if self.wal_status == "lost" {
            return Err(lost(
                options,
                format!("resume from slot {name}: the server removed WAL that it needs"),
            ));
        }
        if self.confirmed > position {
            let confirmed = self.confirmed;
            let text = format!(
                "resume from slot {name}: it stands at {confirmed}, beyond {position} of the log: \
                 somebody else read from it"
            );
            return Err(lost(options, text));
        }
        Ok(())
    }
}

/// The upstream no longer has what comes next.
pub(crate) fn lost(options: &Checked, what: String) -> Error {
    Error::lost(what).with_remedy(format!(
        "copy again: remove the source's data from the log (its position and topics), then run \
         SELECT pg_drop_replication_slot({}) and start",
        literal(&options.slot)
    ))
}

/// A slot of our name exists, and the log knows nothing of it.
pub(crate) fn foreign(options: &Checked) -> Error {
    let name = &options.slot;
    Error::config(format!("create slot {name}: one of that name exists, and the log has no position of it"))
        .with_remedy(format!(
            "SELECT pg_drop_replication_slot({}); -- or set another slot in the configuration",
            literal(name)
        ))
}

/// Drops our leftover slot, if it is there.
pub(crate) async fn drop_leftover(catalog: &mut Catalog, name: &str) -> Result<()> {
    if find(catalog, name).await?.is_some() {
        let sql = format!("SELECT pg_drop_replication_slot({})", literal(name));
        catalog.query("drop slot of an unfinished start", &sql).await?;
        tracing::info!(slot = name, "dropped the slot of an unfinished start");
    }
    Ok(())
}

/// Makes the slot; waits until every transaction that is running now has ended.
pub(crate) async fn create(connection: &mut Connection, name: &str, export: bool) -> Result<Made> {
    let export = if export { "EXPORT" } else { "NOEXPORT" };
    // The form that all versions from 14 on accept.
    let sql = format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput {export}_SNAPSHOT", identifier(name));
    let rows = connection.query(&format!("create slot {name}"), &sql).await.map_err(|error| {
        match crate::error::sqlstate(&error) {
            Some("53400") => error
                .with_remedy("raise max_replication_slots and restart the server, or drop an unused slot"),
            _ => error,
        }
    })?;
    let row = rows.first().ok_or_else(|| malformed("answer to CREATE_REPLICATION_SLOT"))?;
    Ok(Made { consistent: Lsn::parse(text(row, 1))?, snapshot: row.get(2).cloned().flatten() })
}
