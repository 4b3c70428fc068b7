//! Deliveries as the log would give them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{
    BatchBuilder, Change, Column, Delivery, Image, Incoming, LogId, Op, Refused, Result, Schema,
    SectionHandle, Sink, Target, TopicPartition, Value, ValueKind,
};

/// The log that a feed plays.
pub const LOG: LogId = LogId(7);

/// A topic, its shape, and where its rows go: everything, under the same names.
#[derive(Debug, Clone)]
pub struct Table {
    /// The topic.
    pub topic: Arc<str>,
    /// The shape.
    pub schema: Arc<Schema>,
    /// The target.
    pub target: Arc<Target>,
}

/// A column of a kind, nullable, whose type has the kind's name.
pub fn column(name: &str, kind: ValueKind) -> Column {
    Column { name: name.to_owned(), kind, element: None, type_name: kind.as_str().to_owned(), nullable: true }
}

impl Table {
    /// The table `public.{name}` of the source `shop`.
    pub fn new(name: &str, columns: Vec<Column>, key: &[usize]) -> Table {
        let schema =
            Schema { namespace: "public".to_owned(), table: name.to_owned(), columns, key: key.to_vec() };
        let (topic, schema) = (Arc::from(format!("shop.public.{name}")), Arc::new(schema));
        let target = Arc::new(Target::whole(&topic, &schema));
        Table { topic, schema, target }
    }
}

/// Builds deliveries, counting offsets as a log does.
#[derive(Debug)]
pub struct Feed {
    builder: BatchBuilder,
    targets: HashMap<usize, Arc<Target>>,
    next: HashMap<TopicPartition, u64>,
    sequence: u64,
}

impl Default for Feed {
    fn default() -> Self {
        Feed {
            builder: BatchBuilder::new("shop", 1 << 20),
            targets: HashMap::new(),
            next: HashMap::new(),
            sequence: 0,
        }
    }
}

impl Feed {
    /// Adds a change to the open transaction, beginning one when needed.
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
        self.targets.insert(Arc::as_ptr(&table.schema) as usize, table.target.clone());
        let mut handle = SectionHandle::default();
        let section = self.builder.section(&mut handle, &table.topic, &table.schema);
        let mut writer = self.builder.change(section, op);
        let images = before.into_iter().chain(after.map(|after| (Image::NewRow, after)));
        for (image, values) in images {
            writer.image(image, values.len());
            values.iter().for_each(|value| writer.push(*value));
        }
        writer.finish().expect("a change of a feed");
        self
    }

    /// A new row.
    pub fn insert(&mut self, table: &Table, row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Insert, None, Some(row))
    }

    /// A changed row under the same key.
    pub fn update(&mut self, table: &Table, row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Update, None, Some(row))
    }

    /// A changed row under another key.
    pub fn relocate(&mut self, table: &Table, old: &[Value<'_>], row: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Update, Some((Image::OldKey, old)), Some(row))
    }

    /// A row that is gone.
    pub fn delete(&mut self, table: &Table, key: &[Value<'_>]) -> &mut Self {
        self.change(table, Op::Delete, Some((Image::OldKey, key)), None)
    }

    /// All rows are gone.
    pub fn truncate(&mut self, table: &Table) -> &mut Self {
        self.change(table, Op::Truncate, None, None)
    }

    /// Ends the transaction, and gives the delivery that holds it.
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

/// A delivery, and where its rows go.
#[derive(Debug, Clone)]
pub struct Fed {
    /// The delivery.
    pub delivery: Delivery,
    targets: HashMap<usize, Arc<Target>>,
}

impl Fed {
    /// Applies the records that `wants` asks for, without flushing; the result of each.
    pub fn apply_some(
        &self,
        sink: &mut dyn Sink,
        mut wants: impl FnMut(&TopicPartition, u64) -> bool,
    ) -> Vec<Result<()>> {
        let mut results = Vec::new();
        for delivered in self.delivery.records() {
            let delivered = delivered.expect("a record of a feed");
            let topic = &delivered.section.topic;
            if !wants(topic, delivered.record.offset) {
                continue;
            }
            let schema = delivered.section.schema.as_ref().expect("a shape");
            let target = &self.targets[&(Arc::as_ptr(schema) as usize)];
            let change = Change::decode(delivered.record, schema).expect("a change of a feed");
            results.push(sink.apply(&Incoming { topic, transaction: delivered.transaction, change, target }));
        }
        results
    }

    /// Applies all of it and flushes; every record must be taken. What the flush refused.
    pub async fn apply(&self, sink: &mut dyn Sink) -> Vec<Refused> {
        self.apply_some(sink, |_, _| true).into_iter().for_each(|result| result.expect("apply"));
        sink.flush().await.expect("flush")
    }
}
