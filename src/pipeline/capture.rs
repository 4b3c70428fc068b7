//! Source to log: reads changes, appends batches, and confirms upstream only what is durable here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use connector_api::{
    Batch, BatchBuilder, Error, Event, Headers, Kind, Notice, Position, Refresh, Refreshed, Result, Source,
    Transactions, Value,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, interval, timeout};
use tracing::{info, warn};

use crate::erasure::fence::Gate;
use crate::log::{Commit, Log};
use crate::pipeline::Shutdown;
use crate::pipeline::retry::Backoff;
use crate::pipeline::status::{Captured, Failure, Shared, State, now_us};

/// A batch is taken when it holds this much, a chunk of a large transaction at four times as much: large enough that fsync
/// and bookkeeping cost nothing, small enough that a few of them in flight stay far below the memory goal.
const BATCH_BYTES: usize = 512 << 10;
/// Batches that may be under way to the disk while the next one is read.
const IN_FLIGHT_MAX: usize = 4;
/// How long a stop waits for the end of the transaction at hand.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// One source and where its changes go.
pub struct Capture {
    /// The source's name: the producer in the log.
    pub name: Arc<str>,
    /// Makes a fresh source for every attempt.
    pub make: Box<dyn Fn() -> Result<Box<dyn Source>> + Send>,
    /// Where changes go.
    pub log: Arc<dyn Log>,
    /// Opens erasures, and keeps out what was erased; `None` when nobody is a data subject.
    pub gate: Option<Gate>,
    /// Where the loop says what it does.
    pub status: Arc<Shared<Captured>>,
}

/// What an operator may ask of a running source.
pub enum Command {
    /// Read rows again; answered when they are durable in the log. Without keys: when everything is that was committed
    /// upstream before.
    Refresh(Refresh, oneshot::Sender<Result<Refreshed>>),
    /// Open an erasure, in order with the changes of this source; answered with the case when it is durable in the log.
    Erase(Asked, oneshot::Sender<Result<String>>),
}

/// Who is to be erased.
pub struct Asked {
    /// The kind of subject.
    pub subject: String,
    /// Its key, an encoded [`connector_api::Value`]. Personal.
    pub key: Vec<u8>,
    /// Once more, when it was erased before.
    pub again: bool,
}

/// Who waits for a refresh.
type Waiting = oneshot::Sender<Result<Refreshed>>;
/// Told once a batch is durable.
type Answer = Box<dyn FnOnce() + Send>;

/// A batch under way to the disk.
struct InFlight {
    /// Who is told once it is durable.
    answers: Vec<Answer>,
    commit: Commit,
    position: Option<Position>,
    changes: u64,
    transactions: u64,
    bytes: u64,
    newest_us: i64,
}

impl Capture {
    /// Runs until stopped. Failures are retried for ever: soon when they may pass, slowly when a person has to act.
    pub async fn run(self, mut shutdown: Shutdown, mut commands: mpsc::Receiver<Command>) {
        let mut backoff = Backoff::of(&self.name);
        while !shutdown.is_requested() {
            let error = match self.attempt(&mut shutdown, &mut backoff, &mut commands).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let delay = backoff.next(error.kind());
            self.failed(&error, delay);
            tokio::select! {
                () = shutdown.requested() => {}
                () = tokio::time::sleep(delay) => {}
                () = refuse(&mut commands, &error) => {}
            }
        }
        self.status.lock().state = State::Stopped;
    }

    fn failed(&self, error: &Error, delay: Duration) {
        let mut status = self.status.lock();
        status.errors += 1;
        status.state = if error.kind() == Kind::Transient { State::Retrying } else { State::Failed };
        status.failure = Some(Failure::of(error));
        warn!(source = %self.name, kind = error.kind().as_str(), remedy = error.remedy(), retry_in = ?delay, "{error}");
    }

