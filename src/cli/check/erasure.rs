//! What `check` finds of the `erasure` section: whether sinks can carry out their steps, whether the subject's key is
//! one, and what does not follow for the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::erasure::{Constant, Step};
use connector_api::{Finding, Schema, Severity, Target, Value, ValueKind};

use super::personal;
use crate::config::Config;
use crate::config::erasure::{Coverage, Derived, Remark, Subject, derive};
use crate::erasure::cascade;
use crate::erasure::rules::{self, Action, Field, Mark, TopicRule};
use crate::log::TopicStatus;
use crate::registry;

/// The tables that each sink writes to, as far as the log knows the shapes of its topics.
pub(super) type Tables<'a> = BTreeMap<&'a str, Vec<Arc<Target>>>;

/// One kind of subject.
struct Checking<'a> {
    config: &'a Config,
    name: &'a str,
    subject: &'a Subject,
    rules: &'a rules::Subject,
    topics: &'a [TopicStatus],
}

pub(super) async fn check(config: &Config, topics: &[TopicStatus], tables: &Tables<'_>) -> Vec<Finding> {
    let all = config.rules();
    let mut findings = Vec::new();
    for (name, subject) in &config.erasure {
        let Some(rules) = all.subject(name) else { continue };
        let checking = Checking { config, name, subject, rules, topics };
        let Derived { remarks, .. } = derive(config, name, subject);
        findings.extend(remarks.into_iter().filter_map(|remark| checking.remark(remark)));
        let schema = checking.row(&mut findings).await;
        findings.extend(rules.topics.iter().flat_map(|rule| checking.topic(rule)));
        for (sink, coverage) in &subject.sinks {
            if let Coverage::Steps(_) = coverage {
                checking.steps(sink, schema.as_deref(), &mut findings).await;
            }
        }
    }
    findings.extend(personal::check(config, &all, tables));
    findings
}

/// Where a part of the section stands, in words.
pub(super) fn place(config: &Config, path: &[&str], inner: &str) -> String {
    let located = config.places.locate(path).map(|location| format!(" ({location})")).unwrap_or_default();
    let name = path.get(1).copied().unwrap_or_default();
    let sink = match path {
        [_, _, "sinks", sink, ..] => format!(", sink {sink}"),
        _ => String::new(),
    };
    let inner = if inner.is_empty() { String::new() } else { format!(", {inner}") };
    format!("erasure {name}{located}{sink}{inner}")
}

