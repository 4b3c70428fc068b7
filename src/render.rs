//! Records as lines of JSON for people and scripts: made at the edge, only when somebody looks. How a change becomes
//! JSON is [`connector_api::render`]'s; here is what the command line puts around it.

mod debezium;
mod plain;

use connector_api::render::{Event, Object, View};
use connector_api::{Change, Delivered, Result, Schema};
use serde_json::Value as Json;

pub use connector_api::render::{DescribePosition, SourceInfo};

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

/// A dead letter's record in plain JSON: for the one person who asked to see it.
///
/// # Errors
/// [`connector_api::Kind::Corrupt`] when the stored record does not decode.
pub fn letter(letter: &crate::pipeline::dead_letter::DeadLetter) -> Result<Json> {
    plain::change_only(&letter.topic, letter.transaction(), &letter.change()?)
}

/// What every line says first.
fn place(line: &mut Object<'_>, delivered: &Delivered<'_>) {
    line.text("topic", &delivered.section.topic.topic);
    line.plain("partition", delivered.section.topic.partition);
    line.plain("offset", delivered.record.offset);
}

/// A change as it was captured.
fn captured<'a>(delivered: &Delivered<'a>, change: &'a Change<'a>, schema: &'a Schema) -> Event<'a> {
    let (topic, transaction) = (&delivered.section.topic, delivered.transaction);
    Event { topic, transaction, change, view: View::Source(schema) }
}

/// What a renderer wrote, which is always UTF-8.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned())
}

/// Bytes as JSON if they are JSON, else as text, else as `base64:` and the encoding.
fn loose(bytes: &[u8]) -> Json {
    use base64::Engine as _;
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| Json::from(text)),
        Err(_) => Json::from(format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(bytes))),
    }
}
