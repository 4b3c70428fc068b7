//! The contract of sources.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::builder::BatchBuilder;
use crate::error::{Error, Result};
use crate::position::Position;
use crate::rows::Rows;
use crate::target::Target;

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

    /// Begins to read rows again by their keys. They come with a later `read`, among the changes, at a place where each is
    /// the newest state of its row that the stream has: a key that changes meanwhile is left out. One request at a time;
    /// the answer comes by [`Source::refreshed`]. A request without keys only asks for a place in the stream that
    /// everything committed until now comes before.
    ///
    /// # Errors
    /// [`crate::Kind::Transient`] while the source cannot (an initial copy, another request), [`crate::Kind::Config`]
    /// when it never can.
    fn refresh(&mut self, wanted: Refresh) -> Result<()> {
        let topic = wanted.topic;
        Err(Error::config(format!("refresh rows of {topic}: sources of this type cannot read rows again")))
    }

    /// The answer to [`Source::refresh`], once: what it names is in the builder of the last `read`, or of one before it.
    fn refreshed(&mut self) -> Option<Result<Refreshed>> {
        None
    }

    /// What the source can say about itself, from memory, without asking the upstream.
    fn status(&self) -> SourceStatus;

    /// Ends the connection in an orderly way. Nothing depends on it: a crash instead loses nothing.
    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// Rows to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// The topic of their table; any, when there are no keys.
    pub topic: Arc<str>,
    /// Their keys, each an encoded [`crate::Row`] in key order.
    pub keys: Vec<Vec<u8>>,
}

/// What became of a [`Refresh`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// How many of the keys, from the first on, were dealt with: fewer than were asked for when their rows are too large for
    /// one request, or none when the moment was a bad one. The rest may be asked for again.
    pub done: usize,
    /// Rows that were given as [`crate::Op::Read`].
    pub rows: u64,
    /// Keys without a row, given as deletes.
    pub deletes: u64,
    /// Keys that changed meanwhile: the stream has their newer state.
    pub overtaken: u64,
}

/// The rows that a source has now, on a connection of its own that only reads.
pub trait Originals: Rows {
    /// The tables that are captured, as they are now. [`Rows`] reads them by these targets.
    fn tables(&mut self) -> BoxFuture<'_, Result<Vec<Original>>>;
}

/// A captured table.
#[derive(Debug, Clone)]
pub struct Original {
    /// Its topic and its shape now, under its own names.
    pub target: Arc<Target>,
    /// Estimate of its rows; may turn out wrong.
    pub rows_estimated: u64,
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
