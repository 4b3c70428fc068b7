//! The cursor in the target (I3), and the fence around it.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::{Cursor, Error, LogId, Result, TopicPartition};

use crate::error::{Failure, number};
use crate::session::Session;
use crate::sql::literal;

/// The cursor of one sink, as far as the target is known to hold it.
#[derive(Debug)]
pub struct CursorStore {
    sink: Arc<str>,
    /// The number of this session: what another one took over is not committed any more.
    pub session: u64,
    /// What the last commits left in the target.
    stored: BTreeMap<TopicPartition, u64>,
    /// The logs that its offsets count: one, unless somebody meddled.
    logs: Vec<LogId>,
}

impl CursorStore {
    /// Takes the cursor of `sink` over: waits for transactions of an earlier session, ends those that stay open, and reads
    /// what they left. `connections` are the server's numbers of this session's own. A cursor that counts records of
    /// another log is left to the sink that it belongs to, which goes on.
    ///
    /// # Errors
    /// [`connector_api::Kind::Transient`] when an earlier session still holds its transaction.
    pub async fn take_over(
        session: &mut Session,
        sink: Arc<str>,
        connections: &[u64],
        log: LogId,
    ) -> Result<CursorStore> {
        let what = format!("take over cursor of sink {sink}");
        let mut store = CursorStore { sink, session: 0, stored: BTreeMap::new(), logs: Vec::new() };
        store.read(session).await?;
        if store.cursor(log).is_ok() {
            store.put_out_others(session, connections, &what).await?;
            // What they committed until then.
            store.cleared();
            store.read(session).await?;
        }
        let number =
            format!("SELECT session FROM _millstream_sessions WHERE sink = {}", literal(&store.sink));
        let rows = session.rows(number).await.map_err(|failure| failure.into_error(&what))?;
        store.session = single(rows).and_then(|text| text.parse().ok()).unwrap_or_default();
        Ok(store)
    }

    /// From here on no earlier session of the sink can commit.
    async fn put_out_others(&self, session: &mut Session, connections: &[u64], what: &str) -> Result<()> {
        let Err(failure) = count_up(session, &self.sink, connections).await else { return Ok(()) };
        if failure.number() != Some(number::LOCK_WAIT) {
            return Err(failure.into_error(what));
        }
        end_earlier(session, &self.sink).await.map_err(|failure| failure.into_error(what))?;
        count_up(session, &self.sink, connections).await.map_err(|failure| failure.into_error(what))
    }

    async fn read(&mut self, session: &mut Session) -> Result<()> {
        let sql = format!(
            "SELECT topic, `partition`, log_id, next_offset FROM _millstream_cursor WHERE sink = {}",
            literal(&self.sink)
        );
        let rows = session.rows(sql).await.map_err(|failure| failure.into_error("read cursor"))?;
        for row in rows {
            let mut cells = row.into_iter().map(Option::unwrap_or_default);
            let mut next = || cells.next().unwrap_or_default();
            let (topic, partition, log, offset) = (next(), next(), next(), next());
            let wrong = || Error::corrupt(format!("read cursor of sink {}: topic {topic:?}", self.sink));
            let partition = partition.parse().map_err(|_| wrong())?;
            let offset = offset.parse().map_err(|_| wrong())?;
            let log: LogId = log.parse()?;
            if !self.logs.contains(&log) {
                self.logs.push(log);
            }
            self.stored.insert(TopicPartition { topic: topic.into(), partition }, offset);
        }
        Ok(())
    }

    /// The cursor, if the target holds one.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when it belongs to another log.
    pub fn cursor(&self, log: LogId) -> Result<Option<Cursor>> {
        match self.logs.iter().find(|known| **known != log) {
            Some(other) => Err(Error::config(format!(
                "read cursor of sink {}: it counts records of log {other}, which is not this log",
                self.sink
            ))
            .with_remedy(format!("millstream offsets CONFIG reset {} --to earliest", self.sink))),
            None if self.logs.is_empty() => Ok(None),
            None => Ok(Some(Cursor { log, next: self.stored.clone() })),
        }
    }

