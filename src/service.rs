//! The running service: opens the log, starts a loop for every source and every sink, and stops them in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use connector_api::{Error, Kind, Result};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::config::{Apply, Config, Engine, Retry};
use crate::erasure::event::CASES;
use crate::erasure::fence::Gate;
use crate::erasure::receipt::LOG;
use crate::erasure::{Erasures, rules::Rules};
use crate::log::{Log, Memory, Subscription, TopicStatus, embedded};
use crate::pipeline::capture::{self, Capture};
use crate::pipeline::dead_letter::DeadLetters;
use crate::pipeline::deliver::{Command, Deliver, Eraser, ErrorPolicy};
use crate::pipeline::status::{Applied, Captured, Shared, State, now_us};
use crate::pipeline::{Shutdown, spawn};
use crate::registry;
use crate::render::SourceInfo;
use crate::state::State as Database;

/// How often retention and compaction look for work.
const CLEAN_EVERY: Duration = Duration::from_secs(30);
/// How often a run that ends looks whether it is done.
const CAUGHT_UP_EVERY: Duration = Duration::from_millis(5);
/// How long a run that ends waits for the log to be purged; what is left goes at the next run.
const PURGE_PATIENCE: Duration = Duration::from_secs(300);
/// Commands that may wait for a source or a sink.
const COMMANDS_MAX: usize = 8;

/// What the admin API and the command line ask about.
pub struct Service {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The sources, by name.
    pub sources: BTreeMap<String, SourceHandle>,
    /// The sinks, by name.
    pub sinks: BTreeMap<String, SinkHandle>,
    /// Records that sinks could not apply.
    pub dead_letters: DeadLetters,
    /// Erasures, where somebody is a data subject.
    pub erasures: Option<Erasures>,
    /// When it started.
    pub started: Instant,
}

/// A running source.
pub struct SourceHandle {
    /// What it does.
    pub status: Arc<Shared<Captured>>,
    /// What a renderer must know.
    pub info: SourceInfo,
    /// Its ear for commands.
    pub commands: mpsc::Sender<capture::Command>,
}

/// A running sink.
pub struct SinkHandle {
    /// What it does.
    pub status: Arc<Shared<Applied>>,
    /// Which topics it takes.
    pub subscription: Subscription,
    /// Its ear for commands.
    pub commands: mpsc::Sender<Command>,
}

/// The loops of a [`Service`].
pub struct Loops {
    sources: Vec<JoinHandle<()>>,
    sinks: Vec<JoinHandle<()>>,
    stop_sources: watch::Sender<bool>,
    stop_sinks: watch::Sender<bool>,
}

/// Opens the log for writing, as the configuration has it.
///
/// # Errors
/// When another process has it, or its bytes are damaged.
pub fn open_log(config: &Config) -> Result<Arc<dyn Log>> {
    match config.log.engine {
        Engine::Memory => Ok(Arc::new(Memory::new())),
        Engine::Embedded => Ok(embedded::Embedded::open(config.log.embedded())?),
    }
}

/// Opens the state database beside the log.
///
/// # Errors
/// When it cannot be opened.
pub fn open_state(config: &Config) -> Result<Database> {
    match config.log.engine {
        Engine::Memory => Database::open(None),
        Engine::Embedded => Database::open(Some(&config.log.path.join("state.db"))),
    }
}

/// Opens the letters alone.
///
/// # Errors
/// As [`open_state`].
pub fn open_dead_letters(config: &Config) -> Result<DeadLetters> {
    open_state(config).map(DeadLetters::on)
}

/// Opens what is known of erasures; `None` where nobody is a data subject.
///
/// # Errors
/// When the ledger and its key do not belong together.
pub fn open_erasures(config: &Config, state: Database) -> Result<Option<Erasures>> {
    let rules: Rules = config.rules();
    if rules.subjects.is_empty() {
        return Ok(None);
    }
    let directory = (config.log.engine == Engine::Embedded).then_some(config.log.path.as_path());
    Erasures::open(rules, state, directory).map(Some)
}

