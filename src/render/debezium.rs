//! Lines with the Debezium envelope: place, `key` and `value`.

use connector_api::render::{Object, SourceInfo, debezium};
use connector_api::{Change, Delivered, Encoding, Op, Result};
use serde_json::Value as Json;

use crate::render::{captured, loose, place, text};

/// The lines of one record: one, or for a delete the event and its tombstone.
pub(super) fn lines(delivered: &Delivered<'_>, source: &SourceInfo) -> Result<Vec<String>> {
    let (Encoding::Changes, Some(schema)) = (delivered.section.encoding, delivered.section.schema.as_ref())
    else {
        let value = if delivered.record.is_null() { Json::Null } else { loose(delivered.record.value) };
        let key = delivered.record.key.map_or(Json::Null, loose);
        return Ok(vec![line(delivered, key.to_string().as_bytes(), value.to_string().as_bytes())]);
    };
    let change = Change::decode(delivered.record, schema)?;
    let event = captured(delivered, &change, schema);
    let (mut key, mut envelope) = (Vec::new(), Vec::new());
    debezium::put_key(&mut key, &event)?;
    debezium::put_envelope(&mut envelope, &event, source)?;
    let mut lines = vec![line(delivered, &key, &envelope)];
    if change.op == Op::Delete && change.key().is_some() {
        lines.push(line(delivered, &key, b"null"));
    }
    Ok(lines)
}

fn line(delivered: &Delivered<'_>, key: &[u8], value: &[u8]) -> String {
    let mut out = Vec::new();
    let mut line = Object::begin(&mut out);
    place(&mut line, delivered);
    line.member("key").extend_from_slice(key);
    line.member("value").extend_from_slice(value);
    line.end();
    text(out)
}
