//! Subject access, the twin of erasure: what every sink and the log hold of one person.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::{Cursor, Encoding, Error, Result, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::fence::{Gate, known};
use super::matcher::Matcher;
use super::{cascade, secret::key_text};
use crate::config::Config;
use crate::log::{Log, Subscription};
use crate::registry;
use crate::render::{self, Format, SourceInfo};

/// How much of the log is read at a time.
const READ_BYTES: usize = 1 << 20;
/// Rows and records that one export may have: it is gathered in memory.
const ROWS_MAX: usize = 100_000;

/// What is held of one person. Personal throughout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// The kind of subject.
    pub subject: String,
    /// The keyed hash of its key, as in cases.
    pub key_hash: String,
    /// Rows by sink and table.
    pub sinks: BTreeMap<String, BTreeMap<String, Vec<Map<String, Json>>>>,
    /// Sinks that could not be asked, and why: those of a type that cannot be read, and those that are not there now.
    pub not_asked: BTreeMap<String, String>,
    /// Records of the log by topic, oldest first.
    pub log: BTreeMap<String, Vec<Json>>,
}

/// Gathers what is held of one person. `key` is the encoded key.
///
/// # Errors
/// When the log cannot be read, or there is more than fits in memory. A sink that cannot be asked is named in the export.
pub async fn gather(
    config: &Config,
    gate: &Gate,
    log: Arc<dyn Log>,
    subject: &str,
    key: &[u8],
) -> Result<Export> {
    let rules = known(&gate.rules, subject)?;
    let value = Value::from_bytes(key);
    let hash = gate.secret.hash(subject, &key_text(value)?).to_string();
    let mut export = Export {
        subject: subject.to_owned(),
        key_hash: hash.clone(),
        sinks: BTreeMap::new(),
        not_asked: BTreeMap::new(),
        log: BTreeMap::new(),
    };
    for name in rules.sinks.keys() {
        let Some(sink) = config.sinks.get(name) else { continue };
        let steps = cascade::erasure(rules, name, "", value, &hash)?.steps;
        match of_sink(name, sink, &steps).await {
            Ok(Some(tables)) => drop(export.sinks.insert(name.clone(), tables)),
            Ok(None) => {
                let why = "sinks of this type cannot be read back, or nothing is configured for it";
                export.not_asked.insert(name.clone(), why.to_owned());
            }
            Err(error) => drop(export.not_asked.insert(name.clone(), error.to_string())),
        }
    }
    export.log = of_log(gate, log, subject, value).await?;
    Ok(export)
}

type Tables = BTreeMap<String, Vec<Map<String, Json>>>;

async fn of_sink(
    name: &str,
    sink: &crate::config::Sink,
    steps: &[connector_api::erasure::Step],
) -> Result<Option<Tables>> {
    let Some(mut rows) = registry::rows(name, sink)? else { return Ok(None) };
    if steps.is_empty() {
        return Ok(None);
    }
    let mut tables = Tables::new();
    for step in steps {
        let held = tables.entry(step.table.clone()).or_default();
        let mut each = |row: Map<String, Json>| {
            // Two steps may find the same row.
            if !held.contains(&row) {
                held.push(row);
            }
            if held.len() > ROWS_MAX { Err(too_much()) } else { Ok(()) }
        };
        rows.held(step, &mut each).await?;
    }
    Ok(Some(tables))
}

fn too_much() -> Error {
    Error::data(format!("gather what is held of a subject: more than {ROWS_MAX} rows of one table"))
        .with_remedy("ask the sink itself for this table")
}

async fn of_log(
    gate: &Gate,
    log: Arc<dyn Log>,
    subject: &str,
    key: Value<'_>,
) -> Result<BTreeMap<String, Vec<Json>>> {
    let mut matcher = Matcher::new(gate.rules.clone(), gate.secret.clone());
    matcher.want("", subject, key, (u64::MAX, u32::MAX), true)?;
    let rules = known(&gate.rules, subject)?;
    let patterns = rules.topics.iter().map(|rule| rule.topic.to_string()).collect();
    let mut reader = log.subscribe(Subscription { patterns }, Cursor::start(log.id()))?;
    let mut found: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    while !reader.at_tail() {
        for delivery in reader.next(READ_BYTES).await? {
            for delivered in delivery.records() {
                let delivered = delivered?;
                let (section, record) = (delivered.section, delivered.record);
                let (Encoding::Changes, Some(schema)) = (section.encoding, &section.schema) else { continue };
                let place = (delivery.sequence, record.order);
                if !matcher.is_about(&section.topic, schema, record, place)? {
                    continue;
                }
                let records = found.entry(section.topic.topic.to_string()).or_default();
                for line in render::lines(Format::Json, &delivered, &SourceInfo::default())? {
                    let shown = serde_json::from_str(&line);
                    records.push(shown.map_err(|error| Error::corrupt("show record").caused_by(error))?);
                }
                if records.len() > ROWS_MAX {
                    return Err(too_much());
                }
            }
        }
    }
    Ok(found)
}

/// How much is held where, for people.
pub fn summary(export: &Export) -> String {
    let mut out = format!("{}, key hash {}\n", export.subject, export.key_hash);
    for (sink, tables) in &export.sinks {
        for (table, rows) in tables {
            out.push_str(&format!("sink {sink}, table {table}: {} rows\n", rows.len()));
        }
    }
    for (topic, records) in &export.log {
        out.push_str(&format!("log, topic {topic}: {} records\n", records.len()));
    }
    for (sink, why) in &export.not_asked {
        out.push_str(&format!("sink {sink} was not asked: {why}\n"));
    }
    out
}
