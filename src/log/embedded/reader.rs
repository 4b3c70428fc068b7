//! Reading: from the tail cache as long as the reader keeps up, from segment files otherwise. The place in a file is only a
//! hint; what a reader has is its cursor.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::collections::VecDeque;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use connector_api::{Encoding, Error, Kind, Result, Section, TopicPartition};

use super::format::{self, Directory, EntryKind, HEADER_LEN};
use super::index::{self, Index};
use super::schemas;
use super::segment::{Entry, Segment, unsealed};
use super::shared::{Located, Shared};
use crate::log::scan::{Found, Interest, Journal, Stored, Wanted};

/// Batches taken from the tail cache at once.
const TAIL_TAKE: usize = 32;
/// The index is asked again after so many bytes.
const SEEK_EVERY: u64 = 64 << 10;

/// The journal in a directory.
#[derive(Debug)]
pub(super) struct EmbeddedJournal {
    shared: Arc<Shared>,
    /// Batches from the tail cache, not looked at yet.
    recent: VecDeque<Arc<Stored>>,
    place: Option<Place>,
    /// How many purges it knows of.
    purges: u64,
}

/// A place in an open segment.
#[derive(Debug)]
struct Place {
    segment: Segment,
    index: Arc<RwLock<Index>>,
    /// Batches before byte `at` have sequences below `next`; 0 when no place is known.
    at: u64,
    next: u64,
    /// The index was last asked here.
    sought: u64,
}

/// What a look into one segment gave.
enum Look {
    Found(Found),
    /// Nothing below this sequence.
    Nothing(u64),
}

impl EmbeddedJournal {
    pub fn new(shared: Arc<Shared>) -> EmbeddedJournal {
        let purges = shared.purges.load(SeqCst);
        EmbeddedJournal { shared, recent: VecDeque::new(), place: None, purges }
    }

    /// After a purge, lets go of what may hold purged records. Where to go on is not lost: that is a sequence.
    fn release(&mut self, wanted: &Wanted) -> Result<()> {
        let purges = self.shared.purges.load(SeqCst);
        if purges != self.purges {
            // Asked here, because the next batch may come from memory (I5).
            if self.place.is_some() {
                self.check_lost(wanted)?;
            }
            self.recent.clear();
            (self.place, self.purges) = (None, purges);
        }
        Ok(())
    }

    /// Looks into the tail cache; `None` when `from` is not in it.
    fn look_recent(&mut self, from: u64, until: u64, wanted: &mut Wanted) -> Option<Look> {
        while self.recent.front().is_some_and(|stored| stored.sequence < from) {
            self.recent.pop_front();
        }
        if self.recent.front().is_none_or(|stored| stored.sequence != from) {
            self.recent.clear();
            if !self.shared.tail().from(from, TAIL_TAKE, &mut self.recent) || self.recent.is_empty() {
                return None;
            }
        }
        let mut next = from;
        while let Some(stored) = self.recent.front().filter(|stored| stored.sequence < until) {
            if let Some(found) = wanted.find(stored) {
                return Some(Look::Found(found));
            }
            next = stored.sequence.saturating_add(1);
            self.recent.pop_front();
        }
        Some(Look::Nothing(next))
    }

    fn look_files(&mut self, from: u64, until: u64, wanted: &mut Wanted) -> Result<Look> {
        let located = self.shared.locate(from);
        let stays = self.place.as_ref().is_some_and(|place| place.segment.header.first == located.first);
        if !stays {
            self.place = None;
            let place = match self.open(&located) {
                Ok(place) => place,
                // Cleaning deleted it since it was looked up; look again.
                Err(error)
                    if error.kind() == Kind::Config && self.shared.locate(from).first != located.first =>
                {
                    return Ok(Look::Nothing(from));
                }
                Err(error) if error.kind() == Kind::Config => return Err(self.missing(&located, error)),
                Err(error) => return Err(error),
            };
            // Cleaning says what it takes before it takes it; so asking after opening misses nothing (I5). A place is kept
            // only when the answer was good: the same question must get the same error again.
            self.check_lost(wanted)?;
            self.place = Some(place);
        }
        let Some(place) = &mut self.place else { return Ok(Look::Nothing(from)) };
        place.look(&self.shared, &located, from, until, wanted)
    }

