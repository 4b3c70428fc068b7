//! What the server's error numbers mean to the deliver loop.
//!
//! The server's messages hold values ("Duplicate entry 'x' for key 'k'"), so none is ever shown: an error says what its
//! number means in words of ours, and the column or the key only when the message ends in a name that the caller knows.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::fmt;

use connector_api::{Error, Kind};
use sqlx::mysql::MySqlDatabaseError;

/// Why a statement failed.
#[derive(Debug)]
pub enum Failure {
    /// The server said so.
    Server(Refusal),
    /// The connection broke, or another error that is already worded.
    Other(Error),
}

/// What the server said.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Its error number.
    pub number: u16,
    /// SQLSTATE.
    pub state: String,
    /// The server's message: holds values, never shown.
    message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error
            && let Some(found) = database.try_downcast_ref::<MySqlDatabaseError>()
        {
            return Failure::Server(Refusal {
                number: found.number(),
                state: found.code().unwrap_or_default().to_owned(),
                message: found.message().to_owned(),
            });
        }
        Failure::Other(of_connection(&error))
    }
}

/// An error that is not the server's answer. Only kinds of errors whose text is the operating system's or TLS's are shown.
fn of_connection(error: &sqlx::Error) -> Error {
    match error {
        sqlx::Error::Io(io) => Error::transient(format!("the connection failed ({io})")),
        sqlx::Error::Tls(tls) => Error::config(format!("TLS failed ({tls})")).with_remedy(
            "give the authority's file as `ssl-ca=FILE` in the url, or another `ssl-mode` (verify_identity, verify_ca, \
             required, preferred, disabled)",
        ),
        sqlx::Error::Configuration(what) => Error::config(format!("the options of the connection are wrong ({what})")),
        sqlx::Error::Protocol(_) => Error::transient("the server's answer was not understood"),
        _ => Error::transient("the connection failed"),
    }
}

/// Numbers of the server.
pub mod number {
    #![allow(missing_docs)]
    pub const DUPLICATE: u16 = 1062;
    pub const NULL: u16 = 1048;
    pub const LOCK_WAIT: u16 = 1205;
}

impl Refusal {
    /// What the deliver loop does.
    pub fn kind(&self) -> Kind {
        match self.number {
            // Deadlock, lock wait, killed, shutdown, too many connections, read-only failover, out of memory or disk.
            1213 | 1205 | 1053 | 1317 | 1040 | 1203 | 1226 | 1021 | 1114 | 1030 | 1026 | 1041 | 1037
            | 1290 | 1792 | 1836 | 1160 | 1161 | 1158 | 1159 | 1412 | 1615 | 1927 | 1969 | 3024 | 4031
            | 1020 | 1047 | 1196 => Kind::Transient,
            1044 | 1045 | 1130 | 1129 | 1251 | 1524 | 1698 | 1862 | 3118 | 1820 => Kind::Auth,
            // Values that do not fit, and constraints.
            1022
            | 1048
            | 1062
            | 1138
            | 1169
            | 1216
            | 1217
            | 1242
            | 1264
            | 1265
            | 1292
            | 1364
            | 1365
            | 1366
            | 1367
            | 1406
            | 1411
            | 1441
            | 1451
            | 1452
            | 1456
            | 1525
            | 1557
            | 1586
            | 1644
            | 1690
            | 1761
            | 1762
            | 3140..=3158
            | 3819
            | 4025
            | 1153
            | 1301
            | 1526
            | 1118
            | 1231
            | 4038
            | 1977
            | 3854
            | 3903 => Kind::Data,
            // SQLSTATE 22 and 23 are the classes of wrong values and broken constraints; 45 is a trigger's SIGNAL.
            _ if ["22", "23", "45"].iter().any(|class| self.state.starts_with(class)) => Kind::Data,
            _ => Kind::Config,
        }
    }

