//! What SQLite's result codes mean to the deliver loop.
//!
//! SQLite's messages name tables, columns and constraints, never values, so they may be shown.

use std::fmt;
use std::os::raw::c_int;

use connector_api::{Error, Kind, Result};
use rusqlite::ffi;

/// Why a statement failed.
#[derive(Debug)]
pub enum Failure {
    /// SQLite said so: extended result code and message.
    Sqlite(Code, String),
    /// What was to be bound is wrong, or another error that is already worded.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// An extended result code of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub c_int);

impl Code {
    fn primary(self) -> c_int {
        self.0 & 0xff
    }

    /// SQLite's own words for the code.
    pub fn text(self) -> String {
        ffi::code_to_str(self.0).to_owned()
    }

    /// What the deliver loop does.
    pub fn kind(self) -> Kind {
        match self.primary() {
            ffi::SQLITE_CONSTRAINT | ffi::SQLITE_TOOBIG | ffi::SQLITE_MISMATCH | ffi::SQLITE_RANGE => {
                Kind::Data
            }
            ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Kind::Corrupt,
            ffi::SQLITE_READONLY
            | ffi::SQLITE_CANTOPEN
            | ffi::SQLITE_PERM
            | ffi::SQLITE_AUTH
            | ffi::SQLITE_ERROR
            | ffi::SQLITE_FORMAT => Kind::Config,
            // BUSY, LOCKED, IOERR, FULL, NOMEM, INTERRUPT, PROTOCOL and what a later SQLite may add.
            _ => Kind::Transient,
        }
    }

    fn remedy(self) -> Option<&'static str> {
        Some(match self.primary() {
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => {
                "end the other writer's transaction; `fuser -v FILE` says which processes hold the file"
            }
            ffi::SQLITE_FULL => {
                "free space on this disk, or raise the database's PRAGMA max_page_count; work resumes by itself"
            }
            ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => {
                "run `sqlite3 FILE 'PRAGMA integrity_check'`; restore the file, or remove it to fill it again from the log"
            }
            ffi::SQLITE_READONLY | ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM => {
                "let this user write the file and its folder (SQLite makes FILE-wal and FILE-shm beside it)"
            }
            _ => return None,
        })
    }

    /// The statement no longer fits the tables: another connection changed them.
    pub fn is_outdated(self) -> bool {
        matches!(self.primary(), ffi::SQLITE_ERROR | ffi::SQLITE_SCHEMA)
    }

    /// A constraint was violated.
    pub fn is_constraint(self) -> bool {
        self.primary() == ffi::SQLITE_CONSTRAINT
    }
}

impl Failure {
    /// The error for the deliver loop; `context` says what was being done, in "verb object" form.
    pub fn into_error(self, context: impl fmt::Display) -> Error {
        match self {
            Failure::Other(error) => error.within(context),
            Failure::Sqlite(code, message) => {
                let error = Error::new(code.kind(), format!("{context}: {message}"));
                match code.remedy() {
                    Some(remedy) => error.with_remedy(remedy),
                    None => error,
                }
            }
        }
    }
}

/// The error for a failure of rusqlite.
pub fn from_rusqlite(error: rusqlite::Error, context: impl fmt::Display) -> Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => {
            let message = message.unwrap_or_else(|| code.to_string());
            Failure::Sqlite(Code(code.extended_code), message).into_error(context)
        }
        rusqlite::Error::SqlInputError { error, msg, .. } => {
            Failure::Sqlite(Code(error.extended_code), msg).into_error(context)
        }
        other => Error::config(context.to_string()).caused_by(other),
    }
}

/// Words a result of rusqlite.
pub trait Context<T> {
    /// Adds what was being done.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for rusqlite::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| from_rusqlite(error, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_kind_that_decides_what_happens_next() {
        let cases = [
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Kind::Data),
            (ffi::SQLITE_CONSTRAINT_DATATYPE, Kind::Data),
            (ffi::SQLITE_TOOBIG, Kind::Data),
            (ffi::SQLITE_MISMATCH, Kind::Data),
            (ffi::SQLITE_BUSY_SNAPSHOT, Kind::Transient),
            (ffi::SQLITE_LOCKED, Kind::Transient),
            (ffi::SQLITE_IOERR_FSYNC, Kind::Transient),
            (ffi::SQLITE_FULL, Kind::Transient),
            (ffi::SQLITE_CORRUPT_INDEX, Kind::Corrupt),
            (ffi::SQLITE_NOTADB, Kind::Corrupt),
            (ffi::SQLITE_READONLY_DIRECTORY, Kind::Config),
            (ffi::SQLITE_CANTOPEN_ISDIR, Kind::Config),
            (ffi::SQLITE_AUTH, Kind::Config),
        ];
        for (code, kind) in cases {
            assert_eq!(Code(code).kind(), kind, "{code}");
        }
        assert!(Code(ffi::SQLITE_FULL).remedy().is_some());
    }
}