impl Checking<'_> {
    fn shape(&self, topic: &str) -> Option<&Arc<Schema>> {
        let found = self.topics.iter().filter(|status| &*status.topic.topic == topic);
        found.filter_map(|status| status.schema.as_ref()).next()
    }

    /// A remark on a step. That no topic is known for a table counts only where there is one.
    fn remark(&self, remark: Remark) -> Option<Finding> {
        let path: Vec<&str> = remark.path.iter().map(String::as_str).collect();
        let place = place(self.config, &path, &format!("table {}", remark.table));
        let (mut what, mut remedy) = (remark.what, remark.remedy);
        if remark.code == "erasure-topic-unknown" {
            let ending = format!(".{}", remark.table);
            let behind = self.topics.iter().map(|status| &status.topic.topic);
            let topic = behind.filter(|topic| topic.ends_with(&ending)).find(|topic| !self.is_known(topic));
            let topic = topic?;
            what = format!(
                "topic {topic} may be behind table {:?}, and nothing says so: the log is not purged by this step",
                remark.table
            );
            remedy = remedy.replace(&format!("SOURCE.SCHEMA{ending}"), topic);
        }
        Some(Finding::new(Severity::Warning, remark.code, place, what).with_remedy(remedy))
    }

    fn is_known(&self, topic: &str) -> bool {
        self.rules.topics.iter().any(|rule| &*rule.topic == topic)
    }

    /// The subject's own topic: it is captured, and its key is the one column.
    async fn row(&self, findings: &mut Vec<Finding>) -> Option<Arc<Schema>> {
        let row = &self.subject.subject;
        let place = place(self.config, &["erasure", self.name, "subject", "topic"], "");
        let mut schema = self.shape(&row.topic).cloned();
        if schema.is_none() {
            let source = row.topic.split('.').next().unwrap_or_default();
            let connector = self.config.sources.get(source)?;
            // That the source cannot be reached is a finding of its own.
            let mut originals = registry::originals(source, connector).ok()?;
            let tables = originals.tables().await.ok()?;
            schema = tables
                .iter()
                .find(|original| *original.target.topic == *row.topic)
                .map(|original| original.target.schema.clone());
            if schema.is_none() {
                let what = format!(
                    "source {source} captures no table of topic {}: no deletion would open a case",
                    row.topic
                );
                let table = row.topic.split_once('.').map_or("", |(_, table)| table);
                findings.push(
                    Finding::new(Severity::Error, "erasure-subject-unknown", place, what).with_remedy(
                        format!("add \"{table}\" to sources.{source}.tables, or correct the topic"),
                    ),
                );
                return None;
            }
        }
        let schema = schema?;
        let key: Vec<&str> = schema.key_columns().map(|column| column.name.as_str()).collect();
        if key != [row.key.as_str()] {
            let is =
                if key.is_empty() { "it has none".to_owned() } else { format!("it is ({})", key.join(", ")) };
            let what = format!("{:?} alone is not the key of topic {}: {is}", row.key, row.topic);
            let remedy = match key.as_slice() {
                [one] => format!("key: {one}"),
                _ => "name a table that has one row for each person, with a key of one column".to_owned(),
            };
            findings
                .push(Finding::new(Severity::Error, "erasure-subject-key", place, what).with_remedy(remedy));
        }
        Some(schema)
    }

    /// What the log does with one topic, against its shape.
    fn topic(&self, rule: &TopicRule) -> Vec<Finding> {
        let Some(schema) = self.shape(&rule.topic) else { return Vec::new() };
        let stated = self.subject.topics.iter().position(|topic| *topic.topic == *rule.topic);
        let at = stated.unwrap_or_default().to_string();
        let path = ["erasure", self.name, "topics", &at];
        let path = if stated.is_some() { &path[..] } else { &path[..2] };
        let finding = |severity, code, what: String, remedy: String| {
            let place = place(self.config, path, &format!("topic {}", rule.topic));
            Finding::new(severity, code, place, what).with_remedy(remedy)
        };
        let columns: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        let (Field::Column(found) | Field::Json { column: found, .. }) = &rule.field;
        let marks = match &rule.action {
            Action::Set(marks) => marks.as_slice(),
            _ => &[],
        };
        let mut findings = Vec::new();
        for name in std::iter::once(found).chain(marks.iter().map(|(name, _)| name)) {
            if !columns.contains(&name.as_str()) {
                findings.push(finding(
                    Severity::Error,
                    "erasure-topic-column",
                    format!("no column {name:?} in {}.{}", schema.namespace, schema.table),
                    format!("name one of: {}", columns.join(", ")),
                ));
            }
        }
        for (name, mark) in marks {
            let Some(column) = schema.columns.iter().find(|column| column.name == *name) else { continue };
            if schema.key_columns().any(|key| key.name == *name) {
                findings.push(finding(
                    Severity::Error,
                    "erasure-set-key",
                    format!("column {name:?} is part of the key: the log cannot give a record another key"),
                    format!("state what the log does: erasure: {{{}: {{topics: [{{topic: {}, match: {found}, action: delete}}]}}}}", self.name, rule.topic),
                ));
            } else if !column.nullable && *mark == Mark::Constant(Constant::Null) {
                findings.push(finding(
                    Severity::Warning,
                    "erasure-set-not-null",
                    format!("column {name:?} is NOT NULL in the source: a table that is made anew from the log would refuse the null"),
                    format!("set: {{{name}: \"\"}}, or another value of its type"),
                ));
            }
        }
        findings
    }

    /// The steps of a sink, asked of the sink itself.
    async fn steps(&self, sink: &str, schema: Option<&Schema>, findings: &mut Vec<Finding>) {
        let Some(known) = self.config.sinks.get(sink) else { return };
        let mapping = registry::mapping(self.config, known);
        if !self.rules.topics.iter().any(|rule| mapping.rules(&rule.topic).next().is_some()) {
            let place = place(self.config, &["erasure", self.name, "sinks", sink], "");
            let what = "the sink takes none of the topics that hold data of the subject; its steps are carried out all the same";
            findings.push(Finding::new(Severity::Note, "erasure-sink-takes-none", place, what));
        }
        let key =
            schema.and_then(|schema| schema.columns.iter().find(|column| column.name == self.rules.key));
        let kind = key.map_or(ValueKind::Text, |column| column.kind);
        let mut rows = registry::rows(sink, known).unwrap_or_else(|error| {
            findings.push(refused(place(self.config, &["erasure", self.name, "sinks", sink], ""), &error));
            None
        });
        for (at, rule) in self.rules.steps(sink).iter().enumerate() {
            let at = at.to_string();
            let path = ["erasure", self.name, "sinks", sink, &at];
            let holds = match cascade::kind_of(rule.is.as_deref(), kind) {
                Ok(found) => found.kind().unwrap_or(ValueKind::Text),
                Err(fault) => {
                    let text = rule.is.as_deref().unwrap_or_default();
                    let below = [&path[..], &["is"]].concat();
                    let located = self.config.places.locate_within(&below, text, fault.place);
                    let located = located.map(|location| format!("{location}: ")).unwrap_or_default();
                    let what = format!("{located}{}, for keys of type {}", fault.message, kind.as_str());
                    let place = place(self.config, &path, &format!("table {}", rule.table));
                    findings.push(Finding::new(Severity::Error, "erasure-expression", place, what));
                    continue;
                }
            };
            let Some(reader) = &mut rows else { continue };
            match reader.examine(&self.sample(rule, holds)).await {
                Ok(found) => findings.extend(found.into_iter().map(|mut finding| {
                    finding.place = place(self.config, &path, &finding.place);
                    finding
                })),
                // One more step would say the same.
                Err(error) => {
                    findings.push(refused(place(self.config, &path, ""), &error));
                    rows = None;
                }
            }
        }
    }

    /// The step for nobody.
    fn sample(&self, rule: &rules::Rule, kind: ValueKind) -> Step {
        let rule = rules::Rule { is: None, ..rule.clone() };
        // The value is never null, so that nothing is left that could be refused.
        cascade::step(&rule, self.name, sample(kind), "").unwrap_or_else(|_| Step {
            table: rule.table.clone(),
            find: rule.find.clone(),
            value: Step::encode(sample(kind)),
            action: connector_api::erasure::Action::Keep,
        })
    }
}

fn refused(place: String, error: &connector_api::Error) -> Finding {
    let finding = Finding::new(Severity::Error, "erasure-not-examined", place, error.to_string());
    match error.remedy() {
        Some(remedy) => finding.with_remedy(remedy),
        None => finding,
    }
}

/// A value of a kind.
fn sample(kind: ValueKind) -> Value<'static> {
    match kind {
        ValueKind::Bool => Value::Bool(false),
        ValueKind::Int => Value::Int(0),
        ValueKind::Float => Value::Float(0.0),
        ValueKind::Decimal => Value::Decimal("0"),
        ValueKind::Text | ValueKind::Array => Value::Text(""),
        ValueKind::Bytes => Value::Bytes(b""),
        ValueKind::Uuid => Value::Uuid([0; 16]),
        ValueKind::Date => Value::Date(0),
        ValueKind::Time => Value::Time(0),
        ValueKind::Timestamp => Value::Timestamp(0),
        ValueKind::TimestampTz => Value::TimestampTz(0),
        ValueKind::Json => Value::Json("\"\""),
    }
}

#[cfg(test)]
mod tests;
