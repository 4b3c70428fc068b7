//! Log to sink: applies whole source transactions in order, and commits the cursor with them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use connector_api::{
    Change, Cursor, Delivered, Delivery, Encoding, Error, Kind, Op, Refused, Result, Section, Sink,
    TopicPartition,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::log::{Log, LogReader, Subscription};
use crate::pipeline::Shutdown;
use crate::pipeline::dead_letter::{Blocked, DeadLetters};
use crate::pipeline::mapping::Mapping;
use crate::pipeline::retry::Backoff;
use crate::pipeline::shape::{Captured, Shaper};
use crate::pipeline::status::{Applied, Failure, NOTICES_MAX, Shared, State, now_us};

mod command;
mod erase;

pub use command::Command;
pub use erase::{Eraser, cases};

use command::refuse;
use erase::Erasing;

/// How much one read of the log may give.
const READ_BYTES: usize = 1 << 20;
/// While behind, source transactions are grouped into one target transaction up to this size: boundaries are kept,
/// commits are saved.
const GROUP_BYTES: usize = 4 << 20;
/// A group is committed at this age even when more is at hand.
const GROUP_AGE: Duration = Duration::from_millis(250);
/// How long a stop waits for the end of the source transaction at hand.
const STOP_GRACE: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(10) };

/// What to do when the sink fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// Failures in a row after which the sink stays failed until the next start; `None` retries for ever.
    pub retries_max: Option<u32>,
    /// Put records that cannot be applied aside and go on; otherwise the sink fails at them.
    pub dead_letter: bool,
}

/// One sink and what it takes.
pub struct Deliver {
    /// The sink's name: its group in the log.
    pub name: Arc<str>,
    /// Makes a fresh sink for every attempt.
    pub make: Box<dyn Fn() -> Result<Box<dyn Sink>> + Send>,
    /// Where changes come from.
    pub log: Arc<dyn Log>,
    /// Which topics.
    pub subscription: Subscription,
    /// What becomes of each topic in the target.
    pub mapping: Mapping,
    /// Commits may fall into a source transaction; else each is applied whole.
    pub batched: bool,
    /// What to do when it fails.
    pub policy: ErrorPolicy,
    /// Where records go that cannot be applied.
    pub dead_letters: DeadLetters,
    /// Where the loop says what it does.
    pub status: Arc<Shared<Applied>>,
    /// How it erases; `None` when it is part of no erasure.
    pub eraser: Option<Arc<Eraser>>,
    /// What an operator asks of it.
    pub commands: mpsc::Receiver<Command>,
}

impl Deliver {
    /// Runs until stopped.
    pub async fn run(mut self, mut shutdown: Shutdown) {
        let mut backoff = Backoff::of(&self.name);
        while !shutdown.is_requested() {
            let error = match self.attempt(&mut shutdown, &mut backoff).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let delay = backoff.next(error.kind());
            let given_up = self.policy.retries_max.is_some_and(|most| backoff.failures() > most);
            self.failed(&error, given_up, delay);
            let wait = if given_up { Duration::MAX } else { delay };
            tokio::select! {
                () = shutdown.requested() => {}
                () = tokio::time::sleep(wait) => {}
                () = refuse(&mut self.commands, &error) => {}
            }
        }
        self.status.lock().state = State::Stopped;
    }

    fn failed(&self, error: &Error, given_up: bool, delay: Duration) {
        let mut status = self.status.lock();
        status.errors += 1;
        let passing = error.kind() == Kind::Transient && !given_up;
        status.state = if passing { State::Retrying } else { State::Failed };
        status.failure = Some(Failure::of(error));
        warn!(sink = %self.name, kind = error.kind().as_str(), remedy = error.remedy(), given_up, retry_in = ?delay, "{error}");
    }

