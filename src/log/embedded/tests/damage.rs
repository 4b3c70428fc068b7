//! Every byte of every file flipped, zeroed, or cut off: a torn tail is cut, anything else is refused with file and byte,
//! and nothing is ever silently wrong.

use std::path::{Path, PathBuf};

use connector_api::{Kind, LogId};
use proptest::prelude::*;

use super::*;
use crate::log::conformance::{all, keys, read_all};
use format::{EntryKind, HEADER_LEN, Header, Salt, put_entry};
use segment::{Segment, parse_name};

const TOPICS: [&str; 3] = ["a", "b", "events"];

/// Several segments with everything that can stand in one.
fn sample() -> (Faulty, Arc<Embedded>) {
    let disk = Faulty::new(5);
    let log = open(&disk).unwrap();
    let (mut shop, mut other) = (Producer::new("shop"), Producer::new("other"));
    for round in 0..6 {
        (0..4).for_each(|key| shop.insert("a", key + round));
        shop.insert("b", round);
        append(&*log, shop.commit()).unwrap();
        other.event("events", round);
        append(&*log, other.commit()).unwrap();
        shop.insert("a", 50 + round);
        append(&*log, shop.chunk()).unwrap();
        if round == 2 {
            // Its transaction is aborted.
            let transactions = shop.transactions;
            shop = Producer::new("shop");
            shop.transactions = transactions;
            shop.add_column("b");
        }
        shop.insert("b", 60 + round);
        append(&*log, shop.commit()).unwrap();
    }
    (disk, log)
}

type Content = Vec<Vec<(u64, u64)>>;

fn content(log: &dyn Log) -> Content {
    let read = wait(read_all(log, &all()));
    TOPICS.iter().map(|topic| keys(&read, topic)).collect()
}

/// What opening and reading everything gives.
fn try_read(disk: &Faulty) -> Result<Content> {
    let log = open_with(disk, |options| options.tail_bytes = 0)?;
    let mut reader = log.subscribe(all(), Cursor::start(log.id()))?;
    let mut read = Vec::new();
    // Not `at_tail`: that one keeps an error for the next call.
    let end = log.topics().iter().map(|status| status.end).sum::<u64>();
    loop {
        match wait(async { tokio::time::timeout(std::time::Duration::from_millis(0), reader.next(1 << 20)).await }) {
            Ok(more) => read.extend(more?),
            Err(_) => break,
        }
    }
    drop(log);
    let content: Content = TOPICS.iter().map(|topic| keys(&read, topic)).collect();
    assert!(content.iter().map(|records| records.len() as u64).sum::<u64>() <= end);
    Ok(content)
}

/// True when `some` is what the log held at an earlier moment.
fn is_beginning(some: &Content, whole: &Content) -> bool {
    some.iter().zip(whole).all(|(some, whole)| whole.starts_with(some))
}

