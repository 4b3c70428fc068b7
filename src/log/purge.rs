//! Purging: single records are taken out of the log, or something else is put in their place, whatever retention says.
//!
//! Who decides is a [`Judge`]. Here is what its verdicts mean for the records of one section; the engines carry it out.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::sync::Arc;

use connector_api::record::{Attributes, Record};
use connector_api::{Encoding, Error, RECORD_BYTES_MAX, Result, Schema, Section, TopicPartition};

use super::edits::{Action, Edits, Replacement};

/// Decides about single records.
///
/// The records of one topic-partition are shown newest first, so that what a newer record says of an older one (a key change)
/// is known. A log with very many tombstones to drop is gone through more than once, each time from the newest record on;
/// what was dropped or replaced before is not shown again as it was.
///
/// A judge is asked while the log works on its files: it must not call the log.
pub trait Judge: Send {
    /// Whether records of this topic have to be shown at all. Asked once.
    fn wants(&mut self, topic: &TopicPartition) -> bool;

    /// What becomes of a record; `sequence` is the number of its batch in the journal. One that is kept may be partial and build on older ones of its key
    /// ([`Attributes::PARTIAL`], [`Attributes::MOVED`]): a judge that drops those must not keep it as it is.
    ///
    /// # Errors
    /// Ends the purge with this error; what went before it stays gone.
    fn judge(
        &mut self,
        topic: &TopicPartition,
        encoding: Encoding,
        schema: Option<&Arc<Schema>>,
        record: &Record<'_>,
        sequence: u64,
    ) -> Result<Verdict>;
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// This stands in its place, at the same offset. Whether there are a key and headers is seen in these, and not in the
    /// attributes.
    Replace {
        /// What the log may know of it.
        attributes: Attributes,
        /// Headers, encoded; empty for none.
        headers: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// The key.
        key: Option<Vec<u8>>,
    },
}

/// What a purge did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purged {
    /// Segments that were written again; one may count twice (its tombstones go last).
    pub segments_rewritten: u64,
    /// Segments of which nothing was left.
    pub segments_deleted: u64,
    /// Segments in which records were looked at. The others hold nothing of the wanted topics.
    pub segments_read: u64,
    /// Records dropped; those of transactions that never ended go without being shown.
    pub records_dropped: u64,
    /// Records in whose place something else stands.
    pub records_replaced: u64,
    /// Bytes that were read to look at records.
    pub bytes_read: u64,
    /// Bytes that are free again.
    pub bytes_freed: u64,
    /// Every record of the wanted topics below these offsets was looked at.
    pub ends: Vec<(TopicPartition, u64)>,
}

/// What a judge said about one section.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// What to do at once; `None` for nothing.
    pub edits: Option<Edits>,
    /// Tombstones and clears that go, when everything that they end is gone: place in the section, and offset.
    pub ends: Vec<(usize, u64)>,
    /// Payload bytes that go with the edits, about.
    pub bytes: u64,
}

impl Judged {
    /// Asks about the records of a section, newest first.
    pub fn of(
        judge: &mut dyn Judge,
        section: &Section,
        records: &[Record<'_>],
        sequence: u64,
    ) -> Result<Judged> {
        let mut judged = Judged::default();
        for (number, record) in records.iter().enumerate().rev() {
            let schema = section.schema.as_ref();
            match judge.judge(&section.topic, section.encoding, schema, record, sequence)? {
                Verdict::Keep => {}
                Verdict::Drop if ends_rows(record) => judged.ends.push((number, record.offset)),
                Verdict::Drop => {
                    judged.bytes += record_len(record);
                    judged.edits(records).act(number, Action::Drop);
                    judged.settle(records, number);
                }
                Verdict::Replace { attributes, headers, value, key } => {
                    let replacement = Replacement { attributes, headers, value, key };
                    judged.replace(section, records, (number, record), replacement)?;
                }
            }
        }
        Ok(judged)
    }

    fn edits(&mut self, records: &[Record<'_>]) -> &mut Edits {
        self.edits.get_or_insert_with(|| Edits::new(records.len()))
    }

    fn replace(
        &mut self,
        section: &Section,
        records: &[Record<'_>],
        (number, record): (usize, &Record<'_>),
        replacement: Replacement,
    ) -> Result<()> {
        let replacement = checked(replacement, section, record)?;
        if replacement.is(record) {
            return Ok(());
        }
        self.bytes += record_len(record).saturating_sub(replacement.len() as u64);
        let builds = replacement.attributes.has(Attributes::PARTIAL);
        self.edits(records).replace(number, replacement);
        if !builds {
            self.settle(records, number);
        }
        Ok(())
    }

    /// The tombstone behind the first half of a key change no longer follows anything: it stands for itself from now on, or
    /// nothing would take the old row away.
    fn settle(&mut self, records: &[Record<'_>], first: usize) {
        let second = first + 1;
        if is_move(records.get(first), records.get(second)) {
            self.edits(records).settle(second);
        }
    }
}

/// Whether older rows come back when the record goes before them.
pub(super) fn ends_rows(record: &Record<'_>) -> bool {
    record.attributes.0 & (Attributes::TOMBSTONE | Attributes::CLEAR) != 0
}

/// Bytes of a record in its payload, about.
pub(super) fn record_len(record: &Record<'_>) -> u64 {
    (record.headers.len() + record.value.len() + record.key.map_or(0, <[u8]>::len)) as u64 + 11
}

fn is_move(first: Option<&Record<'_>>, second: Option<&Record<'_>>) -> bool {
    let (Some(first), Some(second)) = (first, second) else { return false };
    second.attributes.has(Attributes::TOMBSTONE | Attributes::MOVED)
        && first.attributes.has(Attributes::PARTIAL)
        && first.offset.checked_add(1) == Some(second.offset)
}

impl Replacement {
    /// Whether it is what stands there already, so that purging again finds nothing to do.
    fn is(&self, record: &Record<'_>) -> bool {
        self.attributes == record.attributes
            && self.headers == record.headers
            && self.value == record.value
            && self.key.as_deref() == record.key
    }
}

/// The replacement with the attributes that its key and headers ask for, within the limits of a record.
fn checked(mut replacement: Replacement, section: &Section, record: &Record<'_>) -> Result<Replacement> {
    let (topic, offset) = (&section.topic, record.offset);
    if replacement.len() > RECORD_BYTES_MAX {
        return Err(Error::data(format!(
            "replace record of {topic} at offset {offset}: {} bytes, at most {RECORD_BYTES_MAX}",
            replacement.len()
        )));
    }
    let bits = &mut replacement.attributes.0;
    *bits &= !(Attributes::KEY | Attributes::HEADERS);
    *bits |= if replacement.key.is_some() { Attributes::KEY } else { 0 };
    *bits |= if replacement.headers.is_empty() { 0 } else { Attributes::HEADERS };
    let known = Attributes::KEY
        | Attributes::TOMBSTONE
        | Attributes::PARTIAL
        | Attributes::MOVED
        | Attributes::CLEAR
        | Attributes::HEADERS;
    if *bits & !known != 0 {
        return Err(Error::data(format!(
            "replace record of {topic} at offset {offset}: attributes {bits:#x} are not known"
        )));
    }
    Ok(replacement)
}
