//! Builds changes as the deliver loop would give them.

use std::collections::HashMap;
use std::sync::Arc;

use connector_api::{
    BatchBuilder, Change, Column, Image, Incoming, Op, Row, Schema, Section, SectionHandle, Target,
    Transaction, Value, ValueKind, put_row,
};

use crate::gather::{Step, Work};

/// A topic and where it goes.
#[derive(Clone)]
pub struct Shape {
    pub target: Arc<Target>,
}

impl Shape {
    pub fn new(table: &str, columns: &[&str], key: &[usize]) -> Shape {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            kind: ValueKind::Text,
            element: None,
            type_name: String::new(),
            nullable: true,
        };
        let schema = Schema {
            namespace: "public".to_owned(),
            table: table.to_owned(),
            columns: columns.iter().map(column).collect(),
            key: key.to_vec(),
        };
        let topic: Arc<str> = format!("shop.public.{table}").into();
        Shape { target: Arc::new(Target::whole(&topic, &Arc::new(schema))) }
    }

    /// The same table from another topic, under other names.
    pub fn rename(&mut self, topic: &str, names: &[&str]) {
        let mut target = (*self.target).clone();
        target.topic = topic.into();
        target.schema = Arc::new((*target.schema).clone());
        let renamed = target.columns.iter_mut().zip(names);
        renamed.for_each(|((_, to), name)| *to = (*name).to_owned());
        self.target = Arc::new(target);
    }
}

pub fn users(table: &str) -> Shape {
    Shape::new(table, &["id", "name", "note"], &[0])
}

pub fn keyless(table: &str) -> Shape {
    Shape::new(table, &["a", "b"], &[])
}

struct Fed {
    section: Section,
    target: Arc<Target>,
    /// A new row that a rule puts on a change that has none.
    after: Option<Vec<u8>>,
}

pub struct Feed {
    builder: BatchBuilder,
    next: HashMap<Arc<str>, u64>,
    fed: Vec<Fed>,
}

impl Feed {
    pub fn new() -> Feed {
        Feed { builder: BatchBuilder::new("shop", 1 << 20), next: HashMap::new(), fed: Vec::new() }
    }

    pub fn change(
        &mut self,
        shape: &Shape,
        op: Op,
        before: Option<(Image, &[Value<'_>])>,
        after: Option<&[Value<'_>]>,
    ) -> &mut Self {
        self.builder.begin(1, 0);
        let target = &shape.target;
        let section = self.builder.section(&mut SectionHandle::default(), &target.topic, &target.schema);
        let mut writer = self.builder.change(section, op);
        for (image, values) in before.into_iter().chain(after.map(|after| (Image::NewRow, after))) {
            writer.image(image, values.len());
            values.iter().for_each(|value| writer.push(*value));
        }
        writer.finish().unwrap();
        self.builder.commit(b"");
        for mut section in self.builder.take(None).sections {
            let next = self.next.entry(target.topic.clone()).or_default();
            section.base = *next;
            *next += u64::from(section.span);
            self.fed.push(Fed { section, target: target.clone(), after: None });
        }
        self
    }

    pub fn insert(&mut self, shape: &Shape, row: &[Value<'_>]) -> &mut Self {
        self.change(shape, Op::Insert, None, Some(row))
    }

    pub fn update(&mut self, shape: &Shape, row: &[Value<'_>]) -> &mut Self {
        self.change(shape, Op::Update, None, Some(row))
    }

    pub fn relocate(&mut self, shape: &Shape, old: i64, row: &[Value<'_>]) -> &mut Self {
        self.change(shape, Op::Update, Some((Image::OldKey, &[Value::Int(old)])), Some(row))
    }

    pub fn delete(&mut self, shape: &Shape, key: i64) -> &mut Self {
        self.change(shape, Op::Delete, Some((Image::OldKey, &[Value::Int(key)])), None)
    }

    pub fn truncate(&mut self, shape: &Shape) -> &mut Self {
        self.change(shape, Op::Truncate, None, None)
    }

    /// A change of a table without a key.
    pub fn change_full(&mut self, shape: &Shape, old: &[Value<'_>], new: Option<&[Value<'_>]>) -> &mut Self {
        let op = if new.is_some() { Op::Update } else { Op::Delete };
        self.change(shape, op, Some((Image::OldRow, old)), new)
    }

    /// A new row for the last change, which has none: it becomes soft.
    pub fn soften(&mut self, row: &[Value<'_>]) -> &mut Self {
        let mut bytes = Vec::new();
        put_row(&mut bytes, row.iter().copied());
        self.fed.last_mut().unwrap().after = Some(bytes);
        self
    }

    /// A soft delete that says so in the last of three columns.
    pub fn mark(&mut self, shape: &Shape, key: i64, mark: &str) -> &mut Self {
        self.delete(shape, key).soften(&[Value::Unchanged, Value::Unchanged, Value::Text(mark)])
    }

    /// Every change, in order.
    pub fn list(&self) -> Vec<Incoming<'_>> {
        let mut list = Vec::new();
        for fed in &self.fed {
            for record in fed.section.records() {
                let mut change = Change::decode(record.unwrap(), &fed.target.schema).unwrap();
                change.after = change.after.or(fed.after.as_deref().map(Row::from_bytes));
                let topic = &fed.section.topic;
                list.push(Incoming {
                    topic,
                    transaction: Transaction::default(),
                    change,
                    target: &fed.target,
                });
            }
        }
        list
    }

    /// Gives every change, in order.
    pub fn each(&self, each: impl FnMut(&Incoming<'_>)) {
        self.list().iter().for_each(each);
    }
}

fn cell(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Unchanged => "-".to_owned(),
        Value::Int(int) => int.to_string(),
        Value::Text(text) => text.to_owned(),
        other => format!("{other:?}"),
    }
}

fn row(row: &Row<'_>) -> String {
    row.values().map(|value| cell(value.unwrap())).collect::<Vec<_>>().join(",")
}

fn rows(list: &[Row<'_>]) -> String {
    list.iter().map(row).collect::<Vec<_>>().join(" ")
}

pub fn show(step: &Step<'_>) -> String {
    match &step.work {
        Work::Upsert { rows: list, fresh: true } => format!("upsert fresh {}", rows(list)),
        Work::Upsert { rows: list, fresh: false } => format!("upsert {}", rows(list)),
        Work::Update { columns, rows: list } => format!("update {columns:?} {}", rows(list)),
        Work::Mark { columns, rows: list } => format!("mark {columns:?} {}", rows(list)),
        Work::MarkAll { columns, row: new } => format!("mark all {columns:?} {}", row(new)),
        Work::Delete { keys } => format!("delete {}", rows(keys)),
        Work::Move { old, columns, row: new } => format!("move {} {columns:?} {}", row(old), row(new)),
        Work::Truncate => "truncate".to_owned(),
        Work::Insert { rows: list } => format!("insert {}", rows(list)),
        Work::ReplaceRow { old, columns, row: new, absent } => {
            format!("replace {} {columns:?} {} {absent:?}", row(old), row(new))
        }
        Work::DeleteRow { old } => format!("delete row {}", row(old)),
    }
}
