//! The Postgres sink: source transactions applied whole, with the cursor in the same transaction.
//!
//! Changes are gathered to their net effect (`connector_sql`), which goes to the server in volleys: a few statements for
//! all rows of a flush, pipelined with BEGIN, the cursor and COMMIT. `session` speaks the protocol, over the source's own
//! way to connect; `form` writes values; `sql` and `plan` know the statements of a table; `lane` is a connection with its
//! transaction; with `apply: batched` there are several, each with its own topics.
//!
//! An erasure runs on the first connection, in one transaction with everything behind it and with the cursor. With several
//! connections the others commit first what they have applied, with the places in the cursor that it reaches: the erasure
//! sees everything before it, and nothing waits for its locks.
//!
//! What a crash does: the server keeps a committed transaction, data and cursor together, or nothing of it (I3). The next
//! start waits until no session of the one before is at work any more, reads the cursor and goes on from there.

mod catalog;
mod check;
mod connect;
mod cursor;
mod dialect;
mod erase;
mod evolve;
mod failure;
mod form;
mod lane;
mod migrate;
mod names;
mod options;
mod plan;
mod plans;
mod routes;
mod rows;
mod session;
mod sql;
mod statements;
mod types;
mod write;

use std::sync::Arc;

use connector_api::erasure::{Erasure, Outcome};
use connector_api::{
    BoxFuture, Cursor, Error, Finding, Incoming, LogId, Refused, Result, Rows, Sink, Target, TopicPartition,
};
use futures_util::future::join_all;

use catalog::References;
use connect::{Locks, known_tables_sql};
use cursor::CursorStore;
use lane::{Lane, Shared};
use routes::Routes;

use crate::catalog::text;

pub use erase::REMAINS;
pub use options::Options;

/// Everything that keeps the sink `name` from writing to its target, or will; looks only. Needs a tokio runtime.
///
/// # Errors
/// [`connector_api::Kind::Config`] when the options themselves are wrong; the server's faults are findings.
pub async fn check(name: &str, options: &Options, targets: &[Arc<Target>]) -> Result<Vec<Finding>> {
    options.check(name)?;
    Ok(check::check(name, options, targets).await)
}

/// Reads the target's rows back, on a connection of its own.
///
/// # Errors
/// [`connector_api::Kind::Config`] when the options are wrong.
pub fn rows(name: &str, options: &Options) -> Result<Box<dyn Rows>> {
    options.check(name)?;
    Ok(Box::new(rows::Reader::new(options.clone())))
}

/// Applies changes to one schema of a PostgreSQL database. Several sinks may share it: each has its own cursor, told
/// apart by name.
pub struct Postgres {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
    routes: Routes,
    /// `None` before the first use, and after a failure that leaves the sessions in doubt.
    cursor: Option<CursorStore>,
    /// The log that the cursor counts, from [`Sink::start`] on.
    log: Option<LogId>,
}

impl Postgres {
    /// A sink named `name`. Connects to nothing before [`Sink::start`].
    pub fn new(name: impl Into<Arc<str>>, options: Options) -> Postgres {
        let name = name.into();
        let locks = Locks::of(&options.schema, &name);
        let count = options.lanes();
        let sql = dialect::Sql { schema: options.schema.clone() };
        let shared = Arc::new(Shared { name, options, locks, sql });
        let lanes = (0..count).map(|_| Lane::new(shared.clone())).collect();
        Postgres { shared, lanes, routes: Routes::new(count), cursor: None, log: None }
    }

    /// Connects anew, and reads what the target holds.
    async fn open(&mut self) -> Result<()> {
        self.cursor = None;
        self.lanes.iter_mut().for_each(Lane::detach);
        let Shared { name, options, locks, .. } = &*self.shared;
        let mut session = connect::open(options).await?;
        if let Err(held) = locks.take_over(&mut session).await {
            // Waiting helps nobody where the other process writes what another log holds.
            let store = CursorStore::open(&mut session, &options.schema, name.clone()).await;
            if let (Ok(store), Some(log)) = (store, self.log) {
                store.cursor(log)?;
            }
            return Err(held);
        }
        migrate::migrate(&mut session, &options.schema).await?;
        let cursor = CursorStore::open(&mut session, &options.schema, name.clone()).await?;
        let known =
            session.query("read bookkeeping tables", &known_tables_sql(&options.schema, name)).await?;
        self.routes = Routes::new(self.lanes.len());
        let references = References::read(&mut session, &options.schema).await?;
        self.routes.learn(known.iter().map(|row| (text(row, 0), text(row, 1))), references.pairs());
        self.first()?.attach(session);
        self.cursor = Some(cursor);
        Ok(())
    }

    async fn ready(&mut self) -> Result<()> {
        match self.cursor {
            Some(_) => Ok(()),
            None => self.open().await,
        }
    }

    fn first(&mut self) -> Result<&mut Lane> {
        self.lanes.first_mut().ok_or_else(|| Error::config("check option connections: at least 1"))
    }

    async fn flushed(&mut self) -> Result<Vec<Refused>> {
        if self.routes.is_crossed() {
            return Err(self.uncross().await);
        }
        self.routes.settle();
        self.ready().await?;
        let results = match self.lanes.as_mut_slice() {
            [only] => vec![only.flush().await],
            lanes => join_all(lanes.iter_mut().map(Lane::flush)).await,
        };
        let refused = results.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(refused.into_iter().flatten().collect())
    }

