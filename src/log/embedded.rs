//! The log in a directory of this machine: the default engine.
//!
//! ```text
//! LOCK                     one writer (I8)
//! log.meta                 who the log is
//! segments/<first>.log     header · checkpoint · entries …    the newest is appended to, the others are sealed
//! segments/<first>.index   which stretches of a sealed segment hold which topics; made again when missing
//! groups/<name>            how far a consumer group has come
//! ```
//!
//! One thread writes ([`writer`]); readers read files and the tail cache on their callers' threads. `docs/FORMAT.md`
//! describes the bytes.

mod clean;
mod format;
mod fs;
mod groups;
mod index;
mod inspect;
mod lock;
mod options;
mod reader;
mod recover;
mod schemas;
mod segment;
mod shared;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use connector_api::{Batch, BoxFuture, Cursor, Error, LogId, Position, Result};
use tokio::sync::{Semaphore, oneshot};

use crate::log::scan::{Reader, Scan, Wanted};
use crate::log::{Cleaned, Commit, Judge, Log, LogReader, LogStatus, Purged, Subscription, TopicStatus};
use fs::{Disk, Fs, Lock};
use groups::Groups;
pub use inspect::{EntryInfo, SectionInfo, SegmentInfo, inspect, inspect_segment, segments};
pub use options::{Class, Compression, Options, Retentions, Sync};
use reader::EmbeddedJournal;
use recover::Access;
use shared::Shared;
use writer::{Append, Job, Writer};

/// A log in a directory.
#[derive(Debug)]
pub struct Embedded {
    shared: Arc<Shared>,
    options: Options,
    /// Missing when the log is open for reading only.
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Writing {
    jobs: Sender<Job>,
    /// Room in the queue, in units of [`ROOM_UNIT`] bytes.
    room: Arc<Semaphore>,
    room_max: u32,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// One cleaning or purge at a time.
    cleaning: Arc<Mutex<()>>,
    /// The lock on the directory, held until nothing of this log writes there any more (I8).
    lock: RwLock<Option<Box<dyn Lock>>>,
}

/// What room in the queue is counted in; a batch takes at least one, so their number is bounded too.
const ROOM_UNIT: usize = 1 << 10;

impl Embedded {
    /// Opens the log in `options.path` for writing, and makes it when the directory is empty or missing. Reads the newest
    /// segment, cuts a torn tail (I6), and aborts transactions that a crash left unfinished.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when another process has it open (I8), or it was written by a later version;
    /// [`connector_api::Kind::Corrupt`] with file and byte when something is damaged that no crash can have damaged.
    pub fn open(options: Options) -> Result<Arc<Embedded>> {
        Self::open_on(Arc::new(Disk), options)
    }

