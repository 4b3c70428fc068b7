//! The configuration: YAML in, a checked [`Config`] out, or every problem with its place.
//!
//! The way: text -> a tree in which everything knows its place -> variables substituted in values -> what this
//! version lacks refused -> types, the connectors' own among them -> cross checks. serde-saphyr parses; its typed
//! reading is not used, because serde buffers tagged and flattened types and loses the places there.

mod admin;
mod check;
mod connectors;
pub mod erasure;
mod files;
mod later;
mod log;
mod manual;
mod node;
mod places;
mod problem;
mod read;
mod redact;
mod schema;
mod settings;
mod sink;
#[cfg(test)]
mod tests;
mod variables;

pub use admin::Admin;
pub use connectors::{SinkConnector, SourceConnector};
pub use files::Location;
pub use log::{Engine, Limits, Log, Retention, Sync, TableRetention};
pub use manual::manual;
pub use places::Places;
pub use problem::{ConfigError, nearest};
pub use schema::schema;
pub use settings::{Settings, TraceFormat};
pub use sink::{
    Apply, Columns, Computed, ComputedColumn, Kind, OnDelete, OnError, Retry, SinkRules, SinkTable,
};

use files::{Files, Place};
use node::{Entry, Node, Value};
use problem::Problem;
use read::{Keys, Reader, Report};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use variables::Variables;

/// The sections of a configuration.
const SECTIONS: &[&str] = &["log", "admin", "sources", "sinks", "erasure"];

/// A file of a configuration may have this many bytes.
const FILE_LIMIT: u64 = 4 << 20;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The unified log.
    pub log: Log,
    /// The admin API.
    pub admin: Admin,
    /// Sources by name; the name is the prefix of their topics.
    pub sources: BTreeMap<String, SourceConnector>,
    /// Sinks by name.
    pub sinks: BTreeMap<String, Sink>,
    /// Kinds of data subjects by name; [`Config::rules`] is what follows from them.
    pub erasure: BTreeMap<String, erasure::Subject>,
    /// Where each key stands.
    pub places: Places,
}

/// A sink: its connector, and what it takes and how.
#[derive(Debug, Clone)]
pub struct Sink {
    /// The connector and its own options.
    pub connector: SinkConnector,
    /// What every sink has.
    pub rules: SinkRules,
}

impl Config {
    /// Reads a YAML file, or every `*.yaml` and `*.yml` of a folder, with the environment of this process.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn load(path: &Path, settings: &Settings) -> Result<Config, ConfigError> {
        let mut files = Files::default();
        let refuse = |files, message: String| ConfigError::new(vec![Problem::new(message)], files);
        let read =
            |path: &Path| text_of(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
        let paths = match path.is_dir() {
            true => yaml_files(path).map_err(|error| {
                refuse(Files::default(), format!("cannot list {}: {error}", path.display()))
            })?,
            false => vec![path.to_path_buf()],
        };
        if paths.is_empty() {
            return Err(refuse(files, format!("no *.yaml or *.yml file in {}", path.display())));
        }
        for path in &paths {
            match read(path) {
                Ok(text) => files.add(path.display().to_string(), text),
                Err(message) => return Err(refuse(files, message)),
            };
        }
        let get = |name: &str| std::env::var(name).ok();
        Self::read(files, paths.len() as u32, Variables { get: &get, folder: Path::new("") }, settings)
    }

