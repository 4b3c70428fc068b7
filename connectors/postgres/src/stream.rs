//! The replication stream: reads as much at a time as latency allows, and tells the server what is durable.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod decoder;
mod wire;

use crate::catalog::{Catalog, Shape};
use crate::connection::{Connection, identifier, literal};
use crate::error::{self, sqlstate};
use crate::lsn::{Lsn, Mark, Stage};
use crate::options::Checked;
use crate::pgoutput::Relation;
use crate::task::Task;
use connector_api::{BatchBuilder, Error, Position, Result};
use decoder::{Decoder, Step};
use std::time::{Duration, Instant};
use wire::Wire;

/// How old the first change of a read may become before it is given away: while the source is behind, and while it
/// is not.
const AGE_BEHIND: Duration = Duration::from_millis(10);
const AGE: Duration = Duration::from_millis(2);
/// How often a position without changes is handed to the log.
const POSITION_EVERY: Duration = Duration::from_secs(1);
/// How often the server hears what is durable, while that moves; sooner, once there is nothing left to read.
const FEEDBACK_EVERY: Duration = Duration::from_secs(1);
const FEEDBACK_IDLE: Duration = Duration::from_millis(100);

/// A running replication stream.
pub(crate) struct Stream {
    wire: Wire,
    decoder: Decoder,
    system: u64,
    /// Up to where the log is fsynced (I1): what the server may forget.
    flushed: Lsn,
    /// The last position that was given away.
    given: Lsn,
    given_at: Instant,
    /// The server has to hear from us at least so often.
    feedback_within: Duration,
    feedback_at: Instant,
    /// What the server heard last.
    reported: Lsn,
    /// The server asked, and gets an answer at once.
    asked: bool,
    /// It may be asking because it wants to shut down: it waits until all it sent is durable.
    urgent: bool,
    /// The end of the WAL when the source started.
    goal: Lsn,
    pub(crate) caught_up: bool,
    /// The catalog's answer about the pending relation.
    lookup: Option<Task<Result<Answer>>>,
}

/// A shape, when the changes are wanted, and the catalog back.
type Answer = (Option<Shape>, Catalog);

/// What `Stream::start` needs to know.
pub(crate) struct From {
    pub(crate) system: u64,
    /// Transactions that end at or before this place are in the log.
    pub(crate) position: Lsn,
    pub(crate) goal: Lsn,
    /// `wal_sender_timeout` in milliseconds; 0 is never.
    pub(crate) sender_timeout: u64,
}

