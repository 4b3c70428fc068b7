//! The kinds of data subjects: whether topics, sinks and steps fit each other, and whether nobody is left out.

mod steps;

use connector_api::options::Span;

use crate::config::Config;
use crate::config::erasure::{Coverage, Every, LogCopy, Subject, takes};
use crate::config::problem::{Problem, nearest, quoted};
use crate::config::read::Report;
use crate::erasure::rules::{self, Field, TopicRule};
use steps::Steps;

pub(super) fn check(config: &Config, report: &Report) {
    let rules = config.rules();
    for (name, subject) in &config.erasure {
        let topics = rules.subject(name).map_or(&[][..], |rules: &rules::Subject| &rules.topics);
        Checking { config, name, subject, topics, report }.check();
    }
}

/// One kind of subject.
struct Checking<'a> {
    config: &'a Config,
    name: &'a str,
    subject: &'a Subject,
    /// The topics that hold its data.
    topics: &'a [TopicRule],
    report: &'a Report,
}

impl Checking<'_> {
    fn check(&self) {
        self.row();
        self.times();
        if let LogCopy::Keep(reason) = &self.subject.log
            && reason.trim().is_empty()
        {
            let help = "it is written into every certificate: keep: \"retention removes it after 30 days\"";
            self.refuse(&["log", "keep"], "`keep` says no reason", Some(help));
        }
        for (sink, coverage) in &self.subject.sinks {
            self.sink(sink, coverage);
        }
        if !self.subject.subject.topic.contains('*') {
            self.nobody_left_out();
        }
        self.topics();
    }

    /// The subject's own topic and key.
    fn row(&self) {
        let row = &self.subject.subject;
        self.topic(&["subject", "topic"], &row.topic);
        if row.key.is_empty() {
            let help = "name the column that is the key of the table: key: id";
            self.refuse(&["subject", "key"], "`key` is empty", Some(help));
        }
        let others = self.config.erasure.iter().take_while(|(name, _)| *name != self.name);
        for (other, _) in others.filter(|(_, other)| other.subject.topic == row.topic) {
            let path = ["erasure", other, "subject", "topic"];
            let problem =
                Problem::new(format!("`{other}` and `{}` are kinds of subjects with one topic", self.name))
                    .at(self.place(&["subject", "topic"]))
                    .help("join them into one: a deleted row opens one case");
            self.report.add(match self.config.places.value(&path) {
                Some(first) => problem.related(first, "first here"),
                None => problem,
            });
        }
    }

    /// One topic of a source that is there.
    fn topic(&self, below: &[&str], topic: &str) {
        if topic.contains('*') {
            let help = "name one topic: shop.public.users";
            return self.refuse(below, "a pattern is not one topic", Some(help));
        }
        let sources: Vec<&str> = self.config.sources.keys().map(String::as_str).collect();
        let first = topic.split('.').next().unwrap_or_default();
        if topic.split('.').filter(|part| !part.is_empty()).count() < 3 {
            let message = format!("`{topic}` is not the topic of a table");
            self.refuse(below, &message, Some("a table's topic is `source.schema.table`"));
        } else if !sources.is_empty() && !sources.contains(&first) {
            let help = match nearest(first, sources.iter().copied()) {
                Some(near) => format!("did you mean `{near}{}`?", &topic[first.len()..]),
                None => format!("the sources are {}", quoted(&sources)),
            };
            self.refuse(below, &format!("no source is called `{first}`"), Some(&help));
        }
    }

    fn times(&self) {
        if self.subject.deadline == Span(0) {
            let help = "the law usually gives a month: deadline: 30d";
            self.refuse(&["deadline"], "every case would be overdue at once", Some(help));
        }
        if self.subject.verify_every == Every::Span(Span(0)) {
            let help = "write 7d, or never";
            self.refuse(&["verify_every"], "sinks cannot be asked all the time", Some(help));
        }
    }

    fn sink(&self, sink: &str, coverage: &Coverage) {
        let Some(known) = self.config.sinks.get(sink) else {
            let sinks: Vec<&str> = self.config.sinks.keys().map(String::as_str).collect();
            let help = match nearest(sink, sinks.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if sinks.is_empty() => "no sink is configured".to_owned(),
                None => format!("the sinks are {}", quoted(&sinks)),
            };
            // A sink that could not be read is reported already.
            if !self.config.places.has(&["sinks", sink]) {
                let problem = Problem::new(format!("no sink is called `{sink}`"));
                let path = ["erasure", self.name, "sinks", sink];
                self.report.add(problem.at(self.config.places.label(&path)).help(help));
            }
            return;
        };
        match coverage {
            Coverage::Exempt(reason) if reason.trim().is_empty() => {
                let help = "it is written into every certificate: exempt: \"holds no personal data\"";
                self.refuse(&["sinks", sink, "exempt"], "`exempt` says no reason", Some(help));
            }
            Coverage::Exempt(_) => {}
            Coverage::Notify if known.connector.is_told() => {}
            Coverage::Notify => {
                let message = format!(
                    "a `{}` sink cannot see to it itself: it has no service behind it",
                    known.connector.type_name()
                );
                let help = format!("{sink}: [{{table: TABLE, match: COLUMN, action: delete}}]");
                self.refuse(&["sinks", sink], &message, Some(&help));
            }
            Coverage::Steps(steps) if steps.is_empty() => {
                let help = format!("{sink}: {{exempt: \"why there is nothing to do\"}}");
                self.refuse(&["sinks", sink], "no step: nothing would be erased", Some(&help));
            }
            Coverage::Steps(steps) => {
                Steps { config: self.config, subject: self.name, sink, steps, report: self.report }.check();
            }
        }
    }

    /// Every sink that takes data of the subject is covered or exempt.
    fn nobody_left_out(&self) {
        let forgotten = self.config.sinks.iter().filter(|(name, _)| !self.subject.sinks.contains_key(*name));
        for (name, sink) in forgotten {
            let mapping = sink.rules.mapping(self.config.sources.keys());
            let Some(rule) = self.topics.iter().find(|rule| takes(&mapping, &rule.topic)) else { continue };
            let (Field::Column(column) | Field::Json { column, .. }) = &rule.field;
            let table = mapping.rules(&rule.topic).find_map(|(_, rule)| rule.table.clone());
            let table = table.unwrap_or_else(|| rule.topic.rsplit('.').next().unwrap_or_default().to_owned());
            let message = format!(
                "sink `{name}` takes `{}`, which holds data of `{}`, and nothing says what it does about an erasure",
                rule.topic, self.name
            );
            let step = match sink.connector.is_told() {
                true => "notify".to_owned(),
                false => format!("[{{table: {table}, match: {column}, action: delete}}]"),
            };
            let help = format!(
                "under `erasure.{}.sinks`, add {name}: {step}, or {name}: {{exempt: \"why\"}}",
                self.name
            );
            self.refuse(&["sinks"], &message, Some(&help));
        }
    }

    /// What is stated of topics.
    fn topics(&self) {
        for (at, topic) in self.subject.topics.iter().enumerate() {
            let item = at.to_string();
            self.topic(&["topics", &item, "topic"], &topic.topic);
            let before = self.subject.topics.iter().take(at);
            if before.clone().any(|other| {
                (&other.topic, &other.r#match, &other.is) == (&topic.topic, &topic.r#match, &topic.is)
            }) {
                let message = format!("two entries are about the same records of `{}`", topic.topic);
                self.refuse(&["topics", &item], &message, Some("join them into one"));
            }
            let path = ["erasure", self.name, "topics", &item];
            steps::Parts { config: self.config, path: &path, report: self.report, through: false }.check(
                &topic.r#match,
                topic.is.as_deref(),
                &topic.action,
                topic.reason.as_deref(),
            );
        }
    }

    fn place(&self, below: &[&str]) -> Option<crate::config::files::Place> {
        let path: Vec<&str> = ["erasure", self.name].iter().chain(below).copied().collect();
        self.config.places.value(&path)
    }

    fn refuse(&self, below: &[&str], message: &str, help: Option<&str>) {
        let problem = Problem::new(message).at(self.place(below));
        self.report.add(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }
}
