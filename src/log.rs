//! The unified log: an ordered, durable, replayable sequence of batches, read by topic.
//!
//! The log knows records — offset, key, tombstone — and never looks into a value. It knows no database: this
//! module and everything below it import `connector_api` and nothing else of ours.

pub mod conformance;
mod edits;
pub mod embedded;
mod memory;
mod purge;
mod scan;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::{
    Batch, BoxFuture, Cursor, Delivery, Error, LogId, Position, Result, Schema, TopicPartition, pattern,
};

pub use embedded::{Embedded, Options};
pub use memory::Memory;
pub use purge::{Judge, Purged, Verdict};

/// Append, read, and the bookkeeping of consumers. Every engine passes the suite in [`conformance`].
///
/// ```text
///            trimmed            |          readable           |  accepted, not yet durable
///   0 ........................ earliest .................... end ............................ next
/// ```
pub trait Log: Send + Sync {
    /// The identity made when the log was created.
    fn id(&self) -> LogId;

    /// Takes a batch, in order. Resolves when the log has accepted it (and has room: this is the back-pressure); the
    /// [`Commit`] resolves when it is durable. Commits of one log resolve in the order of their appends.
    ///
    /// A batch that begins anew while its producer's last transaction is unfinished aborts that one: its chunks are
    /// never seen by any reader (I4).
    ///
    /// # Errors
    /// After a failed write or fsync every append fails until the log is opened again (I7). [`connector_api::Kind::Transient`]
    /// when the disk is full (nothing of the batch is kept, and appends succeed again when there is room), when the batch
    /// continues a transaction that is not open (the producer starts it again), and when another producer's unfinished
    /// transaction holds one of its topic-partitions. [`connector_api::Kind::Data`] for a batch that breaks a limit.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Commit>>;

    /// The position of the producer's last durable batch that has one (I2). A chunk of an unfinished transaction has
    /// none.
    fn position(&self, producer: &str) -> Option<Position>;

    /// A reader of the topics that `subscription` names (topics that appear later included), from `cursor` on; a
    /// topic-partition that the cursor does not name starts at its earliest record.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when the cursor is of another log.
    fn subscribe(&self, subscription: Subscription, cursor: Cursor) -> Result<Box<dyn LogReader>>;

    /// All topic-partitions, from memory.
    fn topics(&self) -> Vec<TopicStatus>;

    /// Stores how far a consumer group has come, durably soon (within a second) and for certain on [`Log::close`]. A sink's
    /// own cursor, in its target, is the truth (I3); this one is what retention (I5) and lag go by.
    fn commit_group(&self, group: &str, cursor: &Cursor) -> Result<()>;

    /// Says what a group reads, before its first commit: retention then waits for it on every topic-partition that matches,
    /// also where its cursor names nothing yet (I5). A group that only commits is waited for where its cursor names a
    /// topic-partition.
    fn register_group(&self, group: &str, subscription: &Subscription) -> Result<()>;

    /// The groups and their cursors. A group exists from its registration or first commit until
    /// [`Log::forget_group`].
    fn groups(&self) -> BTreeMap<String, Cursor>;

    /// Removes a group: retention does not wait for it any more.
    fn forget_group(&self, group: &str) -> Result<()>;

    /// Deletes and rewrites what retention and compaction allow now (I5). Long work; runs beside appends and reads.
    fn clean(&self) -> BoxFuture<'_, Result<Cleaned>>;

    /// Takes single records out of the log, or puts something else in their place, whatever retention says; in the newest
    /// segment too, which is sealed for it. Long work; runs beside appends and reads, and goes on when the call is dropped. One
    /// purge or cleaning at a time.
    ///
    /// When it returns Ok, then of every record that was durable at the call and was dropped, and of the old value and headers of
    /// every one that was replaced, no byte is in a file of the log's directory or in its tail cache, and no later call of a
    /// reader takes it from there; only what a reader has looked ahead at already it still gives. (Another process that has a file
    /// open reads on in that.) Offsets
    /// never move: gaps are legal. The records of an unfinished transaction are judged like any others; those of one that will
    /// never end go, where the judge wants their topic.
    ///
    /// It waits for no group: a sink that has a row and has not come to its tombstone keeps the row when both go here. Whoever
    /// purges makes sure that the groups are past it, or erases there too.
    ///
    /// # Errors
    /// [`connector_api::Kind::Transient`] when the disk is full, or the log is closed meanwhile; what the judge fails with. Then
    /// nothing is lost, and some may be gone: after a crash, too, the log opens with what stays, and calling again finishes.
    /// A row that a dropped tombstone ended does not come back in between: tombstones go last.
    fn purge(&self, judge: Box<dyn Judge>) -> BoxFuture<'_, Result<Purged>>;

