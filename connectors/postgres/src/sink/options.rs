//! What the configuration says about a Postgres sink.

use connector_api::options::{Secret, Span};
use connector_api::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::NAME_BYTES_MAX;
use crate::target::Target;

/// A Postgres sink, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=ca.pem`; `?host=/run/postgresql`
    /// names the directory of a Unix socket.
    pub url: Secret,
    /// The schema that holds the target tables, and the sink's own tables (`_millstream_…`). Triggers and functions of
    /// the target see it as their search path.
    #[serde(default = "default_schema")]
    pub schema: String,
    /// How many connections apply changes at a time with `apply: batched`, each the changes of its own tables. With
    /// `apply: transactional` there is one.
    #[serde(default = "default_connections")]
    pub connections: u16,
    /// Whether to write as a replica (`session_replication_role`): the target's ordinary triggers and foreign keys do
    /// not run. The role has to be a superuser, or be granted to set that parameter.
    #[serde(default)]
    pub replica: bool,
    /// How long to wait for a table or a row that somebody else has locked, before the attempt is given up and made
    /// again.
    #[serde(default = "default_lock_timeout")]
    pub lock_timeout: Span,
    /// Whether target tables are created, and extended when the source gains columns. When false, a missing table or
    /// column is an error that says which statement to run.
    #[serde(skip, default = "yes")]
    pub create_tables: bool,
    /// Whether tables may be committed apart from each other, on several connections.
    #[serde(skip)]
    pub batched: bool,
    /// Whether the sink is part of an erasure. Nothing is prepared for it here: what a delete leaves, the server cleans up.
    #[serde(skip)]
    pub erases: bool,
}

impl Options {
    /// The defaults, for a server.
    pub fn new(url: impl Into<String>) -> Options {
        Options {
            url: Secret::new(url),
            schema: default_schema(),
            connections: default_connections(),
            replica: false,
            lock_timeout: default_lock_timeout(),
            create_tables: true,
            batched: false,
            erases: false,
        }
    }

    /// Checks what can be checked without the server.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`], naming the option.
    pub fn check(&self, _sink: &str) -> Result<()> {
        self.target()?;
        if self.schema.is_empty() || self.schema.len() > NAME_BYTES_MAX || self.schema.contains('\0') {
            return Err(Error::config(format!("check option schema: between 1 and {NAME_BYTES_MAX} bytes")));
        }
        if !(1..=64).contains(&self.connections) {
            return Err(Error::config("check option connections: between 1 and 64"));
        }
        if !(Span::millis(10)..=Span::secs(86_400)).contains(&self.lock_timeout) {
            return Err(Error::config("check option lock_timeout: between 10ms and 24h"));
        }
        Ok(())
    }

    pub(super) fn target(&self) -> Result<Target> {
        Target::parse(self.url.expose()).map_err(|error| error.within("check option url"))
    }

    /// How many connections apply changes.
    pub(super) fn lanes(&self) -> usize {
        if self.batched { usize::from(self.connections.max(1)) } else { 1 }
    }
}

fn default_schema() -> String {
    "public".to_owned()
}

fn default_connections() -> u16 {
    4
}

fn default_lock_timeout() -> Span {
    Span::secs(60)
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_come_with_the_url_alone() {
        let read: Options = serde_json::from_str(r#"{"url": "postgres://me:hunter2@h/x"}"#).unwrap();
        assert_eq!(read, Options::new("postgres://me:hunter2@h/x"));
        assert!(!format!("{read:?} {}", serde_json::to_string(&read).unwrap()).contains("hunter2"));
        read.check("billing").unwrap();
        assert_eq!(read.lanes(), 1);
        assert_eq!(Options { batched: true, ..read }.lanes(), 4);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_option_named() {
        let good = Options::new("postgres://me@h/x");
        for (bad, option) in [
            (Options::new("mysql://me@h/x"), "url"),
            (Options { schema: "s".repeat(64), ..good.clone() }, "schema"),
            (Options { connections: 0, ..good.clone() }, "connections"),
            (Options { lock_timeout: Span::millis(0), ..good }, "lock_timeout"),
        ] {
            let error = bad.check("billing").unwrap_err().to_string();
            assert!(error.contains(option), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = serde_json::from_str::<Options>(r#"{"url": "postgres://me@h/x", "replicate": true}"#)
            .unwrap_err();
        assert!(error.to_string().contains("unknown field `replicate`"), "{error}");
    }
}