    fn open(&self, located: &Located) -> Result<Place> {
        let (path, id) = (self.shared.path(located.first), self.shared.id);
        let (segment, index) = match &located.active {
            Some(active) => {
                let segment = Segment::over(active.file.clone(), &path, id, located.first)?;
                (segment, active.index.clone())
            }
            None => {
                let mut segment = Segment::open(&*self.shared.fs, &path, id, located.first)?;
                let index = index::load(&*self.shared.fs, &mut segment)?;
                (segment, Arc::new(RwLock::new(index)))
            }
        };
        Ok(Place { segment, index, at: 0, next: 0, sought: 0 })
    }

    /// The error for a segment that should be there.
    fn missing(&self, located: &Located, error: Error) -> Error {
        let path = self.shared.path(located.first);
        if !self.shared.read_only {
            return error.with_remedy("bring the file back from a copy, and look at who removes files there");
        }
        // What stood in it may have been wanted: that is not for this reader to say.
        Error::transient(format!(
            "read {}: the running service removed it since the log was opened here",
            path.display()
        ))
        .caused_by(error)
        .with_remedy("run the same command again: it opens the log as it is now")
    }

    /// Fails when records that the reader wants were removed by limits, or were lost by the log itself.
    fn check_lost(&self, wanted: &Wanted) -> Result<()> {
        let state = self.shared.state();
        for (topic, known) in state.topics.iter().filter(|(_, known)| known.earliest > 0) {
            wanted.check_earliest(topic, known.earliest)?;
        }
        for (topic, next) in &wanted.cursor.next {
            let end = state.topics.get(topic).map_or(0, |known| known.next);
            if *next > end && wanted.subscribes(&topic.topic) {
                return Err(Error::lost(format!(
                    "read {topic} from offset {next}: the log ends at offset {end}; it lost what was applied already"
                ))
                .with_remedy("fill the sink again from the log's earliest record or from a new snapshot"));
            }
        }
        Ok(())
    }
}

impl Journal for EmbeddedJournal {
    fn end(&self) -> u64 {
        *self.shared.published.borrow()
    }

    fn start(&mut self, wanted: &mut Wanted) -> Result<u64> {
        let (needs, end): (Vec<(TopicPartition, u64)>, u64) = {
            let state = self.shared.state();
            let floors = state.topics.iter().filter(|(_, known)| known.earliest > 0);
            wanted.floors = floors.map(|(topic, known)| (topic.clone(), known.earliest)).collect();
            let needs = state.topics.iter().filter_map(|(topic, known)| {
                let from = wanted.from(topic);
                // `next` and not `visible`: chunks of an unfinished transaction are still to come.
                (from < known.next && wanted.subscribes(&topic.topic)).then(|| (topic.clone(), from))
            });
            (needs.collect(), state.next)
        };
        self.check_lost(wanted)?;
        if needs.is_empty() {
            return Ok(end);
        }
        let firsts: Vec<u64> = {
            let segments = self.shared.segments();
            segments.sealed.keys().copied().chain([segments.active.first]).collect()
        };
        // The last segment before which nothing that is needed begins.
        let (mut low, mut high) = (0, firsts.len());
        while high - low > 1 {
            let middle = low.midpoint(high);
            let Some(first) = firsts.get(middle) else { break };
            match self.begins_before(*first, &needs) {
                Ok(true) => low = middle,
                Ok(false) => high = middle,
                Err(error) if error.kind() == Kind::Config => high = middle,
                Err(error) => return Err(error),
            }
        }
        Ok(firsts.get(low).copied().unwrap_or_default())
    }

    fn find(&mut self, mut from: u64, until: u64, wanted: &mut Wanted) -> Result<Option<Found>> {
        self.release(wanted)?;
        while from < until {
            let look = match self.look_recent(from, until, wanted) {
                Some(look) => {
                    // From files to memory: what stood between the two may have been removed (I5).
                    if self.place.is_some() {
                        self.check_lost(wanted)?;
                    }
                    // The reader keeps up: it needs no file and no buffer.
                    self.place = None;
                    look
                }
                None => self.look_files(from, until, wanted)?,
            };
            match look {
                Look::Found(found) => return Ok(Some(found)),
                Look::Nothing(next) => from = next,
            }
        }
        Ok(None)
    }

    fn closed(&self) -> bool {
        self.shared.closed.load(SeqCst)
    }

    fn behind(&self, wanted: &Wanted) -> bool {
        crate::log::behind(&self.shared.state(), wanted)
    }
}

impl EmbeddedJournal {
    /// Whether all of `needs` stand at or after the beginning of a segment, by its checkpoint.
    fn begins_before(&self, first: u64, needs: &[(TopicPartition, u64)]) -> Result<bool> {
        let mut segment = Segment::open(&*self.shared.fs, &self.shared.path(first), self.shared.id, first)?;
        let limit = segment.len()?;
        let entry = segment.entry(HEADER_LEN as u64, limit).map_err(|fault| segment.error(fault))?;
        let checkpoint = format::decode_checkpoint(&entry.meta)?;
        let next = |topic| checkpoint.state.topics.get(topic).map_or(0, |known| known.next);
        Ok(needs.iter().all(|(topic, from)| next(topic) <= *from))
    }
}

