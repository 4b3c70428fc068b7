//! Records that a sink could not apply: kept beside the log, in order, until they are retried or dropped.
//!
//! A letter is durable before the sink's cursor passes its record (the deliver loop commits in that order), so none
//! is lost; written twice after a crash, it is the same row. While a key has a letter, later records of that key
//! wait behind it: order per key holds, and a poisoned record blocks at most its own key.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, MutexGuard};

use connector_api::record::{Attributes, Record};
use connector_api::{Change, Error, Result, Schema, TopicPartition, Transaction, put_row};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::pipeline::shape::Captured;
use crate::pipeline::status::now_us;
use crate::state::State;

/// One record that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its number, by which operators name it.
    pub id: u64,
    /// Where it came from.
    pub topic: TopicPartition,
    /// Its offset.
    pub offset: u64,
    /// Its key, as the log encodes it.
    pub key: Option<Vec<u8>>,
    /// What the log knows of it.
    pub attributes: Attributes,
    /// The change, encoded.
    pub value: Vec<u8>,
    /// The shape of its rows.
    pub schema: Arc<Schema>,
    /// The source transaction's number.
    pub source_xid: u64,
    /// Its commit time, Unix microseconds.
    pub source_us: i64,
    /// Why it was not applied; names, no values.
    pub error: String,
    /// When it was last tried, Unix microseconds.
    pub failed_us: i64,
    /// How often it was tried.
    pub attempts: u32,
}

impl DeadLetter {
    /// The change again, to be applied or shown.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] when the stored bytes do not decode.
    pub fn change(&self) -> Result<Change<'_>> {
        Change::decode(self.record(), &self.schema)
    }

    /// The record again.
    pub fn record(&self) -> Record<'_> {
        Record {
            offset: self.offset,
            order: 0,
            attributes: self.attributes,
            headers: &[],
            value: &self.value,
            key: self.key.as_deref(),
        }
    }

    /// The transaction it belonged to.
    pub fn transaction(&self) -> Transaction<'_> {
        Transaction { id: self.source_xid, timestamp_us: self.source_us, position: &[], first: 0, end: 1 }
    }
}

/// The letters, in the service's state database.
#[derive(Clone)]
pub struct DeadLetters(State);

impl DeadLetters {
    /// Those of an open state database.
    pub fn on(state: State) -> Self {
        DeadLetters(state)
    }

    /// Opens the database for the letters alone; `None` is one in memory.
    ///
    /// # Errors
    /// As [`State::open`].
    pub fn open(path: Option<&Path>) -> Result<Self> {
        State::open(path).map(DeadLetters)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock()
    }

    /// Puts a record aside. Durable when it returns; the same record twice is one letter, and false.
    ///
    /// # Errors
    /// [`connector_api::Kind::Transient`] when it cannot be written: the record must then not be passed over.
    pub fn put(&self, sink: &str, captured: &Captured<'_>, error: &str) -> Result<bool> {
        let mut schema = Vec::new();
        captured.change.schema.encode(&mut schema);
        let record = &captured.change.record;
        let written = || {
            let connection = self.lock();
            let mut statement = connection.prepare_cached(
                "INSERT INTO dead_letters VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 1)
                 ON CONFLICT DO UPDATE SET error = excluded.error, failed_us = excluded.failed_us, attempts = attempts + 1
                 RETURNING attempts",
            )?;
            let mut rows = statement.query(params![
                sink,
                &*captured.topic.topic,
                captured.topic.partition,
                record.offset as i64,
                record.key,
                record.attributes.0,
                record.value,
                schema,
                captured.transaction.id as i64,
                captured.transaction.timestamp_us,
                error,
                now_us(),
            ])?;
            let attempts: i64 = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?.get(0)?;
            // The commit, and its errors, come with the end of the rows.
            rows.next()?;
            Ok(attempts == 1)
        };
        written().map_err(|error: rusqlite::Error| Error::transient("write dead letter").caused_by(error))
    }

