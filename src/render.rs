//! Records as lines of JSON for people and scripts: made at the edge, only when somebody looks.

pub mod debezium;
mod plain;

use connector_api::{Delivered, Result};
use serde_json::{Map, Value as Json};

/// How `millstream tail` prints a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// The Debezium 3 envelope; a delete is followed by a tombstone.
    #[default]
    Debezium,
    /// The row after the change, with the operation beside it.
    Json,
    /// The value's own bytes: an event as it was produced, a change in hexadecimal.
    Raw,
}

/// What the renderer must be told because the log does not know it.
#[derive(Debug, Clone, Default)]
pub struct SourceInfo {
    /// Debezium's name of the connector: `postgresql`.
    pub connector: &'static str,
    /// The database.
    pub database: String,
    /// Reads the connector's own position of a transaction into fields of the `source` block.
    pub position: Option<DescribePosition>,
}

/// Fields of the `source` block, from the position of a transaction.
pub type DescribePosition = fn(&[u8]) -> Vec<(&'static str, Json)>;

/// The lines of one record, without line ends.
///
/// # Errors
/// [`connector_api::Kind::Corrupt`] when the record does not decode.
pub fn lines(format: Format, delivered: &Delivered<'_>, source: &SourceInfo) -> Result<Vec<String>> {
    match format {
        Format::Debezium => debezium::lines(delivered, source),
        Format::Json => plain::json(delivered).map(|line| vec![line]),
        Format::Raw => Ok(vec![plain::raw(delivered)]),
    }
}

/// What every line says first.
fn place(delivered: &Delivered<'_>) -> Map<String, Json> {
    let mut line = Map::new();
    line.insert("topic".into(), Json::from(&*delivered.section.topic.topic));
    line.insert("partition".into(), Json::from(delivered.section.topic.partition));
    line.insert("offset".into(), Json::from(delivered.record.offset));
    line
}

/// Bytes as JSON if they are JSON, else as text, else as `base64:` and the encoding.
fn loose(bytes: &[u8]) -> Json {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| Json::from(text)),
        Err(_) => Json::from(format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(bytes))),
    }
}

/// A dead letter's record in plain JSON: for the one person who asked to see it.
///
/// # Errors
/// [`connector_api::Kind::Corrupt`] when the stored record does not decode.
pub fn letter(letter: &crate::pipeline::dead_letter::DeadLetter) -> Result<Json> {
    plain::change_only(&letter.change()?)
}
