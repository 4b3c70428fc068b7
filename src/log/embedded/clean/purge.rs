//! Purging: what a judge says of single records is carried out in every segment that holds what was durable at the call.
//!
//! The newest segment is sealed for it. Then segments are looked through and rewritten one by one, the newest first, and what a
//! crash leaves in between is sound, because at each of these moments
//!
//! - a record that does not stand alone (partial, moved) goes before the older one that it builds on: what is left never builds
//!   on nothing, as far as the judge's own verdicts allow;
//! - a tombstone or clear goes after everything older: a row that it ended does not come back (I11). Those that are to go are
//!   noted, and taken in a second rewrite of their segments when the oldest segment is done. In the oldest segment itself all goes
//!   at once;
//! - a moved tombstone whose first half goes, or is replaced by a record that stands alone, is a plain one from that same rewrite
//!   on, as in compaction: the row under the old key is gone for whoever reads on;
//! - what stands in place of a record is at the same offset, and readers meet the newest state last, whichever of the older
//!   states they meet before;
//! - a file is replaced as a whole, and what went is not asked about again: calling again goes on where this ended.
//!
//! In memory are the records of one section and the plan of one segment at most. A plan that grows over
//! [`Options::clean_memory`] is carried out, and the segment's older batches come after that; of tombstones no more are noted than
//! fit, and the next round takes the rest.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::Sender;
use std::sync::{Arc, PoisonError, RwLock};

use connector_api::record::{Record, Records};
use connector_api::{Error, Result, Section, TopicPartition};

use super::{Drops, Plan, Run, Standing, ask, closed, each_batch};
use crate::log::edits::{Action, Edits};
use crate::log::embedded::format::{Directory, EntryKind, SectionHead};
use crate::log::embedded::index::{self, Index};
use crate::log::embedded::options::Options;
use crate::log::embedded::schemas;
use crate::log::embedded::segment::{Entry, Segment, parse_name};
use crate::log::embedded::shared::Shared;
use crate::log::embedded::writer::{Job, now_us};
use crate::log::purge::{Judge, Judged, Purged, ends_rows, record_len};

/// What is read at once.
const STRETCH: u64 = 1 << 20;
/// What a noted tombstone takes, about.
const END_BYTES: u64 = 64;

/// A tombstone or clear that goes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    segment: u64,
    sequence: u64,
    /// By its number in [`Topics::all`].
    topic: usize,
    offset: u64,
}

/// What is to be done in one segment, as far as it was looked through.
#[derive(Default)]
struct Part {
    plan: Plan,
    gone: BTreeMap<TopicPartition, u64>,
    ends: Vec<Place>,
    dropped: u64,
    replaced: u64,
    /// Memory that the plan takes, about.
    weight: u64,
    /// The batches below this one were not looked at.
    rest: Option<u64>,
}

/// An [`End`], and where it stands now.
struct Place {
    end: End,
    section: usize,
    record: usize,
    count: usize,
}

struct Pass<'r> {
    run: &'r Run<'r>,
    jobs: &'r Sender<Job>,
    topics: Topics,
    ends: Vec<End>,
    /// More tombstones are to go than could be noted.
    more: bool,
    purged: Purged,
}

/// Takes out of the log, and changes in it, what the judge says.
pub(in crate::log::embedded) fn purge(
    shared: &Shared,
    options: &Options,
    jobs: &Sender<Job>,
    judge: Box<dyn Judge>,
) -> Result<Purged> {
    if shared.closing.load(SeqCst) {
        return Err(closed());
    }
    let mut topics = Topics { judge, known: HashMap::new(), all: Vec::new() };
    let ends = seal(shared, jobs, &mut topics)?;
    // The list first, the state second, as in cleaning: so the state covers the segments.
    let sealed: Vec<u64> = shared.segments().sealed.keys().copied().collect();
    let state = shared.state().clone();
    let active = shared.segments().active.first;
    remove_unfinished(shared, active)?;
    let run = Run { shared, options, state, groups: BTreeMap::new(), sealed, now_us: now_us() };
    // Before the first file changes, for the same reason as in cleaning: memory holds batches as they were.
    shared.tail().forget_below(active);
    let purged = Purged { ends, ..Purged::default() };
    let mut pass = Pass { run: &run, jobs, topics, ends: Vec::new(), more: true, purged };
    while std::mem::take(&mut pass.more) {
        for first in run.sealed.iter().rev() {
            pass.segment(*first)?;
        }
        pass.finish()?;
    }
    shared.release_readers();
    Ok(pass.purged)
}

