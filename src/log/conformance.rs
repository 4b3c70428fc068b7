//! What every engine of the log must do. Each check gets a fresh log; [`run`] runs them all and panics at the first that
//! fails.

mod purge;
mod samples;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use connector_api::{Batch, Cursor, Delivery, Kind, LogId, TopicPartition};

use super::{Log, LogReader};
pub use purge::{Picks, Shown};
pub use samples::{Producer, all, keys, read_all, read_from, wanted};

/// Runs every check on logs that `make` makes.
pub async fn run<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Log>>,
{
    offsets_are_dense(&*make().await).await;
    sections_come_back_in_the_order_of_the_source(&*make().await).await;
    a_cursor_inside_a_section_starts_there(&*make().await).await;
    chunks_become_visible_together(&*make().await).await;
    an_unfinished_transaction_is_never_seen(&*make().await).await;
    positions_are_those_of_whole_transactions(&*make().await).await;
    readers_wait_at_the_tail(&*make().await).await;
    subscriptions_match_patterns(&*make().await).await;
    schemas_come_with_their_sections(&*make().await).await;
    wrong_appends_are_refused(&*make().await).await;
    a_cursor_of_another_log_is_refused(&*make().await).await;
    groups_are_kept(&*make().await).await;
    cleaning_keeps_the_newest_record_of_each_key(&*make().await).await;
    a_closed_log_refuses_appends(&*make().await).await;
    purge::run(&make).await;
}

async fn append(log: &dyn Log, batch: Batch) -> u64 {
    log.append(batch).await.unwrap().await.unwrap()
}

fn end(log: &dyn Log, topic: &str) -> Option<u64> {
    log.topics().into_iter().find(|status| *status.topic.topic == *topic).map(|status| status.end)
}

async fn offsets_are_dense(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    for round in 0..5u64 {
        shop.insert("a", round);
        shop.insert("b", round);
        shop.insert("a", round + 100);
        let sequence = append(log, shop.commit()).await;
        assert!(round == 0 || sequence > 0, "batch {sequence}");
    }
    let read = read_all(log, &all()).await;
    let offsets: Vec<u64> = keys(&read, "a").into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..10).collect::<Vec<_>>());
    assert_eq!((end(log, "a"), end(log, "b"), end(log, "c")), (Some(10), Some(5), None));
    let sequences: Vec<u64> = read.iter().map(|delivery| delivery.sequence).collect();
    assert!(sequences.is_sorted_by(|one, two| one < two), "{sequences:?}");
}

async fn sections_come_back_in_the_order_of_the_source(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    for key in 0..50 {
        shop.insert(["a", "b", "c"][key % 3], key as u64);
        if key % 7 == 0 {
            shop.end_transaction();
        }
    }
    append(log, shop.commit()).await;
    let read = read_all(log, &all()).await;
    let order: Vec<u64> = read.iter().flat_map(samples::keys_in_order).collect();
    assert_eq!(order, (0..50).collect::<Vec<_>>());
}

async fn a_cursor_inside_a_section_starts_there(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    (0..10).for_each(|key| shop.insert("a", key));
    append(log, shop.commit()).await;
    (10..20).for_each(|key| shop.insert("a", key));
    append(log, shop.commit()).await;
    for from in 0..=20 {
        let mut cursor = Cursor::start(log.id());
        cursor.advance(&TopicPartition::first("a"), from);
        let read = read_from(log, &all(), cursor).await;
        let offsets: Vec<u64> = keys(&read, "a").into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(offsets, (from..20).collect::<Vec<_>>());
    }
}

async fn chunks_become_visible_together(log: &dyn Log) {
    let (mut shop, mut other) = (Producer::new("shop"), Producer::new("other"));
    shop.insert("a", 1);
    append(log, shop.chunk()).await;
    other.insert("x", 2);
    append(log, other.commit()).await;
    shop.insert("b", 3);
    append(log, shop.chunk()).await;
    let mut reader = log.subscribe(all(), Cursor::start(log.id())).unwrap();
    let read = reader.next(usize::MAX).await.unwrap();
    assert_eq!(read.iter().flat_map(samples::keys_in_order).collect::<Vec<_>>(), [2]);
    assert!(reader.at_tail());
    assert_eq!((end(log, "a"), end(log, "x")), (Some(0), Some(1)));
    other.insert("x", 4);
    append(log, other.commit()).await;
    shop.insert("a", 5);
    append(log, shop.commit()).await;
    assert_eq!((end(log, "a"), end(log, "b")), (Some(2), Some(1)));
    let mut read = reader.next(usize::MAX).await.unwrap();
    while !reader.at_tail() {
        read.extend(reader.next(usize::MAX).await.unwrap());
    }
    let order: Vec<u64> = read.iter().flat_map(samples::keys_in_order).collect();
    assert_eq!(order, [4, 1, 3, 5]);
    let flags: Vec<_> = read.iter().map(|delivery| (delivery.continued, delivery.continues)).collect();
    assert_eq!(flags, [(false, false), (false, true), (true, true), (true, false)]);
    only_topic_of_a_large_transaction(log).await;
}

