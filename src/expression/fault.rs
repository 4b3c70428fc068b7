//! What can be wrong: with an expression, found before any row; with a row, found while it is worked out.

use std::ops::Range;

/// What is wrong with an expression, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the text.
    pub place: Range<usize>,
    /// What is wrong, one sentence.
    pub message: String,
    /// What to write instead, if that can be said.
    pub help: Option<String>,
}

impl Fault {
    /// At a place of the text.
    pub fn new(place: Range<usize>, message: impl Into<String>) -> Fault {
        Fault { place, message: message.into(), help: None }
    }

    /// About the whole of the text.
    pub fn whole(text: &str, message: impl Into<String>) -> Fault {
        Fault::new(0..text.len(), message)
    }

    /// Says what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }

    /// Line and column of the place in `text`, in characters, from 1.
    pub fn line_and_column(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.place.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
    }
}

/// Why a row gives no value. Holds nothing of the row: errors are shown and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The value of this column was not sent.
    Unknown(usize),
    /// An operation that the values do not allow.
    Bad(&'static str),
}