    fn read(
        mut files: Files,
        count: u32,
        variables: Variables<'_>,
        settings: &Settings,
    ) -> Result<Config, ConfigError> {
        let report = Report::default();
        let mut roots = Vec::new();
        for file in 0..count {
            match node::parse(&mut files, file, &report) {
                Ok(root) => roots.push(root),
                Err(problem) => report.add(problem),
            }
        }
        if !report.is_empty() {
            return Err(ConfigError::new(report.into_problems(), files));
        }
        let mut root = merge(roots, &report);
        let places = Places::new(files, &root);
        variables.substitute(&mut root, &report);
        if !report.is_empty() {
            // What a variable would have given is not known: types and checks would only repeat it.
            return Err(ConfigError::new(report.into_problems(), places.files().clone()));
        }
        later::refuse(&mut root, &report);
        let mut config = Config::typed(&root, places, &report);
        config.overridden(settings);
        check::check(&config, &report);
        if report.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError::new(report.into_problems(), config.places.files().clone()))
        }
    }

    /// The tree as types. What cannot be read is reported and left at its default, so that checks go on.
    fn typed(root: &Node, places: Places, report: &Report) -> Config {
        Keys::default().refuse_others(root, SECTIONS, report);
        let section =
            |name: &str| root.entry(name).map(|entry| Reader::new(&entry.value, entry.place, report));
        let named = |name: &str| root.entry(name).map_or(&[][..], |entry| named(entry, report));
        let sources =
            named("sources").iter().filter_map(|entry| Some((entry.name.clone(), source(entry, report)?)));
        let sinks =
            named("sinks").iter().filter_map(|entry| Some((entry.name.clone(), sink(entry, report)?)));
        let subject = |entry: &Entry| take(Reader::new(&entry.value, entry.place, report), report);
        let erasure = named("erasure").iter().filter_map(|entry| Some((entry.name.clone(), subject(entry)?)));
        if root.entry("sources").is_none_or(|entry| entry.value.entries().is_empty()) && report.is_empty() {
            let problem = Problem::new("no source is configured").at(places.label(&["sources"]));
            report.add(problem.help("add one under `sources`; examples/minimal.yaml shows how"));
        }
        let mut config = Config {
            log: section("log").and_then(|reader| take(reader, report)).unwrap_or_default(),
            admin: section("admin").and_then(|reader| take(reader, report)).unwrap_or_default(),
            sources: sources.collect(),
            sinks: sinks.collect(),
            erasure: erasure.collect(),
            places,
        };
        config.cover();
        config
    }

    /// Tells the sinks that are part of an erasure.
    fn cover(&mut self) {
        for subject in self.erasure.values() {
            for (name, coverage) in &subject.sinks {
                if let (erasure::Coverage::Steps(_), Some(sink)) = (coverage, self.sinks.get_mut(name)) {
                    sink.connector.cover();
                }
            }
        }
    }

    fn overridden(&mut self, settings: &Settings) {
        if let Some(path) = &settings.log_path {
            self.log.path.clone_from(path);
        }
        if let Some(listen) = settings.admin_listen {
            self.admin.listen = listen;
        }
    }
}

/// Reads a value, or reports why not.
fn take<T: for<'de> serde::Deserialize<'de>>(reader: Reader<'_>, report: &Report) -> Option<T> {
    T::deserialize(reader).map_err(|failure| report.failed(failure)).ok()
}

/// The entries of a section of named things.
fn named<'a>(section: &'a Entry, report: &Report) -> &'a [Entry] {
    match &section.value.value {
        Value::Map(entries) => entries,
        Value::Null => &[],
        _ => {
            let problem = Problem::new(format!("`{}` is a mapping of names", section.name));
            report.add(problem.at(section.value.place));
            &[]
        }
    }
}

/// The `type` of a source or a sink.
fn type_of<'a>(entry: &'a Entry, types: &[&str], report: &Report) -> Option<(&'a str, Place)> {
    let problem = match entry.value.entry("type") {
        Some(kind) => match kind.value.text() {
            Some(name) => return Some((name, kind.value.place)),
            None => Problem::new("`type` is not text").at(kind.value.place),
        },
        None if matches!(entry.value.value, Value::Map(_) | Value::Null) => {
            Problem::new("`type` is missing").at(entry.place)
        }
        None => Problem::new("expected a mapping with a `type`").at(entry.value.place),
    };
    report.add(problem.help(format!("one of {}", problem::quoted(types))));
    None
}

