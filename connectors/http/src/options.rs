//! What the configuration says about a webhook sink.

use std::collections::BTreeMap;
use std::path::PathBuf;

use connector_api::options::{Secret, Size, Span};
use connector_api::{Error, Result};
use reqwest::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::sign::Signer;

/// A webhook sink, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where requests go: `https://…`. Its path and query may name `{topic}` and `{table}` (the target's name), which are
    /// percent-encoded. Put credentials into `headers`, which are never shown.
    pub url: String,
    /// `POST` (the default) or `PUT`.
    #[serde(default)]
    pub method: Method,
    /// Further headers of every request. Their values are secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// What a request says: `json` (the default), `debezium`, `cloudevents` (structured) or `cloudevents-binary`.
    #[serde(default)]
    pub format: Format,
    /// Sends many changes in one request, as an array. Without it every change is a request of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// Signs every request with HMAC-SHA256 (Standard Webhooks). At least 16 bytes; text that begins with `whsec_` is
    /// base64 after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// Most requests under way at once, 1 to 256; 8 by default. Changes of one key are always sent one after the other.
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// How long a request may take, answer included: 100ms to 10m; 30s by default.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// What happens when a request fails for a reason that may pass.
    #[serde(default)]
    pub retry: Retry,
    /// Failures in a row, of any changes, after which requests stop: 1 to 1000; 10 by default. The sink then says that it
    /// is retrying and why, waits, and sends one request at a time until one is accepted.
    #[serde(default = "breaker")]
    pub breaker: u32,
    /// Certificates (PEM) that are trusted beside those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The client's certificate (PEM), for an endpoint that asks for one. Needs `key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The private key (PEM) of `certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    /// `POST`
    #[default]
    #[serde(rename = "POST")]
    Post,
    /// `PUT`
    #[serde(rename = "PUT")]
    Put,
}

/// What a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Plain JSON: place, operation, key, row.
    #[default]
    Json,
    /// The Debezium 3 envelope.
    Debezium,
    /// CloudEvents 1.0 in structured mode.
    #[serde(rename = "cloudevents")]
    CloudEvents,
    /// CloudEvents 1.0 in binary mode: the attributes are headers.
    #[serde(rename = "cloudevents-binary")]
    CloudEventsBinary,
}

/// Many changes in one request. A request takes what is at hand: nothing waits for it to fill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Most changes in one request, 1 to 10000; 100 by default.
    #[serde(default = "max_records")]
    pub max_records: u32,
    /// Most bytes of one request, 1KiB to 64MiB; 1MiB by default. One larger change goes alone.
    #[serde(default = "max_bytes")]
    pub max_bytes: Size,
}

/// Retries of a request within one flush.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How often a change is sent before it is refused, 1 to 100; 5 by default. That the endpoint does not work at all is
    /// never held against a change.
    #[serde(default = "attempts")]
    pub attempts: u32,
    /// Wait before the second attempt; it doubles with each further one, with jitter. 1ms to 1m; 200ms by default.
    #[serde(default = "first")]
    pub first: Span,
    /// Longest wait between two attempts, and the most that an endpoint's `Retry-After` is followed: up to 1h; 30s by
    /// default.
    #[serde(default = "longest")]
    pub max: Span,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: attempts(), first: first(), max: longest() }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Batch { max_records: max_records(), max_bytes: max_bytes() }
    }
}

