//! The plain formats: `json` and `raw`.

use std::fmt::Write as _;

use connector_api::json::put_json;
use connector_api::{Change, Column, Delivered, Encoding, Headers, Result, Row, Value};
use serde_json::{Map, Value as Json};

use crate::render::{loose, place};

/// One object: place, `op`, `time`, `key`, and `row` (or `before` for a delete); an event has `value`.
pub(super) fn json(delivered: &Delivered<'_>) -> Result<String> {
    let mut line = place(delivered);
    line.insert("time_us".into(), Json::from(delivered.transaction.timestamp_us));
    match (delivered.section.encoding, delivered.section.schema.as_ref()) {
        (Encoding::Changes, Some(schema)) => change(&mut line, &Change::decode(delivered.record, schema)?)?,
        _ => event(&mut line, delivered)?,
    }
    Ok(Json::Object(line).to_string())
}

/// A change without its place.
pub(super) fn change_only(of: &Change<'_>) -> Result<Json> {
    let mut line = Map::new();
    change(&mut line, of)?;
    Ok(Json::Object(line))
}

fn change(line: &mut Map<String, Json>, change: &Change<'_>) -> Result<()> {
    let schema = change.schema;
    line.insert("op".into(), Json::from(change.op.letter()));
    if let Some(key) = change.key() {
        line.insert("key".into(), object(schema.key_columns(), key)?);
    }
    if let Some(after) = change.after {
        line.insert("row".into(), object(schema.columns.iter(), after)?);
    }
    if let Some(connector_api::Before::Full(before)) = change.before {
        line.insert("before".into(), object(schema.columns.iter(), before)?);
    }
    Ok(())
}

fn object<'c>(columns: impl Iterator<Item = &'c Column>, row: Row<'_>) -> Result<Json> {
    let mut object = Map::new();
    for (column, value) in columns.zip(row.values()) {
        let value = value?;
        if value != Value::Unchanged {
            object.insert(column.name.clone(), value_of(value)?);
        }
    }
    Ok(Json::Object(object))
}

fn value_of(value: Value<'_>) -> Result<Json> {
    if let Value::Decimal(text) = value {
        return Ok(Json::from(text));
    }
    let mut text = String::new();
    put_json(&mut text, value)?;
    // A json column holds whatever its source accepted; what this program cannot parse is shown as text.
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| Json::from(text)))
}

fn event(line: &mut Map<String, Json>, delivered: &Delivered<'_>) -> Result<()> {
    let record = delivered.record;
    line.insert("key".into(), record.key.map_or(Json::Null, loose));
    line.insert("value".into(), if record.is_null() { Json::Null } else { loose(record.value) });
    let headers = Headers::decode(record.headers)?;
    if !headers.is_empty() {
        let pairs = headers.into_iter().map(|(name, value)| (name.to_owned(), loose(value)));
        line.insert("headers".into(), Json::Object(pairs.collect()));
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