fn source(entry: &Entry, report: &Report) -> Option<SourceConnector> {
    let (name, place) = type_of(entry, SourceConnector::TYPES, report)?;
    let keys = Keys::default();
    let reader = Reader::new(&entry.value, entry.place, report).sharing(&keys);
    let Some(read) = SourceConnector::read(name, reader) else {
        report.add(problem::unknown("source type", name, SourceConnector::TYPES).at(place));
        return None;
    };
    let meant = keys.refuse_others(&entry.value, &["type"], report);
    let connector = read.map_err(|failure| report.failed(meant.told(failure))).ok()?;
    connector.check(&entry.name).map_err(|error| refused(&error, entry, report)).ok()?;
    Some(connector)
}

fn sink(entry: &Entry, report: &Report) -> Option<Sink> {
    let (name, place) = type_of(entry, SinkConnector::TYPES, report)?;
    let keys = Keys::default();
    let reader = Reader::new(&entry.value, entry.place, report).sharing(&keys);
    let Some(read) = SinkConnector::read(name, reader) else {
        report.add(problem::unknown("sink type", name, SinkConnector::TYPES).at(place));
        return None;
    };
    let rules = take(reader, report);
    let meant = keys.refuse_others(&entry.value, &["type"], report);
    let mut connector = read.map_err(|failure| report.failed(meant.told(failure))).ok()?;
    connector.check(&entry.name).map_err(|error| refused(&error, entry, report)).ok()?;
    let rules = rules?;
    connector.follow(&rules);
    Some(Sink { connector, rules })
}

/// A connector's word on its options, shown at the option that it names.
fn refused(error: &connector_api::Error, entry: &Entry, report: &Report) {
    let text = error.to_string();
    let named = text.strip_prefix("check option ").and_then(|text| text.split_once(": "));
    let (message, place) = match named {
        Some((key, why)) => {
            (format!("`{key}`: {why}"), entry.value.entry(key).map(|entry| entry.value.place))
        }
        None => (text, None),
    };
    let problem = Problem::new(entry.value.scrub(message)).at(place.unwrap_or(entry.place));
    report.add(match error.remedy() {
        Some(remedy) => problem.help(entry.value.scrub(remedy.to_owned())),
        None => problem,
    });
}

/// One tree out of the files of a folder: the sections of named things are joined, the others stand in one file.
fn merge(roots: Vec<Node>, report: &Report) -> Node {
    let mut roots = roots.into_iter();
    let none = Place { file: 0, start: 0, end: 0 };
    let mut whole = roots.next().unwrap_or(Node { place: none, value: Value::Map(Vec::new()) });
    let twice = |what: String, entry: &Entry, first: Place| {
        report.add(Problem::new(what).at(entry.place).related(first, "first here"));
    };
    for root in roots {
        let (Value::Map(sections), Value::Map(more)) = (&mut whole.value, root.value) else { continue };
        for section in more {
            let Some(known) = sections.iter_mut().find(|known| known.name == section.name) else {
                sections.push(section);
                continue;
            };
            let joined = matches!(section.name.as_str(), "sources" | "sinks" | "erasure");
            match (&mut known.value.value, section.value.value) {
                (_, Value::Null) => {}
                (value @ Value::Null, other) => *value = other,
                (Value::Map(named), Value::Map(more)) if joined => {
                    for entry in more {
                        match named.iter().find(|known| known.name == entry.name) {
                            Some(first) => twice(
                                format!("`{}` is named twice in `{}`", entry.name, section.name),
                                &entry,
                                first.place,
                            ),
                            None => named.push(entry),
                        }
                    }
                }
                (_, value) => {
                    let entry = Entry { value: Node { place: section.value.place, value }, ..section };
                    twice(format!("`{}` stands in two files", entry.name), &entry, known.place);
                }
            }
        }
    }
    whole
}

/// The YAML files of a folder, by name.
fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if yaml && !hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn text_of(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(std::io::Error::other(format!("more than {FILE_LIMIT} bytes")));
    }
    Ok(text)
}
