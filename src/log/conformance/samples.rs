//! Batches to append and ways to read them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::{
    Batch, BatchBuilder, Column, Cursor, Delivery, Event, Headers, Image, Op, Position, Row, Schema,
    SectionHandle, Value, ValueKind,
};

use crate::log::{Log, Subscription};

/// A source that is made up: tables with a key `id` and a text.
#[derive(Debug)]
pub struct Producer {
    builder: BatchBuilder,
    schemas: BTreeMap<String, Arc<Schema>>,
    /// Number of the last transaction; also its position.
    pub transactions: u64,
    /// The text in each complete row.
    pub text: String,
}

impl Producer {
    /// A source of this name.
    pub fn new(name: &str) -> Producer {
        let builder = BatchBuilder::new(name, usize::MAX);
        Producer { builder, schemas: BTreeMap::new(), transactions: 0, text: "text".to_owned() }
    }

    fn begin(&mut self) {
        if !self.builder.in_transaction() {
            self.transactions += 1;
            self.builder.begin(self.transactions, 1_700_000_000_000_000 + self.transactions as i64);
        }
    }

    fn schema(&mut self, topic: &str) -> Arc<Schema> {
        let fresh = || {
            Arc::new(Schema {
                columns: vec![column("id", ValueKind::Int), column("text", ValueKind::Text)],
                ..table(topic)
            })
        };
        self.schemas.entry(topic.to_owned()).or_insert_with(fresh).clone()
    }

    /// The table gets one more column.
    pub fn add_column(&mut self, topic: &str) {
        let mut schema = (*self.schema(topic)).clone();
        schema.columns.push(column("more", ValueKind::Bool));
        self.schemas.insert(topic.to_owned(), Arc::new(schema));
    }

    /// A change of one row, in the open transaction.
    pub fn change(&mut self, topic: &str, op: Op, key: u64, partial: bool) {
        self.begin();
        let schema = self.schema(topic);
        let text = self.text.clone();
        let section = self.builder.section(&mut SectionHandle::default(), &topic.into(), &schema);
        let mut change = self.builder.change(section, op);
        match op {
            Op::Truncate => {}
            Op::Delete => {
                change.image(Image::OldKey, 1);
                change.push(Value::Int(key as i64));
            }
            _ => {
                change.image(Image::NewRow, schema.columns.len());
                change.push(Value::Int(key as i64));
                change.push(if partial { Value::Unchanged } else { Value::Text(&text) });
                (2..schema.columns.len()).for_each(|_| change.push(Value::Null));
            }
        }
        change.finish().unwrap();
    }

    /// A row gets another key; its text is unchanged when `partial`.
    pub fn rename(&mut self, topic: &str, from: u64, to: u64, partial: bool) {
        self.begin();
        let schema = self.schema(topic);
        let section = self.builder.section(&mut SectionHandle::default(), &topic.into(), &schema);
        let text = self.text.clone();
        let mut change = self.builder.change(section, Op::Update);
        change.image(Image::OldKey, 1);
        change.push(Value::Int(from as i64));
        change.image(Image::NewRow, schema.columns.len());
        change.push(Value::Int(to as i64));
        change.push(if partial { Value::Unchanged } else { Value::Text(&text) });
        (2..schema.columns.len()).for_each(|_| change.push(Value::Null));
        change.finish().unwrap();
    }

    /// A new row.
    pub fn insert(&mut self, topic: &str, key: u64) {
        self.change(topic, Op::Insert, key, false);
    }

    /// An application event with this key.
    pub fn event(&mut self, topic: &str, key: u64) {
        let row = encoded(key);
        let headers = Headers::default();
        let event = Event { key: Some(&row), value: Some(b"{}"), headers: &headers };
        self.builder.event(&topic.into(), 1_700_000_000_000_000, event).unwrap();
    }

    /// Ends the open transaction, and goes on with the batch.
    pub fn end_transaction(&mut self) {
        let position = self.transactions.to_be_bytes();
        self.builder.commit(&position);
    }

    /// Ends the open transaction and takes the batch.
    pub fn commit(&mut self) -> Batch {
        self.end_transaction();
        let position = self.transactions.to_be_bytes();
        self.builder.take(Some(Position::new(position)))
    }

    /// Takes what is there as a chunk of a transaction that goes on.
    pub fn chunk(&mut self) -> Batch {
        self.begin();
        self.builder.take(None)
    }

    /// A batch that only moves the position.
    pub fn empty(&mut self, position: &[u8]) -> Batch {
        self.builder.take(Some(Position::new(position)))
    }
}

fn column(name: &str, kind: ValueKind) -> Column {
    let type_name = kind.as_str().to_owned();
    Column { name: name.to_owned(), kind, element: None, type_name, nullable: true }
}

fn table(topic: &str) -> Schema {
    Schema { namespace: "public".to_owned(), table: topic.to_owned(), columns: Vec::new(), key: vec![0] }
}

fn encoded(key: u64) -> Vec<u8> {
    let mut out = Vec::new();
    connector_api::put_row(&mut out, [Value::Int(key as i64)].into_iter());
    out
}

/// Every topic.
pub fn all() -> Subscription {
    wanted("*")
}

/// The topics that match.
pub fn wanted(pattern: &str) -> Subscription {
    Subscription { patterns: vec![pattern.to_owned()] }
}

/// Everything from the earliest record to the tail.
pub async fn read_all(log: &dyn Log, subscription: &Subscription) -> Vec<Delivery> {
    read_from(log, subscription, Cursor::start(log.id())).await
}

/// Everything from a cursor to the tail.
pub async fn read_from(log: &dyn Log, subscription: &Subscription, cursor: Cursor) -> Vec<Delivery> {
    let mut reader = log.subscribe(subscription.clone(), cursor).unwrap();
    let mut read = Vec::new();
    while !reader.at_tail() {
        read.extend(reader.next(64 << 10).await.unwrap());
    }
    read
}

/// Keys of a delivery in the source's order.
pub(super) fn keys_in_order(delivery: &Delivery) -> Vec<u64> {
    delivery.records().map(|delivered| key_of(delivered.unwrap().record.key)).collect()
}

/// Offsets and keys of one topic, in the order read.
pub fn keys(read: &[Delivery], topic: &str) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for delivered in read.iter().flat_map(Delivery::records) {
        let delivered = delivered.unwrap();
        if *delivered.section.topic.topic == *topic {
            found.push((delivered.record.offset, key_of(delivered.record.key)));
        }
    }
    found
}

pub(super) fn key_of(key: Option<&[u8]>) -> u64 {
    let Some(key) = key else { return u64::MAX };
    match Row::from_bytes(key).to_vec().unwrap().as_slice() {
        [Value::Int(key)] => *key as u64,
        other => panic!("key {other:?}"),
    }
}
