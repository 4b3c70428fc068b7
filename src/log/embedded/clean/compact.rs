//! Compaction: of each key the newest record stays, and what that one needs.
//!
//! Records are met from the newest to the oldest, so every decision needs only what was met before:
//!
//! - A record that stands alone, and a tombstone, make everything older of their key superfluous.
//! - A *partial* record (it holds unchanged values) needs the older ones of its key, back to the newest that stands alone.
//! - A *moved* tombstone is the second half of a key change whose new row is partial. As long as that first half, the
//!   record before it, stays, the older records of this key stay too: the row under the new key builds on them. When that
//!   half goes, the tombstone becomes a plain one: sinks pass over a moved one, and nothing else would take the old row away.
//! - A *clear* makes everything older in its topic-partition superfluous.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::collections::hash_map::{Entry as Slot, RandomState};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};

use connector_api::record::{Attributes, Records};
use connector_api::{Result, TopicPartition};

use super::{Plan, Run, Standing, each_batch};
use crate::log::Retention;
use crate::log::edits::Action;
use crate::log::embedded::format::SectionHead;
use crate::log::embedded::segment::Segment;

/// What a key takes in the table, about.
const KEY_BYTES: u64 = 48;
/// Batches are read in stretches of about this size.
const STRETCH: u64 = 1 << 20;

/// 128 bits of a topic-partition and key; keyed by chance, so that nobody can make two meet.
type KeyHash = (u64, u64);

/// A tombstone or clear that goes if nothing older of its key or topic-partition is met.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    segment: u64,
    sequence: u64,
    section: usize,
    record: usize,
    count: usize,
}

/// Something newer of the key stands alone; `Some` when that is a tombstone that may go.
type Closed = Option<Box<Candidate>>;

/// One topic-partition that is compacted.
#[derive(Debug)]
struct Topic {
    number: u32,
    /// Tombstones below this offset were passed by every group.
    passed: u64,
    /// A clear was met.
    cleared: bool,
    clear: Closed,
}

/// One record, as far as compaction looks at it.
#[derive(Debug, Clone, Copy)]
struct Item {
    offset: u64,
    attributes: Attributes,
    key: Option<KeyHash>,
}

struct Pass<'r> {
    run: &'r Run<'r>,
    hashers: (RandomState, RandomState),
    topics: HashMap<TopicPartition, Option<Topic>>,
    keys: HashMap<KeyHash, Closed>,
    /// This pass looks at keys whose hash leaves this rest.
    part: u64,
    parts: u64,
    /// Tombstones appended after this moment stay (Unix microseconds).
    young_us: i64,
}

/// Plans what compaction removes.
pub(super) fn plan(run: &Run<'_>, plans: &mut BTreeMap<u64, Plan>) -> Result<()> {
    let parts = count(run)?.saturating_mul(KEY_BYTES).div_ceil(run.options.clean_memory.max(KEY_BYTES));
    let hashers = (RandomState::new(), RandomState::new());
    let age = i64::try_from(run.options.tombstone_age.as_micros()).unwrap_or(i64::MAX);
    for part in 0..parts {
        let mut pass = Pass {
            run,
            hashers: hashers.clone(),
            topics: HashMap::new(),
            keys: HashMap::new(),
            part,
            parts,
            young_us: run.now_us.saturating_sub(age),
        };
        for first in run.sealed.iter().rev() {
            pass.segment(*first, plans)?;
        }
        pass.finish(plans);
    }
    Ok(())
}

/// Records of compacted topics: no more keys than that.
fn count(run: &Run<'_>) -> Result<u64> {
    let (mut records, mut compacted) = (0, HashMap::new());
    for first in &run.sealed {
        let (mut segment, limit) = run.open(*first)?;
        each_batch(&mut segment, limit, |_, directory| {
            for head in &directory.sections {
                let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
                let compact = match compacted.entry(topic) {
                    Slot::Occupied(known) => *known.get(),
                    Slot::Vacant(fresh) => {
                        let compact = *run.retention(fresh.key()) == Retention::Compact;
                        *fresh.insert(compact)
                    }
                };
                records += if compact { u64::from(head.count) } else { 0 };
            }
        })?;
    }
    Ok(records)
}

