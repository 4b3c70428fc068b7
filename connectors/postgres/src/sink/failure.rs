//! What an error of the target means, in words that hold no value of a row.
//!
//! The server's own messages name tables and columns, but those about data quote it ("invalid input syntax for type
//! integer: …"), and so do the messages of triggers: of these only the condition and the names are passed on.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;

use connector_api::{Error, Kind};

use crate::error::ServerError;

impl ServerError {
    /// One row is to blame.
    pub(super) fn is_of_data(&self) -> bool {
        let class = self.code.get(..2).unwrap_or_default();
        matches!(class, "22" | "23" | "21" | "44" | "54" | "P0")
    }

    /// A row with this key stands there already.
    pub(super) fn is_conflict(&self) -> bool {
        self.code == "23505"
    }

    /// The statement may no longer fit the tables: somebody changed them.
    pub(super) fn is_outdated(&self) -> bool {
        matches!(
            self.code.as_str(),
            "42P01"
                | "42703"
                | "42804"
                | "42P10"
                | "0A000"
                | "428C9"
                | "42846"
                | "42883"
                | "42704"
                | "3F000"
                | "42P18"
        )
    }

    /// What the deliver loop does.
    pub(super) fn kind_at_sink(&self) -> Kind {
        match self.code.get(..2).unwrap_or_default() {
            _ if self.is_of_data() => Kind::Data,
            "28" => Kind::Auth,
            "3D" | "3F" | "42" | "0A" | "2B" | "55" if self.code != "55P03" && self.code != "55006" => {
                Kind::Config
            }
            _ if self.code == "XX001" || self.code == "XX002" => Kind::Corrupt,
            _ => Kind::Transient,
        }
    }

    fn remedy_at_sink(&self) -> Option<&'static str> {
        Some(match self.code.as_str() {
            "53100" => "free space on the target server's disk; work resumes by itself",
            "53300" => "raise max_connections of the target server, or lower `connections` of this sink",
            "25006" => "name the primary in `url`: this server takes no writes",
            "55P03" => {
                "end the transaction that holds the table: SELECT pid, query FROM pg_stat_activity WHERE state <> 'idle' ORDER BY xact_start"
            }
            _ => return None,
        })
    }
}

/// What an error says to people.
struct Words<'a>(&'a ServerError);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServerError { code, message, schema, table, column, constraint, .. } = self.0;
        match condition(code) {
            Some(words) => f.write_str(words)?,
            None if self.0.is_of_data() => f.write_str("the target refused the row")?,
            None => f.write_str(message)?,
        }
        write!(f, " (SQLSTATE {code}")?;
        for (what, name) in
            [("schema", schema), ("table", table), ("column", column), ("constraint", constraint)]
        {
            if !name.is_empty() {
                write!(f, ", {what} {name:?}")?;
            }
        }
        f.write_str(")")
    }
}

/// The conditions that rows meet, in place of messages that quote them.
fn condition(code: &str) -> Option<&'static str> {
    Some(match code {
        "22001" => "a text is too long for its column",
        "22003" => "a number is out of the range of its column",
        "22007" | "22008" => "a date or time is not one that its column takes",
        "22021" => "a text holds a byte that the database's encoding does not take",
        "22P02" | "22P03" => "a value is not of the form that its column takes",
        "22P05" => "a character has no place in the database's encoding",
        "22032" | "22030" => "a JSON text is not one that its column takes",
        "23502" => "a NOT NULL column got no value",
        "23503" => "a foreign key is violated",
        "23505" => "another row has the same value in a unique constraint",
        "23514" => "a check constraint, or the bounds of the partitions, refused the row",
        "23P01" => "an exclusion constraint refused the row",
        "21000" => "two rows of one batch have the same key in the target",
        "44000" => "the check option of a view refused the row",
        "54000" => "the row is too large for an index or for the table",
        "P0001" | "P0000" | "P0002" | "P0003" | "P0004" => "a trigger or a function refused the row",
        _ => return None,
    })
}

/// What the server said, without values.
pub(super) fn words(error: &ServerError) -> String {
    Words(error).to_string()
}

/// A statement's failure as an error; `doing` says what it was about.
pub(super) fn failed(doing: impl fmt::Display, error: &ServerError) -> Error {
    let made = Error::new(error.kind_at_sink(), format!("{doing}: {}", Words(error)));
    match error.remedy_at_sink() {
        Some(remedy) => made.with_remedy(remedy),
        None => made,
    }
}

/// The server ended the session, and said why.
pub(super) fn lost(error: ServerError) -> Error {
    let kind = match error.kind_at_sink() {
        Kind::Auth => Kind::Auth,
        _ => Kind::Transient,
    };
    Error::new(kind, format!("write to the server: it ended the session: {}", Words(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str) -> ServerError {
        let mut error = ServerError::default();
        for (field, text) in [(b'C', code), (b'M', "says \"secret\""), (b'n', "t_check"), (b'D', "(secret)")]
        {
            error.set(field, text);
        }
        error
    }

    #[test]
    fn every_class_has_the_kind_that_decides_what_happens_next() {
        for (kind, codes) in [
            (Kind::Data, &["22001", "22P02", "23505", "23503", "21000", "54000", "P0001", "44000"][..]),
            (
                Kind::Transient,
                &["40001", "40P01", "55P03", "57P01", "08006", "53100", "53300", "25006", "57014", "58030"],
            ),
            (Kind::Config, &["42501", "42P01", "42703", "3F000", "0A000", "42601"]),
            (Kind::Auth, &["28P01", "28000"]),
            (Kind::Corrupt, &["XX001"]),
        ] {
            for code in codes {
                assert_eq!(failed("apply", &of(code)).kind(), kind, "{code}");
            }
        }
    }

    #[test]
    fn values_stay_out_of_errors_about_data() {
        for code in ["22P02", "22999", "23514", "P0001", "54001"] {
            let text = failed("apply change", &of(code)).to_string();
            assert!(!text.contains("secret"), "{text}");
            assert!(text.contains(code) && text.contains("t_check"), "{text}");
        }
    }
}
