//! Cleaning: what retention and compaction allow to go is taken out of sealed segments, each rewritten into a smaller file
//! of the same name. Offsets never move, the newest segment is never touched, and a crash at any step loses nothing:
//!
//! - A file is replaced as a whole. What is dropped is superseded by records that stay, or was never visible, or is
//!   below an `earliest` that is durable before the first byte goes.
//! - Newer segments are rewritten or deleted before older ones, so that a record which does not stand alone never outlives the
//!   record that it builds on.
//! - For the same reason no reader gets the older state of a batch from memory, once it may have been given the newer state of
//!   an older one from a file.
//! - A tombstone goes only in a run that finds nothing older of its key, and that every registered group has passed.
//!
//! [`purge`] works with the same parts, and takes what it is told to.

mod compact;
mod limits;
pub(super) mod purge;
mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::Sender;

use connector_api::{Error, Result, TopicPartition};
use tokio::sync::oneshot;

use super::format::{Directory, EntryKind};
use super::groups::Group;
use super::index;
use super::options::{Class, Options};
use super::segment::{Entry, Segment};
use super::shared::Shared;
use super::writer::{Job, now_us};
use crate::log::edits::{Action, Edits};
use crate::log::state::{State, Trim};
use crate::log::{Cleaned, Retention};

/// What a run works with. `state` is durable, and covers everything in `sealed`.
struct Run<'a> {
    shared: &'a Shared,
    options: &'a Options,
    state: State,
    groups: BTreeMap<String, Group>,
    /// First sequences of the segments that may be cleaned, oldest first.
    sealed: Vec<u64>,
    now_us: i64,
}

/// Which records of a section go, or change.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Drops {
    All,
    Some(Edits),
}

/// What goes from one segment.
#[derive(Debug, Default)]
struct Plan {
    /// By batch sequence and number of the section in the batch.
    drops: HashMap<(u64, usize), Drops>,
    /// A record that does not stand alone goes: the segment must be rewritten, or one that it builds on may not go either.
    must: bool,
}

impl Plan {
    fn drop_all(&mut self, sequence: u64, section: usize) {
        self.drops.insert((sequence, section), Drops::All);
    }

    fn act(&mut self, sequence: u64, section: usize, record: usize, count: usize, action: Action) {
        let fresh = || Drops::Some(Edits::new(count));
        if let Drops::Some(edits) = self.drops.entry((sequence, section)).or_insert_with(fresh) {
            edits.act(record, action);
        }
    }
}

/// What becomes of one segment.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Rewritten,
    Deleted,
}

/// How much of a batch counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Visible,
    /// Its transaction may still end: it supersedes nothing, and nothing of it goes.
    Unfinished,
    /// It never was visible: all of it goes.
    Aborted,
}

/// One run over all sealed segments.
pub(super) fn clean(shared: &Shared, options: &Options, jobs: &Sender<Job>) -> Result<Cleaned> {
    // The list first, the state second, the fsync last: so the state covers the segments, and the fsync the state.
    let sealed = shared.segments().sealed.keys().copied().collect();
    let state = shared.state().clone();
    ask(jobs, Job::Sync)?;
    let groups = shared.groups.all();
    let run = Run { shared, options, state, groups, sealed, now_us: now_us() };
    let (limited, dirty) = (run.has_limits(), run.is_dirty());
    if !limited && !dirty {
        return Ok(Cleaned::default());
    }
    let mut plans: BTreeMap<u64, Plan> = run.sealed.iter().map(|first| (*first, Plan::default())).collect();
    let earliest = if limited { limits::plan(&run, &mut plans)? } else { BTreeMap::new() };
    if dirty {
        compact::plan(&run, &mut plans)?;
    }
    let mut fates = Vec::new();
    let mut gone: BTreeMap<TopicPartition, u64> = BTreeMap::new();
    for first in &run.sealed {
        let plan = plans.entry(*first).or_default();
        fates.push((*first, run.judge(*first, plan, &mut gone)?));
    }
    run.announce(jobs, earliest, gone)?;
    let cleaned = run.execute(&fates, &plans)?;
    if let (true, Some(newest)) = (dirty, run.sealed.last()) {
        shared.compacted.store(*newest, SeqCst);
    }
    Ok(cleaned)
}

fn closed() -> Error {
    Error::transient("rewrite segments: the log is closed")
}

