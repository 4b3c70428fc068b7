//! A sink on a database of its own, and a feed that builds what the log would deliver.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use connector_api::{
    BatchBuilder, Change, Column, Cursor, Delivery, Error, Image, Incoming, LogId, Op, Refused, Result,
    Schema, SectionHandle, Sink, Target, TopicPartition, Value, ValueKind,
};
use connector_postgres::sink::{Options, Postgres};
use throwaway_servers::postgres::{Options as ServerOptions, Postgres as Server, Session};
use tokio::runtime::{Builder, Runtime};

pub const LOG: LogId = LogId(7);

/// The server that tests share; each has a database of its own on it. It ends with the process.
static SERVER: LazyLock<Server> =
    LazyLock::new(|| Server::start(ServerOptions::new().set("max_connections", "200")));

pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A topic and its shape, and where it goes.
#[derive(Clone)]
pub struct Table {
    pub topic: Arc<str>,
    pub schema: Arc<Schema>,
    pub target: Arc<Target>,
}

pub fn column(name: &str, kind: ValueKind, type_name: &str) -> Column {
    Column { name: name.to_owned(), kind, element: None, type_name: type_name.to_owned(), nullable: true }
}

pub fn table_of(name: &str, columns: Vec<Column>, key: &[usize]) -> Table {
    let schema =
        Schema { namespace: "public".to_owned(), table: name.to_owned(), columns, key: key.to_vec() };
    let (topic, schema) = (format!("shop.public.{name}").into(), Arc::new(schema));
    let target = Arc::new(Target::whole(&topic, &schema));
    Table { topic, schema, target }
}

pub fn table(name: &str, columns: &[(&str, ValueKind)], key: &[usize]) -> Table {
    table_of(name, columns.iter().map(|(name, kind)| column(name, *kind, kind.as_str())).collect(), key)
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
    pub targets: Vec<Arc<Target>>,
}

impl Feed {
    pub fn new() -> Self {
        Feed {
            builder: BatchBuilder::new("shop", 1 << 20),
            next: HashMap::new(),
            sequence: 0,
            targets: Vec::new(),
        }
    }