    fn open_on(fs: Arc<dyn Fs>, options: Options) -> Result<Arc<Embedded>> {
        let recovered = recover::open(fs.clone(), &options.path, Access::Write)?;
        let (shared, state, mut active) = Shared::new(fs, &options, recovered)?;
        let (shared, lock) = (Arc::new(shared), active.lock.take());
        let (jobs, queue) = std::sync::mpsc::channel();
        let mut writer = Writer::new(shared.clone(), queue, options.clone(), state, active);
        writer.abort_unfinished()?;
        let room_max = options.queue_bytes.div_ceil(ROOM_UNIT).clamp(1, 1 << 28) as u32;
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|error| Error::io(format!("start thread {name:?}"), error))
        };
        let flusher = shared.clone();
        let threads = vec![
            spawn("log-groups", Box::new(move || flusher.groups.run()))?,
            spawn("log-writer", Box::new(move || writer.run()))?,
        ];
        let writing = Writing {
            jobs,
            room: Arc::new(Semaphore::new(room_max as usize)),
            room_max,
            threads: Mutex::new(threads),
            cleaning: Arc::default(),
            lock: RwLock::new(lock),
        };
        Ok(Arc::new(Embedded { shared, options, writing: Some(writing) }))
    }

    /// Opens the log in `path` for reading what is there now. Takes no lock and changes nothing (I6): safe beside a
    /// running writer, of which it sees what was written before the call. Appends and commits of groups are refused.
    ///
    /// # Errors
    /// As [`Embedded::open`], and [`connector_api::Kind::Config`] when there is no log.
    pub fn open_read_only(path: &Path) -> Result<Arc<Embedded>> {
        let fs: Arc<dyn Fs> = Arc::new(Disk);
        let recovered = recover::open(fs.clone(), path, Access::Read)?;
        let options = Options::new(path);
        let (shared, ..) = Shared::new(fs, &options, recovered)?;
        Ok(Arc::new(Embedded { shared: Arc::new(shared), options, writing: None }))
    }

    fn writing(&self) -> Result<&Writing> {
        self.writing.as_ref().ok_or_else(|| Error::config("write log: it is open for reading only"))
    }

    fn stop(&self) -> Option<oneshot::Receiver<Result<()>>> {
        let (reply, done) = oneshot::channel();
        self.writing.as_ref()?.jobs.send(Job::Stop(reply)).ok().map(|()| done)
    }

    /// Lets cleaning come to an end, and no new one begin.
    fn end_cleaning(&self) {
        let Some(writing) = &self.writing else { return };
        self.shared.closing.store(true, SeqCst);
        drop(writing.cleaning.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The last steps, after the writer was told to stop. The lock goes when nothing is left to write (I8).
    fn finish(&self) -> Result<()> {
        let Some(writing) = &self.writing else { return Ok(()) };
        self.join(writing);
        let lock = writing.lock.write().unwrap_or_else(PoisonError::into_inner).take();
        if lock.is_some() { self.shared.groups.flush() } else { Ok(()) }
    }

    /// Does something with groups while the log is open.
    fn with_groups(&self, act: impl FnOnce(&Groups) -> Result<()>) -> Result<()> {
        let lock = self.writing()?.lock.read().unwrap_or_else(PoisonError::into_inner);
        match *lock {
            Some(_) => act(&self.shared.groups),
            None => Err(Error::transient("commit group: the log is closed")),
        }
    }

    /// Runs work that rewrites segments, when no other does, on a thread of its own: it is long work on files that must not
    /// hold up a runtime, and it goes on when the call is dropped.
    async fn alone<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Shared, &Options, &Sender<Job>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let writing = self.writing()?;
        let (shared, options) = (self.shared.clone(), self.options.clone());
        let (jobs, cleaning) = (writing.jobs.clone(), writing.cleaning.clone());
        let (reply, done) = oneshot::channel();
        let run = move || {
            let _one = cleaning.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = reply.send(work(&shared, &options, &jobs));
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(run);
        started.map_err(|error| Error::io(format!("start thread {name:?}"), error))?;
        let ended = || Err(Error::transient("rewrite segments: the work ended before it was done"));
        done.await.unwrap_or_else(|_| ended())
    }

    fn join(&self, writing: &Writing) {
        self.shared.groups.stop();
        for thread in writing.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // The thread's panic, if any, was printed when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.end_cleaning();
        self.stop();
        if let Err(error) = self.finish() {
            tracing::warn!(%error, "offsets of consumer groups not written");
        }
    }
}

fn stopped() -> Error {
    Error::transient("append: the log is closed")
}

impl Log for Embedded {
    fn id(&self) -> LogId {
        self.shared.id
    }

    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Commit>> {
        Box::pin(async move {
            let writing = self.writing()?;
            let cost = batch.len().div_ceil(ROOM_UNIT).clamp(1, writing.room_max as usize) as u32;
            let room = writing.room.clone().acquire_many_owned(cost).await.map_err(|_| stopped())?;
            let (reply, durable) = oneshot::channel();
            let seen = self.shared.failures_seen(&batch.producer);
            let append = Append { batch, reply, seen, accepted: Instant::now(), _room: room };
            writing.jobs.send(Job::Append(append)).map_err(|_| stopped())?;
            let commit: Commit = Box::pin(async move {
                match durable.await {
                    Ok(Ok(sequence)) => Ok(sequence),
                    // The rest of a failure counts it as seen when it is dropped, here.
                    Ok(Err(failure)) => Err(failure.error),
                    Err(_) => Err(stopped()),
                }
            });
            Ok(commit)
        })
    }

    fn position(&self, producer: &str) -> Option<Position> {
        self.shared.state().positions.get(producer).cloned()
    }

    fn subscribe(&self, subscription: Subscription, cursor: Cursor) -> Result<Box<dyn LogReader>> {
        crate::log::check_cursor(self.shared.id, &cursor)?;
        let journal = EmbeddedJournal::new(self.shared.clone());
        let scan = Scan::new(journal, self.shared.id, Wanted::new(subscription, cursor));
        Ok(Box::new(Reader::new(scan, self.shared.published.subscribe())))
    }

    fn topics(&self) -> Vec<TopicStatus> {
        crate::log::topic_status(&self.shared.state())
    }

    fn commit_group(&self, group: &str, cursor: &Cursor) -> Result<()> {
        crate::log::check_cursor(self.shared.id, cursor)?;
        self.with_groups(|groups| groups.commit(group, cursor))
    }

    fn register_group(&self, group: &str, subscription: &Subscription) -> Result<()> {
        self.with_groups(|groups| groups.register(group, subscription))
    }

    fn groups(&self) -> BTreeMap<String, Cursor> {
        self.shared.groups.all().into_iter().map(|(name, group)| (name, group.cursor)).collect()
    }

    fn forget_group(&self, group: &str) -> Result<()> {
        self.with_groups(|groups| groups.forget(group))
    }

    fn clean(&self) -> BoxFuture<'_, Result<Cleaned>> {
        Box::pin(self.alone("log-clean", clean::clean))
    }

    fn purge(&self, judge: Box<dyn Judge>) -> BoxFuture<'_, Result<Purged>> {
        let purge = |shared: &Shared, options: &Options, jobs: &Sender<Job>| {
            clean::purge::purge(shared, options, jobs, judge)
        };
        Box::pin(self.alone("log-purge", purge))
    }

    fn status(&self) -> LogStatus {
        let (segments, bytes) = self.shared.size();
        let counters = &self.shared.counters;
        LogStatus {
            engine: "embedded",
            segments,
            bytes,
            appends: counters.appends.load(Relaxed),
            fsyncs: counters.fsyncs.load(Relaxed),
            append_us_sum: counters.append_us.load(Relaxed),
            append_count: counters.appends.load(Relaxed),
            poisoned: self.shared.poison(),
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.end_cleaning();
            let closed = match self.stop() {
                Some(done) => done.await.unwrap_or(Ok(())),
                None => Ok(()),
            };
            self.finish().and(closed)
        })
    }
}
