//! Cleaning: what retention and compaction allow to go is taken out of sealed segments, each rewritten into a smaller file
//! of the same name. Offsets never move, the newest segment is never touched, and a crash at any step loses nothing:
//!
//! - A file is replaced as a whole. What is dropped is superseded by records that stay, or was never visible, or is
//!   below an `earliest` that is durable before the first byte goes.
//! - Newer segments are rewritten before older ones, so that a record which does not stand alone never outlives the
//!   record that it builds on.
//! - A tombstone goes only in a run that finds nothing older of its key, and that every registered group has passed.

mod compact;
mod limits;
mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
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

/// Which records of a section go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Drops {
    All,
    /// By their place in the section.
    Some(Vec<Action>),
}

/// What becomes of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Keep,
    /// A moved tombstone whose first half goes: from now on it stands for itself, and sinks delete by it.
    Settle,
    Drop,
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
        let fresh = || Drops::Some(vec![Action::Keep; count]);
        let drops = self.drops.entry((sequence, section)).or_insert_with(fresh);
        if let Drops::Some(which) = drops
            && let Some(known) = which.get_mut(record)
        {
            *known = action.max(*known);
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
    let mut plans: BTreeMap<u64, Plan> = run.sealed.iter().map(|first| (*first, Plan::default())).collect();
    let earliest = limits::plan(&run, &mut plans)?;
    compact::plan(&run, &mut plans)?;
    let mut fates = Vec::new();
    let mut gone: BTreeMap<TopicPartition, u64> = BTreeMap::new();
    for first in &run.sealed {
        let plan = plans.entry(*first).or_default();
        fates.push((*first, run.judge(*first, plan, &mut gone)?));
    }
    run.announce(jobs, earliest, gone)?;
    run.execute(&fates, &plans)
}

/// Asks the writer, and waits.
fn ask(jobs: &Sender<Job>, job: impl FnOnce(oneshot::Sender<Result<()>>) -> Job) -> Result<()> {
    let closed = || Error::transient("clean log: it is closed");
    let (reply, done) = oneshot::channel();
    jobs.send(job(reply)).map_err(|_| closed())?;
    done.blocking_recv().unwrap_or_else(|_| Err(closed()))
}

impl Run<'_> {
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

    fn open(&self, first: u64) -> Result<(Segment, u64)> {
        let segment = Segment::open(&*self.shared.fs, &self.shared.path(first), self.shared.id, first)?;
        let limit = segment.len()?;
        Ok((segment, limit))
    }

    /// Whether a plan is worth a rewrite, and whether anything is left; adds up what goes by topic-partition.
    fn judge(&self, first: u64, plan: &Plan, gone: &mut BTreeMap<TopicPartition, u64>) -> Result<Fate> {
        let (mut segment, limit) = self.open(first)?;
        let (mut dropped, mut live) = (0, false);
        let mut sums: BTreeMap<TopicPartition, u64> = BTreeMap::new();
        each_batch(&mut segment, limit, |_, directory| {
            for (number, head) in directory.sections.iter().enumerate() {
                let drops = plan.drops.get(&(directory.sequence, number));
                let share = match drops {
                    None => 0,
                    Some(Drops::All) => head.stored,
                    Some(Drops::Some(which)) => {
                        let records = which.iter().filter(|action| **action == Action::Drop).count() as u64;
                        head.stored * records / (which.len() as u64).max(1)
                    }
                };
                live |= !drops.is_some_and(Drops::is_all);
                dropped += share;
                if share > 0 {
                    let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
                    *sums.entry(topic).or_default() += share;
                }
            }
            // The end of a transaction that began in an older segment: without it that one would never be seen.
            live |= directory.ends_transaction() && directory.first < first;
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
        if trims.is_empty() {
            return Ok(());
        }
        ask(jobs, |reply| Job::Trim(trims, reply))
    }

    fn execute(&self, fates: &[(u64, Fate)], plans: &BTreeMap<u64, Plan>) -> Result<Cleaned> {
        let mut cleaned = Cleaned::default();
        for (first, _) in fates.iter().rev().filter(|(_, fate)| *fate == Fate::Rewritten) {
            let Some(plan) = plans.get(first) else { continue };
            let (before, after) = rewrite::rewrite(self, *first, plan)?;
            self.shared.segments_mut().sealed.insert(*first, after);
            cleaned.segments_rewritten += 1;
            cleaned.bytes_freed += before.saturating_sub(after);
        }
        for (first, _) in fates.iter().filter(|(_, fate)| *fate == Fate::Deleted) {
            cleaned.bytes_freed += self.delete(*first)?;
            cleaned.segments_deleted += 1;
        }
        Ok(cleaned)
    }

    fn delete(&self, first: u64) -> Result<u64> {
        let path = self.shared.path(first);
        let bytes = self.shared.segments_mut().sealed.remove(&first).unwrap_or_default();
        let fs = &self.shared.fs;
        let removed = fs.remove(&path).and_then(|()| fs.sync_dir(&self.shared.dir));
        removed.map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
        // Made again at will; one that stays behind is never read.
        let _ = fs.remove(&index::path(&path));
        Ok(bytes)
    }
}

impl Drops {
    fn is_all(&self) -> bool {
        match self {
            Drops::All => true,
            Drops::Some(which) => which.iter().all(|action| *action == Action::Drop),
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
