//! What limits removed is never passed over in silence (I5), wherever the reader stands when it goes.

use connector_api::{Delivery, Kind, TopicPartition};

use super::*;
use crate::log::conformance::{all, keys, wanted};
use crate::log::{LogReader, Retention};

/// A log whose events go as soon as their segment is sealed, whoever still wants them.
fn forgetful(tail_bytes: usize) -> Arc<Embedded> {
    let at_once = Retention::Limits { age_s: Some(0), bytes: None };
    let rules = vec![("events".to_owned(), at_once)];
    let change = |options: &mut Options| {
        options.retention = Retentions { rules, ..Retentions::default() };
        (options.wait_for_groups, options.tail_bytes) = (false, tail_bytes);
        options.segment_size = 1800;
    };
    open_with(&Faulty::new(1), change).unwrap()
}

fn events(log: &Embedded, app: &mut Producer, topic: &str, count: u64) {
    for key in 0..count {
        app.event(topic, key);
        append(log, app.commit()).unwrap();
    }
}

/// A reader in the oldest segment, which stays because it holds something that is kept. What it wants next will be gone.
fn reader_in_the_past(log: &Embedded, newest: impl FnOnce(&mut Producer)) -> Box<dyn LogReader> {
    let mut app = Producer::new("app");
    events(log, &mut app, "kept", 3);
    events(log, &mut app, "events", 60);
    newest(&mut app);
    let mut cursor = Cursor::start(log.id());
    cursor.advance(&TopicPartition::first("events"), 0);
    let mut reader = log.subscribe(all(), cursor).unwrap();
    assert_eq!(keys(&wait(reader.next(1)).unwrap(), "kept"), [(0, 0)]);
    wait(log.clean()).unwrap();
    assert_eq!(log.status().segments, 2);
    reader
}

/// Reads with calls of `bytes` until the reader is told that something is missing; gives what came before that.
fn until_lost(reader: &mut dyn LogReader, bytes: usize, topic: &str) -> Vec<u64> {
    let mut read: Vec<Delivery> = Vec::new();
    loop {
        let next =
            async { tokio::time::timeout(std::time::Duration::from_secs(5), reader.next(bytes)).await };
        match wait(next).expect("the reader waits at the tail: it passed over what was removed") {
            Ok(more) => read.extend(more),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Lost, "{error}");
                assert!(error.remedy().is_some());
                return keys(&read, topic).into_iter().map(|(offset, _)| offset).collect();
            }
        }
    }
}

/// A call that has something to give keeps an error for the next call: then it must come again.
#[test]
fn a_reader_that_takes_much_at_once_is_told_as_well() {
    for bytes in [1, 200, usize::MAX] {
        let log = forgetful(0);
        let mut reader = reader_in_the_past(&log, |_| {});
        // The rest of the segment that it has open, and no more.
        let read = until_lost(&mut *reader, bytes, "events");
        assert!(!read.is_empty() && read.len() < 30, "{read:?}");
        assert_eq!(read, (0..read.len() as u64).collect::<Vec<_>>());
        assert!(wait(reader.next(bytes)).is_err(), "an error stays");
    }
}

/// Asked again, the reader says the same, and does not go on behind the gap.
#[test]
fn an_error_comes_again() {
    let log = forgetful(0);
    events(&log, &mut Producer::new("app"), "events", 60);
    let mut cursor = Cursor::start(log.id());
    cursor.advance(&TopicPartition::first("events"), 1);
    let mut reader = log.subscribe(all(), cursor).unwrap();
    assert_eq!(keys(&wait(reader.next(1)).unwrap(), "events"), [(1, 1)]);
    wait(log.clean()).unwrap();
    for _ in 0..3 {
        assert_eq!(wait(reader.next(1)).unwrap_err().kind(), Kind::Lost);
    }
}

/// The newest segment is whole in the tail cache, and what stood before it is gone.
#[test]
fn a_reader_that_comes_from_files_to_the_tail_is_told() {
    for bytes in [1, usize::MAX] {
        let log = forgetful(1500);
        let mut reader = reader_in_the_past(&log, |app| {
            let segments = log.status().segments;
            while log.status().segments == segments {
                events(&log, app, "events", 1);
            }
        });
        let read = until_lost(&mut *reader, bytes, "events");
        assert_eq!(read, (0..read.len() as u64).collect::<Vec<_>>());
        assert!(wait(reader.next(bytes)).is_err(), "an error stays");
    }
}

/// The cursor does not name a topic that appeared, and lost records, since the reader began.
#[test]
fn a_reader_is_told_about_topics_that_it_has_not_met_yet() {
    let log = forgetful(0);
    let mut app = Producer::new("app");
    events(&log, &mut app, "before", 30);
    let mut reader = log.subscribe(all(), Cursor::start(log.id())).unwrap();
    assert_eq!(keys(&wait(reader.next(1)).unwrap(), "before"), [(0, 0)]);
    events(&log, &mut app, "events", 60);
    wait(log.clean()).unwrap();
    assert!(until_lost(&mut *reader, 1, "events").is_empty());
    // A reader that begins now begins at the earliest record, and one of other topics does not care.
    let earliest = log.topics().into_iter().find(|status| &*status.topic.topic == "events").unwrap().earliest;
    let read = wait(log.subscribe(wanted("events"), Cursor::start(log.id())).unwrap().next(1)).unwrap();
    assert_eq!(keys(&read, "events"), [(earliest, earliest)]);
    let mut other = log.subscribe(wanted("before"), Cursor::start(log.id())).unwrap();
    let mut read = Vec::new();
    while !other.at_tail() {
        read.extend(wait(other.next(1)).unwrap());
    }
    assert_eq!(keys(&read, "before").len(), 30);
}

/// Another process has the log open for reading only, and knows the segments that were there when it opened it.
#[test]
fn a_reader_beside_the_writer_is_told_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let events_go = Retention::Limits { age_s: Some(0), bytes: None };
    let retention = Retentions { events: events_go, ..Retentions::default() };
    let options =
        Options { retention, segment_size: 900, wait_for_groups: false, ..Options::new(dir.path()) };
    let log = Embedded::open(options).unwrap();
    events(&log, &mut Producer::new("app"), "events", 60);
    let beside = Embedded::open_read_only(dir.path()).unwrap();
    let mut reader = beside.subscribe(all(), Cursor::start(log.id())).unwrap();
    assert_eq!(keys(&wait(reader.next(1)).unwrap(), "events"), [(0, 0)]);
    assert!(wait(log.clean()).unwrap().segments_deleted > 3);
    let error = loop {
        if let Err(error) = wait(reader.next(1)) {
            break error;
        }
    };
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    assert!(
        error.to_string().contains("segments/") && error.remedy().unwrap().contains("again"),
        "{error:?}"
    );
}