    async fn attempt(
        &self,
        shutdown: &mut Shutdown,
        backoff: &mut Backoff,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<()> {
        if let Some(gate) = &self.gate {
            gate.catch_up(&*self.log).await?;
        }
        // I2: the log's last durable batch says where to go on; nothing else does.
        let after = self.log.position(&self.name);
        let mut source = (self.make)()?;
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            started = source.start(after.as_ref()) => started?,
        }
        self.publish(&*source, State::Running, false);
        info!(source = %self.name, position = source.status().position, "started");
        let mut builder = BatchBuilder::new(self.name.clone(), BATCH_BYTES);
        if let Some(gate) = &self.gate {
            builder = builder.watched_by(gate.watch(&self.name));
        }
        let mut stream = Stream {
            capture: self,
            source,
            builder,
            in_flight: VecDeque::with_capacity(IN_FLIGHT_MAX),
            waiting: None,
            asked: VecDeque::new(),
        };
        stream.run(shutdown, backoff, commands).await?;
        stream.source.stop().await
    }

    fn publish(&self, source: &dyn Source, state: State, drained: bool) {
        let mut status = self.status.lock();
        status.source = source.status();
        status.state = state;
        status.caught_up |= drained && status.source.caught_up;
        if state == State::Running {
            status.failure = None;
        }
    }
}

/// One connected source with what is under way.
struct Stream<'c> {
    capture: &'c Capture,
    source: Box<dyn Source>,
    builder: BatchBuilder,
    in_flight: VecDeque<InFlight>,
    /// Who asked for the refresh that the source works at. Gone with the stream, it is told that it was in vain.
    waiting: Option<Waiting>,
    /// Erasures that wait for the end of the transaction at hand.
    asked: VecDeque<(Asked, oneshot::Sender<Result<String>>)>,
}

/// Erasures that may wait.
const ASKED_MAX: usize = 64;

/// While the source is failed, commands are answered with the reason.
async fn refuse(commands: &mut mpsc::Receiver<Command>, error: &Error) {
    loop {
        let Some(command) = commands.recv().await else { return std::future::pending().await };
        let made = || Error::new(error.kind(), format!("the source is not running: {error}"));
        match command {
            Command::Refresh(_, answer) => drop(answer.send(Err(made()))),
            Command::Erase(_, answer) => drop(answer.send(Err(made()))),
        }
    }
}

