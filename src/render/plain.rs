//! The plain formats: `json` and `raw`.

use std::fmt::Write as _;

use connector_api::render::{Event, Object, View, plain};
use connector_api::{Change, Delivered, Encoding, Error, Headers, Result, TopicPartition, Transaction};
use serde_json::Value as Json;

use crate::render::{captured, loose, place, text};

/// One object: place, `op`, `time`, `key`, and `row` (or `before` for a delete); an event has `value`.
pub(super) fn json(delivered: &Delivered<'_>) -> Result<String> {
    let mut out = Vec::new();
    let mut line = Object::begin(&mut out);
    place(&mut line, delivered);
    line.plain("time_us", delivered.transaction.timestamp_us);
    match (delivered.section.encoding, delivered.section.schema.as_ref()) {
        (Encoding::Changes, Some(schema)) => {
            let change = Change::decode(delivered.record, schema)?;
            plain::put_change(&mut line, &captured(delivered, &change, schema))?;
        }
        _ => event(&mut line, delivered)?,
    }
    line.end();
    Ok(text(out))
}

/// A change without its place.
pub(super) fn change_only(
    topic: &TopicPartition,
    transaction: Transaction<'_>,
    change: &Change<'_>,
) -> Result<Json> {
    let mut out = Vec::new();
    let mut line = Object::begin(&mut out);
    let view = View::Source(change.schema);
    plain::put_change(&mut line, &Event { topic, transaction, change, view })?;
    line.end();
    serde_json::from_slice(&out).map_err(|error| Error::corrupt("render change").caused_by(error))
}

fn event(line: &mut Object<'_>, delivered: &Delivered<'_>) -> Result<()> {
    let record = delivered.record;
    line.plain("key", record.key.map_or(Json::Null, loose));
    line.plain("value", if record.is_null() { Json::Null } else { loose(record.value) });
    let headers = Headers::decode(record.headers)?;
    if !headers.is_empty() {
        let pairs = headers.into_iter().map(|(name, value)| (name.to_owned(), loose(value)));
        line.plain("headers", Json::Object(pairs.collect()));
    }
    Ok(())
}

/// An event's payload as it is; a change's bytes in hexadecimal.
pub(super) fn raw(delivered: &Delivered<'_>) -> String {
    if delivered.section.encoding == Encoding::Events {
        return String::from_utf8_lossy(delivered.record.value).into_owned();
    }
    let mut line = String::with_capacity(delivered.record.value.len() * 2);
    for byte in delivered.record.value {
        let _ = write!(line, "{byte:02x}");
    }
    line
}
