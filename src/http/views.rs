//! What the admin API says, as stable JSON: documented in docs/API.md, read back by the command line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::erasure::view::CountsView;

/// `GET /api/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Version of the running program.
    pub version: String,
    /// Seconds since it started; `None` when nothing runs and the log directory was read.
    pub uptime_s: Option<u64>,
    /// True while no source or sink is failed or stuck.
    pub ready: bool,
    /// Why not, one sentence each.
    pub not_ready: Vec<String>,
    /// The log.
    pub log: LogView,
    /// The sources.
    pub sources: Vec<SourceView>,
    /// The sinks.
    pub sinks: Vec<SinkView>,
    /// Erasures; `None` where nobody is a data subject, and when nothing runs.
    pub erasures: Option<ErasuresView>,
}

/// Erasures in numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErasuresView {
    /// How many cases there are.
    pub cases: CountsView,
    /// Changes of erased subjects that were kept out since the start.
    pub kept_out: u64,
}

/// The log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogView {
    /// Identity.
    pub id: String,
    /// `embedded` or `memory`.
    pub engine: String,
    /// Segment files.
    pub segments: u64,
    /// Bytes of all segment files.
    pub bytes: u64,
    /// Batches appended since the start.
    pub appends: u64,
    /// fsyncs since the start.
    pub fsyncs: u64,
    /// Mean time from accept to durable, microseconds.
    pub append_us_mean: u64,
    /// Why it accepts nothing any more.
    pub poisoned: Option<String>,
}

/// A failure, for people.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailureView {
    /// What happened.
    pub message: String,
    /// transient, config, auth, data, corrupt, lost.
    pub kind: String,
    /// What to do.
    pub remedy: Option<String>,
    /// When, Unix microseconds.
    pub at_us: i64,
}

/// One source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceView {
    /// Name in the configuration.
    pub name: String,
    /// starting, running, retrying, failed, stopped; `unknown` when nothing runs.
    pub state: String,
    /// snapshot or streaming.
    pub phase: String,
    /// Position in the source's own notation.
    pub position: String,
    /// Bytes that the upstream's end is ahead.
    pub lag_bytes: Option<u64>,
    /// Seconds since the commit of the newest change, while behind; 0 when caught up.
    pub lag_s: Option<f64>,
    /// Bytes of log the upstream keeps for us.
    pub retained_bytes: Option<u64>,
    /// Everything committed upstream at the start is in the log.
    pub caught_up: bool,
    /// Changes since the start.
    pub changes: u64,
    /// Transactions since the start.
    pub transactions: u64,
    /// Bytes since the start.
    pub bytes: u64,
    /// Failures since the start.
    pub errors: u64,
    /// An initial copy under way.
    pub snapshot: Option<SnapshotView>,
    /// The failure at hand.
    pub failure: Option<FailureView>,
}

/// An initial copy under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotView {
    /// Tables copied.
    pub tables_done: u64,
    /// Tables in all.
    pub tables_total: u64,
    /// Rows copied.
    pub rows_done: u64,
    /// Estimated rows in all.
    pub rows_estimated: u64,
}

/// How far a sink is behind.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lag {
    /// Records not yet applied.
    pub records: u64,
    /// Their bytes, estimated from the topic's mean record.
    pub bytes: u64,
    /// Seconds since the commit of the newest applied transaction, while behind; 0 when caught up.
    pub seconds: f64,
}

/// One sink.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkView {
    /// Name in the configuration.
    pub name: String,
    /// starting, running, retrying, failed, stopped; `unknown` when nothing runs.
    pub state: String,
    /// Next offset by topic-partition.
    pub offsets: BTreeMap<String, u64>,
    /// How far behind.
    pub lag: Lag,
    /// Records applied since the start.
    pub records: u64,
    /// Source transactions applied since the start.
    pub transactions: u64,
    /// Commits in the target since the start.
    pub commits: u64,
    /// Failures since the start.
    pub errors: u64,
    /// Records that wait as dead letters.
    pub dead_letters: u64,
    /// The failure at hand.
    pub failure: Option<FailureView>,
    /// What the sink did to the target; the newest few.
    pub notices: Vec<String>,
}

/// One row of `GET /api/topics`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TopicView {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// First offset that can be read.
    pub earliest: u64,
    /// Offset after the last record.
    pub end: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Columns of the schema in force, `name type`, key columns marked with `*`.
    pub columns: Vec<String>,
}

/// One row of `GET /api/offsets`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OffsetView {
    /// Sink or consumer group.
    pub group: String,
    /// Topic-partition.
    pub topic: String,
    /// Next offset to apply.
    pub next: u64,
    /// Offset after the last record.
    pub end: u64,
    /// `end - next`.
    pub lag: u64,
}

/// One row of `GET /api/dead-letters/{sink}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// Number, by which it is named.
    pub id: u64,
    /// Topic-partition.
    pub topic: String,
    /// Offset.
    pub offset: u64,
    /// Operation letter.
    pub op: String,
    /// Why it was not applied.
    pub error: String,
    /// When it was last tried, Unix microseconds.
    pub failed_us: i64,
    /// How often it was tried.
    pub attempts: u32,
    /// The record in plain JSON; only where one letter was asked for, because it is personal data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<serde_json::Value>,
}

/// Body of `POST /api/sources/{source}/refresh`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The topic of the table; any, when there are no keys.
    pub topic: String,
    /// Keys as the log encodes them, in base64. None at all: only answer when everything that was committed is durable.
    pub keys: Vec<String>,
}

/// Its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefreshView {
    /// How many of the keys, from the first on, were dealt with; the rest may be asked for again.
    pub done: u64,
    /// Rows that went into the log.
    pub rows: u64,
    /// Keys without a row, which went into the log as deletes.
    pub deletes: u64,
    /// Keys that changed meanwhile: the log has their newer state.
    pub overtaken: u64,
    /// The end of each topic of the source after that.
    pub ends: BTreeMap<String, u64>,
}

/// Answer of a request that did something.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    /// How many things it did: events appended, letters retried or dropped.
    pub count: u64,
}

/// Answer of a request that failed, with an HTTP status that is not 2xx.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// What happened.
    pub error: String,
    /// The kind's name.
    pub kind: String,
    /// What to do.
    pub remedy: Option<String>,
}
