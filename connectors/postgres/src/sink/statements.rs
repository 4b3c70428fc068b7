//! Prepared statements of a session: each text is parsed by the server once, and there is a bound on how many.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{HashMap, VecDeque};

use connector_api::Result;

use super::session::message;

/// Most statements that a session keeps: the server holds a plan for each.
const STATEMENTS_MAX: usize = 512;

/// A statement's text, and the types of its parameters by oid. The text alone tells statements apart: a table that
/// changed has its statements forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) types: Vec<u32>,
}

impl Statement {
    pub(super) fn new(sql: impl Into<String>, types: Vec<u32>) -> Statement {
        Statement { sql: sql.into(), types }
    }

    /// One without parameters.
    pub(super) fn plain(sql: impl Into<String>) -> Statement {
        Statement::new(sql, Vec::new())
    }
}

/// The name of a prepared statement in one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name(u64);

impl Name {
    pub(super) fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("m{}\0", self.0).as_bytes());
    }
}

/// What a session has prepared.
#[derive(Debug, Default)]
pub(super) struct Statements {
    names: HashMap<String, Name>,
    /// Texts that were sent and not answered yet, in order.
    asked: VecDeque<String>,
    last: u64,
}

impl Statements {
    /// The name of a statement; the message that prepares it is appended when it is new.
    #[inline]
    pub(super) fn name(&mut self, statement: &Statement, out: &mut Vec<u8>) -> Result<Name> {
        match self.names.get(&statement.sql) {
            Some(name) => Ok(*name),
            None => self.prepare(statement, out),
        }
    }

    #[cold]
    fn prepare(&mut self, statement: &Statement, out: &mut Vec<u8>) -> Result<Name> {
        if self.names.len() >= STATEMENTS_MAX {
            self.clear(out)?;
        }
        self.last += 1;
        let name = Name(self.last);
        message(out, b'P', |out| {
            name.put(out);
            out.extend_from_slice(statement.sql.as_bytes());
            out.push(0);
            let count = u16::try_from(statement.types.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&count.to_be_bytes());
            statement.types.iter().for_each(|oid| out.extend_from_slice(&oid.to_be_bytes()));
            Ok(())
        })?;
        self.names.insert(statement.sql.clone(), name);
        self.asked.push_back(statement.sql.clone());
        Ok(name)
    }

    /// The server has prepared the next one.
    pub(super) fn parsed(&mut self) {
        self.asked.pop_front();
    }

    /// The volley is answered: what was not prepared by now never will be.
    pub(super) fn settle(&mut self) {
        for sql in self.asked.drain(..) {
            self.names.remove(&sql);
        }
    }

    /// Forgets all, and appends the messages that tell the server so. Closing one that is not there is no error.
    pub(super) fn clear(&mut self, out: &mut Vec<u8>) -> Result<()> {
        for (_, name) in self.names.drain() {
            message(out, b'C', |out| {
                out.push(b'S');
                name.put(out);
                Ok(())
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_text_is_prepared_once_and_again_when_the_server_did_not() {
        let (mut statements, mut out) = (Statements::default(), Vec::new());
        let [a, b] = ["SELECT 1", "SELECT 2"].map(Statement::plain);
        let first = statements.name(&a, &mut out).unwrap();
        assert_eq!(statements.name(&a, &mut out).unwrap(), first);
        let second = statements.name(&b, &mut out).unwrap();
        statements.parsed();
        statements.settle();
        assert_eq!(statements.name(&a, &mut out).unwrap(), first);
        assert_ne!(statements.name(&b, &mut out).unwrap(), second, "its parse was passed over");
    }

    #[test]
    fn there_is_a_bound() {
        let (mut statements, mut out) = (Statements::default(), Vec::new());
        for at in 0..3 * STATEMENTS_MAX {
            statements.name(&Statement::plain(format!("SELECT {at}")), &mut out).unwrap();
            statements.parsed();
        }
        assert!(statements.names.len() <= STATEMENTS_MAX);
    }
}
