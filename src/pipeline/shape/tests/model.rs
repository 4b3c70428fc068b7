//! A source table that writes its history as a source does, and a target that does what the contract of sinks says.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use connector_api::json::put_text;
use connector_api::record::Attributes;
use connector_api::{
    BatchBuilder, BoxFuture, Change, Column, Cursor, Image, Incoming, LogId, Op, Result, Schema, Section,
    SectionHandle, Sink, TopicPartition, Transaction, Value, ValueKind,
};

use super::{Captured, Mapping, Shaper};

/// A row of the source.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct User {
    pub id: i64,
    pub kind: String,
    pub n: Option<i64>,
    pub email: String,
    pub big: String,
}

impl User {
    pub(super) fn values(&self) -> [Value<'_>; 5] {
        [
            Value::Int(self.id),
            Value::Text(&self.kind),
            self.n.map_or(Value::Null, Value::Int),
            Value::Text(&self.email),
            Value::Text(&self.big),
        ]
    }
}

/// The source: its rows, and the records of what happened to them.
pub(super) struct Source {
    pub rows: BTreeMap<i64, User>,
    full: bool,
    builder: BatchBuilder,
    topic: TopicPartition,
    schema: Arc<Schema>,
    written: Vec<Section>,
}

impl Source {
    /// With whole old rows, or with keys only.
    pub(super) fn new(full: bool) -> Self {
        let column = |name: &str, kind, nullable| Column {
            name: name.into(),
            kind,
            element: None,
            type_name: "text".into(),
            nullable,
        };
        let columns = vec![
            column("id", ValueKind::Int, false),
            column("kind", ValueKind::Text, false),
            column("n", ValueKind::Int, true),
            column("email", ValueKind::Text, false),
            column("big", ValueKind::Text, true),
        ];
        let schema = Schema { namespace: "public".into(), table: "users".into(), columns, key: vec![0] };
        Source {
            rows: BTreeMap::new(),
            full,
            builder: BatchBuilder::new("shop", 1 << 30),
            topic: TopicPartition { topic: "shop.public.users".into(), partition: 0 },
            schema: Arc::new(schema),
            written: Vec::new(),
        }
    }

    pub(super) fn topic(&self) -> &TopicPartition {
        &self.topic
    }

