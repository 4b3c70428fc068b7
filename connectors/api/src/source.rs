//! The contract of sources.

use futures_util::future::BoxFuture;

use crate::builder::BatchBuilder;
use crate::error::Result;
use crate::position::Position;

/// Captures the changes of one system.
///
/// Order of calls: `start`, then `read` and `confirm` in any order, then `stop`. After an error other than from
/// `confirm` the source is dropped; the capture loop makes a new one and starts it after the log's last position.
///
/// A source runs on a thread of its own, with a runtime of its own: it may block that thread for well under a
/// millisecond at a time, no longer.
pub trait Source: Send {
    /// Connects and continues strictly after `after`; `None` is the first run: create what the source owns in the upstream
    /// and copy what is there.
    ///
    /// # Errors
    /// [`crate::Kind::Lost`] when the upstream no longer has what comes after `after`: never skipped over.
    fn start<'a>(&'a mut self, after: Option<&'a Position>) -> BoxFuture<'a, Result<()>>;

    /// Waits for at least one change (or a position to move to), then fills `into` with what is there without waiting,
    /// until it [`BatchBuilder::is_full`] or nothing more is at hand.
    ///
    /// Returns the position after the last whole transaction in `into`, or `None` when the builder is full in the
    /// middle of a transaction: the caller then takes a chunk and calls again.
    ///
    /// Cancel-safe: a dropped `read` loses nothing; what it already put into `into` stays there, and the next call with
    /// the same builder goes on.
    fn read<'a>(&'a mut self, into: &'a mut BatchBuilder) -> BoxFuture<'a, Result<Option<Position>>>;

    /// Everything up to `durable` is fsynced in the log (I1): only now may the upstream forget it.
    fn confirm<'a>(&'a mut self, durable: &'a Position) -> BoxFuture<'a, Result<()>>;

    /// Nothing can be read now, because the log has no room: says to the upstream that we are alive. Called about once
    /// a second while that lasts.
    fn keep_alive(&mut self) -> BoxFuture<'_, Result<()>>;

    /// What the source can say about itself, from memory, without asking the upstream.
    fn status(&self) -> SourceStatus;

    /// Ends the connection in an orderly way. Nothing depends on it: a crash instead loses nothing.
    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// What a source is doing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceStatus {
    /// `snapshot` or `streaming`, for people.
    pub phase: &'static str,
    /// The position in the source's own notation: an LSN, a GTID set.
    pub position: String,
    /// How far the upstream's end is ahead of what was read, in bytes, where it is known.
    pub lag_bytes: Option<u64>,
    /// Log that the upstream keeps for us, in bytes, where it is known.
    pub retained_bytes: Option<u64>,
    /// Everything that was committed upstream when `start` was called has been given by `read`.
    pub caught_up: bool,
    /// How far an initial copy has come.
    pub snapshot: Option<SnapshotProgress>,
}

/// How far an initial copy has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Tables copied.
    pub tables_done: u64,
    /// Tables to copy in all.
    pub tables_total: u64,
    /// Rows read so far.
    pub rows_done: u64,
    /// Estimate of all rows; may turn out wrong.
    pub rows_estimated: u64,
}
