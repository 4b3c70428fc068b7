//! Rows read again while the stream goes on, put into it where they are right.
//!
//! A message in the WAL marks a place before the rows are read, another one a place after. Whatever changes between the
//! two in the stream is struck from what was read; what is left goes into the transaction of the second message, and
//! nothing that the stream had before it is newer. This is the watermark method of DBLog, with one hole closed: a
//! transaction is in the WAL a moment before others see it (with synchronous replication, a long moment), so that its
//! changes may have passed before the first mark while the read does not see them. The snapshot of the read names
//! the transactions that it saw as open; when one of them has passed already, the request is to be made again.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod window;

use crate::catalog::{Catalog, Table, text};
use crate::changes::Plan;
use crate::connection::{Connection, Purpose, literal};
use crate::error::malformed;
use crate::keys;
use crate::options::Checked;
use crate::task::Task;
use connector_api::{Error, Refresh, Result, Schema};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use window::Window;

/// What our messages are called in the WAL.
pub(crate) const PREFIX: &[u8] = b"millstream.refresh";
/// Most keys of one request.
const KEYS_MAX: usize = 10_000;
/// Rows of one request that are kept until the second mark has passed; one row may be larger.
const BYTES_MAX: usize = 16 << 20;

/// What the task that reads and the stream tell each other.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// The table, there before the first mark.
    table: Option<(u32, Plan)>,
    /// What was read, there before the second mark.
    found: Option<Found>,
    failed: Option<Error>,
    /// What the next request may use.
    reader: Option<Reader>,
}

/// What was read.
#[derive(Default)]
struct Found {
    /// The keys that were looked for.
    keys: Vec<Vec<u8>>,
    /// Lines of the COPY, each with its end.
    lines: Vec<u8>,
    /// Transactions that were open for the reader.
    open: Vec<u32>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way, or the last one.
pub(crate) struct Refreshing {
    pub(crate) id: u64,
    pub(crate) slot: Arc<Slot>,
    _task: Task<()>,
}

impl Refreshing {
    /// Begins to read, on the connections of the `last` request when they are free.
    pub(crate) fn begin(options: Arc<Checked>, wanted: Refresh, last: Option<Refreshing>) -> Refreshing {
        let id = RandomState::new().hash_one(&wanted.topic);
        let slot = Arc::new(Slot::default());
        let reader = last.and_then(|last| last.slot.lock().reader.take());
        let task = Task::spawn(run(options, wanted, id, reader, slot.clone()));
        Refreshing { id, slot, _task: task }
    }
}

async fn run(options: Arc<Checked>, wanted: Refresh, id: u64, reader: Option<Reader>, slot: Arc<Slot>) {
    let topic = wanted.topic.clone();
    let done = async {
        let mut reader = match reader {
            Some(reader) => reader,
            None => Reader::open(options).await?,
        };
        reader.read(wanted, id, &slot).await?;
        Ok(reader)
    };
    match done.await {
        Ok(reader) => slot.lock().reader = Some(reader),
        Err(error) => {
            let error: Error = error;
            slot.lock().failed = Some(error.within(format!("refresh rows of {topic}")));
        }
    }
}

struct Reader {
    catalog: Catalog,
    connection: Connection,
}

impl Reader {
    async fn open(options: Arc<Checked>) -> Result<Reader> {
        let mut connection = Connection::open(&options.target, Purpose::Sql).await?;
        // Marks need not wait for standbys; reads by key are short.
        let sql = "SET synchronous_commit = local; SET statement_timeout = '60s'";
        connection.query("prepare session", sql).await?;
        Ok(Reader { catalog: Catalog::open(options).await?, connection })
    }

    async fn read(&mut self, wanted: Refresh, id: u64, slot: &Slot) -> Result<()> {
        let Refresh { topic, mut keys } = wanted;
        let mut found = Found::default();
        if !keys.is_empty() {
            keys.truncate(KEYS_MAX);
            let (table, shape) = self.table(&topic).await?;
            let schema = shape.schema.clone();
            if schema.key.is_empty() {
                return Err(Error::config("the table has no key")
                    .with_remedy(format!("ALTER TABLE {} ADD PRIMARY KEY (…);", table.sql_name())));
            }
            slot.lock().table = Some((table.oid, Plan::new(shape)));
            self.mark("low", id).await?;
            found = self.rows(&table, &schema, keys).await?;
        }
        slot.lock().found = Some(found);
        self.mark("high", id).await
    }

    async fn table(&mut self, topic: &str) -> Result<(Table, crate::catalog::Shape)> {
        for table in self.catalog.published().await? {
            let shape = self.catalog.describe(&table).await?;
            if *shape.topic == *topic {
                return Ok((table, shape));
            }
        }
        Err(Error::config("the source captures no such table"))
    }

    /// A transaction of its own, so that the stream gets it as soon as it is flushed.
    async fn mark(&mut self, which: &str, id: u64) -> Result<()> {
        let prefix = literal(&String::from_utf8_lossy(PREFIX));
        let sql = format!("SELECT pg_logical_emit_message(true, {prefix}, '{which} {id:016x}')");
        self.connection.query("write a message into the WAL", &sql).await?;
        Ok(())
    }

    /// As many of the keys as have room, in one snapshot.
    async fn rows(&mut self, table: &Table, schema: &Schema, mut keys: Vec<Vec<u8>>) -> Result<Found> {
        let doing = "read rows";
        let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_current_snapshot()";
        let rows = self.connection.query(doing, sql).await?;
        let open = open_transactions(text(rows.first().map(Vec::as_slice).unwrap_or_default(), 0))?;
        loop {
            let sql = keys::copy(table, schema, Some(&keys))?;
            self.connection.copy_out(doing, &sql).await?;
            let mut lines = Vec::new();
            let mut fits = true;
            while let Some(line) = self.connection.copied(doing).await? {
                fits &= keys.len() == 1 || lines.len() + line.len() < BYTES_MAX;
                if fits {
                    lines.extend_from_slice(line);
                    lines.push(b'\n');
                }
            }
            if fits {
                self.connection.query(doing, "COMMIT").await?;
                return Ok(Found { keys, lines, open });
            }
            keys.truncate(keys.len().div_ceil(2));
        }
    }
}

/// The list in `xmin:xmax:xid,xid,…`; the stream has the lower half of these numbers.
fn open_transactions(snapshot: &str) -> Result<Vec<u32>> {
    let list = snapshot.splitn(3, ':').nth(2).ok_or_else(|| malformed("snapshot"))?;
    let numbers = list.split(',').filter(|number| !number.is_empty());
    numbers
        .map(|number| number.parse::<u64>().map(|xid| xid as u32).map_err(|_| malformed("snapshot")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_snapshot_names_the_open_transactions() {
        assert_eq!(open_transactions("10:20:10,14").unwrap(), [10, 14]);
        assert!(open_transactions("4294967306:4294967306:").unwrap().is_empty());
        assert_eq!(open_transactions("1:9:4294967298").unwrap(), [2]);
        assert!(open_transactions("10:20").is_err() && open_transactions("1:2:x").is_err());
    }
}
