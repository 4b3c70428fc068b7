//! Where each key of a configuration stands, for findings that are made after it was read.

use super::files::{Files, Location, Place};
use super::node::{Node, Value};
use std::collections::BTreeMap;

/// Finds the file and line of a key by its path. Holds no values.
#[derive(Debug, Clone)]
pub struct Places {
    files: Files,
    root: Branch,
}

#[derive(Debug, Clone)]
struct Branch {
    /// The key, or the item of a list.
    label: Place,
    /// The value.
    value: Place,
    below: BTreeMap<String, Branch>,
}

impl Places {
    pub(super) fn new(files: Files, root: &Node) -> Places {
        Places { files, root: branch(root, root.place) }
    }

    /// Where the value at `path` stands, such as `["sinks", "billing", "tables", "0", "topic"]`; when it was not
    /// written, where the nearest key above it is. `None` when nothing of the path was written.
    pub fn locate(&self, path: &[&str]) -> Option<Location> {
        let (found, depth) = self.deepest(path);
        let place = if depth == path.len() { found.value } else { found.label };
        (depth > 0).then(|| self.files.locate(place)).flatten()
    }

    /// True when the key at `path` was written.
    pub fn has(&self, path: &[&str]) -> bool {
        self.deepest(path).1 == path.len()
    }

    /// The value's place, or that of the nearest key above it.
    pub(super) fn value(&self, path: &[&str]) -> Option<Place> {
        let (found, depth) = self.deepest(path);
        (depth > 0).then_some(if depth == path.len() { found.value } else { found.label })
    }

    /// The key's place, or that of the nearest key above it.
    pub(super) fn label(&self, path: &[&str]) -> Option<Place> {
        let (found, depth) = self.deepest(path);
        (depth > 0).then_some(found.label)
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    fn deepest(&self, path: &[&str]) -> (&Branch, usize) {
        let mut at = &self.root;
        for (depth, step) in path.iter().enumerate() {
            match at.below.get(*step) {
                Some(next) => at = next,
                None => return (at, depth),
            }
        }
        (at, path.len())
    }
}

fn branch(node: &Node, label: Place) -> Branch {
    let below = match &node.value {
        Value::Map(entries) => {
            entries.iter().map(|entry| (entry.name.clone(), branch(&entry.value, entry.place))).collect()
        }
        Value::List(items) => {
            items.iter().enumerate().map(|(at, item)| (at.to_string(), branch(item, item.place))).collect()
        }
        _ => BTreeMap::new(),
    };
    Branch { label, value: node.place, below }
}
