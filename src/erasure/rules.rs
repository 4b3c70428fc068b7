//! Who is a data subject, and what is done about one: the `erasure` section of the configuration, worked out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connector_api::erasure::{Constant, Find};

/// All kinds of subjects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// In the order of their names.
    pub subjects: Vec<Subject>,
}

/// A kind of data subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Subject {
    /// Its name in the configuration.
    pub name: String,
    /// The topic with one row for each subject.
    pub topic: Arc<str>,
    /// The column that is the key of that topic, by the source's name.
    pub key: String,
    /// How long a case may take.
    pub deadline: Duration,
    /// Whether the service is not ready while a case is overdue.
    pub overdue_not_ready: bool,
    /// How often it is looked whether absence still holds; `None`: never.
    pub verify_every: Option<Duration>,
    /// What each sink does. A sink that takes none of the subject's topics need not be here.
    pub sinks: BTreeMap<String, Coverage>,
    /// What the log does: nothing, when it is kept.
    pub log: LogRule,
    /// The topics that hold the subject's data, its own first. One topic has several rules where several columns find
    /// records in it.
    pub topics: Vec<TopicRule>,
}

/// What the log does about a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRule {
    /// Its records are removed, or rewritten.
    Purge,
    /// They stay until retention removes them, for this reason.
    Keep(String),
}

/// What a sink does about a subject.
#[derive(Debug, Clone, PartialEq)]
pub enum Coverage {
    /// These, in order.
    Steps(Vec<Rule>),
    /// It is told, and sees to it itself: an erasure without steps.
    Told,
    /// Nothing, for this reason.
    Exempt(String),
}

/// What a sink does with the rows of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The target's table.
    pub table: String,
    /// Which rows.
    pub find: Find,
    /// What those rows hold: an expression over `row.key`, the subject's key; `None` is the key itself.
    pub is: Option<String>,
    /// What becomes of them.
    pub action: Action,
    /// Why rows are kept, whole or in part.
    pub reason: Option<String>,
}

/// What becomes of rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// They are deleted.
    Delete,
    /// Columns are set.
    Set(Vec<(String, Mark)>),
    /// They stay.
    Keep,
}

/// What a column is set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// The same for every subject.
    Constant(Constant),
    /// The keyed hash of the subject's key, as text: rows of one person stay together, and nobody sees whose they are.
    Hash,
}

/// What the log does with the records of one topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicRule {
    /// The topic.
    pub topic: Arc<str>,
    /// Where a row holds what `is` gives, by the source's names.
    pub field: Field,
    /// As in [`Rule`].
    pub is: Option<String>,
    /// What becomes of the records: delete them, set columns in every image, or nothing.
    pub action: Action,
    /// Why records are kept, whole or in part.
    pub reason: Option<String>,
}

/// Where a row holds a subject's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// In a column.
    Column(String),
    /// In a JSON column, under these keys of objects.
    Json {
        /// The column.
        column: String,
        /// Keys, the outermost first.
        path: Vec<String>,
    },
}

impl Rules {
    /// A kind of subject by its name.
    pub fn subject(&self, name: &str) -> Option<&Subject> {
        self.find(name).map(|(_, subject)| subject)
    }

    /// The same, with its place among the kinds.
    pub fn find(&self, name: &str) -> Option<(usize, &Subject)> {
        self.subjects.iter().enumerate().find(|(_, subject)| subject.name == name)
    }

    /// What a topic holds: each rule for it, with the kind of subject and its place among the kinds.
    pub fn about<'r>(&'r self, topic: &'r str) -> impl Iterator<Item = (usize, &'r Subject, &'r TopicRule)> {
        let rules =
            |(at, subject): (usize, &'r Subject)| subject.topics.iter().map(move |rule| (at, subject, rule));
        self.subjects.iter().enumerate().flat_map(rules).filter(move |(_, _, rule)| *rule.topic == *topic)
    }
}

impl Subject {
    /// The steps of a sink; none when it is told, exempt or not concerned.
    pub fn steps(&self, sink: &str) -> &[Rule] {
        match self.sinks.get(sink) {
            Some(Coverage::Steps(rules)) => rules,
            _ => &[],
        }
    }

    /// Whether a sink has something to do.
    pub fn concerns(&self, sink: &str) -> bool {
        matches!(self.sinks.get(sink), Some(Coverage::Steps(_) | Coverage::Told))
    }

    /// The targets whose receipts are due: the sinks, and the log unless it keeps its records.
    pub fn due_targets(&self) -> Vec<String> {
        let log = (self.log == LogRule::Purge).then(|| super::receipt::LOG.to_owned());
        self.due().into_iter().chain(log).collect()
    }

    /// What names a subject in rows of the log: the key itself first, then what each expression of a topic makes of it.
    pub fn forms(&self) -> Vec<Option<&str>> {
        let mut forms = vec![None];
        for is in self.topics.iter().filter_map(|rule| rule.is.as_deref()) {
            if !forms.contains(&Some(is)) {
                forms.push(Some(is));
            }
        }
        forms
    }

    /// The sinks whose receipts are due.
    pub fn due(&self) -> Vec<String> {
        let due = |coverage: &Coverage| !matches!(coverage, Coverage::Exempt(_));
        self.sinks.iter().filter(|(_, coverage)| due(coverage)).map(|(name, _)| name.clone()).collect()
    }
}
