//! What the log does about a subject, as it follows from the steps of the sinks: the rows that a step finds came from a
//! topic, and what becomes of them becomes of its records, so that a sink that is filled anew from the log gets what the
//! others hold.

use std::sync::Arc;

use connector_api::pattern::matches;

use super::{Coverage, Match, Step, Subject, Topic};
use crate::config::Config;
use crate::erasure::rules::{Action, Field, Mark, TopicRule};
use crate::pipeline::mapping::{Mapping, OnDelete, Rule};

/// What follows for the log.
#[derive(Debug, Default)]
pub struct Derived {
    /// The topics, the subject's own first.
    pub topics: Vec<TopicRule>,
    /// What does not follow, and where sinks want different things.
    pub remarks: Vec<Remark>,
}

/// Something that a person should know of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Where the step stands in the configuration.
    pub path: Vec<String>,
    /// Its table.
    pub table: String,
    /// What kind of remark it is.
    pub code: &'static str,
    /// What does not follow, one sentence.
    pub what: String,
    /// A line of the configuration that says it.
    pub remedy: String,
}

/// What one step wants of the records of one topic.
struct Wish {
    rule: TopicRule,
    table: String,
    sink: String,
    path: Vec<String>,
}

/// Where the value of a target column comes from.
enum Origin<'r> {
    /// A column of the source.
    Column(&'r str),
    /// It is worked out.
    Computed,
    /// The target has the column from elsewhere, or not at all.
    Elsewhere,
}

struct Deriving<'a> {
    config: &'a Config,
    name: &'a str,
    subject: &'a Subject,
    wishes: Vec<Wish>,
    remarks: Vec<Remark>,
}

/// Works out what follows for a kind of subject.
pub fn derive(config: &Config, name: &str, subject: &Subject) -> Derived {
    let mut deriving = Deriving { config, name, subject, wishes: Vec::new(), remarks: Vec::new() };
    for (sink, coverage) in &subject.sinks {
        let (Coverage::Steps(steps), Some(known)) = (coverage, config.sinks.get(sink)) else { continue };
        let mapping = known.rules.mapping(config.sources.keys());
        for (at, step) in steps.iter().enumerate() {
            deriving.step(sink, at, step, &mapping);
        }
    }
    let mut merged = deriving.merged();
    let own = deriving.own();
    let is_own = |rule: &TopicRule| rule.topic == own.topic && rule.field == own.field && rule.is == own.is;
    let mut stated: Vec<TopicRule> = subject.topics.iter().filter_map(Topic::rule).collect();
    // Its own rule stands first, whoever says what it is.
    let first = stated.iter().chain(&merged).find(|rule| is_own(rule)).cloned();
    stated.retain(|rule| !is_own(rule));
    merged.retain(|rule| !is_own(rule));
    let mut topics = vec![first.unwrap_or_else(|| own.clone())];
    topics.append(&mut stated);
    topics.append(&mut merged);
    Derived { topics, remarks: deriving.remarks }
}

