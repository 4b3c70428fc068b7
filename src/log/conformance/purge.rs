//! What purging must do, and a judge to do it with.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use connector_api::record::{Attributes, Record};
use connector_api::{
    Change, Cursor, Encoding, Error, Kind, Op, Result, Schema, TopicPartition, Value, put_row,
};

use super::{Producer, all, append, end, keys, read_all, samples};
use crate::log::{Judge, Log, Purged, Subscription, Verdict};

/// What a judge was shown: topic, offset, whether it came with a schema.
pub type Shown = Arc<Mutex<Vec<(String, u64, bool)>>>;

/// Judges by key.
#[derive(Debug)]
pub struct Picks {
    topics: Subscription,
    keys: BTreeSet<u64>,
    /// The text that the rows get; `None` to drop them.
    text: Option<String>,
    shown: Shown,
}

impl Picks {
    /// Drops the records with these keys.
    pub fn new(pattern: &str, keys: impl IntoIterator<Item = u64>) -> Picks {
        let keys = keys.into_iter().collect();
        Picks { topics: samples::wanted(pattern), keys, text: None, shown: Shown::default() }
    }

    /// Gives the rows this text instead; tombstones stay.
    pub fn with_text(self, text: &str) -> Picks {
        Picks { text: Some(text.to_owned()), ..self }
    }

    /// What it was shown so far.
    pub fn shown(&self) -> Shown {
        self.shown.clone()
    }
}

impl Judge for Picks {
    fn wants(&mut self, topic: &TopicPartition) -> bool {
        self.topics.wants(&topic.topic)
    }

    fn judge(
        &mut self,
        topic: &TopicPartition,
        encoding: Encoding,
        schema: Option<&Arc<Schema>>,
        record: &Record<'_>,
        _: u64,
    ) -> Result<Verdict> {
        assert_eq!(schema.is_some(), encoding == Encoding::Changes);
        let shown = (topic.topic.to_string(), record.offset, schema.is_some());
        self.shown.lock().unwrap().push(shown);
        if record.key.is_none() || !self.keys.contains(&samples::key_of(record.key)) {
            return Ok(Verdict::Keep);
        }
        match (&self.text, schema) {
            (None, _) => Ok(Verdict::Drop),
            (Some(text), Some(schema)) => with_text(record, schema, text),
            (Some(_), None) => Ok(Verdict::Keep),
        }
    }
}

/// The record with another text in its row.
fn with_text(record: &Record<'_>, schema: &Arc<Schema>, text: &str) -> Result<Verdict> {
    let Some(after) = Change::decode(*record, schema)?.after else { return Ok(Verdict::Keep) };
    let mut values = after.to_vec()?;
    values[1] = Value::Text(text);
    let mut value = vec![record.value[0], 4];
    put_row(&mut value, values.into_iter());
    let attributes = Attributes(record.attributes.0 & !Attributes::PARTIAL);
    let key = record.key.map(<[u8]>::to_vec);
    Ok(Verdict::Replace { attributes, headers: record.headers.to_vec(), value, key })
}