impl Place {
    fn look(
        &mut self,
        shared: &Shared,
        located: &Located,
        from: u64,
        until: u64,
        wanted: &mut Wanted,
    ) -> Result<Look> {
        // A segment that was sealed meanwhile is read to its end through the handle that is open.
        let limit = match &located.active {
            Some(active) => active.end,
            None => self.segment.len()?,
        };
        let past = located.next.unwrap_or(until);
        if from < self.next {
            (self.at, self.next) = (0, 0);
        }
        let mut from = from;
        let Some(at) = self.seek(from, wanted) else { return Ok(Look::Nothing(past)) };
        self.at = at;
        while self.at < limit {
            let entry = self.segment.entry(self.at, limit).map_err(|fault| self.segment.error(fault))?;
            if entry.head.kind == EntryKind::Batch {
                let directory = self.segment.directory(&entry).map_err(|fault| self.segment.error(fault))?;
                if directory.sequence >= until {
                    return Ok(Look::Nothing(until));
                }
                if directory.sequence >= from {
                    if let Some(found) = self.take(shared, &entry, &directory, limit, wanted)? {
                        self.pass(&entry, directory.sequence);
                        return Ok(Look::Found(found));
                    }
                    from = directory.sequence.saturating_add(1);
                }
                self.pass(&entry, directory.sequence);
                self.segment.expect(entry.head.payload);
            } else {
                let seals = entry.head.kind == EntryKind::Mark
                    && format::decode_mark(&entry.meta)
                        .map_err(|error| self.segment.corrupt(entry.at, error.to_string()))?;
                self.at = entry.end();
                if seals {
                    return Ok(Look::Nothing(past));
                }
            }
            if self.at.saturating_sub(self.sought) >= SEEK_EVERY {
                let Some(at) = self.seek(from, wanted) else { return Ok(Look::Nothing(past)) };
                self.at = at;
            }
        }
        match located.active {
            Some(_) => Ok(Look::Nothing(until)),
            None => Err(self.segment.error(unsealed(limit))),
        }
    }

    fn pass(&mut self, entry: &Entry, sequence: u64) {
        (self.at, self.next) = (entry.end(), sequence.saturating_add(1));
    }

    /// Where to go on for the batches from `from`; `None` when nothing wanted is left in this segment.
    fn seek(&mut self, from: u64, wanted: &mut Wanted) -> Option<u64> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let at = index
            .seek(from, self.at, |topic, end| wanted.subscribes(&topic.topic) && wanted.from(topic) < end)?;
        self.sought = at;
        Some(at)
    }

    /// A batch, if it is of interest, with the wanted sections.
    fn take(
        &mut self,
        shared: &Shared,
        entry: &Entry,
        directory: &Directory<'_>,
        limit: u64,
        wanted: &mut Wanted,
    ) -> Result<Option<Found>> {
        let interest = wanted.interest(directory.first, directory.continued, directory.continues);
        if interest == Interest::Skip {
            return Ok(None);
        }
        let mut sections = Vec::new();
        let mut at = entry.payload_at();
        let heads: &[_] = if interest == Interest::Head { &[] } else { &directory.sections };
        for head in heads {
            if let Some(topic) = wanted.topic(head.topic) {
                let topic = TopicPartition { topic, partition: head.partition };
                let from = wanted.from(&topic);
                if head.end() > from && head.count > 0 {
                    let schema = schemas::find(shared, &mut self.segment, &self.index, head.schema, limit)?;
                    let payload = self.segment.payload(at, head, limit);
                    let payload = payload.map_err(|fault| self.segment.error(fault))?;
                    let (base, span, count, encoding) = (head.base, head.span, head.count, head.encoding);
                    debug_assert!(schema.is_some() == (encoding == Encoding::Changes));
                    sections.push(Section { topic, base, span, count, from, schema, encoding, payload });
                }
            }
            at = at.saturating_add(head.stored);
        }
        if interest == Interest::Sections && sections.is_empty() {
            return Ok(None);
        }
        Ok(Some(Found {
            sequence: directory.sequence,
            producer: directory.producer.into(),
            continued: directory.continued,
            first: directory.first,
            transactions: Bytes::copy_from_slice(directory.transactions),
            sections,
        }))
    }
}