/// All damages of a file, each with the first byte that it changes.
fn damages(bytes: &[u8]) -> impl Iterator<Item = (usize, &'static str, Vec<u8>)> + '_ {
    let flip = move |at: usize| {
        let mut bad = bytes.to_vec();
        bad[at] ^= 1 << (at % 8);
        (at, "flip", bad)
    };
    let zero = move |at: usize| {
        let mut bad = bytes.to_vec();
        bad.iter_mut().skip(at).take(24).for_each(|byte| *byte = 0);
        let first = bad.iter().zip(bytes).position(|(bad, good)| bad != good).unwrap_or(usize::MAX);
        (first, "zero", bad)
    };
    let cut = move |at: usize| (at, "cut", bytes[..at].to_vec());
    let all = (0..bytes.len()).flat_map(move |at| [flip(at), zero(at), cut(at)]);
    all.filter(|(first, ..)| *first != usize::MAX)
}

fn assert_refused(result: Result<Content>, path: &Path, what: &str) {
    let error = result.expect_err(&format!("{what}: accepted"));
    let text = error.to_string();
    assert_eq!(error.kind(), Kind::Corrupt, "{what}: {text}");
    assert!(text.contains(&path.display().to_string()) && text.contains("at byte "), "{what}: {text}");
}

#[test]
fn damage_in_sealed_segments_is_refused() {
    let (disk, log) = sample();
    drop(log);
    let whole = try_read(&disk.copy()).unwrap();
    assert!(whole.iter().all(|records| records.len() > 5));
    let paths = segment_paths(&disk);
    assert!(paths.len() > 3, "{paths:?}");
    let delivered = delivered(&disk);
    for path in &paths[..3] {
        let entries = entries(&disk, path);
        let unread = |at: usize| unread(&entries, &delivered, at);
        for (at, kind, bad) in damages(&disk.read(path)) {
            let copy = disk.copy();
            copy.put(path, bad);
            let what = format!("{kind} at {at} of {}", path.display());
            match try_read(&copy) {
                // Nothing that is read was hurt: marks, aborted chunks.
                Ok(read) if read == whole && kind != "cut" => assert!(unread(at), "{what}: not noticed"),
                other => assert_refused(other, path, &what),
            }
            // With the index as it was, or without it.
            copy.edit(&index::path(path), Vec::clear);
            match try_read(&copy) {
                Ok(read) => assert!(read == whole && kind != "cut" && unread(at), "{what}: not noticed"),
                other => assert_refused(other, path, &what),
            }
        }
    }
}

/// An entry of a segment file: first byte, end, kind, durable mark, and of a batch the sequence.
type Place = (u64, u64, EntryKind, u64, Option<u64>);

fn entries(disk: &Faulty, path: &Path) -> Vec<Place> {
    let first = parse_name(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let meta = disk.read(Path::new("/log/log.meta"));
    let mut segment = Segment::open(disk, path, format::decode_meta(&meta).unwrap(), first).unwrap();
    let (limit, mut at) = (segment.len().unwrap(), HEADER_LEN as u64);
    let mut found = Vec::new();
    while at < limit {
        let entry = segment.entry(at, limit).unwrap();
        let batch = entry.head.kind == EntryKind::Batch;
        let sequence = batch.then(|| segment.directory(&entry).unwrap().sequence);
        found.push((at, entry.end(), entry.head.kind, entry.head.durable, sequence));
        at = entry.end();
    }
    found
}

/// The batches that a reader of everything gets.
fn delivered(disk: &Faulty) -> Vec<u64> {
    let log = open(&disk.copy()).unwrap();
    wait(read_all(&*log, &all())).iter().map(|delivery| delivery.sequence).collect()
}

/// Whether the byte stands where a reader from the beginning has nothing to read, when it has the index: not in the header
/// and in no batch that it gets. `inspect` with `verify` reads these too.
fn unread(entries: &[Place], delivered: &[u64], at: usize) -> bool {
    let place = entries.iter().find(|(start, end, ..)| (*start..*end).contains(&(at as u64)));
    place.is_some_and(|(.., sequence)| sequence.is_none_or(|sequence| !delivered.contains(&sequence)))
}

#[test]
fn damage_in_the_newest_segment_is_a_torn_tail_or_refused() {
    for closed in [true, false] {
        let (disk, log) = sample();
        let killed = disk.copy();
        drop(log);
        let disk = if closed { disk } else { killed };
        let whole = try_read(&disk.copy()).unwrap();
        let path = segment_paths(&disk).pop().unwrap();
        let entries = entries(&disk, &path);
        assert!(entries.len() > 3, "{entries:?}");
        // Everything before this byte was durable when the last entry was written.
        let durable = entries.iter().map(|(.., durable, _)| *durable).max().unwrap();
        assert_eq!(closed, entries.last().unwrap().2 == EntryKind::Mark);
        for (at, kind, bad) in damages(&disk.read(&path)) {
            let copy = disk.copy();
            copy.put(&path, bad.clone());
            let what = format!("{kind} at {at}, durable {durable}, closed {closed}");
            let checkpoint = entries[0].1 as usize;
            let result = try_read(&copy);
            // A zeroed stretch may hit the proof too; then the tail behind it is torn as a whole.
            let proof_hurt = kind == "zero" && at as u64 + 24 > entries.last().unwrap().0;
            if at < checkpoint || (kind != "cut" && (at as u64) < durable && !proof_hurt) {
                assert_refused(result, &path, &what);
                continue;
            }
            match result {
                Ok(read) => {
                    assert!(is_beginning(&read, &whole), "{what}");
                    let all = closed && kind != "cut" && at as u64 >= durable;
                    assert!(!all || read == whole, "{what}: lost something durable");
                    // It was cut, and the log goes on.
                    let log = open(&copy).unwrap();
                    append(&*log, Producer::new("new").empty(b"x")).unwrap();
                }
                other => assert_refused(other, &path, &what),
            }
        }
    }
}

#[test]
fn damage_in_small_files() {
    let (disk, log) = sample();
    log.commit_group("g", &Cursor::start(log.id())).unwrap();
    drop(log);
    let whole = try_read(&disk.copy()).unwrap();
    for path in disk.paths() {
        let index = path.extension().is_some_and(|extension| extension == "index");
        if path.extension().is_some_and(|extension| extension == "log") {
            continue;
        }
        for (at, kind, bad) in damages(&disk.read(&path)) {
            let copy = disk.copy();
            copy.put(&path, bad);
            let result = try_read(&copy);
            let what = format!("{kind} at {at} of {}", path.display());
            if index { assert_eq!(result.unwrap(), whole, "{what}") } else { assert_refused(result, &path, &what) }
        }
    }
}

#[test]
fn inspection_finds_damage_that_readers_pass_over() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, log) = sample();
    drop(log);
    for path in disk.paths() {
        let to = dir.path().join(path.strip_prefix("/log").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, disk.read(&path)).unwrap();
    }
    let mut batches = 0;
    let infos = inspect(dir.path(), true, &mut |_, entry| batches += u64::from(entry.kind == "batch")).unwrap();
    assert_eq!(batches, infos.iter().map(|info| info.batches).sum::<u64>());
    assert!(infos.iter().rev().skip(1).all(|info| info.sealed && info.torn == 0));
    for path in &segment_paths(&disk)[..2] {
        let (to, good) = (dir.path().join(path.strip_prefix("/log").unwrap()), disk.read(path));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 4;
            std::fs::write(&to, bad).unwrap();
            let error = inspect(dir.path(), true, &mut |_, _| {}).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "byte {at}: {error}");
        }
        std::fs::write(&to, good).unwrap();
    }
}

