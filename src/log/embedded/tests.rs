//! The embedded log against the suite, a model, failing disks and damaged files.

mod closing;
mod conform;
mod damage;
mod faults;
mod fixture;
mod lost;
mod model;
mod purge;
mod speed;
mod stress;

use std::future::Future;

use super::*;
use crate::log::conformance::Producer;
use fs::faulty::{Faults, Faulty};

/// Runs a future to its end on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

fn append(log: &dyn Log, batch: Batch) -> Result<u64> {
    wait(async { log.append(batch).await?.await })
}

/// A log on a disk in memory, with small segments, so that everything happens in a few batches.
fn open(disk: &Faulty) -> Result<Arc<Embedded>> {
    open_with(disk, |_| {})
}

fn open_with(disk: &Faulty, change: impl FnOnce(&mut Options)) -> Result<Arc<Embedded>> {
    let mut options = Options {
        segment_size: 900,
        tail_bytes: 700,
        clean_percent: 0,
        tombstone_age: std::time::Duration::ZERO,
        ..Options::new("/log")
    };
    change(&mut options);
    Embedded::open_on(Arc::new(disk.clone()), options)
}

/// The segment files, oldest first.
fn segment_paths(disk: &Faulty) -> Vec<std::path::PathBuf> {
    let mut paths = disk.paths();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths
}