/// A reader of one topic gets a transaction that begins and ends for it, wherever its records stand.
async fn only_topic_of_a_large_transaction(log: &dyn Log) {
    for topic in ["a", "b"] {
        let read = read_all(log, &wanted(topic)).await;
        let chunks: Vec<&Delivery> = read.iter().filter(|delivery| *delivery.producer == *"shop").collect();
        assert!(!chunks[0].continued && !chunks[chunks.len() - 1].continues, "{topic}");
        assert!(chunks.windows(2).all(|pair| pair[0].continues && pair[1].continued), "{topic}");
    }
    // One byte at a time: deliveries come alone, nothing is lost between calls.
    let mut reader = log.subscribe(all(), Cursor::start(log.id())).unwrap();
    let mut order = Vec::new();
    while !reader.at_tail() {
        let read = reader.next(1).await.unwrap();
        assert_eq!(read.len(), 1);
        order.extend(read.iter().flat_map(samples::keys_in_order));
    }
    assert_eq!(order, [2, 4, 1, 3, 5]);
}

async fn an_unfinished_transaction_is_never_seen(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    shop.insert("a", 1);
    append(log, shop.chunk()).await;
    shop.insert("a", 2);
    append(log, shop.chunk()).await;
    let mut restarted = Producer::new("shop");
    restarted.insert("a", 3);
    append(log, restarted.commit()).await;
    let read = read_all(log, &all()).await;
    assert_eq!(keys(&read, "a"), [(2, 3)]);
    assert_eq!(end(log, "a"), Some(3));
    restarted.insert("a", 4);
    append(log, restarted.chunk()).await;
    restarted.insert("a", 5);
    append(log, restarted.commit()).await;
    assert_eq!(keys(&read_all(log, &all()).await, "a"), [(2, 3), (3, 4), (4, 5)]);
}

async fn positions_are_those_of_whole_transactions(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    assert_eq!(log.position("shop"), None);
    shop.insert("a", 1);
    let batch = shop.commit();
    let first = batch.position.clone();
    append(log, batch).await;
    assert!(first.is_some());
    assert_eq!(log.position("shop"), first);
    shop.insert("a", 2);
    append(log, shop.chunk()).await;
    assert_eq!(log.position("shop"), first);
    let batch = shop.commit();
    let second = batch.position.clone();
    append(log, batch).await;
    assert_eq!(log.position("shop"), second);
    // A batch may move the position alone.
    let empty = Producer::new("shop").empty(b"later");
    let third = empty.position.clone();
    append(log, empty).await;
    assert_eq!(log.position("shop"), third);
    assert_eq!(log.position("other"), None);
}

/// Polls a future once.
fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

async fn readers_wait_at_the_tail(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    let mut reader = log.subscribe(all(), Cursor::start(log.id())).unwrap();
    assert!(reader.at_tail());
    for key in 0..20 {
        // A call that is dropped takes nothing with it.
        assert!(poll_once(reader.next(1)).is_none());
        shop.insert("a", key);
        append(log, shop.commit()).await;
        assert!(!reader.at_tail());
        let read = reader.next(usize::MAX).await.unwrap();
        assert_eq!(keys(&read, "a"), [(key, key)]);
        assert!(reader.at_tail());
    }
}

async fn subscriptions_match_patterns(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    let mut reader: Box<dyn LogReader> = log.subscribe(wanted("shop.*.o*"), Cursor::start(log.id())).unwrap();
    for (key, topic) in
        ["shop.public.orders", "shop.public.users", "shop.x.others", "web.public.orders"].iter().enumerate()
    {
        shop.insert(topic, key as u64);
        append(log, shop.commit()).await;
    }
    let mut read = Vec::new();
    while !reader.at_tail() {
        read.extend(reader.next(usize::MAX).await.unwrap());
    }
    assert_eq!(read.iter().flat_map(samples::keys_in_order).collect::<Vec<_>>(), [0, 2]);
}

