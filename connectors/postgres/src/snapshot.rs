//! The initial copy: every published table as it was when the slot was made, by several connections at a time.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod pieces;

use crate::catalog::{Catalog, Table};
use crate::changes::{Plan, Scratch};
use crate::connection::{Connection, Purpose, identifier, literal};
use crate::lsn::{Lsn, Mark, Stage};
use crate::options::Checked;
use crate::setup::Server;
use crate::task::Task;
use connector_api::{BatchBuilder, Error, Kind, Position, Result, SnapshotProgress};
use pieces::{Chunk, Queue};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Chunks that wait for the reader, for each worker: with [`pieces::CHUNK`] the bound on memory.
const CHUNKS_PER_WORKER: usize = 2;

/// An initial copy under way.
pub(crate) struct Snapshot {
    mark: Mark,
    consistent: Lsn,
    tables: Vec<Plan>,
    /// Pieces of each table that are still to come.
    left: Vec<usize>,
    chunks: mpsc::Receiver<Result<Chunk>>,
    current: Option<Chunk>,
    /// Rows of an abandoned copy may be in the log: the tables are emptied first.
    clear: bool,
    progress: SnapshotProgress,
    scratch: Scratch,
    _workers: Vec<Task<()>>,
}

impl Snapshot {
    /// Opens the workers' connections on the exported snapshot `name`, which may vanish once this returns, and lets them
    /// begin.
    pub(crate) async fn start(
        catalog: &mut Catalog,
        options: &Arc<Checked>,
        server: &Server,
        system: u64,
        consistent: Lsn,
        name: &str,
        clear: bool,
    ) -> Result<Snapshot> {
        let tables = catalog.published().await?;
        require_readable(&tables, server)?;
        let mut connections = Vec::new();
        for _ in 0..options.snapshot_workers {
            connections.push(open_worker(options, name).await?);
        }
        let mut plans = Vec::new();
        let mut queue = Queue::default();
        let mut left = Vec::new();
        for (at, table) in tables.iter().enumerate() {
            plans.push(Plan::new(catalog.describe(table).await?));
            let pieces = pieces::of_table(catalog, at, table).await?;
            left.push(pieces.len());
            queue.extend(pieces);
        }
        let progress = SnapshotProgress {
            tables_total: tables.len() as u64,
            tables_done: left.iter().filter(|left| **left == 0).count() as u64,
            rows_estimated: tables.iter().map(|table| table.rows).sum(),
            rows_done: 0,
        };
        tracing::info!(tables = tables.len(), rows = progress.rows_estimated, at = %consistent, "initial copy begins");
        let (send, chunks) = mpsc::channel(options.snapshot_workers * CHUNKS_PER_WORKER);
        let queue = Arc::new(std::sync::Mutex::new(queue));
        let workers = connections
            .into_iter()
            .map(|connection| Task::spawn(pieces::work(connection, queue.clone(), send.clone())));
        Ok(Snapshot {
            mark: Mark { system, stage: Stage::Snapshot(consistent) },
            consistent,
            tables: plans,
            left,
            _workers: workers.collect(),
            chunks,
            current: None,
            clear,
            progress,
            scratch: Scratch::default(),
        })
    }

    /// Fills `into` with rows. The position says that the copy goes on, or, after its last row, where the stream begins.
    /// Cancel-safe: it waits only while `into` holds nothing of this call.
    pub(crate) async fn read(&mut self, into: &mut BatchBuilder) -> Result<Position> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        if self.clear {
            into.begin(0, now);
            for table in &mut self.tables {
                table.truncate(into)?;
            }
            into.commit(&self.mark.encode());
            self.clear = false;
        }
        loop {
            if let Some(chunk) = &mut self.current {
                let table =
                    self.tables.get_mut(chunk.table).ok_or_else(|| Error::corrupt("copy: no such table"))?;
                into.begin(0, now);
                let rows = chunk.decode(table, into, &mut self.scratch);
                into.commit(&self.mark.encode());
                self.progress.rows_done += rows?;
                if into.is_full() {
                    return Ok(self.mark.position());
                }
                if chunk.last {
                    self.piece_done();
                }
                self.current = None;
            }
            match self.chunks.try_recv() {
                Ok(chunk) => self.current = Some(chunk?),
                Err(mpsc::error::TryRecvError::Disconnected) => return Ok(self.end()),
                Err(mpsc::error::TryRecvError::Empty) if into.records() > 0 => {
                    return Ok(self.mark.position());
                }
                Err(mpsc::error::TryRecvError::Empty) => match self.chunks.recv().await {
                    Some(chunk) => self.current = Some(chunk?),
                    None => return Ok(self.end()),
                },
            }
        }
    }

    fn piece_done(&mut self) {
        let Some(table) = self.current.as_ref().map(|chunk| chunk.table) else { return };
        if let Some(left) = self.left.get_mut(table) {
            *left = left.saturating_sub(1);
            self.progress.tables_done += u64::from(*left == 0);
        }
    }

    fn end(&mut self) -> Position {
        self.mark.stage = Stage::Streaming(self.consistent);
        self.progress.tables_done = self.progress.tables_total;
        tracing::info!(rows = self.progress.rows_done, "initial copy ends");
        self.mark.position()
    }

    /// Where the stream begins, once the last row was read.
    pub(crate) fn ended(&self) -> Option<Lsn> {
        matches!(self.mark.stage, Stage::Streaming(_)).then_some(self.consistent)
    }

    pub(crate) fn consistent(&self) -> Lsn {
        self.consistent
    }

    pub(crate) fn progress(&self) -> SnapshotProgress {
        let estimated = self.progress.rows_estimated.max(self.progress.rows_done);
        SnapshotProgress { rows_estimated: estimated, ..self.progress }
    }
}

async fn open_worker(options: &Checked, name: &str) -> Result<Connection> {
    let mut connection = Connection::open(&options.target, Purpose::Sql).await?;
    let sql = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; SET LOCAL synchronize_seqscans = off",
        literal(name)
    );
    connection.query("open snapshot", &sql).await?;
    Ok(connection)
}

fn require_readable(tables: &[Table], server: &Server) -> Result<()> {
    let hidden: Vec<_> = tables.iter().filter(|table| !table.readable).map(Table::sql_name).collect();
    if hidden.is_empty() {
        return Ok(());
    }
    let (role, names) = (identifier(&server.role), hidden.join(", "));
    Err(Error::new(Kind::Auth, format!("copy {names}: the role may not read it"))
        .with_remedy(format!("GRANT SELECT ON {names} TO {role}; -- and GRANT USAGE on the schemas")))
}
