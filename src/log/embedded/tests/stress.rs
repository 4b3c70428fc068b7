//! Producers, readers and cleaning at the same time, on a real disk.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;
use crate::log::conformance::{all, keys, wanted};

const BATCHES: u64 = 300;
const PRODUCERS: u64 = 3;

async fn produce(log: Arc<Embedded>, number: u64) {
    let name = format!("p{number}");
    let mut producer = Producer::new(&name);
    let mut commits = std::collections::VecDeque::new();
    for key in 0..BATCHES {
        // Two topics in each batch, and every fifth transaction in three chunks.
        producer.event(&format!("{name}.events"), key);
        let chunks = if key % 5 == 0 { 2 } else { 0 };
        if chunks > 0 {
            producer.end_transaction();
        }
        for _ in 0..chunks {
            producer.insert(&format!("{name}.table"), key % 7);
            commits.push_back(log.append(producer.chunk()).await.unwrap());
        }
        producer.insert(&format!("{name}.table"), key % 7);
        commits.push_back(log.append(producer.commit()).await.unwrap());
        if commits.len() > 8 {
            commits.pop_front().unwrap().await.unwrap();
        }
    }
    for commit in commits {
        commit.await.unwrap();
    }
}

/// Reads until every event that matches has come, and checks that they come whole and in order.
async fn read(log: Arc<Embedded>, pattern: String, events: u64, bytes: usize) {
    let mut reader = log.subscribe(wanted(&pattern), Cursor::start(log.id())).unwrap();
    let (mut next, mut seen, mut inside): (Vec<u64>, u64, Option<Arc<str>>) =
        (vec![0; PRODUCERS as usize], 0, None);
    while seen < events {
        for delivery in reader.next(bytes).await.unwrap() {
            assert_eq!(delivery.continued, inside.is_some());
            assert!(
                inside.as_ref().is_none_or(|producer| *producer == delivery.producer),
                "transactions interleave"
            );
            inside = delivery.continues.then(|| delivery.producer.clone());
            for number in 0..PRODUCERS {
                for (offset, key) in keys(std::slice::from_ref(&delivery), &format!("p{number}.events")) {
                    assert_eq!((offset, key), (next[number as usize], next[number as usize]));
                    next[number as usize] += 1;
                    seen += 1;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_size: 8 << 10,
        tail_bytes: 4 << 10,
        queue_bytes: 8 << 10,
        clean_percent: 0,
        ..Options::new(dir.path())
    };
    let log = Embedded::open(options).unwrap();
    let producers: Vec<_> = (0..PRODUCERS).map(|number| tokio::spawn(produce(log.clone(), number))).collect();
    let mut readers = Vec::new();
    for bytes in [1, 2000, 1 << 20] {
        readers.push(tokio::spawn(read(log.clone(), "*".to_owned(), BATCHES * PRODUCERS, bytes)));
        readers.push(tokio::spawn(read(log.clone(), "p1.*".to_owned(), BATCHES, bytes)));
        readers.push(tokio::spawn(read(log.clone(), "p2.events".to_owned(), BATCHES, bytes)));
    }
    let done = Arc::new(AtomicBool::new(false));
    let cleaner = tokio::spawn({
        let (log, done) = (log.clone(), done.clone());
        async move {
            let mut rewritten = 0;
            while !done.load(SeqCst) {
                rewritten += log.clean().await.unwrap().segments_rewritten;
            }
            rewritten
        }
    });
    for task in producers.into_iter().chain(readers) {
        task.await.unwrap();
    }
    done.store(true, SeqCst);
    assert!(cleaner.await.unwrap() > 0, "nothing was cleaned meanwhile");
    let status = log.status();
    assert!(status.fsyncs < status.appends, "no group commit: {status:?}");
    let read = crate::log::conformance::read_all(&*log, &all()).await;
    for number in 0..PRODUCERS {
        let newest: std::collections::BTreeMap<u64, u64> =
            keys(&read, &format!("p{number}.table")).into_iter().map(|(offset, key)| (key, offset)).collect();
        assert_eq!(newest.len(), 7);
    }
    log.close().await.unwrap();
}
