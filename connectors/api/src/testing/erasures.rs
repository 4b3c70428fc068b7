//! The suite of sinks that erase in tables: what is of one person goes, and nothing of anybody else does.

mod finding;
mod order;
mod reading;

use super::feed::{Feed, Table};
use super::sinks::{Subject, deliver, holds, started};
use crate::erasure::{Action, Erased, Erasure, Find, Outcome, Scrubbed, Step};
use crate::value::put_row;
use crate::{Cursor, Result, Sink, TopicPartition, Value, ValueKind};

/// Runs every case, each on tables of its own.
pub async fn suite(subject: &mut dyn Subject) {
    finding::cases(subject).await;
    order::cases(subject).await;
    reading::cases(subject).await;
}

/// A table whose columns are named by letters, `id` first, which is the key.
pub fn table(name: &str, kinds: &[ValueKind]) -> Table {
    let letters = ["a", "b", "c", "d"].into_iter().zip(kinds);
    let columns = [("id", &ValueKind::Int)].into_iter().chain(letters);
    let column = |(name, kind): (&str, &ValueKind)| {
        let mut column = super::feed::column(name, *kind);
        if *kind == ValueKind::Int {
            column.type_name = "bigint".to_owned();
        }
        column
    };
    Table::new(name, columns.map(column).collect(), &[0])
}

/// Rows whose column equals the value.
pub fn by(column: &str) -> Find {
    Find::Column(column.to_owned())
}

/// Rows whose JSON column holds the value there.
pub fn at(column: &str, path: &[&str]) -> Find {
    Find::Json { column: column.to_owned(), path: path.iter().map(|key| (*key).to_owned()).collect() }
}

/// Rows whose column equals another table's.
pub fn through(column: &str, table: &Table, theirs: &str, find: Find) -> Find {
    let (column, theirs) = (column.to_owned(), theirs.to_owned());
    Find::Through { column, table: table.target.table.clone(), theirs, find: Box::new(find) }
}

/// A step about a table.
pub fn step(table: &Table, find: Find, value: Value<'_>, action: Action) -> Step {
    Step { table: table.target.table.clone(), find, value: Step::encode(value), action }
}

/// Deletes.
pub fn delete(table: &Table, find: Find, value: Value<'_>) -> Step {
    step(table, find, value, Action::Delete)
}

/// An erasure of these steps.
pub fn erasure(steps: Vec<Step>) -> Erasure {
    Erasure { case: "case".to_owned(), subject: "user".to_owned(), key: Step::encode(Value::Int(7)), steps }
}

/// A sink at work.
pub struct Scene<'s> {
    subject: &'s dyn Subject,
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// Where it stands.
    pub cursor: Cursor,
    /// What the log holds.
    pub feed: Feed,
}

impl<'s> Scene<'s> {
    /// A sink that starts.
    pub async fn new(subject: &'s dyn Subject) -> Scene<'s> {
        let (sink, cursor) = started(subject).await;
        Scene::over(subject, sink, cursor)
    }

    /// A sink that has started, where it stands.
    fn over(subject: &'s dyn Subject, sink: Box<dyn Sink>, cursor: Cursor) -> Scene<'s> {
        Scene { subject, sink, cursor, feed: Feed::default() }
    }

    /// Inserts rows and commits them.
    pub async fn fill(&mut self, table: &Table, rows: &[&[Value<'_>]]) {
        for row in rows {
            self.feed.insert(table, row);
        }
        deliver(&mut *self.sink, &mut self.cursor, &self.feed.take()).await;
    }

    /// Erases as the loop does, without the commit.
    pub async fn try_erase(&mut self, steps: Vec<Step>) -> Result<Vec<Erased>> {
        assert!(self.sink.flush().await.expect("flush").is_empty());
        match self.sink.erase(&erasure(steps)).await? {
            Outcome::Done(done) => Ok(done),
            Outcome::Awaited => panic!("a table is not waited for"),
        }
    }

    /// Commits, with the event of one more erasure behind.
    pub async fn commit(&mut self) {
        let events = events();
        let next = self.cursor.get(&events) + 1;
        self.cursor.advance(&events, next);
        self.sink.commit(&self.cursor).await.expect("commit");
    }

    /// Erases and commits; what each step did: rows, and what is left.
    pub async fn erase(&mut self, steps: Vec<Step>) -> Vec<(u64, u64)> {
        let done = self.try_erase(steps).await.expect("erase");
        self.commit().await;
        done.into_iter().map(|step| (step.rows, step.left)).collect()
    }

    /// Erases by one step, which deletes that many rows and leaves none; a second time there are none.
    pub async fn erases(&mut self, step: Step, rows: u64) {
        let what = format!("{:?} by {:?}", step.table, step.find);
        assert_eq!(self.erase(vec![step.clone()]).await, [(rows, 0)], "{what}");
        assert_eq!(self.erase(vec![step]).await, [(0, 0)], "{what}, a second time");
    }

    /// Asserts that the table holds these rows.
    pub async fn holds(&self, table: &Table, rows: &[&[Value<'_>]], when: &str) {
        holds(self.subject, table, &encoded(rows), when).await;
    }

    /// Ends in order.
    pub async fn stop(mut self) {
        for _ in 0..100 {
            if self.sink.scrub().await.expect("scrub") == Scrubbed::Done {
                return self.sink.stop().await.expect("stop");
            }
        }
        panic!("nobody else is there, and it is not scrubbed");
    }
}

/// The topic of events, which no rule maps to a table.
pub fn events() -> TopicPartition {
    TopicPartition::first("millstream.erasures")
}

fn encoded(rows: &[&[Value<'_>]]) -> Vec<Vec<u8>> {
    let row = |row: &&[Value<'_>]| {
        let mut out = Vec::new();
        put_row(&mut out, row.iter().copied());
        out
    };
    rows.iter().map(row).collect()
}
