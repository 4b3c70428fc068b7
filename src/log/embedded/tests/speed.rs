//! How fast the log is by itself. Run it alone: `cargo test --release --lib speed -- --ignored --nocapture`.

use std::collections::HashSet;
use std::time::Instant;

use connector_api::record::Record;
use connector_api::{BatchBuilder, Encoding, Event, Headers, Schema, TopicPartition};

use super::*;
use crate::log::conformance::all;
use crate::log::{Judge, Verdict};

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
        let dir =
            tempfile::tempdir_in(std::env::var("SPEED_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
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
                read +=
                    delivery.records().map(|record| record.unwrap().record.value.len() / 100).sum::<usize>();
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

/// Rows of 100 bytes until the log has about these many bytes; each key comes once in a thousand.
fn fill(log: &Embedded, bytes: u64) -> u64 {
    let mut shop = Producer::new("shop");
    shop.text = "a text of a row, not the same as others ".repeat(2);
    let mut records = 0;
    while log.status().bytes < bytes {
        for _ in 0..1000 {
            shop.insert("shop.public.users", records % 1000);
            records += 1;
            if records.is_multiple_of(10) {
                shop.end_transaction();
            }
        }
        append(log, shop.commit()).unwrap();
    }
    records
}

/// Drops the records with these keys, as fast as a judge can be.
struct Keys(HashSet<Vec<u8>>);

impl Judge for Keys {
    fn wants(&mut self, _: &TopicPartition) -> bool {
        true
    }

    fn judge(
        &mut self,
        _: &TopicPartition,
        _: Encoding,
        _: Option<&Arc<Schema>>,
        record: &Record<'_>,
        _: u64,
    ) -> Result<Verdict> {
        let goes = record.key.is_some_and(|key| self.0.contains(key));
        Ok(if goes { Verdict::Drop } else { Verdict::Keep })
    }
}

fn row(key: i64) -> Vec<u8> {
    let mut out = Vec::new();
    connector_api::put_row(&mut out, [connector_api::Value::Int(key)].into_iter());
    out
}

/// What `cp` and `sync` would do.
fn copy(from: &std::path::Path, to: &std::path::Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        bytes += std::fs::copy(entry.path(), &to).unwrap();
        std::fs::File::open(&to).unwrap().sync_all().unwrap();
    }
    bytes
}

#[test]
#[ignore = "a measurement"]
fn purge_beside_a_copy() {
    let mib: u64 = std::env::var("SPEED_MIB").map_or(512, |mib| mib.parse().unwrap());
    for compression in [Compression::None, Compression::Lz4] {
        let dir =
            tempfile::tempdir_in(std::env::var("SPEED_DIR").unwrap_or_else(|_| ".".to_owned())).unwrap();
        let options = Options { compression, ..Options::new(dir.path()) };
        let log = Embedded::open(options).unwrap();
        let records = fill(&log, mib << 20);
        let bytes = log.status().bytes;
        let gib =
            |bytes: u64, start: Instant| bytes as f64 / start.elapsed().as_secs_f64() / f64::from(1 << 30);
        let purge = |keys: &[i64]| {
            let keys = keys.iter().map(|key| row(*key)).collect();
            let start = Instant::now();
            let purged = wait(log.purge(Box::new(Keys(keys)))).unwrap();
            (gib(bytes, start), purged)
        };
        let _ = purge(&[]);
        for round in 0..3 {
            let copies = tempfile::tempdir_in(dir.path()).unwrap();
            let start = Instant::now();
            let copied = copy(&dir.path().join("segments"), copies.path());
            let copied = gib(copied, start);
            let (nothing, _) = purge(&[5000]);
            let (purging, purged) = purge(&[round]);
            assert_eq!(purged.records_dropped, records / 1000);
            println!(
                "{compression:?}, {} MiB, {records} records: copy {copied:.2} GiB/s, purge that finds nothing \
                 {nothing:.2} GiB/s, purge of one key in a thousand {purging:.2} GiB/s ({:.2} of the copy)",
                bytes >> 20,
                purging / copied
            );
        }
    }
}
