//! The Debezium 3 envelope (`before after source op ts_ms ts_us ts_ns transaction`), without schemas.
//!
//! As its defaults, with two exceptions that lose nothing: decimals are strings (`decimal.handling.mode=string`)
//! and types without a kind of their own are their text.

use base64::Engine as _;
use connector_api::civil::{DAYS_1970_TO_2000, MICROS_1970_TO_2000, put_timestamp};
use connector_api::json::put_text;
use connector_api::{
    Before, Change, Column, Delivered, Encoding, Op, Result, Row, Schema, TIMESTAMP_INFINITY,
    TIMESTAMP_MINUS_INFINITY, Value,
};
use serde_json::{Map, Value as Json, json};

use crate::pipeline::status::now_us;
use crate::render::{SourceInfo, loose, place};

/// What Debezium puts where the source did not send a value.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// The lines of one record: one, or for a delete the event and its tombstone.
pub(super) fn lines(delivered: &Delivered<'_>, source: &SourceInfo) -> Result<Vec<String>> {
    let (Encoding::Changes, Some(schema)) = (delivered.section.encoding, delivered.section.schema.as_ref())
    else {
        let value = if delivered.record.is_null() { Json::Null } else { loose(delivered.record.value) };
        return Ok(vec![line(delivered, delivered.record.key.map_or(Json::Null, loose), value)]);
    };
    let change = Change::decode(delivered.record, schema)?;
    let key = match change.key() {
        Some(key) => object(schema.key_columns(), key)?,
        None => Json::Null,
    };
    let envelope = envelope(delivered, &change, source)?;
    let mut lines = vec![line(delivered, key.clone(), envelope)];
    if change.op == Op::Delete && !key.is_null() {
        lines.push(line(delivered, key, Json::Null));
    }
    Ok(lines)
}

fn line(delivered: &Delivered<'_>, key: Json, value: Json) -> String {
    let mut line = place(delivered);
    line.insert("key".into(), key);
    line.insert("value".into(), value);
    Json::Object(line).to_string()
}

fn envelope(delivered: &Delivered<'_>, change: &Change<'_>, source: &SourceInfo) -> Result<Json> {
    let before = match (change.before, change.op, change.key()) {
        (Some(Before::Full(row)), _, _) => object(change.schema.columns.iter(), row)?,
        (Some(Before::Key(row)), _, _) | (None, Op::Delete, Some(row)) => key_as_row(change.schema, row)?,
        _ => Json::Null,
    };
    let after = match change.after {
        Some(row) => object(change.schema.columns.iter(), row)?,
        None => Json::Null,
    };
    let now = now_us();
    Ok(json!({
        "before": before,
        "after": after,
        "source": source_block(delivered, change, source),
        "op": change.op.letter(),
        "ts_ms": now / 1_000,
        "ts_us": now,
        "ts_ns": now.saturating_mul(1_000),
        "transaction": transaction(delivered),
    }))
}

fn source_block(delivered: &Delivered<'_>, change: &Change<'_>, source: &SourceInfo) -> Json {
    let at = delivered.transaction.timestamp_us;
    let topic = &delivered.section.topic.topic;
    let mut block = Map::new();
    block.insert("version".into(), Json::from(env!("CARGO_PKG_VERSION")));
    block.insert("connector".into(), Json::from(source.connector));
    block.insert("name".into(), Json::from(topic.split('.').next().unwrap_or_default()));
    block.insert("ts_ms".into(), Json::from(at / 1_000));
    block.insert("ts_us".into(), Json::from(at));
    block.insert("ts_ns".into(), Json::from(at.saturating_mul(1_000)));
    block.insert("snapshot".into(), Json::from(if change.op == Op::Read { "true" } else { "false" }));
    block.insert("db".into(), Json::from(source.database.as_str()));
    block.insert("schema".into(), Json::from(change.schema.namespace.as_str()));
    block.insert("table".into(), Json::from(change.schema.table.as_str()));
    if delivered.transaction.id != 0 {
        block.insert("txId".into(), Json::from(delivered.transaction.id));
    }
    let fields = source.position.map(|read| read(delivered.transaction.position)).unwrap_or_default();
    block.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Json::Object(block)
}

/// Of a transaction that is larger than a batch, the order begins anew with each batch.
fn transaction(delivered: &Delivered<'_>) -> Json {
    let order = delivered.record.order.saturating_sub(delivered.transaction.first);
    match delivered.transaction.id {
        0 => Json::Null,
        id => json!({ "id": id.to_string(), "total_order": u64::from(order) + 1 }),
    }
}

/// A key alone, shown as a row: Debezium gives the other columns as null.
fn key_as_row(schema: &Schema, key: Row<'_>) -> Result<Json> {
    let mut row: Map<String, Json> =
        schema.columns.iter().map(|column| (column.name.clone(), Json::Null)).collect();
    for (column, value) in schema.key_columns().zip(key.values()) {
        row.insert(column.name.clone(), value_of(value?)?);
    }
    Ok(Json::Object(row))
}

fn object<'c>(columns: impl Iterator<Item = &'c Column>, row: Row<'_>) -> Result<Json> {
    let mut object = Map::new();
    for (column, value) in columns.zip(row.values()) {
        object.insert(column.name.clone(), value_of(value?)?);
    }
    Ok(Json::Object(object))
}

fn value_of(value: Value<'_>) -> Result<Json> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Unchanged => Json::from(UNAVAILABLE),
        Value::Bool(value) => Json::from(value),
        Value::Int(value) => Json::from(value),
        Value::Float(value) if value.is_finite() => Json::from(value),
        Value::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Date(days) => Json::from(i64::from(days).saturating_add(DAYS_1970_TO_2000)),
        Value::Time(micros) => Json::from(micros),
        Value::Timestamp(micros) => Json::from(micros.saturating_add(MICROS_1970_TO_2000)),
        Value::TimestampTz(micros) => Json::from(zoned(micros)),
        Value::Array(array) => {
            let (_, elements) = array.open()?;
            Json::Array(elements.map(|element| value_of(element?)).collect::<Result<_>>()?)
        }
        other => {
            let mut text = String::new();
            put_text(&mut text, other)?;
            Json::from(text)
        }
    })
}

/// `io.debezium.time.ZonedTimestamp`: ISO 8601 in UTC.
fn zoned(micros: i64) -> String {
    let mut text = String::new();
    let zone = if matches!(micros, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) { "" } else { "Z" };
    put_timestamp(&mut text, micros, 'T', zone);
    text
}
