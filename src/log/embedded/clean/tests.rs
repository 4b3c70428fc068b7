//! What cleaning takes and what it must leave. That what is left still makes the same rows is shown by the model.

use std::sync::Arc;
use std::time::Duration;

use connector_api::{Cursor, Kind, Op, TopicPartition};

use crate::log::conformance::{Producer, all, keys, read_all, read_from, wanted};
use crate::log::embedded::Embedded;
use crate::log::embedded::fs::faulty::Faulty;
use crate::log::embedded::options::{Compression, Options, Retentions};
use crate::log::{Cleaned, Log, Retention};

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn options() -> Options {
    let tombstone_age = Duration::ZERO;
    Options { segment_size: 700, tail_bytes: 0, clean_percent: 0, tombstone_age, ..Options::new("/log") }
}

fn open(disk: &Faulty, options: Options) -> Arc<Embedded> {
    Embedded::open_on(Arc::new(disk.clone()), options).unwrap()
}

fn append(log: &Embedded, producer: &mut Producer) {
    wait(async { log.append(producer.commit()).await.unwrap().await.unwrap() });
}

fn clean(log: &Embedded) -> Cleaned {
    wait(log.clean()).unwrap()
}

fn offsets(log: &Embedded, topic: &str) -> Vec<u64> {
    keys(&wait(read_all(log, &all())), topic).into_iter().map(|(offset, _)| offset).collect()
}

fn cursor(log: &Embedded, topic: &str, next: u64) -> Cursor {
    let mut cursor = Cursor::start(log.id());
    cursor.advance(&TopicPartition::first(topic), next);
    cursor
}

fn earliest(log: &Embedded, topic: &str) -> u64 {
    log.topics().into_iter().find(|status| *status.topic.topic == *topic).unwrap().earliest
}

/// Puts so many batches of another topic behind what is there, so that it is sealed.
fn seal(log: &Embedded) {
    let mut other = Producer::new("other");
    for key in 0..40 {
        other.event("filler", key);
        append(log, &mut other);
    }
}

fn limits(age_s: Option<u64>, bytes: Option<u64>) -> Options {
    let events = Retention::Limits { age_s, bytes };
    Options { retention: Retentions { events, ..Retentions::default() }, ..options() }
}

fn events(log: &Embedded, count: u64) {
    let mut app = Producer::new("app");
    for key in 0..count {
        app.event("events", key);
        append(log, &mut app);
    }
}

#[test]
fn limits_wait_for_the_slowest_group() {
    let disk = Faulty::new(1);
    let log = open(&disk, limits(Some(0), None));
    events(&log, 60);
    log.commit_group("fast", &cursor(&log, "events", 55)).unwrap();
    log.commit_group("slow", &cursor(&log, "events", 20)).unwrap();
    log.commit_group("other topics", &cursor(&log, "x", 0)).unwrap();
    let cleaned = clean(&log);
    assert!(cleaned.segments_deleted > 0 && cleaned.bytes_freed > 0, "{cleaned:?}");
    assert_eq!(offsets(&log, "events"), (20..60).collect::<Vec<_>>());
    assert_eq!(earliest(&log, "events"), 20);
    // A group that says what it reads is waited for before its first commit.
    log.register_group("registered", &wanted("ev*")).unwrap();
    log.commit_group("slow", &cursor(&log, "events", 40)).unwrap();
    assert_eq!(clean(&log), Cleaned::default());
    log.forget_group("registered").unwrap();
    clean(&log);
    assert_eq!(earliest(&log, "events"), 40);
    // What went is said, not passed over; also by the log opened again, and after a crash.
    let check = |log: Arc<Embedded>| {
        assert_eq!(earliest(&log, "events"), 40);
        let mut late = log.subscribe(all(), cursor(&log, "events", 39)).unwrap();
        let error = wait(late.next(1)).unwrap_err();
        assert_eq!(error.kind(), Kind::Lost);
        assert!(error.remedy().is_some());
        assert_eq!(keys(&wait(read_from(&*log, &all(), cursor(&log, "events", 40))), "events").len(), 20);
        assert_eq!(offsets(&log, "events"), (40..60).collect::<Vec<_>>());
    };
    check(log);
    check(open(&disk.crash(), limits(None, None)));
}

