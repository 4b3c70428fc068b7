//! The one thread that writes: it takes what is queued, writes it in one go, fsyncs once, publishes, and resolves commits
//! in order. While an fsync runs, the next group gathers: that is all the batching there is.

mod group;

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use connector_api::{Batch, Error, Kind, Result};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::format::{EntryKind, Header, META_MAX, Salt, encode_checkpoint};
use super::fs::{self, File};
use super::index::{self, Index};
use super::options::{Options, Sync};
use super::recover::{self, CreateError};
use super::shared::{Active, Failure, Opened, Shared};
use crate::log::state::{Aborted, Note, State, Trim};
use group::Group;

/// A group is written when it has this many bytes, also when more is queued.
const GROUP_BYTES: u64 = 8 << 20;

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Job {
    Append(Append),
    /// Makes everything published durable.
    Sync(oneshot::Sender<Result<()>>),
    /// Notes, durably, what cleaning is about to take.
    Trim(Vec<Trim>, oneshot::Sender<Result<()>>),
    /// Seals the segment, if there is a batch in it, so that everything published so far can be rewritten.
    Seal(oneshot::Sender<Result<()>>),
    Stop(oneshot::Sender<Result<()>>),
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Append {
    pub batch: Batch,
    pub reply: oneshot::Sender<Result<u64, Failure>>,
    /// How many failures of this producer's appends it knew of.
    pub seen: u64,
    pub accepted: Instant,
    /// Its room in the queue.
    pub _room: OwnedSemaphorePermit,
}

/// The writer.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    jobs: Receiver<Job>,
    options: Options,
    file: Arc<dyn File>,
    first: u64,
    salt: Salt,
    index: Arc<RwLock<Index>>,
    /// The state after everything taken so far; the shared one is the state after everything published.
    ahead: State,
    /// The byte after the last published entry.
    end: u64,
    /// The byte up to which the file is durable.
    durable: u64,
    /// When the last fsync was.
    synced: Instant,
    /// The segment is sealed, and its successor could not be made yet.
    sealed: bool,
    /// The last entry is a mark.
    marked: bool,
}