/// Seals the newest segment when it holds a wanted topic, and gives the offsets below which all records stand in sealed
/// segments now.
fn seal(shared: &Shared, jobs: &Sender<Job>, topics: &mut Topics) -> Result<Vec<(TopicPartition, u64)>> {
    // The state first, the index second: the writer changes them the other way round, so what the state knows is in this
    // index, or in a segment that is sealed.
    let ends: Vec<(TopicPartition, u64)> =
        shared.state().topics.iter().map(|(topic, known)| (topic.clone(), known.next)).collect();
    let index = shared.segments().active.index.clone();
    let held = index.read().unwrap_or_else(PoisonError::into_inner).topics().to_vec();
    if held.iter().any(|topic| topics.number(topic).is_some()) {
        ask(jobs, Job::Seal)?;
    }
    Ok(ends.into_iter().filter(|(topic, _)| topics.number(topic).is_some()).collect())
}

/// Removes what an earlier rewrite that failed, or a crash, left behind: it holds records as they were. The writer's own
/// temporary files are those of segments from `active` on.
fn remove_unfinished(shared: &Shared, active: u64) -> Result<()> {
    let (fs, dir) = (&shared.fs, &shared.dir);
    let names = fs.list(dir).map_err(|error| Error::io(format!("list {}", dir.display()), error))?;
    for name in names {
        let first = name.strip_suffix(".new").and_then(parse_name);
        if first.is_some_and(|first| first < active) {
            let path = dir.join(name);
            fs.remove(&path).map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
        }
    }
    // Also what opening removed is gone for certain then.
    fs.sync_dir(dir).map_err(|error| Error::io(format!("fsync {}", dir.display()), error))
}