    /// The table is not as the plan has it: somebody changed it.
    pub fn is_outdated(&self) -> bool {
        matches!(self.number, 1054 | 1146 | 1136 | 1051 | 1091 | 1110 | 1364 | 1348 | 1906 | 3105)
    }

    fn words(&self) -> &'static str {
        match self.number {
            1062 | 1022 | 1169 | 1586 | 1761 | 1762 => "another row has the value of a unique key",
            1048 | 1138 => "a column that is NOT NULL got NULL",
            1364 => "a column that is NOT NULL and has no default got no value",
            1406 => "a value is too long for its column",
            1264 | 1690 | 1367 => "a number is out of the range of its column",
            1265 | 1292 | 1366 | 1411 | 1525 => "its column cannot hold a value",
            1451 | 1217 => "a row of another table refers to the row (foreign key)",
            1452 | 1216 => "the row refers to a row that is not there (foreign key)",
            3140..=3158 => "the server does not take a value as JSON",
            3819 | 4025 => "a CHECK constraint of the table does not hold",
            1644 | 1442 => "a trigger of the table refused the row",
            1526 => "no partition of the table takes the row",
            1153 => "the row is larger than max_allowed_packet",
            1118 => "the row is larger than a row of the table may be",
            1213 => "deadlock with another transaction",
            1205 => "another transaction holds a lock",
            1021 | 1114 => "the server's disk or tablespace is full",
            1030 | 1026 => "the server cannot write its files",
            1053 | 1317 | 1927 | 1969 | 4031 => "the server ended the session",
            1040 | 1203 | 1226 => "the server has too many connections",
            1290 | 1792 | 1836 => "the server is read-only",
            1412 => "a table was changed by somebody else in the meantime",
            1044 => "the user may not use the database",
            1045 | 1698 => "the server refused user or password",
            1129 | 1130 => "the server takes no connection from this host",
            1142 | 1143 | 1227 | 1370 | 1410 => "the user lacks a right",
            1146 | 1051 => "the table does not exist",
            1054 | 1091 => "a column does not exist",
            1049 => "the database does not exist",
            1665 => "the server's binlog_format does not go with READ COMMITTED",
            1050 => "the table exists already",
            1060 => "the column exists already",
            _ => "the server refused the statement",
        }
    }

    fn remedy(&self) -> Option<&'static str> {
        Some(match self.number {
            1021 | 1114 | 1030 => "free space on the server's disk; work resumes by itself",
            1153 => {
                "SET GLOBAL max_allowed_packet = 1073741824; (and max_allowed_packet=1G in the server's configuration)"
            }
            1205 => "SHOW ENGINE INNODB STATUS; shows who holds the lock; end it with KILL ID",
            1045 | 1698 => {
                "set user and password in the sink's url, or: ALTER USER 'USER'@'HOST' IDENTIFIED BY 'PASSWORD';"
            }
            1044 | 1142 | 1143 => {
                "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON DATABASE.* TO 'USER'@'HOST';"
            }
            1129 => "mariadb-admin flush-hosts (or mysqladmin flush-hosts)",
            1049 => "CREATE DATABASE NAME CHARACTER SET utf8mb4;",
            1054 | 1091 | 1146 | 1051 => {
                "run `millstream check CONFIG`: it names the statement that mends the table"
            }
            1040 | 1203 | 1226 => "lower `connections` of the sink, or raise max_connections of the server",
            _ => return None,
        })
    }

    /// The name that the message ends in, if it is one of `known`: a column or a key. A value that the message holds may
    /// look like anything, so only a whole known name counts.
    pub fn name<'n>(&self, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
        let (head, tail) = match self.message.rfind(" at row ") {
            Some(at) => self.message.split_at_checked(at)?,
            None => (self.message.as_str(), ""),
        };
        let head = match tail.strip_prefix(" at row ") {
            Some(row) if !row.bytes().all(|byte| byte.is_ascii_digit()) => self.message.as_str(),
            _ => head,
        };
        let head = head
            .strip_suffix(" cannot be null")
            .or_else(|| head.strip_suffix(" doesn't have a default value"))
            .unwrap_or(head);
        let ends = |name: &&str| {
            ["'", "`", ""].iter().any(|mark| {
                let rest = head.strip_suffix(mark).and_then(|rest| rest.strip_suffix(*name));
                rest.is_some_and(|rest| rest.ends_with(['\'', '`', '.', '"']))
            })
        };
        known.into_iter().filter(|name| !name.is_empty()).filter(ends).max_by_key(|name| name.len())
    }

    /// The error for the deliver loop. `place` is added to the words: a column or a key, when it is known.
    pub fn into_error(self, context: impl fmt::Display, place: Option<&str>) -> Error {
        let place = place.map(|name| format!(" ({name})")).unwrap_or_default();
        let error =
            Error::new(self.kind(), format!("{context}: {}{place}, error {}", self.words(), self.number));
        match self.remedy() {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        }
    }
}

