//! `docs/CONFIGURATION.md`, out of the schema: every key with its type, default and meaning.

use super::connectors::{SinkConnector, SourceConnector};
use super::settings;
use serde_json::Value;
use std::fmt::Write;

const HEAD: &str = include_str!("manual/head.md");
const ERASURE: &str = include_str!("manual/erasure.md");

/// The manual of the configuration, as Markdown.
pub fn manual() -> String {
    let schema = super::schema();
    let mut out = HEAD.to_owned();
    for (section, title) in [("log", "## `log`"), ("admin", "## `admin`")] {
        let part = at(&schema, &["properties", section]);
        chapter(&mut out, title, part, |_| true);
    }
    let sources = at(&schema, &["properties", "sources"]);
    chapter(&mut out, "## `sources`", sources, |_| false);
    for (name, part) in kinds(sources, SourceConnector::TYPES) {
        chapter(&mut out, &format!("### `type: {name}` (source)"), part, |_| true);
    }
    let sinks = at(&schema, &["properties", "sinks"]);
    chapter(&mut out, "## `sinks`", sinks, |_| false);
    let rules = schemars::schema_for!(super::SinkRules).to_value();
    let common = |key: &str| rules.get("properties").is_some_and(|keys| keys.get(key).is_some());
    let kinds: Vec<_> = kinds(sinks, SinkConnector::TYPES).collect();
    if let Some((_, part)) = kinds.first() {
        chapter(&mut out, "### Every sink", &without_text(part), common);
    }
    for (name, part) in &kinds {
        chapter(&mut out, &format!("### `type: {name}` (sink)"), part, |key| !common(key));
    }
    erasure(&mut out, at(&schema, &["properties", "erasure"]));
    out.push_str("\n## Environment\n\nThese variables set what belongs to the process.\n\n");
    out.push_str("| variable | default | meaning |\n| --- | --- | --- |\n");
    for (name, default, meaning) in settings::VARIABLES {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let _ = writeln!(out, "| `{name}` | {default} | {meaning} |");
    }
    out
}

/// The kinds of subjects, with an example; a step is a chapter of its own, because it stands in two places.
fn erasure(out: &mut String, section: &Value) {
    chapter(out, "## `erasure`", section, |_| false);
    let _ = write!(out, "\n{ERASURE}");
    let subject = at(section, &["additionalProperties"]);
    chapter(out, "### A kind of subject", subject, |_| true);
    let forms = at(subject, &["properties", "sinks", "additionalProperties", "anyOf"]);
    let steps =
        forms.as_array().and_then(|forms| forms.first()).map_or(&Value::Null, |form| at(form, &["items"]));
    chapter(out, "### A step of a sink", steps, |_| true);
}

/// A title, the description of the part, and a table of its keys.
fn chapter(out: &mut String, title: &str, part: &Value, chosen: impl Fn(&str) -> bool) {
    let _ = writeln!(out, "\n{title}");
    if let Some(text) = text(part, "description") {
        let _ = writeln!(out, "\n{}", line(text));
    }
    let mut rows = String::new();
    keys(&mut rows, "", part, &chosen);
    if !rows.is_empty() {
        let _ = write!(out, "\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n{rows}");
    }
}

/// A row for every key, and for those below it: `retention.events.age`, `tables[].topic`.
fn keys(rows: &mut String, prefix: &str, part: &Value, chosen: &dyn Fn(&str) -> bool) {
    let Some(properties) = part.get("properties").and_then(Value::as_object) else { return };
    let required = part.get("required").and_then(Value::as_array);
    for (key, value) in properties.iter().filter(|(key, _)| chosen(key)) {
        let path = format!("{prefix}{key}");
        let needed = required.is_some_and(|required| required.iter().any(|name| name == key));
        let default =
            value.get("default").filter(|default| !default.is_object() && *default != &Value::Array(vec![]));
        let default = match default {
            Some(Value::Null) | None if needed => "required".to_owned(),
            Some(Value::Null) | None => String::new(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(other) => format!("`{other}`"),
        };
        let meaning = line(text(value, "description").unwrap_or_default());
        let _ = writeln!(rows, "| `{path}` | {} | {default} | {meaning} |", kind(value));
        keys(rows, &format!("{path}."), value, &|_| true);
        for either in value.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
            keys(rows, &format!("{path}."), either, &|_| true);
        }
        if let Some(items) = value.get("items") {
            keys(rows, &format!("{path}[]."), items, &|_| true);
        }
    }
}

/// The type of a value in a few words.
fn kind(value: &Value) -> String {
    let list = |values: &Vec<Value>| {
        values.iter().map(kind).filter(|kind| !kind.is_empty()).collect::<Vec<_>>().join(" or ")
    };
    if let Some(word) = text(value, "const") {
        return format!("`{word}`");
    }
    if let Some(either) = value.get("anyOf").or_else(|| value.get("oneOf")).and_then(Value::as_array) {
        return list(either);
    }
    if let Some(words) = value.get("enum").and_then(Value::as_array) {
        return words
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    let name = match value.get("type") {
        Some(Value::String(name)) => name.as_str(),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or_default()
        }
        _ => "",
    };
    match (name, text(value, "title")) {
        ("string", Some("Size")) => "size".to_owned(),
        ("string", Some("Span")) => "time span".to_owned(),
        ("string", Some("Secret")) => "text, secret".to_owned(),
        ("string", _) => "text".to_owned(),
        ("integer", _) => "whole number".to_owned(),
        ("number", _) => "number".to_owned(),
        ("boolean", _) => "`true` or `false`".to_owned(),
        ("array", _) => format!("list of {}", value.get("items").map(kind).unwrap_or_default()),
        ("object", _) => "mapping".to_owned(),
        _ => String::new(),
    }
}

/// The kinds of a section of named things.
fn kinds<'a>(
    section: &'a Value,
    names: &'static [&'static str],
) -> impl Iterator<Item = (&'static str, &'a Value)> {
    let one = at(section, &["additionalProperties"]);
    let parts = match one.get("oneOf").and_then(Value::as_array) {
        Some(parts) => parts.iter().collect(),
        None => vec![one],
    };
    names.iter().copied().zip(parts)
}

fn without_text(part: &Value) -> Value {
    let mut part = part.clone();
    if let Some(part) = part.as_object_mut() {
        part.remove("description");
    }
    part
}

fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, step| value.get(step).unwrap_or(&Value::Null))
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// On one line, and safe in a table.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
