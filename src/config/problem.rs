//! What is wrong with a configuration, where, and what was probably meant.

use super::files::{Files, Location, Place};
use super::redact;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) place: Option<Place>,
    /// Another place that belongs to it, and why.
    pub(super) related: Option<(Place, String)>,
    /// What to do.
    pub(super) help: Option<String>,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>) -> Problem {
        Problem { message: message.into(), place: None, related: None, help: None }
    }

    pub(super) fn at(mut self, place: impl Into<Option<Place>>) -> Problem {
        self.place = place.into().or(self.place);
        self
    }

    pub(super) fn related(mut self, place: Place, why: impl Into<String>) -> Problem {
        self.related = Some((place, why.into()));
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    fn render(&self, files: &Files, renderer: &Renderer) -> String {
        let shown =
            |place: Place| (files.shown(place.file), files.get(place.file).map(|file| file.name.as_str()));
        // The renderer slices at these bytes: a place that the parser puts inside a character must not end the process.
        let span = |place: Place| {
            let text = files.get(place.file).map_or("", |file| file.text.as_str());
            let start = text.floor_char_boundary(place.start as usize);
            start..text.ceil_char_boundary(place.end as usize).max(start)
        };
        let title = Level::ERROR.primary_title(redact::message(&self.message));
        let mut group = Group::with_title(title);
        if let Some(place) = self.place {
            let (text, name) = shown(place);
            let mut snippet =
                Snippet::source(text).path(name).annotation(AnnotationKind::Primary.span(span(place)));
            if let Some((other, why)) = self.related.as_ref().filter(|(other, _)| other.file == place.file) {
                snippet = snippet.annotation(AnnotationKind::Context.span(span(*other)).label(why.as_str()));
            }
            group = group.element(snippet);
        }
        let far = |other: &Place| self.place.is_none_or(|place| place.file != other.file);
        if let Some((other, why)) = self.related.as_ref().filter(|(other, _)| far(other)) {
            let (text, name) = shown(*other);
            let note = AnnotationKind::Context.span(span(*other)).label(why.as_str());
            group = group.element(Snippet::source(text).path(name).annotation(note));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(redact::message(help)));
        }
        renderer.render(&[group])
    }
}

/// Everything that is wrong with a configuration. `Display` shows each with its file, line, column and the line
/// itself, secrets masked. The exit code for it is 2.
pub struct ConfigError {
    problems: Vec<Problem>,
    files: Files,
}

impl ConfigError {
    pub(super) fn new(mut problems: Vec<Problem>, files: Files) -> ConfigError {
        problems.sort_by_key(|problem| problem.place);
        problems.dedup();
        ConfigError { problems, files }
    }

    /// How many problems there are.
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// The message of each problem and where it is, for `--json`.
    pub fn problems(&self) -> impl Iterator<Item = (String, Option<Location>)> {
        let locate = |place| self.files.locate(place);
        self.problems
            .iter()
            .map(move |problem| (redact::message(&problem.message), problem.place.and_then(locate)))
    }

    /// The problems as text; `colour` when it goes to a terminal.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let each: Vec<_> =
            self.problems.iter().map(|problem| problem.render(&self.files, &renderer)).collect();
        each.join("\n\n")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigError {}

/// The candidate that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a long word is not a slip of the finger, and the distance costs the product of lengths.
    let near = candidates.into_iter().filter(|candidate| word.len() <= 2 * candidate.len() + 2);
    let near = near.map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(far, candidate)| *far <= (candidate.len() / 3).max(1)).min().map(|(_, candidate)| candidate)
}

/// "`a`, did you mean `b`?", or the list of what there is.
pub(super) fn unknown(what: &str, word: &str, candidates: &[&str]) -> Problem {
    let unknown = format!("unknown {what} {}", name(word)).trim_end().to_owned();
    match nearest(word, candidates.iter().copied()) {
        Some(near) => Problem::new(format!("{unknown}, did you mean `{near}`?")),
        None => Problem::new(unknown).help(format!("one of {}", quoted(candidates))),
    }
}

/// The word in quotes, if it is a name. What else stands where a name should be can be a secret that a slip of the
/// finger put there, as in `token:hunter2`.
pub(super) fn name(word: &str) -> String {
    let simple = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.' | '$' | '{' | '}');
    if word.len() <= 64 && word.chars().all(simple) { format!("`{word}`") } else { String::new() }
}

/// `a`, `b`, `c`.
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (line, char) in from.chars().enumerate() {
        let mut next = vec![line + 1];
        for (column, other) in to.iter().enumerate() {
            let mut best =
                (row[column] + usize::from(char != *other)).min(row[column + 1] + 1).min(next[column] + 1);
            if column > 0 && last == Some(*other) && to[column - 1] == char {
                best = best.min(before[column - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(char);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found() {
        let keys = ["tables", "table", "path", "on_error", "slot"];
        assert_eq!(nearest("tabels", keys), Some("tables"));
        assert_eq!(nearest("onerror", keys), Some("on_error"));
        assert_eq!(nearest("slott", keys), Some("slot"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), keys), None);
        assert_eq!(distance("ca", "ac"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