async fn schemas_come_with_their_sections(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    shop.insert("a", 1);
    append(log, shop.commit()).await;
    shop.add_column("a");
    shop.insert("a", 2);
    append(log, shop.commit()).await;
    shop.event("events", 3);
    append(log, shop.commit()).await;
    let read = read_all(log, &all()).await;
    let columns: Vec<Option<usize>> = read
        .iter()
        .flat_map(|delivery| &delivery.sections)
        .map(|section| section.schema.as_ref().map(|schema| schema.columns.len()))
        .collect();
    assert_eq!(columns, [Some(2), Some(3), None]);
    let status = log.topics();
    assert_eq!(status[0].schema.as_ref().unwrap().columns.len(), 3);
    assert!(status[1].schema.is_none());
}

async fn wrong_appends_are_refused(log: &dyn Log) {
    let refused = async |batch: Batch| match log.append(batch).await {
        Err(error) => error,
        Ok(commit) => commit.await.unwrap_err(),
    };
    let mut lost = Producer::new("lost");
    lost.insert("a", 1);
    let _ = lost.chunk();
    lost.insert("a", 2);
    assert_eq!(refused(lost.commit()).await.kind(), Kind::Transient);
    let mut holder = Producer::new("holder");
    holder.insert("a", 3);
    append(log, holder.chunk()).await;
    let mut other = Producer::new("other");
    other.insert("a", 4);
    assert_eq!(refused(other.commit()).await.kind(), Kind::Transient);
    append(log, holder.commit()).await;
    other.insert("a", 5);
    append(log, other.commit()).await;
    let mut inside = Producer::new("inside");
    inside.insert("b", 6);
    let mut batch = inside.chunk();
    batch.position = Some(connector_api::Position::new(*b"p"));
    assert_eq!(refused(batch).await.kind(), Kind::Data);
    assert_eq!(refused(Producer::new("").empty(b"p")).await.kind(), Kind::Data);
    assert_eq!(keys(&read_all(log, &all()).await, "a"), [(0, 3), (1, 5)]);
}

async fn a_cursor_of_another_log_is_refused(log: &dyn Log) {
    let cursor = Cursor::start(LogId(log.id().0 ^ 1));
    assert_eq!(log.subscribe(all(), cursor.clone()).err().unwrap().kind(), Kind::Config);
    assert_eq!(log.commit_group("g", &cursor).unwrap_err().kind(), Kind::Config);
}

async fn groups_are_kept(log: &dyn Log) {
    let mut cursor = Cursor::start(log.id());
    log.register_group("billing", &wanted("a")).unwrap();
    assert_eq!(log.groups().get("billing"), Some(&cursor));
    cursor.advance(&TopicPartition::first("a"), 7);
    log.commit_group("billing", &cursor).unwrap();
    log.commit_group("mail/é", &cursor).unwrap();
    assert_eq!(log.groups().keys().collect::<Vec<_>>(), ["billing", "mail/é"]);
    assert_eq!(log.groups()["billing"], cursor);
    // A group may go back, when its sink was restored from a copy.
    log.commit_group("billing", &Cursor::start(log.id())).unwrap();
    assert_eq!(log.groups()["billing"], Cursor::start(log.id()));
    log.forget_group("billing").unwrap();
    log.forget_group("nobody").unwrap();
    assert_eq!(log.groups().len(), 1);
}

async fn cleaning_keeps_the_newest_record_of_each_key(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    for round in 0..30 {
        (0..20).for_each(|key| shop.insert("a", key));
        shop.event("e", round);
        append(log, shop.commit()).await;
    }
    log.clean().await.unwrap();
    let read = read_all(log, &all()).await;
    let mut newest = std::collections::BTreeMap::new();
    for (offset, key) in keys(&read, "a") {
        assert!(newest.insert(key, offset).is_none_or(|older| older < offset));
    }
    let expected: Vec<(u64, u64)> = (0..20).map(|key| (key, 29 * 20 + key)).collect();
    assert_eq!(newest.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(keys(&read, "e").len(), 30);
    assert_eq!(end(log, "a"), Some(600));
}

async fn a_closed_log_refuses_appends(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    let mut reader = log.subscribe(all(), Cursor::start(log.id())).unwrap();
    shop.insert("a", 1);
    append(log, shop.commit()).await;
    log.close().await.unwrap();
    shop.insert("a", 2);
    let late = match log.append(shop.commit()).await {
        Ok(commit) => commit.await.map(drop),
        Err(error) => Err(error),
    };
    assert!(late.is_err());
    assert_eq!(keys(&reader.next(1).await.unwrap(), "a"), [(0, 1)]);
    assert!(reader.next(1).await.is_err());
}
