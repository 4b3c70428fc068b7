//! What becomes of the records of one section, and the section's bytes afterwards. Offsets and orders never move.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::collections::BTreeMap;
use std::ops::Range;

use connector_api::record::{Attributes, Place, Record, Records, put_record};
use connector_api::{Error, Result};

/// What becomes of one record. The later of two wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Keep,
    /// A moved tombstone whose first half goes: from now on it stands for itself, and sinks delete by it.
    Settle,
    /// Something else stands in its place.
    Replace,
    Drop,
}

/// What stands in place of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replacement {
    pub attributes: Attributes,
    pub headers: Vec<u8>,
    pub value: Vec<u8>,
    pub key: Option<Vec<u8>>,
}

impl Replacement {
    /// About its bytes as a record.
    pub fn len(&self) -> usize {
        self.headers.len() + self.value.len() + self.key.as_ref().map_or(0, Vec::len) + 16
    }
}

/// The actions of one section, by the place of the record in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edits {
    actions: Vec<Action>,
    replacements: BTreeMap<usize, Replacement>,
}

impl Edits {
    /// Keeps all of `count` records.
    pub fn new(count: usize) -> Edits {
        Edits { actions: vec![Action::Keep; count], replacements: BTreeMap::new() }
    }

    /// Notes what becomes of a record, unless more was noted before.
    pub fn act(&mut self, record: usize, action: Action) {
        if let Some(known) = self.actions.get_mut(record) {
            *known = action.max(*known);
        }
    }

    /// Puts something else in place of a record.
    pub fn replace(&mut self, record: usize, replacement: Replacement) {
        self.act(record, Action::Replace);
        self.replacements.insert(record, replacement);
    }

    /// Makes a moved tombstone a plain one.
    pub fn settle(&mut self, record: usize) {
        self.act(record, Action::Settle);
        if let Some(replacement) = self.replacements.get_mut(&record) {
            replacement.attributes.0 &= !Attributes::MOVED;
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// How many records are acted on like this.
    pub fn count(&self, action: Action) -> usize {
        self.actions.iter().filter(|known| **known == action).count()
    }

    /// Whether every record goes.
    pub fn is_all(&self) -> bool {
        self.actions.iter().all(|action| *action == Action::Drop)
    }

    /// Bytes of memory, about.
    pub fn weight(&self) -> u64 {
        let replacements = self.replacements.values().map(|replacement| replacement.len() + 128);
        (128 + self.actions.len() + replacements.sum::<usize>()) as u64
    }

    /// The section's payload after the actions, and how many records it holds.
    ///
    /// # Errors
    /// When the payload does not decode.
    pub fn apply(&self, payload: &[u8], base: u64) -> Result<(Vec<u8>, u32)> {
        let mut out = Copied { payload, kept: Vec::with_capacity(payload.len()), run: 0..0 };
        let (mut at, mut count) = (0, 0);
        // Where the record before stands, and the last one that stays.
        let mut before = Place { offset: base, order: 0 };
        let mut last = before;
        let actions = self.actions.iter().copied().chain(std::iter::repeat(Action::Keep)).enumerate();
        for (record, (number, action)) in Records::new(payload, base).zip(actions) {
            let mut record = record?;
            let end = end_of(payload, at)?;
            let place = Place { offset: record.offset, order: record.order };
            match (action, self.replacements.get(&number)) {
                (Action::Drop, _) => {}
                (Action::Replace, Some(replacement)) => out.put(&replacement.record(&record), last),
                (Action::Settle, _) => {
                    record.attributes.0 &= !Attributes::MOVED;
                    out.put(&record, last);
                }
                // Counted from the same record as before, so its bytes are the same.
                _ if before == last => out.copy(at..end),
                _ => out.put(&record, last),
            }
            if action != Action::Drop {
                (last, count) = (place, count + 1);
            }
            (before, at) = (place, end);
        }
        out.flush();
        Ok((out.kept, count))
    }
}

impl Replacement {
    fn record<'r>(&'r self, old: &Record<'_>) -> Record<'r> {
        Record {
            offset: old.offset,
            order: old.order,
            attributes: self.attributes,
            headers: &self.headers,
            value: &self.value,
            key: self.key.as_deref(),
        }
    }
}

/// The byte after the record that begins at byte `at`.
fn end_of(payload: &[u8], at: usize) -> Result<usize> {
    let length =
        payload.get(at..).and_then(|rest| rest.first_chunk()).map(|bytes| u32::from_le_bytes(*bytes));
    let end = length.and_then(|length| at.checked_add(4)?.checked_add(length as usize));
    end.filter(|end| *end <= payload.len())
        .ok_or_else(|| Error::corrupt(format!("decode record at byte {at} of a section")))
}

/// Gathers what stays; neighbours that stay as they are, in one go.
struct Copied<'p> {
    payload: &'p [u8],
    kept: Vec<u8>,
    run: Range<usize>,
}

impl Copied<'_> {
    fn copy(&mut self, bytes: Range<usize>) {
        if self.run.end != bytes.start {
            self.flush();
            self.run.start = bytes.start;
        }
        self.run.end = bytes.end;
    }