    /// What the log is, for `status` and metrics.
    fn status(&self) -> LogStatus;

    /// Makes everything accepted durable and stops. Later appends fail.
    fn close(&self) -> BoxFuture<'_, Result<()>>;
}

/// Resolves when the batch is durable, with the number of the batch in the journal.
pub type Commit = BoxFuture<'static, Result<u64>>;

/// Reads deliveries in journal order.
pub trait LogReader: Send {
    /// The next deliveries, at least one, of together about `bytes_max` (a single larger one comes alone). Waits at the
    /// tail. Only batches that are durable and whole transactions only (I4): chunks of a huge transaction come once its
    /// last one is durable, in several calls.
    ///
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`connector_api::Kind::Lost`] when retention removed what the cursor wants (I5); [`connector_api::Kind::Corrupt`],
    /// with file and byte, when the bytes are not what was written.
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>>;

    /// True when nothing is there that [`LogReader::next`] has not given yet.
    fn at_tail(&self) -> bool;
}

/// Topics that a reader wants: names or patterns with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// A topic is wanted when one of these matches.
    pub patterns: Vec<String>,
}

impl Subscription {
    /// Whether a topic is wanted.
    pub fn wants(&self, topic: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern::matches(pattern, topic))
    }
}

/// One topic-partition.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicStatus {
    /// Which.
    pub topic: TopicPartition,
    /// First offset that can still be read.
    pub earliest: u64,
    /// Offset after the last readable record.
    pub end: u64,
    /// Bytes of its sections on disk, as far as known.
    pub bytes: u64,
    /// The schema in force, for table topics.
    pub schema: Option<Arc<Schema>>,
}

/// What cleaning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Segments deleted.
    pub segments_deleted: u64,
    /// Segments rewritten.
    pub segments_rewritten: u64,
    /// Bytes that are free again.
    pub bytes_freed: u64,
}

/// The log in numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogStatus {
    /// `embedded`, `memory`.
    pub engine: &'static str,
    /// Segment files.
    pub segments: u64,
    /// Bytes of all segment files.
    pub bytes: u64,
    /// Batches appended since the start.
    pub appends: u64,
    /// fsyncs since the start.
    pub fsyncs: u64,
    /// Time from accept to durable of the last appends: count and sum in microseconds since the start.
    pub append_us_sum: u64,
    /// Batches in `append_us_sum`.
    pub append_count: u64,
    /// Why the log accepts nothing any more, if so (I7).
    pub poisoned: Option<String>,
}

/// How long records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retention {
    /// The newest record of each key, for ever; tombstones until every group has passed them.
    Compact,
    /// By age in seconds and by bytes per topic-partition, whichever is reached first; `None` is no limit.
    Limits {
        /// Oldest record kept, seconds.
        age_s: Option<u64>,
        /// Most bytes kept per topic-partition.
        bytes: Option<u64>,
    },
}

/// A cursor counts the records of one log only.
fn check_cursor(id: LogId, cursor: &Cursor) -> Result<()> {
    if cursor.log == id {
        return Ok(());
    }
    Err(Error::config(format!("read log {id}: the cursor counts the records of log {}", cursor.log)).with_remedy(
        "the log directory was replaced: bring the old one back, or fill the sink again from the start of this one",
    ))
}

fn topic_status(state: &state::State) -> Vec<TopicStatus> {
    let status = |(topic, known): (&TopicPartition, &state::Topic)| TopicStatus {
        topic: topic.clone(),
        earliest: known.earliest,
        end: known.visible,
        bytes: known.bytes,
        schema: known.schema.as_ref().map(|(_, schema)| schema.clone()),
    };
    state.topics.iter().map(status).collect()
}

/// Whether something visible is ahead of the cursor, as far as the ends of topics tell.
fn behind(state: &state::State, wanted: &scan::Wanted) -> bool {
    let ahead = |(topic, known): (&TopicPartition, &state::Topic)| {
        wanted.cursor.get(topic).max(known.earliest) < known.visible && wanted.subscribes(&topic.topic)
    };
    state.topics.iter().any(ahead)
}
