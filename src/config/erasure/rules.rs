//! The section as the service has it.

use std::sync::Arc;

use super::forms::{Coverage, Every, LogCopy};
use super::{Overdue, Step, Subject, topics};
use crate::config::Config;
use crate::erasure::rules::{self, LogRule, Rule, Rules};

impl Config {
    /// Who is a data subject, and what is done about one.
    pub fn rules(&self) -> Rules {
        let subject = |(name, subject): (&String, &Subject)| subject.rules(name, self);
        Rules { subjects: self.erasure.iter().map(subject).collect() }
    }
}

impl Subject {
    fn rules(&self, name: &str, config: &Config) -> rules::Subject {
        let coverage = |coverage: &Coverage| match coverage {
            Coverage::Steps(steps) => rules::Coverage::Steps(steps.iter().map(Step::rule).collect()),
            Coverage::Notify => rules::Coverage::Told,
            Coverage::Exempt(reason) => rules::Coverage::Exempt(reason.clone()),
        };
        rules::Subject {
            name: name.to_owned(),
            topic: Arc::from(self.subject.topic.as_str()),
            key: self.subject.key.clone(),
            deadline: self.deadline.duration(),
            overdue_not_ready: self.overdue == Overdue::NotReady,
            verify_every: match self.verify_every {
                Every::Span(span) => Some(span.duration()),
                Every::Never => None,
            },
            sinks: self.sinks.iter().map(|(sink, what)| (sink.clone(), coverage(what))).collect(),
            log: match &self.log {
                LogCopy::Purge => LogRule::Purge,
                LogCopy::Keep(reason) => LogRule::Keep(reason.clone()),
            },
            topics: topics::derive(config, name, self).topics,
        }
    }
}

impl Step {
    pub(super) fn rule(&self) -> Rule {
        Rule {
            table: self.table.clone(),
            find: self.r#match.find(),
            is: self.is.clone(),
            action: self.action.clone(),
            reason: self.reason.clone(),
        }
    }
}
