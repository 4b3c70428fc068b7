//! What the loop owes the log before it has applied anything.

use super::super::*;
use crate::log::conformance::Producer;
use crate::log::embedded::Retentions;
use crate::log::{Embedded, Options, Retention};

/// A log whose records may go as soon as their segment is sealed and no group wants them.
fn forgetful(path: &std::path::Path) -> Arc<Embedded> {
    let at_once = Retention::Limits { age_s: Some(0), bytes: None };
    let retention = Retentions { rules: vec![("*".to_owned(), at_once)], ..Retentions::default() };
    Embedded::open(Options { segment_size: 2000, clean_percent: 0, retention, ..Options::new(path) }).unwrap()
}

/// A sink whose target cannot be reached.
fn unreachable(log: &Arc<Embedded>) -> Deliver {
    Deliver {
        name: "billing".into(),
        make: Box::new(|| Err(Error::transient("open target: nobody listens"))),
        log: log.clone(),
        subscription: Subscription { patterns: vec!["shop.*".to_owned()] },
        mapping: Mapping::default(),
        batched: false,
        policy: ErrorPolicy { retries_max: None, dead_letter: false },
        eraser: None,
        dead_letters: DeadLetters::open(None).unwrap(),
        status: Arc::default(),
        commands: mpsc::channel(1).1,
    }
}

async fn append(log: &Embedded, topic: &str) {
    let mut producer = Producer::new("app");
    for key in 0..40 {
        producer.event(topic, key);
        log.append(producer.commit()).await.unwrap().await.unwrap();
    }
}

fn earliest(log: &Embedded, topic: &str) -> u64 {
    log.topics().into_iter().find(|status| *status.topic.topic == *topic).unwrap().earliest
}

/// I5: a sink that has not been able to start yet holds retention back on what it will read, and on nothing else.
#[tokio::test]
async fn retention_waits_for_a_sink_that_has_read_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = forgetful(dir.path());
    let mut deliver = unreachable(&log);
    let (_stop, mut shutdown) = Shutdown::new();
    let mut backoff = Backoff::of("billing");
    assert!(deliver.attempt(&mut shutdown, &mut backoff).await.is_err());
    append(&log, "shop.orders").await;
    append(&log, "web.visits").await;
    log.clean().await.unwrap();
    assert_eq!(earliest(&log, "shop.orders"), 0);
    assert!(earliest(&log, "web.visits") > 0);
    // Also for a log that is opened again before the sink is.
    log.close().await.unwrap();
    drop((deliver, log));
    let log = forgetful(dir.path());
    log.clean().await.unwrap();
    assert_eq!(earliest(&log, "shop.orders"), 0);
    // Taken out of the configuration, it holds nothing back.
    log.forget_group("billing").unwrap();
    log.clean().await.unwrap();
    assert!(earliest(&log, "shop.orders") > 0);
}