    async fn attempt(&mut self, shutdown: &mut Shutdown, backoff: &mut Backoff) -> Result<()> {
        // Retention waits for this sink from now on, for topics that it has not met and while it cannot start too (I5).
        self.log.register_group(&self.name, &self.subscription)?;
        let mut sink = (self.make)()?;
        // The target's own cursor is the truth (I3); the log's copy of it serves retention and lag, and a target that
        // can hold none.
        let held = sink.start(self.log.id()).await?;
        let cursor = if sink.keeps_cursor() { held } else { self.log.groups().remove(&*self.name) };
        let cursor = cursor.unwrap_or_else(|| Cursor::start(self.log.id()));
        self.log.commit_group(&self.name, &cursor)?;
        let reader = self.log.subscribe(self.subscription.clone(), cursor.clone())?;
        let behind = self.is_behind(&cursor);
        {
            let mut status = self.status.lock();
            // After a failure, opening the target proves little (a locked one opens): the first commit does.
            if backoff.failures() == 0 || !behind {
                status.state = State::Running;
                status.failure = None;
            }
            status.cursor = Some(cursor.clone());
            status.dead_letters = self.dead_letters.count(&self.name)?;
        }
        info!(sink = %self.name, "started");
        let erasing = Erasing::resume(self.eraser.as_deref(), &self.name, &cursor)?;
        let blocked = self.dead_letters.blocked(&self.name)?;
        let shaper = Shaper::new(self.mapping.clone());
        let group = Group::default();
        let cleared = Vec::new();
        let mut session = Session {
            deliver: self,
            sink,
            reader,
            cursor,
            shaper,
            blocked,
            cleared,
            group,
            erasing,
            backoff,
        };
        session.run(shutdown).await?;
        session.sink.stop().await
    }

    fn is_behind(&self, cursor: &Cursor) -> bool {
        let topics = self.log.topics();
        let mut wanted = topics.iter().filter(|topic| self.subscription.wants(&topic.topic.topic));
        wanted.any(|topic| cursor.get(&topic.topic).max(topic.earliest) < topic.end)
    }
}

/// What has been applied since the last commit.
#[derive(Default)]
struct Group {
    bytes: usize,
    records: u64,
    transactions: u64,
    newest_us: i64,
    since: Option<Instant>,
    /// The last delivery ended inside a source transaction that is applied whole: no commit here.
    inside: bool,
    transaction: Option<(u64, i64)>,
}

/// One connected sink.
struct Session<'d> {
    deliver: &'d mut Deliver,
    sink: Box<dyn Sink>,
    reader: Box<dyn LogReader>,
    cursor: Cursor,
    shaper: Shaper,
    blocked: Blocked,
    /// Truncates applied since the last flush, where they end older letters.
    cleared: Vec<(TopicPartition, u64)>,
    group: Group,
    erasing: Erasing,
    backoff: &'d mut Backoff,
}

