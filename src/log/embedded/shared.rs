//! What the writer, the readers and cleaning share.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use connector_api::{Error, LogId, Result, Schema};
use tokio::sync::watch;

use super::fs::{File, Fs, Lock};
use super::groups::Groups;
use super::index::Index;
use super::options::Options;
use super::recover::Recovered;
use super::segment;
use super::tail::Tail;
use crate::log::state::State;

/// The shared part of an open log. No lock is held while another is taken, and none over a file operation.
#[derive(Debug)]
pub(super) struct Shared {
    pub fs: Arc<dyn Fs>,
    /// The directory of segments.
    pub dir: PathBuf,
    pub id: LogId,
    pub groups: Groups,
    /// Sequence after the last batch that readers may see.
    pub published: watch::Sender<u64>,
    pub closed: AtomicBool,
    /// Another process may write: the files change without notice.
    pub read_only: bool,
    /// Cleaning ends at its next step.
    pub closing: AtomicBool,
    pub counters: Counters,
    /// First sequence of the newest segment that compaction looked at; 0 before its first run.
    pub compacted: AtomicU64,
    /// How often records were purged. A reader that finds it changed lets go of what it has open.
    pub purges: AtomicU64,
    state: RwLock<State>,
    schemas: Mutex<HashMap<u64, Arc<Schema>>>,
    tail: Mutex<Tail>,
    segments: RwLock<Segments>,
    failures: Mutex<HashMap<Arc<str>, Failures>>,
    poisoned: Mutex<Option<String>>,
}

/// Numbers since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub appends: AtomicU64,
    pub append_us: AtomicU64,
    pub fsyncs: AtomicU64,
}

/// Failed appends of one producer, and how many of them it has been told.
#[derive(Debug, Default, Clone, Copy)]
struct Failures {
    made: u64,
    seen: u64,
}

/// The segment files there are.
#[derive(Debug)]
pub(super) struct Segments {
    /// Bytes of each sealed segment, by its first sequence.
    pub sealed: BTreeMap<u64, u64>,
    pub active: Active,
}

/// The segment that is appended to.
#[derive(Debug, Clone)]
pub(super) struct Active {
    pub first: u64,
    /// The byte after the last published entry.
    pub end: u64,
    pub index: Arc<RwLock<Index>>,
    /// The file as the index describes it. Opened again by name it may be another one: sealed and rewritten meanwhile.
    pub file: Arc<dyn File>,
}

/// What only the writer needs of an opened log.
#[derive(Debug)]
pub(super) struct Opened {
    pub file: Arc<dyn File>,
    pub first: u64,
    pub end: u64,
    pub index: Arc<RwLock<Index>>,
    pub sealed: bool,
    pub lock: Option<Box<dyn Lock>>,
}

/// Where a sequence may stand.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub first: u64,
    /// First sequence of the next segment; `None` for the active one.
    pub next: Option<u64>,
    /// Set for the active segment.
    pub active: Option<Active>,
}

impl Shared {
    /// What [`super::recover`] found, made ready for use.
    pub fn new(fs: Arc<dyn Fs>, options: &Options, recovered: Recovered) -> Result<(Shared, State, Opened)> {
        let Recovered { id, state, sealed, schemas, opened } = recovered;
        let groups = Groups::open(fs.clone(), options.path.join("groups"), id)?;
        let active = Active {
            first: opened.first,
            end: opened.end,
            index: opened.index.clone(),
            file: opened.file.clone(),
        };
        let shared = Shared {
            fs,
            dir: options.path.join("segments"),
            id,
            groups,
            published: watch::Sender::new(state.next),
            closed: AtomicBool::new(false),
            read_only: opened.lock.is_none(),
            closing: AtomicBool::new(false),
            counters: Counters::default(),
            compacted: AtomicU64::new(0),
            purges: AtomicU64::new(0),
            state: RwLock::new(state.clone()),
            schemas: Mutex::new(schemas),
            tail: Mutex::new(Tail::new(options.tail_bytes)),
            segments: RwLock::new(Segments { sealed, active }),
            failures: Mutex::default(),
            poisoned: Mutex::default(),
        };
        Ok((shared, state, opened))
    }

    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn segments(&self) -> RwLockReadGuard<'_, Segments> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn segments_mut(&self) -> RwLockWriteGuard<'_, Segments> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn schemas(&self) -> MutexGuard<'_, HashMap<u64, Arc<Schema>>> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path of a segment.
    pub fn path(&self, first: u64) -> PathBuf {
        self.dir.join(segment::file_name(first))
    }

    /// The segment in which a sequence stands, or the next one when that segment is gone.
    pub fn locate(&self, sequence: u64) -> Located {
        let segments = self.segments();
        let active = Some(segments.active.clone());
        let active = || Located { first: segments.active.first, next: None, active: active.clone() };
        if sequence >= segments.active.first {
            return active();
        }
        let at = segments.sealed.range(..=sequence).next_back();
        let at = at.or_else(|| segments.sealed.range(sequence..).next());
        let Some((first, _)) = at else { return active() };
        let next = segments.sealed.range(first + 1..).next().map_or(segments.active.first, |(next, _)| *next);
        Located { first: *first, next: Some(next), active: None }
    }

    /// The oldest sequence that may still be on disk.
    pub fn oldest(&self) -> u64 {
        let segments = self.segments();
        segments.sealed.keys().next().copied().unwrap_or(segments.active.first)
    }

    /// Number and bytes of segment files.
    pub fn size(&self) -> (u64, u64) {
        let segments = self.segments();
        let bytes: u64 = segments.sealed.values().sum();
        (segments.sealed.len() as u64 + 1, bytes + segments.active.end)
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Arc<str>, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many failures of its appends a producer has been told.
    pub fn failures_seen(&self, producer: &str) -> u64 {
        self.failures().get(producer).map_or(0, |failures| failures.seen)
    }

    /// True when an append of the producer failed of which it did not know yet when it made the append that has `seen`.
    /// That one must fail too: it would stand in the log without the one before.
    pub fn overtakes(&self, producer: &str, seen: u64) -> bool {
        self.failures().get(producer).is_some_and(|failures| failures.made != seen)
    }

    /// Notes a failed append.
    pub fn failed(self: &Arc<Self>, producer: Arc<str>, error: Error) -> Failure {
        self.failures().entry(producer.clone()).or_default().made += 1;
        Failure { error, _seen: Seen { shared: self.clone(), producer } }
    }

    pub fn poison(&self) -> Option<String> {
        self.poisoned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers why nothing is accepted any more (I7).
    pub fn set_poison(&self, why: String) {
        tracing::error!(why, "the log refuses appends until it is opened again");
        *self.poisoned.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Lets readers go of the files and batches that they hold, those that wait too.
    pub fn release_readers(&self) {
        self.purges.fetch_add(1, SeqCst);
        self.published.send_modify(|_| {});
    }

    /// Wakes all readers for the last time.
    pub fn close(&self) {
        self.closed.store(true, SeqCst);
        self.published.send_modify(|_| {});
    }
}

/// A failed append on its way to the producer.
#[derive(Debug)]
pub(super) struct Failure {
    pub error: Error,
    _seen: Seen,
}

/// Counts a failure as seen when the producer takes it, or drops what it would take it from.
#[derive(Debug)]
struct Seen {
    shared: Arc<Shared>,
    producer: Arc<str>,
}

impl Drop for Seen {
    fn drop(&mut self) {
        if let Some(failures) = self.shared.failures().get_mut(&self.producer) {
            failures.seen += 1;
        }
    }
}
