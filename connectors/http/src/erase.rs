//! Erasures: one event that asks the service behind the endpoint to erase a person, and how its answer is taken.
//!
//! Nothing can be looked up there: what is done is done on that service's word. So the event is told until there is an
//! answer, and a refusal stops the sink instead of being set aside.

use std::time::Duration;

use bytes::Bytes;
use connector_api::erasure::{Action, Erased, Erasure, Outcome, Step};
use connector_api::render::{Object, plain, put_text};
use connector_api::{Error, Result, Value};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value as Json};
use tokio::time::{Instant, sleep};

use crate::address::{Address, encode_header};
use crate::answer::{Answer, Cause, Failure};
use crate::breaker::Breaker;
use crate::event::Writer;
use crate::flush::{Request, Settings, Wire, stopped};
use crate::options::Format;
use crate::pace::Pace;

/// What an erasure leaves behind an endpoint, for certificates.
pub const REMAINS: &str =
    "The service behind a webhook erases on its own: what its backups and logs keep, only it can say.";

/// The type of the event, and what stands for `{topic}` in a URL.
const TYPE: &str = "millstream.erasure";
/// What stands for `{table}` in a URL.
const TABLE: &str = "erasure";

/// What tells an endpoint of an erasure.
pub(crate) struct Telling<'t> {
    pub wire: &'t Wire,
    pub settings: Settings,
    pub address: &'t Address,
    pub breaker: &'t mut Breaker,
    pub pace: &'t mut Pace,
}

impl Telling<'_> {
    /// Tells it, again where it may help, and reads the answer.
    ///
    /// # Errors
    /// [`connector_api::Kind::Transient`] when the endpoint does not work; other kinds when it refuses, or the
    /// configuration is wrong. None names the key.
    pub async fn tell(&mut self, erasure: &Erasure) -> Result<Outcome> {
        let url = self.address.fill(TYPE, TABLE)?;
        let body = body(&self.wire.writer, erasure)?;
        let headers = headers(self.wire.writer.format, erasure);
        let mut failed = 0;
        loop {
            let (answer, status, answered) = self.once(&url, erasure, &body, headers.as_ref()).await;
            let now = Instant::now();
            match answer {
                Answer::Accepted => {
                    self.breaker.alive(now);
                    let outcome = outcome(status, &answered, erasure.steps.len());
                    return gone(&outcome).map(|()| outcome);
                }
                Answer::Refused(error) => {
                    self.breaker.alive(now);
                    return Err(refused(&error));
                }
                Answer::Void(error) | Answer::Untrusted(error) => return Err(error),
                Answer::Later(failure) => {
                    failed += 1;
                    sleep(self.pause(failure, failed, now)?).await;
                }
            }
        }
    }

    async fn once(
        &self,
        url: &Url,
        erasure: &Erasure,
        body: &Bytes,
        headers: Option<&HeaderMap>,
    ) -> (Answer, Option<StatusCode>, Vec<u8>) {
        self.wire.post(&Request { url, id: &erasure.case, body: body.clone(), headers }).await
    }

    /// How long to wait before the next attempt; attempts have an end, and then the deliver loop waits.
    fn pause(&mut self, failure: Failure, failed: u32, now: Instant) -> Result<Duration> {
        let Failure { error, after, cause } = failure;
        let asked = after.map(|after| self.pace.asked(after));
        let told = cause == Cause::Busy && asked.is_some();
        let open = !told && self.breaker.failed(cause == Cause::Unreachable, now);
        if open || failed >= self.settings.attempts {
            return Err(stopped(error, self.breaker.failures()));
        }
        Ok(self.pace.after(failed).max(asked.unwrap_or(Duration::ZERO)))
    }
}

/// The service says that it will never do it. That is for people: a record may be set aside, a person's right may not.
fn refused(error: &Error) -> Error {
    Error::config(format!("erase a subject: the endpoint refuses: {error}")).with_remedy(
        "let the service behind the endpoint take events of type millstream.erasure (docs/WEBHOOKS.md), or exempt the sink in \
         the `erasure` section with a reason",
    )
}

/// An answer that says what is left is no confirmation.
fn gone(outcome: &Outcome) -> Result<()> {
    let Outcome::Done(erased) = outcome else { return Ok(()) };
    match erased.iter().map(|erased| erased.left).fold(0, u64::saturating_add) {
        0 => Ok(()),
        left => Err(Error::config(format!(
            "erase a subject: the service behind the endpoint says that {left} rows are left"
        ))
        .with_remedy(
            "see there why; the event is sent again. If it only takes longer, let the service answer 202",
        )),
    }
}

/// What an answer may say.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    rows: u64,
    #[serde(default)]
    left: u64,
    /// For each step in order.
    #[serde(default)]
    steps: Vec<Counted>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Counted {
    #[serde(default)]
    rows: u64,
    #[serde(default)]
    left: u64,
}

