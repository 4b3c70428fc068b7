//! The sparse index of a segment: which stretches of it hold a topic-partition, so that a reader of one topic of a hundred
//! does not read the others. In memory for the segment that is written; beside a sealed one as a file that may be missing
//! or damaged, because it can always be made again.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use connector_api::TopicPartition;
use connector_api::reader::{Reader, put_varint};

use super::format::{self, EntryKind, INDEX_MAGIC, VERSION};
use super::fs::{self, Fs};
use super::segment::{Fault, Segment};

/// A stretch is at least this long.
const STRETCH_BYTES: u64 = 64 << 10;
/// No index file is larger.
const FILE_MAX: u64 = 256 << 20;

/// The index.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Index {
    topics: Vec<TopicPartition>,
    numbers: HashMap<TopicPartition, u32>,
    stretches: Vec<Stretch>,
    /// Places of the schema entries.
    pub schemas: Vec<u64>,
}

/// Some consecutive entries.
#[derive(Debug, Clone, PartialEq)]
struct Stretch {
    /// Where it begins.
    at: u64,
    /// Sequence of its first batch.
    first: u64,
    /// Transactions of many batches end in it: every reader looks at those batches.
    ends_transaction: bool,
    /// Number of each topic-partition in it, with the offset after the last one of its records here.
    ends: Vec<(u32, u64)>,
}

