//! Directories that earlier versions wrote must open for ever. A new format version adds a directory; none is rewritten.

use std::path::{Path, PathBuf};

use super::*;
use crate::log::conformance::{all, keys, read_all};

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

fn options(path: &Path) -> Options {
    Options { segment_size: 1200, compression: Compression::Lz4, ..Options::new(path) }
}

/// Wrote `tests/fixtures/v1`. Kept so that the fixture of the next version is made in the same way.
#[test]
#[ignore = "writes a fixture; run once for each format version"]
fn write() {
    let path = fixture(&format!("v{}", format::VERSION));
    assert!(!path.exists(), "{} is there: fixtures are never written again", path.display());
    let log = Embedded::open(options(&path)).unwrap();
    let (mut shop, mut app) = (Producer::new("shop"), Producer::new("app"));
    shop.text = "compressible ".repeat(8);
    for round in 0..5 {
        (0..4).for_each(|key| shop.insert("shop.public.users", key + round));
        shop.rename("shop.public.users", round, 100 + round, true);
        shop.change("shop.public.users", connector_api::Op::Delete, round + 1, false);
        append(&*log, shop.commit()).unwrap();
        app.event("events", round);
        append(&*log, app.commit()).unwrap();
    }
    shop.insert("shop.public.users", 200);
    append(&*log, shop.chunk()).unwrap();
    // Aborted by what follows.
    let transactions = shop.transactions;
    let mut shop = Producer::new("shop");
    shop.transactions = transactions;
    shop.add_column("shop.public.users");
    shop.insert("shop.public.users", 300);
    append(&*log, shop.chunk()).unwrap();
    shop.insert("shop.public.users", 301);
    append(&*log, shop.commit()).unwrap();
    let mut cursor = Cursor::start(log.id());
    cursor.advance(&connector_api::TopicPartition::first("events"), 3);
    log.commit_group("billing", &cursor).unwrap();
    log.register_group("mail", &all()).unwrap();
    wait(log.close()).unwrap();
    std::fs::remove_file(path.join("LOCK")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn check(log: &Embedded) {
    let read = wait(read_all(log, &all()));
    let users = keys(&read, "shop.public.users");
    assert_eq!(users.len(), 37);
    // Round 0: four rows, a key change in two records, a delete.
    assert_eq!(users[..7], [(0, 0), (1, 1), (2, 2), (3, 3), (4, 100), (5, 0), (6, 1)]);
    // The aborted chunk took offset 35 with it.
    assert_eq!(users[35..], [(36, 300), (37, 301)]);
    assert_eq!(keys(&read, "events"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
    assert_eq!(log.position("shop").unwrap().as_bytes(), 7u64.to_be_bytes());
    assert_eq!(log.groups().keys().collect::<Vec<_>>(), ["billing", "mail"]);
    let users = log.topics().into_iter().find(|status| &*status.topic.topic == "shop.public.users").unwrap();
    assert_eq!(users.schema.unwrap().columns.len(), 3);
}

#[test]
fn version_1_opens() {
    let path = fixture("v1");
    let infos = inspect(&path, true, &mut |_, _| {}).unwrap();
    assert!(infos.len() > 1, "{infos:?}");
    check(&Embedded::open_read_only(&path).unwrap());
    let dir = tempfile::tempdir().unwrap();
    copy(&path, dir.path());
    let log = Embedded::open(options(dir.path())).unwrap();
    check(&log);
    append(&*log, Producer::new("new").empty(b"x")).unwrap();
    drop(log);
    check(&Embedded::open(options(dir.path())).unwrap());
}
