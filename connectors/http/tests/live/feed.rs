//! Changes for the sink, with the offsets that a log would give them.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::render::SourceInfo;
use connector_api::{
    BatchBuilder, Change, Column, Image, Incoming, LogId, Op, Refused, Result, Schema, SectionHandle, Sink,
    Target, TopicPartition, Transaction, Value, ValueKind,
};
use connector_http::{Http, Options};

pub const LOG: LogId = LogId(0xa1);

/// A started sink, and the table that feeds it.
pub struct Feed {
    pub sink: Http,
    pub schema: Arc<Schema>,
    pub target: Arc<Target>,
    pub offset: u64,
}

pub fn schema(key: Vec<usize>) -> Arc<Schema> {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        element: None,
        type_name: String::new(),
        nullable: true,
    };
    Arc::new(Schema {
        namespace: "public".to_owned(),
        table: "users".to_owned(),
        columns: vec![column("id", ValueKind::Int), column("name", ValueKind::Text)],
        key,
    })
}

impl Feed {
    pub async fn new(options: Options) -> Feed {
        Feed::of(options, schema(vec![0])).await
    }

    pub async fn of(options: Options, schema: Arc<Schema>) -> Feed {
        let info = SourceInfo { connector: "test", database: "shop".to_owned(), position: None };
        let mut sink = Http::new("hook", options).describing(BTreeMap::from([("shop".to_owned(), info)]));
        assert_eq!(sink.start(LOG).await.expect("a start"), None);
        assert!(!sink.keeps_cursor());
        let target = Arc::new(Target::whole(&"shop.public.users".into(), &schema));
        Feed { sink, schema, target, offset: 0 }
    }

    /// Applies one change under the next offset.
    pub fn push(&mut self, op: Op, images: &[(Image, &[Value<'_>])]) {
        let mut builder = BatchBuilder::new("shop", 1 << 20);
        builder.begin(7, 1_700_000_000_000_000);
        let section = builder.section(&mut SectionHandle::default(), &self.target.topic, &self.schema);
        let mut writer = builder.change(section, op);
        for (image, values) in images {
            writer.image(*image, values.len());
            values.iter().for_each(|value| writer.push(*value));
        }
        writer.finish().expect("a change");
        builder.commit(b"");
        let transaction =
            Transaction { id: 7, timestamp_us: 1_700_000_000_000_000, position: b"", first: 0, end: 1 };
        for mut section in builder.take(None).sections {
            section.base = self.offset;
            for record in section.records() {
                let change = Change::decode(record.expect("a record"), &self.schema).expect("a change");
                let (topic, target) = (&section.topic, &self.target);
                self.sink.apply(&Incoming { topic, transaction, change, target }).expect("applied");
                self.offset += 1;
            }
        }
    }

    pub fn insert(&mut self, id: i64, name: &str) {
        self.push(Op::Insert, &[(Image::NewRow, &[Value::Int(id), Value::Text(name)])]);
    }

    pub fn update(&mut self, id: i64, name: &str) {
        self.push(Op::Update, &[(Image::NewRow, &[Value::Int(id), Value::Text(name)])]);
    }

    pub fn delete(&mut self, id: i64) {
        self.push(Op::Delete, &[(Image::OldKey, &[Value::Int(id)])]);
    }

    pub async fn flush(&mut self) -> Result<Vec<Refused>> {
        self.sink.flush().await
    }

    /// Flushes, and everything is accepted.
    pub async fn deliver(&mut self) {
        let refused = self.flush().await.expect("delivered");
        assert!(refused.is_empty(), "{refused:?}");
    }

    /// Flushes; the offsets that were refused, in order, and the first reason.
    pub async fn refusals(&mut self) -> (Vec<u64>, String) {
        let mut refused = self.flush().await.expect("delivered");
        refused.sort_by_key(|refused| refused.offset);
        let of = TopicPartition::first("shop.public.users");
        assert!(refused.iter().all(|refused| refused.topic == of));
        let reason = refused.first().map(|refused| refused.error.to_string()).unwrap_or_default();
        (refused.iter().map(|refused| refused.offset).collect(), reason)
    }
}

/// Options for quick tests: short waits.
pub fn options(url: &str) -> Options {
    let mut options = Options::new(url);
    options.retry.first = connector_api::options::Span::millis(5);
    options.retry.max = connector_api::options::Span::millis(200);
    options.timeout = connector_api::options::Span::secs(5);
    options
}
