//! A rule that does not fit the shape of its topic, with the place in the configuration that says so.

use std::ops::Range;

use connector_api::Error;

use crate::expression::Fault;

/// What does not fit.
#[derive(Debug)]
pub struct Misfit {
    /// Which rule of the mapping.
    pub rule: usize,
    /// The keys below the rule: `["computed", "total", "value"]`.
    pub path: Vec<String>,
    /// For an expression: its text, and the bytes of it.
    pub place: Option<(String, Range<usize>)>,
    /// What is wrong, and the remedy.
    pub error: Error,
}

impl Misfit {
    /// At a key of a rule.
    pub(super) fn new(rule: usize, path: &[&str], error: Error) -> Misfit {
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        Misfit { rule, path, place: None, error }
    }

    /// In an expression.
    pub(super) fn of_expression(rule: usize, topic: &str, path: &[&str], text: &str, fault: Fault) -> Misfit {
        let (line, column) = fault.line_and_column(text);
        let keys: Vec<&str> = path.iter().copied().filter(|key| *key != "value").collect();
        let at = if line > 1 { format!("line {line} column {column}") } else { format!("column {column}") };
        let error = Error::config(format!("map {topic}: {} {at}: {}", keys.join("."), fault.message));
        let error = match fault.help {
            Some(help) => error.with_remedy(help),
            None => error,
        };
        Misfit { place: Some((text.to_owned(), fault.place)), ..Misfit::new(rule, path, error) }
    }
}

impl From<Misfit> for Error {
    fn from(misfit: Misfit) -> Error {
        misfit.error
    }
}
