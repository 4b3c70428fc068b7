//! The cursor in the target (I3).

use std::sync::Arc;

use connector_api::{Cursor, LogId, Result};
use connector_sql::{Stored, cursor::offset};

use crate::error::Context;
use crate::statement::{Database, StatementId};

const WRITE: &str = "INSERT INTO _millstream_cursor (sink, topic, partition, log_id, next_offset) \
     VALUES (?, ?, ?, ?, ?) ON CONFLICT (sink, topic, partition) \
     DO UPDATE SET log_id = excluded.log_id, next_offset = excluded.next_offset";

/// The cursor of one sink, and what of it the target is known to hold.
#[derive(Debug)]
pub struct CursorStore {
    write: StatementId,
    stored: Stored,
}

impl CursorStore {
    /// Reads the cursor of `sink`.
    pub fn open(database: &mut Database, sink: Arc<str>) -> Result<CursorStore> {
        let write = database.prepare(WRITE).map_err(|failure| failure.into_error("prepare cursor"))?;
        let what = "read cursor";
        let mut stored = Stored::new(sink);
        let mut statement = database
            .connection()
            .prepare("SELECT topic, partition, log_id, next_offset FROM _millstream_cursor WHERE sink = ?1")
            .context(what)?;
        let mut rows = statement.query([&**stored.sink()]).context(what)?;
        while let Some(row) = rows.next().context(what)? {
            let topic: String = row.get(0).context(what)?;
            let log: String = row.get(2).context(what)?;
            stored.read(&topic, row.get(1).context(what)?, &log, row.get(3).context(what)?)?;
        }
        Ok(CursorStore { write, stored })
    }

    /// The cursor, if the target holds one.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when it belongs to another log.
    pub fn cursor(&self, log: LogId) -> Result<Option<Cursor>> {
        self.stored.cursor(log)
    }

    /// True when the target already holds `cursor`.
    pub fn holds(&self, cursor: &Cursor) -> bool {
        self.stored.holds(cursor)
    }

    /// Writes what moved, inside the open transaction. [`CursorStore::committed`] follows when that is durable.
    pub fn write(&self, database: &mut Database, cursor: &Cursor) -> Result<()> {
        let log = cursor.log.to_string();
        for (of, next) in self.stored.changed(cursor) {
            let next = offset(next)?;
            database
                .execute(self.write, |binder| {
                    binder.text(self.stored.sink())?;
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
            .execute("DELETE FROM _millstream_cursor WHERE sink = ?1", [&**self.stored.sink()])
            .context("reset cursor")?;
        self.stored.cleared();
        Ok(())
    }

    /// Remembers what the target holds now.
    pub fn committed(&mut self, cursor: &Cursor) {
        self.stored.committed(cursor);
    }
}