impl Service {
    /// Starts everything. The loops run until [`Loops::stop`].
    ///
    /// # Errors
    /// When the log or the state database cannot be opened, or a thread cannot be started.
    pub fn start(config: &Arc<Config>) -> Result<(Arc<Service>, Loops)> {
        let log = open_log(config)?;
        let state = open_state(config)?;
        let dead_letters = DeadLetters::on(state.clone());
        let erasures = open_erasures(config, state)?;
        let (stop_sources, until_sources) = Shutdown::new();
        let (stop_sinks, until_sinks) = Shutdown::new();
        let mut loops = Loops { sources: Vec::new(), sinks: Vec::new(), stop_sources, stop_sinks };
        let mut sources = BTreeMap::new();
        for (name, connector) in &config.sources {
            let status = Arc::new(Shared::default());
            let info = registry::source_info(connector);
            let (commands, ear) = mpsc::channel(COMMANDS_MAX);
            sources.insert(name.clone(), SourceHandle { status: status.clone(), info, commands });
            let gate = erasures.as_ref().map(|erasures| erasures.gate.clone());
            let (name, log, until, config) =
                (name.clone(), log.clone(), until_sources.clone(), config.clone());
            loops.sources.push(spawn(format!("source-{name}"), move || {
                capture(name, config, log, gate, status).run(until, ear)
            })?);
        }
        forget_groups(config, &*log)?;
        let mut sinks = BTreeMap::new();
        for name in config.sinks.keys() {
            let (handle, deliver) = deliver(name, config, &log, &dead_letters, erasures.as_ref());
            sinks.insert(name.clone(), handle);
            let until = until_sinks.clone();
            loops.sinks.push(spawn(format!("sink-{name}"), move || deliver.run(until))?);
        }
        if let Some(erasures) = &erasures {
            // It goes on until the sinks have ended: their last receipts are taken up.
            let (desk, until) = (erasures.desk(log.clone(), config.clone()), until_sinks.clone());
            loops.sinks.push(spawn("erasures".to_owned(), move || desk.run(until))?);
        }
        let started = Instant::now();
        Ok((Arc::new(Service { log, sources, sinks, dead_letters, erasures, started }), loops))
    }

    /// Why the service is not ready, one sentence for each source or sink that is failed or stuck; empty when it is.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut note = |what: &str, name: &str, state: State, failure: Option<&str>| {
            if state != State::Running {
                let why = failure.map(|why| format!(": {why}")).unwrap_or_default();
                reasons.push(format!("{what} {name} is {}{why}", state.as_str()));
            }
        };
        for (name, source) in &self.sources {
            let status = source.status.lock();
            note(
                "source",
                name,
                status.state,
                status.failure.as_ref().map(|failure| failure.message.as_str()),
            );
        }
        for (name, sink) in &self.sinks {
            let status = sink.status.lock();
            note("sink", name, status.state, status.failure.as_ref().map(|failure| failure.message.as_str()));
        }
        if let Some(erasures) = &self.erasures {
            match erasures.not_ready(now_us()) {
                Ok(more) => reasons.extend(more),
                Err(error) => reasons.push(format!("erasures cannot be looked up: {error}")),
            }
        }
        reasons.extend(self.log.status().poisoned.map(|why| format!("log accepts nothing: {why}")));
        reasons
    }

    /// Looks for old segments to delete and rewrite, until stopped.
    pub async fn clean(self: Arc<Self>, mut until: Shutdown) {
        loop {
            tokio::select! {
                () = until.requested() => return,
                () = tokio::time::sleep(CLEAN_EVERY) => {}
            }
            match self.log.clean().await {
                Ok(cleaned) if cleaned != crate::log::Cleaned::default() => {
                    info!(?cleaned, "cleaned the log")
                }
                Ok(_) => {}
                Err(error) => warn!(remedy = error.remedy(), "clean the log: {error}"),
            }
        }
    }

    /// Resolves when every sink has applied all that was committed upstream when the service started.
    ///
    /// # Errors
    /// The first failure that needs a person: a run that is to end does not wait for one.
    pub async fn caught_up(&self) -> Result<()> {
        while !self.sources_caught_up()? {
            tokio::time::sleep(CAUGHT_UP_EVERY).await;
        }
        let ends = self.log.topics();
        while !self.sinks_have(&ends)? {
            tokio::time::sleep(CAUGHT_UP_EVERY).await;
        }
        // A service that never runs for longer purges its log before it ends.
        let patience = Instant::now() + PURGE_PATIENCE;
        while self.log_holds_erased()? && Instant::now() < patience {
            tokio::time::sleep(10 * CAUGHT_UP_EVERY).await;
        }
        Ok(())
    }

    /// Whether an erasure waits for the log and for nothing else.
    fn log_holds_erased(&self) -> Result<bool> {
        let Some(erasures) = &self.erasures else { return Ok(false) };
        let open = erasures.ledger.open_cases(usize::MAX)?;
        Ok(open.iter().any(|case| case.missing().eq([LOG])))
    }

    fn sources_caught_up(&self) -> Result<bool> {
        let mut all = true;
        for (name, source) in &self.sources {
            let status = source.status.lock();
            if let (State::Failed, Some(failure)) = (status.state, &status.failure) {
                return Err(failed("source", name, &failure.message, failure.remedy.as_deref()));
            }
            all &= status.caught_up;
        }
        Ok(all)
    }

    fn sinks_have(&self, ends: &[TopicStatus]) -> Result<bool> {
        let mut all = true;
        for (name, sink) in &self.sinks {
            let status = sink.status.lock();
            if let (State::Failed, Some(failure)) = (status.state, &status.failure) {
                return Err(failed("sink", name, &failure.message, failure.remedy.as_deref()));
            }
            let wanted = ends.iter().filter(|end| sink.subscription.wants(&end.topic.topic));
            let Some(cursor) = &status.cursor else { return Ok(false) };
            all &= wanted.into_iter().all(|topic| cursor.get(&topic.topic).max(topic.earliest) >= topic.end);
        }
        Ok(all)
    }
}

