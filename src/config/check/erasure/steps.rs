//! The steps of one sink.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::config::erasure::{Match, Step, Through};
use crate::config::problem::Problem;
use crate::config::read::Report;
use crate::erasure::cascade;
use crate::erasure::rules::Action;

/// The steps of one sink.
pub(super) struct Steps<'a> {
    pub(super) config: &'a Config,
    pub(super) subject: &'a str,
    pub(super) sink: &'a str,
    pub(super) steps: &'a [Step],
    pub(super) report: &'a Report,
}

/// What a step and a topic have in common.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    /// Where they stand.
    pub(super) path: &'a [&'a str],
    pub(super) report: &'a Report,
    /// Rows may be found through another table.
    pub(super) through: bool,
}

impl Steps<'_> {
    pub(super) fn check(&self) {
        for (at, step) in self.steps.iter().enumerate() {
            let item = at.to_string();
            let path = ["erasure", self.subject, "sinks", self.sink, &item];
            let parts = Parts { config: self.config, path: &path, report: self.report, through: true };
            if step.table.is_empty() {
                parts.refuse(&["table"], "`table` is empty", None);
            }
            parts.check(&step.r#match, step.is.as_deref(), &step.action, step.reason.as_deref());
            let before = self.steps.iter().take(at);
            let same = |other: &&Step| {
                other.table == step.table && other.r#match == step.r#match && other.is == step.is
            };
            if before.clone().any(|other| same(&other)) {
                let message = format!("two steps are about the same rows of `{}`", step.table);
                parts.refuse(&[], &message, Some("join them into one"));
            }
            for (number, other) in before.enumerate() {
                self.order(&parts, step, number, other);
            }
        }
    }

    /// A table that rows are found through is still as it was.
    fn order(&self, parts: &Parts<'_>, step: &Step, number: usize, other: &Step) {
        let mut found = &step.r#match;
        while let Match::Through { through, .. } = found {
            let Through { table, column, r#match } = &**through;
            let changed = match &other.action {
                Action::Delete => Some(format!("deletes from `{table}`")),
                Action::Set(marks) => marks
                    .iter()
                    .find(|(name, _)| name == column || name == r#match.column())
                    .map(|(name, _)| format!("sets `{name}` of `{table}`")),
                Action::Keep => None,
            };
            if let Some(what) = changed.filter(|_| other.table.eq_ignore_ascii_case(table)) {
                let message = format!(
                    "step {} {what}: this step, which goes through it, would find nothing",
                    number + 1
                );
                let help =
                    format!("put the step for `{}` in front of the one for `{}`", step.table, other.table);
                return parts.refuse(&["match"], &message, Some(&help));
            }
            found = r#match;
        }
    }
}

impl Parts<'_> {
    pub(super) fn check(&self, found: &Match, is: Option<&str>, action: &Action, reason: Option<&str>) {
        self.found(found);
        if let Some(text) = is
            && let Err(fault) = cascade::check(text)
        {
            let path: Vec<&str> = self.path.iter().chain(&["is"]).copied().collect();
            let problem = Problem::new(fault.message).at(self.config.places.within(&path, text, fault.place));
            let help = fault.help.unwrap_or_else(|| "it sees the key alone, as row.key".to_owned());
            self.report.add(problem.help(help));
        }
        self.action(action, reason);
    }

    fn found(&self, found: &Match) {
        let mut path = vec!["match"];
        let mut found = found;
        loop {
            if found.column().is_empty() {
                self.refuse(&path, "a column has no name", None);
            }
            match found {
                Match::Column(_) => return,
                Match::Json { path: keys, .. } => {
                    path.push("path");
                    if keys.is_empty() || keys.iter().any(String::is_empty) {
                        let help = "name the keys of objects, the outermost first: path: [user, id]";
                        self.refuse(&path, "`path` has no key, or an empty one", Some(help));
                    }
                    return;
                }
                Match::Through { through, .. } => {
                    path.push("through");
                    if !self.through {
                        let help = "match a column of the topic itself";
                        return self.refuse(&path, "the log follows no `through`", Some(help));
                    }
                    if through.table.is_empty() || through.column.is_empty() {
                        self.refuse(&path, "a table or a column has no name", None);
                    }
                    path.push("match");
                    found = &through.r#match;
                }
            }
        }
    }

    fn action(&self, action: &Action, reason: Option<&str>) {
        if reason.is_some_and(|reason| reason.trim().is_empty()) {
            self.refuse(&["reason"], "`reason` is empty", Some("it is written into every certificate"));
        }
        match action {
            Action::Delete => {}
            Action::Keep if reason.is_none() => {
                let help = "say by which right it stays: reason: \"running contract\"";
                self.refuse(&["action"], "`keep` needs a `reason`", Some(help));
            }
            Action::Keep => {}
            Action::Set(marks) => {
                let path = ["action", "set"];
                if marks.is_empty() {
                    let help = "name the columns that are about the person: set: {name: null, email: null}";
                    self.refuse(&path, "`set` names no column", Some(help));
                }
                if marks.iter().any(|(name, _)| name.is_empty()) {
                    self.refuse(&path, "a column has no name", None);
                }
                let mut seen = BTreeSet::new();
                for (name, _) in marks.iter().filter(|(name, _)| !seen.insert(name)) {
                    self.refuse(&path, &format!("`{name}` is set twice"), None);
                }
            }
        }
    }

    fn refuse(&self, below: &[&str], message: &str, help: Option<&str>) {
        let path: Vec<&str> = self.path.iter().chain(below).copied().collect();
        let problem = Problem::new(message).at(self.config.places.value(&path));
        self.report.add(match help {
            Some(help) => problem.help(help),
            None => problem,
        });
    }
}
