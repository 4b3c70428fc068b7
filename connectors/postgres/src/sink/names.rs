//! Names on their way into SQL: they come from a peer, and pass through here (I12).

use connector_api::{Error, Result};

/// The longest name that PostgreSQL keeps; it would cut a longer one off, and two names would become one.
pub(super) const NAME_BYTES_MAX: usize = 63;
/// Most columns of a table (MaxHeapAttributeNumber).
pub(super) const COLUMNS_MAX: usize = 1_600;

pub(super) use crate::connection::{identifier as quote, literal};

/// A table's name with its schema, quoted.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quote(schema), quote(table))
}

/// Refuses a name that the target could not hold as it is.
///
/// # Errors
/// [`connector_api::Kind::Config`].
pub(super) fn check(what: &str, name: &str) -> Result<()> {
    let wrong = match name {
        "" => "it is empty".to_owned(),
        name if name.contains('\0') => "PostgreSQL allows no zero byte in a name".to_owned(),
        name if name.len() > NAME_BYTES_MAX => {
            format!("it has {} bytes, and PostgreSQL keeps {NAME_BYTES_MAX} of a name", name.len())
        }
        _ => return Ok(()),
    };
    Err(Error::config(format!("map {what} {name:?}: {wrong}")))
}

/// Refuses names of tables that are not a rule's to write to.
///
/// # Errors
/// [`connector_api::Kind::Config`].
pub(super) fn check_table(name: &str) -> Result<()> {
    check("table", name).map_err(|error| error.with_remedy("give the rule another `table`"))?;
    if name.starts_with("_millstream_") {
        return Err(Error::config(format!("map table {name:?}: names that begin with this are reserved"))
            .with_remedy("give the rule another `table`"));
    }
    Ok(())
}

/// Joins with commas.
pub(super) fn list(parts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    join(", ", parts)
}

/// Joins.
pub(super) fn join(with: &str, parts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut out = String::new();
    for part in parts {
        if !out.is_empty() {
            out.push_str(with);
        }
        out.push_str(part.as_ref());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_never_cut() {
        assert_eq!(qualified("a\"b", "x; DROP TABLE y; --"), r#""a""b"."x; DROP TABLE y; --""#);
        assert!(check("column", &"é".repeat(32)).is_err() && check("column", &"é".repeat(31)).is_ok());
        for name in ["", "a\0b", "_millstream_cursor"] {
            assert!(check_table(name).is_err(), "{name:?}");
        }
    }
}
