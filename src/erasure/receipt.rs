//! A receipt: what one target did for one case. Holds names and numbers, nothing personal.

use connector_api::erasure::Erased;
use serde::{Deserialize, Serialize};

use super::rules::{Action, Rule};

/// What one target did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The case.
    pub case: String,
    /// The sink, or [`LOG`].
    pub target: String,
    /// The type of the target: `sqlite`, `postgres`, `log`.
    pub kind: String,
    /// What was done, step by step.
    pub steps: Vec<Done>,
    /// Asked again, in the same transaction, nothing was left.
    pub verified: bool,
    /// The offset of the case in the log: what stands before it was applied before.
    pub offset: u64,
    /// When it was committed, Unix microseconds.
    pub at_us: i64,
    /// What such a deletion leaves at a target of this type, and until when: a plain sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remains: Option<String>,
    /// Who confirmed it, where the target itself cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
}

/// The target that is the log itself.
pub const LOG: &str = "log";

/// What one step did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// The table; of the log, the topic.
    pub table: String,
    /// `delete`, `set` or `keep`.
    pub action: String,
    /// The columns that were set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// How many rows (of the log, records) it was done to.
    pub rows: u64,
    /// How many were left afterwards.
    pub left: u64,
    /// Why rows were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Done {
    /// What a rule did at a sink.
    pub fn of(rule: &Rule, erased: Erased) -> Done {
        Done::by(&rule.table, &rule.action, rule.reason.clone(), erased)
    }

    /// What an action did to the rows of a table, or the records of a topic.
    pub fn by(table: &str, action: &Action, reason: Option<String>, erased: Erased) -> Done {
        let (action, columns) = match action {
            Action::Delete => ("delete", Vec::new()),
            Action::Set(marks) => ("set", marks.iter().map(|(name, _)| name.clone()).collect()),
            Action::Keep => ("keep", Vec::new()),
        };
        Done {
            table: table.to_owned(),
            action: action.to_owned(),
            columns,
            rows: erased.rows,
            left: erased.left,
            reason,
        }
    }

    /// What another system says that it did.
    pub fn told(erased: Erased) -> Done {
        Done {
            table: "everything that the other system holds".to_owned(),
            action: "told".to_owned(),
            columns: Vec::new(),
            rows: erased.rows,
            left: erased.left,
            reason: None,
        }
    }
}
