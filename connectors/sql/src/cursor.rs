//! The cursor that a target holds (I3), as far as a sink knows it: what was read, and what of a new one is to be written.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::{Cursor, Error, LogId, Result, TopicPartition};

/// The cursor of one sink, and what of it the target is known to hold.
#[derive(Debug)]
pub struct Stored {
    sink: Arc<str>,
    /// What the last commit left in the target.
    next: BTreeMap<TopicPartition, u64>,
    /// The logs that its offsets count: one, unless somebody meddled.
    logs: Vec<LogId>,
}

impl Stored {
    /// Nothing yet, of the sink `sink`.
    pub fn new(sink: impl Into<Arc<str>>) -> Stored {
        Stored { sink: sink.into(), next: BTreeMap::new(), logs: Vec::new() }
    }

    /// The sink's name.
    pub fn sink(&self) -> &Arc<str> {
        &self.sink
    }

    /// A row that was read: topic, partition, log as 32 hexadecimal digits, next offset.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] when that is no entry of a cursor.
    pub fn read(&mut self, topic: &str, partition: i64, log: &str, next: i64) -> Result<()> {
        let corrupt = |what, number| {
            Error::corrupt(format!("read cursor of sink {}: topic {topic}: {what} {number}", self.sink))
        };
        let next = u64::try_from(next).map_err(|_| corrupt("offset", next))?;
        let partition = u32::try_from(partition).map_err(|_| corrupt("partition", partition))?;
        let log: LogId = log.parse()?;
        if !self.logs.contains(&log) {
            self.logs.push(log);
        }
        self.next.insert(TopicPartition { topic: topic.into(), partition }, next);
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
            None => Ok(Some(Cursor { log, next: self.next.clone() })),
        }
    }

    fn other_log(&self, other: LogId) -> Error {
        let sink = &self.sink;
        Error::config(format!(
            "read cursor of sink {sink}: it counts records of log {other}, which is not this log"
        ))
        .with_remedy(format!("millstream offsets CONFIG reset {sink} --to earliest"))
    }

    /// True when the target already holds `cursor`.
    pub fn holds(&self, cursor: &Cursor) -> bool {
        (self.logs == [cursor.log] || cursor.next.is_empty()) && self.changed(cursor).next().is_none()
    }

    /// What of `cursor` the target does not hold yet. The two nearly always have the same topics, so they are walked side
    /// by side.
    pub fn changed<'c>(&'c self, cursor: &'c Cursor) -> impl Iterator<Item = (&'c TopicPartition, u64)> {
        let mut known = self.next.iter().peekable();
        cursor.next.iter().filter_map(move |(of, next)| {
            while known.next_if(|(known, _)| *known < of).is_some() {}
            match known.next_if(|(known, _)| *known == of) {
                Some((_, known)) if known == next => None,
                _ => Some((of, *next)),
            }
        })
    }

    /// Whether an entry is beyond the one that the target holds.
    pub fn is_beyond(&self, of: &TopicPartition, next: u64) -> bool {
        self.next.get(of).is_none_or(|known| *known < next)
    }

    /// Remembers that the target holds all of `cursor` now.
    pub fn committed(&mut self, cursor: &Cursor) {
        let moved: Vec<_> = self.changed(cursor).map(|(of, next)| (of.clone(), next)).collect();
        for (of, next) in moved {
            self.committed_one(cursor.log, of, next);
        }
    }

    /// Remembers that the target holds this entry now.
    pub fn committed_one(&mut self, log: LogId, of: TopicPartition, next: u64) {
        if self.logs != [log] {
            self.logs = vec![log];
        }
        self.next.insert(of, next);
    }

    /// Forgets everything: the sink's rows were removed.
    pub fn cleared(&mut self) {
        self.next.clear();
        self.logs.clear();
    }
}

/// An offset as a signed column holds it.
///
/// # Errors
/// [`connector_api::Kind::Corrupt`] when it is no offset that a log gives.
pub fn offset(next: u64) -> Result<i64> {
    i64::try_from(next).map_err(|_| Error::corrupt(format!("write cursor: offset {next}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(topic: &str) -> TopicPartition {
        TopicPartition::first(topic)
    }

    #[test]
    fn only_what_moved_is_written() {
        let log = LogId(7);
        let mut stored = Stored::new("billing");
        assert_eq!(stored.cursor(log).unwrap(), None);
        stored.read("b", 0, &log.to_string(), 5).unwrap();
        stored.read("d", 1, &log.to_string(), 1).unwrap();
        let mut cursor = stored.cursor(log).unwrap().unwrap();
        assert!(stored.holds(&cursor));
        for (topic, next) in [("a", 1), ("b", 6), ("e", 2)] {
            cursor.advance(&of(topic), next);
        }
        let changed: Vec<_> = stored.changed(&cursor).map(|(of, next)| (of.to_string(), next)).collect();
        assert_eq!(changed, [("a".to_owned(), 1), ("b".to_owned(), 6), ("e".to_owned(), 2)]);
        stored.committed(&cursor);
        assert!(stored.holds(&cursor));
        assert_eq!(stored.cursor(log).unwrap(), Some(cursor));
    }

    #[test]
    fn another_log_is_refused_with_the_command_that_starts_over() {
        let mut stored = Stored::new("billing");
        stored.read("a", 0, &LogId(1).to_string(), 5).unwrap();
        let error = stored.cursor(LogId(2)).unwrap_err();
        assert_eq!(error.kind(), connector_api::Kind::Config);
        assert_eq!(error.remedy(), Some("millstream offsets CONFIG reset billing --to earliest"));
        stored.cleared();
        assert_eq!(stored.cursor(LogId(2)).unwrap(), None);
    }

    #[test]
    fn what_is_no_entry_is_corrupt() {
        let mut stored = Stored::new("billing");
        let log = LogId(1).to_string();
        for (partition, log, next) in [(-1, &*log, 0), (0, &*log, -1), (0, "x", 0)] {
            let error = stored.read("a", partition, log, next).unwrap_err();
            assert_eq!(error.kind(), connector_api::Kind::Corrupt);
        }
    }
}