impl Pass<'_> {
    /// Looks through a segment, and rewrites it.
    fn segment(&mut self, first: u64) -> Result<()> {
        let mut below = u64::MAX;
        // An earlier round, or an earlier part, may have left nothing of it.
        while self.run.shared.segments().sealed.contains_key(&first) {
            let mut part = self.part(first, below)?;
            let whole = below == u64::MAX && part.rest.is_none();
            self.defer(&mut part, whole && self.run.shared.oldest() == first);
            self.purged.records_dropped += part.dropped;
            self.purged.records_replaced += part.replaced;
            self.execute(first, &part.plan, std::mem::take(&mut part.gone))?;
            match part.rest {
                Some(rest) => below = rest,
                None => break,
            }
        }
        Ok(())
    }

    /// Notes the tombstones for later, or takes them at once where nothing is older.
    fn defer(&mut self, part: &mut Part, oldest: bool) {
        let most = (self.run.options.clean_memory / END_BYTES).max(1);
        for place in std::mem::take(&mut part.ends) {
            if oldest {
                let end = place.end;
                part.plan.act(end.sequence, place.section, place.record, place.count, Action::Drop);
                part.dropped += 1;
            } else if (self.ends.len() as u64) < most {
                self.ends.push(place.end);
            } else {
                self.more = true;
            }
        }
    }

    /// Rewrites a segment, when there is something to do.
    fn execute(&mut self, first: u64, plan: &Plan, gone: BTreeMap<TopicPartition, u64>) -> Result<()> {
        if plan.drops.is_empty() {
            return Ok(());
        }
        self.run.announce(self.jobs, BTreeMap::new(), gone)?;
        self.purged.bytes_freed += self.run.rewrite(first, plan)?;
        let stays = self.run.shared.segments().sealed.contains_key(&first);
        let counter =
            if stays { &mut self.purged.segments_rewritten } else { &mut self.purged.segments_deleted };
        *counter += 1;
        Ok(())
    }

    /// Looks at the batches of a segment that come before batch `below`, the newest first, until the plan is full.
    fn part(&mut self, first: u64, below: u64) -> Result<Part> {
        let (mut segment, limit) = self.run.open(first)?;
        let index = index::load(&*self.run.shared.fs, &mut segment)?;
        let ranges = index.ranges(below, limit, STRETCH, |topic| self.topics.number(topic).is_some());
        let mut part = Part::default();
        self.purged.segments_read += u64::from(below == u64::MAX && !ranges.is_empty());
        let index = RwLock::new(index);
        for range in ranges.into_iter().rev() {
            self.run.go_on()?;
            for entry in self.batches(&mut segment, range, limit, below)?.into_iter().rev() {
                let directory = segment.directory(&entry).map_err(|fault| segment.error(fault))?;
                self.batch(&mut segment, &index, (&entry, &directory), limit, &mut part)?;
                if part.weight >= self.run.options.clean_memory {
                    part.rest = Some(directory.sequence);
                    return Ok(part);
                }
            }
        }
        Ok(part)
    }

    /// The batches in a range of bytes that hold something wanted.
    fn batches(
        &mut self,
        segment: &mut Segment,
        range: Range<u64>,
        limit: u64,
        below: u64,
    ) -> Result<Vec<Entry>> {
        segment.expect(0);
        let (mut at, len) = (range.start, range.end.saturating_sub(range.start));
        self.purged.bytes_read += len;
        if len <= STRETCH {
            segment.prefetch(at, len as usize, limit).map_err(|fault| segment.error(fault))?;
        }
        let mut found = Vec::new();
        while at < range.end {
            let entry = segment.entry(at, limit).map_err(|fault| segment.error(fault))?;
            at = entry.end();
            if entry.head.kind == EntryKind::Batch {
                let directory = segment.directory(&entry).map_err(|fault| segment.error(fault))?;
                if directory.sequence < below && self.wants(&directory) {
                    found.push(entry);
                }
            }
        }
        Ok(found)
    }

    fn wants(&mut self, directory: &Directory<'_>) -> bool {
        let mut wants =
            |head: &SectionHead<'_>| head.count > 0 && self.topics.find(head.topic, head.partition).is_some();
        directory.sections.iter().any(&mut wants)
    }

    /// Plans for one batch.
    fn batch(
        &mut self,
        segment: &mut Segment,
        index: &RwLock<Index>,
        (entry, directory): (&Entry, &Directory<'_>),
        limit: u64,
        part: &mut Part,
    ) -> Result<()> {
        let aborted = self.run.standing(directory) == Standing::Aborted;
        let mut at = entry.end();
        for (number, head) in directory.sections.iter().enumerate().rev() {
            at = at.saturating_sub(head.stored);
            let Some(topic) = self.topics.find(head.topic, head.partition).filter(|_| head.count > 0) else {
                continue;
            };
            if aborted {
                part.plan.drop_all(directory.sequence, number);
                part.dropped += u64::from(head.count);
                part.weight += END_BYTES;
                *part.gone.entry(self.topics.name(topic)).or_default() += head.raw;
                continue;
            }
            let schema = schemas::find(self.run.shared, segment, index, head.schema, limit)?;
            let payload = segment.payload(at, head, limit).map_err(|fault| segment.error(fault))?;
            let section = Section {
                topic: self.topics.name(topic),
                base: head.base,
                span: head.span,
                count: head.count,
                from: 0,
                schema,
                encoding: head.encoding,
                payload,
            };
            let records = records(segment, at, &section)?;
            let judged = Judged::of(&mut *self.topics.judge, &section, &records, directory.sequence)?;
            let end = End { segment: segment.header.first, sequence: directory.sequence, topic, offset: 0 };
            part.take(judged, end, (number, records.len()), section.topic.clone());
        }
        Ok(())
    }

    /// Takes the noted tombstones, now that nothing that they ended is left.
    fn finish(&mut self) -> Result<()> {
        let ends = std::mem::take(&mut self.ends);
        for ends in ends.chunk_by(|one, two| one.segment == two.segment) {
            let Some(first) = ends.first().map(|end| end.segment) else { continue };
            let (plan, gone) = self.plan_ends(first, ends)?;
            self.execute(first, &plan, gone)?;
            self.purged.records_dropped += ends.len() as u64;
        }
        Ok(())
    }

    fn plan_ends(&mut self, first: u64, ends: &[End]) -> Result<(Plan, BTreeMap<TopicPartition, u64>)> {
        let (mut segment, limit) = self.run.open(first)?;
        let wanted: HashMap<u64, Vec<End>> = ends.iter().fold(HashMap::new(), |mut wanted, end| {
            wanted.entry(end.sequence).or_insert_with(Vec::new).push(*end);
            wanted
        });
        let mut batches = Vec::new();
        each_batch(&mut segment, limit, |entry, directory| {
            if wanted.contains_key(&directory.sequence) {
                batches.push(entry.clone());
            }
        })?;
        let (mut plan, mut gone) = (Plan::default(), BTreeMap::new());
        for entry in batches {
            let directory = segment.directory(&entry).map_err(|fault| segment.error(fault))?;
            let ends = wanted.get(&directory.sequence).map_or(&[][..], Vec::as_slice);
            let mut at = entry.payload_at();
            for (number, head) in directory.sections.iter().enumerate() {
                let of_this = |end: &&End| {
                    self.topics.is(end.topic, head) && (head.base..head.end()).contains(&end.offset)
                };
                let offsets: HashSet<u64> = ends.iter().filter(of_this).map(|end| end.offset).collect();
                if !offsets.is_empty() {
                    let payload = segment.payload(at, head, limit).map_err(|fault| segment.error(fault))?;
                    let (edits, bytes) = drop_ends(&payload, head, &offsets)
                        .map_err(|error| segment.corrupt(at, error.to_string()))?;
                    plan.drops.insert((directory.sequence, number), Drops::Some(edits));
                    let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
                    *gone.entry(topic).or_default() += bytes;
                }
                at = at.saturating_add(head.stored);
            }
        }
        Ok((plan, gone))
    }
}

