//! The sink: a plan for every target, commands for every change, a transaction for every group.

use std::fmt;
use std::sync::Arc;

use connector_api::erasure::{Erasure, Outcome};
use connector_api::{BoxFuture, Cursor, Error, Incoming, LogId, Refused, Result, Sink};
use redis::aio::MultiplexedConnection;

use crate::command::Commands;
use crate::erase;
use crate::options::Options;
use crate::plan::Plans;
use crate::session::{Session, connect};

/// Applies changes to one Redis server. Several sinks may share it: each has its own cursor, told apart by name.
pub struct Redis {
    name: Arc<str>,
    options: Options,
    /// `None` before the first use, and after a failure that leaves the connection in doubt.
    session: Option<Session>,
    plans: Plans,
    /// Looks for rows that are to be erased, while the session's own connection has a transaction open.
    looking: Option<MultiplexedConnection>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// A sink named `name`. Connects nowhere before [`Sink::start`].
    pub fn new(name: impl Into<Arc<str>>, options: Options) -> Self {
        Redis { name: name.into(), options, session: None, plans: Plans::default(), looking: None }
    }

    fn session(&mut self) -> Result<&mut Session> {
        self.session.as_mut().ok_or_else(|| Error::transient("use connection: it was lost"))
    }

    /// After any failure the connection is in doubt: answers may still come that nobody waits for.
    fn doubt<T>(&mut self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.session = None;
        }
        result
    }
}

impl Sink for Redis {
    fn start(&mut self, log: LogId) -> BoxFuture<'_, Result<Option<Cursor>>> {
        Box::pin(async move {
            let mut session = Session::start(&self.name, &self.options).await?;
            let stored = session.stored(log).await;
            // Also with a cursor of another log: `reset` needs the connection.
            self.session = Some(session);
            stored
        })
    }

    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        let Redis { options, plans, session: Some(session), .. } = self else {
            return Err(Error::transient("use connection: it was lost"));
        };
        let plan = plans.find(options, incoming.target)?;
        session.begin();
        let Session { scripts, cursor, pipeline, written, .. } = session;
        Commands { options, scripts, cursor: &cursor.key, pipeline, written }.put(&plan, incoming)
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<Vec<Refused>>> {
        Box::pin(async move {
            let flushed = self.session()?.flush().await;
            self.doubt(flushed).map(|()| Vec::new())
        })
    }

    fn commit<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let session = self.session()?;
            if !session.is_open() && session.cursor.holds(cursor) {
                return Ok(());
            }
            let committed = session.commit(cursor).await;
            self.doubt(committed)
        })
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(session) = &mut self.session else { return Ok(()) };
            let rolled_back = session.rollback().await;
            self.doubt(rolled_back)
        })
    }

    fn reset<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let reset = self.session()?.reset(cursor).await;
            self.doubt(reset)
        })
    }

    fn erase<'a>(&'a mut self, erasure: &'a Erasure) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let mut looking = match self.looking.take() {
                Some(looking) => looking,
                None => connect(&self.options).await?,
            };
            let Redis { options, plans, session: Some(session), .. } = self else {
                return Err(Error::transient("use connection: it was lost"));
            };
            let erased = erase::erase(session, &mut looking, options, plans.known(), erasure).await;
            // After a failure the connection is in doubt.
            self.looking = erased.is_ok().then_some(looking);
            erased
        })
    }

    fn stop(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            match &mut self.session {
                Some(session) => session.rollback().await,
                None => Ok(()),
            }
        })
    }
}
