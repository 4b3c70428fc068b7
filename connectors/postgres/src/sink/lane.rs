//! One connection with its transaction: gathers changes, sends their net effect, and commits it with its topics' part of
//! the cursor (I3).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod erasing;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use connector_api::{Error, Incoming, Kind, LogId, Refused, Result, Target, TopicPartition};
use connector_sql::{Gather, Refusals, Single, Step};

use super::connect::{self, Locks};
use super::cursor::CursorStore;
use super::dialect::Sql;
use super::evolve::Basis;
use super::form::List;
use super::options::Options;
use super::plans::Plans;
use super::session::{Answer, Session};
use super::statements::Statement;
use super::write::{Sent, Writer, absent};
use crate::error::ServerError;
use words::commit_failed;

static BEGIN: LazyLock<Statement> =
    LazyLock::new(|| Statement::plain("BEGIN ISOLATION LEVEL READ COMMITTED"));
static DEFER: LazyLock<Statement> = LazyLock::new(|| Statement::plain("SET CONSTRAINTS ALL DEFERRED"));
static COMMIT: LazyLock<Statement> = LazyLock::new(|| Statement::plain("COMMIT"));
static SAVEPOINT: LazyLock<Statement> = LazyLock::new(|| Statement::plain("SAVEPOINT _millstream"));
static RELEASE: LazyLock<Statement> = LazyLock::new(|| Statement::plain("RELEASE SAVEPOINT _millstream"));
const BACK: &str = "ROLLBACK TO SAVEPOINT _millstream; RELEASE SAVEPOINT _millstream";

/// What all lanes of a sink share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) options: Options,
    pub(super) locks: Locks,
    pub(super) sql: Sql,
}

/// One connection.
pub(super) struct Lane {
    shared: Arc<Shared>,
    session: Option<Session>,
    gather: Gather,
    plans: Plans,
    /// Targets of gathered changes that have no plan yet.
    unplanned: Vec<Arc<Target>>,
    lists: Vec<List>,
    transaction: Transaction,
    /// How far the open transaction has applied each topic: its part of the cursor, should it end before the others'.
    applied: BTreeMap<TopicPartition, u64>,
    /// Something failed: nothing more is done before a rollback, or a commit would move the cursor past changes that are
    /// lost (I3).
    void: bool,
    notices: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    /// Nothing was written in it yet.
    Begun,
    /// It holds what earlier flushes, or changes of tables, did.
    Dirty,
}

