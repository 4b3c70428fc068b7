//! A sink on a database of its own, and a feed that builds what the log would deliver.

use std::collections::HashMap;
use std::future::Future;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use connector_api::{
    BatchBuilder, Change, Column, Cursor, Delivery, Error, Image, Incoming, LogId, Op, Refused, Result,
    Schema, SectionHandle, Sink, Target, TopicPartition, Value, ValueKind,
};
use connector_mysql::{Mysql, Options};
use throwaway_servers::mariadb::{self, MariaDb, Session};
use tokio::runtime::{Builder, Runtime};

pub const LOG: LogId = LogId(7);

/// One server for all tests that do not stop it.
static SERVER: LazyLock<MariaDb> = LazyLock::new(|| MariaDb::start(mariadb::Options::new()));

/// Whether there is a MariaDB to test with; says loudly when there is none, and counts the test as skipped.
pub fn installed(test: &str) -> bool {
    if MariaDb::is_installed() {
        return true;
    }
    let reason = "MariaDB is not on this machine (apt-get install mariadb-server-core)";
    eprintln!("skipped {test}: {reason}");
    if let Some(path) = std::env::var_os("MILLSTREAM_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        // One write: tests append from several threads.
        file.write_all(format!("{test}: {reason}\n").as_bytes()).unwrap();
    }
    false
}

pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A topic, its shape, and where it goes.
#[derive(Clone)]
pub struct Table {
    pub topic: Arc<str>,
    pub schema: Arc<Schema>,
    pub target: Arc<Target>,
}

impl Table {
    /// The same topic into another table.
    pub fn aliased(&self, name: &str) -> Table {
        let target = Target { table: name.to_owned(), named: true, ..(*self.target).clone() };
        Table { target: Arc::new(target), ..self.clone() }
    }
}

pub fn typed(name: &str, kind: ValueKind, type_name: &str) -> Column {
    Column { name: name.to_owned(), kind, element: None, type_name: type_name.to_owned(), nullable: true }
}

pub fn shaped(name: &str, columns: Vec<Column>, key: &[usize]) -> Table {
    let schema = Arc::new(Schema {
        namespace: "public".to_owned(),
        table: name.to_owned(),
        columns,
        key: key.to_vec(),
    });
    let topic: Arc<str> = format!("shop.public.{name}").into();
    let target = Arc::new(Target::whole(&topic, &schema));
    Table { topic, schema, target }
}

pub fn table(name: &str, columns: &[(&str, ValueKind)], key: &[usize]) -> Table {
    shaped(name, columns.iter().map(|(name, kind)| typed(name, *kind, kind.as_str())).collect(), key)
}

/// `users(id int primary key, name text, note text)`.
pub fn users() -> Table {
    table("users", &[("id", ValueKind::Int), ("name", ValueKind::Text), ("note", ValueKind::Text)], &[0])
}

pub fn user<'a>(id: i64, name: &'a str) -> [Value<'a>; 3] {
    [Value::Int(id), Value::Text(name), Value::Null]
}

/// Builds deliveries, counting offsets as a log does.
pub struct Feed {
    builder: BatchBuilder,
    next: HashMap<TopicPartition, u64>,
    sequence: u64,
}

impl Feed {
    pub fn new() -> Self {
        Feed { builder: BatchBuilder::new("shop", 8 << 20), next: HashMap::new(), sequence: 0 }
    }

