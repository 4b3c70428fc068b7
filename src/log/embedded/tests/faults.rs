//! Disks that are full or fail, and directories that are in use.

use connector_api::Kind;

use super::*;
use crate::log::conformance::{all, keys, read_all};

#[test]
fn a_full_disk_fails_appends_and_lets_them_go_on_when_there_is_room() {
    for room in 0..700 {
        let disk = Faulty::new(room);
        let log = open(&disk).unwrap();
        let mut shop = Producer::new("shop");
        shop.insert("a", 1);
        append(&*log, shop.commit()).unwrap();
        disk.set(Faults { room: Some(room), ..Faults::default() });
        shop.insert("a", 2);
        shop.insert("b", 3);
        let error = append(&*log, shop.commit());
        if let Err(error) = &error {
            assert_eq!(error.kind(), Kind::Transient);
            assert!(error.remedy().is_some_and(|remedy| remedy.contains("free space")), "{error:?}");
        }
        disk.set(Faults::default());
        shop.insert("a", 4);
        append(&*log, shop.commit()).unwrap();
        let expected: &[(u64, u64)] =
            if error.is_ok() { &[(0, 1), (1, 2), (2, 4)] } else { &[(0, 1), (1, 4)] };
        assert_eq!(keys(&wait(read_all(&*log, &all())), "a"), expected, "room {room}");
        drop(log);
        let log = open(&disk.crash()).unwrap();
        assert_eq!(keys(&wait(read_all(&*log, &all())), "a"), expected, "room {room}");
    }
}

#[test]
fn a_disk_that_fills_up_while_segments_roll_loses_nothing() {
    for room in (0..4000).step_by(37) {
        let disk = Faulty::new(room);
        let log = open(&disk).unwrap();
        let mut shop = Producer::new("shop");
        let mut expected = Vec::new();
        disk.set(Faults { room: Some(room), ..Faults::default() });
        for key in 0..40 {
            if key == 30 {
                disk.set(Faults::default());
            }
            shop.insert("a", key);
            match append(&*log, shop.commit()) {
                Ok(_) => expected.push(key),
                Err(error) => assert!(error.kind() == Kind::Transient && key < 30, "{error:?}"),
            }
        }
        let read = |log: &Embedded| -> Vec<u64> {
            keys(&wait(read_all(log, &all())), "a").into_iter().map(|(_, key)| key).collect()
        };
        assert_eq!(read(&log), expected, "room {room}");
        drop(log);
        assert_eq!(read(&open(&disk.crash()).unwrap()), expected, "room {room}");
    }
}

#[test]
fn after_a_failed_fsync_or_write_everything_is_refused() {
    for (sync, write) in [(true, false), (false, true)] {
        let disk = Faulty::new(3);
        let log = open(&disk).unwrap();
        let mut shop = Producer::new("shop");
        shop.insert("a", 1);
        append(&*log, shop.commit()).unwrap();
        disk.set(Faults { sync, write, ..Faults::default() });
        shop.insert("a", 2);
        assert!(append(&*log, shop.commit()).is_err());
        disk.set(Faults::default());
        shop.insert("a", 3);
        let error = append(&*log, shop.commit()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(log.status().poisoned.is_some());
        assert!(wait(log.clean()).is_err());
        // Nothing of the failed batch is seen, and the log opens again.
        assert_eq!(keys(&wait(read_all(&*log, &all())), "a"), [(0, 1)]);
        assert!(wait(log.close()).is_err());
        let log = open(&disk).unwrap();
        let read = keys(&wait(read_all(&*log, &all())), "a");
        assert!(read.starts_with(&[(0, 1)]) && read.len() <= 2, "{read:?}");
    }
}

#[test]
fn a_segment_that_may_or_may_not_exist_is_a_failure() {
    let disk = Faulty::new(3);
    let log = open(&disk).unwrap();
    let mut shop = Producer::new("shop");
    disk.set(Faults { rename: true, ..Faults::default() });
    let failed = (0..100).map(|key| {
        shop.insert("a", key);
        append(&*log, shop.commit())
    });
    assert!(failed.filter_map(Result::err).count() > 50);
    assert!(log.status().poisoned.is_some());
    drop(log);
    let log = open(&disk.crash()).unwrap();
    let read = keys(&wait(read_all(&*log, &all())), "a");
    shop.insert("a", 1000);
    append(&*log, shop.commit()).unwrap();
    assert_eq!(read.len() + 1, keys(&wait(read_all(&*log, &all())), "a").len());
}

#[test]
fn a_second_writer_is_refused_and_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = Embedded::open(Options::new(dir.path())).unwrap();
    let error = Embedded::open(Options::new(dir.path())).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    // Reading needs no lock and refuses to write.
    let reader = Embedded::open_read_only(dir.path()).unwrap();
    assert!(append(&*reader, Producer::new("p").empty(b"x")).is_err());
    wait(log.close()).unwrap();
    Embedded::open(Options::new(dir.path())).unwrap();
    let none = tempfile::tempdir().unwrap();
    assert_eq!(Embedded::open_read_only(none.path()).unwrap_err().kind(), Kind::Config);
    assert_eq!(std::fs::read_dir(none.path()).unwrap().count(), 0, "reading made something (I6)");
}