/// How a volley ended that the server did not take.
enum Stopped {
    /// A statement failed.
    Server(Sent, ServerError),
    /// A row has no form in the target, or did not find the row it changes.
    Row(Error),
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>) -> Lane {
        Lane {
            shared,
            session: None,
            gather: Gather::new(|a, b| a == b),
            plans: Plans::default(),
            unplanned: Vec::new(),
            lists: Vec::new(),
            transaction: Transaction::None,
            applied: BTreeMap::new(),
            void: false,
            notices: Vec::new(),
        }
    }

    /// With a session that holds the sink's locks.
    pub(super) fn attach(&mut self, session: Session) {
        self.detach();
        self.session = Some(session);
    }

    /// The session is in a transaction that is not empty.
    pub(super) fn begun(&mut self) {
        self.transaction = Transaction::Dirty;
    }

    /// Whether something failed since the last commit.
    pub(super) fn is_void(&self) -> bool {
        self.void
    }

    fn usable(&self) -> Result<()> {
        match self.void {
            true => Err(Error::transient("apply changes: the transaction is void until it is rolled back")),
            false => Ok(()),
        }
    }

    fn fail(&mut self) {
        self.detach();
        self.void = true;
    }

    async fn connect(&mut self) -> Result<()> {
        if self.session.is_none() {
            let mut session = connect::open(&self.shared.options).await?;
            self.shared.locks.join(&mut session).await?;
            self.session = Some(session);
        }
        Ok(())
    }

    /// Without its session: what it held of a transaction is rolled back by the server.
    pub(super) fn detach(&mut self) {
        self.session = None;
        self.transaction = Transaction::None;
        self.applied.clear();
        self.plans = Plans::default();
        self.unplanned.clear();
        self.gather.clear();
        self.void = false;
    }

    pub(super) fn session(&mut self) -> Result<&mut Session> {
        self.session.as_mut().ok_or_else(|| Error::transient("write to the server: there is no connection"))
    }

    pub(super) fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    #[inline]
    pub(super) fn push(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        self.gather.push(incoming)?;
        if self.plans.find(incoming.target).is_none() {
            self.unplanned(incoming.target);
        }
        Ok(())
    }

    #[cold]
    fn unplanned(&mut self, target: &Arc<Target>) {
        if !self.unplanned.iter().any(|known| Arc::ptr_eq(known, target)) {
            self.unplanned.push(target.clone());
        }
    }

    /// Whether a commit has something to do beside the cursor.
    pub(super) fn is_open(&self) -> bool {
        self.transaction != Transaction::None
    }

    /// Sends what was gathered.
    pub(super) async fn flush(&mut self) -> Result<Vec<Refused>> {
        if self.gather.is_empty() {
            return Ok(Vec::new());
        }
        self.usable()?;
        self.connect().await?;
        let mut gather = std::mem::replace(&mut self.gather, Gather::new(|a, b| a == b));
        let result = self.flush_gathered(&mut gather).await;
        // One lane alone commits with the cursor that it is given.
        if self.shared.options.lanes() > 1 {
            for (of, next) in gather.ends() {
                let known = self.applied.entry(of).or_default();
                *known = next.max(*known);
            }
        }
        gather.clear();
        self.gather = gather;
        if result.is_err() {
            // Whatever state the session is in, another one starts from the last commit.
            self.fail();
        }
        result
    }

    async fn flush_gathered(&mut self, gather: &mut Gather) -> Result<Vec<Refused>> {
        let mut looked_again = false;
        loop {
            let Some((stopped, savepoint)) = self.try_steps(gather).await? else { return Ok(Vec::new()) };
            self.step_back(savepoint).await?;
            match stopped {
                Stopped::Server(Sent::Copy(at), error) if error.is_conflict() => {
                    if let Some(plan) = self.plans.get_mut(at) {
                        plan.conflicted();
                    }
                }
                Stopped::Server(_, error) if error.is_outdated() && !looked_again => {
                    looked_again = true;
                    self.plans.forget();
                    self.session()?.forget()?;
                    for single in gather.singles() {
                        self.unplanned(single.step.target);
                    }
                }
                Stopped::Server(_, error) if error.is_of_data() => return self.carefully(gather).await,
                Stopped::Server(sent, error) => return Err(self.word(sent, &error)),
                Stopped::Row(_) => return self.carefully(gather).await,
            }
        }
    }

    /// Sends the net effect in one volley, after working out the plans that are missing. `None`: all was done. Else why
    /// not, and whether a savepoint stands before it.
    async fn try_steps(&mut self, gather: &mut Gather) -> Result<Option<(Stopped, bool)>> {
        self.plan_missing().await?;
        let savepoint = self.transaction == Transaction::Dirty;
        let Lane { session, plans, lists, transaction, .. } = self;
        let session = session
            .as_mut()
            .ok_or_else(|| Error::transient("write to the server: there is no connection"))?;
        let steps = gather.steps(&|target| plans.rank(target))?;
        let mut writer = Writer { session, sent: Vec::new(), lists };
        match transaction {
            Transaction::None => {
                writer.control(&BEGIN)?;
                if plans.defers() {
                    writer.control(&DEFER)?;
                }
            }
            Transaction::Begun => {}
            Transaction::Dirty => writer.control(&SAVEPOINT)?,
        }
        let written = write_steps(&mut writer, plans, &steps).await;
        if savepoint && written.is_ok() {
            writer.control(&RELEASE)?;
        }
        let sent = writer.sent;
        match written {
            Err(error) if error.kind() != Kind::Data => return Err(error),
            _ => {}
        }
        let answer = session.answer().await?;
        *transaction = if savepoint { Transaction::Dirty } else { Transaction::Begun };
        let stopped = match (stopped(&sent, &answer), written) {
            // The server gave the COPY up because we told it so.
            (_, Err(error)) => Some(Stopped::Row(error)),
            (stopped, Ok(())) => stopped,
        };
        if stopped.is_none() {
            *transaction = Transaction::Dirty;
            self.tell_filled(&sent, &answer);
        }
        Ok(stopped.map(|stopped| (stopped, savepoint)))
    }

    /// Takes back what a volley did.
    async fn step_back(&mut self, savepoint: bool) -> Result<()> {
        if savepoint {
            return self.session()?.query("roll back flush", BACK).await.map(drop);
        }
        self.transaction = Transaction::None;
        self.session()?.query("roll back flush", "ROLLBACK").await.map(drop)
    }

    /// Works out the plans that are missing.
    async fn plan_missing(&mut self) -> Result<()> {
        for target in std::mem::take(&mut self.unplanned) {
            if self.plans.find(&target).is_none() {
                self.plan(&target).await?;
            }
        }
        Ok(())
    }

    /// In the transaction, so that a table comes to be together with its rows.
    async fn plan(&mut self, target: &Arc<Target>) -> Result<()> {
        let shared = self.shared.clone();
        let Shared { name, options, sql, .. } = &*shared;
        let basis = Basis { sink: name, sql, create: options.create_tables };
        let Lane { session, plans, notices, transaction, .. } = self;
        let session = session
            .as_mut()
            .ok_or_else(|| Error::transient("write to the server: there is no connection"))?;
        if *transaction == Transaction::None {
            session.query("begin transaction", &BEGIN.sql).await?;
        }
        // The first statement of a plan may change a table: the flush after it must not take that back.
        *transaction = Transaction::Dirty;
        plans.add(session, basis, target, notices).await?;
        if plans.defers() {
            session.query("begin transaction", &DEFER.sql).await?;
        }
        Ok(())
    }

    /// Every change by itself, in the source's order: what the target refuses is returned, and what must not overtake it.
    #[cold]
    async fn carefully(&mut self, gather: &mut Gather) -> Result<Vec<Refused>> {
        if self.transaction == Transaction::None {
            let defer = if self.plans.defers() { format!("; {}", DEFER.sql) } else { String::new() };
            self.session()?.query("begin transaction", &format!("{}{defer}", BEGIN.sql)).await?;
            self.transaction = Transaction::Begun;
        }
        let mut refusals = Refusals::default();
        for single in gather.singles() {
            if refusals.holds(&single) {
                continue;
            }
            match self.try_single(&single).await? {
                None => {
                    self.transaction = Transaction::Dirty;
                    refusals.applied(&single);
                }
                Some(Stopped::Row(error)) => refusals.refuse(&single, error),
                Some(Stopped::Server(sent, error)) if error.is_of_data() => {
                    refusals.refuse(&single, self.word(sent, &error));
                }
                Some(Stopped::Server(sent, error)) => return Err(self.word(sent, &error)),
            }
        }
        Ok(refusals.into_vec())
    }

    async fn try_single(&mut self, single: &Single<'_>) -> Result<Option<Stopped>> {
        let Lane { session, plans, lists, .. } = self;
        let session = session
            .as_mut()
            .ok_or_else(|| Error::transient("write to the server: there is no connection"))?;
        let mut writer = Writer { session, sent: Vec::new(), lists };
        writer.control(&SAVEPOINT)?;
        let written = write_step(&mut writer, plans, &single.step, true).await;
        let released = written.is_ok();
        if released {
            writer.control(&RELEASE)?;
        }
        let sent = writer.sent;
        let answer = session.answer().await?;
        let stopped = match written {
            Ok(()) => stopped(&sent, &answer),
            Err(error) if error.kind() == Kind::Data => Some(Stopped::Row(error)),
            Err(error) => return Err(error),
        };
        if released && answer.failed.is_none() && stopped.is_some() {
            // All was done, and nothing had an effect.
            return Ok(stopped);
        }
        match stopped {
            None => {
                self.tell_filled(&sent, &answer);
                Ok(None)
            }
            Some(stopped) => {
                session.query("roll back change", BACK).await?;
                Ok(Some(stopped))
            }
        }
    }

    /// Commits with this part of the cursor. Nothing gathered may wait.
    pub(super) async fn commit(
        &mut self,
        store: &CursorStore,
        log: LogId,
        moved: &[(TopicPartition, u64)],
    ) -> Result<()> {
        self.usable()?;
        if moved.is_empty() && !self.is_open() {
            return Ok(());
        }
        let result = self.commit_moved(store, log, moved).await;
        match &result {
            Ok(()) => {
                self.transaction = Transaction::None;
                self.applied.clear();
                self.plans.settle();
            }
            Err(_) => self.fail(),
        }
        result
    }

    async fn commit_moved(
        &mut self,
        store: &CursorStore,
        log: LogId,
        moved: &[(TopicPartition, u64)],
    ) -> Result<()> {
        self.connect().await?;
        let begun = self.is_open();
        let session = self.session()?;
        if !begun {
            session.run(&BEGIN)?;
        }
        if !moved.is_empty() {
            store.write(session, log, moved)?;
        }
        session.run(&COMMIT)?;
        let answer = session.answer().await?;
        match (&answer.failed, answer.done.last()) {
            (Some(error), _) => Err(commit_failed(error)),
            (None, Some(done)) if !done.rolled_back => Ok(()),
            (None, _) => Err(Error::transient("commit transaction: the server rolled it back")),
        }
    }

    /// Forgets everything since the last commit.
    pub(super) async fn rollback(&mut self) -> Result<()> {
        self.gather.clear();
        self.applied.clear();
        self.unplanned.clear();
        self.plans.rolled_back();
        self.void = false;
        if std::mem::replace(&mut self.transaction, Transaction::None) == Transaction::None {
            return Ok(());
        }
        let rolled_back = self.session()?.query("roll back transaction", "ROLLBACK").await;
        if rolled_back.is_err() {
            // The server does it when the session ends.
            self.detach();
        }
        Ok(())
    }

    pub(super) async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }
}

async fn write_steps(writer: &mut Writer<'_>, plans: &mut Plans, steps: &[Step<'_>]) -> Result<()> {
    for step in steps {
        write_step(writer, plans, step, false).await?;
    }
    Ok(())
}

async fn write_step(
    writer: &mut Writer<'_>,
    plans: &mut Plans,
    step: &Step<'_>,
    careful: bool,
) -> Result<()> {
    let at = plans.find(step.target);
    let planned = at.and_then(|at| Some((at, plans.get_mut(at)?)));
    let (at, plan) = planned.ok_or_else(|| Error::transient("apply change: its table was not looked at"))?;
    writer.step(plan, at, step, careful).await
}

/// Why a volley was not done as it was meant.
fn stopped(sent: &[Sent], answer: &Answer) -> Option<Stopped> {
    if let Some(error) = &answer.failed {
        let at = sent.get(answer.done.len()).copied().unwrap_or(Sent::Control);
        return Some(Stopped::Server(at, error.clone()));
    }
    sent.iter().zip(&answer.done).find_map(|(sent, done)| absent(*sent, done.rows)).map(Stopped::Row)
}
