//! One connection that applies changes: what it gathered, its open transaction, and the plans of its targets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use connector_api::erasure::{Erased, Erasure};
use connector_api::{Error, Incoming, Kind, LogId, Refused, Result, Target, TopicPartition};
use connector_sql::erase::names;
use connector_sql::gather::{Gather, Refusals, Single, Step};

use crate::cursor::CursorStore;
use crate::erase;
use crate::error::{Failure, number};
use crate::options::Options;
use crate::plan::Plan;
use crate::session::{Server, Session};
use crate::write::{STATEMENT_BYTES, Writer};

const MARK: &str = "SAVEPOINT _millstream_flush";
const BACK: &str = "ROLLBACK TO SAVEPOINT _millstream_flush";

/// A lane.
#[derive(Debug)]
pub struct Lane {
    session: Session,
    gather: Gather,
    plans: HashMap<usize, Plan>,
    /// How deep a target's table stands below its foreign keys, by the target's address.
    ranks: HashMap<usize, u32>,
    /// Targets that were seen and have no plan yet.
    unplanned: Vec<Arc<Target>>,
    /// A transaction is open.
    open: bool,
    /// The open transaction holds changes of an earlier flush.
    applied: bool,
    /// Tables that the open transaction has locked.
    touched: BTreeSet<String>,
    /// How far the open transaction has applied each topic: its part of the cursor, should it end before the others'.
    reached: BTreeMap<TopicPartition, u64>,
}

/// What a flush came to.
#[derive(Debug)]
pub enum Flushed {
    /// All had their effect, but for these.
    Done(Vec<Refused>),
    /// The table of this target is not as its plan has it; the flush had no effect.
    Outdated(Arc<Target>, Error),
}

/// Why the steps of a flush stopped.
struct Stopped {
    target: Option<Arc<Target>>,
    failure: Failure,
}

fn address(target: &Target) -> usize {
    std::ptr::from_ref(target) as usize
}

impl Lane {
    /// A lane on a connection of its own.
    pub fn new(session: Session) -> Lane {
        let same_table: fn(&str, &str) -> bool = match session.server.lower_case {
            0 => |one, other| one == other,
            _ => |one, other| one.to_lowercase() == other.to_lowercase(),
        };
        Lane {
            session,
            gather: Gather::new(same_table),
            plans: HashMap::new(),
            ranks: HashMap::new(),
            unplanned: Vec::new(),
            open: false,
            applied: false,
            touched: BTreeSet::new(),
            reached: BTreeMap::new(),
        }
    }

    /// What is at the other end.
    pub fn server(&self) -> &Server {
        &self.session.server
    }

    /// Whether nothing is gathered and no transaction is open.
    pub fn is_idle(&self) -> bool {
        !self.open && self.gather.is_empty()
    }

    /// Whether the open transaction has locked a table.
    pub fn has_touched(&self, table: &str) -> bool {
        self.open && self.touched.contains(&self.session.server.table_name(table))
    }

    /// Gathers a change.
    ///
    /// # Errors
    /// [`Kind::Data`] when it has no effect anywhere.
    #[inline]
    pub fn push(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        if !self.plans.contains_key(&address(incoming.target))
            && !self.unplanned.iter().any(|known| Arc::ptr_eq(known, incoming.target))
        {
            self.unplanned.push(incoming.target.clone());
        }
        self.gather.push(incoming)
    }

    /// Targets that need a plan before the next flush.
    pub fn unplanned(&mut self) -> Vec<Arc<Target>> {
        std::mem::take(&mut self.unplanned)
    }

    /// Adds a plan.
    pub fn add(&mut self, plan: Plan) {
        self.plans.insert(address(&plan.target), plan);
        self.ranks = ranks(&self.plans, &self.session.server);
    }

    /// Drops the plan of a target; it is to be made anew.
    pub fn forget(&mut self, target: &Arc<Target>) {
        self.plans.remove(&address(target));
        self.unplanned.push(target.clone());
    }

    /// Opens the transaction. A connection that the server ended while nothing was under way is replaced.
    async fn begin(&mut self, store: &CursorStore, options: &Options) -> Result<()> {
        if self.open {
            return Ok(());
        }
        let answer = match self.session.rows(store.begin()).await {
            Err(Failure::Other(_)) => {
                self.session = Session::open(options).await?;
                self.session.rows(store.begin()).await
            }
            answer => answer,
        };
        self.open = true;
        store.check(answer.map_err(|failure| failure.into_error("begin transaction"))?)
    }

