//! The newest batches, kept in memory by a reference count, so that a reader that keeps up never touches the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::log::scan::Stored;

/// Batches with consecutive sequences, the newest last.
#[derive(Debug)]
pub(super) struct Tail {
    batches: VecDeque<Arc<Stored>>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// Keeps about `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Tail {
        Tail { batches: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the newest batch and lets old ones go.
    pub fn push(&mut self, stored: Arc<Stored>) {
        self.bytes += stored.weight();
        self.batches.push_back(stored);
        while self.bytes > self.bytes_max
            && let Some(old) = self.batches.pop_front()
        {
            self.bytes -= old.weight();
        }
    }

    /// Lets all batches below a sequence go.
    pub fn forget_below(&mut self, sequence: u64) {
        while let Some(old) = self.batches.pop_front_if(|batch| batch.sequence < sequence) {
            self.bytes -= old.weight();
        }
    }

    /// The first sequence that is here; `None` when nothing is.
    pub fn first(&self) -> Option<u64> {
        self.batches.front().map(|batch| batch.sequence)
    }

    /// Batches from sequence `from` on, at most `max`; `None` when `from` is older than the tail.
    pub fn from(&self, from: u64, max: usize, into: &mut VecDeque<Arc<Stored>>) -> bool {
        let Some(skip) = self.first().and_then(|first| from.checked_sub(first)) else { return false };
        into.extend(self.batches.iter().skip(skip as usize).take(max).cloned());
        true
    }
}
