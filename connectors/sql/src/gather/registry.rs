//! The targets, topics and sets of columns that gathered changes refer to by number.

use std::collections::HashMap;
use std::sync::Arc;

use connector_api::{Target, TopicPartition};

/// More targets or columns of sets than this are forgotten when nothing is gathered.
const KEPT_MAX: usize = 16 << 10;

/// What is known of a target.
#[derive(Debug)]
pub(super) struct Known {
    /// Held so that its address stays its own.
    pub(super) target: Arc<Target>,
    /// Number of its table.
    pub(super) table: u32,
    /// Number of the way its keys are encoded; keys of one table compare only within one layout.
    pub(super) layout: u32,
    /// The set of all its columns outside the key.
    pub(super) all: u32,
    /// For each topic, the offset of the newest update that moved a row. Offsets are never used twice, so that this stays
    /// true over flushes and rollbacks.
    pub(super) moved: Vec<(u32, u64)>,
    /// Numbers of its sets of columns.
    sets: HashMap<Box<[usize]>, u32>,
}

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Registry {
    pub(super) targets: Vec<Known>,
    pub(super) topics: Vec<TopicPartition>,
    /// How many tables there are.
    pub(super) tables: u32,
    sets: Vec<Box<[usize]>>,
    by_address: HashMap<usize, u32>,
    by_topic: HashMap<TopicPartition, u32>,
    last: (usize, u32),
    last_topic: u32,
    kept: usize,
}

impl Registry {
    /// The number of a target.
    #[inline]
    pub(super) fn target(&mut self, target: &Arc<Target>, same_table: fn(&str, &str) -> bool) -> u32 {
        let address = Arc::as_ptr(target) as usize;
        if self.last.0 == address {
            return self.last.1;
        }
        let number = match self.by_address.get(&address) {
            Some(number) => *number,
            None => self.add(target, same_table),
        };
        self.last = (address, number);
        number
    }

    #[cold]
    fn add(&mut self, target: &Arc<Target>, same_table: fn(&str, &str) -> bool) -> u32 {
        let number = self.targets.len() as u32;
        self.by_address.insert(Arc::as_ptr(target) as usize, number);
        let mut others = self.targets.iter().filter(|known| same_table(&known.target.table, &target.table));
        let (table, layout) = match others.clone().next() {
            None => {
                self.tables += 1;
                (self.tables - 1, number)
            }
            Some(other) => {
                let same = others.find(|known| layout(&known.target).eq(layout(target)));
                (other.table, same.map_or(number, |known| known.layout))
            }
        };
        let all: Vec<usize> = (0..target.columns.len()).filter(|at| !target.key.contains(at)).collect();
        let (target, moved, sets) = (target.clone(), Vec::new(), HashMap::new());
        self.targets.push(Known { target, table, layout, all: 0, moved, sets });
        let all = self.set(number, &all);
        if let Some(known) = self.targets.last_mut() {
            known.all = all;
        }
        number
    }

    /// The number of a set of columns of a target.
    #[inline]
    pub(super) fn set(&mut self, target: u32, columns: &[usize]) -> u32 {
        let Some(known) = self.targets.get_mut(target as usize) else { return 0 };
        match known.sets.get(columns) {
            Some(number) => *number,
            None => {
                let number = self.sets.len() as u32;
                known.sets.insert(columns.into(), number);
                self.sets.push(columns.into());
                self.kept += columns.len() + 1;
                number
            }
        }
    }

    /// The columns of a set.
    pub(super) fn columns(&self, set: u32) -> &[usize] {
        self.sets.get(set as usize).map_or(&[], |set| set)
    }

    /// The number of a topic.
    #[inline]
    pub(super) fn topic(&mut self, topic: &TopicPartition) -> u32 {
        let same = |known: &TopicPartition| {
            known.partition == topic.partition
                && (Arc::ptr_eq(&known.topic, &topic.topic) || known.topic == topic.topic)
        };
        if self.topics.get(self.last_topic as usize).is_some_and(same) {
            return self.last_topic;
        }
        self.last_topic = match self.by_topic.get(topic) {
            Some(number) => *number,
            None => {
                let number = self.topics.len() as u32;
                self.topics.push(topic.clone());
                self.by_topic.insert(topic.clone(), number);
                number
            }
        };
        self.last_topic
    }

    /// True when it is worth starting over.
    pub(super) fn is_large(&self) -> bool {
        self.kept + self.topics.len() > KEPT_MAX
    }
}

/// What must agree for the bytes of two keys to mean the same row.
fn layout(target: &Target) -> impl Iterator<Item = (&str, Option<connector_api::ValueKind>)> {
    target.key.iter().map(|at| (target.name(*at), target.column(*at).map(|column| column.kind)))
}
