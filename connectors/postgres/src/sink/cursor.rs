//! The cursor in the target (I3).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::{Cursor, Error, LogId, Result, TopicPartition, Value};

use super::form::{Form, List};
use super::names::{literal, qualified};
use super::session::Session;
use super::statements::Statement;
use crate::catalog::{number, text};

/// The cursor of one sink, and what of it the target is known to hold.
#[derive(Debug)]
pub(super) struct CursorStore {
    sink: Arc<str>,
    table: String,
    write: Statement,
    /// What the last commits left in the target.
    stored: BTreeMap<TopicPartition, u64>,
    /// The logs that its offsets count: one, unless somebody meddled.
    logs: Vec<LogId>,
}

impl CursorStore {
    /// Reads the cursor of `sink`.
    pub(super) async fn open(session: &mut Session, schema: &str, sink: Arc<str>) -> Result<CursorStore> {
        let table = qualified(schema, "_millstream_cursor");
        let write = Statement::new(
            format!(
                "INSERT INTO {table} (sink, topic, partition, log_id, next_offset) \
                 SELECT $1, topic, partition, $2, next_offset FROM unnest($3, $4, $5) AS moved(topic, partition, next_offset) \
                 ON CONFLICT (sink, topic, partition) \
                 DO UPDATE SET log_id = excluded.log_id, next_offset = excluded.next_offset"
            ),
            vec![25, 25, 1009, 1007, 1016],
        );
        let mut store = CursorStore { sink, table, write, stored: BTreeMap::new(), logs: Vec::new() };
        store.read(session).await?;
        Ok(store)
    }

    async fn read(&mut self, session: &mut Session) -> Result<()> {
        let sql = format!(
            "SELECT topic, partition, log_id, next_offset FROM {} WHERE sink = {}",
            self.table,
            literal(&self.sink)
        );
        for row in session.query("read cursor", &sql).await? {
            let log: LogId = text(&row, 2).parse()?;
            if !self.logs.contains(&log) {
                self.logs.push(log);
            }
            let of = TopicPartition { topic: text(&row, 0).into(), partition: number(&row, 1)? };
            self.stored.insert(of, number(&row, 3)?);
        }
        Ok(())
    }

    /// The cursor, if the target holds one.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when it belongs to another log.
    pub(super) fn cursor(&self, log: LogId) -> Result<Option<Cursor>> {
        match self.logs.iter().find(|known| **known != log) {
            Some(other) => Err(self.other_log(*other)),
            None if self.logs.is_empty() => Ok(None),
            None => Ok(Some(Cursor { log, next: self.stored.clone() })),
        }
    }

    fn other_log(&self, other: LogId) -> Error {
        Error::config(format!(
            "read cursor of sink {}: it counts records of log {other}, which is not this log",
            self.sink
        ))
        .with_remedy(format!("millstream offsets CONFIG reset {} --to earliest", self.sink))
    }

    /// What of `cursor` the target does not hold yet.
    pub(super) fn moved(&self, cursor: &Cursor) -> Vec<(TopicPartition, u64)> {
        let other_log = self.logs != [cursor.log];
        let moved = cursor.next.iter().filter(|(of, next)| other_log || self.stored.get(of) != Some(next));
        moved.map(|(of, next)| (of.clone(), *next)).collect()
    }

    /// Adds the statement that writes `moved` to the volley.
    pub(super) fn write(
        &self,
        session: &mut Session,
        log: LogId,
        moved: &[(TopicPartition, u64)],
    ) -> Result<()> {
        let (mut topics, mut partitions, mut offsets) = (List::default(), List::default(), List::default());
        for (of, next) in moved {
            let next =
                i64::try_from(*next).map_err(|_| Error::corrupt(format!("write cursor: offset {next}")))?;
            topics.push(&Form::Text, Value::Text(&of.topic))?;
            partitions.push(&Form::Int4, Value::Int(i64::from(of.partition)))?;
            offsets.push(&Form::Int8, Value::Int(next))?;
        }
        session.execute(&self.write, |out| {
            Form::Text.put(out, Value::Text(&self.sink))?;
            Form::Text.put(out, Value::Text(&log.to_string()))?;
            topics.put(out, 25)?;
            partitions.put(out, 23)?;
            offsets.put(out, 20)
        })
    }

    /// The statement that removes the sink's rows.
    pub(super) fn clear_sql(&self) -> String {
        format!("DELETE FROM {} WHERE sink = {}", self.table, literal(&self.sink))
    }

    /// The target holds nothing.
    pub(super) fn cleared(&mut self) {
        self.stored.clear();
        self.logs.clear();
    }

    /// Remembers what the target holds now.
    pub(super) fn committed(&mut self, log: LogId, moved: Vec<(TopicPartition, u64)>) {
        if !moved.is_empty() {
            self.logs = vec![log];
        }
        self.stored.extend(moved);
    }
}
