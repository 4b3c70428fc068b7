//! The source: made in two phases, so that a slot which an interrupted start left behind is known as ours; then the
//! initial copy; then the stream.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod begin;

use crate::catalog::Catalog;
use crate::connection::Connection;
use crate::lsn::{Lsn, Mark, Stage};
use crate::monitor::{self, Figures};
use crate::options::Checked;
use crate::snapshot::Snapshot;
use crate::stream::Stream;
use crate::task::Task;
use begin::{Begin, Begun};
use connector_api::{
    BatchBuilder, BoxFuture, Error, Position, Refresh, Refreshed, Result, Source, SourceStatus,
};
use std::sync::Arc;

/// A Postgres source. Made by [`crate::source`].
pub(crate) struct Postgres {
    options: Arc<Checked>,
    phase: Phase,
    /// `None` while a task of ours has it.
    catalog: Option<Catalog>,
    /// What is needed to go from one phase to the next.
    begin: Option<Begin>,
    figures: Arc<Figures>,
    monitor: Option<Task<()>>,
}

/// What `read` does.
enum Phase {
    /// Not started, or failed.
    Idle,
    /// The log is to know that the slot will be made (`given`), and then does (`durable`): only then it is made.
    Intent {
        given: bool,
        durable: bool,
    },
    /// The slot is made, or the stream is started.
    Beginning(Task<Result<Begun>>),
    /// The initial copy; the connection that made the slot waits for the stream.
    Copying(Box<Snapshot>, Box<Connection>),
    Streaming(Box<Stream>),
}

impl Postgres {
    pub(crate) fn new(options: Checked) -> Postgres {
        Postgres {
            options: Arc::new(options),
            phase: Phase::Idle,
            catalog: None,
            begin: None,
            figures: Arc::default(),
            monitor: None,
        }
    }

    async fn start_after(&mut self, after: Option<&Position>) -> Result<()> {
        let mark = after.map(Mark::decode).transpose()?;
        let (begin, catalog) = Begin::prepare(self.options.clone(), mark).await?;
        let (standby, figures) = (begin.server.standby, self.figures.clone());
        self.monitor = Some(Task::spawn(monitor::run(self.options.clone(), standby, figures)));
        match mark.map(|mark| mark.stage) {
            None => {
                self.catalog = Some(catalog);
                self.phase = Phase::Intent { given: false, durable: false };
            }
            Some(stage) => self.phase = Phase::Beginning(Task::spawn(begin.clone().resume(catalog, stage))),
        }
        self.begin = Some(begin);
        if let Phase::Beginning(task) = &mut self.phase {
            // What cannot work is to be said by `start`.
            let begun = task.wait().await??;
            self.install(begun);
        }
        Ok(())
    }

    fn install(&mut self, begun: Begun) {
        match begun {
            Begun::Copying { catalog, snapshot, connection } => {
                self.catalog = Some(catalog);
                self.phase = Phase::Copying(snapshot, connection);
            }
            Begun::Streaming { catalog, stream } => {
                self.catalog = Some(catalog);
                self.phase = Phase::Streaming(stream);
            }
        }
    }

    fn begin(&self) -> Result<Begin> {
        self.begin.clone().ok_or_else(not_started)
    }

    async fn read_into(&mut self, into: &mut BatchBuilder) -> Result<Option<Position>> {
        loop {
            match &mut self.phase {
                Phase::Idle => return Err(not_started()),
                Phase::Intent { given: given @ false, .. } => {
                    *given = true;
                    return Ok(Some(self.begin()?.mark(Stage::Intent).position()));
                }
                // Nothing can be made before the log knows of it; `confirm` comes when this read is dropped.
                Phase::Intent { durable: false, .. } => std::future::pending::<()>().await,
                Phase::Intent { .. } => {
                    let catalog = self.catalog.take().ok_or_else(not_started)?;
                    self.phase = Phase::Beginning(Task::spawn(self.begin()?.first(catalog)));
                }
                Phase::Beginning(task) => {
                    let begun = task.wait().await.flatten();
                    match begun {
                        Ok(begun) => self.install(begun),
                        Err(error) => {
                            self.phase = Phase::Idle;
                            return Err(error);
                        }
                    }
                }
                Phase::Copying(snapshot, _) => match snapshot.ended() {
                    None => return snapshot.read(into).await.map(Some),
                    Some(position) => self.stream_from(position)?,
                },
                Phase::Streaming(stream) => return stream.read(&mut self.catalog, into).await,
            }
        }
    }

