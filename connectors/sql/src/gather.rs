//! Changes that wait for a flush, worked out to their net effect: what lets a sink send a thousand rows in one statement.
//!
//! A change is copied once, into one arena. At the flush the changes of each key are followed in the source's order:
//! later values win over earlier ones, a row that came and went leaves a delete, an update that leaves values out is
//! merged into the row that is gathered already. What cannot be merged goes into a later *layer*: layers are given back in
//! order, and within one layer every key occurs once, so that its parts may go in any order. The parts of a layer are given
//! as foreign keys and unique columns want them: deletes first, children before parents; then everything else, parents
//! first.
//!
//! Memory: the bytes that were pushed, at most as much again for merged rows, and a hundred bytes for each change.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod index;
mod net;
mod refusals;
mod registry;
mod row;
mod step;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use connector_api::{Change, Incoming, Op, Result, Row, Target, TopicPartition};

use index::Index;
use net::Net;
use registry::{Known, Registry};
use row::{Images, Place, What};

pub use refusals::Refusals;
pub use step::{Absent, Single, Step, Work, cells};

/// What the arena is brought back to after a large flush.
const ARENA_USUAL: usize = 8 << 20;

/// One change, with its bytes in the arena: key, row, old key or old row, one after the other.
#[derive(Debug, Clone, Copy)]
struct Entry {
    target: u32,
    topic: u32,
    offset: u64,
    what: What,
    /// An insert or a snapshot read.
    fresh: bool,
    /// The set of columns that it sets.
    columns: u32,
    start: usize,
    key: u32,
    row: u32,
    old: u32,
    hash: u64,
}

/// Changes that wait for a flush.
#[derive(Debug)]
pub struct Gather {
    same_table: fn(&str, &str) -> bool,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    registry: Registry,
    index: Index,
    net: Net,
    known: Vec<bool>,
    picked: Vec<usize>,
}

impl Gather {
    /// `same_table` says whether two names are one table in the target: `|a, b| a == b`, or without the case of letters
    /// where the target ignores it. Topics that share a table share its keys.
    pub fn new(same_table: fn(&str, &str) -> bool) -> Gather {
        Gather {
            same_table,
            arena: Vec::new(),
            entries: Vec::new(),
            registry: Registry::default(),
            index: Index::new(),
            net: Net::default(),
            known: Vec::new(),
            picked: Vec::new(),
        }
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many changes wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Forgets what waits: it was flushed, or it is rolled back.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.arena.shrink_to(ARENA_USUAL);
        self.entries.clear();
        self.entries.shrink_to(ARENA_USUAL / size_of::<Entry>());
        self.net.clear(ARENA_USUAL);
        self.index.shrink(ARENA_USUAL / size_of::<u64>());
        if self.registry.is_large() {
            self.registry = Registry::default();
        }
    }

    /// Copies a change.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] for a change that has no effect anywhere, because its key is NULL or its old row is not known;
    /// [`connector_api::Kind::Corrupt`] for one that does not decode. It was not gathered then.
    #[inline]
    pub fn push(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        let change = &incoming.change;
        let number = self.registry.target(incoming.target, self.same_table);
        let topic = self.registry.topic(incoming.topic);
        let keyed = !incoming.target.key.is_empty();
        if change.op == Op::Delete && self.is_second_half(number, topic, change) {
            return Ok(());
        }
        let place = Place { number, topic, target: incoming.target, change };
        match (change.op, change.after) {
            (Op::Truncate, None) => {
                self.put(&place, What::Truncate, 0, Images::default());
                Ok(())
            }
            (Op::Truncate, Some(after)) => self.push_part(&place, What::MarkAll, after, None, None),
            (Op::Delete, None) if keyed => {
                let images = Images { key: place.key()?, ..Images::default() };
                self.put(&place, What::Delete, 0, images);
                Ok(())
            }
            (Op::Delete, Some(after)) if keyed => {
                self.push_part(&place, What::Mark, after, Some(place.key()?), None)
            }
            (Op::Delete, None) => {
                let images = Images { old: place.old_row()?, ..Images::default() };
                self.put(&place, What::DeleteRow, 0, images);
                Ok(())
            }
            (Op::Delete, Some(after)) => {
                self.push_part(&place, What::ReplaceRow(Absent::Ignore), after, None, Some(place.old_row()?))
            }
            (Op::Insert | Op::Read | Op::Update, Some(after)) if keyed => self.push_row(&place, after),
            (Op::Insert | Op::Read, Some(after)) => {
                let all = self.all(number);
                self.put(&place, What::Insert, all, Images { row: after.as_bytes(), ..Images::default() });
                Ok(())
            }
            (Op::Update, Some(after)) => {
                let what = What::ReplaceRow(if place.is_partial() { Absent::Refuse } else { Absent::Insert });
                self.push_part(&place, what, after, None, Some(place.old_row()?))
            }
            (Op::Insert | Op::Read | Op::Update, None) => Err(place.lacks("its new row")),
        }
    }

    /// A row of a table with a key.
    #[inline]
    fn push_row(&mut self, place: &Place<'_>, after: Row<'_>) -> Result<()> {
        let key = place.key()?;
        if place.change.op == Op::Update
            && let Some(old) = row::old_key(place.change, key)?
        {
            self.push_part(place, What::Move, after, Some(key), Some(&old))?;
            self.moved(place);
            return Ok(());
        }
        if place.is_partial() {
            return self.push_part(place, What::Update, after, Some(key), None);
        }
        let all = self.all(place.number);
        self.put(place, What::Upsert, all, Images { key, row: after.as_bytes(), old: &[] });
        Ok(())
    }

