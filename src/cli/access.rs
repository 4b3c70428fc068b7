//! How a command reaches the log: through the service while it runs, else by reading the log directory, which never
//! changes it (I6).

use std::sync::Arc;

use connector_api::{Error, Result};

use crate::client::Client;
use crate::config::{Config, Engine};
use crate::http::view;
use crate::http::views::{OffsetView, SourceView, Status, TopicView};
use crate::log::{Log, Subscription, embedded};
use crate::pipeline::status::Captured;
use crate::registry;

/// The service, or what it left behind.
pub enum Access<'c> {
    /// It runs.
    Running(Client),
    /// It does not; the log, opened for reading.
    Idle(&'c Config, Arc<dyn Log>),
}

impl<'c> Access<'c> {
    /// Finds out which.
    ///
    /// # Errors
    /// When nothing runs and there is no log directory either.
    pub async fn of(config: &'c Config) -> Result<Access<'c>> {
        if let Some(client) = Client::connect(config).await? {
            return Ok(Access::Running(client));
        }
        if config.log.engine == Engine::Memory {
            return Err(not_running(config).within("the memory engine leaves nothing to read"));
        }
        let log =
            embedded::Embedded::open_read_only(&config.log.path).map_err(|error| match error.kind() {
                connector_api::Kind::Config => error.with_remedy("start the service:  millstream run CONFIG"),
                _ => error,
            })?;
        Ok(Access::Idle(config, log))
    }

    /// `GET /api/status`, or what the directory says.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn status(&self) -> Result<Status> {
        match self {
            Access::Running(client) => client.get("/api/status", &[]).await,
            Access::Idle(config, log) => Ok(idle_status(config, &**log)),
        }
    }

    /// The topics.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn topics(&self) -> Result<Vec<TopicView>> {
        match self {
            Access::Running(client) => client.get("/api/topics", &[]).await,
            Access::Idle(_, log) => Ok(view::topics(&log.topics())),
        }
    }

    /// The offsets of every group.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn offsets(&self) -> Result<Vec<OffsetView>> {
        match self {
            Access::Running(client) => client.get("/api/offsets", &[]).await,
            Access::Idle(_, log) => Ok(view::group_offsets(&log.groups(), &log.topics())),
        }
    }
}

/// The service, for what only it can do.
///
/// # Errors
/// When it does not run, with the command that starts it.
pub async fn running(config: &Config) -> Result<Client> {
    Client::connect(config).await?.ok_or_else(|| not_running(config))
}

fn not_running(config: &Config) -> Error {
    Error::config(format!("no service answers at {}", config.admin.listen))
        .with_remedy("start it:  millstream run CONFIG")
}

fn idle_status(config: &Config, log: &dyn Log) -> Status {
    let (topics, groups) = (log.topics(), log.groups());
    let sources = config.sources.keys().map(|name| SourceView {
        state: "stopped".into(),
        phase: String::new(),
        ..view::source_view(name, &Captured::default())
    });
    let sinks = config.sinks.iter().map(|(name, sink)| {
        let patterns = registry::mapping(config, sink).rules.into_iter().map(|rule| rule.topic).collect();
        view::idle_sink(name, groups.get(name), &Subscription { patterns }, &topics)
    });
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_s: None,
        ready: false,
        not_ready: vec![format!("no service answers at {}", config.admin.listen)],
        log: view::log_view(log),
        sources: sources.collect(),
        sinks: sinks.collect(),
        erasures: None,
    }
}