impl Failure {
    /// The error for the deliver loop; `context` says what was being done, in "verb object" form.
    pub fn into_error(self, context: impl fmt::Display) -> Error {
        match self {
            Failure::Server(refusal) => refusal.into_error(context, None),
            Failure::Other(error) => error.within(context),
        }
    }

    /// The same, naming the column or key if it is one of `known`.
    pub fn into_error_at<'n>(
        self,
        context: impl fmt::Display,
        known: impl IntoIterator<Item = &'n str>,
    ) -> Error {
        match self {
            Failure::Server(refusal) => {
                let name = refusal.name(known);
                refusal.into_error(context, name)
            }
            other => other.into_error(context),
        }
    }

    /// What the deliver loop does.
    pub fn kind(&self) -> Kind {
        match self {
            Failure::Server(refusal) => refusal.kind(),
            Failure::Other(error) => error.kind(),
        }
    }

    /// The server's number.
    pub fn number(&self) -> Option<u16> {
        match self {
            Failure::Server(refusal) => Some(refusal.number),
            Failure::Other(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn refusal(number: u16, state: &str, message: &str) -> Refusal {
        Refusal { number, state: state.to_owned(), message: message.to_owned() }
    }

    #[test]
    fn every_number_has_the_kind_that_decides_what_happens_next() {
        for (number, state, kind) in [
            (1213, "40001", Kind::Transient),
            (1205, "HY000", Kind::Transient),
            (1114, "HY000", Kind::Transient),
            (1062, "23000", Kind::Data),
            (1406, "22001", Kind::Data),
            (1452, "23000", Kind::Data),
            (4025, "23000", Kind::Data),
            (9999, "22003", Kind::Data),
            (1644, "45000", Kind::Data),
            (1045, "28000", Kind::Auth),
            (1142, "42000", Kind::Config),
            (1054, "42S22", Kind::Config),
            (1146, "42S02", Kind::Config),
        ] {
            assert_eq!(refusal(number, state, "").kind(), kind, "{number}");
        }
    }

    #[test]
    fn values_stay_out_and_known_names_come_through() {
        let cases = [
            ("Duplicate entry 'hunter2' for key 'users_email'", Some("users_email")),
            ("Duplicate entry 'hunter2' for key 't.users_email'", Some("users_email")),
            ("Column 'email' cannot be null", Some("email")),
            ("Field 'email' doesn't have a default value", Some("email")),
            ("Data too long for column 'email' at row 12", Some("email")),
            ("Incorrect string value: 'hunter2' for column `d`.`t`.`email` at row 1", Some("email")),
            ("Duplicate entry 'hunter2' for key 'unknown'", None),
            ("Duplicate entry 'email' at row hunter2", None),
        ];
        for (message, found) in cases {
            let refusal = refusal(1062, "23000", message);
            assert_eq!(refusal.name(["email", "users_email", "mail", "id"]), found, "{message}");
            let shown = format!("{:?}", refusal.into_error("apply", found));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