    pub fn change(
        &mut self,
        table: &Table,
        op: Op,
        before: Option<(Image, &[Value<'_>])>,
        after: Option<&[Value<'_>]>,
    ) -> &mut Self {
        if !self.builder.in_transaction() {
            self.builder.begin(1, 1_700_000_000_000_000);
        }
        let mut handle = SectionHandle::default();
        let section = self.builder.section(&mut handle, &table.topic, &table.schema);
        let mut writer = self.builder.change(section, op);
        for (image, values) in before.into_iter().chain(after.map(|after| (Image::NewRow, after))) {
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

    pub fn take(&mut self) -> Delivery {
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
        Delivery {
            log: LOG,
            sequence: self.sequence,
            producer: batch.producer,
            continued: batch.continued,
            continues: batch.continues,
            transactions: batch.transactions,
            sections: batch.sections,
        }
    }
}

/// A sink on a database of its own.
pub struct Harness {
    pub sink: Mysql,
    pub cursor: Cursor,
    pub feed: Feed,
    pub options: Options,
    pub database: String,
    pub session: Session,
    pub runtime: Runtime,
    /// Where each topic goes, by topic and the shape's address.
    pub routes: Vec<Table>,
}

impl Harness {
    /// On the shared server; `None` when there is none.
    pub fn new(test: &str) -> Option<Self> {
        Self::with(test, |_| {}, "")
    }

    /// A database that already holds what `sql` makes.
    pub fn on(test: &str, sql: &str) -> Option<Self> {
        Self::with(test, |_| {}, sql)
    }

    pub fn with(test: &str, adjust: impl FnOnce(&mut Options), sql: &str) -> Option<Self> {
        installed(test).then(|| Self::at(&SERVER, adjust, sql))
    }

    pub fn at(server: &MariaDb, adjust: impl FnOnce(&mut Options), sql: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let database = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let session = server.create_database(&database);
        if !sql.is_empty() {
            session.execute(sql);
        }
        let mut options = Options::new(server.url(&database));
        adjust(&mut options);
        let (sink, runtime) = (Mysql::new("billing", options.clone()), runtime());
        let mut harness = Harness {
            sink,
            cursor: Cursor::start(LOG),
            feed: Feed::new(),
            options,
            database,
            session,
            runtime,
            routes: Vec::new(),
        };
        assert_eq!(harness.start().unwrap(), None);
        harness
    }

    /// Says where the topics of these tables go.
    pub fn route(&mut self, tables: &[&Table]) -> &mut Self {
        self.routes.extend(tables.iter().map(|table| (*table).clone()));
        self
    }

    pub fn start(&mut self) -> Result<Option<Cursor>> {
        let cursor = self.runtime.block_on(self.sink.start(LOG))?;
        self.cursor = cursor.clone().unwrap_or(Cursor::start(LOG));
        Ok(cursor)
    }

    /// What a crash leaves: the connections are gone, and what was not committed with them.
    pub fn restart(&mut self) -> Result<Option<Cursor>> {
        self.sink = Mysql::new("billing", self.options.clone());
        self.start()
    }

    pub fn sink_notices(&mut self) -> Vec<String> {
        self.sink.notices()
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Gathers a delivery and flushes it; what the sink refused, by offset.
    pub fn apply(&mut self, delivery: &Delivery) -> Result<Vec<Refused>> {
        let mut refused = Vec::new();
        for delivered in delivery.records() {
            let delivered = delivered.unwrap();
            let topic = &delivered.section.topic;
            let schema = delivered.section.schema.as_ref().unwrap();
            let change = Change::decode(delivered.record, schema).unwrap();
            let routes =
                self.routes.iter().filter(|route| route.topic == topic.topic && route.schema == *schema);
            let mut any = false;
            for route in routes {
                any = true;
                let change = Change { schema: &route.schema, ..change };
                let incoming =
                    Incoming { topic, transaction: delivered.transaction, change, target: &route.target };
                match self.sink.apply(&incoming) {
                    Err(error) if error.kind() == connector_api::Kind::Data => {
                        refused.push(Refused { topic: topic.clone(), offset: change.record.offset, error });
                    }
                    applied => applied?,
                }
            }
            assert!(any, "no route for {topic}");
        }
        refused.extend(self.runtime.block_on(self.sink.flush())?);
        Ok(refused)
    }

    pub fn commit(&mut self, delivery: &Delivery) -> Result<()> {
        delivery.advance(&mut self.cursor);
        self.runtime.block_on(self.sink.commit(&self.cursor))
    }

    /// Applies what the feed holds and commits; every record must succeed.
    #[track_caller]
    pub fn deliver(&mut self) {
        let refused = self.deliver_some();
        assert!(refused.is_empty(), "{refused:?}");
    }

    /// Applies what the feed holds and commits; what was refused.
    #[track_caller]
    pub fn deliver_some(&mut self) -> Vec<Refused> {
        let delivery = self.feed.take();
        let refused = self.apply(&delivery).unwrap();
        self.commit(&delivery).unwrap();
        refused
    }

    /// Applies what the feed holds; the error that ends it.
    #[track_caller]
    pub fn failure(&mut self) -> Error {
        let delivery = self.feed.take();
        let error = self.apply(&delivery).unwrap_err();
        self.runtime.block_on(self.sink.rollback()).unwrap();
        error
    }

    /// Rows as text, seen by another connection.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.session, sql)
    }
}

#[track_caller]
pub fn rows(session: &Session, sql: &str) -> Vec<String> {
    let cells = |row: Vec<Option<String>>| {
        row.into_iter().map(|cell| cell.unwrap_or("NULL".to_owned())).collect::<Vec<_>>().join("|")
    };
    session.query_text(sql).into_iter().map(cells).collect()
}