impl Index {
    /// Notes a batch entry.
    pub fn add<'a>(
        &mut self,
        at: u64,
        sequence: u64,
        ends_transaction: bool,
        ends: impl Iterator<Item = (&'a str, u32, u64)>,
    ) {
        if self.stretches.last().is_none_or(|last| at.saturating_sub(last.at) >= STRETCH_BYTES) {
            self.stretches.push(Stretch { at, first: sequence, ends_transaction: false, ends: Vec::new() });
        }
        for (topic, partition, end) in ends {
            let number = self.number(topic, partition);
            let Some(stretch) = self.stretches.last_mut() else { return };
            match stretch.ends.iter_mut().find(|(known, _)| *known == number) {
                Some((_, known)) => *known = end.max(*known),
                None => stretch.ends.push((number, end)),
            }
        }
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.ends_transaction |= ends_transaction;
        }
    }

    fn number(&mut self, topic: &str, partition: u32) -> u32 {
        let key = TopicPartition { topic: topic.into(), partition };
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = self.topics.len() as u32;
        self.topics.push(key.clone());
        self.numbers.insert(key, number);
        number
    }

    /// The place to go on at for the first wanted batch at or after sequence `from`: `at`, when its stretch holds something
    /// wanted, or the beginning of a later stretch; `None` when nothing is left. `at` is a place in the stretch of `from`,
    /// or 0 when the reader does not know one.
    pub fn seek(
        &self,
        from: u64,
        at: u64,
        mut wants: impl FnMut(&TopicPartition, u64) -> bool,
    ) -> Option<u64> {
        let after = self.stretches.partition_point(|stretch| stretch.first <= from);
        let current = after.saturating_sub(1);
        let mut interesting = |stretch: &Stretch| {
            let wanted = |(number, end): &(u32, u64)| {
                self.topics.get(*number as usize).is_some_and(|topic| wants(topic, *end))
            };
            stretch.ends_transaction || stretch.ends.iter().any(wanted)
        };
        let rest = self.stretches.get(current..).unwrap_or_default();
        let found = rest.iter().position(&mut interesting)?;
        let stretch = rest.get(found)?;
        Some(if found == 0 { at.max(stretch.at) } else { stretch.at })
    }

    /// Whether it knows of no batch.
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// The topic-partitions that have a section somewhere.
    pub fn topics(&self) -> &[TopicPartition] {
        &self.topics
    }

    /// The stretches that hold something wanted and begin before batch `below`, as ranges of bytes up to `limit`, oldest first.
    /// Neighbours are joined as long as the range has no more than `most` bytes.
    pub fn ranges(
        &self,
        below: u64,
        limit: u64,
        most: u64,
        wants: impl FnMut(&TopicPartition) -> bool,
    ) -> Vec<Range<u64>> {
        let wanted: Vec<bool> = self.topics.iter().map(wants).collect();
        let wants = |(number, _): &(u32, u64)| wanted.get(*number as usize).is_some_and(|wanted| *wanted);
        let ends = self.stretches.iter().skip(1).map(|next| next.at).chain([limit]);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (stretch, end) in self.stretches.iter().zip(ends) {
            if stretch.first >= below || !stretch.ends.iter().any(wants) {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end == stretch.at && end.saturating_sub(last.start) <= most => {
                    last.end = end
                }
                _ => ranges.push(stretch.at..end),
            }
        }
        ranges
    }

    /// Reads the heads of all entries of a sealed segment.
    pub fn build(segment: &mut Segment, limit: u64) -> Result<Index, Fault> {
        let mut index = Index::default();
        segment.each_entry(limit, |segment, entry| {
            let at = entry.at;
            match entry.head.kind {
                EntryKind::Schema => index.schemas.push(at),
                EntryKind::Batch => {
                    let directory = segment.directory(entry)?;
                    let ends = directory.sections.iter().map(|head| (head.topic, head.partition, head.end()));
                    index.add(at, directory.sequence, directory.ends_transaction(), ends);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(index)
    }

    /// Bytes of the index file of a segment of `len` bytes.
    fn encode(&self, first: u64, generation: u32, len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(INDEX_MAGIC);
        out.extend_from_slice(&u32::from(VERSION).to_le_bytes());
        out.extend_from_slice(&generation.to_le_bytes());
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
        put_varint(&mut out, self.topics.len() as u64);
        self.topics.iter().for_each(|topic| format::put_topic(&mut out, topic));
        put_varint(&mut out, self.schemas.len() as u64);
        self.schemas.iter().for_each(|at| put_varint(&mut out, *at));
        put_varint(&mut out, self.stretches.len() as u64);
        for stretch in &self.stretches {
            put_varint(&mut out, stretch.at);
            put_varint(&mut out, stretch.first);
            out.push(u8::from(stretch.ends_transaction));
            put_varint(&mut out, stretch.ends.len() as u64);
            for (number, end) in &stretch.ends {
                put_varint(&mut out, u64::from(*number));
                put_varint(&mut out, *end);
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads an index file; `None` when it is damaged or belongs to other bytes.
    fn decode(bytes: &[u8], first: u64, generation: u32, len: u64) -> Option<Index> {
        let mut reader = format::open_file(bytes, bytes.len(), INDEX_MAGIC, "index").ok()?;
        if (reader.u32(), reader.u64(), reader.u64()) != (generation, first, len) {
            return None;
        }
        let mut index = Index::default();
        for number in 0..count(&mut reader)? {
            let topic = format::read_topic(&mut reader);
            index.numbers.insert(topic.clone(), number as u32);
            index.topics.push(topic);
        }
        for _ in 0..count(&mut reader)? {
            index.schemas.push(reader.varint());
        }
        for _ in 0..count(&mut reader)? {
            let (at, first, ends_transaction) = (reader.varint(), reader.varint(), reader.u8() != 0);
            let mut ends = Vec::new();
            for _ in 0..count(&mut reader)? {
                ends.push((reader.varint32(), reader.varint()));
            }
            index.stretches.push(Stretch { at, first, ends_transaction, ends });
        }
        reader.finish("index").ok().map(|()| index)
    }
}

/// A count of things that each take at least a byte.
fn count(reader: &mut Reader<'_>) -> Option<u64> {
    let count = reader.varint();
    (!reader.is_bad() && count <= reader.rest().len() as u64).then_some(count)
}

/// The index file of a segment file.
pub(super) fn path(segment: &Path) -> PathBuf {
    segment.with_extension("index")
}

/// Writes the index file of a sealed segment. Losing it loses nothing, so a failure is only said.
pub(super) fn write(fs: &dyn Fs, segment: &Path, index: &Index, first: u64, generation: u32, len: u64) {
    let bytes = index.encode(first, generation, len);
    let path = path(segment);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return;
    };
    if let Err(error) = fs::replace(fs, dir, name, &bytes) {
        tracing::warn!(%error, "index of a segment not written; readers make it again");
    }
}

/// The index of a sealed segment, from its file or made again in memory (reading never writes, I6).
pub(super) fn load(fs: &dyn Fs, segment: &mut Segment) -> connector_api::Result<Index> {
    let len = segment.len()?;
    let bytes = fs::read_small(fs, &path(&segment.path), FILE_MAX).unwrap_or_default();
    let header = segment.header;
    match Index::decode(&bytes, header.first, header.generation, len) {
        Some(index) => Ok(index),
        None => Index::build(segment, len).map_err(|fault| segment.error(fault)),
    }
}
