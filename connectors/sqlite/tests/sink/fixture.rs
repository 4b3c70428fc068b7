//! A sink on a file of its own, and a feed that builds what the log would deliver.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use connector_api::{
    BatchBuilder, Change, Column, Cursor, Delivery, Image, Incoming, LogId, Op, Result, Schema,
    SectionHandle, Sink, Target, TopicPartition, Value, ValueKind,
};
use connector_sqlite::{Options, Sqlite};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

pub const LOG: LogId = LogId(7);

/// The sink's futures never wait.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the sink waited"),
    }
}

/// A topic and its shape, and where it goes.
#[derive(Clone)]
pub struct Table {
    pub topic: Arc<str>,
    pub schema: Arc<Schema>,
    pub target: Arc<Target>,
}

impl Table {
    pub fn of(topic: &Arc<str>, schema: Schema) -> Table {
        let schema = Arc::new(schema);
        let target = Arc::new(Target::whole(topic, &schema));
        Table { topic: topic.clone(), schema, target }
    }

    /// The same, as a rule has it.
    pub fn ruled(&self, rule: impl FnOnce(&mut Target)) -> Table {
        let mut target = (*self.target).clone();
        rule(&mut target);
        Table { target: Arc::new(target), ..self.clone() }
    }
}

pub fn column(name: &str, kind: ValueKind) -> Column {
    Column { name: name.to_owned(), kind, element: None, type_name: kind.as_str().to_owned(), nullable: true }
}

pub fn table(name: &str, columns: &[(&str, ValueKind)], key: &[usize]) -> Table {
    let columns = columns.iter().map(|(name, kind)| column(name, *kind)).collect();
    let schema =
        Schema { namespace: "public".to_owned(), table: name.to_owned(), columns, key: key.to_vec() };
    Table::of(&format!("shop.public.{name}").into(), schema)
}

/// `t(id int primary key, name text, note text)`.
pub fn users() -> Table {
    table("users", &[("id", ValueKind::Int), ("name", ValueKind::Text), ("note", ValueKind::Text)], &[0])
}

pub fn user<'a>(id: i64, name: &'a str) -> [Value<'a>; 3] {
    [Value::Int(id), Value::Text(name), Value::Null]
}

/// A delivery, and where its topics go.
pub struct Fed {
    delivery: Delivery,
    targets: Vec<Arc<Target>>,
}

impl Deref for Fed {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

/// Builds deliveries, counting offsets as a log does.
pub struct Feed {
    targets: Vec<Arc<Target>>,
    builder: BatchBuilder,
    next: HashMap<TopicPartition, u64>,
    sequence: u64,
}

impl Feed {
    pub fn new() -> Self {
        let builder = BatchBuilder::new("shop", 1 << 20);
        Feed { targets: Vec::new(), builder, next: HashMap::new(), sequence: 0 }
    }