    fn put(&mut self, record: &Record<'_>, after: Place) {
        self.flush();
        put_record(&mut self.kept, record, after);
    }

    fn flush(&mut self) {
        let run = std::mem::replace(&mut self.run, 0..0);
        self.kept.extend_from_slice(self.payload.get(run).unwrap_or_default());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(records: &[(u64, u32, Vec<u8>)]) -> Vec<u8> {
        let (mut out, mut after) = (Vec::new(), Place { offset: 7, order: 0 });
        for (offset, order, value) in records {
            put_record(&mut out, &record(*offset, *order, value), after);
            after = Place { offset: *offset, order: *order };
        }
        out
    }

    fn record(offset: u64, order: u32, value: &[u8]) -> Record<'_> {
        Record {
            offset,
            order,
            attributes: Attributes(Attributes::KEY),
            headers: &[],
            value,
            key: Some(b"k"),
        }
    }

    proptest! {
        /// Whatever stays, stays where it was, and nothing else is there.
        #[test]
        fn what_stays_is_what_was_there(
            steps in prop::collection::vec((1..300u64, 0..300u32, prop::collection::vec(any::<u8>(), 0..9), 0..3u8), 0..20),
        ) {
            let (mut at, mut order, mut records) = (7, 0, Vec::new());
            for (offset, orders, value, _) in &steps {
                (at, order) = (at + offset, order + orders);
                records.push((at, order, value.clone()));
            }
            let mut edits = Edits::new(records.len());
            let mut expected = Vec::new();
            for (number, (.., what)) in steps.iter().enumerate() {
                let (offset, order, value) = records[number].clone();
                match what {
                    0 => edits.act(number, Action::Drop),
                    1 => {
                        let attributes = Attributes(Attributes::KEY);
                        let (headers, key) = (Vec::new(), Some(b"k".to_vec()));
                        let replacement = Replacement { attributes, headers, value: vec![9; number], key };
                        edits.replace(number, replacement);
                        expected.push((offset, order, vec![9; number]));
                    }
                    _ => expected.push((offset, order, value)),
                }
            }
            let (kept, count) = edits.apply(&payload(&records), 7).unwrap();
            prop_assert_eq!(count as usize, expected.len());
            prop_assert_eq!(edits.is_all(), expected.is_empty());
            let found: Vec<_> = Records::new(&kept, 7).map(|record| {
                let record = record.unwrap();
                (record.offset, record.order, record.value.to_vec())
            }).collect();
            prop_assert_eq!(found, expected.clone());
            prop_assert_eq!(kept, payload(&expected));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, drops in prop::collection::vec(any::<bool>(), 0..9)) {
            let mut edits = Edits::new(drops.len());
            drops.iter().enumerate().filter(|(_, goes)| **goes).for_each(|(number, _)| edits.act(number, Action::Drop));
            let _ = edits.apply(&bytes, 0);
        }
    }
}
