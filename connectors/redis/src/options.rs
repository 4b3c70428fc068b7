//! What the configuration says about a Redis sink.

use std::collections::BTreeMap;

use connector_api::options::{Secret, Span};
use connector_api::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::template::Template;

/// A Redis sink, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// `redis://user:password@host:6379/0`, `rediss://…` for TLS, `redis+unix:///path?db=0` for a Unix socket.
    pub url: Secret,
    /// `rows` keeps a key for each row, `stream` appends every change to a stream, `invalidate` deletes the keys of
    /// changed rows, for a cache that somebody else fills.
    #[serde(default)]
    pub mode: Mode,
    /// The key of a row: text with `{table}`, `{topic}`, `{key}` (the values of the row's key, joined by `:`) or the name
    /// of a column of the key. In a value, `:` is written `%3A` and `%` is written `%25`.
    #[serde(default = "key")]
    pub key: String,
    /// How `rows` keeps a row: `hash` with a field for each column, or `json` as one string.
    #[serde(default)]
    pub value: Form,
    /// How long a row stays after it was written, such as `7d`. Without it: until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The stream that `stream` appends to: text with `{table}` and `{topic}`.
    #[serde(default = "stream")]
    pub stream: String,
    /// About how many entries a stream keeps; the oldest go first. Without it: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u64>,
    /// A channel on which `invalidate` publishes each key that it deletes, for caches inside of processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// Set by the service: the topics that the rules of this sink name for a table.
    #[serde(skip)]
    pub topics: BTreeMap<String, Vec<String>>,
    /// Set by the service: this sink is part of an erasure.
    #[serde(skip)]
    pub erases: bool,
}

/// What a sink makes of changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Mode {
    /// A key for each row.
    #[default]
    Rows,
    /// An entry of a stream for each change.
    Stream,
    /// Keys of changed rows are deleted.
    Invalidate,
}

/// How a row is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Form {
    /// A hash; a column that is null has no field.
    #[default]
    Hash,
    /// A string of JSON.
    Json,
}

impl Options {
    /// The defaults, for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Options {
            url: Secret::new(url),
            mode: Mode::default(),
            key: key(),
            value: Form::default(),
            ttl: None,
            stream: stream(),
            max_length: None,
            publish: None,
            topics: BTreeMap::new(),
            erases: false,
        }
    }

    /// Checks what can be checked without the server.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`], naming the option.
    pub fn check(&self, _sink: &str) -> Result<()> {
        let wrong = |what: &str| Err(Error::config(format!("check option {what}")));
        if redis::Client::open(self.url.expose()).is_err() {
            return wrong("url: not the address of a Redis server, such as redis://127.0.0.1:6379/0");
        }
        let template =
            Template::parse(&self.key).map_err(|why| Error::config(format!("check option key: {why}")))?;
        if !template.has_text() {
            return wrong(
                "key: it needs some text or {table}, or a truncate could not tell its keys from others",
            );
        }
        let stream = Template::parse(&self.stream)
            .map_err(|why| Error::config(format!("check option stream: {why}")))?;
        if stream.has_columns() {
            return wrong("stream: only {table} and {topic} may stand in it");
        }
        if self.ttl.is_some_and(|ttl| ttl.duration().is_zero()) {
            return wrong("ttl: it is zero");
        }
        if self.max_length == Some(0) {
            return wrong("max_length: it is zero");
        }
        let only = |given: bool, key: &str, mode: Mode| match given && self.mode != mode {
            true => wrong(&format!("{key}: it belongs to another mode")),
            false => Ok(()),
        };
        only(self.ttl.is_some(), "ttl", Mode::Rows)?;
        only(self.value != Form::default(), "value", Mode::Rows)?;
        only(self.max_length.is_some(), "max_length", Mode::Stream)?;
        only(self.publish.is_some(), "publish", Mode::Invalidate)
    }
}

fn key() -> String {
    "{table}:{key}".to_owned()
}

fn stream() -> String {
    "{topic}".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_come_with_the_url_alone() {
        let read: Options = serde_json::from_str(r#"{"url": "redis://127.0.0.1"}"#).unwrap();
        assert_eq!(read, Options::new("redis://127.0.0.1"));
        read.check("cache").unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |adjust: fn(&mut Options)| {
            let mut options = Options::new("redis://127.0.0.1");
            adjust(&mut options);
            options.check("cache").unwrap_err().to_string()
        };
        type Adjust = fn(&mut Options);
        let cases: [(Adjust, &str); 7] = [
            (|options| options.url = Secret::new("http://127.0.0.1"), "check option url:"),
            (|options| options.key = "{id".to_owned(), "check option key:"),
            (|options| options.key = "{id}".to_owned(), "check option key:"),
            (|options| options.stream = "{id}".to_owned(), "check option stream:"),
            (|options| options.ttl = Some(Span(0)), "check option ttl:"),
            (|options| options.max_length = Some(5), "check option max_length:"),
            (|options| options.publish = Some("c".to_owned()), "check option publish:"),
        ];
        for (adjust, start) in cases {
            assert!(with(adjust).starts_with(start), "{}", with(adjust));
        }
    }
}
