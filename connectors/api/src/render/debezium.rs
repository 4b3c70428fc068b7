//! The Debezium 3 envelope (`before after source op ts_ms ts_us ts_ns transaction`), without schemas.
//!
//! As its defaults, with two exceptions that lose nothing: decimals are strings (`decimal.handling.mode=string`)
//! and types without a kind of their own are their text.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;

use crate::change::{Before, Op};
use crate::civil::{DAYS_1970_TO_2000, MICROS_1970_TO_2000, put_timestamp};
use crate::error::Result;
use crate::json;
use crate::render::plain::put_float;
use crate::render::{Event, Object, SourceInfo, put_text};
use crate::value::{Row, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, Value};

/// What stands where the source did not send a value.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// Appends the key of a change; null when it has none.
///
/// # Errors
/// [`crate::Kind::Corrupt`] when the key does not decode.
pub fn put_key(out: &mut Vec<u8>, event: &Event<'_>) -> Result<()> {
    let Some(key) = event.change.key() else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    let mut object = Object::begin(out);
    event.view.key(key, |name, value| put_value(object.member(name), value))?;
    object.end();
    Ok(())
}

/// Appends the envelope of a change.
///
/// # Errors
/// [`crate::Kind::Corrupt`] when a row does not decode.
pub fn put_envelope(out: &mut Vec<u8>, event: &Event<'_>, source: &SourceInfo) -> Result<()> {
    let change = event.change;
    let mut object = Object::begin(out);
    match (change.before, event.op(), change.key()) {
        (Some(Before::Full(row)), _, _) => put_row(object.member("before"), event, row)?,
        (Some(Before::Key(row)), _, _) | (None, Op::Delete, Some(row)) => {
            put_key_as_row(object.member("before"), event, row)?
        }
        _ => object.null("before"),
    }
    match change.after {
        Some(row) => put_row(object.member("after"), event, row)?,
        None => object.null("after"),
    }
    put_source(object.member("source"), event, source);
    object.text("op", event.op().letter());
    put_times(&mut object, now_us());
    put_transaction(&mut object, event);
    object.end();
    Ok(())
}

fn put_times(object: &mut Object<'_>, at_us: i64) {
    object.plain("ts_ms", at_us / 1_000);
    object.plain("ts_us", at_us);
    object.plain("ts_ns", at_us.saturating_mul(1_000));
}

fn put_source(out: &mut Vec<u8>, event: &Event<'_>, source: &SourceInfo) {
    let (change, topic) = (event.change, &event.topic.topic);
    let mut object = Object::begin(out);
    object.text("version", env!("CARGO_PKG_VERSION"));
    object.text("connector", source.connector);
    object.text("name", topic.split('.').next().unwrap_or_default());
    put_times(&mut object, event.transaction.timestamp_us);
    object.text("snapshot", if change.op == Op::Read { "true" } else { "false" });
    object.text("db", &source.database);
    object.text("schema", &change.schema.namespace);
    object.text("table", &change.schema.table);
    if event.transaction.id != 0 {
        object.plain("txId", event.transaction.id);
    }
    let fields = source.position.map(|read| read(event.transaction.position)).unwrap_or_default();
    for (name, value) in fields {
        object.plain(name, value);
    }
    object.end();
}

/// Of a transaction that is larger than a batch, the order begins anew with each batch.
fn put_transaction(object: &mut Object<'_>, event: &Event<'_>) {
    let order = event.change.record.order.saturating_sub(event.transaction.first);
    match event.transaction.id {
        0 => object.null("transaction"),
        id => {
            let mut inner = Object::begin(object.member("transaction"));
            inner.text("id", &id.to_string());
            inner.plain("total_order", u64::from(order) + 1);
            inner.end();
        }
    }
}

fn put_row(out: &mut Vec<u8>, event: &Event<'_>, row: Row<'_>) -> Result<()> {
    let mut object = Object::begin(out);
    event.view.row(row, |name, value| put_value(object.member(name), value))?;
    object.end();
    Ok(())
}

fn put_key_as_row(out: &mut Vec<u8>, event: &Event<'_>, key: Row<'_>) -> Result<()> {
    let mut object = Object::begin(out);
    event.view.key_as_row(key, |name, value| put_value(object.member(name), value))?;
    object.end();
    Ok(())
}

fn put_value(out: &mut Vec<u8>, value: Value<'_>) -> Result<()> {
    let mut number = |value: i64| drop(write!(out, "{value}"));
    match value {
        Value::Int(value) | Value::Time(value) => number(value),
        Value::Date(days) => number(i64::from(days).saturating_add(DAYS_1970_TO_2000)),
        Value::Timestamp(micros) => number(micros.saturating_add(MICROS_1970_TO_2000)),
        Value::Null => out.extend_from_slice(b"null"),
        Value::Unchanged => put_text(out, UNAVAILABLE),
        Value::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Float(value) if value.is_finite() => put_float(out, value),
        Value::Bytes(bytes) => put_text(out, &base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Text(text) | Value::Decimal(text) | Value::Json(text) => put_text(out, text),
        Value::TimestampTz(micros) => put_text(out, &zoned(micros)),
        Value::Array(array) => {
            let (_, elements) = array.open()?;
            out.push(b'[');
            for (at, element) in elements.enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                put_value(out, element?)?;
            }
            out.push(b']');
        }
        other => {
            let mut text = String::new();
            json::put_text(&mut text, other)?;
            put_text(out, &text);
        }
    }
    Ok(())
}

/// `io.debezium.time.ZonedTimestamp`: ISO 8601 in UTC.
fn zoned(micros: i64) -> String {
    let mut text = String::new();
    let zone = if matches!(micros, TIMESTAMP_INFINITY | TIMESTAMP_MINUS_INFINITY) { "" } else { "Z" };
    put_timestamp(&mut text, micros, 'T', zone);
    text
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
