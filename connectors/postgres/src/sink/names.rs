//! Names on their way into SQL: they come from a peer, and pass through here (I12).

/// The longest name that PostgreSQL keeps; it would cut a longer one off, and two names would become one.
pub(super) const NAME_BYTES_MAX: usize = 63;
pub(super) use crate::connection::{identifier as quote, literal};

/// A table's name with its schema, quoted.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quote(schema), quote(table))
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
    fn names_are_quoted() {
        assert_eq!(qualified("a\"b", "x; DROP TABLE y; --"), r#""a""b"."x; DROP TABLE y; --""#);
    }
}
