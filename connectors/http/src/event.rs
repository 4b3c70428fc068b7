//! From a change to what is sent: its id, its body, and the attributes of a CloudEvent.
//!
//! The id is made of what never changes about a record (log, topic, partition, offset, and the table's name where the
//! configuration gives one), so that it is the same after any retry, restart or replay.

use std::fmt::Write as _;
use std::sync::Arc;

use connector_api::civil::{MICROS_1970_TO_2000, put_timestamp};
use connector_api::render::{Event, Object, SourceInfo, debezium, plain};
use connector_api::{Incoming, LogId, Op, Result, Target};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::address::{Address, encode, encode_header};
use crate::options::Format;

/// What is worked out once for a target.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Held, so that its address cannot come to mean another.
    pub target: Arc<Target>,
    pub url: Url,
    /// The part of an id before the partition.
    prefix: String,
    /// The part of an id after the offset: a record that goes to several tables is an event for each.
    suffix: String,
    /// `source` of a CloudEvent.
    source: String,
}

impl Plan {
    /// # Errors
    /// [`connector_api::Kind::Config`] when topic or table cannot stand in the URL.
    pub fn new(target: &Arc<Target>, address: &Address, log: LogId) -> Result<Plan> {
        let topic = &*target.topic;
        let origin = topic.split('.').next().unwrap_or_default();
        Ok(Plan {
            target: target.clone(),
            url: address.fill(topic, &target.table)?,
            prefix: format!("{log}:{}", encode(topic)),
            suffix: if target.named { format!(":{}", encode(&target.table)) } else { String::new() },
            source: format!("/millstream/{}", encode(origin)),
        })
    }

    /// The id of an event.
    pub fn id(&self, incoming: &Incoming<'_>) -> String {
        let (partition, offset) = (incoming.topic.partition, incoming.change.record.offset);
        format!("{}:{partition}:{offset}{}", self.prefix, self.suffix)
    }
}

/// How changes are written.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub format: Format,
    /// Whether the event will be one of several in a body.
    pub batched: bool,
}

impl Writer {
    /// `Content-Type` of a request.
    pub fn content_type(&self) -> &'static str {
        match (self.format, self.batched) {
            (Format::CloudEvents, false) => "application/cloudevents+json",
            (Format::CloudEvents, true) => "application/cloudevents-batch+json",
            (Format::Json | Format::Debezium | Format::CloudEventsBinary, _) => "application/json",
        }
    }

    /// Appends the event's JSON.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] when a row does not decode.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        incoming: &Incoming<'_>,
        plan: &Plan,
        id: &str,
        source: &SourceInfo,
    ) -> Result<()> {
        let event = Event::of(incoming);
        match (self.format, self.batched) {
            (Format::Json, _) => put_json(out, &event, id),
            (Format::Debezium, false) => debezium::put_envelope(out, &event, source),
            (Format::Debezium, true) => {
                let mut object = Object::begin(out);
                object.text("id", id);
                debezium::put_key(object.member("key"), &event)?;
                debezium::put_envelope(object.member("value"), &event, source)?;
                object.end();
                Ok(())
            }
            (Format::CloudEvents, _) => {
                let mut object = Object::begin(out);
                for (name, value) in attributes(&event, plan, id) {
                    object.text(name, &value);
                }
                object.text("datacontenttype", "application/json");
                put_data(object.member("data"), &event)?;
                object.end();
                Ok(())
            }
            (Format::CloudEventsBinary, _) => put_data(out, &event),
        }
    }

    /// The headers that belong to one event: the attributes of a CloudEvent in binary mode.
    pub fn headers(&self, incoming: &Incoming<'_>, plan: &Plan, id: &str) -> Option<HeaderMap> {
        if self.format != Format::CloudEventsBinary {
            return None;
        }
        let mut headers = HeaderMap::new();
        for (name, value) in attributes(&Event::of(incoming), plan, id) {
            let name = HeaderName::from_bytes(format!("ce-{name}").as_bytes());
            // Encoded, it is visible ASCII, which every header may hold.
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&encode_header(&value))) {
                headers.insert(name, value);
            }
        }
        Some(headers)
    }
}

/// Plain JSON: the place, and what happened there.
fn put_json(out: &mut Vec<u8>, event: &Event<'_>, id: &str) -> Result<()> {
    let mut object = Object::begin(out);
    object.text("id", id);
    object.text("topic", &event.topic.topic);
    object.plain("partition", event.topic.partition);
    object.plain("offset", event.change.record.offset);
    object.text("table", event.view.table());
    object.plain("time_us", event.transaction.timestamp_us);
    plain::put_change(&mut object, event)?;
    object.end();
    Ok(())
}

/// The `data` of a CloudEvent.
fn put_data(out: &mut Vec<u8>, event: &Event<'_>) -> Result<()> {
    let mut object = Object::begin(out);
    plain::put_change(&mut object, event)?;
    object.end();
    Ok(())
}

/// The attributes of a CloudEvent. `sequence` is the offset with leading zeros: it compares as text within a topic and
/// partition.
fn attributes(event: &Event<'_>, plan: &Plan, id: &str) -> Vec<(&'static str, String)> {
    let transaction = event.transaction;
    let mut all = vec![
        ("specversion", "1.0".to_owned()),
        ("id", id.to_owned()),
        ("source", plan.source.clone()),
        ("type", format!("millstream.change.{}", operation(event.op()))),
        ("subject", event.view.table().to_owned()),
    ];
    if transaction.timestamp_us != 0 {
        all.push(("time", time(transaction.timestamp_us)));
    }
    all.push(("topic", event.topic.topic.to_string()));
    all.push(("sequence", format!("{:020}", event.change.record.offset)));
    if transaction.id != 0 {
        all.push(("transaction", transaction.id.to_string()));
    }
    all
}

fn operation(op: Op) -> &'static str {
    match op {
        Op::Insert => "insert",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Truncate => "truncate",
        Op::Read => "read",
    }
}

/// RFC 3339, in UTC.
fn time(unix_us: i64) -> String {
    let mut text = String::new();
    put_timestamp(&mut text, unix_us.saturating_sub(MICROS_1970_TO_2000), 'T', "Z");
    text
}

/// The id of a request that holds several events: the same events make the same id.
pub(crate) fn batch_id<'i>(log: LogId, ids: impl Iterator<Item = &'i str>) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for id in ids {
        hash.update(id.as_bytes());
        hash.update(b"\n");
    }
    let mut text = format!("{log}:batch:");
    for byte in hash.finalize().iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
