//! The cursor in the target (I3).

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::{Cursor, Error, LogId, Result, TopicPartition};

use crate::error::Context;
use crate::statement::{Database, StatementId};

const WRITE: &str = "INSERT INTO _millstream_cursor (sink, topic, partition, log_id, next_offset) \
     VALUES (?, ?, ?, ?, ?) ON CONFLICT (sink, topic, partition) \
     DO UPDATE SET log_id = excluded.log_id, next_offset = excluded.next_offset";

/// The cursor of one sink, and what of it the target is known to hold.
#[derive(Debug)]
pub struct CursorStore {
    sink: Arc<str>,
    write: StatementId,
    /// What the last commit left in the target.
    stored: BTreeMap<TopicPartition, u64>,
    /// The logs that its offsets count: one, unless somebody meddled.
    logs: Vec<LogId>,
}

impl CursorStore {
    /// Reads the cursor of `sink`.
    pub fn open(database: &mut Database, sink: Arc<str>) -> Result<CursorStore> {
        let write = database.prepare(WRITE).map_err(|failure| failure.into_error("prepare cursor"))?;
        let mut store = CursorStore { sink, write, stored: BTreeMap::new(), logs: Vec::new() };
        store.read(database)?;
        Ok(store)
    }

    fn read(&mut self, database: &Database) -> Result<()> {
        let what = "read cursor";
        let mut statement = database
            .connection()
            .prepare("SELECT topic, partition, log_id, next_offset FROM _millstream_cursor WHERE sink = ?1")
            .context(what)?;
        let mut rows = statement.query([&*self.sink]).context(what)?;
        while let Some(row) = rows.next().context(what)? {
            let topic: String = row.get(0).context(what)?;
            let partition: u32 = row.get(1).context(what)?;
            let log: String = row.get(2).context(what)?;
            let next: i64 = row.get(3).context(what)?;
            let next =
                u64::try_from(next).map_err(|_| Error::corrupt(format!("read cursor: offset {next}")))?;
            let log: LogId = log.parse()?;
            if !self.logs.contains(&log) {
                self.logs.push(log);
            }
            self.stored.insert(TopicPartition { topic: topic.into(), partition }, next);
        }
        Ok(())
    }

    /// The cursor, if the target holds one.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when it belongs to another log.
    pub fn cursor(&self, log: LogId) -> Result<Option<Cursor>> {
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

    /// True when the target already holds `cursor`.
    pub fn holds(&self, cursor: &Cursor) -> bool {
        (self.logs == [cursor.log] || cursor.next.is_empty())
            && changed(&self.stored, cursor).next().is_none()
    }

    /// Writes what moved, inside the open transaction. [`CursorStore::committed`] follows when that is durable.
    pub fn write(&self, database: &mut Database, cursor: &Cursor) -> Result<()> {
        let log = cursor.log.to_string();
        for (of, next) in changed(&self.stored, cursor) {
            let next =
                i64::try_from(next).map_err(|_| Error::corrupt(format!("write cursor: offset {next}")))?;
            database
                .execute(self.write, |binder| {
                    binder.text(&self.sink)?;
                    binder.text(&of.topic)?;
                    binder.int(i64::from(of.partition))?;
                    binder.text(&log)?;
                    binder.int(next)
                })
                .map_err(|failure| failure.into_error("write cursor"))?;
        }
        Ok(())
    }

    /// Removes the sink's rows, inside the open transaction.
    pub fn clear(&mut self, database: &Database) -> Result<()> {
        database
            .connection()
            .execute("DELETE FROM _millstream_cursor WHERE sink = ?1", [&*self.sink])
            .context("reset cursor")?;
        self.stored.clear();
        self.logs.clear();
        Ok(())
    }

    /// Remembers what the target holds now.
    pub fn committed(&mut self, cursor: &Cursor) {
        let moved: Vec<_> = changed(&self.stored, cursor).map(|(of, next)| (of.clone(), next)).collect();
        if !moved.is_empty() {
            self.logs = vec![cursor.log];
        }
        for (of, next) in moved {
            self.stored.insert(of, next);
        }
    }
}

/// What of `cursor` differs from `stored`. The two nearly always have the same topics, so they are walked side by side.
fn changed<'a>(
    stored: &'a BTreeMap<TopicPartition, u64>,
    cursor: &'a Cursor,
) -> impl Iterator<Item = (&'a TopicPartition, u64)> {
    let mut stored = stored.iter().peekable();
    cursor.next.iter().filter_map(move |(of, next)| {
        while stored.next_if(|(known, _)| *known < of).is_some() {}
        match stored.next_if(|(known, _)| *known == of) {
            Some((_, known)) if known == next => None,
            _ => Some((of, *next)),
        }
    })
}
