//! The log without files, for tests and trials: the same order, visibility and errors, and nothing survives the process.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use connector_api::{Batch, BoxFuture, Cursor, Error, LogId, Position, Result, Section};
use tokio::sync::watch;

use super::edits::{Action, Edits};
use super::purge::{Judge, Judged, Purged};
use super::scan::{Found, Journal, Reader, Scan, Stored, Wanted};
use super::state::{Note, State, Trim};
use super::{Cleaned, Commit, Log, LogReader, LogStatus, Subscription, TopicStatus};

/// A log in memory. It keeps everything until it is dropped: [`Log::clean`] removes nothing.
#[derive(Debug)]
pub struct Memory {
    id: LogId,
    inner: Arc<Mutex<Inner>>,
    /// One purge at a time.
    purging: Mutex<()>,
    published: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    batches: Vec<Arc<Stored>>,
    groups: BTreeMap<String, Cursor>,
    closed: bool,
}

impl Memory {
    /// An empty log with an identity of its own.
    #[expect(clippy::new_without_default, reason = "two logs of the same type are never equal")]
    pub fn new() -> Memory {
        // Seeded by the system; unpredictable is not needed here, different is.
        let half = || u128::from(RandomState::new().build_hasher().finish());
        let id = LogId(half() << 64 | half());
        Memory { id, inner: Arc::default(), purging: Mutex::default(), published: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// The judge is asked about what is there now, without holding up anybody; then all is changed at once.
    fn purge_now(&self, mut judge: Box<dyn Judge>) -> Result<Purged> {
        let _one = lock(&self.purging);
        let (batches, state) = {
            let inner = self.lock();
            if inner.closed {
                return Err(Error::transient("purge log: it is closed"));
            }
            (inner.batches.clone(), inner.state.clone())
        };
        let mut wanted = BTreeMap::new();
        for (topic, known) in &state.topics {
            if judge.wants(topic) {
                wanted.insert(topic.clone(), known.next);
            }
        }
        let (mut purged, mut changed) = (Purged::default(), Vec::new());
        for stored in batches.iter().rev() {
            let aborted =
                state.aborted.iter().any(|aborted| aborted.covers(&stored.producer, stored.sequence));
            let mut sections = Vec::with_capacity(stored.sections.len());
            for section in stored.sections.iter().rev() {
                if !wanted.contains_key(&section.topic) {
                    sections.push(section.clone());
                } else if aborted {
                    purged.records_dropped += u64::from(section.count);
                } else {
                    sections.extend(purge_section(&mut *judge, section, stored.sequence, &mut purged)?);
                }
            }
            sections.reverse();
            changed.push(Arc::new(Stored { sections, ..(**stored).clone() }));
        }
        purged.ends = wanted.into_iter().collect();
        let mut inner = self.lock();
        for stored in changed {
            inner.exchange(stored, &mut purged);
        }
        Ok(purged)
    }
}

fn lock<T>(inner: &Mutex<T>) -> MutexGuard<'_, T> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left of a section.
fn purge_section(
    judge: &mut dyn Judge,
    section: &Section,
    sequence: u64,
    purged: &mut Purged,
) -> Result<Option<Section>> {
    let records = section.records().collect::<Result<Vec<_>>>()?;
    purged.bytes_read += section.payload.len() as u64;
    let mut judged = Judged::of(judge, section, &records, sequence)?;
    for (record, _) in std::mem::take(&mut judged.ends) {
        judged.edits.get_or_insert_with(|| Edits::new(records.len())).act(record, Action::Drop);
    }
    let Some(edits) = judged.edits else { return Ok(Some(section.clone())) };
    purged.records_dropped += edits.count(Action::Drop) as u64;
    purged.records_replaced += edits.count(Action::Replace) as u64;
    let (payload, count) = edits.apply(&section.payload, section.base)?;
    Ok((count > 0).then(|| Section { payload: payload.into(), count, ..section.clone() }))
}

impl Inner {
    fn append(&mut self, batch: Batch) -> Result<u64> {
        if self.closed {
            return Err(Error::transient("append: the log is closed"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for note in self.state.admit(batch, now.as_micros() as i64)? {
            if let Note::Batch { stored, .. } = note {
                self.batches.push(stored);
            }
        }
        Ok(self.state.next - 1)
    }

    /// Puts a batch in place of the one with its sequence.
    fn exchange(&mut self, stored: Arc<Stored>, purged: &mut Purged) {
        let Some(known) = self.batches.get_mut(stored.sequence as usize) else { return };
        let bytes = |stored: &Stored| {
            let mut bytes: BTreeMap<_, u64> = BTreeMap::new();
            for section in &stored.sections {
                *bytes.entry(section.topic.clone()).or_default() += section.payload.len() as u64;
            }
            bytes
        };
        let (before, after) = (bytes(known), bytes(&stored));
        *known = stored;
        for (topic, before) in before {
            let bytes = before.saturating_sub(after.get(&topic).copied().unwrap_or_default());
            purged.bytes_freed += bytes;
            let earliest = self.state.topics.get(&topic).map_or(0, |known| known.earliest);
            self.state.apply(&Note::Trim(vec![Trim { topic, earliest, bytes }]));
        }
    }
}

impl Log for Memory {
    fn id(&self) -> LogId {
        self.id
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Commit>> {
        Box::pin(async move {
            // A refused batch is refused here, so that the producer's next one cannot overtake it.
            let sequence = self.lock().append(batch)?;
            self.published.send_modify(|end| *end = (*end).max(sequence + 1));
            let commit: Commit = Box::pin(std::future::ready(Ok(sequence)));
            Ok(commit)
        })
    }

    fn position(&self, producer: &str) -> Option<Position> {
        self.lock().state.positions.get(producer).cloned()
    }

    fn subscribe(&self, subscription: Subscription, cursor: Cursor) -> Result<Box<dyn LogReader>> {
        super::check_cursor(self.id, &cursor)?;
        let journal = MemoryJournal { inner: self.inner.clone() };
        let scan = Scan::new(journal, self.id, Wanted::new(subscription, cursor));
        Ok(Box::new(Reader::new(scan, self.published.subscribe())))
    }

    fn topics(&self) -> Vec<TopicStatus> {
        super::topic_status(&self.lock().state)
    }

    fn commit_group(&self, group: &str, cursor: &Cursor) -> Result<()> {
        super::check_cursor(self.id, cursor)?;
        self.lock().groups.insert(group.to_owned(), cursor.clone());
        Ok(())
    }

    fn register_group(&self, group: &str, _: &Subscription) -> Result<()> {
        self.lock().groups.entry(group.to_owned()).or_insert_with(|| Cursor::start(self.id));
        Ok(())
    }

    fn groups(&self) -> BTreeMap<String, Cursor> {
        self.lock().groups.clone()
    }

    fn forget_group(&self, group: &str) -> Result<()> {
        self.lock().groups.remove(group);
        Ok(())
    }

    fn clean(&self) -> BoxFuture<'_, Result<Cleaned>> {
        Box::pin(std::future::ready(Ok(Cleaned::default())))
    }

    fn purge(&self, judge: Box<dyn Judge>) -> BoxFuture<'_, Result<Purged>> {
        Box::pin(async move { self.purge_now(judge) })
    }

    fn status(&self) -> LogStatus {
        let inner = self.lock();
        LogStatus {
            engine: "memory",
            bytes: inner.batches.iter().map(|batch| batch.weight() as u64).sum(),
            appends: inner.batches.len() as u64,
            ..LogStatus::default()
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.lock().closed = true;
        self.published.send_modify(|_| {});
        Box::pin(std::future::ready(Ok(())))
    }
}

struct MemoryJournal {
    inner: Arc<Mutex<Inner>>,
}

impl Journal for MemoryJournal {
    fn end(&self) -> u64 {
        lock(&self.inner).state.next
    }

    fn start(&mut self, _: &mut Wanted) -> Result<u64> {
        Ok(0)
    }

    fn find(&mut self, from: u64, until: u64, wanted: &mut Wanted) -> Result<Option<Found>> {
        let inner = lock(&self.inner);
        let range = from as usize..(until as usize).min(inner.batches.len());
        Ok(inner.batches.get(range).unwrap_or_default().iter().find_map(|stored| wanted.find(stored)))
    }

    fn closed(&self) -> bool {
        lock(&self.inner).closed
    }

    fn behind(&self, wanted: &Wanted) -> bool {
        super::behind(&lock(&self.inner).state, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_conforms() {
        crate::log::conformance::run(async || Arc::new(Memory::new()) as Arc<dyn Log>).await;
    }
}
