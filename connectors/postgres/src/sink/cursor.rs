//! The cursor in the target (I3).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use connector_api::{Cursor, LogId, Result, TopicPartition, Value};
use connector_sql::Stored;
use connector_sql::cursor::offset;

use super::form::{Form, List};
use super::names::{literal, qualified};
use super::session::Session;
use super::statements::Statement;
use crate::catalog::{number, text};

/// The cursor of one sink, and what of it the target is known to hold.
#[derive(Debug)]
pub(super) struct CursorStore {
    table: String,
    write: Statement,
    stored: Stored,
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
        let mut store = CursorStore { table, write, stored: Stored::new(sink) };
        store.read(session).await?;
        Ok(store)
    }

    async fn read(&mut self, session: &mut Session) -> Result<()> {
        let sql = format!(
            "SELECT topic, partition, log_id, next_offset FROM {} WHERE sink = {}",
            self.table,
            literal(self.stored.sink())
        );
        for row in session.query("read cursor", &sql).await? {
            self.stored.read(text(&row, 0), number(&row, 1)?, text(&row, 2), number(&row, 3)?)?;
        }
        Ok(())
    }

    /// The cursor, if the target holds one.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when it belongs to another log.
    pub(super) fn cursor(&self, log: LogId) -> Result<Option<Cursor>> {
        self.stored.cursor(log)
    }

    /// What of `cursor` the target does not hold yet.
    pub(super) fn moved(&self, cursor: &Cursor) -> Vec<(TopicPartition, u64)> {
        self.stored.changed(cursor).map(|(of, next)| (of.clone(), next)).collect()
    }

    /// Those of `entries` that are beyond what the target holds.
    pub(super) fn beyond(&self, entries: Vec<(TopicPartition, u64)>) -> Vec<(TopicPartition, u64)> {
        entries.into_iter().filter(|(of, next)| self.stored.is_beyond(of, *next)).collect()
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
            topics.push(&Form::Text, Value::Text(&of.topic))?;
            partitions.push(&Form::Int4, Value::Int(i64::from(of.partition)))?;
            offsets.push(&Form::Int8, Value::Int(offset(*next)?))?;
        }
        session.execute(&self.write, |out| {
            Form::Text.put(out, Value::Text(self.stored.sink()))?;
            Form::Text.put(out, Value::Text(&log.to_string()))?;
            topics.put(out, 25)?;
            partitions.put(out, 23)?;
            offsets.put(out, 20)
        })
    }

    /// The statement that removes the sink's rows.
    pub(super) fn clear_sql(&self) -> String {
        format!("DELETE FROM {} WHERE sink = {}", self.table, literal(self.stored.sink()))
    }

    /// The target holds nothing.
    pub(super) fn cleared(&mut self) {
        self.stored.cleared();
    }

    /// Remembers what the target holds now.
    pub(super) fn committed(&mut self, log: LogId, moved: Vec<(TopicPartition, u64)>) {
        for (of, next) in moved {
            self.stored.committed_one(log, of, next);
        }
    }
}