/// Runs every check of purging.
pub(super) async fn run<F, Fut>(make: &F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Log>>,
{
    it_takes_what_it_is_told(&*make().await).await;
    it_shows_the_newest_first(&*make().await).await;
    it_replaces(&*make().await).await;
    a_topic_goes_as_a_whole(&*make().await).await;
    unfinished_transactions_are_judged_too(&*make().await).await;
    aborted_transactions_go(&*make().await).await;
    a_reader_on_its_way_gets_nothing_of_it(&*make().await).await;
    a_judge_that_fails_ends_it(&*make().await).await;
    wrong_replacements_are_refused(&*make().await).await;
    a_closed_log_is_not_purged(&*make().await).await;
}

async fn purge(log: &dyn Log, judge: Picks) -> Purged {
    log.purge(Box::new(judge)).await.unwrap()
}

async fn fill(log: &dyn Log, rounds: u64) {
    let (mut shop, mut app) = (Producer::new("shop"), Producer::new("app"));
    for round in 0..rounds {
        shop.insert("a", round % 5);
        shop.insert("b", round % 5);
        append(log, shop.commit()).await;
        app.event("e", round);
        append(log, app.commit()).await;
    }
}

async fn it_takes_what_it_is_told(log: &dyn Log) {
    fill(log, 20).await;
    let before = read_all(log, &all()).await;
    let bytes = log.topics()[0].bytes;
    let purged = purge(log, Picks::new("a", [3])).await;
    assert_eq!((purged.records_dropped, purged.records_replaced), (4, 0));
    assert_eq!(purged.ends, [(TopicPartition::first("a"), 20)]);
    assert!(purged.bytes_freed > 0 && log.topics()[0].bytes < bytes, "{purged:?}");
    let mut expected = keys(&before, "a");
    expected.retain(|(_, key)| *key != 3);
    let check = async || {
        let after = read_all(log, &all()).await;
        assert_eq!(keys(&after, "a"), expected, "offsets never move");
        assert_eq!(keys(&after, "b"), keys(&before, "b"));
        assert_eq!(keys(&after, "e"), keys(&before, "e"));
    };
    check().await;
    assert_eq!((end(log, "a"), log.topics()[0].earliest), (Some(20), 0));
    let again = purge(log, Picks::new("a", [3])).await;
    assert_eq!((again.records_dropped, again.segments_rewritten, again.bytes_freed), (0, 0, 0));
    check().await;
    // What comes later is not meant.
    let mut shop = Producer::new("shop");
    shop.insert("a", 3);
    append(log, shop.commit()).await;
    assert_eq!(keys(&read_all(log, &all()).await, "a").last(), Some(&(20, 3)));
}

async fn it_shows_the_newest_first(log: &dyn Log) {
    fill(log, 30).await;
    let mut shop = Producer::new("shop");
    shop.insert("a", 1);
    shop.add_column("a");
    shop.insert("a", 2);
    shop.event("e", 9);
    append(log, shop.commit()).await;
    let judge = Picks::new("a", []);
    let shown = judge.shown();
    assert_eq!(purge(log, judge).await.segments_rewritten, 0);
    let newest_first: Vec<_> = (0..32).rev().map(|offset| ("a".to_owned(), offset, true)).collect();
    assert_eq!(*shown.lock().unwrap(), newest_first);
    let judge = Picks::new("e", []);
    let shown = judge.shown();
    purge(log, judge).await;
    let newest_first: Vec<_> = (0..31).rev().map(|offset| ("e".to_owned(), offset, false)).collect();
    assert_eq!(*shown.lock().unwrap(), newest_first);
    let judge = Picks::new("nothing like it", []);
    let shown = judge.shown();
    assert_eq!(purge(log, judge).await, Purged::default());
    assert!(shown.lock().unwrap().is_empty());
}

/// Offset and text of every row of a topic; an empty text for unchanged ones and deletes.
async fn texts(log: &dyn Log, topic: &str) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for delivery in read_all(log, &samples::wanted(topic)).await {
        for delivered in delivery.records() {
            let delivered = delivered.unwrap();
            let change =
                Change::decode(delivered.record, delivered.section.schema.as_ref().unwrap()).unwrap();
            let text = match change.after.map(|row| row.to_vec().unwrap()).as_deref() {
                Some([_, Value::Text(text), ..]) => (*text).to_owned(),
                _ => String::new(),
            };
            found.push((delivered.record.offset, text));
        }
    }
    found
}

async fn it_replaces(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    for round in 0..12u64 {
        shop.text = format!("text {round}");
        shop.insert("a", round % 4);
        shop.change("a", Op::Update, 1, round > 1);
        append(log, shop.commit()).await;
    }
    shop.change("a", Op::Delete, 1, false);
    append(log, shop.commit()).await;
    let mut expected = texts(log, "a").await;
    let picks = || Picks::new("a", [1]).with_text("a text that is much longer than the one before");
    let purged = purge(log, picks()).await;
    assert_eq!((purged.records_dropped, purged.records_replaced), (0, 15));
    for (offset, text) in &mut expected {
        let of_key_1 = *offset % 2 == 1 || *offset % 8 == 2;
        if of_key_1 && *offset < 24 {
            *text = "a text that is much longer than the one before".to_owned();
        }
    }
    assert_eq!(texts(log, "a").await, expected);
    let again = purge(log, picks()).await;
    assert_eq!((again.records_replaced, again.segments_rewritten), (0, 0));
    purge(log, Picks::new("a", [1]).with_text("")).await;
    assert!(texts(log, "a").await.iter().all(|(_, text)| !text.contains("longer")));
}

async fn a_topic_goes_as_a_whole(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    for key in 0..10 {
        shop.insert("a", key);
        append(log, shop.commit()).await;
        shop.change("a", Op::Delete, key, false);
        shop.insert("b", key);
        append(log, shop.commit()).await;
    }
    let purged = purge(log, Picks::new("a", 0..10)).await;
    assert_eq!(purged.records_dropped, 20);
    let read = read_all(log, &all()).await;
    assert!(keys(&read, "a").is_empty());
    assert_eq!(keys(&read, "b").len(), 10);
    assert_eq!((end(log, "a"), log.topics()[0].earliest), (Some(20), 0));
    shop.insert("a", 7);
    append(log, shop.commit()).await;
    assert_eq!(keys(&read_all(log, &all()).await, "a"), [(20, 7)]);
}

async fn unfinished_transactions_are_judged_too(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    shop.insert("a", 1);
    shop.insert("a", 2);
    append(log, shop.chunk()).await;
    shop.insert("a", 1);
    append(log, shop.chunk()).await;
    let purged = purge(log, Picks::new("a", [1])).await;
    assert_eq!((purged.records_dropped, purged.ends[0].1), (2, 3));
    assert!(keys(&read_all(log, &all()).await, "a").is_empty());
    shop.insert("a", 1);
    append(log, shop.commit()).await;
    assert_eq!(keys(&read_all(log, &all()).await, "a"), [(1, 2), (3, 1)]);
    // The end of a transaction is there also when nothing else of it is.
    purge(log, Picks::new("a", [1])).await;
    assert_eq!(keys(&read_all(log, &all()).await, "a"), [(1, 2)]);
}