    /// What of `cursor` the target does not hold yet.
    pub fn changed<'c>(&'c self, cursor: &'c Cursor) -> impl Iterator<Item = (&'c TopicPartition, u64)> {
        let same_log = self.logs == [cursor.log];
        let held = move |of: &TopicPartition| self.stored.get(of).copied().filter(|_| same_log);
        cursor.next.iter().map(|(of, next)| (of, *next)).filter(move |(of, next)| held(of) != Some(*next))
    }

    /// Whether an entry is beyond the one that the target holds.
    pub fn is_beyond(&self, of: &TopicPartition, next: u64) -> bool {
        self.stored.get(of).is_none_or(|known| *known < next)
    }

    /// Remembers what the target holds now.
    pub fn committed(&mut self, log: LogId, of: &TopicPartition, next: u64) {
        if self.logs != [log] {
            self.logs = vec![log];
        }
        self.stored.insert(of.clone(), next);
    }

    /// Forgets everything: the sink's rows were removed.
    pub fn cleared(&mut self) {
        self.stored.clear();
        self.logs.clear();
    }

    /// The beginning of every transaction. It gives the number of the session that may commit, and keeps it as it is until
    /// the end of the transaction.
    pub fn begin(&self) -> String {
        begin(&self.sink)
    }

    /// Checks the answer to [`CursorStore::begin`].
    ///
    /// # Errors
    /// [`connector_api::Kind::Transient`] when another session took over.
    pub fn check(&self, answer: Vec<Vec<Option<String>>>) -> Result<()> {
        match single(answer).and_then(|text| text.parse::<u64>().ok()) {
            Some(number) if number == self.session => Ok(()),
            _ => Err(Error::transient(format!(
                "begin transaction: another session has taken over the cursor of sink {}",
                self.sink
            ))
            .with_remedy("let only one millstream run this sink, or give one of them another name for it")),
        }
    }

    /// The statement that writes some entries.
    pub fn write(&self, log: LogId, entries: &[(TopicPartition, u64)]) -> String {
        let mut sql =
            "INSERT INTO _millstream_cursor (sink, topic, `partition`, log_id, next_offset) VALUES "
                .to_owned();
        for (at, (of, next)) in entries.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            let (sink, topic) = (literal(&self.sink), literal(&of.topic));
            sql.push_str(&format!("{separator}({sink}, {topic}, {}, '{log}', {next})", of.partition));
        }
        sql.push_str(" ON DUPLICATE KEY UPDATE log_id = VALUES(log_id), next_offset = VALUES(next_offset)");
        sql
    }

    /// The statement that removes the sink's entries.
    pub fn clear(&self) -> String {
        format!("DELETE FROM _millstream_cursor WHERE sink = {}", literal(&self.sink))
    }
}

fn begin(sink: &str) -> String {
    // LOCK IN SHARE MODE: the lanes of one session go side by side, and the next session waits for them all.
    format!(
        "START TRANSACTION; SELECT session FROM _millstream_sessions WHERE sink = {} LOCK IN SHARE MODE",
        literal(sink)
    )
}

fn single(rows: Vec<Vec<Option<String>>>) -> Option<String> {
    rows.into_iter().next()?.into_iter().next()?
}

async fn count_up(session: &mut Session, sink: &str, connections: &[u64]) -> Result<(), Failure> {
    let connections: Vec<String> = connections.iter().map(u64::to_string).collect();
    let (sink, connections) = (literal(sink), literal(&connections.join(",")));
    session
        .run(format!(
            "INSERT INTO _millstream_sessions (sink, session, connections) VALUES ({sink}, 1, {connections}) \
             ON DUPLICATE KEY UPDATE session = session + 1, connections = VALUES(connections)"
        ))
        .await
        .map(drop)
}

/// Ends connections of an earlier session whose transactions stay open: their other end is gone, or stuck. A user may end
/// its own.
async fn end_earlier(session: &mut Session, sink: &str) -> Result<(), Failure> {
    let rows = session
        .rows(format!(
            "SELECT p.ID FROM information_schema.PROCESSLIST p JOIN _millstream_sessions s \
             ON s.sink = {} AND FIND_IN_SET(p.ID, s.connections) \
             WHERE p.DB = DATABASE() AND p.ID <> CONNECTION_ID()",
            literal(sink)
        ))
        .await?;
    for id in rows.into_iter().filter_map(|row| row.into_iter().next().flatten()) {
        if let Ok(id) = id.parse::<u64>() {
            // One that has just ended by itself is no error.
            let _ = session.run(format!("KILL {id}")).await;
        }
    }
    Ok(())
}