    /// Sends what was gathered: all at once, and if the target refuses that, change by change.
    ///
    /// # Errors
    /// The transaction is void.
    pub async fn flush(&mut self, store: &CursorStore, options: &Options) -> Result<Flushed> {
        if self.gather.is_empty() {
            return Ok(Flushed::Done(Vec::new()));
        }
        self.begin(store, options).await?;
        self.mark(MARK).await?;
        let refused = match self.all_at_once().await {
            Ok(()) => Vec::new(),
            Err(stopped) => match self.judge(stopped).await? {
                Some(outdated) => return Ok(outdated),
                None => self.one_by_one().await?,
            },
        };
        // One lane alone commits with the cursor that it is given.
        if options.lanes() > 1 {
            for (of, next) in self.gather.ends() {
                let known = self.reached.entry(of).or_default();
                *known = next.max(*known);
            }
        }
        self.gather.clear();
        self.applied = true;
        Ok(Flushed::Done(refused))
    }

    async fn mark(&mut self, sql: &str) -> Result<()> {
        let done = self.session.run(sql.to_owned()).await;
        done.map(drop).map_err(|failure| failure.into_error("go to savepoint"))
    }

    async fn all_at_once(&mut self) -> Result<(), Stopped> {
        let Lane { gather, plans, session, ranks, touched, .. } = self;
        let rank = |target: &Target| ranks.get(&address(target)).copied().unwrap_or_default();
        let nowhere = |failure: Failure| Stopped { target: None, failure };
        let steps = gather.steps(&rank).map_err(|error| nowhere(error.into()))?;
        let mut writer = Writer::new(session, STATEMENT_BYTES);
        let mut last = None;
        for Step { target, work } in &steps {
            let at = |failure| Stopped { target: Some(Arc::clone(target)), failure };
            let plan = plans.get(&address(target)).ok_or_else(|| at(no_plan(target).into()))?;
            if !touched.contains(&plan.name) {
                touched.insert(plan.name.clone());
            }
            writer.step(plan, work).await.map_err(at)?;
            last = Some(Arc::clone(target));
        }
        writer.finish().await.map_err(|failure| Stopped { target: last, failure })
    }

    /// What follows from a failure: an error that ends the transaction, a plan to be made anew, or (`None`) a second try.
    async fn judge(&mut self, stopped: Stopped) -> Result<Option<Flushed>> {
        let Stopped { target, failure } = stopped;
        let plan = target.as_ref().and_then(|target| self.plans.get(&address(target)));
        let context = plan.map_or_else(|| "apply changes".to_owned(), Plan::context);
        let outdated = matches!(&failure, Failure::Server(refusal) if refusal.is_outdated());
        let kind = failure.kind();
        let error = match plan {
            Some(plan) => failure.into_error_at(context, plan.names()),
            None => failure.into_error(context),
        };
        match target {
            Some(target) if outdated => {
                match self.applied {
                    true => self.mark(BACK).await?,
                    // Nothing is lost, and no lock is left that would keep the table from being changed.
                    false => {
                        self.mark("ROLLBACK").await?;
                        self.ended();
                    }
                }
                Ok(Some(Flushed::Outdated(target, error)))
            }
            _ if kind == Kind::Data => {
                self.mark(BACK).await?;
                Ok(None)
            }
            _ => Err(error),
        }
    }

    /// Every change by itself in the source's order, each behind a savepoint, so that only those are left out that the
    /// target refuses, and what must not overtake them.
    async fn one_by_one(&mut self) -> Result<Vec<Refused>> {
        let Lane { gather, plans, session, .. } = self;
        let mut refusals = Refusals::default();
        for single in gather.singles() {
            if refusals.holds(&single) {
                continue;
            }
            let target = single.step.target;
            let plan = plans.get(&address(target)).ok_or_else(|| no_plan(target))?;
            let savepoint = "SAVEPOINT _millstream_single".to_owned();
            session.run(savepoint).await.map_err(|failure| failure.into_error("set savepoint"))?;
            let mut writer = Writer::new(session, STATEMENT_BYTES);
            let done = match writer.step(plan, &single.step.work).await {
                Ok(()) => writer.finish().await,
                failed => failed,
            };
            match done {
                Ok(()) => refusals.applied(&single),
                Err(failure) if failure.kind() == Kind::Data => {
                    let back = "ROLLBACK TO SAVEPOINT _millstream_single".to_owned();
                    session.run(back).await.map_err(|failure| failure.into_error("set savepoint"))?;
                    refusals.refuse(&single, refusal(plan, &single, failure));
                }
                Err(failure) => return Err(failure.into_error_at(plan.context(), plan.names())),
            }
        }
        Ok(refusals.into_vec())
    }