    /// Goes on from the initial copy to the stream, on the connection that made the slot.
    fn stream_from(&mut self, position: Lsn) -> Result<()> {
        let begin = self.begin()?;
        let catalog = self.catalog.take().ok_or_else(not_started)?;
        if let Phase::Copying(_, connection) = std::mem::replace(&mut self.phase, Phase::Idle) {
            self.phase = Phase::Beginning(Task::spawn(begin.stream(catalog, *connection, position)));
        }
        Ok(())
    }

    async fn confirm_up_to(&mut self, durable: &Position) -> Result<()> {
        let mark = Mark::decode(durable)?;
        match (&mut self.phase, mark.stage) {
            (Phase::Intent { durable, .. }, Stage::Intent) => *durable = true,
            (Phase::Streaming(stream), Stage::Streaming(lsn)) => stream.confirm(lsn).await?,
            // Positions of a phase that is over: nothing upstream waits for them.
            _ => {}
        }
        Ok(())
    }
}

fn not_started() -> Error {
    Error::transient("read source: it was not started, or failed before")
}

impl Source for Postgres {
    fn start<'a>(&'a mut self, after: Option<&'a Position>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.start_after(after))
    }

    fn read<'a>(&'a mut self, into: &'a mut BatchBuilder) -> BoxFuture<'a, Result<Option<Position>>> {
        Box::pin(self.read_into(into))
    }

    fn confirm<'a>(&'a mut self, durable: &'a Position) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.confirm_up_to(durable))
    }

    fn keep_alive(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            match &mut self.phase {
                Phase::Streaming(stream) => stream.keep_alive().await,
                _ => Ok(()),
            }
        })
    }

    fn refresh(&mut self, wanted: Refresh) -> Result<()> {
        match &mut self.phase {
            Phase::Streaming(stream) => stream.refresh(&self.options, wanted),
            _ => Err(Error::transient(format!(
                "refresh rows of {}: the source does not stream yet",
                wanted.topic
            ))),
        }
    }

    fn refreshed(&mut self) -> Option<Result<Refreshed>> {
        match &mut self.phase {
            Phase::Streaming(stream) => stream.refreshed(),
            _ => None,
        }
    }

    fn status(&self) -> SourceStatus {
        let (phase, position, caught_up, snapshot) = match &self.phase {
            Phase::Idle | Phase::Intent { .. } | Phase::Beginning(_) => ("starting", None, false, None),
            Phase::Copying(snapshot, _) => {
                ("snapshot", Some(snapshot.consistent()), false, Some(snapshot.progress()))
            }
            Phase::Streaming(stream) => ("streaming", Some(stream.position()), stream.caught_up, None),
        };
        let end = self.figures.end();
        let behind = |lsn: Lsn| end.map(|end| end.0.saturating_sub(lsn.0));
        SourceStatus {
            phase,
            position: position.map(|lsn| lsn.to_string()).unwrap_or_default(),
            lag_bytes: position.and_then(behind),
            retained_bytes: self.figures.restart().and_then(behind),
            caught_up,
            snapshot,
        }
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            let this = *self;
            drop(this.monitor);
            if let Some(catalog) = this.catalog {
                catalog.close().await;
            }
            match this.phase {
                Phase::Streaming(stream) => stream.stop().await,
                Phase::Copying(_, connection) => {
                    connection.close().await;
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    }
}
