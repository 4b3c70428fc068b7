//! The unit of append: whole source transactions (or one chunk of a huge one), encoded once and never again.
//!
//! A batch holds a [`Section`] for each topic-partition and schema, and a list of its transactions. Records carry an
//! order number across sections, so that a reader of many topics gets the source's own commit order back.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::position::{Position, TopicPartition};
use crate::reader::Reader;
use crate::record::Records;
use crate::schema::Schema;

/// How the values of a section are encoded. The numbers are bytes on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Changes of a table: [`crate::Change`].
    Changes = 1,
    /// Application events: the value is the producer's own bytes.
    Events = 2,
}

impl Encoding {
    /// The encoding of a byte on disk.
    pub fn from_byte(byte: u8) -> Option<Encoding> {
        [Encoding::Changes, Encoding::Events].into_iter().find(|encoding| *encoding as u8 == byte)
    }
}

/// The records of one topic-partition in one batch. Built by a producer, given its offsets by the log.
#[derive(Debug, Clone)]
pub struct Section {
    /// Where the records belong.
    pub topic: TopicPartition,
    /// Offset of the first record; set by the log at append.
    pub base: u64,
    /// How many offsets the section covers, whether or not their records still exist.
    pub span: u32,
    /// How many records it holds: `span`, until cleaning takes some away.
    pub count: u32,
    /// Records below this offset were not asked for and are passed over by readers.
    pub from: u64,
    /// The shape of the rows; `None` for [`Encoding::Events`].
    pub schema: Option<Arc<Schema>>,
    /// What the values are.
    pub encoding: Encoding,
    /// The records, as [`crate::record`] lays them out.
    pub payload: Bytes,
}

impl Section {
    /// The offset after the last one that the section covers.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(u64::from(self.span))
    }

    /// The records, cleaned ones left out, [`Section::from`] not applied.
    pub fn records(&self) -> Records<'_> {
        Records::new(&self.payload, self.base)
    }
}

/// What one producer appends in one go.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Who wrote it: the source's name, or the name of an application producer.
    pub producer: Arc<str>,
    /// Where the source stands after it; `None` for applications, and for a chunk that ends inside a transaction (I2).
    pub position: Option<Position>,
    /// The first transaction began in an earlier batch.
    pub continued: bool,
    /// The last transaction goes on in a later batch: readers see nothing of it before that one is durable (I4).
    pub continues: bool,
    /// The transactions, as [`Transactions`] reads them.
    pub transactions: Bytes,
    /// The records by topic-partition and schema.
    pub sections: Vec<Section>,
}

impl Batch {
    /// Bytes of all payloads.
    pub fn len(&self) -> usize {
        self.sections.iter().map(|section| section.payload.len()).sum::<usize>() + self.transactions.len()
    }

    /// True for a batch that only moves the position.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Number of records.
    pub fn records(&self) -> u64 {
        self.sections.iter().map(|section| u64::from(section.count)).sum()
    }
}

/// One source transaction, or the part of it that a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transaction<'a> {
    /// The source's own number for it (Postgres: xid); 0 for initial copies and application events.
    pub id: u64,
    /// Commit time, Unix microseconds.
    pub timestamp_us: i64,
    /// The source's position after it, in the source's own bytes; empty when it does not end here or has none.
    pub position: &'a [u8],
    /// Order number of its first record in this batch.
    pub first: u32,
    /// Order number after its last record.
    pub end: u32,
}

/// Iterator over the transactions of a batch; each is varint records, zigzag microseconds since the one before, varint
/// id, varint length and position.
#[derive(Debug, Clone)]
pub struct Transactions<'a> {
    reader: Reader<'a>,
    end: u32,
    timestamp_us: i64,
}

impl<'a> Transactions<'a> {
    /// The transactions of [`Batch::transactions`].
    pub fn new(bytes: &'a [u8]) -> Self {
        Transactions { reader: Reader::new(bytes), end: 0, timestamp_us: 0 }
    }
}

impl<'a> Iterator for Transactions<'a> {
    type Item = Result<Transaction<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let end = self.end.checked_add(self.reader.varint32());
        let timestamp_us = self.timestamp_us.checked_add(self.reader.zigzag());
        let id = self.reader.varint();
        let position = self.reader.bytes();
        match (end, timestamp_us) {
            (Some(end), Some(timestamp_us)) if !self.reader.is_bad() => {
                let first = std::mem::replace(&mut self.end, end);
                self.timestamp_us = timestamp_us;
                Some(Ok(Transaction { id, timestamp_us, position, first, end }))
            }
            _ => {
                self.reader.poison();
                Some(Err(Error::corrupt("decode transactions: truncated or malformed")))
            }
        }
    }
}
