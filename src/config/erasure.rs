//! The `erasure` section: who is a data subject, and what each sink and the log do about one.

mod act;
mod forms;
mod rules;
mod topics;

use std::collections::BTreeMap;

use connector_api::erasure::Find;
use connector_api::options::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::erasure::rules::Action;

pub use act::{Match, Through};
pub use forms::{Coverage, Every, LogCopy};
pub(super) use topics::takes;
pub use topics::{Derived, Remark, derive};

/// A kind of data subject, such as users.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The table with one row for each person. Deleting that row in the source opens a case.
    pub subject: SubjectRow,
    /// How long a case may take until every receipt is in.
    #[serde(default = "deadline")]
    pub deadline: Span,
    /// What a case beyond its deadline does besides being reported: with `not_ready`, `/readyz` says no until it is complete.
    #[serde(default)]
    pub overdue: Overdue,
    /// How often every sink is asked again whether the persons of complete cases are still absent; or `never`.
    #[serde(default)]
    pub verify_every: Every,
    /// What each sink does, by its name: a list of steps, `notify` for a sink that is told and sees to it itself (`http`), or
    /// `{exempt: <reason>}`. Every sink that takes a topic with data of the subject must be here.
    #[serde(default)]
    pub sinks: BTreeMap<String, Coverage>,
    /// What the log does: `purge` removes or rewrites the person's records in every topic, or `{keep: <reason>}` leaves them
    /// until retention removes them.
    #[serde(default)]
    pub log: LogCopy,
    /// Topics of which the log cannot tell from the steps of sinks what to do. What is stated here wins over what follows
    /// from the steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<Topic>,
}

/// The table with one row for each person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubjectRow {
    /// Its topic, `source.schema.table`.
    pub topic: String,
    /// The column that is its key, by the source's name.
    pub key: String,
}

/// What a case beyond its deadline does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Overdue {
    /// It shows in metrics, in `status` and in the list of cases.
    #[default]
    Report,
    /// The service is not ready, too.
    NotReady,
}

/// What a sink does with the rows of one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The table in the target; one that millstream does not fill may be named as well.
    pub table: String,
    /// Which rows: a column that equals the subject's key; `{column, path}` for a value inside of a JSON column, under these keys
    /// of objects; or `{column, through: {table, column, match}}` for a column that equals a column of another table, whose
    /// rows are found in turn.
    pub r#match: Match,
    /// What those rows hold, where it is not the key itself: an expression over `row.key`, as in `"'user:' + string(row.key)"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// `delete` the rows, `set` columns of them, or `keep` them.
    pub action: Action,
    /// Why rows stay, whole or in part; it is written into the certificate. `keep` needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the log does with the records of one topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// The topic.
    pub topic: String,
    /// Which records: as in a step, by the source's names, without `through`.
    pub r#match: Match,
    /// As in a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// `delete` the records, `set` columns in every image of them, or `keep` them.
    pub action: Action,
    /// As in a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

fn deadline() -> Span {
    Span::secs(30 * 86_400)
}

impl Match {
    /// As sinks have it.
    pub fn find(&self) -> Find {
        match self {
            Match::Column(column) => Find::Column(column.clone()),
            Match::Json { column, path } => Find::Json { column: column.clone(), path: path.clone() },
            Match::Through { column, through } => Find::Through {
                column: column.clone(),
                table: through.table.clone(),
                theirs: through.column.clone(),
                find: Box::new(through.r#match.find()),
            },
        }
    }

    /// The column of the step's own table.
    pub fn column(&self) -> &str {
        match self {
            Match::Column(column) | Match::Json { column, .. } | Match::Through { column, .. } => column,
        }
    }
}
