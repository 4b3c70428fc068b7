//! Purging on disks that fail, beside everything else that goes on, and of much.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use connector_api::{Delivery, Kind, Op};

use super::*;
use crate::log::Purged;
use crate::log::conformance::{Picks, all, keys, read_all, wanted};

fn purge(log: &Embedded, judge: Picks) -> Result<Purged> {
    wait(log.purge(Box::new(judge)))
}

/// The keys that go.
const GONE: [u64; 2] = [3, 7];

fn text(key: u64) -> String {
    format!("text of row {key}. {}", ".".repeat(30))
}

/// Rows of two tables, renamed, deleted, partial; the key is in the text of each.
fn fill(log: &Embedded, rounds: u64) {
    let mut shop = Producer::new("shop");
    for round in 0..rounds {
        for key in 0..10 {
            shop.text = text(key);
            shop.insert(if key % 2 == 0 { "a" } else { "b" }, key);
            shop.change("b", Op::Update, 3, round > 0);
        }
        append(log, shop.commit()).unwrap();
    }
    shop.change("b", Op::Delete, 7, false);
    append(log, shop.commit()).unwrap();
}

/// Whether a text is in a file; sections are not compressed here.
fn is_anywhere(disk: &Faulty, text: &str) -> bool {
    let within = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    disk.paths().iter().any(|path| within(&disk.read(path)))
}

fn content(log: &Embedded) -> Vec<(u64, u64)> {
    let read = wait(read_all(log, &all()));
    [keys(&read, "a"), keys(&read, "b")].concat()
}

fn rest(before: &[(u64, u64)]) -> Vec<(u64, u64)> {
    before.iter().copied().filter(|(_, key)| !GONE.contains(key)).collect()
}

fn assert_purged(disk: &Faulty, log: &Embedded, before: &[(u64, u64)]) {
    assert_eq!(content(log), rest(before));
    GONE.iter().for_each(|key| assert!(!is_anywhere(disk, &text(*key)), "row {key} is in a file"));
    assert!(is_anywhere(disk, &text(4)));
}

/// Each operation on the disk fails once, and all after it.
#[test]
fn whatever_fails_nothing_is_lost_and_the_next_one_succeeds() {
    for steps in 0.. {
        let disk = Faulty::new(steps);
        let mut log = open(&disk).unwrap();
        fill(&log, 6);
        let before = content(&log);
        disk.set(Faults { steps: Some(steps), ..Faults::default() });
        let done = purge(&log, Picks::new("*", GONE));
        disk.set(Faults::default());
        let left: BTreeSet<_> = content(&log).into_iter().collect();
        assert!(
            rest(&before).iter().all(|record| left.contains(record)),
            "step {steps}: something else went"
        );
        if log.status().poisoned.is_some() {
            // The segment could not be sealed (I7): only opening again helps.
            drop(log);
            log = open(&disk).unwrap();
        }
        purge(&log, Picks::new("*", GONE)).unwrap();
        assert_purged(&disk, &log, &before);
        drop(log);
        let disk = disk.crash();
        assert_purged(&disk, &open(&disk).unwrap(), &before);
        if done.is_ok() {
            assert!(steps > 40, "{steps}");
            return;
        }
    }
}

#[test]
fn a_full_disk_ends_it_until_there_is_room() {
    for room in (0..9000).step_by(97) {
        let disk = Faulty::new(room);
        let log = open(&disk).unwrap();
        fill(&log, 6);
        let before = content(&log);
        disk.set(Faults { room: Some(room), ..Faults::default() });
        if let Err(error) = purge(&log, Picks::new("*", GONE)) {
            assert_eq!(error.kind(), Kind::Transient, "{error}");
            assert!(error.remedy().is_some_and(|remedy| remedy.contains("free space")), "{error:?}");
        }
        disk.set(Faults::default());
        assert_eq!(rest(&content(&log)), rest(&before), "room {room}");
        purge(&log, Picks::new("*", GONE)).unwrap();
        assert_purged(&disk, &log, &before);
        // It goes on.
        append(&*log, Producer::new("shop").empty(b"later")).unwrap();
    }
}

