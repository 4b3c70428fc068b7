//! The sink: lanes that apply, one connection that looks at tables and changes them, and the cursor.

use std::sync::Arc;

use connector_api::erasure::{Erasure, Outcome};
use connector_api::{
    BoxFuture, Cursor, Error, Incoming, Kind, LogId, Refused, Result, Sink, Target, TopicPartition,
};
use futures_util::future::{join_all, try_join_all};
use tracing::info;

use crate::cursor::CursorStore;
use crate::ddl::Wanted;
use crate::evolve;
use crate::lane::{Flushed, Lane};
use crate::migrate::migrate;
use crate::options::Options;
use crate::plan::{Plan, check_target};
use crate::session::Session;

/// How often a flush looks again at a table that somebody changed.
const LOOKS_MAX: u32 = 2;

/// Applies changes to one database of MySQL or MariaDB. Several sinks may share a database: each has its own cursor, told
/// apart by name.
#[derive(Debug)]
pub struct Mysql {
    name: Arc<str>,
    options: Options,
    /// `None` before [`Sink::start`].
    work: Option<Work>,
    notices: Vec<String>,
}

/// What lives as long as the connections.
#[derive(Debug)]
struct Work {
    lanes: Vec<Lane>,
    /// Looks at tables and changes them: MySQL commits when it does, so it holds no changes.
    control: Session,
    store: CursorStore,
    log: LogId,
    /// Everything goes to the first lane until the transaction ends: an erasure touches tables of any lane, and what comes
    /// behind it would wait for its locks on another connection.
    joined: bool,
}

impl Mysql {
    /// A sink named `name`. Connects to nothing before [`Sink::start`].
    pub fn new(name: impl Into<Arc<str>>, options: Options) -> Self {
        Mysql { name: name.into(), options, work: None, notices: Vec::new() }
    }

    async fn started(&mut self, log: LogId) -> Result<Option<Cursor>> {
        self.work = None;
        let mut control = Session::open(&self.options).await?;
        migrate(&mut control).await?;
        let opening = (0..self.options.lanes()).map(|_| Session::open(&self.options));
        let lanes: Vec<Lane> = try_join_all(opening).await?.into_iter().map(Lane::new).collect();
        let connections: Vec<u64> = lanes.iter().map(|lane| lane.server().connection).collect();
        let store = CursorStore::take_over(&mut control, self.name.clone(), &connections, log).await?;
        let cursor = store.cursor(log);
        self.work = Some(Work { lanes, control, store, log, joined: false });
        cursor
    }

    async fn flushed(&mut self) -> Result<Vec<Refused>> {
        let mut refused = Vec::new();
        let mut looks = 0;
        loop {
            self.plan().await?;
            let Mysql { options, work, .. } = self;
            let Work { lanes, store, .. } = work.as_mut().ok_or_else(not_started)?;
            let (store, options) = (&*store, &*options);
            let flushing = lanes.iter_mut().map(|lane| lane.flush(store, options));
            let mut outdated = None;
            let results = join_all(flushing).await;
            for (lane, result) in lanes.iter_mut().zip(results) {
                match result? {
                    Flushed::Done(more) => refused.extend(more),
                    Flushed::Outdated(target, error) => {
                        lane.forget(&target);
                        outdated = Some(error);
                    }
                }
            }
            match outdated {
                None => return Ok(refused),
                Some(error) if looks == LOOKS_MAX => return Err(stays(&error)),
                Some(error) => {
                    info!("a target table was changed by somebody else, looking at it again: {error}");
                    looks += 1;
                }
            }
        }
    }

    /// Makes the plans that the next flush needs, creating and extending tables first.
    async fn plan(&mut self) -> Result<()> {
        let Mysql { name, options, work, notices } = self;
        let work = work.as_mut().ok_or_else(not_started)?;
        for at in 0..work.lanes.len() {
            let unplanned = work.lanes.get_mut(at).map(Lane::unplanned).unwrap_or_default();
            for target in unplanned {
                let plan = work.plan(name, options, &target, notices).await?;
                if let Some(lane) = work.lanes.get_mut(at) {
                    lane.add(plan);
                }
            }
        }
        Ok(())
    }

    async fn committed(&mut self, cursor: &Cursor) -> Result<()> {
        let Mysql { options, work, .. } = self;
        let Work { lanes, store, joined, .. } = work.as_mut().ok_or_else(not_started)?;
        let count = if *joined { 1 } else { lanes.len() };
        let mut entries: Vec<Vec<(TopicPartition, u64)>> = vec![Vec::new(); count];
        for (of, next) in store.changed(cursor) {
            let lane = options.ties.of_topic(&of.topic).unwrap_or_default() % count.max(1);
            if let Some(entries) = entries.get_mut(lane) {
                entries.push((of.clone(), next));
            }
        }
        // Each lane commits its topics' entries with their data; when one fails, the others' stay right (I3).
        let (shared, options) = (&*store, &*options);
        let committing = lanes.iter_mut().zip(&entries);
        let results =
            join_all(committing.map(|(lane, entries)| lane.commit(shared, options, cursor.log, entries)))
                .await;
        for (entries, result) in entries.iter().zip(results) {
            result?;
            entries.iter().for_each(|(of, next)| store.committed(cursor.log, of, *next));
        }
        *joined = false;
        Ok(())
    }