impl Pass<'_> {
    /// Goes through a segment backwards.
    fn segment(&mut self, first: u64, plans: &mut BTreeMap<u64, Plan>) -> Result<()> {
        let (mut segment, limit) = self.run.open(first)?;
        let mut places = Vec::new();
        each_batch(&mut segment, limit, |entry, directory| {
            if self.run.standing(directory) == Standing::Visible && !directory.sections.is_empty() {
                places.push((entry.at, entry.end()));
            }
        })?;
        let plan = plans.entry(first).or_default();
        segment.expect(0);
        while let Some((_, end)) = places.last().copied() {
            // The longest run of batches before `end` that fits: read forward, looked at backwards.
            let from = places.partition_point(|(at, _)| end - at > STRETCH).min(places.len() - 1);
            let start = places.get(from).map_or(end, |(at, _)| *at);
            if end - start <= STRETCH {
                let read = segment.prefetch(start, (end - start) as usize, limit);
                read.map_err(|fault| segment.error(fault))?;
            }
            for (at, _) in places.drain(from..).rev() {
                self.batch(&mut segment, first, at, limit, plan)?;
            }
        }
        Ok(())
    }

    fn batch(
        &mut self,
        segment: &mut Segment,
        first: u64,
        at: u64,
        limit: u64,
        plan: &mut Plan,
    ) -> Result<()> {
        let entry = segment.entry(at, limit).map_err(|fault| segment.error(fault))?;
        let directory = segment.directory(&entry).map_err(|fault| segment.error(fault))?;
        let mut payload_at = entry.end();
        for (number, head) in directory.sections.iter().enumerate().rev() {
            payload_at -= head.stored;
            if !self.compacts(head) {
                continue;
            }
            let payload = segment.payload(payload_at, head, limit).map_err(|fault| segment.error(fault))?;
            let items =
                self.items(&payload, head).map_err(|error| segment.corrupt(payload_at, error.to_string()))?;
            let count = items.len();
            let candidate =
                Candidate { segment: first, sequence: directory.sequence, section: number, record: 0, count };
            let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
            self.section(&topic, &items, candidate, directory.appended_us, plan);
        }
        Ok(())
    }

    fn compacts(&mut self, head: &SectionHead<'_>) -> bool {
        let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
        let number = self.topics.len() as u32;
        let run = self.run;
        let made = self.topics.entry(topic).or_insert_with_key(|topic| {
            let compact = *run.retention(topic) == Retention::Compact;
            compact.then(|| Topic { number, passed: run.passed(topic), cleared: false, clear: None })
        });
        made.is_some()
    }

    fn items(&self, payload: &[u8], head: &SectionHead<'_>) -> Result<Vec<Item>> {
        let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
        let number = self.topics.get(&topic).and_then(Option::as_ref).map_or(0, |topic| topic.number);
        let mut items = Vec::new();
        for record in Records::new(payload, head.base) {
            let record = record?;
            let key = record.key.map(|key| self.hash(number, key));
            items.push(Item { offset: record.offset, attributes: record.attributes, key });
        }
        Ok(items)
    }

    fn hash(&self, topic: u32, key: &[u8]) -> KeyHash {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            topic.hash(&mut hasher);
            key.hash(&mut hasher);
            hasher.finish()
        };
        (half(&self.hashers.0), half(&self.hashers.1))
    }

    /// Decides about the records of one section, newest first.
    fn section(
        &mut self,
        name: &TopicPartition,
        items: &[Item],
        place: Candidate,
        appended_us: i64,
        plan: &mut Plan,
    ) {
        let Some(Some(topic)) = self.topics.get_mut(name) else { return };
        let (part, parts) = (self.part, self.parts);
        let in_part = |key: &KeyHash| key.0 % parts == part;
        for (record, item) in items.iter().enumerate().rev() {
            let here = Candidate { record, ..place };
            // May go as soon as nothing older is left: every group has passed it, and it is old enough.
            let may_go = (item.offset < topic.passed && appended_us <= self.young_us).then(|| Box::new(here));
            if topic.cleared {
                topic.clear = None;
                drop_one(plan, here, items);
                continue;
            }
            if item.attributes.has(Attributes::CLEAR) {
                (topic.cleared, topic.clear) = (true, may_go);
                continue;
            }
            let Some(key) = item.key.filter(in_part) else { continue };
            if moved_row_stays(&self.keys, items, record, in_part) {
                // The row under its new key builds on the older records of this one: they are open again.
                self.keys.remove(&key);
                continue;
            }
            match self.keys.entry(key) {
                Slot::Occupied(mut closed) => {
                    // Something older is there, so a tombstone stays for now.
                    *closed.get_mut() = None;
                    drop_one(plan, here, items);
                }
                Slot::Vacant(open) => {
                    if item.attributes.has(Attributes::TOMBSTONE) {
                        open.insert(may_go);
                    } else if !item.attributes.has(Attributes::PARTIAL) {
                        open.insert(None);
                    }
                }
            }
        }
    }

    /// Drops the tombstones of which nothing older was met.
    fn finish(self, plans: &mut BTreeMap<u64, Plan>) {
        let clears = self.topics.into_values().flatten().filter_map(|topic| topic.clear);
        for candidate in self.keys.into_values().flatten().chain(clears) {
            let plan = plans.entry(candidate.segment).or_default();
            plan.act(candidate.sequence, candidate.section, candidate.record, candidate.count, Action::Drop);
        }
    }
}

fn drop_one(plan: &mut Plan, place: Candidate, items: &[Item]) {
    let Some(item) = items.get(place.record) else { return };
    plan.must |= item.attributes.0 & (Attributes::PARTIAL | Attributes::MOVED) != 0;
    plan.act(place.sequence, place.section, place.record, place.count, Action::Drop);
    let second = place.record + 1;
    if is_move(items, second) {
        plan.act(place.sequence, place.section, second, place.count, Action::Settle);
    }
}

/// Whether a record is the second half of a key change whose first half is the record before it.
fn is_move(items: &[Item], second: usize) -> bool {
    let first = second.checked_sub(1).and_then(|first| items.get(first));
    let (Some(first), Some(second)) = (first, items.get(second)) else { return false };
    second.attributes.has(Attributes::TOMBSTONE | Attributes::MOVED)
        && first.attributes.has(Attributes::PARTIAL)
        && first.offset.checked_add(1) == Some(second.offset)
}

/// Whether the first half of a key change, the record before its tombstone, stays. A key of another pass counts as
/// staying: then more is kept than needed, never less.
fn moved_row_stays(
    keys: &HashMap<KeyHash, Closed>,
    items: &[Item],
    tombstone: usize,
    in_part: impl Fn(&KeyHash) -> bool,
) -> bool {
    let first = tombstone.checked_sub(1).and_then(|first| items.get(first)).and_then(|first| first.key);
    is_move(items, tombstone) && first.is_none_or(|key| !in_part(&key) || !keys.contains_key(&key))
}
