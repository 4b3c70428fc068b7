//! Which topics a sink takes, and what their rows become in the target: the configuration's rules. [`fit`] works them out
//! for a shape.

pub mod fit;
mod misfit;

use connector_api::ValueKind;
use connector_api::pattern::matches;

use crate::log::Subscription;

pub use misfit::Misfit;

/// What a sink takes. Rules are tried in order; the first whose topic matches decides, together with all others that
/// name the very same topic.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    /// The rules.
    pub rules: Vec<Rule>,
}

/// What happens to the topics that match one pattern.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rule {
    /// A topic, or a pattern in which `*` stands for any run of characters.
    pub topic: String,
    /// The target table; `None` keeps the source table's name.
    pub table: Option<String>,
    /// Source column to target column, in the order wanted; `None` takes all under their own names.
    pub columns: Option<Vec<(String, String)>>,
    /// Source columns that are left out.
    pub exclude: Vec<String>,
    /// Target columns that are worked out.
    pub computed: Vec<Computed>,
    /// Target columns that form the key there; `None` keeps the source's.
    pub key: Option<Vec<String>>,
    /// Which rows the target has: an expression.
    pub condition: Option<String>,
    /// What a delete does.
    pub on_delete: OnDelete,
}

/// A target column that is worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// Its name in the target.
    pub name: String,
    /// An expression.
    pub value: String,
    /// The kind of the column; `None` is the one that the expression gives.
    pub kind: Option<ValueKind>,
}

/// What a delete in the source does in the target.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum OnDelete {
    /// The row is deleted.
    #[default]
    Delete,
    /// The row stays.
    Ignore,
    /// The row stays, and these of its columns are set.
    Set(Vec<(String, Mark)>),
}

/// What a column is set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// The commit time of the source transaction: the same in every replay.
    Now,
    /// Null.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
}

impl Mapping {
    /// What a reader of the log must ask for.
    pub fn subscription(&self) -> Subscription {
        Subscription { patterns: self.rules.iter().map(|rule| rule.topic.clone()).collect() }
    }

    /// The rules for a topic, each with its place in the list: none when the sink does not take it, several when it goes to
    /// several tables.
    pub fn rules(&self, topic: &str) -> impl Iterator<Item = (usize, &Rule)> {
        let first = self.rules.iter().find(|rule| matches(&rule.topic, topic));
        self.rules
            .iter()
            .enumerate()
            .filter(move |(_, rule)| first.is_some_and(|first| first.topic == rule.topic))
    }

    /// Whether other topics are written to the table of a rule.
    pub fn is_shared(&self, rule: &Rule) -> bool {
        let Some(table) = &rule.table else { return false };
        let same = |other: &Rule| other.table.as_ref().is_some_and(|other| other.eq_ignore_ascii_case(table));
        self.rules.iter().any(|other| other.topic != rule.topic && same(other))
    }
}