/// A rename that failed leaves a temporary file when it cannot be removed either; it holds what is purged later.
#[test]
fn what_failed_rewrites_left_behind_goes_too() {
    let disk = Faulty::new(1);
    let log = open(&disk).unwrap();
    fill(&log, 6);
    // Sealed now, so that it is a rewrite that fails.
    purge(&log, Picks::new("*", [])).unwrap();
    disk.set(Faults { rename: true, remove: true, ..Faults::default() });
    assert!(purge(&log, Picks::new("a", [4])).is_err());
    disk.set(Faults::default());
    let left = |disk: &Faulty| disk.paths().iter().any(|path| path.to_string_lossy().ends_with(".log.new"));
    assert!(left(&disk));
    // Also by a purge that rewrites nothing, and for certain.
    purge(&log, Picks::new("no topic", [])).unwrap();
    assert!(!left(&disk));
    drop(log);
    assert!(!left(&disk.crash()));
}

/// The first half of a key change goes, or stands alone from now on: what takes the old row away is its tombstone.
#[test]
fn a_moved_tombstone_stands_for_itself_when_its_first_half_goes() {
    for judge in [|| Picks::new("a", [2]), || Picks::new("a", [2]).with_text("whole")] {
        let log = open(&Faulty::new(1)).unwrap();
        let mut shop = Producer::new("shop");
        shop.insert("a", 1);
        append(&*log, shop.commit()).unwrap();
        shop.rename("a", 1, 2, true);
        append(&*log, shop.commit()).unwrap();
        let moved = |log: &Embedded| {
            let read = wait(read_all(log, &all()));
            let records: Vec<_> =
                read.iter().flat_map(Delivery::records).map(|record| record.unwrap().record).collect();
            let tombstone = records.iter().find(|record| record.offset == 2).unwrap();
            tombstone.attributes.has(connector_api::record::Attributes::MOVED)
        };
        assert!(moved(&log));
        purge(&log, judge()).unwrap();
        assert!(!moved(&log));
        // Whatever goes on: the old row is not there.
        wait(log.clean()).unwrap();
        assert!(content(&log).iter().all(|(offset, _)| *offset > 0));
    }
}

#[test]
fn it_takes_as_many_rounds_as_the_memory_asks_for() {
    let mut left = Vec::new();
    for clean_memory in [64, 1000, 64 << 20] {
        let disk = Faulty::new(1);
        let log = open_with(&disk, |options| options.clean_memory = clean_memory).unwrap();
        let mut shop = Producer::new("shop");
        for key in 0..200 {
            shop.insert("a", key);
            shop.insert("a", key + 1000);
            append(&*log, shop.commit()).unwrap();
        }
        for key in 0..200 {
            shop.change("a", Op::Delete, key, false);
            append(&*log, shop.commit()).unwrap();
        }
        let purged = purge(&log, Picks::new("a", 0..200)).unwrap();
        assert_eq!(purged.records_dropped, 400);
        assert!(purged.segments_deleted > 10, "{purged:?}");
        assert!(log.topics()[0].bytes > 0);
        left.push(content(&log));
        assert_eq!(left[0].len(), 200);
        assert_eq!(left[0], left[left.len() - 1]);
    }
}

/// What is not wanted is not read, and segments without it are not opened for it.
#[test]
fn only_what_holds_wanted_topics_is_read() {
    let disk = Faulty::new(1);
    let log = open_with(&disk, |options| options.segment_size = 200 << 10).unwrap();
    let (mut shop, mut other) = (Producer::new("shop"), Producer::new("other"));
    other.text = "x".repeat(20_000);
    for round in 0..60 {
        if round % 20 == 10 {
            shop.insert("a", round);
            append(&*log, shop.commit()).unwrap();
        }
        other.insert("large", round);
        append(&*log, other.commit()).unwrap();
    }
    let segments = log.status().segments;
    assert!(segments > 5, "{segments}");
    let purged = purge(&log, Picks::new("a", [10, 50])).unwrap();
    assert_eq!((purged.records_dropped, purged.segments_read), (2, 3), "{purged:?}");
    assert_eq!(purged.segments_rewritten, 2);
    assert!(purged.bytes_read < 4 * (100 << 10), "{purged:?}");
    assert_eq!(log.status().segments, segments, "the newest segment holds nothing of it and is not sealed");
    assert_eq!(keys(&wait(read_all(&*log, &all())), "large").len(), 60);
}

#[test]
fn a_read_only_log_is_not_purged() {
    let dir = tempfile::tempdir().unwrap();
    let log = Embedded::open(Options::new(dir.path())).unwrap();
    fill(&log, 1);
    let reader = Embedded::open_read_only(dir.path()).unwrap();
    assert_eq!(purge(&reader, Picks::new("*", GONE)).unwrap_err().kind(), Kind::Config);
}

