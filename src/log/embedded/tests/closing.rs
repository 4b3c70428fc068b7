//! The lock on the directory is held until nothing of the log writes there any more (I8), and what reads beside a writer
//! does not depend on what that one does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};

use connector_api::{Kind, TopicPartition};

use super::*;
use crate::log::conformance::{Picks, all, keys, read_all, wanted};
use fs::File;

/// A disk on which the rewrite of a segment stops at its first step and waits.
#[derive(Debug)]
struct Slow {
    disk: Faulty,
    armed: AtomicBool,
    reached: Mutex<Sender<()>>,
    go_on: Mutex<Receiver<()>>,
}

impl Fs for Slow {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.open(path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.disk.open_write(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if path.to_string_lossy().ends_with(".log.new") && self.armed.swap(false, SeqCst) {
            self.reached.lock().unwrap().send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
        self.disk.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>> {
        self.disk.lock(path)
    }
}

fn rows(log: &Embedded, shop: &mut Producer, rounds: u64) {
    for round in 0..rounds {
        shop.insert("a", round % 3);
        shop.insert("b", round);
        append(log, shop.commit()).unwrap();
    }
}

#[test]
fn a_log_is_not_free_while_it_is_still_cleaned() {
    for drop_it in [false, true] {
        let disk = Faulty::new(1);
        let (reached, at) = channel();
        let (release, go_on) = channel();
        let (reached, go_on) = (Mutex::new(reached), Mutex::new(go_on));
        let slow = Arc::new(Slow { disk: disk.clone(), armed: AtomicBool::new(false), reached, go_on });
        let options = Options { segment_size: 900, clean_percent: 0, ..Options::new("/log") };
        let log = Embedded::open_on(slow.clone(), options).unwrap();
        rows(&log, &mut Producer::new("shop"), 40);
        slow.armed.store(true, SeqCst);
        // The call is given up, as by a runtime that ends; the work goes on.
        {
            let mut cleaning = std::pin::pin!(log.clean());
            let waker = std::task::Waker::noop();
            assert!(cleaning.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        }
        at.recv().unwrap();
        let closer = thread::spawn(move || if drop_it { drop(log) } else { wait(log.close()).unwrap() });
        thread::sleep(std::time::Duration::from_millis(30));
        assert_eq!(open(&disk).unwrap_err().kind(), Kind::Config, "two writers in one directory");
        release.send(()).unwrap();
        closer.join().unwrap();
        let names = disk.paths();
        assert!(names.iter().all(|path| path.extension().is_none_or(|end| end != "new")), "{names:?}");
        let log = open(&disk).unwrap();
        assert_eq!(keys(&wait(read_all(&*log, &all())), "b").len(), 40);
    }
}

/// A purge whose log is closed in the middle ends with an error, and calling again finishes it.
#[test]
fn a_purge_ends_with_its_log_and_goes_on_later() {
    let disk = Faulty::new(1);
    let (reached, at) = channel();
    let (release, go_on) = channel();
    let (reached, go_on) = (Mutex::new(reached), Mutex::new(go_on));
    let slow = Arc::new(Slow { disk: disk.clone(), armed: AtomicBool::new(false), reached, go_on });
    let options = Options { segment_size: 900, clean_percent: 0, ..Options::new("/log") };
    let log = Embedded::open_on(slow.clone(), options).unwrap();
    rows(&log, &mut Producer::new("shop"), 40);
    wait(log.purge(Box::new(Picks::new("*", [])))).unwrap();
    slow.armed.store(true, SeqCst);
    let purging = thread::spawn({
        let log = log.clone();
        move || wait(log.purge(Box::new(Picks::new("a", [1]))))
    });
    at.recv().unwrap();
    let closer = thread::spawn({
        let log = log.clone();
        move || wait(log.close()).unwrap()
    });
    while !log.shared.closing.load(SeqCst) {
        thread::yield_now();
    }
    release.send(()).unwrap();
    assert_eq!(purging.join().unwrap().unwrap_err().kind(), Kind::Transient);
    closer.join().unwrap();
    assert_eq!(wait(log.purge(Box::new(Picks::new("a", [1])))).unwrap_err().kind(), Kind::Transient);
    let names = disk.paths();
    assert!(names.iter().all(|path| path.extension().is_none_or(|end| end != "new")), "{names:?}");
    let log = open(&disk).unwrap();
    wait(log.purge(Box::new(Picks::new("a", [1])))).unwrap();
    let left = wait(read_all(&*log, &all()));
    assert!(keys(&left, "a").iter().all(|(_, key)| *key != 1));
    assert_eq!((keys(&left, "a").len(), keys(&left, "b").len()), (27, 40));
}

#[test]
fn a_closed_log_writes_no_group_files() {
    let disk = Faulty::new(1);
    let log = open(&disk).unwrap();
    wait(log.close()).unwrap();
    wait(log.close()).unwrap();
    let other = open(&disk).unwrap();
    let before = disk.paths();
    let cursor = Cursor::start(log.id());
    assert_eq!(log.commit_group("g", &cursor).unwrap_err().kind(), Kind::Transient);
    assert_eq!(log.register_group("g", &all()).unwrap_err().kind(), Kind::Transient);
    assert_eq!(log.forget_group("g").unwrap_err().kind(), Kind::Transient);
    assert!(wait(log.clean()).is_err());
    drop(log);
    assert_eq!(disk.paths(), before);
    drop(other);
}

fn path_of(log: &Embedded, first: u64) -> PathBuf {
    log.shared.path(first)
}

/// The segment that was the newest one when a reader opened the log is sealed and rewritten by the writer: the reader reads
/// what it opened.
#[test]
fn reading_beside_a_writer_is_not_hurt_by_a_rewrite() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment_size: 2000, clean_percent: 0, ..Options::new(dir.path()) };
    let log = Embedded::open(options).unwrap();
    let mut shop = Producer::new("shop");
    rows(&log, &mut shop, 5);
    let reader = Embedded::open_read_only(dir.path()).unwrap();
    let newest = path_of(&log, reader.shared.segments().active.first);
    let before = std::fs::read(&newest).unwrap();
    rows(&log, &mut shop, 60);
    wait(log.clean()).unwrap();
    assert_ne!(std::fs::read(&newest).unwrap()[..before.len().min(300)], before[..before.len().min(300)]);
    let read = wait(read_all(&*reader, &all()));
    assert_eq!(keys(&read, "b").into_iter().map(|(_, key)| key).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(keys(&read, "a").len(), 5);
}

/// A removal that failed leaves the segment where it is: what it holds still counts.
#[test]
fn a_segment_that_could_not_be_removed_is_still_there() {
    let disk = Faulty::new(1);
    let log = open(&disk).unwrap();
    let mut shop = Producer::new("shop");
    for _ in 0..40 {
        shop.insert("a", 1);
        append(&*log, shop.commit()).unwrap();
    }
    shop.change("a", connector_api::Op::Delete, 1, false);
    append(&*log, shop.commit()).unwrap();
    rows(&log, &mut Producer::new("other"), 1);
    let segments = log.status().segments;
    let filler = |log: &Embedded| {
        let (mut other, from) = (Producer::new("filler"), log.status().segments);
        while log.status().segments < from + 2 {
            other.event("filler", 1);
            append(log, other.commit()).unwrap();
        }
    };
    filler(&log);
    assert!(segments > 4, "{segments}");
    disk.set(Faults { remove: true, ..Faults::default() });
    assert!(wait(log.clean()).is_err());
    disk.set(Faults::default());
    // Whatever a tombstone goes for must really be gone, also for a log that is opened again.
    let mut cursor = Cursor::start(log.id());
    cursor.advance(&TopicPartition::first("a"), 41);
    log.commit_group("sink", &cursor).unwrap();
    for _ in 0..3 {
        wait(log.clean()).unwrap();
    }
    let read = |log: &Embedded| keys(&wait(read_all(log, &wanted("a"))), "a");
    let after = read(&log);
    drop(log);
    let log = open(&disk.crash()).unwrap();
    assert_eq!(read(&log), after, "a row came back");
}
