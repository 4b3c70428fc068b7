//! The cursor in Redis (I3): a hash `_millstream:cursor:<sink>`, with a field `topic/partition` for each.

use std::collections::BTreeMap;

use connector_api::{Cursor, Error, LogId, Result, TopicPartition};
use redis::Pipeline;

/// The cursor of one sink, and what of it the server is known to hold.
#[derive(Debug)]
pub struct CursorKey {
    sink: String,
    /// The key.
    pub key: String,
    /// What the last commit left there.
    stored: BTreeMap<TopicPartition, u64>,
    /// The log that its offsets count.
    log: Option<LogId>,
}

impl CursorKey {
    /// For the sink `sink`; holds nothing yet.
    pub fn new(sink: &str) -> Self {
        CursorKey {
            sink: sink.to_owned(),
            key: format!("_millstream:cursor:{sink}"),
            stored: BTreeMap::new(),
            log: None,
        }
    }

    /// Takes what `HGETALL` gave.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] when it is not what [`CursorKey::write`] wrote; [`connector_api::Kind::Config`] when
    /// it counts records of another log.
    pub fn read(&mut self, fields: &[(String, String)], log: LogId) -> Result<Option<Cursor>> {
        self.stored.clear();
        self.log = None;
        for (field, value) in fields {
            let corrupt = || {
                Error::corrupt(format!("read cursor {}: field {field:?} is no position", self.key))
                    .with_remedy(format!("DEL {} (the sink then starts at the earliest records)", self.key))
            };
            let (topic, partition) = field.rsplit_once('/').ok_or_else(corrupt)?;
            let (of, next) = value.split_once(':').ok_or_else(corrupt)?;
            let of: LogId = of.parse().map_err(|_| corrupt())?;
            if of != log {
                return Err(Error::config(format!(
                    "read cursor of sink {}: it counts records of log {of}, which is not this log",
                    self.sink
                ))
                .with_remedy(format!("millstream offsets CONFIG reset {} --to earliest", self.sink)));
            }
            let partition = partition.parse().map_err(|_| corrupt())?;
            let topic = TopicPartition { topic: topic.into(), partition };
            self.stored.insert(topic, next.parse().map_err(|_| corrupt())?);
            self.log = Some(of);
        }
        Ok(self.log.map(|log| Cursor { log, next: self.stored.clone() }))
    }

    /// True when the server already holds `cursor`.
    pub fn holds(&self, cursor: &Cursor) -> bool {
        self.changed(cursor).next().is_none()
    }

    fn changed<'a>(&'a self, cursor: &'a Cursor) -> impl Iterator<Item = (&'a TopicPartition, u64)> {
        let other = self.log != Some(cursor.log);
        let changed = move |(of, next): &(&TopicPartition, u64)| other || self.stored.get(of) != Some(next);
        cursor.next.iter().map(|(of, next)| (of, *next)).filter(changed)
    }

    /// Adds the command that writes what moved.
    pub fn write(&self, cursor: &Cursor, pipeline: &mut Pipeline) {
        let mut changed = self.changed(cursor).peekable();
        if changed.peek().is_none() {
            return;
        }
        let command = pipeline.cmd("HSET").arg(&self.key);
        for (of, next) in changed {
            command.arg(field(of)).arg(format!("{}:{next}", cursor.log));
        }
    }

    /// Adds the commands that put back what the last commit left there.
    pub fn rewind(&self, pipeline: &mut Pipeline) {
        pipeline.cmd("DEL").arg(&self.key);
        let Some(log) = self.log else { return };
        let command = pipeline.cmd("HSET").arg(&self.key);
        for (of, next) in &self.stored {
            command.arg(field(of)).arg(format!("{log}:{next}"));
        }
    }

    /// Remembers what the server holds now.
    pub fn committed(&mut self, cursor: &Cursor) {
        if self.log != Some(cursor.log) {
            self.stored.clear();
        }
        self.log = (!cursor.next.is_empty()).then_some(cursor.log).or(self.log);
        self.stored.extend(cursor.next.iter().map(|(of, next)| (of.clone(), *next)));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.stored.clear();
        self.log = None;
    }
}

fn field(of: &TopicPartition) -> String {
    format!("{}/{}", of.topic, of.partition)
}