/// One entry for each step. What is said of the whole stands in the first one.
fn outcome(status: Option<StatusCode>, answered: &[u8], steps: usize) -> Outcome {
    if status == Some(StatusCode::ACCEPTED) {
        return Outcome::Awaited;
    }
    // Anything else than these numbers is the service's own affair.
    let object = serde_json::from_slice::<Map<String, Json>>(answered).map(Json::Object);
    let said: Said = object.and_then(serde_json::from_value).unwrap_or_default();
    let counts = match said.steps.is_empty() {
        true => vec![Counted { rows: said.rows, left: said.left }],
        false => said.steps,
    };
    let count = |at: usize| counts.get(at).copied().unwrap_or_default();
    let erased = |at| Erased { rows: count(at).rows, left: count(at).left };
    Outcome::Done((0..steps.max(1)).map(erased).collect())
}

/// The event.
fn body(writer: &Writer, erasure: &Erasure) -> Result<Bytes> {
    let mut out = Vec::new();
    if writer.batched {
        out.push(b'[');
    }
    match writer.format {
        // There is no envelope of Debezium for it.
        Format::Json | Format::Debezium => {
            let mut object = Object::begin(&mut out);
            object.text("id", &erasure.case);
            object.text("type", TYPE);
            put_data(&mut object, erasure)?;
            object.end();
        }
        Format::CloudEvents => {
            let mut object = Object::begin(&mut out);
            for (name, value) in attributes(erasure) {
                object.text(name, value);
            }
            object.text("datacontenttype", "application/json");
            let mut data = Object::begin(object.member("data"));
            put_data(&mut data, erasure)?;
            data.end();
            object.end();
        }
        Format::CloudEventsBinary => {
            let mut object = Object::begin(&mut out);
            put_data(&mut object, erasure)?;
            object.end();
        }
    }
    if writer.batched {
        out.push(b']');
    }
    Ok(Bytes::from(out))
}

fn put_data(object: &mut Object<'_>, erasure: &Erasure) -> Result<()> {
    object.text("case", &erasure.case);
    object.text("subject", &erasure.subject);
    plain::put_value(object.member("key"), Value::from_bytes(&erasure.key))?;
    let out = object.member("steps");
    out.push(b'[');
    for (at, step) in erasure.steps.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        put_step(out, step);
    }
    out.push(b']');
    Ok(())
}

/// What the configuration says is to be done there; how the rows are found is the service's affair.
fn put_step(out: &mut Vec<u8>, step: &Step) {
    let mut object = Object::begin(out);
    object.text("table", &step.table);
    match &step.action {
        Action::Delete => object.text("action", "delete"),
        Action::Keep => object.text("action", "keep"),
        Action::Set(marks) => {
            object.text("action", "set");
            let out = object.member("columns");
            out.push(b'[');
            for (at, (name, _)) in marks.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                put_text(out, name);
            }
            out.push(b']');
        }
    }
    object.end();
}

fn attributes(erasure: &Erasure) -> [(&'static str, &str); 5] {
    [
        ("specversion", "1.0"),
        ("id", &erasure.case),
        ("source", "/millstream"),
        ("type", TYPE),
        ("subject", &erasure.subject),
    ]
}

/// The attributes of a CloudEvent in binary mode.
fn headers(format: Format, erasure: &Erasure) -> Option<HeaderMap> {
    if format != Format::CloudEventsBinary {
        return None;
    }
    let pair = |(name, value): (&str, &str)| {
        let name = HeaderName::from_bytes(format!("ce-{name}").as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&encode_header(value)).ok()?))
    };
    Some(attributes(erasure).into_iter().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use connector_api::Kind;

    use super::*;

    #[test]
    fn answers_are_read_as_far_as_they_are_understood() {
        let ok = Some(StatusCode::OK);
        let done = |pairs: &[(u64, u64)]| {
            Outcome::Done(pairs.iter().map(|(rows, left)| Erased { rows: *rows, left: *left }).collect())
        };
        assert_eq!(outcome(Some(StatusCode::ACCEPTED), b"{}", 2), Outcome::Awaited);
        assert_eq!(outcome(Some(StatusCode::NO_CONTENT), b"", 2), done(&[(0, 0), (0, 0)]));
        assert_eq!(outcome(ok, br#"{"rows": 3, "left": 1, "note": "x"}"#, 2), done(&[(3, 1), (0, 0)]));
        assert_eq!(outcome(ok, br#"{"rows": 3}"#, 0), done(&[(3, 0)]));
        let steps = br#"{"steps": [{"rows": 1}, {"rows": 2, "left": 4}, {"rows": 9}]}"#;
        assert_eq!(outcome(ok, steps, 2), done(&[(1, 0), (2, 4)]));
        for nonsense in [&b"ok"[..], b"{\"rows\": -1}", b"[1]", b"\xff", b"null"] {
            assert_eq!(outcome(ok, nonsense, 1), done(&[(0, 0)]));
        }
    }

    #[test]
    fn a_refusal_is_for_people() {
        let error = refused(&Error::data("send to https://x/: answered 422"));
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("exempt")));
    }
}