async fn aborted_transactions_go(log: &dyn Log) {
    let mut shop = Producer::new("shop");
    shop.insert("a", 1);
    shop.insert("b", 1);
    append(log, shop.chunk()).await;
    let mut shop = Producer::new("shop");
    shop.insert("a", 2);
    append(log, shop.commit()).await;
    let judge = Picks::new("a", [1]);
    let shown = judge.shown();
    assert_eq!(purge(log, judge).await.records_dropped, 1);
    assert_eq!(*shown.lock().unwrap(), [("a".to_owned(), 1, true)]);
    assert_eq!(keys(&read_all(log, &all()).await, "a"), [(1, 2)]);
}

async fn a_reader_on_its_way_gets_nothing_of_it(log: &dyn Log) {
    fill(log, 60).await;
    let mut reader = log.subscribe(samples::wanted("a"), Cursor::start(log.id())).unwrap();
    let mut read = reader.next(1).await.unwrap();
    let mut idle = log.subscribe(samples::wanted("a"), Cursor::start(log.id())).unwrap();
    while !idle.at_tail() {
        idle.next(1).await.unwrap();
    }
    purge(log, Picks::new("a", [3])).await;
    assert_eq!(keys(&read, "a"), [(0, 0)]);
    while !reader.at_tail() {
        read.extend(reader.next(1).await.unwrap());
    }
    let mut expected: Vec<(u64, u64)> = (0..60).map(|offset| (offset, offset % 5)).collect();
    expected.retain(|(_, key)| *key != 3);
    assert_eq!(keys(&read, "a"), expected);
    let mut shop = Producer::new("shop");
    shop.insert("a", 3);
    append(log, shop.commit()).await;
    assert_eq!(keys(&idle.next(1).await.unwrap(), "a"), [(60, 3)]);
}

/// Drops until it fails.
struct Fails(u64);

impl Judge for Fails {
    fn wants(&mut self, _: &TopicPartition) -> bool {
        true
    }

    fn judge(
        &mut self,
        _: &TopicPartition,
        _: Encoding,
        _: Option<&Arc<Schema>>,
        _: &Record<'_>,
        _: u64,
    ) -> Result<Verdict> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| Error::data("judge a record"))?;
        Ok(Verdict::Drop)
    }
}

async fn a_judge_that_fails_ends_it(log: &dyn Log) {
    fill(log, 20).await;
    let error = log.purge(Box::new(Fails(25))).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::Data, "judge a record".to_owned()));
    let read = read_all(log, &all()).await;
    // What went is the newest; nothing else was hurt.
    let left: Vec<_> = ["a", "b", "e"].map(|topic| keys(&read, topic)).into();
    assert!(left.iter().map(Vec::len).sum::<usize>() >= 60 - 25, "{left:?}");
    for records in left {
        assert!(records.iter().zip(0..).all(|((offset, _), place)| *offset == place), "{records:?}");
    }
    log.purge(Box::new(Fails(1000))).await.unwrap();
    assert!(read_all(log, &all()).await.iter().all(|delivery| delivery.records().count() == 0));
}

/// Puts the same in place of every record.
struct Wrong(Verdict);

impl Judge for Wrong {
    fn wants(&mut self, _: &TopicPartition) -> bool {
        true
    }

    fn judge(
        &mut self,
        _: &TopicPartition,
        _: Encoding,
        _: Option<&Arc<Schema>>,
        _: &Record<'_>,
        _: u64,
    ) -> Result<Verdict> {
        Ok(self.0.clone())
    }
}

async fn wrong_replacements_are_refused(log: &dyn Log) {
    fill(log, 5).await;
    let verdict = |attributes, key: Option<Vec<u8>>| {
        let (attributes, value) = (Attributes(attributes), vec![1, 0]);
        Wrong(Verdict::Replace { attributes, headers: Vec::new(), value, key })
    };
    let error = log.purge(Box::new(verdict(64, None))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert_eq!(keys(&read_all(log, &all()).await, "a").len(), 5);
    // Key and headers are what they are, whatever the attributes say.
    let wrong = Attributes::HEADERS | Attributes::KEY;
    assert_eq!(log.purge(Box::new(verdict(wrong, None))).await.unwrap().records_replaced, 15);
    assert_eq!(keys(&read_all(log, &all()).await, "a")[0], (0, u64::MAX));
}

async fn a_closed_log_is_not_purged(log: &dyn Log) {
    fill(log, 5).await;
    log.close().await.unwrap();
    assert_eq!(log.purge(Box::new(Picks::new("*", [1]))).await.unwrap_err().kind(), Kind::Transient);
    assert_eq!(keys(&read_all(log, &all()).await, "a").len(), 5);
}