fn failed(what: &str, name: &str, message: &str, remedy: Option<&str>) -> Error {
    let error = Error::new(Kind::Config, format!("{what} {name} failed: {message}"));
    match remedy {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

impl Loops {
    /// Stops the sources, then the sinks, then the log. Blocks until all have ended.
    ///
    /// # Errors
    /// When the log cannot be closed cleanly; nothing durable is lost by that.
    pub async fn stop(self, service: &Service) -> Result<()> {
        let _ = self.stop_sources.send(true);
        join(self.sources).await;
        let _ = self.stop_sinks.send(true);
        join(self.sinks).await;
        service.log.close().await
    }
}

async fn join(threads: Vec<JoinHandle<()>>) {
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            if thread.join().is_err() {
                warn!("a loop ended in a panic; see the message above");
            }
        }
    });
    let _ = joined.await;
}

fn capture(
    name: String,
    config: Arc<Config>,
    log: Arc<dyn Log>,
    gate: Option<Gate>,
    status: Arc<Shared<Captured>>,
) -> Capture {
    let producer: Arc<str> = name.as_str().into();
    let make = move || match config.sources.get(&name) {
        Some(connector) => registry::source(&name, connector),
        None => Err(Error::config(format!("no source {name}"))),
    };
    Capture { name: producer, make: Box::new(make), log, gate, status }
}

fn deliver(
    name: &str,
    config: &Arc<Config>,
    log: &Arc<dyn Log>,
    dead_letters: &DeadLetters,
    erasures: Option<&Erasures>,
) -> (SinkHandle, Deliver) {
    let sink = &config.sinks[name];
    let mapping = registry::mapping(config, sink);
    let mut subscription = mapping.subscription();
    let concerned =
        |erasures: &&Erasures| erasures.gate.rules.subjects.iter().any(|kind| kind.concerns(name));
    let eraser = erasures.filter(concerned).map(|erasures| {
        subscription.patterns.push(CASES.to_owned());
        Arc::new(Eraser {
            gate: erasures.gate.clone(),
            ledger: erasures.ledger.clone(),
            bell: erasures.bell.clone(),
            kind: sink.connector.type_name(),
            told: sink.connector.is_told(),
            remains: registry::remains(&sink.connector),
        })
    });
    let status: Arc<Shared<Applied>> = Arc::default();
    let (commands, ear) = mpsc::channel(COMMANDS_MAX);
    let retries_max = match sink.rules.on_error.retry {
        Retry::Forever => None,
        Retry::Times(times) => Some(times),
    };
    let policy = ErrorPolicy { retries_max, dead_letter: sink.rules.on_error.dead_letter };
    let handle = SinkHandle { status: status.clone(), subscription: subscription.clone(), commands };
    let (owned, config) = (name.to_owned(), config.clone());
    let make = move || match config.sinks.get(&owned) {
        Some(sink) => registry::sink(&owned, sink, &config),
        None => Err(Error::config(format!("no sink {owned}"))),
    };
    let deliver = Deliver {
        name: name.into(),
        make: Box::new(make),
        log: log.clone(),
        subscription,
        mapping,
        batched: sink.rules.apply == Apply::Batched,
        policy,
        dead_letters: dead_letters.clone(),
        status,
        eraser,
        commands: ear,
    };
    (handle, deliver)
}

/// A sink that the configuration no longer names must not hold retention back for ever.
fn forget_groups(config: &Config, log: &dyn Log) -> Result<()> {
    for group in log.groups().into_keys().filter(|group| !config.sinks.contains_key(group)) {
        warn!(group, "no sink of this name is configured: retention does not wait for it any more");
        log.forget_group(&group)?;
    }
    Ok(())
}
