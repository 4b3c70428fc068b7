//! Which connection applies which topic: all topics that share a table, and all tables of a topic, are on one, so that a
//! table's changes stay in order and a topic's place in the cursor is committed with all that it covers (I3).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::sync::Arc;

use connector_api::{Target, TopicPartition};

/// The lanes of topics and tables.
#[derive(Debug)]
pub(super) struct Routes {
    /// How many tables each lane has.
    load: Vec<usize>,
    topics: HashMap<Arc<str>, usize>,
    tables: HashMap<String, usize>,
    /// The addresses of the topic and target that came last, and their lane. Lives until the next flush.
    last: Option<(usize, usize, usize)>,
    /// Topics that go to a table of another lane.
    crossed: Vec<(Arc<str>, String)>,
    /// Everything goes to the first lane until the transaction ends.
    joined: bool,
}

impl Routes {
    pub(super) fn new(lanes: usize) -> Routes {
        Routes {
            load: vec![0; lanes],
            topics: HashMap::new(),
            tables: HashMap::new(),
            last: None,
            crossed: Vec::new(),
            joined: false,
        }
    }

    /// Takes in what was known at an earlier time, topics and their tables; and which tables refer to which: a child is on
    /// the lane of its parent, because it cannot see what another lane has not committed.
    pub(super) fn learn<'a>(
        &mut self,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
        references: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        // No topic has a zero byte in its name: it stands for the foreign key.
        let linked = references.enumerate().flat_map(|(at, (child, parent))| {
            let key = format!("\0{at}");
            [(key.clone(), child), (key, parent)]
        });
        let pairs = pairs.map(|(topic, table)| (topic.to_owned(), table)).chain(linked);
        let mut groups: Vec<(Vec<Arc<str>>, Vec<String>)> = Vec::new();
        for (topic, table) in pairs {
            let touches = |group: &(Vec<Arc<str>>, Vec<String>)| {
                group.0.iter().any(|known| **known == topic) || group.1.iter().any(|known| known == table)
            };
            let (mut joined, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(touches);
            groups = others;
            let mut group = joined.pop().unwrap_or_default();
            for (topics, tables) in joined {
                group.0.extend(topics);
                group.1.extend(tables);
            }
            group.0.push(topic.into());
            group.1.push(table.to_owned());
            groups.push(group);
        }
        for (topics, tables) in groups {
            let lane = self.lightest();
            if let Some(load) = self.load.get_mut(lane) {
                *load += tables.len();
            }
            self.topics.extend(topics.into_iter().map(|topic| (topic, lane)));
            self.tables.extend(tables.into_iter().map(|table| (table, lane)));
        }
    }

    fn lightest(&self) -> usize {
        let loads = self.load.iter().enumerate();
        loads.min_by_key(|(_, load)| **load).map_or(0, |(lane, _)| lane)
    }

    /// The lane of a change; `None` when the lanes cross.
    #[inline]
    pub(super) fn find(&mut self, topic: &TopicPartition, target: &Arc<Target>) -> Option<usize> {
        if self.load.len() == 1 || self.joined {
            return Some(0);
        }
        let (place, goal) = (topic.topic.as_ptr() as usize, Arc::as_ptr(target) as usize);
        match self.last {
            Some((topic, target, lane)) if topic == place && target == goal => Some(lane),
            _ => {
                let lane = self.look_up(&topic.topic, &target.table)?;
                self.last = Some((place, goal, lane));
                Some(lane)
            }
        }
    }

    fn look_up(&mut self, topic: &Arc<str>, table: &str) -> Option<usize> {
        let lane = match (self.topics.get(topic), self.tables.get(table)) {
            (Some(lane), Some(other)) if lane != other => {
                let pair = (topic.clone(), table.to_owned());
                if !self.crossed.contains(&pair) {
                    self.crossed.push(pair);
                }
                return None;
            }
            (Some(lane), Some(_)) => return Some(*lane),
            (Some(lane), None) | (None, Some(lane)) => *lane,
            (None, None) => self.lightest(),
        };
        self.topics.insert(topic.clone(), lane);
        if self.tables.insert(table.to_owned(), lane).is_none()
            && let Some(load) = self.load.get_mut(lane)
        {
            *load += 1;
        }
        Some(lane)
    }

    /// The lane whose commit carries a topic's place in the cursor.
    pub(super) fn lane_of(&self, topic: &str) -> usize {
        match self.joined {
            true => 0,
            false => self.topics.get(topic).copied().unwrap_or(0),
        }
    }

    /// From here on everything goes to the first lane: the others have committed what they had. An erasure touches tables
    /// of any lane, and what comes behind it in the same transaction would wait for its locks on another connection.
    pub(super) fn join(&mut self) {
        self.joined = true;
        self.last = None;
    }

    /// The transaction ended: every topic has its lane again.
    pub(super) fn part(&mut self) {
        self.joined = false;
        self.last = None;
    }

    /// Whether topics go to tables of other lanes.
    pub(super) fn is_crossed(&self) -> bool {
        !self.crossed.is_empty()
    }

    /// Which ones, and the tables.
    pub(super) fn crossed(&self) -> Vec<(Arc<str>, String)> {
        self.crossed.clone()
    }

    /// What came since the last flush is dealt with.
    pub(super) fn settle(&mut self) {
        self.crossed.clear();
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_shares_a_table_or_a_topic_is_on_one_lane() {
        let mut routes = Routes::new(3);
        routes.learn(
            [("a", "t"), ("b", "t"), ("c", "u"), ("b", "v"), ("d", "v"), ("e", "w")].into_iter(),
            [("u", "x"), ("x", "y")].into_iter(),
        );
        let lanes = ["a", "b", "d"].map(|topic| routes.lane_of(topic));
        assert!(lanes.iter().all(|lane| *lane == lanes[0]));
        assert_ne!(routes.lane_of("c"), lanes[0]);
        assert_ne!(routes.lane_of("c"), routes.lane_of("e"));
        assert_eq!(routes.look_up(&"f".into(), "v"), Some(lanes[0]));
        assert_eq!(routes.look_up(&"g".into(), "y"), Some(routes.lane_of("c")));
        assert_eq!(routes.look_up(&"c".into(), "t"), None);
        assert_eq!(routes.crossed(), [("c".into(), "t".to_owned())]);
        let mut again = Routes::new(3);
        again.learn([("a", "t"), ("c", "u"), ("c", "t")].into_iter(), std::iter::empty());
        assert_eq!(again.lane_of("a"), again.lane_of("c"));
    }
}
