//! Sends everything that waits: up to so many requests at once, in order per key, again where it may help.
//!
//! Nothing is spawned: dropping the flush ends its requests.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use connector_api::{Error, LogId, Refused, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use tokio::time::{Instant, sleep_until};

use crate::answer::{self, Answer, Cause, Failure};
use crate::breaker::Breaker;
use crate::event::{Writer, batch_id};
use crate::pace::Pace;
use crate::queue::{Queue, Waiting};
use crate::schedule::{Call, Item, Limits, Schedule};
use crate::sign::Signer;

/// What a request is made with.
#[derive(Clone)]
pub(crate) struct Wire {
    pub client: Client,
    pub method: Method,
    pub signer: Option<Signer>,
    pub writer: Writer,
    pub log: LogId,
    /// By plan.
    pub urls: Vec<Url>,
}

/// One request, all but what every request has.
pub(crate) struct Request<'r> {
    pub url: &'r Url,
    pub id: &'r str,
    pub body: Bytes,
    pub headers: Option<&'r HeaderMap>,
}

/// The numbers of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub concurrency: usize,
    pub attempts: u32,
    pub limits: Limits,
}

/// Sends all events of the queue.
///
/// # Errors
/// [`connector_api::Kind::Transient`] when the endpoint does not work; other kinds when the configuration is wrong.
pub(crate) async fn run(
    wire: &Wire,
    settings: Settings,
    queue: &mut Queue,
    breaker: &mut Breaker,
    pace: &mut Pace,
) -> Result<Vec<Refused>> {
    let bytes = Bytes::from(std::mem::take(&mut queue.bytes));
    let item = |waiting: &Waiting| Item {
        chain: queue.chain(waiting),
        place: waiting.plan,
        bytes: waiting.body.len() + 1,
        keyed: waiting.keyed,
        limit: settings.limits.records,
    };
    let items = queue.waiting.iter().map(item).collect();
    let schedule = Schedule::new(items, queue.chains(), wire.urls.len(), settings.limits);
    let mut flush = Flush {
        wire,
        settings,
        waiting: &queue.waiting,
        bytes: &bytes,
        schedule,
        breaker,
        pace,
        again: Vec::new(),
        closed_until: None,
        refused: Vec::new(),
    };
    for phase in phases(&queue.waiting) {
        flush.phase(phase).await?;
    }
    Ok(flush.refused)
}

/// Runs of events that may be sent side by side.
fn phases(waiting: &[Waiting]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    waiting.chunk_by(|one, next| one.phase == next.phase).map(move |run| {
        let range = start..start + run.len();
        start = range.end;
        range
    })
}

struct Flush<'f> {
    wire: &'f Wire,
    settings: Settings,
    waiting: &'f [Waiting],
    bytes: &'f Bytes,
    schedule: Schedule,
    breaker: &'f mut Breaker,
    pace: &'f mut Pace,
    /// Requests that wait for their next attempt. No more than there were once under way and failed.
    again: Vec<Attempt>,
    /// The endpoint asked to be left alone so long.
    closed_until: Option<Instant>,
    refused: Vec<Refused>,
}

/// A request, from its first attempt to its last.
struct Attempt {
    call: Call,
    failed: u32,
    first_failed: Option<Instant>,
    due: Instant,
}