impl Stream {
    /// Starts to stream what was committed after `from.position`.
    pub(crate) async fn start(connection: Connection, options: &Checked, from: From) -> Result<Stream> {
        let slot = &options.slot;
        // An identifier list inside a literal.
        let publications = literal(&identifier(&options.publication));
        let sql = format!(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names {publications}, messages 'true')",
            identifier(slot),
            from.position,
        );
        let doing = format!("stream from slot {slot}");
        let (socket, inbox) =
            connection.copy_both(&doing, &sql).await.map_err(|error| match sqlstate(&error) {
                // "can no longer get changes from replication slot": invalidated.
                Some("55000") => crate::setup::slot::lost(options, error.to_string()),
                _ => error,
            })?;
        let within = match from.sender_timeout {
            0 => Duration::from_secs(10),
            timeout => Duration::from_millis((timeout / 4).clamp(50, 10_000)),
        };
        let now = Instant::now();
        Ok(Stream {
            wire: Wire::new(socket, inbox)?,
            decoder: Decoder::new(from.system, from.position),
            system: from.system,
            flushed: from.position,
            given: from.position,
            given_at: now,
            feedback_within: within,
            feedback_at: now,
            reported: from.position,
            asked: false,
            urgent: false,
            goal: from.goal,
            caught_up: false,
            lookup: None,
        })
    }

    /// See [`connector_api::Source::read`]. Cancel-safe: everything that was consumed is in `into` or in `self`.
    pub(crate) async fn read(
        &mut self,
        catalog: &mut Option<Catalog>,
        into: &mut BatchBuilder,
    ) -> Result<Option<Position>> {
        let mut since: Option<Instant> = None;
        let mut empty_reads = 0;
        loop {
            self.look_up(catalog).await?;
            self.decode(into)?;
            if into.is_full() && into.records() > 0 {
                return Ok(if into.in_transaction() { None } else { Some(self.give()) });
            }
            if self.decoder.pending().is_some() {
                continue;
            }
            self.feed_back().await?;
            let whole = !into.in_transaction();
            let behind = self.decoder.is_behind();
            let mut aged = false;
            if into.records() > 0 {
                let since = *since.get_or_insert_with(Instant::now);
                aged = since.elapsed() >= if behind { AGE_BEHIND } else { AGE };
            }
            if whole && aged {
                return Ok(Some(self.give()));
            }
            // The server sends each message with a system call of its own, and wakes us with each, unless we let some gather.
            if behind && empty_reads < 2 {
                empty_reads =
                    if self.wire.read_gathered(self.decoder.lag()).await? { 0 } else { empty_reads + 1 };
                continue;
            }
            if self.wire.read_now().await? {
                continue;
            }
            if whole && (into.records() > 0 || self.position_is_due()) {
                return Ok(Some(self.give()));
            }
            self.wire.read_within(self.until_due()).await?;
            empty_reads = 0;
        }
    }

    /// Asks the catalog about the pending relation, if there is one. The question is asked by a task, so that reads
    /// which are dropped again and again still come to its answer.
    async fn look_up(&mut self, catalog: &mut Option<Catalog>) -> Result<()> {
        let Some(relation) = self.decoder.pending() else { return Ok(()) };
        let task = match &mut self.lookup {
            Some(task) => task,
            none => {
                let gone = || Error::transient("look up a table: the catalog is in use");
                let (relation, catalog) = (relation.clone(), catalog.take().ok_or_else(gone)?);
                none.insert(Task::spawn(shape_of(relation, catalog)))
            }
        };
        let answer = task.wait().await;
        self.lookup = None;
        let (shape, back) = answer??;
        *catalog = Some(back);
        self.decoder.install(shape);
        Ok(())
    }

    /// Decodes what has arrived, until the builder is full, a relation has to be looked up, or nothing is left.
    fn decode(&mut self, into: &mut BatchBuilder) -> Result<()> {
        while !into.is_full() {
            let Some(frame) = self.wire.inbox.next()? else { return Ok(()) };
            match frame.tag {
                b'd' => match self.decoder.apply(frame.body, into)? {
                    Step::Next => {}
                    Step::Reply => (self.asked, self.urgent) = (true, true),
                    Step::LookUp => return Ok(()),
                },
                b'E' => return Err(error::server("read stream", crate::wire::server_error(frame.body))),
                b'c' | b'C' | b'Z' => return Err(Error::transient("read stream: the server ended it")),
                b'N' | b'S' | b'A' => {}
                _ => return Err(crate::wire::unexpected(frame, "read stream")),
            }
        }
        Ok(())
    }

    /// The position after the last whole transaction, which now goes to the log.
    fn give(&mut self) -> Position {
        self.given = self.decoder.position();
        self.given_at = Instant::now();
        self.urgent = false;
        self.caught_up |= self.given >= self.goal;
        Mark { system: self.system, stage: Stage::Streaming(self.given) }.position()
    }

    /// A position alone is worth a batch now and then: without it an idle table would keep the WAL of a busy one.
    fn position_is_due(&self) -> bool {
        let position = self.decoder.position();
        let waited_for = self.urgent || (!self.caught_up && position >= self.goal);
        (!self.caught_up && position >= self.goal)
            || (position > self.given && (waited_for || self.given_at.elapsed() >= POSITION_EVERY))
    }

    /// How long feedback can wait.
    fn feedback_due(&self) -> Duration {
        let within = if self.flushed > self.reported { FEEDBACK_EVERY } else { self.feedback_within };
        within.min(self.feedback_within).saturating_sub(self.feedback_at.elapsed())
    }

    fn until_due(&self) -> Duration {
        let position = match self.decoder.position() > self.given {
            true => POSITION_EVERY.saturating_sub(self.given_at.elapsed()),
            false => POSITION_EVERY,
        };
        self.feedback_due().min(position).max(Duration::from_millis(1))
    }

    /// Tells the server what is durable, when it asked or has not heard from us for long.
    async fn feed_back(&mut self) -> Result<()> {
        if self.asked || self.feedback_due().is_zero() {
            return self.send_feedback().await;
        }
        self.wire.flush().await
    }

    async fn send_feedback(&mut self) -> Result<()> {
        self.wire.put_status(self.decoder.position(), self.flushed);
        self.feedback_at = Instant::now();
        (self.asked, self.reported) = (false, self.flushed);
        self.wire.flush().await
    }

    /// The log holds everything up to `durable` (I1).
    pub(crate) async fn confirm(&mut self, durable: Lsn) -> Result<()> {
        self.flushed = self.flushed.max(durable);
        let idle = self.wire.is_idle() && self.flushed >= self.decoder.position();
        if self.feedback_at.elapsed() >= if idle { FEEDBACK_IDLE } else { FEEDBACK_EVERY } {
            self.send_feedback().await?;
        }
        Ok(())
    }

    /// Says that we are alive while nothing can be read.
    pub(crate) async fn keep_alive(&mut self) -> Result<()> {
        self.feed_back().await
    }

    pub(crate) fn position(&self) -> Lsn {
        self.decoder.position()
    }

    /// Tells the server the last durable place and ends the stream.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.send_feedback().await?;
        self.wire.end().await
    }
}

/// The shape of a relation; `None` when its changes are not wanted.
async fn shape_of(relation: Relation, mut catalog: Catalog) -> Result<Answer> {
    let table = catalog.table(relation.oid).await?;
    let shape = match decoder::is_wanted(&relation, table.as_ref(), catalog.options()) {
        true => Some(catalog.describe_relation(&relation, table.as_ref()).await?),
        false => None,
    };
    Ok((shape, catalog))
}