#[test]
fn limits_pass_a_group_only_when_told_to() {
    let log = open(&Faulty::new(1), Options { wait_for_groups: false, ..limits(Some(0), None) });
    events(&log, 60);
    log.commit_group("slow", &cursor(&log, "events", 0)).unwrap();
    let mut reading = log.subscribe(all(), cursor(&log, "events", 1)).unwrap();
    let read = wait(reading.next(1)).unwrap();
    assert_eq!(keys(&read, "events"), [(1, 1)]);
    clean(&log);
    let earliest = earliest(&log, "events");
    assert!((40..60).contains(&earliest), "{earliest}");
    // A reader that was under way reads on in the file that it has open, and then is told.
    let error = loop {
        match wait(reading.next(1)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Lost);
}

#[test]
fn limits_by_bytes_keep_the_newest() {
    let log = open(&Faulty::new(1), limits(None, Some(400)));
    events(&log, 100);
    clean(&log);
    let left = offsets(&log, "events");
    assert_eq!(left.last(), Some(&99));
    assert!(left.len() < 40 && left.len() > 5, "{left:?}");
    assert_eq!(left, (earliest(&log, "events")..100).collect::<Vec<_>>());
    let bytes = log.topics()[0].bytes;
    assert!((1..1000).contains(&bytes), "{bytes}");
}

#[test]
fn rules_and_classes_choose_the_retention() {
    let retention = Retentions {
        rules: vec![("kept*".to_owned(), Retention::Limits { age_s: None, bytes: None })],
        ..Retentions::default()
    };
    let log = open(&Faulty::new(1), Options { retention, ..options() });
    let mut shop = Producer::new("shop");
    for _ in 0..20 {
        ["kept", "table"].iter().for_each(|topic| shop.insert(topic, 1));
        shop.event("events", 1);
        append(&log, &mut shop);
    }
    seal(&log);
    clean(&log);
    assert_eq!(offsets(&log, "kept").len(), 20);
    assert_eq!(offsets(&log, "table"), [19]);
    assert_eq!(offsets(&log, "events").len(), 20);
    assert_eq!(earliest(&log, "table"), 0, "compaction moves no earliest: nothing is lost by it");
}

#[test]
fn tombstones_wait_for_every_group_and_for_what_is_older() {
    let log = open(&Faulty::new(1), options());
    let mut shop = Producer::new("shop");
    shop.insert("a", 1);
    append(&log, &mut shop);
    seal(&log);
    shop.change("a", Op::Delete, 1, false);
    shop.insert("a", 2);
    append(&log, &mut shop);
    seal(&log);
    log.register_group("sink", &all()).unwrap();
    clean(&log);
    assert_eq!(offsets(&log, "a"), [1, 2], "the row went, its tombstone waits for the group");
    log.commit_group("sink", &cursor(&log, "a", 1)).unwrap();
    clean(&log);
    assert_eq!(offsets(&log, "a"), [1, 2]);
    log.commit_group("sink", &cursor(&log, "a", 2)).unwrap();
    clean(&log);
    assert_eq!(offsets(&log, "a"), [2]);
    assert_eq!(log.topics()[0].end, 3, "offsets never move");
}

#[test]
fn young_tombstones_stay() {
    let log = open(&Faulty::new(1), Options { tombstone_age: Duration::from_secs(3600), ..options() });
    let mut shop = Producer::new("shop");
    shop.change("a", Op::Delete, 1, false);
    append(&log, &mut shop);
    seal(&log);
    clean(&log);
    clean(&log);
    assert_eq!(offsets(&log, "a"), [0]);
}

#[test]
fn unfinished_transactions_supersede_nothing() {
    let log = open(&Faulty::new(1), options());
    let mut shop = Producer::new("shop");
    shop.insert("a", 1);
    append(&log, &mut shop);
    shop.insert("a", 1);
    wait(async { log.append(shop.chunk()).await.unwrap().await.unwrap() });
    seal(&log);
    clean(&log);
    assert_eq!(offsets(&log, "a"), [0]);
    // Ended, it does.
    append(&log, &mut shop);
    seal(&log);
    clean(&log);
    assert_eq!(offsets(&log, "a"), [1]);
}

#[test]
fn aborted_chunks_go() {
    let log = open(&Faulty::new(1), limits(None, None));
    let mut shop = Producer::new("shop");
    for key in 0..30 {
        shop.insert("a", key);
        wait(async { log.append(shop.chunk()).await.unwrap().await.unwrap() });
    }
    let mut shop = Producer::new("shop");
    shop.insert("a", 99);
    append(&log, &mut shop);
    let before = log.status().bytes;
    let cleaned = clean(&log);
    assert!(cleaned.segments_deleted > 2, "{cleaned:?}");
    assert!(log.status().bytes < before / 2);
    assert_eq!(offsets(&log, "a"), [30]);
}

#[test]
fn a_reader_in_a_segment_that_is_rewritten_goes_on() {
    let log = open(&Faulty::new(1), options());
    let mut shop = Producer::new("shop");
    for round in 0..40 {
        shop.insert("a", round % 3);
        append(&log, &mut shop);
    }
    let mut reader = log.subscribe(all(), Cursor::start(log.id())).unwrap();
    let mut read = wait(reader.next(1)).unwrap();
    clean(&log);
    while !reader.at_tail() {
        read.extend(wait(reader.next(1)).unwrap());
    }
    let newest: Vec<(u64, u64)> = keys(&read, "a").into_iter().rev().take(3).collect();
    assert_eq!(newest, [(39, 0), (38, 2), (37, 1)]);
    assert!(offsets(&log, "a").len() < 20);
}

/// The newest batches of a sealed segment are in the tail cache as they were written. After compaction the two do not fit
/// together: the update in memory builds on a row that is no longer in the file.
#[test]
fn a_reader_that_comes_to_the_tail_cache_gets_what_compaction_left() {
    let log = open(&Faulty::new(1), Options { segment_size: 9000, tail_bytes: 6000, ..options() });
    let mut shop = Producer::new("shop");
    let large = |shop: &mut Producer, bytes: usize| {
        let text = std::mem::replace(&mut shop.text, "x".repeat(bytes));
        shop.insert("large", bytes as u64);
        shop.text = text;
    };
    // Too large for the tail cache together with what follows.
    shop.insert("a", 1);
    large(&mut shop, 6500);
    append(&log, &mut shop);
    shop.change("a", Op::Update, 1, true);
    append(&log, &mut shop);
    shop.insert("a", 1);
    append(&log, &mut shop);
    // Too large for the segment.
    large(&mut shop, 2500);
    append(&log, &mut shop);
    assert_eq!(log.status().segments, 2);
    assert_eq!(offsets(&log, "a"), [0, 1, 2]);
    assert_eq!(clean(&log).segments_rewritten, 1);
    assert_eq!(offsets(&log, "a"), [2], "an update without the row that it builds on");
    assert_eq!(offsets(&log, "large"), [0, 1]);
}

/// A sink's new configuration no longer reads a topic: its cursor there stands for ever, and nothing waits for that.
#[test]
fn a_group_holds_back_only_what_it_reads_now() {
    let log = open(&Faulty::new(1), limits(Some(0), None));
    events(&log, 60);
    log.register_group("sink", &wanted("ev*")).unwrap();
    log.commit_group("sink", &cursor(&log, "events", 20)).unwrap();
    clean(&log);
    assert_eq!(earliest(&log, "events"), 20);
    log.register_group("sink", &wanted("orders*")).unwrap();
    clean(&log);
    assert!(earliest(&log, "events") > 40);
}

/// What a topic holds is counted before compression, and so is what goes.
#[test]
fn limits_by_bytes_hold_with_compression() {
    let options = Options { compression: Compression::Lz4, segment_size: 2000, ..limits(None, Some(20_000)) };
    let retention = Retentions {
        rules: vec![("t".to_owned(), Retention::Limits { age_s: None, bytes: Some(20_000) })],
        ..Retentions::default()
    };
    let log = open(&Faulty::new(1), Options { retention, ..options });
    let mut shop = Producer::new("shop");
    shop.text = "compressible ".repeat(40);
    for round in 0..20 {
        for key in 0..20 {
            shop.insert("t", key);
            append(&log, &mut shop);
        }
        clean(&log);
        let kept = offsets(&log, "t").len();
        assert!(kept >= 20_000 / 600 || round < 2, "round {round}: {kept} records of 530 bytes are left");
        let bytes = log.topics()[0].bytes;
        assert!(bytes < 25_000, "round {round}: {bytes} bytes");
    }
}

/// Runs that find the same again write nothing.
#[test]
fn what_is_known_to_be_gone_is_not_written_again() {
    let log = open(&Faulty::new(1), Options { clean_percent: 60, ..limits(Some(0), None) });
    let (mut app, mut shop) = (Producer::new("app"), Producer::new("shop"));
    for key in 0..20 {
        // Too little of each segment is events.
        app.event("events", key);
        append(&log, &mut app);
        (0..3).for_each(|row| shop.insert("a", 10 * key + row));
        append(&log, &mut shop);
    }
    clean(&log);
    assert!(earliest(&log, "events") > 10);
    let before = log.status().bytes;
    clean(&log);
    clean(&log);
    assert_eq!(log.status().bytes, before);
}