    /// The keys of a sink that have letters waiting.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn blocked(&self, sink: &str) -> Result<Blocked> {
        let connection = self.lock();
        let mut statement = connection
            .prepare(
                "SELECT DISTINCT topic, partition, key FROM dead_letters WHERE sink = ?1 AND key IS NOT NULL",
            )
            .map_err(unreadable)?;
        let keys = statement
            .query_map([sink], |row| Ok((topic(row, 0)?, row.get::<_, Vec<u8>>(2)?)))
            .and_then(Iterator::collect::<rusqlite::Result<HashSet<_>>>)
            .map_err(unreadable)?;
        Ok(Blocked { keys })
    }

    /// A sink's letters in order of topic and offset, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read, or a stored record does not decode.
    pub fn list(&self, sink: &str, limit: usize) -> Result<Vec<DeadLetter>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare(
                "SELECT * FROM dead_letters WHERE sink = ?1 ORDER BY topic, partition, \"offset\" LIMIT ?2",
            )
            .map_err(unreadable)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![sink, limit], letter).map_err(unreadable)?;
        rows.map(|row| row.map_err(unreadable)?).collect()
    }

    /// One letter.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn get(&self, sink: &str, id: u64) -> Result<Option<DeadLetter>> {
        let sql = "SELECT * FROM dead_letters WHERE sink = ?1 AND id = ?2";
        let found =
            self.lock().query_row(sql, params![sink, id as i64], letter).optional().map_err(unreadable)?;
        found.transpose()
    }

    /// How many letters a sink has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn count(&self, sink: &str) -> Result<u64> {
        let count =
            self.lock().query_row("SELECT count(*) FROM dead_letters WHERE sink = ?1", [sink], |row| {
                row.get::<_, i64>(0)
            });
        count.map(|count| count as u64).map_err(unreadable)
    }

    /// Puts another value in place of a letter's. Returns how many letters that were.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn rewrite(&self, sink: &str, id: u64, value: &[u8]) -> Result<u64> {
        let sql = "UPDATE dead_letters SET value = ?3 WHERE sink = ?1 AND id = ?2";
        let changed = self.lock().execute(sql, params![sink, id as i64, value]);
        changed
            .map(|count| count as u64)
            .map_err(|error| Error::transient("rewrite dead letter").caused_by(error))
    }

    /// Takes the bytes of removed letters out of the files, too; see [`State::scrub`].
    ///
    /// # Errors
    /// As [`State::scrub`].
    pub fn scrub(&self) -> Result<bool> {
        self.0.scrub()
    }

    /// Removes what was overtaken: the letters of a topic-partition before `offset`. Returns how many there were.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove_before(&self, sink: &str, topic: &TopicPartition, offset: u64) -> Result<u64> {
        let removed = self.lock().execute(
            "DELETE FROM dead_letters WHERE sink = ?1 AND topic = ?2 AND partition = ?3 AND \"offset\" < ?4",
            params![sink, &*topic.topic, topic.partition, offset as i64],
        );
        removed
            .map(|count| count as u64)
            .map_err(|error| Error::transient("remove dead letters").caused_by(error))
    }

    /// Removes letters of a sink. Returns how many there were.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove(&self, sink: &str, which: &Selection) -> Result<u64> {
        let connection = self.lock();
        let removed = match which {
            Selection::All => connection.execute("DELETE FROM dead_letters WHERE sink = ?1", [sink]),
            Selection::Ids(ids) => ids.iter().try_fold(0, |count, id| {
                let sql = "DELETE FROM dead_letters WHERE sink = ?1 AND id = ?2";
                Ok(count + connection.execute(sql, params![sink, *id as i64])?)
            }),
        };
        removed
            .map(|count| count as u64)
            .map_err(|error| Error::transient("remove dead letters").caused_by(error))
    }
}

/// Which letters of a sink an operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every one.
    All,
    /// Those with these numbers.
    Ids(Vec<u64>),
}

impl Selection {
    /// Whether a letter is meant.
    pub fn has(&self, id: u64) -> bool {
        match self {
            Selection::All => true,
            Selection::Ids(ids) => ids.contains(&id),
        }
    }
}

/// Keys that wait behind a letter. Empty in healthy times, and then it costs one comparison.
#[derive(Debug, Default)]
pub struct Blocked {
    keys: HashSet<(TopicPartition, Vec<u8>)>,
}

impl Blocked {
    /// Whether a record must wait: its key has a letter, or the key that an update takes the row from.
    #[inline]
    pub fn holds(&self, captured: &Captured<'_>) -> bool {
        !self.keys.is_empty() && keys(captured).any(|key| self.keys.contains(&(captured.topic.clone(), key)))
    }

    /// From now on the record's key waits; for an update that moves a row, both its keys.
    pub fn add(&mut self, captured: &Captured<'_>) {
        self.keys.extend(keys(captured).map(|key| (captured.topic.clone(), key)));
    }
}

/// The keys that a record is about, as the log encodes them.
fn keys(captured: &Captured<'_>) -> impl Iterator<Item = Vec<u8>> {
    // One that does not decode is refused where it is applied.
    let old = captured.change.old_key().ok().flatten().map(|values| {
        let mut key = Vec::new();
        put_row(&mut key, values.into_iter());
        key
    });
    captured.change.record.key.map(<[u8]>::to_vec).into_iter().chain(old)
}

fn unreadable(error: rusqlite::Error) -> Error {
    Error::transient("read dead letters").caused_by(error)
}

fn topic(row: &Row<'_>, at: usize) -> rusqlite::Result<TopicPartition> {
    Ok(TopicPartition { topic: row.get::<_, String>(at)?.into(), partition: row.get(at + 1)? })
}

fn letter(row: &Row<'_>) -> rusqlite::Result<Result<DeadLetter>> {
    let schema: Vec<u8> = row.get("schema")?;
    let (id, offset): (i64, i64) = (row.get("id")?, row.get("offset")?);
    let (topic, key, attributes, value) =
        (topic(row, 2)?, row.get("key")?, row.get("attributes")?, row.get("value")?);
    let (xid, source_us): (i64, i64) = (row.get("source_xid")?, row.get("source_us")?);
    let (error, failed_us, attempts) = (row.get("error")?, row.get("failed_us")?, row.get("attempts")?);
    Ok(Schema::decode(&schema).map(|schema| DeadLetter {
        id: id as u64,
        topic,
        offset: offset as u64,
        key,
        attributes: Attributes(attributes),
        value,
        schema: Arc::new(schema),
        source_xid: xid as u64,
        source_us,
        error,
        failed_us,
        attempts,
    }))
}