#[test]
fn group_offsets_survive_closing_and_crashing() {
    let disk = Faulty::new(9);
    let log = open(&disk).unwrap();
    let mut cursor = Cursor::start(log.id());
    cursor.advance(&connector_api::TopicPartition::first("a"), 5);
    log.commit_group("g", &cursor).unwrap();
    log.register_group("registered", &all()).unwrap();
    wait(log.close()).unwrap();
    drop(log);
    let log = open(&disk.crash()).unwrap();
    assert_eq!(log.groups().keys().collect::<Vec<_>>(), ["g", "registered"]);
    assert_eq!(log.groups()["g"], cursor);
    log.forget_group("g").unwrap();
    drop(log);
    assert_eq!(open(&disk.crash()).err().map(|error| error.to_string()), None);
}

#[test]
fn an_interval_shares_fsyncs_and_loses_nothing_acknowledged() {
    let disk = Faulty::new(11);
    let interval = std::time::Duration::from_millis(50);
    let log = open_with(&disk, |options| options.sync = Sync::Interval(interval)).unwrap();
    let mut shop = Producer::new("shop");
    // The first may go at once; those that follow wait for the next fsync, together.
    shop.insert("a", 0);
    append(&*log, shop.commit()).unwrap();
    let (before, began) = (log.status().fsyncs, std::time::Instant::now());
    let commits: Vec<_> = (1..6)
        .map(|key| {
            shop.insert("a", key);
            wait(log.append(shop.commit())).unwrap()
        })
        .collect();
    assert_eq!(keys(&wait(read_all(&*log, &all())), "a").len(), 1, "nothing is visible before it is durable");
    for commit in commits {
        wait(commit).unwrap();
    }
    assert!(began.elapsed() >= interval / 2, "{:?}", began.elapsed());
    assert_eq!(log.status().fsyncs - before, 1);
    let crashed = disk.crash();
    drop(log);
    let log = open(&crashed).unwrap();
    assert_eq!(keys(&wait(read_all(&*log, &all())), "a").len(), 6);
}

#[test]
fn a_cursor_beyond_the_end_is_not_passed_over() {
    let disk = Faulty::new(12);
    let log = open(&disk).unwrap();
    let mut shop = Producer::new("shop");
    shop.insert("a", 0);
    append(&*log, shop.commit()).unwrap();
    // As after a directory was brought back from an old copy: the sink has seen what the log no longer has.
    let mut cursor = Cursor::start(log.id());
    cursor.advance(&connector_api::TopicPartition::first("a"), 3);
    let mut reader = log.subscribe(all(), cursor).unwrap();
    assert_eq!(wait(reader.next(1)).unwrap_err().kind(), Kind::Lost);
}

/// A segment whose first append failed has no batch, and the next segment would have its name.
#[test]
fn a_segment_whose_first_append_failed_is_not_left() {
    let disk = Faulty::new(1);
    let log = open(&disk).unwrap();
    let mut shop = Producer::new("shop");
    disk.set(Faults { room: Some(0), ..Faults::default() });
    shop.insert("a", 1);
    assert!(append(&*log, shop.commit()).is_err());
    disk.set(Faults::default());
    for _ in 0..2 {
        (0..100).for_each(|key| shop.insert("a", key));
        append(&*log, shop.commit()).unwrap();
    }
    assert_eq!(segment_paths(&disk).len(), 2);
    wait(log.clean()).unwrap();
    assert_eq!(keys(&wait(read_all(&*log, &all())), "a").last(), Some(&(199, 99)));
}

/// A producer appends several batches before it looks at the first commit. When that one failed, the next must not stand in
/// the log without it, also when there is room again.
#[test]
fn no_batch_overtakes_a_failed_one() {
    let disk = Faulty::new(1);
    let log = open(&disk).unwrap();
    let (mut shop, mut other) = (Producer::new("shop"), Producer::new("other"));
    disk.set(Faults { room: Some(0), ..Faults::default() });
    shop.insert("a", 1);
    let first = wait(log.append(shop.commit())).unwrap();
    other.insert("b", 1);
    // Processed after the first one, so that one has failed by now; nobody has looked.
    assert!(append(&*log, other.commit()).is_err());
    disk.set(Faults::default());
    shop.insert("a", 2);
    assert_eq!(append(&*log, shop.commit()).unwrap_err().kind(), Kind::Transient);
    other.insert("b", 2);
    append(&*log, other.commit()).unwrap();
    assert!(wait(first).is_err());
    shop.insert("a", 3);
    append(&*log, shop.commit()).unwrap();
    // A commit that is dropped unread was given up: it holds nothing back.
    disk.set(Faults { room: Some(0), ..Faults::default() });
    shop.insert("a", 4);
    drop(wait(log.append(shop.commit())).unwrap());
    other.insert("b", 3);
    assert!(append(&*log, other.commit()).is_err());
    disk.set(Faults::default());
    shop.insert("a", 5);
    append(&*log, shop.commit()).unwrap();
    assert_eq!(keys(&wait(read_all(&*log, &all())), "a"), [(0, 3), (1, 5)]);
}

/// After the process died, the page cache may hold what the disk does not. What is read out of it is about to be confirmed
/// upstream (I1), so opening makes it durable first.
#[test]
fn what_opening_finds_is_durable() {
    for seed in 0..20 {
        let disk = Faulty::new(seed);
        let log = open(&disk).unwrap();
        let mut shop = Producer::new("shop");
        shop.insert("a", 1);
        // Written, not fsynced: the process ends in between.
        disk.set(Faults { sync: true, ..Faults::default() });
        assert!(append(&*log, shop.commit()).is_err());
        let disk = disk.kill();
        drop(log);
        let log = open(&disk).unwrap();
        let found = log.position("shop");
        assert!(found.is_some());
        let disk = disk.crash();
        drop(log);
        assert_eq!(open(&disk).unwrap().position("shop"), found);
    }
}
