//! What is refused in a careful second try, and what must not overtake it.

use std::collections::HashSet;

use connector_api::{Error, Refused, TopicPartition};

use super::step::{Single, Work};

/// The records of one flush that had no effect.
#[derive(Debug, Default)]
pub struct Refusals {
    keys: HashSet<(TopicPartition, Vec<u8>)>,
    refused: Vec<Refused>,
}

impl Refusals {
    /// Whether this change must not be applied, because an earlier one of its key was refused. It counts as refused then.
    pub fn holds(&mut self, single: &Single<'_>) -> bool {
        let waits = !self.keys.is_empty() && keys(single).any(|key| self.keys.contains(&key));
        if waits {
            self.refuse(single, Error::data("waits behind an earlier record of the same key"));
        }
        waits
    }

    /// The target refused this change.
    pub fn refuse(&mut self, single: &Single<'_>, error: Error) {
        self.keys.extend(keys(single));
        self.refused.push(Refused { topic: single.topic.clone(), offset: single.offset, error });
    }

    /// The target took this change. A truncate ends what was refused before it.
    pub fn applied(&mut self, single: &Single<'_>) {
        if matches!(single.step.work, Work::Truncate) {
            self.keys.retain(|(topic, _)| topic != single.topic);
            self.refused.retain(|refused| refused.topic != *single.topic);
        }
    }

    /// What [`connector_api::Sink::flush`] returns.
    pub fn into_vec(self) -> Vec<Refused> {
        self.refused
    }
}

/// The keys that a change is about; for one that moves a row, both.
fn keys(single: &Single<'_>) -> impl Iterator<Item = (TopicPartition, Vec<u8>)> {
    let old = match &single.step.work {
        Work::Move { old, .. } => Some(old.as_bytes()),
        _ => None,
    };
    single.key.into_iter().chain(old).map(|key| (single.topic.clone(), key.to_vec()))
}