    pub(super) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    fn write(&mut self, op: Op, before: Option<(Image, &[Value<'_>])>, after: Option<&[Value<'_>]>) {
        self.builder.begin(7, 0);
        let section = self.builder.section(&mut SectionHandle::default(), &self.topic.topic, &self.schema);
        let mut writer = self.builder.change(section, op);
        for (image, values) in before.into_iter().chain(after.map(|values| (Image::NewRow, values))) {
            writer.image(image, values.len());
            values.iter().for_each(|value| writer.push(*value));
        }
        writer.finish().unwrap();
        self.builder.commit(b"p");
        // What the log does at append.
        let mut base = self.written.last().map_or(0, Section::end);
        for mut section in self.builder.take(None).sections {
            (section.base, base) = (base, base + u64::from(section.span));
            self.written.push(section);
        }
    }

    fn put(&mut self, op: Op, id: i64, kind: &str, n: Option<i64>) {
        let user = User { id, kind: kind.into(), n, email: format!("e{id}"), big: format!("big{id}") };
        self.put_user(op, user);
    }

    pub(super) fn put_user(&mut self, op: Op, user: User) {
        self.write(op, None, Some(&user.values()));
        self.rows.insert(user.id, user);
    }

    pub(super) fn insert(&mut self, id: i64, kind: &str, n: Option<i64>) {
        self.put(Op::Insert, id, kind, n);
    }

    pub(super) fn read(&mut self, id: i64, kind: &str, n: Option<i64>) {
        self.put(Op::Read, id, kind, n);
    }

    /// A big value that does not change is not sent, as by the source.
    pub(super) fn update(&mut self, id: i64, change: impl Fn(&mut User)) {
        let old = self.rows.remove(&id).unwrap();
        let mut new = old.clone();
        change(&mut new);
        let (before, key) = (old.values(), [Value::Int(old.id)]);
        let mut after = new.values();
        if old.big == new.big {
            after[4] = Value::Unchanged;
        }
        let before = match self.full {
            true => Some((Image::OldRow, &before[..])),
            false => (old.id != new.id).then_some((Image::OldKey, &key[..])),
        };
        self.write(Op::Update, before, Some(&after));
        self.rows.insert(new.id, new);
    }

    pub(super) fn delete(&mut self, id: i64) {
        let old = self.rows.remove(&id).unwrap();
        let (before, key) = (old.values(), [Value::Int(old.id)]);
        let before = if self.full { (Image::OldRow, &before[..]) } else { (Image::OldKey, &key[..]) };
        self.write(Op::Delete, Some(before), None);
    }

    pub(super) fn truncate(&mut self) {
        self.rows.clear();
        self.write(Op::Truncate, None, None);
    }

    /// Gives every record of the history to `each`.
    pub(super) fn history(&self, mut each: impl FnMut(&Captured<'_>) -> Result<()>) -> Result<()> {
        for section in &self.written {
            for record in section.records() {
                let change = Change::decode(record?, &self.schema)?;
                let transaction =
                    Transaction { id: 7, timestamp_us: 946_684_801_000_000, position: &[], first: 0, end: 1 };
                each(&Captured { topic: &self.topic, transaction, change })?;
            }
        }
        Ok(())
    }
}

type Cells = BTreeMap<usize, Vec<u8>>;

/// A target: its tables, each a map from key to row.
pub(super) struct Table {
    shaper: Shaper,
    store: Store,
}

#[derive(Default)]
struct Store {
    tables: HashMap<String, BTreeMap<Vec<u8>, Cells>>,
}

impl Table {
    pub(super) fn new(mapping: Mapping) -> Self {
        Table { shaper: Shaper::new(mapping), store: Store::default() }
    }

    pub(super) fn apply_all(&mut self, source: &Source) -> Result<()> {
        source.history(|captured| self.shaper.apply(captured, &mut self.store))
    }

    pub(super) fn apply(&mut self, captured: &Captured<'_>) -> Result<()> {
        self.shaper.apply(captured, &mut self.store)
    }

    /// Forgets everything but what the target holds.
    pub(super) fn restart(&mut self, mapping: Mapping) {
        self.shaper = Shaper::new(mapping);
    }

    pub(super) fn rows(&self) -> Vec<String> {
        self.rows_of("people")
    }

    /// The rows in order of their keys, each as its values with blanks between.
    pub(super) fn rows_of(&self, table: &str) -> Vec<String> {
        let Some(rows) = self.store.tables.get(table) else { return Vec::new() };
        rows.values()
            .map(|cells| cells.values().map(|cell| shown(cell)).collect::<Vec<_>>().join(" "))
            .collect()
    }
}

/// One value; `-` is one that the target never got.
fn shown(cell: &[u8]) -> String {
    match Value::from_bytes(cell) {
        Value::Null => "NULL".to_owned(),
        Value::Unchanged => "-".to_owned(),
        value => {
            let mut out = String::new();
            put_text(&mut out, value).unwrap();
            out
        }
    }
}

impl Sink for Store {
    fn start(&mut self, _: LogId) -> BoxFuture<'_, Result<Option<Cursor>>> {
        Box::pin(async { Ok(None) })
    }

    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        let Incoming { change, target, .. } = incoming;
        assert_eq!(change.schema, &target.schema);
        let rows = self.tables.entry(target.table.clone()).or_default();
        let key = change.record.key.map(<[u8]>::to_vec);
        let after: Option<Vec<Value<'_>>> = change.after.map(|row| row.to_vec().unwrap());
        let partial = after.as_ref().is_some_and(|row| row.iter().any(Value::is_unchanged));
        assert_eq!(partial, change.record.attributes.has(Attributes::PARTIAL), "{change:?}");
        let cell = |source: usize| {
            let mut out = Vec::new();
            if let Some(value) = after.as_ref().and_then(|row| row.get(source)) {
                value.encode(&mut out);
            }
            out
        };
        let set = |cells: &mut Cells| {
            for (at, (source, _)) in target.columns.iter().enumerate() {
                let new = cell(*source);
                if new != [1] || !cells.contains_key(&at) {
                    cells.insert(at, new);
                }
            }
        };
        match (change.op, &after) {
            (Op::Truncate, None) => rows.clear(),
            (Op::Truncate, Some(_)) => rows.values_mut().for_each(set),
            (Op::Delete, None) if change.follows_move() => {}
            (Op::Delete, None) => drop(rows.remove(&key.unwrap())),
            (Op::Delete, Some(_)) => drop(rows.get_mut(&key.unwrap()).map(set)),
            _ => {
                let old = change.old_key().unwrap().map(|values| {
                    let mut out = Vec::new();
                    connector_api::put_row(&mut out, values.into_iter());
                    out
                });
                let mut cells = old.and_then(|old| rows.remove(&old)).unwrap_or_default();
                let key = key.unwrap();
                if let Some(there) = rows.remove(&key).filter(|_| cells.is_empty()) {
                    cells = there;
                }
                set(&mut cells);
                rows.insert(key, cells);
            }
        }
        Ok(())
    }

    fn commit<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn reset<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
