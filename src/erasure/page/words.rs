//! What a certificate's names and numbers mean, in plain words.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use crate::erasure::certificate::{Certified, Looked};
use crate::erasure::receipt::{Done, LOG};

/// A target as it is called among people.
pub fn target(name: &str) -> String {
    if name == LOG { "the change log".to_owned() } else { name.to_owned() }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    match names.pop() {
        None => "no system".to_owned(),
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} and {last}", names.join(", ")),
    }
}

/// What a step did.
pub fn done(step: &Done, log: bool) -> String {
    let rows = count(step.rows, log);
    match &*step.action {
        "delete" if step.rows == 0 => "Nothing was there.".to_owned(),
        "delete" => format!("{rows} deleted."),
        "set" if step.rows == 0 => "Nothing was there, or it was overwritten before.".to_owned(),
        "set" => format!("{rows} kept, with {} overwritten.", list(step.columns.iter().cloned())),
        "keep" if step.rows == 0 => "Nothing was there.".to_owned(),
        "keep" => format!("{rows} kept as they were."),
        other => format!("{rows}: {other}."),
    }
}

/// What stays of rows that were not deleted.
pub fn kept(step: &Done, log: bool) -> String {
    let rows = count(step.rows, log);
    match &*step.action {
        "set" => format!("{rows} stay without what was in {}.", list(step.columns.iter().cloned())),
        _ => format!("{rows} stay."),
    }
}

/// Whether a target was asked again.
pub fn verified(receipt: &Certified) -> &'static str {
    match (receipt.verified, receipt.confirmed_by.is_some()) {
        (true, _) => {
            "Before that it was asked once more whether anything of the person was left, and nothing was."
        }
        (false, true) => "This service cannot look into that system; it is known by that system’s own word.",
        (false, false) => "It was not asked once more whether anything was left.",
    }
}

/// What was found at a later look.
pub fn looked(looked: &Looked) -> String {
    let found: Vec<String> = looked
        .left
        .iter()
        .filter(|left| left.left > 0)
        .map(|left| format!("{} in {}", count(left.left, false), target(&left.target)))
        .collect();
    let asked = list(looked.left.iter().map(|left| target(&left.target)));
    if found.is_empty() {
        format!("Nothing, in {asked}.")
    } else {
        format!("{} of the person.", found.join(", "))
    }
}

fn count(rows: u64, log: bool) -> String {
    let one = if log { "record" } else { "row" };
    if rows == 1 { format!("1 {one}") } else { format!("{rows} {one}s") }
}