impl Part {
    /// Takes what was said about a section into the plan.
    fn take(&mut self, judged: Judged, end: End, (number, count): (usize, usize), topic: TopicPartition) {
        for (record, offset) in judged.ends {
            self.weight += END_BYTES;
            self.ends.push(Place { end: End { offset, ..end }, section: number, record, count });
        }
        let Some(edits) = judged.edits else { return };
        self.dropped += edits.count(Action::Drop) as u64;
        self.replaced += edits.count(Action::Replace) as u64;
        self.weight += edits.weight();
        *self.gone.entry(topic).or_default() += judged.bytes;
        self.plan.drops.insert((end.sequence, number), Drops::Some(edits));
    }
}

/// The records of a section that was read at byte `at`.
fn records<'s>(segment: &Segment, at: u64, section: &'s Section) -> Result<Vec<Record<'s>>> {
    let records: Result<Vec<Record<'_>>> = section.records().collect();
    records.map_err(|error| segment.corrupt(at, error.to_string()))
}

/// Drops the tombstones at these offsets; the bytes that go with them, about.
fn drop_ends(payload: &[u8], head: &SectionHead<'_>, offsets: &HashSet<u64>) -> Result<(Edits, u64)> {
    let (mut edits, mut bytes) = (Edits::new(head.count as usize), 0);
    for (number, record) in Records::new(payload, head.base).enumerate() {
        let record = record?;
        if offsets.contains(&record.offset) && ends_rows(&record) {
            edits.act(number, Action::Drop);
            bytes += record_len(&record);
        }
    }
    Ok((edits, bytes))
}

/// The judge, and what it said about topics.
struct Topics {
    judge: Box<dyn Judge>,
    /// By name, its partitions, each with its number in `all` when it is wanted.
    known: HashMap<Arc<str>, Vec<(u32, Option<usize>)>>,
    /// The wanted ones.
    all: Vec<TopicPartition>,
}

impl Topics {
    /// The number of a topic-partition that is wanted.
    fn number(&mut self, topic: &TopicPartition) -> Option<usize> {
        self.find(&topic.topic, topic.partition)
    }

    fn find(&mut self, topic: &str, partition: u32) -> Option<usize> {
        let known = self.known.get(topic).and_then(|known| known.iter().find(|known| known.0 == partition));
        if let Some((_, number)) = known {
            return *number;
        }
        let topic = TopicPartition { topic: topic.into(), partition };
        let number = self.judge.wants(&topic).then(|| {
            self.all.push(topic.clone());
            self.all.len() - 1
        });
        self.known.entry(topic.topic).or_default().push((partition, number));
        number
    }

    fn name(&self, number: usize) -> TopicPartition {
        self.all.get(number).cloned().unwrap_or_else(|| TopicPartition::first(""))
    }

    fn is(&self, number: usize, head: &SectionHead<'_>) -> bool {
        let is = |topic: &TopicPartition| *topic.topic == *head.topic && topic.partition == head.partition;
        self.all.get(number).is_some_and(is)
    }
}