/// Reads rounds of 100 keys from the beginning, whatever is purged of them meanwhile.
async fn read(log: Arc<Embedded>, bytes: usize, rounds: u64) -> Vec<Delivery> {
    let mut reader = log.subscribe(wanted("table"), Cursor::start(log.id())).unwrap();
    let (mut read, mut last): (Vec<Delivery>, _) = (Vec::new(), None);
    while last != Some(rounds * 100 - 1) {
        let more = reader.next(bytes).await.unwrap();
        for (offset, key) in keys(&more, "table") {
            assert!(last.is_none_or(|last| last < offset), "offset {offset} after {last:?}");
            assert_eq!(key, offset % 100);
            last = Some(offset);
        }
        read.extend(more);
    }
    read
}

/// Appends, readers of the whole log and purges at the same time, on a real disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_goes_on_meanwhile() {
    const ROUNDS: u64 = 300;
    for compression in [Compression::None, Compression::Lz4] {
        let dir = tempfile::tempdir().unwrap();
        let (segment_size, tail_bytes) = (64 << 10, 16 << 10);
        let options = Options { segment_size, tail_bytes, compression, ..Options::new(dir.path()) };
        let log = Embedded::open(options).unwrap();
        let producer = tokio::spawn({
            let log = log.clone();
            async move {
                let mut shop = Producer::new("shop");
                for _ in 0..ROUNDS {
                    (0..100).for_each(|key| shop.insert("table", key));
                    log.append(shop.commit()).await.unwrap().await.unwrap();
                }
            }
        });
        let readers: Vec<_> =
            [1, 5000, 1 << 20].map(|bytes| tokio::spawn(read(log.clone(), bytes, ROUNDS))).into();
        let done = Arc::new(AtomicBool::new(false));
        let purges = tokio::spawn({
            let (log, done) = (log.clone(), done.clone());
            async move {
                let mut dropped = 0;
                for number in 0.. {
                    if done.load(SeqCst) {
                        return (dropped, number);
                    }
                    // Never the last key, by which readers see the end.
                    let purged = log.purge(Box::new(Picks::new("table", [number % 99]))).await.unwrap();
                    dropped += purged.records_dropped;
                    log.clean().await.unwrap();
                }
                unreachable!()
            }
        });
        producer.await.unwrap();
        for reader in readers {
            assert!(!reader.await.unwrap().is_empty());
        }
        done.store(true, SeqCst);
        let (dropped, purges) = purges.await.unwrap();
        assert!(dropped > 0 && purges > 1, "{purges} purges dropped {dropped} records");
        log.purge(Box::new(Picks::new("table", 10..90))).await.unwrap();
        let left = keys(&read_all(&*log, &all()).await, "table");
        assert!(left.iter().all(|(_, key)| !(10..90).contains(key)));
        assert_eq!(left.last(), Some(&(ROUNDS * 100 - 1, 99)));
        log.close().await.unwrap();
        inspect(dir.path(), true, &mut |_, _| {}).unwrap();
    }
}

#[test]
fn a_hundred_thousand_records() {
    for compression in [Compression::None, Compression::Lz4] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_size: 2 << 20, compression, ..Options::new(dir.path()) };
        let log = Embedded::open(options).unwrap();
        let mut shop = Producer::new("shop");
        for batch in 0..100 {
            (0..1000).for_each(|record| shop.insert("table", (batch * 1000 + record) % 5000));
            append(&*log, shop.commit()).unwrap();
        }
        let gone = || (0..5000).step_by(1000);
        let purged = purge(&log, Picks::new("table", gone())).unwrap();
        assert_eq!((purged.records_dropped, purged.ends[0].1), (100, 100_000), "{purged:?}");
        let left = keys(&wait(read_all(&*log, &all())), "table");
        assert_eq!(left.len(), 99_900);
        assert!(left.iter().all(|(offset, key)| *key == offset % 5000 && key % 1000 != 0));
        assert_eq!(purge(&log, Picks::new("table", gone())).unwrap().segments_rewritten, 0);
        drop(log);
        let log = Embedded::open(Options::new(dir.path())).unwrap();
        assert_eq!(keys(&wait(read_all(&*log, &all())), "table"), left);
        inspect(dir.path(), true, &mut |_, _| {}).unwrap();
    }
}