/// A log whose newest segment ends with these bytes.
fn with_tail(tail: impl FnOnce(Salt, u64) -> Vec<u8>) -> Faulty {
    let disk = Faulty::new(5);
    let log = open_with(&disk, |options| options.segment_size = 1 << 20).unwrap();
    let mut shop = Producer::new("shop");
    shop.insert("a", 1);
    append(&*log, shop.commit()).unwrap();
    let salt = Salt::new(log.id(), 0);
    drop(log);
    let path = segment_paths(&disk).pop().unwrap();
    disk.edit(&path, |bytes| {
        let tail = tail(salt, bytes.len() as u64);
        bytes.extend(tail);
    });
    disk
}

proptest! {
    #[test]
    fn random_tails_are_cut(tail: Vec<u8>) {
        let disk = with_tail(|_, _| tail);
        prop_assert_eq!(try_read(&disk).unwrap()[0].len(), 1);
        let log = open(&disk).unwrap();
        let mut shop = Producer::new("shop");
        shop.insert("a", 2);
        append(&*log, shop.commit()).unwrap();
        prop_assert_eq!(content(&*log)[0].len(), 2);
    }

    /// Sound checksums around nonsense: an error, no panic, and no more memory than the file has bytes.
    #[test]
    fn nonsense_with_sound_checksums_is_refused(
        kind in prop::sample::select(vec![EntryKind::Checkpoint, EntryKind::Schema, EntryKind::Batch, EntryKind::Abort,
            EntryKind::Mark, EntryKind::Trim]),
        meta: Vec<u8>,
        payload in prop_oneof![Just(0u64), 0..100u64, any::<u64>()],
    ) {
        let disk = with_tail(|salt, at| {
            let mut out = Vec::new();
            put_entry(&mut out, salt, at, at, kind, payload, |out| out.extend_from_slice(&meta));
            out.resize(out.len() + payload.min(200) as usize, 7);
            out
        });
        let _ = try_read(&disk);
    }

    #[test]
    fn random_bytes_are_no_segment(bytes: Vec<u8>, sound_header: bool) {
        let disk = with_tail(|_, _| Vec::new());
        let path = segment_paths(&disk).pop().unwrap();
        let log = format::decode_meta(&disk.read(&PathBuf::from("/log/log.meta"))).unwrap();
        let header = Header { log: if sound_header { log } else { LogId(3) }, first: 0, generation: 0, created_us: 0 };
        disk.edit(&path, |file| *file = [header.encode().to_vec(), bytes].concat());
        prop_assert_eq!(try_read(&disk).unwrap_err().kind(), Kind::Corrupt);
    }
}
