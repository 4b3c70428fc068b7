//! Messages into changes: knows the tables that the stream has named, the transaction that is open, and where the stream
//! stands. No I/O.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::catalog::{Shape, Table};
use crate::changes::{Plan, Scratch};
use crate::lsn::{Lsn, Mark, Stage};
use crate::options::Checked;
use crate::pgoutput::{self, Envelope, Message, Relation};
use connector_api::civil::MICROS_1970_TO_2000;
use connector_api::{BatchBuilder, Error, Result};
use std::collections::HashMap;
use std::time::Duration;

/// A change that was committed longer ago than this, when it was sent, means that there is a backlog.
const BEHIND: Duration = Duration::from_millis(5);

/// What the stream has to do after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Next,
    /// The server wants to hear from us.
    Reply,
    /// A table was named that the catalog has to be asked about.
    LookUp,
}

pub(crate) struct Decoder {
    system: u64,
    plans: Plans,
    pending: Option<Relation>,
    /// Transactions up to here are in the log, and are dropped when they come again.
    resumed: Lsn,
    /// After the last whole transaction, or as far as the server says there is none.
    position: Lsn,
    transaction: Transaction,
    /// Commit time of the last transaction, and when its last message was sent, both by the server's clock.
    committed: i64,
    sent: i64,
    scratch: Scratch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transaction {
    None,
    Open,
    /// It is in the log already.
    Skipped,
}

impl Decoder {
    pub(crate) fn new(system: u64, position: Lsn) -> Decoder {
        Decoder {
            system,
            plans: Plans::default(),
            pending: None,
            resumed: position,
            position,
            transaction: Transaction::None,
            committed: 0,
            sent: 0,
            scratch: Scratch::default(),
        }
    }

    pub(crate) fn position(&self) -> Lsn {
        self.position
    }

    /// True while the changes that arrive were committed some time ago. Both times are the server's own.
    pub(crate) fn is_behind(&self) -> bool {
        self.lag() > BEHIND
    }

    /// How old the last transaction was when it was sent; zero when nothing is known to be waiting.
    pub(crate) fn lag(&self) -> Duration {
        let lag = if self.committed == 0 { 0 } else { self.sent.saturating_sub(self.committed) };
        Duration::from_micros(u64::try_from(lag).unwrap_or(0))
    }

    /// A relation that `install` has to be called for before the next `apply`.
    pub(crate) fn pending(&self) -> Option<&Relation> {
        self.pending.as_ref()
    }

    /// The shape of the pending relation; `None` for a table that is not wanted.
    pub(crate) fn install(&mut self, shape: Option<Shape>) {
        if let Some(relation) = self.pending.take() {
            self.plans.set(relation.oid, shape.map(Plan::new));
        }
    }

    /// Applies the body of one CopyData message.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] for what is no message, [`connector_api::Kind::Data`] for a value that cannot be
    /// read.
    #[inline]
    pub(crate) fn apply(&mut self, body: &[u8], into: &mut BatchBuilder) -> Result<Step> {
        let body = match pgoutput::envelope(body)? {
            Envelope::Data { sent, body } => {
                self.sent = sent;
                body
            }
            Envelope::Keepalive { end, reply } => {
                // Everything committed before `end` was sent before this message.
                if self.transaction == Transaction::None {
                    self.position = self.position.max(Lsn(end));
                    (self.sent, self.committed) = (0, 0);
                }
                return Ok(if reply { Step::Reply } else { Step::Next });
            }
        };
        let message = pgoutput::message(body)?;
        match message {
            Message::Insert { relation, new } => {
                if let Some(plan) = self.plan(relation)? {
                    plan.0.insert(new, into, plan.1)?;
                }
            }
            Message::Update { relation, old, new } => {
                if let Some(plan) = self.plan(relation)? {
                    plan.0.update(old, new, into, plan.1)?;
                }
            }
            Message::Delete { relation, old } => {
                if let Some(plan) = self.plan(relation)? {
                    plan.0.delete(old, into, plan.1)?;
                }
            }
            Message::Truncate(truncate) => {
                for relation in truncate.relations() {
                    if let Some(plan) = self.plan(relation)? {
                        plan.0.truncate(into)?;
                    }
                }
            }
            Message::Begin(begin) => self.begin(begin, into)?,
            Message::Commit(commit) => self.commit(commit, into)?,
            Message::Relation(relation) => {
                self.pending = Some(relation);
                return Ok(Step::LookUp);
            }
            Message::Ignored => {}
        }
        Ok(Step::Next)
    }

    /// How to write changes of a table; `None` when they are not wanted, or in the log already.
    #[inline]
    fn plan(&mut self, oid: u32) -> Result<Option<(&mut Plan, &mut Scratch)>> {
        match self.transaction {
            Transaction::Open => {}
            Transaction::Skipped => return Ok(None),
            Transaction::None => return Err(Error::corrupt("read stream: a change outside a transaction")),
        }
        match self.plans.get(oid) {
            Some(Some(plan)) => Ok(Some((plan, &mut self.scratch))),
            Some(None) => Ok(None),
            None => Err(Error::corrupt("read stream: a change of a table that was not described")),
        }
    }

    fn begin(&mut self, begin: pgoutput::Begin, into: &mut BatchBuilder) -> Result<()> {
        if self.transaction != Transaction::None {
            return Err(Error::corrupt("read stream: a transaction inside a transaction"));
        }
        self.committed = begin.time;
        // A position is the end of a record, so that a commit record which begins before it also ends there or before.
        if Lsn(begin.commit_lsn) < self.resumed {
            self.transaction = Transaction::Skipped;
        } else {
            self.transaction = Transaction::Open;
            into.begin(u64::from(begin.xid), begin.time.saturating_add(MICROS_1970_TO_2000));
        }
        Ok(())
    }

    fn commit(&mut self, commit: pgoutput::Commit, into: &mut BatchBuilder) -> Result<()> {
        let open = std::mem::replace(&mut self.transaction, Transaction::None);
        match open {
            Transaction::None => return Err(Error::corrupt("read stream: a commit outside a transaction")),
            Transaction::Skipped => {}
            Transaction::Open => {
                self.position = self.position.max(Lsn(commit.end_lsn));
                let mark = Mark { system: self.system, stage: Stage::Streaming(self.position) };
                into.commit(&mark.encode());
            }
        }
        Ok(())
    }
}

/// The tables of the stream by oid; changes come in runs of one table.
#[derive(Default)]
struct Plans {
    plans: Vec<Option<Plan>>,
    by_oid: HashMap<u32, usize>,
    last: (u32, usize),
}

impl Plans {
    #[inline]
    fn get(&mut self, oid: u32) -> Option<Option<&mut Plan>> {
        if self.last.0 != oid {
            self.last = (oid, *self.by_oid.get(&oid)?);
        }
        self.plans.get_mut(self.last.1).map(Option::as_mut)
    }

    fn set(&mut self, oid: u32, plan: Option<Plan>) {
        let at = *self.by_oid.entry(oid).or_insert(self.plans.len());
        match self.plans.get_mut(at) {
            Some(known) => *known = plan,
            None => self.plans.push(plan),
        }
    }
}

/// Whether the changes of a relation are captured: a publication may hold more than the patterns name.
pub(crate) fn is_wanted(relation: &Relation, table: Option<&Table>, options: &Checked) -> bool {
    let by_name = options.patterns.iter().any(|pattern| pattern.matches(&relation.schema, &relation.name));
    by_name || table.is_some_and(|table| table.is_wanted(options))
}

#[cfg(test)]
mod tests;