    pub fn change(
        &mut self,
        table: &Table,
        op: Op,
        before: Option<(Image, &[Value<'_>])>,
        after: Option<&[Value<'_>]>,
    ) -> &mut Self {
        self.route(&table.target);
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

    /// The changes of its topic go there, too.
    pub fn route(&mut self, target: &Arc<Target>) {
        if !self.targets.iter().any(|known| Arc::ptr_eq(known, target)) {
            self.targets.push(target.clone());
        }
    }

    pub fn insert(&mut self, table: &Table, row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Insert, None, Some(row))
    }

    pub fn update(&mut self, table: &Table, row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Update, None, Some(row))
    }

    pub fn replace(&mut self, table: &Table, old: &[Value<'_>], row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Update, Some((Image::OldRow, old)), Some(row))
    }

    pub fn relocate(&mut self, table: &Table, old: &[Value<'_>], row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Update, Some((Image::OldKey, old)), Some(row))
    }

    pub fn delete(&mut self, table: &Table, key: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Delete, Some((Image::OldKey, key)), None)
    }

    pub fn remove(&mut self, table: &Table, old: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Delete, Some((Image::OldRow, old)), None)
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
    pub sink: Postgres,
    pub cursor: Cursor,
    pub feed: Feed,
    pub options: Options,
    pub database: String,
    pub session: Session,
    pub runtime: Runtime,
}

impl Harness {
    pub fn new() -> Self {
        Self::on("")
    }

    /// A database that already holds what `sql` makes.
    pub fn on(sql: &str) -> Self {
        Self::with(|_| {}, sql)
    }

    pub fn with(adjust: impl FnOnce(&mut Options), sql: &str) -> Self {
        let (database, session) = database();
        Self::at(SERVER.socket_url(&database), database, session, adjust, sql)
    }

    /// On another server.
    pub fn at(
        url: String,
        database: String,
        session: Session,
        adjust: impl FnOnce(&mut Options),
        sql: &str,
    ) -> Self {
        session.execute(sql);
        let mut options = Options::new(url);
        adjust(&mut options);
        let runtime = runtime();
        let mut sink = Postgres::new("billing", options.clone());
        assert_eq!(runtime.block_on(sink.start(LOG)).unwrap(), None);
        Harness { sink, cursor: Cursor::start(LOG), feed: Feed::new(), options, database, session, runtime }
    }

    /// What a crash leaves: the connections are gone, and what was not committed with them.
    pub fn restart(&mut self) -> Result<Option<Cursor>> {
        self.sink = Postgres::new("billing", self.options.clone());
        let cursor = self.runtime.block_on(self.sink.start(LOG))?;
        self.cursor = cursor.clone().unwrap_or(Cursor::start(LOG));
        Ok(cursor)
    }

    /// Applies and flushes; what was refused.
    pub fn apply(&mut self, delivery: &Delivery) -> Result<Vec<Refused>> {
        let mut at_once = Vec::new();
        for delivered in delivery.records() {
            let delivered = delivered.unwrap();
            let schema = delivered.section.schema.as_ref().unwrap();
            let topic = &delivered.section.topic;
            let fits = |target: &&Arc<Target>| target.topic == topic.topic && target.schema == *schema;
            let targets: Vec<_> = self.feed.targets.iter().filter(fits).cloned().collect();
            assert!(!targets.is_empty());
            for target in targets {
                let change = Change::decode(delivered.record, schema).unwrap();
                let incoming =
                    Incoming { topic, transaction: delivered.transaction, change, target: &target };
                match self.sink.apply(&incoming) {
                    Err(error) if error.kind() == connector_api::Kind::Data => {
                        at_once.push(Refused { topic: topic.clone(), offset: change.record.offset, error });
                    }
                    other => other?,
                }
            }
        }
        let mut refused = self.runtime.block_on(self.sink.flush())?;
        refused.extend(at_once);
        Ok(refused)
    }

    pub fn commit(&mut self, delivery: &Delivery) -> Result<()> {
        delivery.advance(&mut self.cursor);
        self.runtime.block_on(self.sink.commit(&self.cursor))
    }

    pub fn try_deliver(&mut self, delivery: &Delivery) -> Result<()> {
        let refused = self.apply(delivery)?;
        assert!(refused.is_empty(), "{refused:?}");
        self.commit(delivery)
    }

    /// Delivers what the feed holds and commits; every record must succeed.
    #[track_caller]
    pub fn deliver(&mut self) {
        let delivery = self.feed.take();
        if let Err(error) = self.try_deliver(&delivery) {
            panic!("{error:?}");
        }
    }

    /// Delivers what the feed holds and commits; the offsets that were refused, with the reasons.
    #[track_caller]
    pub fn refused(&mut self) -> Vec<(u64, Error)> {
        let delivery = self.feed.take();
        let refused = self.apply(&delivery).unwrap();
        self.commit(&delivery).unwrap();
        refused.into_iter().map(|refused| (refused.offset, refused.error)).collect()
    }

    /// Delivers what the feed holds; the error that ends the attempt.
    #[track_caller]
    pub fn failed(&mut self) -> Error {
        let delivery = self.feed.take();
        self.try_deliver(&delivery).unwrap_err()
    }

    /// Rows as text, seen by another connection.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.session, sql)
    }
}

/// A new database on the shared server.
pub fn database() -> (String, Session) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let database = format!("d{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let session = SERVER.create_database(&database);
    (database, session)
}

pub fn server() -> &'static Server {
    &SERVER
}

pub fn rows(session: &Session, sql: &str) -> Vec<String> {
    let cells = |row: Vec<Option<String>>| {
        let cells: Vec<_> = row.into_iter().map(|cell| cell.unwrap_or_else(|| "NULL".into())).collect();
        cells.join("|")
    };
    session.query_text(sql).into_iter().map(cells).collect()
}
