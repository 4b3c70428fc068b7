//! What can be set about a log.

use std::path::PathBuf;
use std::time::Duration;

use connector_api::pattern;

use crate::log::Retention;

/// How a log is written and how long it keeps what it holds.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory.
    pub path: PathBuf,
    /// When a batch counts as durable.
    pub sync: Sync,
    /// A segment is sealed when the next batch would make it longer than this many bytes.
    pub segment_size: u64,
    /// Bytes of newest batches kept in memory for readers that keep up.
    pub tail_bytes: usize,
    /// Bytes accepted and not yet durable, above which appends wait.
    pub queue_bytes: usize,
    /// How payloads are compressed.
    pub compression: Compression,
    /// How long records are kept.
    pub retention: Retentions,
    /// Compaction keeps a tombstone at least this long, also when every group has passed it: a reader that is no group, or
    /// a sink that stores its offset a moment later, still meets it.
    pub tombstone_age: Duration,
    /// Limits wait for the slowest group (I5). When false they do not, and a group that is too slow gets
    /// [`connector_api::Kind::Lost`].
    pub wait_for_groups: bool,
    /// A sealed segment is rewritten when at least this percentage of it can go.
    pub clean_percent: u64,
    /// Memory for the keys of one pass of compaction, bytes; a log with more keys is cleaned in several passes. As much is for
    /// what a purge is about to do in a segment, and as much for the tombstones that it takes last.
    pub clean_memory: u64,
}

impl Options {
    /// Every batch fsynced, segments of 128 MiB, nothing compressed, tables compacted, events for ever.
    pub fn new(path: impl Into<PathBuf>) -> Options {
        Options {
            path: path.into(),
            sync: Sync::Always,
            segment_size: 128 << 20,
            tail_bytes: 8 << 20,
            queue_bytes: 8 << 20,
            compression: Compression::None,
            retention: Retentions::default(),
            tombstone_age: Duration::from_secs(24 * 60 * 60),
            wait_for_groups: true,
            clean_percent: 20,
            clean_memory: 64 << 20,
        }
    }
}

/// How often the writer fsyncs. In both modes a commit resolves, and readers see the batch, only after the fsync that covers
/// it (I1, I4): an acknowledged batch survives the crash of the process, of the system and a power failure, as far as the
/// disk keeps what it says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// As soon as something waits; batches that wait at the same time share one fsync.
    Always,
    /// At most once in this time: fewer fsyncs, and up to this much more latency. A crash loses what was accepted since the
    /// last one, of which nobody was told that it is durable.
    Interval(Duration),
}

/// How payloads are compressed. A reader takes what it finds: the choice may change at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all: the fastest, and reading needs no copy.
    #[default]
    None,
    /// LZ4, where that is smaller.
    Lz4,
}

/// What kind of topic retention looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A table with a key.
    Table,
    /// A table without a key: every record stands for itself.
    KeylessTable,
    /// Application events.
    Events,
}

/// How long the records of each topic are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retentions {
    /// Tables with a key.
    pub tables: Retention,
    /// Tables without a key.
    pub keyless: Retention,
    /// Application events.
    pub events: Retention,
    /// Topics that differ: pattern and retention, the first match decides.
    pub rules: Vec<(String, Retention)>,
}

impl Default for Retentions {
    fn default() -> Self {
        let forever = Retention::Limits { age_s: None, bytes: None };
        Retentions {
            tables: Retention::Compact,
            keyless: forever.clone(),
            events: forever,
            rules: Vec::new(),
        }
    }
}

impl Retentions {
    /// The retention of one topic.
    pub fn of(&self, topic: &str, class: Class) -> &Retention {
        let rule = self.rules.iter().find(|(pattern, _)| pattern::matches(pattern, topic));
        match (rule, class) {
            (Some((_, retention)), _) => retention,
            (None, Class::Table) => &self.tables,
            (None, Class::KeylessTable) => &self.keyless,
            (None, Class::Events) => &self.events,
        }
    }
}
