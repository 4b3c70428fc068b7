//! Keys that the contract knows and this version does not: one table, so that they give an honest error with
//! its place and never silence. What a later version builds leaves this table.

use super::node::{Node, Value};
use super::problem::Problem;
use super::read::Report;

/// When an entry of the table applies to the node at its path.
#[derive(Clone, Copy)]
enum When {
    /// The key is there.
    Given,
    /// Its value is this word.
    Is(&'static str),
    /// Its value is a mapping whose `type` is one of these.
    Type(&'static [&'static str]),
}

/// Path (`*` is any key or item), condition, and what is not in this version.
type Later = (&'static [&'static str], When, &'static str);

const LATER: &[Later] = &[
    (&["log", "engine"], When::Is("kafka"), "the kafka engine"),
    (&["erasure", "*", "log"], When::Is("shred"), "`log: shred`"),
    (&["sources", "*"], When::Type(&["mysql", "sqlite", "kafka", "http"]), "a `{}` source"),
    (&["sources", "*", "columns"], When::Given, "`columns` of a source"),
    (&["sinks", "*"], When::Type(&["kafka"]), "a `{}` sink"),
];

/// Reports what is not in this version and takes it out of the tree, so that nothing else complains about it.
pub(super) fn refuse(node: &mut Node, report: &Report) {
    for (path, when, what) in LATER {
        remove(node, path, *when, &mut |node| {
            let what = what.replace("{}", node.text().unwrap_or_default());
            report.add(Problem::new(format!("{what} is not in this version")).at(node.place));
        });
    }
}

fn remove(node: &mut Node, path: &[&str], when: When, found: &mut dyn FnMut(&Node)) {
    let Some((step, rest)) = path.split_first() else { return };
    match &mut node.value {
        Value::Map(entries) => entries.retain_mut(|entry| {
            if *step != "*" && *step != entry.name {
                return true;
            }
            if !rest.is_empty() {
                remove(&mut entry.value, rest, when, found);
                return true;
            }
            let Some(mut culprit) = applies(&entry.value, when).cloned() else { return true };
            if matches!(when, When::Given) {
                culprit.place = entry.place;
            }
            found(&culprit);
            false
        }),
        Value::List(items) if *step == "*" => {
            items.iter_mut().for_each(|item| remove(item, rest, when, found))
        }
        _ => {}
    }
}

/// The node to point at, when the condition holds.
fn applies(node: &Node, when: When) -> Option<&Node> {
    match when {
        When::Given => Some(node),
        When::Is(word) => Some(node).filter(|node| node.text() == Some(word)),
        When::Type(types) => {
            let kind = &node.entry("type")?.value;
            kind.text().filter(|text| types.contains(text)).map(|_| kind)
        }
    }
}
