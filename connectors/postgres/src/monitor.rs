//! Beside the stream: the heartbeat that keeps an idle slot moving, and the figures that only a query gives.

use crate::catalog::{Catalog, text};
use crate::connection::literal;
use crate::lsn::Lsn;
use crate::options::Checked;
use connector_api::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the figures are read.
const EVERY: Duration = Duration::from_secs(5);

/// Writes a message into the WAL. It is a transaction of its own, so that the stream has a commit to confirm.
pub(crate) const HEARTBEAT: &str = "SELECT pg_logical_emit_message(true, 'millstream.heartbeat', '')";

/// What the last query said; zero is unknown.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    end: AtomicU64,
    restart: AtomicU64,
}

impl Figures {
    /// The end of the server's WAL.
    pub(crate) fn end(&self) -> Option<Lsn> {
        Some(Lsn(self.end.load(Ordering::Relaxed))).filter(|lsn| lsn.0 > 0)
    }

    /// From where on the server keeps WAL for the slot.
    pub(crate) fn restart(&self) -> Option<Lsn> {
        Some(Lsn(self.restart.load(Ordering::Relaxed))).filter(|lsn| lsn.0 > 0)
    }
}

/// Runs until it is dropped. A failure is logged and tried again: the stream itself notices a lost server.
pub(crate) async fn run(options: Arc<Checked>, standby: bool, figures: Arc<Figures>) {
    let beat = (!standby && !options.heartbeat.is_zero()).then_some(options.heartbeat);
    let mut catalog: Option<Catalog> = None;
    let mut since_beat = Duration::ZERO;
    let step = beat.map_or(EVERY, |beat| beat.min(EVERY));
    loop {
        let due = beat.is_some_and(|beat| since_beat >= beat);
        if let Err(error) = once(&mut catalog, &options, standby, due, &figures).await {
            tracing::warn!(source = options.source, %error, "heartbeat failed");
            catalog = None;
        } else if due {
            since_beat = Duration::ZERO;
        }
        tokio::time::sleep(step).await;
        since_beat += step;
    }
}

async fn once(
    catalog: &mut Option<Catalog>,
    options: &Arc<Checked>,
    standby: bool,
    beat: bool,
    figures: &Figures,
) -> Result<()> {
    let catalog = match catalog {
        Some(catalog) => catalog,
        None => catalog.insert(Catalog::open(options.clone()).await?),
    };
    if beat {
        catalog.query("write heartbeat", HEARTBEAT).await?;
    }
    let end = end_of_wal(standby);
    let slot = literal(&options.slot);
    let sql =
        format!("SELECT {end}, (SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = {slot})");
    let rows = catalog.query("read replication slot", &sql).await?;
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    for (at, figure) in [(0, &figures.end), (1, &figures.restart)] {
        if let Ok(lsn) = Lsn::parse(text(row, at)) {
            figure.store(lsn.0, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The call that gives the end of the WAL that can be streamed.
pub(crate) fn end_of_wal(standby: bool) -> &'static str {
    if standby { "pg_last_wal_replay_lsn()" } else { "pg_current_wal_flush_lsn()" }
}
