//! From nothing, or from the log's position, to a copy or a stream that runs.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::catalog::{Catalog, text};
use crate::connection::{Connection, Purpose};
use crate::error::malformed;
use crate::lsn::{Lsn, Mark, Stage};
use crate::monitor;
use crate::options::{self, Checked};
use crate::setup::{self, Server, slot};
use crate::snapshot::Snapshot;
use crate::stream::{self, Stream};
use connector_api::{Error, Result};
use std::sync::Arc;

/// What was learned at the start, and is needed by every way on.
#[derive(Clone)]
pub(super) struct Begin {
    options: Arc<Checked>,
    pub(super) server: Server,
    system: u64,
    /// The end of the WAL at the start.
    goal: Lsn,
}

/// A phase that can be read from.
pub(super) enum Begun {
    Copying { catalog: Catalog, snapshot: Box<Snapshot>, connection: Box<Connection> },
    Streaming { catalog: Catalog, stream: Box<Stream> },
}

impl Begin {
    /// Connects, checks server, role, publication and tables, and that the log's position is one of this cluster.
    pub(super) async fn prepare(options: Arc<Checked>, mark: Option<Mark>) -> Result<(Begin, Catalog)> {
        let mut catalog = Catalog::open(options.clone()).await?;
        let server = setup::server(&mut catalog).await?;
        setup::require(&server)?;
        let system = system(&options).await?;
        if let Some(mark) = mark
            && mark.system != system
        {
            let text = format!(
                "resume source {}: its position is of cluster {}, and {} is cluster {system}",
                options.source,
                mark.system,
                options.target.address()
            );
            return Err(Error::lost(text).with_remedy(
                "give the url of the cluster that was captured, or use a new source name for the new one",
            ));
        }
        let stage = mark.map(|mark| mark.stage);
        let copied = options.snapshot == options::Snapshot::Initial && !matches!(stage, Some(Stage::Streaming(_)));
        setup::ensure(&mut catalog, &options, &server, copied).await?;
        let existing = slot::find(&mut catalog, &options.slot).await?;
        match (stage, existing) {
            (None, Some(_)) if options.snapshot == options::Snapshot::Initial => {
                return Err(slot::foreign(&options));
            }
            (None, Some(found)) => found.require(&options.slot)?,
            _ => {}
        }
        let goal = goal(&mut catalog, &options, &server).await?;
        Ok((Begin { options, server, system, goal }, catalog))
    }

    pub(super) fn mark(&self, stage: Stage) -> Mark {
        Mark { system: self.system, stage }
    }

    /// The first start, after the log holds the intent.
    pub(super) async fn first(self, catalog: Catalog) -> Result<Begun> {
        self.make(catalog, false).await
    }

    /// A later start.
    pub(super) async fn resume(self, mut catalog: Catalog, stage: Stage) -> Result<Begun> {
        match stage {
            // The slot, if it exists, is ours and was of no use yet.
            Stage::Intent => {
                if self.options.snapshot == options::Snapshot::Initial {
                    slot::drop_leftover(&mut catalog, &self.options.slot).await?;
                }
                self.make(catalog, false).await
            }
            // Its exported snapshot is gone, so that the copy begins anew.
            Stage::Snapshot(_) => {
                slot::drop_leftover(&mut catalog, &self.options.slot).await?;
                self.make(catalog, true).await
            }
            Stage::Streaming(position) => {
                let Some(found) = slot::find(&mut catalog, &self.options.slot).await? else {
                    let text = format!("resume from slot {}: it no longer exists", self.options.slot);
                    return Err(slot::lost(&self.options, text));
                };
                found.require_after(&self.options, position)?;
                let connection = Connection::open(&self.options.target, Purpose::Replication).await?;
                self.stream(catalog, connection, position).await
            }
        }
    }

    /// Makes the slot, and the initial copy on its snapshot. A crash on the way leaves a slot that the next start drops.
    async fn make(self, mut catalog: Catalog, clear: bool) -> Result<Begun> {
        let options = self.options.clone();
        let mut connection = Connection::open(&options.target, Purpose::Replication).await?;
        let copy = clear || options.snapshot == options::Snapshot::Initial;
        if !copy && let Some(found) = slot::find(&mut catalog, &options.slot).await? {
            found.require(&options.slot)?;
            return self.stream(catalog, connection, found.confirmed).await;
        }
        let made = slot::create(&mut connection, &options.slot, copy).await?;
        tracing::info!(slot = options.slot, at = %made.consistent, "made replication slot");
        if !copy {
            return self.stream(catalog, connection, made.consistent).await;
        }
        let name = made.snapshot.ok_or_else(|| malformed("answer to CREATE_REPLICATION_SLOT"))?;
        let server = &self.server;
        let snapshot =
            Snapshot::start(&mut catalog, &options, server, self.system, made.consistent, &name, clear)
                .await?;
        Ok(Begun::Copying { catalog, snapshot: Box::new(snapshot), connection: Box::new(connection) })
    }

    /// Starts the stream after `position`.
    pub(super) async fn stream(
        self,
        catalog: Catalog,
        connection: Connection,
        position: Lsn,
    ) -> Result<Begun> {
        let from = stream::From {
            system: self.system,
            position,
            goal: self.goal,
            sender_timeout: self.server.sender_timeout,
        };
        let stream = Stream::start(connection, &self.options, from).await?;
        tracing::info!(slot = self.options.slot, after = %position, "streaming");
        Ok(Begun::Streaming { catalog, stream: Box::new(stream) })
    }
}

/// The cluster's own number, so that a position of another one is refused.
async fn system(options: &Checked) -> Result<u64> {
    let mut connection = Connection::open(&options.target, Purpose::Replication).await?;
    let rows = connection.query("identify system", "IDENTIFY_SYSTEM").await?;
    connection.close().await;
    let row = rows.first().map(Vec::as_slice).unwrap_or_default();
    text(row, 0).parse().map_err(|_| malformed("system identifier"))
}

/// The place in the WAL that the source has to reach to be caught up. A heartbeat makes sure that a commit follows it.
async fn goal(catalog: &mut Catalog, options: &Checked, server: &Server) -> Result<Lsn> {
    if !server.standby && !options.heartbeat.is_zero() {
        match catalog.query("write heartbeat", monitor::HEARTBEAT).await {
            Ok(_) => {}
            Err(error) => tracing::warn!(source = options.source, %error, "no heartbeat can be written"),
        }
    }
    let sql = format!("SELECT {}", monitor::end_of_wal(server.standby));
    Lsn::parse(&catalog.value("read end of WAL", &sql).await?.unwrap_or_default())
}
