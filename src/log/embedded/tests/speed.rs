//! How fast the log is by itself. Run it alone: `cargo test --release --lib speed -- --ignored --nocapture`.

use std::time::Instant;

use connector_api::{BatchBuilder, Event, Headers};

use super::*;
use crate::log::conformance::all;

const RECORDS: usize = 4_000_000;

/// Records of 100 bytes in batches of these many bytes.
fn batches(bytes: usize) -> Vec<Batch> {
    let mut builder = BatchBuilder::new("speed", bytes);
    let (topic, headers, value) = ("events".into(), Headers::default(), [7; 100]);
    let mut batches = Vec::new();
    for _ in 0..RECORDS {
        let event = Event { key: None, value: Some(&value), headers: &headers };
        builder.event(&topic, 0, event).unwrap();
        if builder.is_full() {
            batches.push(builder.take(None));
        }
    }
    batches.push(builder.take(None));
    batches
}

#[test]
#[ignore = "a measurement"]
fn append_and_read_back() {
    for bytes in [64 << 10, 256 << 10, 1 << 20] {
        let dir = tempfile::tempdir_in(std::env::var("SPEED_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
        let log = Embedded::open(Options::new(dir.path())).unwrap();
        let batches = batches(bytes);
        let start = Instant::now();
        wait(async {
            let mut commits = std::collections::VecDeque::new();
            for batch in batches {
                commits.push_back(log.append(batch).await.unwrap());
                if commits.len() > 16 {
                    commits.pop_front().unwrap().await.unwrap();
                }
            }
            for commit in commits {
                commit.await.unwrap();
            }
        });
        let wrote = RECORDS as f64 / start.elapsed().as_secs_f64() / 1e6;
        let status = log.status();
        let mut reader = log.subscribe(all(), Cursor::start(log.id())).unwrap();
        let (start, mut read) = (Instant::now(), 0);
        while !reader.at_tail() {
            for delivery in wait(reader.next(1 << 20)).unwrap() {
                read += delivery.records().map(|record| record.unwrap().record.value.len() / 100).sum::<usize>();
            }
        }
        let took = start.elapsed().as_secs_f64();
        assert_eq!(read, RECORDS);
        println!(
            "batches of {} KiB: {wrote:.2} M records/s fsynced ({} fsyncs, {} MiB), {:.2} M records/s read and decoded",
            bytes >> 10,
            status.fsyncs,
            status.bytes >> 20,
            RECORDS as f64 / took / 1e6,
        );
    }
}