    pub fn change(
        &mut self,
        table: &Table,
        op: Op,
        before: Option<(Image, &[Value<'_>])>,
        after: Option<&[Value<'_>]>,
    ) -> &mut Self {
        // The same topic and shape always come with the same target.
        if !self.targets.contains(&table.target) {
            self.targets.push(table.target.clone());
        }
        if !self.builder.in_transaction() {
            self.builder.begin(1, 1_700_000_000_000_000);
        }
        let mut handle = SectionHandle::default();
        let section = self.builder.section(&mut handle, &table.topic, &table.schema);
        let mut writer = self.builder.change(section, op);
        let images = before.into_iter().chain(after.map(|after| (Image::NewRow, after)));
        for (image, values) in images {
            writer.image(image, values.len());
            values.iter().for_each(|value| writer.push(*value));
        }
        writer.finish().unwrap();
        self
    }

    pub fn insert(&mut self, table: &Table, row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Insert, None, Some(row))
    }

    pub fn update(&mut self, table: &Table, row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Update, None, Some(row))
    }

    pub fn relocate(&mut self, table: &Table, old: &[Value<'_>], row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Update, Some((Image::OldKey, old)), Some(row))
    }

    pub fn delete(&mut self, table: &Table, key: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Delete, Some((Image::OldKey, key)), None)
    }

    pub fn truncate(&mut self, table: &Table) -> &mut Self {
        self.change(table, Op::Truncate, None, None)
    }

    /// A delete that keeps the row and sets columns of it.
    pub fn mark(&mut self, table: &Table, key: &[Value<'_>], row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Delete, Some((Image::OldKey, key)), Some(row))
    }

    pub fn take(&mut self) -> Fed {
        if self.builder.in_transaction() {
            self.builder.commit(b"position");
        }
        let mut batch = self.builder.take(None);
        self.sequence += 1;
        for section in &mut batch.sections {
            let next = self.next.entry(section.topic.clone()).or_default();
            section.base = *next;
            *next += u64::from(section.span);
        }
        let delivery = Delivery {
            log: LOG,
            sequence: self.sequence,
            producer: batch.producer,
            continued: batch.continued,
            continues: batch.continues,
            transactions: batch.transactions,
            sections: batch.sections,
        };
        Fed { delivery, targets: self.targets.clone() }
    }
}

/// A sink on a file that disappears with it.
pub struct Harness {
    pub sink: Sqlite,
    pub cursor: Cursor,
    pub feed: Feed,
    pub options: Options,
    folder: TempDir,
}

impl Harness {
    pub fn new() -> Self {
        Self::with(|_| {}, "")
    }

    /// A file that already holds what `sql` makes.
    pub fn on(sql: &str) -> Self {
        Self::with(|_| {}, sql)
    }

    pub fn with(adjust: impl FnOnce(&mut Options), sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(folder.path().join("target.db"));
        adjust(&mut options);
        Connection::open(&options.path).unwrap().execute_batch(sql).unwrap();
        let mut sink = Sqlite::new("billing", options.clone());
        assert_eq!(now(sink.start(LOG)).unwrap(), None);
        Harness { sink, cursor: Cursor::start(LOG), feed: Feed::new(), options, folder }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("target.db")
    }

    pub fn open(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// What a crash leaves: the connection is gone, and what was not committed with it.
    pub fn restart(&mut self) -> Result<Option<Cursor>> {
        self.sink = Sqlite::new("billing", self.options.clone());
        let cursor = now(self.sink.start(LOG))?;
        self.cursor = cursor.clone().unwrap_or(Cursor::start(LOG));
        Ok(cursor)
    }

    /// Applies a delivery without committing; the result of each record.
    pub fn apply(&mut self, delivery: &Fed) -> Vec<Result<()>> {
        apply(&mut self.sink, delivery)
    }

    /// Applies what the feed holds and commits; every record must succeed.
    #[track_caller]
    pub fn deliver(&mut self) {
        let delivery = self.feed.take();
        for result in self.apply(&delivery) {
            result.unwrap();
        }
        delivery.advance(&mut self.cursor);
        now(self.sink.commit(&self.cursor)).unwrap();
    }

    /// Applies the one change that the feed holds, and gives its error back.
    #[track_caller]
    pub fn refused(&mut self) -> connector_api::Error {
        let delivery = self.feed.take();
        let results = self.apply(&delivery);
        results.into_iter().next().unwrap().unwrap_err()
    }

    /// Rows as text, seen by another connection.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.open(), sql)
    }
}

pub fn apply(sink: &mut Sqlite, fed: &Fed) -> Vec<Result<()>> {
    let mut results = Vec::new();
    for delivered in fed.records() {
        let delivered = delivered.unwrap();
        let topic = &delivered.section.topic;
        let schema = delivered.section.schema.as_ref().unwrap();
        let fits = |target: &&Arc<Target>| target.topic == topic.topic && target.schema == *schema;
        let target = fed.targets.iter().find(fits).unwrap();
        let change = Change::decode(delivered.record, &target.schema).unwrap();
        results.push(sink.apply(&Incoming { topic, transaction: delivered.transaction, change, target }));
    }
    results
}

#[track_caller]
pub fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut out = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cells = (0..columns).map(|at| match row.get_ref(at).unwrap() {
            ValueRef::Null => "NULL".to_owned(),
            ValueRef::Integer(value) => value.to_string(),
            ValueRef::Real(value) => format!("{value:?}"),
            ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
            ValueRef::Blob(bytes) => format!("x{bytes:02x?}"),
        });
        out.push(cells.collect::<Vec<_>>().join("|"));
    }
    out
}
