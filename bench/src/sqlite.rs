//! The reference for SQLite: a bare loop of prepared upserts over the schema and the pragmas of the product's sink.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, Statement, params};

use crate::Part;
use crate::measure::{Error, Run};
use crate::rows::{self, Change, Row};
use crate::workload::Sizes;

/// The pragmas of the product's SQLite sink. When the sink changes, so does this line.
pub const TUNED: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -32768; \
     PRAGMA wal_autocheckpoint = 20000;";

/// WAL and nothing else: SQLite's own 2 MB of cache and its checkpoint every 1,000 pages.
pub const PLAIN: &str = "PRAGMA journal_mode = WAL;";

const SCHEMA: &str = "CREATE TABLE bench(id INTEGER PRIMARY KEY, name TEXT, email TEXT, amount TEXT, n INTEGER, \
     created_at TEXT, active INTEGER)";

const UPSERT: &str = "INSERT INTO bench(id, name, email, amount, n, created_at, active) VALUES (?, ?, ?, ?, ?, ?, ?) \
     ON CONFLICT(id) DO UPDATE SET name = excluded.name, email = excluded.email, amount = excluded.amount, \
     n = excluded.n, created_at = excluded.created_at, active = excluded.active";

/// Where each change is a transaction of its own the loop takes at most so many, for at most so long: its rate is that
/// of the disk's fsync, and stands for the whole.
pub const SINGLE_ROWS_MAX: u64 = 5_000;
const SINGLE_ROWS_TIME: Duration = Duration::from_secs(5);

/// A database that takes the workloads one after the other, as a pipeline's target does.
pub struct Loop {
    connection: Connection,
    transaction: Box<dyn Fn(Part) -> u64>,
    sizes: Sizes,
}

impl Loop {
    /// A new database; `transaction` gives the changes per transaction of each workload.
    pub fn create(
        path: &Path,
        pragmas: &str,
        sizes: Sizes,
        transaction: impl Fn(Part) -> u64 + 'static,
    ) -> Result<Self, Error> {
        let connection = Connection::open(path)?;
        connection.execute_batch(pragmas)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection, transaction: Box::new(transaction), sizes })
    }

    /// Applies a workload; the time is that of the statements and commits alone.
    pub fn apply(&mut self, part: Part) -> Result<Run, Error> {
        let transaction = (self.transaction)(part);
        let mut count = self.sizes.changes(part) - 1;
        if transaction == 1 {
            // One fsync per change: its rate is steady from the start, and the whole would take minutes.
            count = count.min(SINGLE_ROWS_MAX);
        }
        let changes: Vec<Change> = (0..count).map(|i| rows::change(part, i, self.sizes.inserts)).collect();
        let mut done = 0;
        let start = Instant::now();
        let mut upsert = self.connection.prepare(UPSERT)?;
        let mut delete = self.connection.prepare("DELETE FROM bench WHERE id = ?")?;
        for group in changes.chunks(usize::try_from(transaction)?) {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            for change in group {
                apply(&mut upsert, &mut delete, change)?;
            }
            self.connection.execute_batch("COMMIT")?;
            done += group.len() as u64;
            if transaction == 1 && start.elapsed() > SINGLE_ROWS_TIME {
                break;
            }
        }
        Ok(Run { changes: done, seconds: start.elapsed().as_secs_f64(), ..Run::default() })
    }
}

fn apply(upsert: &mut Statement<'_>, delete: &mut Statement<'_>, change: &Change) -> rusqlite::Result<usize> {
    match change {
        Change::Upsert(Row { id, name, email, amount, n, created_at, active }) => {
            upsert.execute(params![id, name, email, amount, n, created_at, active])
        }
        Change::Delete(id) => delete.execute([id]),
    }
}

/// Looks at a pipeline's target from outside, as another service would.
pub struct Observer<'a> {
    path: &'a Path,
    connection: Option<Connection>,
}

impl<'a> Observer<'a> {
    /// The database may not exist yet; each look tries again.
    pub fn new(path: &'a Path) -> Self {
        Self { path, connection: None }
    }

    /// Whether the row is visible.
    pub fn sees(&mut self, id: u64) -> bool {
        self.query("SELECT id FROM bench WHERE id = ?", [id as i64]).is_some()
    }

    /// The greatest id that is visible; 0 when there is none.
    pub fn newest(&mut self) -> u64 {
        self.query("SELECT coalesce(max(id), 0) FROM bench", []).map_or(0, |id| id as u64)
    }

    /// None when there is no such row, and no such table or database yet.
    fn query(&mut self, sql: &str, values: impl rusqlite::Params) -> Option<i64> {
        if self.connection.is_none() {
            // Opening must not create what the sink is about to create; writing is for the WAL's index.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            self.connection = Connection::open_with_flags(self.path, flags).ok();
        }
        self.connection.as_ref()?.prepare_cached(sql).ok()?.query_row(values, |row| row.get(0)).ok()
    }

    /// The same as [`Source::digest`](crate::source::Source::digest), read at the target.
    pub fn digest(&mut self) -> Result<String, Error> {
        let connection = Connection::open(self.path)?;
        let query = "SELECT count(*) || '/' || sum(id) || '/' || sum(n) FROM bench";
        Ok(connection.query_row(query, [], |row| row.get(0))?)
    }
}
