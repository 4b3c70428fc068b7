//! PostgreSQL: a source (an initial copy and logical replication) and a [`sink`], over their own connection.
//!
//! `connection` speaks the protocol (`wire`, `socket`, `tls`, `auth` below it); `catalog` and `setup` look at the server
//! and prepare it; `snapshot` copies, `stream` follows, by the same `changes` and `types`; `source` goes from one to the
//! other. Positions (`lsn`) are the ends of transactions; what is confirmed upstream is durable in the log (I1).

mod auth;
mod catalog;
mod changes;
mod connection;
mod delete;
mod error;
mod keys;
mod lsn;
mod monitor;
mod options;
mod originals;
mod pgoutput;
mod refresh;
mod setup;
pub mod sink;
mod snapshot;
mod socket;
mod source;
mod stream;
mod target;
mod task;
mod tls;
mod types;
mod wire;

pub use options::{Checked, Options, Snapshot};

use connector_api::{Finding, Originals, Result, Source};
use std::sync::Arc;

/// A source named `name` (the prefix of its topics) with checked options; it connects at `start`.
///
/// # Errors
/// [`connector_api::Kind::Config`], naming the option that is wrong.
pub fn source(name: &str, options: &Options) -> Result<Box<dyn Source>> {
    Ok(Box::new(source::Postgres::new(options.check(name)?)))
}

/// The rows that the source `name` has now; connects when it is first asked.
///
/// # Errors
/// [`connector_api::Kind::Config`], naming the option that is wrong.
pub fn originals(name: &str, options: &Options) -> Result<Box<dyn Originals>> {
    Ok(Box::new(originals::Tables::new(options.check(name)?)))
}

/// Deletes the row of a captured table whose column has this value, given as text. Returns how many rows that were.
///
/// # Errors
/// [`connector_api::Kind::Config`], naming the option that is wrong, or when no such table is captured; what the server says.
pub async fn delete_row(
    name: &str,
    options: &Options,
    topic: &str,
    column: &str,
    value: &str,
) -> Result<u64> {
    delete::delete(options.check(name)?, topic, column, value).await
}

/// Everything that keeps the source `name` from working, or will; looks only. Needs a tokio runtime.
///
/// # Errors
/// [`connector_api::Kind::Config`] when the options themselves are wrong; the server's faults are findings.
pub async fn check(name: &str, options: &Options) -> Result<Vec<Finding>> {
    Ok(setup::check::check(Arc::new(options.check(name)?)).await)
}

/// The database that the options name; empty when the URL does not parse.
pub fn database(options: &Options) -> String {
    target::Target::parse(&options.url).map(|target| target.database).unwrap_or_default()
}

/// What Debezium's `source` block says of the position of a transaction.
pub fn describe_position(position: &[u8]) -> Vec<(&'static str, serde_json::Value)> {
    match lsn::Mark::decode(&connector_api::Position::new(position)).map(|mark| mark.stage) {
        Ok(lsn::Stage::Streaming(lsn) | lsn::Stage::Snapshot(lsn)) => vec![("lsn", lsn.0.into())],
        Ok(lsn::Stage::Intent) | Err(_) => Vec::new(),
    }
}
