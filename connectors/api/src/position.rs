//! Where a source stands, and where a sink stands. The two never mix: a [`Position`] means something to one source
//! only, a [`Cursor`] counts records of one log.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};

/// Where a source stands, in bytes that only that source reads (a commit LSN, a GTID set). Always the end of a whole
/// transaction (I2).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Position(Box<[u8]>);

impl Position {
    /// Longest position that the log stores: 64 KiB, far above any GTID set.
    pub const LEN_MAX: usize = 64 << 10;

    /// A position of a source's own bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Position(bytes.into())
    }

    /// The source's own bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Position(")?;
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Identity of one log, made when it is created, so that a cursor of another log is refused and not misread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(pub u128);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for LogId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match u128::from_str_radix(text, 16) {
            Ok(id) if text.len() == 32 => Ok(LogId(id)),
            _ => Err(Error::corrupt(format!("read log id: {text:?} is not 32 hexadecimal digits"))),
        }
    }
}

/// One partition of one topic. Partition 0 prints as the topic alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Partition 0 of a topic.
    pub fn first(topic: impl Into<Arc<str>>) -> Self {
        TopicPartition { topic: topic.into(), partition: 0 }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            0 => f.write_str(&self.topic),
            partition => write!(f, "{}/{partition}", self.topic),
        }
    }
}

/// What a sink has applied: for each topic-partition the next offset that it wants, of the log `log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The log that the offsets count.
    pub log: LogId,
    /// Next offset to apply; a topic-partition that is absent starts at its earliest record.
    pub next: BTreeMap<TopicPartition, u64>,
}

impl Cursor {
    /// A cursor before everything.
    pub fn start(log: LogId) -> Self {
        Cursor { log, next: BTreeMap::new() }
    }

    /// The next offset wanted of a topic-partition; 0 when nothing was applied yet.
    pub fn get(&self, of: &TopicPartition) -> u64 {
        self.next.get(of).copied().unwrap_or(0)
    }

    /// Moves a topic-partition forward; never back.
    pub fn advance(&mut self, of: &TopicPartition, next: u64) {
        match self.next.get_mut(of) {
            Some(known) => *known = next.max(*known),
            None => {
                self.next.insert(of.clone(), next);
            }
        }
    }
}