/// Asks the writer, and waits.
fn ask(jobs: &Sender<Job>, job: impl FnOnce(oneshot::Sender<Result<()>>) -> Job) -> Result<()> {
    let (reply, done) = oneshot::channel();
    jobs.send(job(reply)).map_err(|_| closed())?;
    done.blocking_recv().unwrap_or_else(|_| Err(closed()))
}

impl Run<'_> {
    /// Whether limits or aborted transactions may remove something.
    fn has_limits(&self) -> bool {
        let limited = |topic| matches!(self.retention(topic), Retention::Limits { age_s, bytes } if age_s.is_some() || bytes.is_some());
        !self.state.aborted.is_empty() || self.state.topics.keys().any(limited)
    }

    /// Whether enough was sealed since the last compaction that reading everything again is worth it.
    fn is_dirty(&self) -> bool {
        let compacted = self.shared.compacted.load(SeqCst);
        let segments = self.shared.segments();
        let fresh = segments.sealed.iter().filter(|(first, _)| **first > compacted || compacted == 0);
        let (fresh, all) =
            (fresh.map(|(_, bytes)| bytes).sum::<u64>(), segments.sealed.values().sum::<u64>());
        fresh.saturating_mul(100) >= all.saturating_mul(self.options.clean_percent)
    }

    fn class(&self, topic: &TopicPartition) -> Class {
        match self.state.topics.get(topic).and_then(|known| known.schema.as_ref()) {
            Some((_, schema)) if schema.key.is_empty() => Class::KeylessTable,
            Some(_) => Class::Table,
            None => Class::Events,
        }
    }

    fn retention(&self, topic: &TopicPartition) -> &Retention {
        self.options.retention.of(&topic.topic, self.class(topic))
    }

    /// The offset that every group that cares has passed.
    fn passed(&self, topic: &TopicPartition) -> u64 {
        self.groups.values().filter_map(|group| group.passed(topic)).min().unwrap_or(u64::MAX)
    }

    fn standing(&self, directory: &Directory<'_>) -> Standing {
        if !directory.continued && !directory.continues {
            return Standing::Visible;
        }
        let (producer, sequence) = (directory.producer, directory.sequence);
        if self.state.aborted.iter().any(|aborted| aborted.covers(producer, sequence)) {
            return Standing::Aborted;
        }
        let open = self.state.open.get(producer).is_some_and(|open| sequence >= open.first);
        if open { Standing::Unfinished } else { Standing::Visible }
    }

    /// Fails when the log is about to be closed: its lock waits for the end of this run (I8).
    fn go_on(&self) -> Result<()> {
        if self.shared.closing.load(SeqCst) { Err(closed()) } else { Ok(()) }
    }

    fn open(&self, first: u64) -> Result<(Segment, u64)> {
        self.go_on()?;
        let segment = Segment::open(&*self.shared.fs, &self.shared.path(first), self.shared.id, first)?;
        let limit = segment.len()?;
        Ok((segment, limit))
    }

    /// Whether a plan is worth a rewrite, and whether anything is left; adds up what goes by topic-partition.
    fn judge(&self, first: u64, plan: &Plan, gone: &mut BTreeMap<TopicPartition, u64>) -> Result<Fate> {
        let (mut segment, limit) = self.open(first)?;
        let oldest = self.sealed.first().copied().unwrap_or(first);
        let (mut dropped, mut live) = (0, false);
        let mut sums: BTreeMap<TopicPartition, u64> = BTreeMap::new();
        each_batch(&mut segment, limit, |_, directory| {
            for (number, head) in directory.sections.iter().enumerate() {
                let drops = plan.drops.get(&(directory.sequence, number));
                let parts = match drops {
                    None => (0, 1),
                    Some(Drops::All) => (1, 1),
                    Some(Drops::Some(edits)) => {
                        (edits.count(Action::Drop) as u64, (edits.len() as u64).max(1))
                    }
                };
                let share = |bytes: u64| bytes.saturating_mul(parts.0) / parts.1;
                live |= !drops.is_some_and(Drops::is_all);
                dropped += share(head.stored);
                if parts.0 > 0 {
                    let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
                    // A topic's bytes are counted as they are before compression.
                    *sums.entry(topic).or_default() += share(head.raw);
                }
            }
            // The end of a transaction that began in an older segment: without it that one would never be seen.
            live |= directory.ends_transaction() && directory.first < first && oldest < first;
        })?;
        let worth = dropped > 0 && dropped * 100 >= self.options.clean_percent * limit;
        if live && !worth && !plan.must {
            return Ok(Fate::Stays);
        }
        sums.into_iter().for_each(|(topic, bytes)| *gone.entry(topic).or_default() += bytes);
        Ok(if live { Fate::Rewritten } else { Fate::Deleted })
    }

    /// Makes durable what will be gone before it goes (I5).
    fn announce(
        &self,
        jobs: &Sender<Job>,
        mut earliest: BTreeMap<TopicPartition, u64>,
        gone: BTreeMap<TopicPartition, u64>,
    ) -> Result<()> {
        let mut trims = Vec::new();
        for (topic, bytes) in gone {
            let known = self.state.topics.get(&topic).map_or(0, |known| known.earliest);
            let earliest = earliest.remove(&topic).unwrap_or(known);
            trims.push(Trim { topic, earliest, bytes });
        }
        trims.extend(earliest.into_iter().map(|(topic, earliest)| Trim { topic, earliest, bytes: 0 }));
        // A segment that was not worth a rewrite is met again with every run: what is known is not written again.
        let known = |topic: &TopicPartition| self.state.topics.get(topic).map_or(0, |known| known.earliest);
        trims.retain(|trim| trim.bytes > 0 || trim.earliest > known(&trim.topic));
        if trims.is_empty() {
            return Ok(());
        }
        ask(jobs, |reply| Job::Trim(trims, reply))
    }

    fn execute(&self, fates: &[(u64, Fate)], plans: &BTreeMap<u64, Plan>) -> Result<Cleaned> {
        let mut cleaned = Cleaned::default();
        self.forget_in_memory(fates);
        // Newest first. What limits leave in older ones for a moment, or after a crash, no reader is given: it is below
        // `earliest`.
        for (first, fate) in fates.iter().rev() {
            self.go_on()?;
            match (fate, plans.get(first)) {
                (Fate::Rewritten, Some(plan)) => {
                    cleaned.bytes_freed += self.rewrite(*first, plan)?;
                    cleaned.segments_rewritten += 1;
                }
                (Fate::Deleted, _) => {
                    cleaned.bytes_freed += self.delete(*first)?;
                    cleaned.segments_deleted += 1;
                }
                _ => {}
            }
        }
        Ok(cleaned)
    }

    /// Takes what will be rewritten out of the tail cache, which holds it as it was. A reader that comes from rewritten files
    /// would meet a record there that does not stand alone, and whose older ones it was not given.
    fn forget_in_memory(&self, fates: &[(u64, Fate)]) {
        let Some((newest, _)) = fates.iter().rev().find(|(_, fate)| *fate != Fate::Stays) else { return };
        let end = self.shared.locate(*newest).next.unwrap_or(u64::MAX);
        self.shared.tail().forget_below(end);
    }

    /// Writes a segment again, or removes it when nothing is left, and gives how many bytes are free now.
    fn rewrite(&self, first: u64, plan: &Plan) -> Result<u64> {
        let (before, after) = rewrite::rewrite(self, first, plan)?;
        let Some(after) = after else { return self.delete(first) };
        self.shared.segments_mut().sealed.insert(first, after);
        Ok(before.saturating_sub(after))
    }

    fn delete(&self, first: u64) -> Result<u64> {
        let path = self.shared.path(first);
        let failed = |error| Error::io(format!("remove {}", path.display()), error);
        let bytes = self.shared.segments_mut().sealed.remove(&first).unwrap_or_default();
        let fs = &self.shared.fs;
        match fs.remove(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // The file is there still, and so is what it holds: a tombstone for that must not go.
            Err(error) => {
                self.shared.segments_mut().sealed.insert(first, bytes);
                return Err(failed(error));
            }
        }
        fs.sync_dir(&self.shared.dir).map_err(failed)?;
        // Made again at will; one that stays behind is never read.
        let _ = fs.remove(&index::path(&path));
        Ok(bytes)
    }
}

impl Drops {
    fn is_all(&self) -> bool {
        match self {
            Drops::All => true,
            Drops::Some(edits) => edits.is_all(),
        }
    }
}

/// Calls `visit` with every batch of a segment: its entry and its directory. Payloads are not read.
fn each_batch(
    segment: &mut Segment,
    limit: u64,
    mut visit: impl FnMut(&Entry, &Directory<'_>),
) -> Result<()> {
    let visited = segment.each_entry(limit, |segment, entry| {
        if entry.head.kind == EntryKind::Batch {
            let directory = segment.directory(entry)?;
            visit(entry, &directory);
        }
        Ok(())
    });
    visited.map_err(|fault| segment.error(fault))
}
