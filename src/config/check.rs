//! What types cannot say: limits, names, and whether the parts fit each other. Every finding has its place, and
//! all of them are reported together.

use super::log::{Limits, Sync, TableRetention};
use super::problem::{self, Problem, nearest, quoted};
use super::read::Report;
use super::{Config, SinkRules};
use connector_api::options::{Size, Span};
use connector_api::pattern::matches;
use std::collections::BTreeMap;

/// What a name of a source or a sink may be; it becomes part of topics, slots and metrics.
pub(super) const NAME_PATTERN: &str = "^[a-z0-9_-]{1,63}$";

pub(super) fn check(config: &Config, report: &Report) {
    log(config, report);
    admin(config, report);
    let names = config.sources.keys().map(|name| ("sources", name));
    for (section, name) in names.chain(config.sinks.keys().map(|name| ("sinks", name))) {
        let legal =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if name.is_empty() || name.len() > 63 || !name.bytes().all(legal) {
            let problem = Problem::new(format!(
                "{} cannot be the name of a {}",
                problem::name(name),
                section.trim_end_matches('s')
            ));
            let rule = "a name has 1 to 63 of the characters a-z 0-9 _ -";
            report.add(problem.at(config.places.label(&[section, name])).help(rule));
        }
    }
    for (name, sink) in &config.sinks {
        Tables { config, rules: &sink.rules, sink: name, report }.check();
    }
}

fn log(config: &Config, report: &Report) {
    let log = &config.log;
    let refuse =
        |path: &[&str], message: String| report.add(Problem::new(message).at(config.places.value(path)));
    if !(Size::kib(64)..=Size::gib(4)).contains(&log.segment_size) {
        refuse(&["log", "segment_size"], "`segment_size` is between 64KiB and 4GiB".into());
    }
    if log.tail_cache > Size::gib(4) {
        refuse(&["log", "tail_cache"], "`tail_cache` is at most 4GiB".into());
    }
    if !(Span::millis(1)..=Span::secs(60)).contains(&log.sync_interval) {
        refuse(&["log", "sync_interval"], "`sync_interval` is between 1ms and 60s".into());
    }
    let interval = ["log", "sync_interval"];
    if log.sync == Sync::Always && config.places.has(&interval) {
        let problem = Problem::new("`sync_interval` has no effect with `sync: always`");
        report
            .add(problem.at(config.places.label(&interval)).help("write `sync: interval`, or leave it out"));
    }
    if log.path.as_os_str().is_empty() {
        refuse(&["log", "path"], "`path` is empty".into());
    }
    let mut limits = vec![("events", &log.retention.events)];
    if let TableRetention::Limits(tables) = &log.retention.tables {
        limits.push(("tables", tables));
    }
    for (topics, Limits { age, size }) in limits {
        if *age == Some(Span(0)) {
            refuse(&["log", "retention", topics, "age"], "a retention of no time would keep nothing".into());
        }
        if *size == Some(Size(0)) {
            refuse(
                &["log", "retention", topics, "size"],
                "a retention of no bytes would keep nothing".into(),
            );
        }
    }
}

fn admin(config: &Config, report: &Report) {
    let listen = config.admin.listen;
    match &config.admin.token {
        Some(token) if token.expose().is_empty() => {
            report.add(Problem::new("`token` is empty").at(config.places.label(&["admin", "token"])));
        }
        None if !listen.ip().is_loopback() => {
            let problem = Problem::new(format!(
                "the admin API on {listen} needs a `token`: others can reach that address"
            ));
            let help = "add `token: ${MILLSTREAM_TOKEN}` under `admin`, or listen on 127.0.0.1";
            report.add(problem.at(config.places.value(&["admin", "listen"])).help(help));
        }
        _ => {}
    }
}

/// The tables of one sink.
struct Tables<'a> {
    config: &'a Config,
    rules: &'a SinkRules,
    sink: &'a str,
    report: &'a Report,
}

impl Tables<'_> {
    fn check(&self) {
        if self.rules.tables.is_empty() && self.config.places.has(&["sinks", self.sink, "tables"]) {
            self.refuse(
                &["tables"],
                "`tables` is empty: the sink would take nothing",
                Some("leave it out to take every topic"),
            );
        }
        let (mut topics, mut targets) = (BTreeMap::new(), BTreeMap::new());
        for (index, table) in self.rules.tables.iter().enumerate() {
            let item = index.to_string();
            self.topic(&item, &table.topic);
            let first = self.unique(&mut topics, &item, "topic", &table.topic, "the topic");
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
            let target = table
                .table
                .as_deref()
                .or_else(|| table.topic.rsplit('.').next())
                .filter(|_| first && !pattern);
            if let Some(target) = target {
                let key = if table.table.is_some() { "table" } else { "topic" };
                self.unique(&mut targets, &item, key, target, "the target table");
            }
            self.columns(&item, table.columns.iter().flat_map(|columns| &columns.0));
        }
    }

    fn columns<'a>(&self, item: &str, columns: impl Iterator<Item = &'a (String, String)>) {
        let mut seen = BTreeMap::new();
        let mut count = 0;
        for (source, target) in columns {
            count += 1;
            if let Some(first) = seen.insert(target, source) {
                let message =
                    format!("two columns, `{first}` and `{source}`, would be written to `{target}`");
                self.refuse(&["tables", item, "columns", source], &message, None);
            }
        }
        if count == 0 && self.config.places.has(&["sinks", self.sink, "tables", item, "columns"]) {
            self.refuse(
                &["tables", item, "columns"],
                "`columns` is empty",
                Some("leave it out to take every column"),
            );
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

    /// Two entries of a sink do not meet in one topic or one target: true when this one is the first.
    fn unique<'a>(
        &self,
        seen: &mut BTreeMap<&'a str, [String; 2]>,
        item: &str,
        key: &str,
        name: &'a str,
        what: &str,
    ) -> bool {
        let place =
            |item: &str, key: &str| self.config.places.value(&["sinks", self.sink, "tables", item, key]);
        let Some([first, of]) = seen.get(name) else {
            seen.insert(name, [item.to_owned(), key.to_owned()]);
            return true;
        };
        let problem = Problem::new(format!("{what} `{name}` is named twice")).at(place(item, key));
        self.report.add(match place(first, of) {
            Some(first) => problem.related(first, "first here"),
            None => problem,
        });
        false
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
