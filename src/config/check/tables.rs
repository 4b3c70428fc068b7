//! The tables of a sink: topics, names, expressions, and whether the entries fit each other.

use crate::config::problem::{Problem, nearest, quoted};
use crate::config::read::Report;
use crate::config::sink::{OnDelete, SinkTable};
use crate::config::{Config, SinkRules};
use crate::expression::{Expression, Fault};
use connector_api::pattern::matches;
use std::collections::BTreeMap;

/// The tables of one sink.
pub(super) struct Tables<'a> {
    pub(super) config: &'a Config,
    pub(super) rules: &'a SinkRules,
    pub(super) sink: &'a str,
    pub(super) report: &'a Report,
}

/// A target table that an entry names.
struct Target<'a> {
    item: String,
    key: &'static str,
    topic: &'a str,
    named: bool,
}

impl<'a> Tables<'a> {
    pub(super) fn check(&self) {
        if self.rules.tables.is_empty() && self.config.places.has(&["sinks", self.sink, "tables"]) {
            self.refuse(
                &["tables"],
                "`tables` is empty: the sink would take nothing",
                Some("leave it out to take every topic"),
            );
        }
        let mut targets: BTreeMap<&str, Vec<Target<'a>>> = BTreeMap::new();
        for (index, table) in self.rules.tables.iter().enumerate() {
            let item = index.to_string();
            self.topic(&item, &table.topic);
            let pattern = table.topic.contains('*');
            match &table.table {
                Some(name) if name.is_empty() => {
                    self.refuse(&["tables", &item, "table"], "`table` is empty", None)
                }
                Some(_) if pattern => self.refuse(
                    &["tables", &item, "table"],
                    "`table` needs one topic: a pattern would write several topics into one table",
                    Some("name the topics one by one, or leave `table` out"),
                ),
                _ => {}
            }
            self.target(&mut targets, item.clone(), table);
            self.columns(&item, table);
            self.expressions(&item, table);
            self.key(&item, table);
        }
    }