pub(super) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        jobs: Receiver<Job>,
        options: Options,
        ahead: State,
        opened: Opened,
    ) -> Writer {
        Writer {
            salt: Salt::new(shared.id, opened.first),
            shared,
            jobs,
            options,
            file: opened.file,
            first: opened.first,
            index: opened.index,
            ahead,
            end: opened.end,
            durable: opened.end,
            synced: Instant::now(),
            sealed: opened.sealed,
            marked: false,
        }
    }

    /// Notes that the transactions which a crash left unfinished will never end.
    pub fn abort_unfinished(&mut self) -> Result<()> {
        let aborted = |(producer, open): (&Arc<str>, &crate::log::state::Open)| {
            Note::Abort(Aborted { producer: producer.clone(), first: open.first, last: open.last })
        };
        let notes: Vec<Note> = self.ahead.open.iter().map(aborted).collect();
        if notes.is_empty() {
            return Ok(());
        }
        self.note(notes)
    }

    /// Writes notes that no append waits for, and makes them durable.
    fn note(&mut self, notes: Vec<Note>) -> Result<()> {
        if let Some(why) = self.shared.poison() {
            return Err(poisoned(&why));
        }
        if self.sealed {
            self.roll()?;
        }
        let mut group = Group::new(self.salt, self.end, self.durable, self.options.compression);
        for note in notes {
            self.ahead.apply(&note);
            group.add(note);
        }
        self.flush(&mut group)?;
        self.sync()
    }

    /// Works until the log is dropped or closed.
    pub fn run(mut self) {
        let stop = loop {
            let Ok(job) = self.jobs.recv() else { break None };
            let mut group = Group::new(self.salt, self.end, self.durable, self.options.compression);
            let mut next = Some(job);
            let mut stop = None;
            while let Some(job) = next {
                match job {
                    Job::Append(append) => self.take(append, &mut group),
                    Job::Sync(reply) => {
                        let _ = reply.send(self.flush(&mut group).and_then(|()| self.sync()));
                    }
                    Job::Trim(trims, reply) => {
                        let _ = self.flush(&mut group);
                        let _ = reply.send(self.note(vec![Note::Trim(trims)]));
                        group = Group::new(self.salt, self.end, self.durable, self.options.compression);
                    }
                    Job::Seal(reply) => {
                        let _ = reply.send(self.flush(&mut group).and_then(|()| self.seal()));
                        group.begin(self.salt, self.end, self.durable);
                    }
                    Job::Stop(reply) => {
                        stop = Some(reply);
                        break;
                    }
                }
                next = self.gather(&group);
            }
            // Whoever waits was told by the group.
            let _ = self.flush(&mut group);
            if let Some(reply) = stop {
                break Some(reply);
            }
        };
        let result = self.finish();
        self.shared.close();
        if let Some(reply) = stop {
            let _ = reply.send(result);
        }
    }

    /// The next job for the group, if it is to grow: what is queued, and with an interval also what comes until the next
    /// fsync is due.
    fn gather(&self, group: &Group) -> Option<Job> {
        if group.len() >= GROUP_BYTES {
            return None;
        }
        let due = match self.options.sync {
            Sync::Always => Duration::ZERO,
            Sync::Interval(interval) => interval.saturating_sub(self.synced.elapsed()),
        };
        if due.is_zero() { self.jobs.try_recv().ok() } else { self.jobs.recv_timeout(due).ok() }
    }

    /// Takes one append into the group, or answers it.
    fn take(&mut self, append: Append, group: &mut Group) {
        let Append { batch, reply, seen, accepted, _room: room } = append;
        let producer = batch.producer.clone();
        let result = self.admit(batch, seen, group);
        let result = result.map_err(|error| self.shared.failed(producer.clone(), error));
        group.wait(group::Waiting { producer, reply, accepted, result, _room: room });
    }

    fn admit(&mut self, batch: Batch, seen: u64, group: &mut Group) -> Result<u64> {
        if let Some(why) = self.shared.poison() {
            return Err(poisoned(&why));
        }
        if self.shared.overtakes(&batch.producer, seen) {
            return Err(overtaken(&batch.producer));
        }
        let size = group.len() + batch.len() as u64;
        // A segment without a batch is never left: the next one would have its name.
        let holds_batches = self.ahead.next > self.first;
        if self.sealed || (holds_batches && self.end + size > self.options.segment_size) {
            self.flush(group)?;
            self.roll()?;
            group.begin(self.salt, self.end, self.durable);
            // The flush may have failed an append that this one follows.
            if self.shared.overtakes(&batch.producer, seen) {
                return Err(overtaken(&batch.producer));
            }
        }
        let notes = self.ahead.admit(batch, now_us())?;
        notes.into_iter().for_each(|note| group.add(note));
        Ok(self.ahead.next - 1)
    }

    /// Writes the group, makes it durable, publishes it, and answers its appends. After an error nothing of
    /// it is in the log.
    fn flush(&mut self, group: &mut Group) -> Result<()> {
        if group.is_empty() {
            group.answer();
            return Ok(());
        }
        if let Err(error) = group.write(&*self.file, self.end) {
            let error = self.retreat(error);
            group.fail(&self.shared, &error);
            group.begin(self.salt, self.end, self.durable);
            return Err(error);
        }
        let end = self.end + group.len();
        self.marked = false;
        // I4: durable first, then visible and acknowledged.
        if let Err(error) = self.sync_to(end) {
            group.fail(&self.shared, &error);
            group.begin(self.salt, self.end, self.durable);
            return Err(error);
        }
        self.end = end;
        self.publish(group);
        group.answer();
        group.begin(self.salt, self.end, self.durable);
        Ok(())
    }

    /// After a write that failed: when the disk is full, takes back what was written of the group and goes on; otherwise
    /// refuses everything from now on (I7).
    fn retreat(&mut self, error: io::Error) -> Error {
        let path = self.shared.path(self.first);
        let taken_back = || self.file.set_len(self.end).and_then(|()| self.file.sync());
        if fs::is_full(&error) && taken_back().is_ok() {
            self.shared.counters.fsyncs.fetch_add(1, Relaxed);
            self.durable = self.end;
            self.ahead = self.shared.state().clone();
            return Error::io(format!("append to {}", path.display()), error);
        }
        let why = format!("append to {}: {error}", path.display());
        self.shared.set_poison(why.clone());
        poisoned(&why)
    }

    /// Makes everything published durable.
    fn sync(&mut self) -> Result<()> {
        match self.shared.poison() {
            Some(why) => Err(poisoned(&why)),
            None if self.durable < self.end => self.sync_to(self.end),
            None => Ok(()),
        }
    }

    fn sync_to(&mut self, end: u64) -> Result<()> {
        let synced = self.file.sync();
        self.shared.counters.fsyncs.fetch_add(1, Relaxed);
        self.synced = Instant::now();
        match synced {
            Ok(()) => {
                self.durable = end;
                Ok(())
            }
            // What the kernel kept of the data after a failed fsync nobody knows: refuse everything (I7).
            Err(error) => {
                let why = format!("fsync {}: {error}", self.shared.path(self.first).display());
                self.shared.set_poison(why.clone());
                Err(poisoned(&why))
            }
        }
    }

    /// Shows readers what the group holds. The wake-up comes last.
    fn publish(&mut self, group: &mut Group) {
        let notes = group.take_notes();
        {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            for (at, note) in &notes {
                match note {
                    Note::Schema { .. } => index.schemas.push(*at),
                    Note::Batch { stored, .. } => {
                        let ends = stored
                            .sections
                            .iter()
                            .map(|section| (&*section.topic.topic, section.topic.partition, section.end()));
                        index.add(*at, stored.sequence, stored.continued && !stored.continues, ends);
                    }
                    _ => {}
                }
            }
        }
        self.shared.segments_mut().active.end = self.end;
        let schemas = notes.iter().filter_map(|(_, note)| match note {
            Note::Schema { id, schema, .. } => Some((*id, schema.clone())),
            _ => None,
        });
        self.shared.schemas().extend(schemas);
        let next = {
            let mut state = self.shared.state_mut();
            notes.iter().for_each(|(_, note)| state.apply(note));
            state.next
        };
        let mut tail = self.shared.tail();
        for (_, note) in notes {
            if let Note::Batch { stored, .. } = note {
                tail.push(stored);
            }
        }
        drop(tail);
        group.count(&self.shared.counters);
        self.shared.published.send_modify(|end| *end = next);
    }

    /// Begins the next segment, unless there is no batch in this one: the next would have its name.
    fn seal(&mut self) -> Result<()> {
        if let Some(why) = self.shared.poison() {
            return Err(poisoned(&why));
        }
        if self.sealed || self.ahead.next > self.first { self.roll() } else { Ok(()) }
    }

    /// Seals the segment and begins the next one.
    fn roll(&mut self) -> Result<()> {
        let mut checkpoint = Vec::new();
        let oldest = self.shared.oldest();
        self.ahead.aborted.retain(|aborted| aborted.last >= oldest);
        encode_checkpoint(&mut checkpoint, &self.ahead, oldest, now_us());
        if checkpoint.len() > META_MAX {
            return Err(too_much_to_know(checkpoint.len()));
        }
        if !self.sealed {
            self.mark(true)?;
            self.sealed = true;
        }
        let header =
            Header { log: self.shared.id, first: self.ahead.next, generation: 0, created_us: now_us() };
        let made = recover::create_segment(&*self.shared.fs, &self.shared.dir, header, &checkpoint);
        let (file, end) = made.map_err(|failed| {
            let context = format!("make segment {}", self.shared.path(header.first).display());
            match failed {
                CreateError::Clean(error) => Error::io(context, error),
                CreateError::Unknown(error) => {
                    let why = format!("{context}: {error}");
                    self.shared.set_poison(why.clone());
                    poisoned(&why)
                }
            }
        })?;
        let old = std::mem::take(&mut self.index);
        {
            let index = old.read().unwrap_or_else(PoisonError::into_inner);
            let path = self.shared.path(self.first);
            index::write(&*self.shared.fs, &path, &index, self.first, 0, self.end);
        }
        self.shared.state_mut().aborted.retain(|aborted| aborted.last >= oldest);
        let mut segments = self.shared.segments_mut();
        segments.sealed.insert(self.first, self.end);
        segments.active = Active { first: header.first, end, index: self.index.clone(), file: file.clone() };
        drop(segments);
        (self.file, self.first, self.salt) = (file, header.first, Salt::new(header.log, header.first));
        (self.end, self.durable, self.sealed, self.marked) = (end, end, false, true);
        Ok(())
    }

    /// Writes a mark: proof that everything before it is durable; `seals` when nothing comes after it.
    fn mark(&mut self, seals: bool) -> Result<()> {
        self.sync()?;
        let mut group = Group::new(self.salt, self.end, self.durable, self.options.compression);
        group.put(EntryKind::Mark, |out| out.push(u8::from(seals)));
        if let Err(error) = group.write(&*self.file, self.end) {
            return Err(self.retreat(error));
        }
        let end = self.end + group.len();
        self.sync_to(end)?;
        (self.end, self.marked) = (end, true);
        self.shared.segments_mut().active.end = end;
        Ok(())
    }

    /// The last thing before the end: everything durable, and a mark that says so.
    fn finish(&mut self) -> Result<()> {
        self.sync()?;
        if self.marked || self.sealed {
            return Ok(());
        }
        match self.mark(false) {
            // Without room for the mark all data is durable still.
            Err(error) if error.kind() == Kind::Transient => Ok(()),
            other => other,
        }
    }
}

fn overtaken(producer: &str) -> Error {
    Error::transient(format!(
        "append batch of {producer:?}: an earlier batch of it failed and its failure was not taken yet"
    ))
}

/// Better no next segment than one that no program opens.
fn too_much_to_know(bytes: usize) -> Error {
    Error::data(format!(
        "make segment: all topics with their schemas, and all positions, take {bytes} bytes, at most {META_MAX}"
    ))
    .with_remedy("take tables that nobody needs out of the sources' `tables`, and begin a new log.path")
}

/// The error of every append after a failed write or fsync (I7).
fn poisoned(why: &str) -> Error {
    Error::corrupt(format!("append: the log refuses everything since a write failed ({why})")).with_remedy(
        "restart millstream: opening the log checks what is on the disk; look at the disk's health first (dmesg)",
    )
}