    /// A topic goes to a table of another lane. What is open cannot move between connections: it is given up, and the
    /// next start knows better.
    #[cold]
    async fn uncross(&mut self) -> Error {
        let pairs = self.routes.crossed();
        let remembered = self.remember(&pairs).await;
        self.cursor = None;
        self.lanes.iter_mut().for_each(Lane::detach);
        let again = || {
            Error::transient(
                "apply changes: topics turned out to share a table; starting over with them on one connection",
            )
        };
        remembered.err().unwrap_or_else(again)
    }

    async fn remember(&mut self, pairs: &[(Arc<str>, String)]) -> Result<()> {
        self.open().await?;
        let shared = self.shared.clone();
        for (topic, table) in pairs {
            let sql = evolve::remember_sql(&shared.options.schema, &shared.name, topic, table, false);
            self.first()?.session()?.query("write bookkeeping tables", &sql).await?;
        }
        Ok(())
    }

    async fn committed(&mut self, cursor: &Cursor) -> Result<()> {
        self.ready().await?;
        let Postgres { lanes, routes, cursor: Some(store), .. } = self else {
            return Err(Error::transient("commit transaction: there is no connection"));
        };
        let mut parts: Vec<Vec<(TopicPartition, u64)>> = lanes.iter().map(|_| Vec::new()).collect();
        for moved in store.moved(cursor) {
            let lane = routes.lane_of(&moved.0.topic);
            if let Some(part) = parts.get_mut(lane) {
                part.push(moved);
            }
        }
        let known = &*store;
        let commits = lanes.iter_mut().zip(&parts).map(|(lane, part)| lane.commit(known, cursor.log, part));
        let results = join_all(commits).await;
        let mut failed = None;
        for (part, result) in parts.into_iter().zip(results) {
            match result {
                Ok(()) => store.committed(cursor.log, part),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if failed.is_none() {
            routes.part();
        }
        failed.map_or(Ok(()), Err)
    }

    async fn erased(&mut self, erasure: &Erasure) -> Result<Outcome> {
        // The loop has flushed: nothing waits, or nothing that could be refused without being told.
        if let Some(refused) = self.flushed().await?.into_iter().next() {
            let error = format!("erase rows: a change before them was refused: {}", refused.error);
            return Err(Error::transient(error));
        }
        self.join_lanes().await?;
        Ok(Outcome::Done(self.first()?.erase(erasure).await?))
    }

    /// Commits what all lanes but the first have applied.
    async fn join_lanes(&mut self) -> Result<()> {
        let Postgres { lanes, routes, cursor: Some(store), log: Some(log), .. } = self else {
            return Err(Error::transient("erase rows: there is no connection"));
        };
        if lanes.iter().any(Lane::is_void) {
            return Err(Error::transient("erase rows: the transaction is void until it is rolled back"));
        }
        for lane in lanes.iter_mut().skip(1) {
            let moved = lane.commit_applied(store, *log).await?;
            store.committed(*log, moved);
        }
        routes.join();
        Ok(())
    }

    async fn rolled_back(&mut self) -> Result<()> {
        self.routes.settle();
        self.routes.part();
        if self.lanes.iter().any(Lane::is_void) {
            // The sessions are made again at the next use, with their locks.
            self.cursor = None;
        }
        for lane in &mut self.lanes {
            lane.rollback().await?;
        }
        Ok(())
    }

    async fn moved_to(&mut self, cursor: &Cursor) -> Result<()> {
        self.rolled_back().await?;
        self.ready().await?;
        let Postgres { lanes, cursor: Some(store), .. } = self else {
            return Err(Error::transient("reset cursor: there is no connection"));
        };
        let Some(lane) = lanes.first_mut() else { return Ok(()) };
        lane.session()?.query("reset cursor", &format!("BEGIN; {}", store.clear_sql())).await?;
        lane.begun();
        store.cleared();
        let moved = store.moved(cursor);
        lane.commit(store, cursor.log, &moved).await?;
        store.committed(cursor.log, moved);
        Ok(())
    }
}

impl Sink for Postgres {
    fn start(&mut self, log: LogId) -> BoxFuture<'_, Result<Option<Cursor>>> {
        Box::pin(async move {
            // Another process may have moved the cursor since: what counts is the target.
            self.log = Some(log);
            self.open().await?;
            self.cursor.as_ref().map_or(Ok(None), |store| store.cursor(log))
        })
    }

    #[inline]
    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        let Some(at) = self.routes.find(incoming.topic, incoming.target) else {
            // The flush that follows says so.
            return Ok(());
        };
        match self.lanes.get_mut(at) {
            Some(lane) => lane.push(incoming),
            None => Err(Error::config("check option connections: at least 1")),
        }
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<Vec<Refused>>> {
        Box::pin(self.flushed())
    }

    fn commit<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.committed(cursor))
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.rolled_back())
    }

    fn reset<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let result = self.moved_to(cursor).await;
            if result.is_err() {
                // What the target holds is in doubt: read it again.
                self.cursor = None;
            }
            result
        })
    }

    fn erase<'a>(&'a mut self, erasure: &'a Erasure) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(self.erased(erasure))
    }

    fn notices(&mut self) -> Vec<String> {
        self.lanes.iter_mut().flat_map(Lane::notices).collect()
    }

    fn stop(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            self.rolled_back().await?;
            for lane in &mut self.lanes {
                lane.close().await;
            }
            Ok(())
        })
    }
}