    /// One table is written by one entry, or by entries for different topics that all name it.
    fn target(&self, targets: &mut BTreeMap<&'a str, Vec<Target<'a>>>, item: String, table: &'a SinkTable) {
        let named = table.table.is_some();
        let pattern = table.topic.contains('*');
        // Two entries with one pattern would both take every topic.
        let name = match &table.table {
            // That is refused by itself.
            Some(_) if pattern => return,
            Some(name) => name.as_str(),
            None if pattern => table.topic.as_str(),
            None => table.topic.rsplit('.').next().unwrap_or_default(),
        };
        let this = Target { item, key: if named { "table" } else { "topic" }, topic: &table.topic, named };
        let others = targets.entry(name).or_default();
        let meets = |other: &&Target<'_>| other.topic == this.topic || !(other.named && named);
        if let Some(other) = others.iter().find(meets) {
            let place = |target: &Target<'_>| {
                self.config.places.value(&["sinks", self.sink, "tables", &target.item, target.key])
            };
            let problem = match pattern {
                true => Problem::new(format!("the topic `{name}` is named twice")),
                false => Problem::new(format!("the target table `{name}` is named twice")),
            };
            let help = match (pattern, other.topic == this.topic) {
                (true, _) => "leave one of the two out",
                (_, true) => "a topic that is named twice goes to two tables: name another `table`",
                (_, false) => "topics that are merged into one table each name it with `table`",
            };
            let problem = problem.at(place(&this)).help(help);
            self.report.add(match place(other) {
                Some(first) => problem.related(first, "first here"),
                None => problem,
            });
        }
        others.push(this);
    }

    fn columns(&self, item: &str, table: &SinkTable) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        let columns = table.columns.iter().flat_map(|columns| &columns.0);
        for (source, target) in columns {
            if let Some(first) = seen.insert(target, source) {
                let message =
                    format!("two columns, `{first}` and `{source}`, would be written to `{target}`");
                self.refuse(&["tables", item, "columns", source], &message, None);
            }
        }
        let path = ["tables", item, "columns"];
        if table.columns.as_ref().is_some_and(|columns| columns.0.is_empty()) && table.computed.0.is_empty() {
            self.refuse(&path, "`columns` is empty", Some("leave it out to take every column"));
        }
        if table.columns.is_some() && !table.exclude.is_empty() {
            self.refuse(
                &["tables", item, "exclude"],
                "`exclude` has no effect beside `columns`",
                Some("`columns` takes only what it names; leave one of the two out"),
            );
        }
        for (name, _) in &table.computed.0 {
            let path = ["tables", item, "computed", name];
            if name.is_empty() {
                self.refuse(&path, "a column has no name", None);
            }
            if let Some(source) = seen.get(name.as_str()) {
                let message =
                    format!("two columns, `{source}` and a computed one, would be written to `{name}`");
                self.refuse(&path, &message, None);
            }
        }
        if let OnDelete::Set(marks) = &table.on_delete {
            if marks.is_empty() {
                self.refuse(
                    &["tables", item, "on_delete", "set"],
                    "`set` names no column: nothing would say that the row is deleted",
                    Some("set one, as in {set: {deleted_at: now}}, or write on_delete: ignore"),
                );
            }
            if marks.iter().any(|(name, _)| name.is_empty()) {
                self.refuse(&["tables", item, "on_delete", "set"], "a column has no name", None);
            }
        }
    }

    fn expressions(&self, item: &str, table: &SinkTable) {
        if let Some(text) = &table.condition
            && let Err(fault) = Expression::check_condition(text)
        {
            self.fault(&["tables", item, "where"], text, fault);
        }
        for (name, column) in &table.computed.0 {
            if let Err(fault) = Expression::check(&column.value) {
                let long = ["tables", item, "computed", name, "value"];
                let path: Vec<&str> = ["sinks", self.sink].iter().chain(&long).copied().collect();
                let path = if self.config.places.has(&path) { &long[..] } else { &long[..4] };
                self.fault(path, &column.value, fault);
            }
        }
    }

    /// Shows a fault inside the text that has it.
    fn fault(&self, below: &[&str], text: &str, fault: Fault) {
        let path: Vec<&str> = ["sinks", self.sink].iter().chain(below).copied().collect();
        let problem = Problem::new(fault.message).at(self.config.places.within(&path, text, fault.place));
        self.report.add(match fault.help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }

    fn key(&self, item: &str, table: &SinkTable) {
        let Some(names) = &table.key else { return };
        if names.is_empty() {
            let help = "leave it out to keep the key of the source";
            self.refuse(&["tables", item, "key"], "`key` names no column", Some(help));
        }
        for (at, name) in names.iter().enumerate() {
            let place = at.to_string();
            let path = ["tables", item, "key", &place];
            if names.iter().take(at).any(|first| first == name) {
                self.refuse(&path, &format!("`{name}` is in the key twice"), None);
            }
            let Some(columns) = &table.columns else { continue };
            let targets = columns.0.iter().map(|(_, target)| target.as_str());
            let known: Vec<&str> =
                targets.chain(table.computed.0.iter().map(|(name, _)| name.as_str())).collect();
            if !known.contains(&name.as_str()) {
                let help = format!("the target's columns are {}", quoted(&known));
                self.refuse(&path, &format!("`{name}` is no column of the target"), Some(&help));
            }
        }
    }

    /// A topic begins with a source.
    fn topic(&self, item: &str, topic: &str) {
        let sources: Vec<&str> = self.config.sources.keys().map(String::as_str).collect();
        let Some((first, rest)) = topic.split_once('.') else {
            if !topic.contains('*') {
                let help = "a table's topic is `source.schema.table`";
                self.refuse(
                    &["tables", item, "topic"],
                    &format!("`{topic}` is not the topic of a table"),
                    Some(help),
                );
            }
            return;
        };
        // With no source at all there is one problem to report, and it is reported already.
        if sources.is_empty() || sources.iter().any(|source| matches(first, source)) {
            return;
        }
        let message = format!("no source is called `{first}`");
        let help = match nearest(first, sources.iter().copied()) {
            Some(near) => format!("did you mean `{near}.{rest}`?"),
            None => format!("the sources are {}", quoted(&sources)),
        };
        self.refuse(&["tables", item, "topic"], &message, Some(&help));
    }

    fn refuse(&self, below: &[&str], message: &str, help: Option<&str>) {
        let path: Vec<&str> = ["sinks", self.sink].iter().chain(below).copied().collect();
        let problem = Problem::new(message).at(self.config.places.value(&path));
        self.report.add(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }
}
