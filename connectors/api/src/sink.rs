//! The contract of sinks.

use futures_util::future::{BoxFuture, FutureExt};

use crate::batch::Transaction;
use crate::change::Change;
use crate::error::Result;
use crate::position::{Cursor, LogId, TopicPartition};

/// Applies changes to one system.
///
/// Order of calls: `start`, then any number of (`apply`* with `flush` in between, then `commit` or `rollback`), then
/// `stop`. Changes are pushed one at a time rather than handed over as a list, so that a transaction of millions of
/// rows passes in bounded memory; the deliver loop alone decides what is committed together.
///
/// A sink runs on a thread of its own, with a runtime of its own: it may block, and harms nobody but itself (I10).
pub trait Sink: Send {
    /// Connects and prepares the bookkeeping. Returns the cursor that the target itself holds (I3), `None` when it holds
    /// none. A cursor of another log than `log` is an error that says so.
    fn start(&mut self, log: LogId) -> BoxFuture<'_, Result<Option<Cursor>>>;

    /// Puts one change into the open target transaction, opening one when needed.
    ///
    /// # Errors
    /// [`crate::Kind::Data`]: this change had no effect, the transaction is still good, others may follow. Any other
    /// kind: the transaction is void; the loop calls `rollback` and starts over from the last commit.
    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()>;

    /// Sends on what `apply` gathered. Called between deliveries, so that gathering has a bound.
    fn flush(&mut self) -> BoxFuture<'_, Result<()>> {
        async { Ok(()) }.boxed()
    }

    /// Commits the open transaction together with the cursor. `Ok` means durable in the target, cursor included, all or
    /// nothing (I3). Called with nothing applied, it only moves the cursor.
    fn commit<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>>;

    /// Forgets everything since the last commit.
    fn rollback(&mut self) -> BoxFuture<'_, Result<()>>;

    /// Overwrites the stored cursor: an operator moved the sink (`millstream offsets reset`).
    fn reset<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>>;

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
    /// The change.
    pub change: Change<'a>,
}