impl Deriving<'_> {
    /// The subject's own topic, unless anything else is said of it.
    fn own(&self) -> TopicRule {
        let row = &self.subject.subject;
        TopicRule {
            topic: Arc::from(row.topic.as_str()),
            field: Field::Column(row.key.clone()),
            is: None,
            action: Action::Delete,
            reason: None,
        }
    }

    fn is_stated(&self, topic: &str) -> bool {
        self.subject.topics.iter().any(|stated| stated.topic == topic)
    }

    fn step(&mut self, sink: &str, at: usize, step: &Step, mapping: &Mapping) {
        let path: Vec<String> =
            ["erasure", self.name, "sinks", sink, &at.to_string()].map(str::to_owned).to_vec();
        let subject = self.subject;
        let mut names = vec![subject.subject.topic.as_str()];
        let named: Vec<String> =
            self.config.sources.iter().flat_map(|(name, source)| source.topics(name)).collect();
        names.extend(subject.topics.iter().map(|topic| &topic.topic).chain(&named).map(String::as_str));
        let feeds = feeds(mapping, &step.table, &names);
        for (topic, rule) in &feeds {
            if *topic == subject.subject.topic
                && step.action != Action::Delete
                && rule.on_delete == OnDelete::Delete
            {
                let what = format!("the row in table {:?} is deleted with the one in the source", step.table);
                let remedy = format!("on_delete: ignore  # in sinks.{sink}.tables, for topic {topic}");
                self.remarks.push(Remark {
                    path: path.clone(),
                    table: step.table.clone(),
                    code: "erasure-deleted-anyway",
                    what,
                    remedy,
                });
            }
            if !self.is_stated(topic) {
                self.feed(sink, &path, step, topic, rule);
            }
        }
        let takes = |rule: &Rule| rule.table.is_none() && rule.topic.contains('*');
        if feeds.is_empty() && mapping.rules.iter().any(takes) {
            let what = format!(
                "the configuration does not tell whether a topic is behind table {:?}, so that the log is not purged by this step",
                step.table
            );
            let topic = format!("SOURCE.SCHEMA.{}", step.table);
            self.remark(
                "erasure-topic-unknown",
                &path,
                step,
                what,
                &line(&topic, &step.r#match, &step.action),
            );
        }
    }

    /// What a step wants of one topic that its table is filled from.
    fn feed(&mut self, sink: &str, path: &[String], step: &Step, topic: &str, rule: &Rule) {
        let own = topic == self.subject.subject.topic;
        let field = match (&step.r#match, origin(rule, step.r#match.column())) {
            (Match::Column(_), Origin::Column(column)) => Some(Field::Column(column.to_owned())),
            (Match::Json { path, .. }, Origin::Column(column)) => {
                Some(Field::Json { column: column.to_owned(), path: path.clone() })
            }
            _ => None,
        };
        let (field, is) = match field {
            Some(field) => (field, step.is.clone()),
            // A person's own row is the same one, however a step finds it.
            None if own => (Field::Column(self.subject.subject.key.clone()), None),
            None => {
                let what = format!(
                    "what finds the rows of table {:?} is no column of topic {topic}, so that the log is not purged by this step",
                    step.table
                );
                let line = line(topic, &Match::Column("COLUMN".to_owned()), &step.action);
                self.remark("erasure-not-followed", path, step, what, &line);
                return;
            }
        };
        let action = self.carried(path, step, topic, rule);
        let rule = TopicRule { topic: Arc::from(topic), field, is, action, reason: step.reason.clone() };
        self.wishes.push(Wish {
            rule,
            table: step.table.clone(),
            sink: sink.to_owned(),
            path: path.to_vec(),
        });
    }

    /// An action in the source's names.
    fn carried(&mut self, path: &[String], step: &Step, topic: &str, rule: &Rule) -> Action {
        let Action::Set(marks) = &step.action else { return step.action.clone() };
        let mut set: Vec<(String, Mark)> = Vec::new();
        for (name, mark) in marks {
            match origin(rule, name) {
                Origin::Column(column) => set.push((column.to_owned(), mark.clone())),
                Origin::Computed => {
                    let what = format!(
                        "column {name:?} of table {:?} is computed: the log keeps the columns of topic {topic} that it is made of",
                        step.table
                    );
                    let action = Action::Set(vec![("COLUMN".to_owned(), mark.clone())]);
                    let line = line(topic, &step.r#match, &action);
                    self.remark("erasure-not-followed", path, step, what, &line);
                }
                Origin::Elsewhere => {}
            }
        }
        if set.is_empty() { Action::Keep } else { Action::Set(set) }
    }

    fn remark(&mut self, code: &'static str, path: &[String], step: &Step, what: String, line: &str) {
        let remedy = format!("erasure: {{{}: {{topics: [{line}]}}}}", self.name);
        let (path, table) = (path.to_vec(), step.table.clone());
        self.remarks.push(Remark { path, table, code, what, remedy });
    }

    /// One rule for all wishes about the same records: what serves every sink.
    fn merged(&mut self) -> Vec<TopicRule> {
        let mut merged: Vec<(TopicRule, String)> = Vec::new();
        for wish in std::mem::take(&mut self.wishes) {
            let rule = wish.rule;
            let same = |known: &&mut (TopicRule, String)| {
                known.0.topic == rule.topic && known.0.field == rule.field && known.0.is == rule.is
            };
            let Some((known, sink)) = merged.iter_mut().find(same) else {
                merged.push((rule, wish.sink));
                continue;
            };
            if known.action != rule.action {
                let what = format!(
                    "sinks {sink} and {} want different things of the records of topic {}: the log keeps what serves both",
                    wish.sink, rule.topic
                );
                let line = line(&rule.topic, &matching(&rule.field), &rule.action);
                let remedy = format!("erasure: {{{}: {{topics: [{line}]}}}}", self.name);
                let (path, table) = (wish.path, wish.table);
                self.remarks.push(Remark { path, table, code: "erasure-log-differs", what, remedy });
            }
            known.action = serving(&known.action, &rule.action);
            known.reason = match (known.reason.take(), rule.reason) {
                (Some(one), Some(other)) if !one.contains(&other) => Some(format!("{one}; {other}")),
                (one, other) => one.or(other),
            };
        }
        merged.into_iter().map(|(rule, _)| rule).collect()
    }
}

impl Topic {
    /// `None` for what the checks refuse.
    pub(super) fn rule(&self) -> Option<TopicRule> {
        let field = match &self.r#match {
            Match::Column(column) => Field::Column(column.clone()),
            Match::Json { column, path } => Field::Json { column: column.clone(), path: path.clone() },
            Match::Through { .. } => return None,
        };
        let topic = Arc::from(self.topic.as_str());
        let (is, action, reason) = (self.is.clone(), self.action.clone(), self.reason.clone());
        Some(TopicRule { topic, field, is, action, reason })
    }
}

