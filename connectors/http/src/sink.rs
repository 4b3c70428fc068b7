//! The sink: keeps what it is given until it is told to send it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use connector_api::erasure::{Erasure, Outcome};
use connector_api::render::SourceInfo;
use connector_api::{BoxFuture, Cursor, Error, Incoming, LogId, Refused, Result, Sink};

use crate::address::Address;
use crate::breaker::Breaker;
use crate::client;
use crate::erase::Telling;
use crate::event::{Plan, Writer};
use crate::flush::{self, Settings, Wire};
use crate::options::{Method, Options};
use crate::pace::Pace;
use crate::queue::{Made, Queue};
use crate::schedule::Limits;
use crate::sign::Signer;

/// Sends changes to one endpoint. It keeps no cursor: the log's own one is used, and delivery is at least once (I3).
pub struct Http {
    name: Arc<str>,
    options: Options,
    sources: BTreeMap<String, SourceInfo>,
    /// `None` before [`Sink::start`].
    session: Option<Session>,
}

/// What lives from a start to the next.
struct Session {
    wire: Wire,
    settings: Settings,
    address: Address,
    breaker: Breaker,
    pace: Pace,
    queue: Queue,
    plans: Vec<Plan>,
    /// By the addresses of targets. The plans hold them, so that no address can come to mean another.
    index: HashMap<usize, usize>,
    last: usize,
}

impl Http {
    /// A sink named `name`. Does nothing before [`Sink::start`].
    pub fn new(name: impl Into<Arc<str>>, options: Options) -> Self {
        Http { name: name.into(), options, sources: BTreeMap::new(), session: None }
    }

    /// What the Debezium format says about sources, by their names, with which topics begin.
    #[must_use]
    pub fn describing(mut self, sources: BTreeMap<String, SourceInfo>) -> Self {
        self.sources = sources;
        self
    }

    fn started(&self, log: LogId) -> Result<Session> {
        let options = &self.options;
        options.check(&self.name)?;
        let batch = options.batch.as_ref();
        let limits = Limits {
            records: batch.map_or(1, |batch| batch.max_records as usize),
            // Of the two brackets around a batch.
            bytes: batch.map_or(usize::MAX, |batch| {
                usize::try_from(batch.max_bytes.bytes()).unwrap_or(usize::MAX).saturating_sub(1)
            }),
        };
        let wire = Wire {
            client: client::build(options)?,
            method: match options.method {
                Method::Post => reqwest::Method::POST,
                Method::Put => reqwest::Method::PUT,
            },
            signer: options.secret.as_ref().map(Signer::new).transpose()?,
            writer: Writer { format: options.format, batched: batch.is_some() },
            log,
            urls: Vec::new(),
        };
        let (concurrency, attempts) = (options.concurrency as usize, options.retry.attempts);
        Ok(Session {
            wire,
            settings: Settings { concurrency, attempts, limits },
            address: Address::parse(&options.url)?,
            breaker: Breaker::new(options.breaker),
            pace: Pace::new(options.retry.first.duration(), options.retry.max.duration(), &self.name),
            queue: Queue::default(),
            plans: Vec::new(),
            index: HashMap::new(),
            last: 0,
        })
    }

    fn forget(&mut self) {
        if let Some(session) = &mut self.session {
            session.queue.clear();
        }
    }
}

impl Session {
    fn apply(&mut self, incoming: &Incoming<'_>, sources: &BTreeMap<String, SourceInfo>) -> Result<()> {
        let at = self.find(incoming)?;
        let Some(plan) = self.plans.get(at) else { return Err(not_started()) };
        let origin = incoming.topic.topic.split('.').next().unwrap_or_default();
        let unknown = SourceInfo { connector: "millstream", ..SourceInfo::default() };
        let source = sources.get(origin).unwrap_or(&unknown);
        let id = plan.id(incoming);
        let from = self.queue.bytes.len();
        let writer = &self.wire.writer;
        let written = writer.write(&mut self.queue.bytes, incoming, plan, &id, source).and_then(|()| {
            let headers = writer.headers(incoming, plan, &id);
            self.queue.push(incoming, Made { id, plan: at, headers, from })
        });
        if written.is_err() {
            self.queue.bytes.truncate(from);
        }
        written
    }

    #[inline]
    fn find(&mut self, incoming: &Incoming<'_>) -> Result<usize> {
        let target = incoming.target;
        if self.plans.get(self.last).is_some_and(|plan| Arc::ptr_eq(&plan.target, target)) {
            return Ok(self.last);
        }
        let address = Arc::as_ptr(target) as usize;
        self.last = match self.index.get(&address) {
            Some(at) => *at,
            None => {
                let plan = Plan::new(target, &self.address, self.wire.log)?;
                self.wire.urls.push(plan.url.clone());
                self.plans.push(plan);
                self.index.insert(address, self.plans.len() - 1);
                self.plans.len() - 1
            }
        };
        Ok(self.last)
    }

    async fn erase(&mut self, erasure: &Erasure) -> Result<Outcome> {
        if !self.queue.is_empty() {
            return Err(Error::transient("tell of an erasure: events before it are not sent"));
        }
        let Session { wire, settings, address, breaker, pace, .. } = self;
        Telling { wire, settings: *settings, address, breaker, pace }.tell(erasure).await
    }

    async fn flush(&mut self) -> Result<Vec<Refused>> {
        if self.queue.is_empty() {
            return Ok(Vec::new());
        }
        let Session { wire, settings, breaker, pace, queue, .. } = self;
        let refused = flush::run(wire, *settings, queue, breaker, pace).await;
        self.queue.clear();
        refused
    }
}

impl Sink for Http {
    fn start(&mut self, log: LogId) -> BoxFuture<'_, Result<Option<Cursor>>> {
        Box::pin(async move {
            self.session = Some(self.started(log)?);
            Ok(None)
        })
    }

    fn keeps_cursor(&self) -> bool {
        false
    }

    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        let Http { session: Some(session), sources, .. } = self else { return Err(not_started()) };
        session.apply(incoming, sources)
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<Vec<Refused>>> {
        Box::pin(async move {
            match &mut self.session {
                Some(session) => session.flush().await,
                None => Err(not_started()),
            }
        })
    }

    /// Nothing is left to do: `flush` has sent everything, and the loop writes the cursor.
    fn commit<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.forget();
            Ok(())
        })
    }

    fn reset<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.forget();
            Ok(())
        })
    }

    /// Tells the endpoint, after everything before (`flush` has sent it). The case is the idempotency key: told again after a
    /// crash, it is the same event.
    fn erase<'a>(&'a mut self, erasure: &'a Erasure) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            match &mut self.session {
                Some(session) => session.erase(erasure).await,
                None => Err(not_started()),
            }
        })
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

fn not_started() -> Error {
    Error::config("send change: the sink was not started")
}
