//! `millstream log inspect`: what stands in a log directory, without changing it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use comfy_table::{Table, presets};
use connector_api::{Error, Result};
use serde_json::{Value as Json, json};

use crate::log::embedded::{EntryInfo, SegmentInfo, inspect as read, segments};

/// What one topic-partition has in all segments.
#[derive(Default)]
struct Held {
    first: Option<u64>,
    end: u64,
    records: u64,
    bytes: u64,
}

/// Prints the segments and the topics; with `verify`, after reading and checking every byte.
///
/// # Errors
/// When there is no log, or at the first damage, with file and byte.
pub fn inspect(path: &Path, verify: bool, as_json: bool) -> Result<()> {
    let (id, _) = segments(path)?;
    let mut topics: BTreeMap<String, Held> = BTreeMap::new();
    let infos = read(path, verify, &mut |_, entry| hold(&mut topics, entry))?;
    if as_json {
        println!("{}", super::pretty(&as_value(&id.to_string(), &infos, &topics))?);
        return Ok(());
    }
    let checked = if verify { "every checksum is right" } else { "payloads not read; add --verify" };
    let text = format!("log {id}: {checked}\n\n{}\n\n{}\n", segment_table(&infos), topic_table(&topics));
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| Error::io("write to stdout", error))
}

fn hold(topics: &mut BTreeMap<String, Held>, entry: &EntryInfo) {
    for section in &entry.sections {
        let held = topics.entry(section.topic.to_string()).or_default();
        if section.count > 0 {
            held.first.get_or_insert(section.base);
        }
        held.end = held.end.max(section.base + u64::from(section.span));
        held.records += u64::from(section.count);
        held.bytes += section.bytes;
    }
}

fn segment_table(infos: &[SegmentInfo]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["SEGMENT", "STATE", "BYTES", "ENTRIES", "BATCHES", "RECORDS"]);
    for info in infos {
        let state = match (info.sealed, info.torn) {
            (true, _) if info.generation > 0 => format!("sealed, cleaned {} times", info.generation),
            (true, _) => "sealed".into(),
            (false, 0) => "newest".into(),
            (false, torn) => format!("newest, {torn} bytes at the end are no entry (yet)"),
        };
        let name = info.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let numbers = [info.bytes, info.entries, info.batches, info.records].map(|number| number.to_string());
        table.add_row([name, state].into_iter().chain(numbers));
    }
    table
}

fn topic_table(topics: &BTreeMap<String, Held>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["TOPIC", "FIRST", "END", "RECORDS", "BYTES"]);
    for (topic, held) in topics {
        let first = held.first.map_or_else(|| "-".into(), |first| first.to_string());
        let numbers = [held.end, held.records, held.bytes].map(|number| number.to_string());
        table.add_row([topic.clone(), first].into_iter().chain(numbers));
    }
    table
}

fn as_value(id: &str, infos: &[SegmentInfo], topics: &BTreeMap<String, Held>) -> Json {
    let segments = infos.iter().map(|info| {
        json!({
            "path": info.path, "first": info.first, "bytes": info.bytes, "sealed": info.sealed,
            "generation": info.generation, "created_us": info.created_us, "entries": info.entries,
            "batches": info.batches, "records": info.records, "torn": info.torn,
        })
    });
    let topics = topics.iter().map(|(topic, held)| {
        json!({"topic": topic, "first": held.first, "end": held.end, "records": held.records, "bytes": held.bytes})
    });
    json!({"log": id, "segments": segments.collect::<Vec<_>>(), "topics": topics.collect::<Vec<_>>()})
}