    /// Commits the open transaction with entries of the cursor (I3).
    ///
    /// # Errors
    /// What became of the transaction is known to the next [`CursorStore::take_over`] only.
    pub async fn commit(
        &mut self,
        store: &CursorStore,
        options: &Options,
        log: LogId,
        entries: &[(TopicPartition, u64)],
    ) -> Result<()> {
        let sql = match entries {
            [] if !self.open => return Ok(()),
            [] => "COMMIT".to_owned(),
            entries => format!("{}; COMMIT", store.write(log, entries)),
        };
        self.begin(store, options).await?;
        self.session.run(sql).await.map_err(|failure| failure.into_error("commit transaction"))?;
        self.ended();
        Ok(())
    }

    /// Commits what was applied, with the place in the cursor that it reaches (I3). A record that was refused is behind that
    /// place, too: it was set aside before.
    ///
    /// # Errors
    /// As [`Lane::commit`].
    pub async fn commit_reached(
        &mut self,
        store: &CursorStore,
        options: &Options,
        log: LogId,
    ) -> Result<Vec<(TopicPartition, u64)>> {
        let reached = std::mem::take(&mut self.reached).into_iter();
        let entries: Vec<_> = reached.filter(|(of, next)| store.is_beyond(of, *next)).collect();
        self.commit(store, options, log, &entries).await.map(|()| entries)
    }

    /// Acts on the steps of an erasure in the open transaction.
    ///
    /// # Errors
    /// The transaction is void.
    pub async fn erase(
        &mut self,
        store: &CursorStore,
        options: &Options,
        erasure: &Erasure,
    ) -> Result<Vec<Erased>> {
        self.begin(store, options).await?;
        // A savepoint before a later flush is behind this.
        self.applied = true;
        let mut done = Vec::with_capacity(erasure.steps.len());
        for step in &erasure.steps {
            for table in names(step) {
                let name = self.session.server.table_name(table);
                self.touched.insert(name);
            }
            done.push(erase::act(&mut self.session, step).await?);
        }
        Ok(done)
    }

    /// Runs a statement in a transaction of its own, behind the fence.
    ///
    /// # Errors
    /// It had no effect, unless the commit's answer was lost.
    pub async fn alone(&mut self, store: &CursorStore, options: &Options, sql: &str) -> Result<()> {
        self.rollback(options).await?;
        self.begin(store, options).await?;
        self.session.run(sql.to_owned()).await.map_err(|failure| failure.into_error("write cursor"))?;
        self.session
            .run("COMMIT".to_owned())
            .await
            .map_err(|failure| failure.into_error("commit transaction"))?;
        self.ended();
        Ok(())
    }

    /// Forgets everything since the last commit.
    ///
    /// # Errors
    /// When the server cannot be reached again.
    pub async fn rollback(&mut self, options: &Options) -> Result<()> {
        self.gather.clear();
        if self.open && self.session.run("ROLLBACK".to_owned()).await.is_err() {
            // In doubt: a connection that ends takes its transaction with it.
            self.session = Session::open(options).await?;
        }
        self.ended();
        Ok(())
    }

    fn ended(&mut self) {
        (self.open, self.applied) = (false, false);
        self.touched.clear();
        self.reached.clear();
    }

    /// Ends the connection in order.
    pub async fn close(self) -> Result<()> {
        self.session.close().await
    }
}

#[cold]
fn no_plan(target: &Target) -> Error {
    Error::config(format!("apply change to table {:?}: no plan", target.table))
}

/// Why a change was refused, in words without values.
#[cold]
fn refusal(plan: &Plan, single: &Single<'_>, failure: Failure) -> Error {
    if let Failure::Server(refusal) = &failure
        && refusal.number == number::NULL
        && refusal.name(plan.target.key_names()).is_some()
        && single.key.is_some()
    {
        // The guard of the upsert: the key was not NULL, the row that has the value is another's.
        return Error::data(format!("{}: another row has the value of a unique key", plan.context()));
    }
    failure.into_error_at(plan.context(), plan.names())
}

/// Parents before children. Tables that refer to each other in a circle stand where the circle is met.
fn ranks(plans: &HashMap<usize, Plan>, server: &Server) -> HashMap<usize, u32> {
    fn depth(plans: &HashMap<usize, Plan>, server: &Server, name: &str, path: &mut Vec<String>) -> u32 {
        if path.iter().any(|known| known == name) {
            return 0;
        }
        path.push(name.to_owned());
        let parents = plans.values().filter(|plan| plan.name == name).flat_map(|plan| &plan.parents);
        let deepest = parents.map(|parent| depth(plans, server, &server.table_name(parent), path) + 1).max();
        path.pop();
        deepest.unwrap_or_default()
    }
    let rank = |plan: &Plan| depth(plans, server, &plan.name, &mut Vec::new());
    plans.iter().map(|(address, plan)| (*address, rank(plan))).collect()
}
