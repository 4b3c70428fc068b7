//! YAML as a tree in which every key and value knows its place. Typed reading comes after it, because a
//! deserializer of its own keeps the places where serde's tagged and flattened types would lose them.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use super::files::{Files, Place};
use super::problem::{Problem, name, nearest};
use super::read::Report;
use super::redact::SECRET_KEYS;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::collections::BTreeMap;
use std::fmt;

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text {
        text: String,
        /// What the file says, when variables were substituted: the only form that may be shown.
        written: Option<String>,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key, its place and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

impl Node {
    /// The entries, when it is a mapping.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == name)
    }

    /// Takes what variables gave out of a message: the file's own words stand for it.
    pub(super) fn scrub(&self, message: String) -> String {
        let mut given = Vec::new();
        self.substituted(&mut given);
        // One may contain another. One or two characters are no secret, and would tear words apart.
        given.retain(|(text, _)| text.len() > 2);
        given.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        given.iter().fold(message, |message, (text, written)| {
            message.replace(text, written).replace(&text.escape_debug().to_string(), written)
        })
    }

    fn substituted<'a>(&'a self, given: &mut Vec<(&'a str, &'a str)>) {
        match &self.value {
            Value::Text { text, written: Some(written) } => given.push((text, written)),
            Value::List(items) => items.iter().for_each(|item| item.substituted(given)),
            Value::Map(entries) => entries.iter().for_each(|entry| entry.value.substituted(given)),
            _ => {}
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// Parses one file that was added to `files`. An empty file is an empty mapping.
pub(super) fn parse(files: &mut Files, file: u32, report: &Report) -> Result<Node, Problem> {
    let text = files.get(file).map_or("", |file| file.text.as_str());
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 64, max_documents: 1, max_nodes: 100_000 },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let whole = Place { file, start: 0, end: 0 };
    let parsed = serde_saphyr::from_str_with_options::<Option<Spanned<Raw>>>(text, options);
    let node = match parsed {
        Ok(Some(raw)) => located(raw, file, text),
        Ok(None) => Node { place: whole, value: Value::Map(Vec::new()) },
        Err(error) => return Err(refused(&error, file, text)),
    };
    match &node.value {
        Value::Map(_) => {}
        Value::Null => return Ok(Node { place: whole, value: Value::Map(Vec::new()) }),
        _ => return Err(Problem::new("the configuration is not a mapping of sections").at(node.place)),
    }
    hide(&node, files);
    refuse_duplicates(&node, report);
    Ok(node)
}

/// The parser's own words, without the location that it appends: ours is shown apart.
fn refused(error: &serde_saphyr::Error, file: u32, text: &str) -> Problem {
    let message = error.without_snippet().to_string();
    let message = message.split(" at line ").next().unwrap_or_default().trim_start_matches("error: ");
    let place = error.location().map(|location| {
        let line_start =
            text.split_inclusive('\n').take(location.line().saturating_sub(1) as usize).map(str::len).sum();
        let line = text.get(line_start..).unwrap_or_default();
        let column = location.column().saturating_sub(1) as usize;
        let start = line_start + line.char_indices().nth(column).map_or(line.trim_end().len(), |(at, _)| at);
        Place { file, start: start as u32, end: start as u32 + 1 }
    });
    let line =
        place.and_then(|place| text.get(..place.start as usize)).and_then(|before| before.lines().last());
    let problem = Problem::new(format!("not YAML: {message}")).at(place);
    match line {
        Some(line) if line.contains('{') && line.contains('$') => {
            problem.help("inside { } and [ ] a ${VARIABLE} must stand in quotes")
        }
        _ => problem,
    }
}

/// Marks the values of secret keys, misspelt ones too, so that no error shows them, however many lines they take.
fn hide(node: &Node, files: &mut Files) {
    for entry in node.entries() {
        let scalar = !matches!(entry.value.value, Value::Map(_) | Value::List(_));
        if scalar && nearest(&entry.name, SECRET_KEYS.iter().copied()).is_some() {
            files.hide(entry.value.place);
        }
        hide(&entry.value, files);
    }
    if let Value::List(items) = &node.value {
        items.iter().for_each(|item| hide(item, files));
    }
}

/// Two equal keys in one mapping: both places are worth more than the parser's one.
fn refuse_duplicates(node: &Node, report: &Report) {
    let mut seen = BTreeMap::new();
    for entry in node.entries() {
        match seen.get(entry.name.as_str()) {
            None => drop(seen.insert(entry.name.as_str(), entry.place)),
            Some(first) => {
                let problem =
                    Problem::new(format!("the key {} is here twice", name(&entry.name))).at(entry.place);
                report.add(problem.related(*first, "first here"));
            }
        }
        refuse_duplicates(&entry.value, report);
    }
    if let Value::List(items) = &node.value {
        items.iter().for_each(|item| refuse_duplicates(item, report));
    }
}

/// What the parser gives: the same tree with the parser's locations.
enum Raw {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn located(raw: Spanned<Raw>, file: u32, text: &str) -> Node {
    let place = place(raw.referenced, file, text);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Int(value) => Value::Int(value),
        Raw::Float(value) => Value::Float(value),
        Raw::Text(text) => Value::Text { text, written: None },
        Raw::List(items) => Value::List(items.into_iter().map(|item| located(item, file, text)).collect()),
        Raw::Map(entries) => {
            let entry = |(name, value): (Spanned<String>, Spanned<Raw>)| Entry {
                place: self::place(name.referenced, file, text),
                name: name.value,
                value: located(value, file, text),
            };
            Value::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { place, value }
}

fn place(location: serde_saphyr::Location, file: u32, text: &str) -> Place {
    let clamp = |at: u64| (at.min(text.len() as u64)) as u32;
    let start = location.span().byte_offset().unwrap_or_default();
    let end = start + location.span().byte_len().unwrap_or_default();
    Place { file, start: clamp(start), end: clamp(end.max(start)) }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E: Error>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_none<E: Error>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Bool(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Int(value.into()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Int(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Float(value))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Raw::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Raw::Map(map))
            }
        }

        from.deserialize_any(Any)
    }
}
