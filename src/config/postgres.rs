//! Options of `type: postgres`.

use connector_api::options::{Secret, Span};
use schemars::JsonSchema;
use serde::Deserialize;

/// A Postgres source.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=ca.pem`.
    pub url: Secret,
    /// The tables to capture.
    pub tables: Vec<String>,
    /// How often.
    #[serde(default = "heartbeat")]
    pub heartbeat: Span,
}

fn heartbeat() -> Span {
    Span::secs(10)
}
