//! What each loop is doing, written by the loop and read by the admin API: plain numbers behind one lock each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use connector_api::{Cursor, Error, SourceStatus};

/// The life of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Connecting.
    #[default]
    Starting,
    /// At work.
    Running,
    /// Failed, and trying again by itself.
    Retrying,
    /// Failed for a reason that needs a person; looked at again from time to time.
    Failed,
    /// Ended on purpose.
    Stopped,
}

impl State {
    /// Every state, for metrics.
    pub const ALL: [State; 5] =
        [State::Starting, State::Running, State::Retrying, State::Failed, State::Stopped];

    /// Lower-case name, as in `status` and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Retrying => "retrying",
            State::Failed => "failed",
            State::Stopped => "stopped",
        }
    }
}

/// The last failure of a loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, without personal data or secrets.
    pub message: String,
    /// The kind's name.
    pub kind: &'static str,
    /// What a person can do.
    pub remedy: Option<String>,
    /// When, Unix microseconds.
    pub at_us: i64,
}

impl Failure {
    /// What is worth keeping of an error.
    pub fn of(error: &Error) -> Self {
        Failure {
            message: error.to_string(),
            kind: error.kind().as_str(),
            remedy: error.remedy().map(str::to_owned),
            at_us: now_us(),
        }
    }
}

/// What one capture loop has done.
#[derive(Debug, Clone, Default)]
pub struct Captured {
    /// Its state.
    pub state: State,
    /// The failure that put it into `Retrying` or `Failed`; kept until it runs again.
    pub failure: Option<Failure>,
    /// What the source says.
    pub source: SourceStatus,
    /// All that was committed upstream when the loop started is durable in the log.
    pub caught_up: bool,
    /// Changes durable in the log since the start.
    pub changes: u64,
    /// Transactions durable in the log since the start.
    pub transactions: u64,
    /// Bytes durable in the log since the start.
    pub bytes: u64,
    /// Failures since the start.
    pub errors: u64,
    /// Commit time of the newest durable transaction, Unix microseconds; 0 before the first.
    pub newest_us: i64,
}

/// What one deliver loop has done.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// Its state.
    pub state: State,
    /// The failure that put it into `Retrying` or `Failed`; kept until it runs again.
    pub failure: Option<Failure>,
    /// What it has applied, once known.
    pub cursor: Option<Cursor>,
    /// Records applied since the start.
    pub records: u64,
    /// Source transactions applied since the start.
    pub transactions: u64,
    /// Commits in the target since the start.
    pub commits: u64,
    /// Failures since the start.
    pub errors: u64,
    /// Records that wait as dead letters.
    pub dead_letters: u64,
    /// Commit time at the source of the newest applied transaction, Unix microseconds; 0 before the first.
    pub newest_us: i64,
    /// Time from commit at the source to commit in the target, of the newest record of each commit.
    pub latency: Histogram,
    /// What the sink did to the target that a person should know; the newest few.
    pub notices: Vec<String>,
    /// Why bytes of erased rows are still in the target, if they are.
    pub unscrubbed: Option<String>,
}

/// Upper bounds of the latency buckets, in seconds.
pub const LATENCY_BOUNDS_S: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0];

/// Counts by bucket; the last one is everything above the bounds.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Observations by bucket, not cumulative.
    pub counts: [u64; LATENCY_BOUNDS_S.len() + 1],
    /// Sum of all observations in seconds.
    pub sum_s: f64,
}

impl Histogram {
    /// Adds one observation.
    pub fn observe(&mut self, seconds: f64) {
        let bucket = LATENCY_BOUNDS_S.iter().position(|bound| seconds <= *bound);
        if let Some(count) = self.counts.get_mut(bucket.unwrap_or(LATENCY_BOUNDS_S.len())) {
            *count += 1;
        }
        self.sum_s += seconds;
    }
}

/// Most notices kept for a sink.
pub const NOTICES_MAX: usize = 20;

/// A cell that one loop writes and anyone reads.
#[derive(Debug, Default)]
pub struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    /// Locks it. Held for a few assignments only; a panic while held leaves numbers, not invariants, behind.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Now, Unix microseconds.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