impl Stream<'_> {
    async fn run(
        &mut self,
        shutdown: &mut Shutdown,
        backoff: &mut Backoff,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<()> {
        let mut tick = interval(Duration::from_secs(1));
        loop {
            let room = self.in_flight.len() < IN_FLIGHT_MAX;
            let commit = next_commit(&mut self.in_flight);
            tokio::select! {
                biased;
                () = shutdown.requested() => return self.finish().await,
                durable = commit => {
                    durable?;
                    self.confirm().await?;
                    backoff.reset();
                }
                read = self.source.read(&mut self.builder), if room => {
                    let position = read?;
                    self.append(position).await?;
                    self.look_for_answer();
                    self.open_asked().await?;
                }
                Some(command) = commands.recv(), if self.waiting.is_none() && self.asked.len() < ASKED_MAX => {
                    self.obey(command);
                    self.open_asked().await?;
                }
                _ = tick.tick() => {
                    self.look_for_answer();
                    if !room {
                        self.source.keep_alive().await?;
                    }
                    self.capture.publish(&*self.source, State::Running, self.is_drained());
                }
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.in_flight.is_empty() && self.builder.is_empty()
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Refresh(wanted, answer) => match self.source.refresh(wanted) {
                Ok(()) => self.waiting = Some(answer),
                Err(error) => drop(answer.send(Err(error))),
            },
            Command::Erase(asked, answer) => self.asked.push_back((asked, answer)),
        }
    }

    /// Opens the erasures that were asked for, between two transactions of the source. From then on the fence holds (I11).
    async fn open_asked(&mut self) -> Result<()> {
        if self.asked.is_empty() || self.builder.in_transaction() || self.in_flight.len() >= IN_FLIGHT_MAX {
            return Ok(());
        }
        let mut answers: Vec<Answer> = Vec::new();
        while let Some((asked, answer)) = self.asked.pop_front() {
            match self.open_one(&asked) {
                Ok(case) => answers.push(Box::new(move || drop(answer.send(Ok(case))))),
                Err(error) => drop(answer.send(Err(error))),
            }
        }
        if !self.builder.is_empty() {
            self.append(None).await?;
        }
        match self.in_flight.back_mut() {
            Some(newest) => newest.answers.extend(answers),
            None => answers.into_iter().for_each(|answer| answer()),
        }
        Ok(())
    }

    fn open_one(&mut self, asked: &Asked) -> Result<String> {
        let Some(gate) = &self.capture.gate else {
            return Err(Error::config("no kind of data subject is configured")
                .with_remedy("describe one in the `erasure` section of the configuration"));
        };
        let key = Value::from_bytes(&asked.key);
        let opened = gate.ask(&self.capture.name, &asked.subject, key, asked.again)?;
        if let Some(Notice { topic, key, value }) = opened.notice {
            let event = Event { key: Some(&key), value: Some(&value), headers: &Headers::default() };
            self.builder.event(&topic, now_us(), event)?;
        }
        Ok(opened.case)
    }

    /// A refresh that is over is in the batches that were appended: it is answered when the last of them is durable.
    fn look_for_answer(&mut self) {
        if self.waiting.is_none() || !self.builder.is_empty() {
            return;
        }
        let Some(outcome) = self.source.refreshed() else { return };
        let Some(answer) = self.waiting.take() else { return };
        match (outcome, self.in_flight.back_mut()) {
            (Ok(refreshed), Some(newest)) => {
                newest.answers.push(Box::new(move || drop(answer.send(Ok(refreshed)))));
            }
            (outcome, _) => drop(answer.send(outcome)),
        }
    }

    /// Hands the batch at hand to the log; while the log has no room, the upstream hears that we are alive.
    async fn append(&mut self, position: Option<Position>) -> Result<()> {
        let batch = self.builder.take(position.clone());
        if batch.is_empty() && batch.position.is_none() {
            return Ok(());
        }
        let mut flying = InFlight::of(&batch, position)?;
        let append = self.capture.log.append(batch);
        tokio::pin!(append);
        flying.commit = loop {
            tokio::select! {
                biased;
                accepted = &mut append => break accepted?,
                () = tokio::time::sleep(Duration::from_secs(1)) => self.source.keep_alive().await?,
            }
        };
        self.in_flight.push_back(flying);
        Ok(())
    }

    /// The oldest batch under way is durable: now, and only now, the upstream may forget it (I1).
    async fn confirm(&mut self) -> Result<()> {
        let Some(durable) = self.in_flight.pop_front() else { return Ok(()) };
        if let Some(position) = &durable.position {
            self.source.confirm(position).await?;
        }
        durable.answers.into_iter().for_each(|answer| answer());
        let drained = self.is_drained();
        {
            let mut status = self.capture.status.lock();
            status.changes += durable.changes;
            status.transactions += durable.transactions;
            status.bytes += durable.bytes;
            status.newest_us = status.newest_us.max(durable.newest_us);
        }
        if drained {
            self.capture.publish(&*self.source, State::Running, drained);
        }
        Ok(())
    }

    /// Stops cleanly: the transaction at hand is read to its end (within reason), and what is under way made durable.
    async fn finish(&mut self) -> Result<()> {
        let deadline = Instant::now() + STOP_GRACE;
        while self.builder.in_transaction() && Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left, self.source.read(&mut self.builder)).await {
                Ok(read) => {
                    let position = read?;
                    self.append(position).await?;
                }
                Err(_) => {
                    warn!(source = %self.capture.name, "stopped inside a transaction; it is read again at the next start")
                }
            }
        }
        while !self.in_flight.is_empty() {
            next_commit(&mut self.in_flight).await?;
            self.confirm().await?;
        }
        Ok(())
    }
}

/// Resolves when the oldest batch is durable; never when there is none.
async fn next_commit(in_flight: &mut VecDeque<InFlight>) -> Result<u64> {
    match in_flight.front_mut() {
        Some(oldest) => (&mut oldest.commit).await,
        None => std::future::pending().await,
    }
}

impl InFlight {
    fn of(batch: &Batch, position: Option<Position>) -> Result<InFlight> {
        let (mut transactions, mut newest_us) = (0, 0);
        for transaction in Transactions::new(&batch.transactions) {
            newest_us = transaction?.timestamp_us;
            transactions += 1;
        }
        Ok(InFlight {
            answers: Vec::new(),
            commit: Box::pin(std::future::pending()),
            position,
            changes: batch.records(),
            transactions,
            bytes: batch.len() as u64,
            newest_us,
        })
    }
}