impl<'f> Flush<'f> {
    async fn phase(&mut self, events: Range<usize>) -> Result<()> {
        for at in self.schedule.begin(events) {
            self.refuse_behind(at);
        }
        let mut flying = FuturesUnordered::new();
        loop {
            let mut now = Instant::now();
            while flying.len() < self.breaker.width(self.settings.concurrency)
                && let Some(attempt) = self.next(now)
            {
                let (wire, waiting, bytes) = (self.wire, self.waiting, self.bytes);
                flying.push(async move {
                    let answer = wire.send(waiting, bytes, &attempt.call).await;
                    (attempt, answer)
                });
                now = Instant::now();
            }
            let full = flying.len() >= self.breaker.width(self.settings.concurrency);
            let wake = if full { None } else { self.wake(now) };
            if flying.is_empty() && wake.is_none() {
                return Ok(());
            }
            tokio::select! {
                Some((attempt, answer)) = flying.next(), if !flying.is_empty() => self.answered(attempt, answer)?,
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
    }

    /// What to send now: a request whose time has come again, or a new one.
    fn next(&mut self, now: Instant) -> Option<Attempt> {
        if self.closed_until.is_some_and(|until| until > now) {
            return None;
        }
        let earliest = self.again.iter().enumerate().min_by_key(|(_, attempt)| attempt.due);
        match earliest.filter(|(_, attempt)| attempt.due <= now).map(|(at, _)| at) {
            Some(at) => Some(self.again.swap_remove(at)),
            None => {
                let call = self.schedule.next()?;
                Some(Attempt { call, failed: 0, first_failed: None, due: now })
            }
        }
    }

    /// When there will be something to send, if nothing is answered before.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let waits = self.schedule.has_next() || !self.again.is_empty();
        match self.closed_until.filter(|until| *until > now) {
            Some(until) => waits.then_some(until),
            None => self.again.iter().map(|attempt| attempt.due).min(),
        }
    }

    fn answered(&mut self, attempt: Attempt, answer: Answer) -> Result<()> {
        let now = Instant::now();
        match answer {
            Answer::Accepted => {
                self.breaker.alive(now);
                self.schedule.accepted(&attempt.call);
                Ok(())
            }
            Answer::Refused(error) => {
                self.breaker.alive(now);
                self.refuse(&attempt.call, error);
                Ok(())
            }
            Answer::Later(failure) => self.later(attempt, failure, now),
            Answer::Void(error) | Answer::Untrusted(error) => Err(error),
        }
    }

    fn later(&mut self, mut attempt: Attempt, failure: Failure, now: Instant) -> Result<()> {
        let Failure { error, after, cause } = failure;
        let asked = after.map(|after| self.pace.asked(after));
        if let Some(asked) = asked {
            self.closed_until = self.closed_until.max(Some(now + asked));
        }
        // An endpoint that says how long it is busy works.
        let told = cause == Cause::Busy && asked.is_some();
        if !told && self.breaker.failed(cause == Cause::Unreachable, now) {
            return Err(stopped(error, self.breaker.failures()));
        }
        attempt.failed += 1;
        let first_failed = *attempt.first_failed.get_or_insert(now);
        let single = attempt.call.events.len() == 1;
        let to_blame = matches!(cause, Cause::Unanswered | Cause::Failed);
        if to_blame && attempt.call.suspect && !single {
            self.schedule.halve(&attempt.call);
        } else if attempt.failed < self.settings.attempts {
            attempt.due = now + self.pace.after(attempt.failed).max(asked.unwrap_or(Duration::ZERO));
            self.again.push(attempt);
        } else if to_blame && (!single || self.breaker.works_since(first_failed)) {
            let what = format!("{} attempts failed, while others were accepted; the last", attempt.failed);
            self.refuse(&attempt.call, Error::data(format!("{what}: {error}")));
        } else {
            return Err(stopped(error, self.breaker.failures()));
        }
        Ok(())
    }

    /// A call of several is cut in halves, until it is known which event is to blame.
    fn refuse(&mut self, call: &Call, error: Error) {
        if call.events.len() > 1 {
            return self.schedule.halve(call);
        }
        let behind = self.schedule.refused(call);
        if let Some(waiting) = call.events.first().and_then(|at| self.waiting.get(*at)) {
            self.refused.push(Refused { topic: waiting.topic.clone(), offset: waiting.offset, error });
        }
        behind.into_iter().for_each(|at| self.refuse_behind(at));
    }

    fn refuse_behind(&mut self, at: usize) {
        if let Some(waiting) = self.waiting.get(at) {
            let error = Error::data("waits behind an earlier record of the same key");
            self.refused.push(Refused { topic: waiting.topic.clone(), offset: waiting.offset, error });
        }
    }
}

/// The breaker is open: the deliver loop waits, longer each time, and begins with one request.
pub(crate) fn stopped(error: Error, failures: u32) -> Error {
    let made = Error::transient(format!("the endpoint fails ({failures} times in a row): {error}"));
    made.with_remedy(
        "see why the endpoint does not answer; the events wait in the log and are sent when it does",
    )
}

impl Wire {
    async fn send(&self, waiting: &[Waiting], bytes: &Bytes, call: &Call) -> Answer {
        let events = || call.events.iter().filter_map(|at| waiting.get(*at));
        let (Some(first), Some(url)) = (events().next(), self.urls.get(call.place)) else {
            return Answer::Void(Error::config("send: a request without events"));
        };
        let (id, body) = match self.writer.batched {
            false => (first.id.clone(), slice(bytes, &first.body)),
            true => {
                let id = batch_id(self.log, events().map(|waiting| waiting.id.as_str()));
                (id, array(events().map(|waiting| slice(bytes, &waiting.body))))
            }
        };
        let headers = first.headers.as_deref();
        answer::read(self.request(&Request { url, id: &id, body, headers }).send().await).await
    }

    /// Sends one request, and reads the answer's body, too.
    pub async fn post(&self, request: &Request<'_>) -> (Answer, Option<StatusCode>, Vec<u8>) {
        answer::read_whole(self.request(request).send().await).await
    }

    fn request(&self, Request { url, id, body, headers }: &Request<'_>) -> RequestBuilder {
        let mut request = self
            .client
            .request(self.method.clone(), Url::clone(url))
            .header(CONTENT_TYPE, self.writer.content_type())
            .header("idempotency-key", *id);
        if let Some(signer) = &self.signer {
            // Of this attempt, so that a receiver may refuse old ones.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            request = request
                .header("webhook-id", *id)
                .header("webhook-timestamp", now)
                .header("webhook-signature", signer.sign(id, now, body));
        }
        if let Some(headers) = headers {
            request = request.headers(HeaderMap::clone(headers));
        }
        request.body(body.clone())
    }
}

fn slice(bytes: &Bytes, range: &Range<usize>) -> Bytes {
    if range.end <= bytes.len() { bytes.slice(range.clone()) } else { Bytes::new() }
}

fn array(bodies: impl Iterator<Item = Bytes> + Clone) -> Bytes {
    let size: usize = bodies.clone().map(|body| body.len() + 1).sum();
    let mut out = BytesMut::with_capacity(size + 2);
    for (at, body) in bodies.enumerate() {
        out.extend_from_slice(if at == 0 { b"[" } else { b"," });
        out.extend_from_slice(&body);
    }
    out.extend_from_slice(b"]");
    out.freeze()
}