impl Session<'_> {
    async fn run(&mut self, shutdown: &mut Shutdown) -> Result<()> {
        loop {
            let command = tokio::select! {
                biased;
                () = shutdown.requested() => {
                    return tokio::time::timeout(2 * STOP_GRACE, self.finish()).await.unwrap_or_else(|_| Err(overdue()));
                }
                Some(command) = self.deliver.commands.recv(), if !self.group.inside => Some(command),
                () = due(self.erasing.scrub_at()), if self.group.since.is_none() => {
                    self.scrub().await?;
                    None
                }
                deliveries = self.reader.next(READ_BYTES) => {
                    let deliveries = deliveries?;
                    tokio::select! {
                        biased;
                        taken = self.take(&deliveries) => taken?,
                        // A target that hangs must not hold the process back.
                        () = grace(shutdown) => return Err(overdue()),
                    }
                    None
                }
            };
            if let Some(command) = command {
                self.obey(command).await?;
            }
        }
    }

    async fn take(&mut self, deliveries: &[Delivery]) -> Result<()> {
        for delivery in deliveries {
            self.group.since.get_or_insert_with(Instant::now);
            if self.has_cases(delivery) {
                self.apply_with_cases(delivery).await?;
            } else {
                self.apply(delivery)?;
            }
            self.flush(delivery).await?;
            delivery.advance(&mut self.cursor);
            self.group.bytes += delivery.len();
            self.group.inside = delivery.continues && !self.deliver.batched;
        }
        let old = self.group.since.is_some_and(|since| since.elapsed() >= GROUP_AGE);
        let large = self.group.bytes >= GROUP_BYTES;
        if !self.group.inside && (large || old || self.reader.at_tail()) {
            self.commit().await?;
        }
        Ok(())
    }

    fn apply(&mut self, delivery: &Delivery) -> Result<()> {
        for delivered in delivery.records() {
            self.apply_delivered(&delivered?)?;
        }
        Ok(())
    }

    #[inline]
    fn apply_delivered(&mut self, delivered: &Delivered<'_>) -> Result<()> {
        if let Some(captured) = captured(delivered)? {
            self.apply_one(&captured)?;
            self.group.count(&captured);
        }
        Ok(())
    }

    /// Sends on what was applied of a delivery, and sets aside what the target refuses of it.
    async fn flush(&mut self, delivery: &Delivery) -> Result<()> {
        let refused = self.sink.flush().await?;
        if !refused.is_empty() {
            self.refused(delivery, refused)?;
        }
        // Only now: a record in front of a truncate may have been refused in this very flush.
        for (topic, offset) in std::mem::take(&mut self.cleared) {
            self.forget_before(&topic, offset)?;
        }
        Ok(())
    }

    #[inline]
    fn apply_one(&mut self, captured: &Captured<'_>) -> Result<()> {
        if self.blocked.holds(captured) {
            return self.set_aside(captured, "waits behind an earlier record of the same key");
        }
        match self.shaper.apply(captured, &mut *self.sink) {
            Err(error) if error.kind() == Kind::Data => self.refuse(captured, error),
            Ok(()) if captured.change.op == Op::Truncate => {
                self.cleared.push((captured.topic.clone(), captured.change.record.offset));
                Ok(())
            }
            applied => applied,
        }
    }

    /// The target refused a record: it is set aside, or ends the attempt, by policy.
    #[cold]
    fn refuse(&mut self, captured: &Captured<'_>, error: Error) -> Result<()> {
        let error = error.within(format!("{} offset {}", captured.topic, captured.change.record.offset));
        if !self.deliver.policy.dead_letter {
            return Err(
                error.with_remedy("mend the target, or set on_error: {dead_letter: true} for this sink")
            );
        }
        self.set_aside(captured, &error.to_string())
    }

    /// Finds the records that a flush refused in the delivery that they came with.
    #[cold]
    fn refused(&mut self, delivery: &Delivery, refused: Vec<Refused>) -> Result<()> {
        let mut errors: HashMap<(TopicPartition, u64), Error> = HashMap::new();
        for Refused { topic, offset, error } in refused {
            // A record that goes to several tables may be refused by each.
            errors.entry((topic, offset)).or_insert(error);
        }
        for delivered in delivery.records() {
            let delivered = delivered?;
            let place = (delivered.section.topic.clone(), delivered.record.offset);
            if let Some(error) = errors.remove(&place)
                && let Some(captured) = captured(&delivered)?
            {
                self.refuse(&captured, error)?;
            }
        }
        match errors.into_iter().next() {
            None => Ok(()),
            Some(((topic, offset), error)) => Err(Error::corrupt(format!(
                "apply delivery: the sink refused {topic} offset {offset}, which was not in it: {error}"
            ))),
        }
    }

    /// The letter is durable here, before the commit that moves the cursor past its record.
    fn set_aside(&mut self, captured: &Captured<'_>, why: &str) -> Result<()> {
        let new = self.deliver.dead_letters.put(&self.deliver.name, captured, why)?;
        self.blocked.add(captured);
        self.deliver.status.lock().dead_letters += u64::from(new);
        warn!(sink = %self.deliver.name, topic = %captured.topic, offset = captured.change.record.offset, "dead letter: {why}");
        Ok(())
    }

    /// Letters from before a truncate must not bring their rows back. Gone before the commit: if that fails, the
    /// truncate is delivered again.
    #[cold]
    fn forget_before(&mut self, topic: &TopicPartition, offset: u64) -> Result<()> {
        if self.shaper.keeps_rows(&topic.topic) {
            return Ok(());
        }
        let name = &self.deliver.name;
        let forgotten = self.deliver.dead_letters.remove_before(name, topic, offset)?;
        if forgotten > 0 {
            info!(sink = %name, topic = %topic, offset, forgotten, "a truncate ended dead letters");
            self.recount()?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<()> {
        self.sink.commit(&self.cursor).await?;
        self.deliver.log.commit_group(&self.deliver.name, &self.cursor)?;
        self.backoff.reset();
        // Before the cursor is seen to have moved: whoever waits for the sink finds its receipts.
        self.erased().await?;
        self.committed();
        Ok(())
    }

    fn committed(&mut self) {
        let group = std::mem::take(&mut self.group);
        let mut status = self.deliver.status.lock();
        status.state = State::Running;
        status.failure = None;
        status.cursor = Some(self.cursor.clone());
        status.records += group.records;
        status.transactions += group.transactions;
        status.commits += 1;
        if group.newest_us > 0 {
            status.newest_us = status.newest_us.max(group.newest_us);
            status.latency.observe((now_us() - group.newest_us).max(0) as f64 / 1e6);
        }
        for notice in self.sink.notices() {
            info!(sink = %self.deliver.name, "{notice}");
            status.notices.push(notice);
        }
        let surplus = status.notices.len().saturating_sub(NOTICES_MAX);
        status.notices.drain(..surplus);
    }

    /// Stops cleanly: the source transaction at hand is applied to its end, within reason; what was applied of an
    /// unfinished one is rolled back and applied again at the next start.
    async fn finish(&mut self) -> Result<()> {
        let deadline = Instant::now() + STOP_GRACE;
        while self.group.inside && Instant::now() < deadline {
            let deliveries = self.reader.next(READ_BYTES).await?;
            self.take(&deliveries).await?;
        }
        match (self.group.inside, self.group.since) {
            (true, _) => self.sink.rollback().await,
            (false, Some(_)) => self.commit().await,
            (false, None) => Ok(()),
        }
    }
}

/// Resolves at a moment; never without one.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Resolves when the target has had its time to end what is at hand.
async fn grace(shutdown: &mut Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(STOP_GRACE).await;
}

/// What was at hand is applied again at the next start.
fn overdue() -> Error {
    Error::transient(
        "stop: the target did not take what was at hand in time; it is applied again at the next start",
    )
}

/// A record of a table; `None` for an application event, which has no row to apply.
#[inline]
fn captured<'a>(delivered: &Delivered<'a>) -> Result<Option<Captured<'a>>> {
    let section: &Section = delivered.section;
    if section.encoding != Encoding::Changes {
        return Ok(None);
    }
    let Some(schema) = section.schema.as_ref() else {
        return Err(Error::corrupt(format!("read {}: a section of changes without a schema", section.topic)));
    };
    let change = Change::decode(delivered.record, schema)?;
    Ok(Some(Captured { topic: &section.topic, transaction: delivered.transaction, change }))
}

impl Group {
    #[inline]
    fn count(&mut self, captured: &Captured<'_>) {
        self.records += 1;
        let transaction = (captured.transaction.id, captured.transaction.timestamp_us);
        if self.transaction != Some(transaction) {
            self.transaction = Some(transaction);
            self.transactions += 1;
        }
        self.newest_us = self.newest_us.max(captured.transaction.timestamp_us);
    }
}

#[cfg(test)]
mod tests;