    /// A row of which some values may be left out.
    fn push_part(
        &mut self,
        place: &Place<'_>,
        what: What,
        after: Row<'_>,
        key: Option<&[u8]>,
        old: Option<&[u8]>,
    ) -> Result<()> {
        let mut row = after.as_bytes();
        let completed;
        let gaps = row::known(after, &place.target.schema, &mut self.known)?;
        if let Some(key) = key.filter(|_| gaps) {
            completed = row::complete(after, &place.target.schema, Row::from_bytes(key))?;
            row = &completed;
        }
        let marks = matches!(what, What::Mark | What::ReplaceRow(Absent::Ignore));
        if key.is_some() && !marks {
            // The values of the key are known from the key.
            row::set_all(&mut self.known, &place.target.schema.key);
        }
        self.picked.clear();
        for (at, (source, _)) in place.target.columns.iter().enumerate() {
            if self.known.get(*source) == Some(&true) && !place.target.key.contains(&at) {
                self.picked.push(at);
            }
        }
        if self.picked.is_empty() && (marks || matches!(what, What::MarkAll | What::ReplaceRow(_))) {
            return Ok(());
        }
        let set = self.registry.set(place.number, &self.picked);
        let whole = set == self.all(place.number);
        let what = match what {
            What::Update if whole => What::Upsert,
            What::ReplaceRow(Absent::Refuse) if whole => What::ReplaceRow(Absent::Insert),
            what => what,
        };
        let images = Images { key: key.unwrap_or_default(), row, old: old.unwrap_or_default() };
        self.put(place, what, set, images);
        Ok(())
    }

    #[inline]
    fn all(&self, target: u32) -> u32 {
        self.registry.targets.get(target as usize).map_or(0, |known| known.all)
    }

    #[inline]
    fn put(&mut self, place: &Place<'_>, what: What, columns: u32, images: Images<'_>) {
        let start = self.arena.len();
        let Images { key, row, old } = images;
        self.arena.reserve(key.len() + row.len() + old.len());
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(row);
        self.arena.extend_from_slice(old);
        let table = self.registry.targets.get(place.number as usize).map_or(0, |known| known.table);
        self.entries.push(Entry {
            target: place.number,
            topic: place.topic,
            offset: place.change.record.offset,
            what,
            fresh: matches!(place.change.op, Op::Insert | Op::Read),
            columns,
            start,
            // No record is longer than `RECORD_BYTES_MAX`.
            key: key.len() as u32,
            row: row.len() as u32,
            old: old.len() as u32,
            hash: self.index.hash(table, key),
        });
    }

    /// The tombstone after an update that moved a row. It would do nothing, except where the target takes the two keys
    /// for one (a column without case, -0.0 and 0.0) and it would delete the row that has just been moved.
    #[inline]
    fn is_second_half(&self, target: u32, topic: u32, change: &Change<'_>) -> bool {
        let follows = |known: &Known| {
            let mut moved = known.moved.iter().filter(|(other, _)| *other == topic);
            moved.any(|(_, offset)| offset.checked_add(1) == Some(change.record.offset))
        };
        let known = self.registry.targets.get(target as usize);
        change.follows_move() || (change.record.is_null() && known.is_some_and(follows))
    }

    fn moved(&mut self, place: &Place<'_>) {
        let Some(known) = self.registry.targets.get_mut(place.number as usize) else { return };
        let offset = place.change.record.offset;
        match known.moved.iter_mut().find(|(topic, _)| *topic == place.topic) {
            Some(moved) => moved.1 = offset,
            None => known.moved.push((place.topic, offset)),
        }
    }

    /// For each topic of what waits, the offset behind its last record: what a cursor says when all of it is applied.
    pub fn ends(&self) -> Vec<(TopicPartition, u64)> {
        let mut ends = vec![0u64; self.registry.topics.len()];
        for entry in &self.entries {
            if let Some(end) = ends.get_mut(entry.topic as usize) {
                *end = (*end).max(entry.offset.saturating_add(1));
            }
        }
        let topics = self.registry.topics.iter().cloned().zip(ends);
        topics.filter(|(_, end)| *end > 0).collect()
    }

    /// The net effect, in an order that is right. `rank` puts tables in order, parents before children (foreign keys).
    /// Upserts go up, deletes go down.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] when a row that had to be merged does not decode.
    pub fn steps(&mut self, rank: &dyn Fn(&Target) -> u32) -> Result<Vec<Step<'_>>> {
        let Gather { arena, entries, registry, index, net, .. } = self;
        net.work_out(arena, entries, registry, index)?;
        Ok(net.steps(arena, entries, registry, index, rank))
    }

    /// Every change by itself, in the source's order: for the careful second try after a statement for many rows was
    /// refused. [`Refusals`] keeps what follows a refused one from overtaking it.
    pub fn singles(&self) -> impl Iterator<Item = Single<'_>> {
        self.entries.iter().filter_map(|entry| self.single(entry))
    }

    fn single<'g>(&'g self, entry: &Entry) -> Option<Single<'g>> {
        let images = Images::of(&self.arena, entry);
        let work = row::work(entry, images, self.registry.columns(entry.columns));
        let target = &self.registry.targets.get(entry.target as usize)?.target;
        let topic = self.registry.topics.get(entry.topic as usize)?;
        let key = (entry.key > 0).then_some(images.key);
        Some(Single { step: Step { target, work }, topic, offset: entry.offset, key })
    }
}
