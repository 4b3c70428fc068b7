//! Which lane applies which topics, and which tables must stay together.
//!
//! A lane owns whole topics, and every topic that shares a table with one of them: then the order per key holds, and each
//! lane commits its topics' entries of the cursor with their data (I3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What was learned, shared by the attempts of one sink. All of them are equal: it is not part of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Ties(Arc<Mutex<Groups>>);

impl PartialEq for Ties {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Ties {}

#[derive(Debug, Default)]
struct Groups {
    topics: HashMap<Arc<str>, usize>,
    tables: HashMap<String, usize>,
    /// For each group the group that it was merged into; itself when it stands.
    into: Vec<usize>,
}

impl Groups {
    fn root(&self, mut group: usize) -> usize {
        while let Some(next) = self.into.get(group).filter(|next| **next != group) {
            group = *next;
        }
        group
    }
}

impl Ties {
    /// The group of a topic that writes to a table; the second is the group that was merged into it just now, when both
    /// had been seen apart.
    pub(crate) fn tie(&self, topic: &Arc<str>, table: &str) -> (usize, Option<usize>) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |group: Option<&usize>| group.map(|group| groups.root(*group));
        let (of_topic, of_table) = (known(groups.topics.get(topic)), known(groups.tables.get(table)));
        let (group, merged) = match (of_topic, of_table) {
            (Some(one), Some(other)) if one != other => (one.min(other), Some(one.max(other))),
            (Some(group), _) | (None, Some(group)) => (group, None),
            (None, None) => {
                let group = groups.into.len();
                groups.into.push(group);
                (group, None)
            }
        };
        if let Some(merged) = merged
            && let Some(into) = groups.into.get_mut(merged)
        {
            *into = group;
        }
        groups.topics.insert(topic.clone(), group);
        groups.tables.insert(table.to_owned(), group);
        (group, merged)
    }

    /// The group of a topic; `None` when nothing of it was seen.
    pub(crate) fn of_topic(&self, topic: &str) -> Option<usize> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.topics.get(topic).map(|group| groups.root(*group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_a_table_is_one_group() {
        let ties = Ties::default();
        let topic = |name: &str| Arc::<str>::from(name);
        assert_eq!(ties.tie(&topic("a"), "a"), (0, None));
        assert_eq!(ties.tie(&topic("b"), "b"), (1, None));
        assert_eq!(ties.tie(&topic("c"), "b"), (1, None));
        assert_eq!(ties.clone().tie(&topic("a"), "b"), (0, Some(1)));
        assert_eq!([ties.of_topic("a"), ties.of_topic("c"), ties.of_topic("d")], [Some(0), Some(0), None]);
        assert_eq!(ties.tie(&topic("c"), "x"), (0, None));
    }
}