/// The topics that a table is filled from, each with the rule that does it. `known` are topics that patterns are tried on.
fn feeds<'m>(mapping: &'m Mapping, table: &str, known: &[&str]) -> Vec<(String, &'m Rule)> {
    let named = mapping.rules.iter().map(|rule| rule.topic.as_str()).filter(|topic| !topic.contains('*'));
    let feeds = filling(mapping, table, known.iter().copied().chain(named));
    if !feeds.is_empty() {
        return feeds;
    }
    // Behind `shop.public.*` a table has one topic. Whether it is there does not matter.
    let fixed = mapping.rules.iter().filter_map(|rule| Some(rule.topic.split_once('*')?.0));
    let folders =
        fixed.filter(|fixed| fixed.matches('.').count() >= 2).filter_map(|fixed| fixed.rsplit_once('.'));
    let guessed: Vec<String> = folders.map(|(folder, _)| format!("{folder}.{table}")).collect();
    filling(mapping, table, guessed.iter().map(String::as_str))
}

/// Those of some topics that fill a table.
fn filling<'m, 't>(
    mapping: &'m Mapping,
    table: &str,
    topics: impl Iterator<Item = &'t str>,
) -> Vec<(String, &'m Rule)> {
    let mut feeds: Vec<(String, &Rule)> = Vec::new();
    for topic in topics {
        if feeds.iter().any(|(known, _)| known == topic) {
            continue;
        }
        let own = topic.rsplit('.').next().unwrap_or_default();
        let fills = |rule: &&Rule| rule.table.as_deref().unwrap_or(own).eq_ignore_ascii_case(table);
        let rules = mapping.rules(topic).map(|(_, rule)| rule).filter(fills);
        feeds.extend(rules.map(|rule| (topic.to_owned(), rule)));
    }
    feeds
}

/// Where a rule has a target column from.
fn origin<'r>(rule: &'r Rule, column: &'r str) -> Origin<'r> {
    if rule.computed.iter().any(|computed| computed.name == column) {
        return Origin::Computed;
    }
    match &rule.columns {
        Some(columns) => columns
            .iter()
            .find(|(_, target)| target == column)
            .map_or(Origin::Elsewhere, |(source, _)| Origin::Column(source)),
        None if rule.exclude.iter().any(|excluded| excluded == column) => Origin::Elsewhere,
        None => Origin::Column(column),
    }
}

/// What serves both: `keep` before `set` before `delete`, and of two `set` the columns that both name.
fn serving(one: &Action, other: &Action) -> Action {
    match (one, other) {
        (Action::Keep, _) | (_, Action::Keep) => Action::Keep,
        (Action::Set(one), Action::Set(other)) => {
            let both = |(name, _): &&(String, Mark)| other.iter().any(|(known, _)| known == name);
            let set: Vec<_> = one.iter().filter(both).cloned().collect();
            if set.is_empty() { Action::Keep } else { Action::Set(set) }
        }
        (Action::Set(set), Action::Delete) | (Action::Delete, Action::Set(set)) => Action::Set(set.clone()),
        (Action::Delete, Action::Delete) => Action::Delete,
    }
}

fn matching(field: &Field) -> Match {
    match field {
        Field::Column(column) => Match::Column(column.clone()),
        Field::Json { column, path } => Match::Json { column: column.clone(), path: path.clone() },
    }
}

/// A line of `topics`. JSON is YAML, too.
fn line(topic: &str, found: &Match, action: &Action) -> String {
    let found = match found {
        Match::Through { .. } => Match::Column("COLUMN".to_owned()),
        other => other.clone(),
    };
    serde_json::json!({ "topic": topic, "match": found, "action": action }).to_string()
}

/// Whether a mapping takes a topic.
pub(in crate::config) fn takes(mapping: &Mapping, topic: &str) -> bool {
    mapping.rules.iter().any(|rule| matches(&rule.topic, topic))
}
