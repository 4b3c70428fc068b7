//! What the server says went wrong, and what kind of failure that is.

use connector_api::{Error, Kind};
use std::fmt;

/// An ErrorResponse: its SQLSTATE, message and hint. The detail is left out, because it may quote row data.
#[derive(Debug, Clone, Default)]
pub struct ServerError {
    /// SQLSTATE.
    pub code: String,
    pub(crate) message: String,
    hint: String,
    /// The schema, table, column and constraint that it is about; empty where it names none.
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) column: String,
    pub(crate) constraint: String,
}

impl ServerError {
    pub(crate) fn set(&mut self, field: u8, text: &str) {
        match field {
            b'C' => self.code = text.to_owned(),
            b'M' => self.message = text.to_owned(),
            b'H' => self.hint = text.to_owned(),
            b's' => self.schema = text.to_owned(),
            b't' => self.table = text.to_owned(),
            b'c' => self.column = text.to_owned(),
            b'n' => self.constraint = text.to_owned(),
            _ => {}
        }
    }

    /// What the caller does next. Unknown conditions are transient: a retry that fails again is seen, a stop
    /// that was not needed loses hours.
    pub fn kind(&self) -> Kind {
        match self.code.as_str() {
            // Wrong password, unknown role.
            "28000" | "28P01" => Kind::Auth,
            // Missing grant.
            "42501" => Kind::Auth,
            // Unknown database, object or column, syntax, wal_level, invalid names and parameter values.
            "3D000" | "55000" | "0A000" | "22023" | "42704" | "42P01" | "42703" | "42601" | "42602"
            | "42710" | "3F000" | "42809" => Kind::Config,
            // The WAL that the slot needs has been removed.
            "58P01" => Kind::Lost,
            "XX001" | "XX002" => Kind::Corrupt,
            _ => Kind::Transient,
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

/// Wraps what the server said, with the kind its SQLSTATE has.
pub(crate) fn server(context: impl Into<String>, error: ServerError) -> Error {
    Error::new(error.kind(), context).caused_by(error)
}

/// The SQLSTATE of `error`, if the server said one.
pub(crate) fn sqlstate(error: &Error) -> Option<&str> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<ServerError>().map(|error| error.code.as_str())
}

/// A failure of the connection itself.
pub(crate) fn connection(context: impl Into<String>, error: std::io::Error) -> Error {
    Error::transient(context).caused_by(error)
}

/// Bytes that are no protocol: the connection is given up and made again.
pub(crate) fn malformed(what: &str) -> Error {
    Error::corrupt(format!("decode {what} of the server: malformed"))
}
