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

    /// Where a part of the text at `path` stands, as [`Places::locate`].
    pub fn locate_within(&self, path: &[&str], text: &str, part: std::ops::Range<usize>) -> Option<Location> {
        self.within(path, text, part).and_then(|place| self.files.locate(place))
    }

    /// The place of a part of the text at `path`. The file may have it in quotes, folded or indented: it is found by walking
    /// over both, so that blanks and marks of the notation are passed over.
    pub(super) fn within(&self, path: &[&str], text: &str, part: std::ops::Range<usize>) -> Option<Place> {
        let whole = self.value(path)?;
        let written = self.files.get(whole.file)?.text.get(whole.start as usize..whole.end as usize)?;
        let Some(start) = walk(written, text, part.start) else { return Some(whole) };
        let length =
            text.get(part).map_or(0, |part| part.lines().next().unwrap_or_default().trim_end().len());
        let start = whole.start.saturating_add(u32::try_from(start).ok()?);
        let end = start.saturating_add(u32::try_from(length.max(1)).ok()?).min(whole.end);
        Some(Place { start, end: end.max(start), ..whole })
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

/// Where the byte `until` of a text stands in what was written for it; `None` when the two do not agree.
fn walk(written: &str, text: &str, until: usize) -> Option<usize> {
    let mut rest = written.char_indices();
    let mut next = |wanted: char| rest.by_ref().find(|(_, char)| *char == wanted);
    for wanted in text.get(..until)?.chars().filter(|char| !char.is_whitespace()) {
        next(wanted)?;
    }
    let behind = text.get(until..)?.chars().find(|char| !char.is_whitespace());
    match behind {
        Some(wanted) => next(wanted).map(|(at, _)| at),
        None => Some(written.trim_end_matches(['"', '\'', '\n', ' ']).len()),
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