    async fn erased(&mut self, erasure: &Erasure) -> Result<Outcome> {
        // The loop has flushed: nothing waits, or nothing that could be refused without being told.
        if let Some(refused) = self.flushed().await?.into_iter().next() {
            let error = format!("erase rows: a change before them was refused: {}", refused.error);
            return Err(Error::transient(error));
        }
        let Mysql { options, work, .. } = self;
        let Work { lanes, store, log, joined, .. } = work.as_mut().ok_or_else(not_started)?;
        // The others commit what they have applied, so that the erasure sees it, and waits for none of its locks.
        for lane in lanes.iter_mut().skip(1) {
            for (of, next) in lane.commit_reached(store, options, *log).await? {
                store.committed(*log, &of, next);
            }
        }
        *joined = true;
        let first = lanes.first_mut().ok_or_else(not_started)?;
        Ok(Outcome::Done(first.erase(store, options, erasure).await?))
    }

    async fn rolled_back(&mut self) -> Result<()> {
        let Mysql { options, work, .. } = self;
        let Some(work) = work else { return Ok(()) };
        work.joined = false;
        for lane in &mut work.lanes {
            lane.rollback(options).await?;
        }
        Ok(())
    }

    async fn moved_to(&mut self, cursor: &Cursor) -> Result<()> {
        self.rolled_back().await?;
        let Mysql { options, work, .. } = self;
        let Work { lanes, store, .. } = work.as_mut().ok_or_else(not_started)?;
        let entries: Vec<_> = cursor.next.iter().map(|(of, next)| (of.clone(), *next)).collect();
        let mut sql = store.clear();
        if !entries.is_empty() {
            sql = format!("{sql}; {}", store.write(cursor.log, &entries));
        }
        let lane = lanes.first_mut().ok_or_else(not_started)?;
        lane.alone(store, options, &sql).await?;
        store.cleared();
        entries.iter().for_each(|(of, next)| store.committed(cursor.log, of, *next));
        Ok(())
    }
}

/// The table is as the sink wants it, and the server still refuses its rows: a trigger does, most likely.
fn stays(error: &Error) -> Error {
    Error::config(format!("{error}; the table itself fits, so look at its triggers"))
        .with_remedy("SHOW TRIGGERS; lists them")
}

fn not_started() -> Error {
    Error::transient("apply change: the sink is not connected")
}

impl Work {
    async fn plan(
        &mut self,
        sink: &str,
        options: &Options,
        target: &Arc<Target>,
        notices: &mut Vec<String>,
    ) -> Result<Plan> {
        check_target(target)?;
        let server = self.control.server.clone();
        let wanted = Wanted { target, server: &server };
        let looked = match evolve::look(&mut self.control, &wanted, options.create_tables).await {
            // The server may have ended a connection that was idle for hours.
            Err(error) if error.kind() == Kind::Transient => {
                self.control = Session::open(options).await?;
                evolve::look(&mut self.control, &wanted, options.create_tables).await?
            }
            looked => looked?,
        };
        let evolution = match looked.statements.is_empty() {
            true => looked,
            false => {
                let locked = self.lanes.iter().any(|lane| lane.has_touched(&target.table));
                if locked {
                    // The change would wait for our own transaction. It goes first; what was applied comes again (I3).
                    for lane in &mut self.lanes {
                        lane.rollback(options).await?;
                    }
                }
                let after = evolve::run(&mut self.control, &wanted, sink, looked).await?;
                if locked {
                    notices.extend(after.notices);
                    return Err(Error::transient(format!(
                        "change table {:?}: it was changed; the changes before it are applied again",
                        target.table
                    )));
                }
                after
            }
        };
        notices.extend(evolution.notices);
        Plan::new(target, &evolution.table, &server)
    }
}

impl Sink for Mysql {
    fn start(&mut self, log: LogId) -> BoxFuture<'_, Result<Option<Cursor>>> {
        Box::pin(self.started(log))
    }

    #[inline]
    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        let Mysql { options, work, .. } = self;
        let Work { lanes, joined, .. } = work.as_mut().ok_or_else(not_started)?;
        let count = lanes.len();
        if count < 2 || *joined {
            return lanes.first_mut().ok_or_else(not_started)?.push(incoming);
        }
        let table = match lanes.first() {
            Some(lane) => lane.server().table_name(&incoming.target.table),
            None => return Err(not_started()),
        };
        let (group, merged) = options.ties.tie(&incoming.topic.topic, &table);
        if let Some(merged) = merged.filter(|merged| merged % count != group % count)
            && [merged % count, group % count]
                .iter()
                .any(|at| lanes.get(*at).is_some_and(|lane| !lane.is_idle()))
        {
            // Changes of the two wait in different transactions: begin again with them in one.
            return Err(Error::transient(format!(
                "apply change: topic {} shares table {table:?} with another lane; both are applied by one from now on",
                incoming.topic
            )));
        }
        lanes.get_mut(group % count).ok_or_else(not_started)?.push(incoming)
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
        Box::pin(self.moved_to(cursor))
    }

    fn erase<'a>(&'a mut self, erasure: &'a Erasure) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(self.erased(erasure))
    }

    fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn stop(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            self.rolled_back().await?;
            let Some(work) = self.work.take() else { return Ok(()) };
            for lane in work.lanes {
                lane.close().await?;
            }
            work.control.close().await
        })
    }
}