/// Headers that the sink itself writes, or that belong to the connection.
const RESERVED: &[&str] = &[
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "host",
    "idempotency-key",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

impl Options {
    /// The defaults, for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Options {
            url: url.into(),
            method: Method::default(),
            headers: BTreeMap::new(),
            format: Format::default(),
            batch: None,
            secret: None,
            concurrency: concurrency(),
            timeout: timeout(),
            retry: Retry::default(),
            breaker: breaker(),
            ca: None,
            certificate: None,
            key: None,
        }
    }

    /// Checks what can be checked without the endpoint.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`], naming the option.
    pub fn check(&self, _sink: &str) -> Result<()> {
        Address::parse(&self.url)?;
        if let Some(secret) = &self.secret {
            Signer::new(secret)?;
        }
        self.headers.iter().try_for_each(|(name, value)| check_header(name, value))?;
        if self.batch.is_some() && self.format == Format::CloudEventsBinary {
            let error = Error::config("check option batch: cloudevents-binary has one event in a request");
            return Err(error.with_remedy("set format: cloudevents, or take batch away"));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Error::config("check options certificate and key: one needs the other"));
        }
        self.check_numbers()
    }

    fn check_numbers(&self) -> Result<()> {
        let bounds = |option: &str, good: bool, range: &str| {
            if good { Ok(()) } else { Err(Error::config(format!("check option {option}: {range}"))) }
        };
        if let Some(Batch { max_records, max_bytes }) = &self.batch {
            bounds("batch.max_records", (1..=10_000).contains(max_records), "between 1 and 10000")?;
            let sizes = Size::kib(1)..=Size::mib(64);
            bounds("batch.max_bytes", sizes.contains(max_bytes), "between 1KiB and 64MiB")?;
        }
        let Retry { attempts, first, max } = &self.retry;
        let firsts = Span::millis(1)..=Span::secs(60);
        bounds("concurrency", (1..=256).contains(&self.concurrency), "between 1 and 256")?;
        let timeouts = Span::millis(100)..=Span::secs(600);
        bounds("timeout", timeouts.contains(&self.timeout), "between 100ms and 10m")?;
        bounds("retry.attempts", (1..=100).contains(attempts), "between 1 and 100")?;
        bounds("retry.first", firsts.contains(first), "between 1ms and 1m")?;
        bounds("retry.max", (*first..=Span::secs(3_600)).contains(max), "between retry.first and 1h")?;
        bounds("breaker", (1..=1_000).contains(&self.breaker), "between 1 and 1000")
    }
}

fn check_header(name: &str, value: &Secret) -> Result<()> {
    let wrong = |what: &str| Err(Error::config(format!("check option headers: {name:?} {what}")));
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return wrong("is no name of a header");
    };
    if RESERVED.contains(&parsed.as_str()) || parsed.as_str().starts_with("ce-") {
        return wrong("is written by the sink itself");
    }
    if value.expose().is_empty() {
        return wrong("has no value");
    }
    match HeaderValue::from_str(value.expose()) {
        Ok(_) => Ok(()),
        Err(_) => wrong("has a value that no header can have (a line end?)"),
    }
}

fn concurrency() -> u32 {
    8
}

fn timeout() -> Span {
    Span::secs(30)
}

fn breaker() -> u32 {
    10
}

fn max_records() -> u32 {
    100
}

fn max_bytes() -> Size {
    Size::mib(1)
}

fn attempts() -> u32 {
    5
}

fn first() -> Span {
    Span::millis(200)
}

fn longest() -> Span {
    Span::secs(30)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn defaults_come_with_the_url_alone() {
        let read: Options = serde_json::from_str(r#"{"url": "https://example.org/hook"}"#).unwrap();
        assert_eq!(read, Options::new("https://example.org/hook"));
        read.check("hook").unwrap();
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = r#"{"url": "https://h/", "secret": "0123456789abcdef", "headers": {"authorization": "Bearer t0ken"}}"#;
        let read: Options = serde_json::from_str(text).unwrap();
        let shown = format!("{read:?} {}", serde_json::to_string(&read).unwrap());
        assert!(!shown.contains("t0ken") && !shown.contains("0123456789"), "{shown}");
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |change: &dyn Fn(&mut Options)| {
            let mut options = Options::new("https://example.org/");
            change(&mut options);
            options.check("hook").unwrap_err().to_string()
        };
        let header = |name: &str, value: &str| {
            let (name, value) = (name.to_owned(), Secret::new(value));
            move |options: &mut Options| drop(options.headers.insert(name.clone(), value.clone()))
        };
        assert!(refused(&header("Webhook-Id", "x")).contains("written by the sink"));
        assert!(refused(&header("a b", "x")).contains("no name"));
        assert!(refused(&header("a", "s3cret\n")).contains("line end"));
        assert!(!refused(&header("a", "s3cret\n")).contains("s3cret"));
        assert!(refused(&|options| options.secret = Some(Secret::new("short"))).contains("16 bytes"));
        assert!(refused(&|options| options.concurrency = 0).contains("concurrency"));
        assert!(refused(&|options| options.key = Some("k".into())).contains("certificate"));
        assert!(refused(&|options| options.url = "ftp://h/".into()).contains("http"));
        let binary = refused(&|options| {
            options.format = Format::CloudEventsBinary;
            options.batch = Some(Batch::default());
        });
        assert!(binary.contains("one event in a request"), "{binary}");
        let unknown = serde_json::from_str::<Options>(r#"{"url": "https://h/", "urls": 1}"#).unwrap_err();
        assert!(unknown.to_string().contains("unknown field `urls`"), "{unknown}");
    }
}
