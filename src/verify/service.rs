//! The running service, as a comparison needs it: what has the sink applied, and read these rows again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connector_api::{Error, Kind, Result};

use crate::client::{Client, segment};
use crate::config::{Config, Engine};
use crate::http::view;
use crate::http::views::{DeadLetterView, RefreshRequest, RefreshView, Status};
use crate::log::{Log as _, Subscription, embedded};

/// How often the sink is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a sink may stand still, or a loop may be down, before the comparison gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause after a moment that was a bad one for a refresh.
const AGAIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: u32 = 50;

/// The service, or that there is none.
pub enum Service {
    /// It runs.
    Running(Client),
    /// It does not. Records that wait in the log for the sink, as far as that can be read.
    Idle(Option<u64>),
}

impl Service {
    /// Finds out which.
    ///
    /// # Errors
    /// When something else answers at the address of the admin API.
    pub async fn of(config: &Config, sink: &str, wants: &Subscription) -> Result<Service> {
        if let Some(client) = Client::connect(config).await? {
            return Ok(Service::Running(client));
        }
        if config.log.engine == Engine::Memory {
            return Ok(Service::Idle(None));
        }
        let log = embedded::Embedded::open_read_only(&config.log.path).ok();
        let pending = log.map(|log| view::lag(log.groups().get(sink), wants, &log.topics(), 0).records);
        Ok(Service::Idle(pending))
    }

    /// Waits until the sink has applied everything that was committed in these sources before. Without a service, it does
    /// not wait.
    ///
    /// # Errors
    /// When a source or the sink is failed, or stands still.
    pub async fn pass(&self, sink: &str, sources: &BTreeSet<&str>, wants: &Subscription) -> Result<()> {
        let Service::Running(client) = self else { return Ok(()) };
        let mut ends = BTreeMap::new();
        for source in sources {
            ends.extend(self.refresh(source, "", &[]).await?.ends);
        }
        ends.retain(|topic, _| wants.wants(topic));
        let (mut moved, mut applied) = (Instant::now(), None);
        loop {
            let status: Status = client.get("/api/status", &[]).await?;
            let Some(found) = status.sinks.iter().find(|found| found.name == sink) else {
                return Err(Error::config(format!("the running service has no sink {sink}"))
                    .with_remedy("start it with this configuration:  millstream run CONFIG"));
            };
            let next = |topic: &String| found.offsets.get(topic).copied().unwrap_or_default();
            if ends.iter().all(|(topic, end)| next(topic) >= *end) {
                return Ok(());
            }
            if applied.replace(found.offsets.clone()).as_ref() != Some(&found.offsets) {
                moved = Instant::now();
            }
            let why = found.failure.as_ref().map(|failure| failure.message.as_str());
            if found.state == "failed" || moved.elapsed() > PATIENCE {
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                let text = format!(
                    "wait for sink {sink}: it is {} and {} records behind{why}",
                    found.state, found.lag.records
                );
                return Err(Error::new(Kind::Transient, text).with_remedy("millstream status CONFIG"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Has rows read again by the source, and waits until they are in the log.
    ///
    /// # Errors
    /// When no service runs, or the source cannot.
    pub async fn refresh(&self, source: &str, topic: &str, keys: &[Vec<u8>]) -> Result<RefreshView> {
        let Service::Running(client) = self else {
            return Err(Error::config("rows are sent again by the running service, and none answers")
                .with_remedy("start it:  millstream run CONFIG"));
        };
        let keys = keys.iter().map(|key| STANDARD.encode(key)).collect();
        let request = RefreshRequest { topic: topic.to_owned(), keys };
        let body =
            serde_json::to_vec(&request).map_err(|error| Error::data("write request").caused_by(error))?;
        let path = format!("/api/sources/{}/refresh", segment(source));
        let mut tries = 0;
        loop {
            match client.post_json(&path, body.clone()).await {
                // Another request is under way, or the source is just being started again.
                Err(error) if error.kind() == Kind::Transient && tries < AGAIN_MAX => {
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    /// Has rows read again, all of them.
    ///
    /// # Errors
    /// As [`Service::refresh`].
    pub async fn refresh_all(&self, source: &str, topic: &str, keys: &[Vec<u8>]) -> Result<()> {
        let (mut rest, mut vain) = (keys, 0);
        while !rest.is_empty() {
            let done = usize::try_from(self.refresh(source, topic, rest).await?.done).unwrap_or(usize::MAX);
            rest = rest.get(done..).unwrap_or_default();
            vain = if done == 0 { vain + 1 } else { 0 };
            if vain > AGAIN_MAX {
                return Err(Error::transient(format!("refresh rows of {topic}: no good moment was found")));
            }
            if done == 0 {
                tokio::time::sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    /// The dead letter that waits for a key, if one does.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn dead_letter(&self, sink: &str, topic: &str, key: &[u8]) -> Result<Option<u64>> {
        let Service::Running(client) = self else { return Ok(None) };
        let query = [("topic", topic.to_owned()), ("key", STANDARD.encode(key))];
        let letters: Vec<DeadLetterView> =
            client.get(&format!("/api/dead-letters/{}", segment(sink)), &query).await?;
        Ok(letters.first().map(|letter| letter.id))
    }

    /// Whether the sink has dead letters at all.
    ///
    /// # Errors
    /// When the service does not answer.
    pub async fn has_dead_letters(&self, sink: &str) -> Result<bool> {
        let Service::Running(client) = self else { return Ok(false) };
        let status: Status = client.get("/api/status", &[]).await?;
        Ok(status.sinks.iter().any(|found| found.name == sink && found.dead_letters > 0))
    }
}
