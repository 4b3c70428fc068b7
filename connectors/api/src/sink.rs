//! The contract of sinks.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};

use crate::batch::Transaction;
use crate::change::Change;
use crate::erasure::{Erasure, Outcome, Scrubbed};
use crate::error::{Error, Result};
use crate::position::{Cursor, LogId, TopicPartition};
use crate::target::Target;

/// Applies changes to one system.
///
/// Order of calls: `start`, then any number of (`apply`* with `flush` in between and at the end, then `commit` or
/// `rollback`), then `stop`. Changes are pushed one at a time rather than handed over as a list, so that a transaction of millions of
/// rows passes in bounded memory; the deliver loop alone decides what is committed together.
///
/// A sink runs on a thread of its own, with a runtime of its own: it may block, and harms nobody but itself (I10).
pub trait Sink: Send {
    /// Connects and prepares the bookkeeping. Returns the cursor that the target itself holds (I3), `None` when it holds
    /// none. A cursor of another log than `log` is an error that says so.
    fn start(&mut self, log: LogId) -> BoxFuture<'_, Result<Option<Cursor>>>;

    /// Whether the target holds the cursor (I3). One that cannot, an HTTP endpoint say, is given the log's own copy, which
    /// the loop writes after [`Sink::commit`]: such a sink says "at least once" in its documentation and gives stable
    /// idempotency keys. Its `start` returns `None`, its `commit` and `reset` do what else is to do.
    fn keeps_cursor(&self) -> bool {
        true
    }

    /// Puts one change into the open target transaction, opening one when needed; or keeps a copy of it until `flush`.
    ///
    /// # Errors
    /// [`crate::Kind::Data`]: this change had no effect, the transaction is still good, others may follow. Any other
    /// kind: the transaction is void; the loop calls `rollback` and starts over from the last commit.
    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()>;

    /// Sends on what `apply` gathered. Called after every delivery (about 1 MiB at most, and never more than one), so that
    /// gathering has a bound, and always before `commit`.
    ///
    /// Returns the records, of those gathered since the last flush, that had no effect: the ones that the target refused
    /// ([`crate::Kind::Data`]), and every later one of the same key, which must not overtake them. All others had their
    /// effect, and the transaction is still good.
    ///
    /// # Errors
    /// The transaction is void; the loop calls `rollback` and starts over from the last commit.
    fn flush(&mut self) -> BoxFuture<'_, Result<Vec<Refused>>> {
        async { Ok(Vec::new()) }.boxed()
    }

    /// Commits the open transaction together with the cursor. `Ok` means durable in the target, cursor included, all or
    /// nothing (I3). Called with nothing applied, it only moves the cursor.
    fn commit<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>>;

    /// Forgets everything since the last commit.
    fn rollback(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Overwrites the stored cursor: an operator moved the sink (`millstream offsets reset`).
    fn reset<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>>;

    /// Erases what the target holds of one person, in the open transaction (opening one when needed), after everything
    /// that was applied before: the loop flushes first. Then asks the target again, in the same transaction, what is
    /// left. The next [`Sink::commit`] makes it durable together with the cursor (I3). Called again for the same case, it
    /// finds nothing more to do.
    ///
    /// # Errors
    /// The transaction is void; the loop calls `rollback` and starts over from the last commit. No error names the key.
    fn erase<'a>(&'a mut self, erasure: &'a Erasure) -> BoxFuture<'a, Result<Outcome>> {
        let subject = &erasure.subject;
        let error = Error::config(format!("erase a subject of {subject}: sinks of this type cannot erase"))
            .with_remedy("take the sink out of the `erasure` section, or exempt it there with a reason");
        async { Err(error) }.boxed()
    }

    /// Removes what a committed erasure leaves under the rows (freed pages, a write-ahead log), as far as the sink can.
    /// Called after the commit, and again about once a second until it is done.
    ///
    /// # Errors
    /// As any other call between two commits.
    fn scrub(&mut self) -> BoxFuture<'_, Result<Scrubbed>> {
        async { Ok(Scrubbed::Done) }.boxed()
    }

    /// What the sink did to the target that a person should know (a column added, a type it could not follow), since
    /// the last call.
    fn notices(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Closes. Nothing depends on it.
    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// A change on its way into a sink.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Where it comes from.
    pub topic: &'a TopicPartition,
    /// The source transaction it belongs to.
    pub transaction: Transaction<'a>,
    /// The change, in the target's shape: `change.schema` is `target.schema`. A delete or a truncate that has an `after`
    /// image keeps its rows, if there are any, and sets those of their columns that are not unchanged (a soft delete).
    pub change: Change<'a>,
    /// Where it goes. A record that goes to several tables comes once for each.
    pub target: &'a Arc<Target>,
}

/// A record that had no effect in the target.
#[derive(Debug)]
pub struct Refused {
    /// Where it comes from.
    pub topic: TopicPartition,
    /// Its offset there.
    pub offset: u64,
    /// Why; shown to people and kept, so without values.
    pub error: Error,
}
