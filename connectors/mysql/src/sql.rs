//! Names and literals in SQL text. Everything a peer chose goes through this file (I12).
//!
//! Literals are written so that they mean the same under every `sql_mode`: a text without a backslash is quoted and its
//! quotes are doubled, which is right with and without `NO_BACKSLASH_ESCAPES` and `ANSI_QUOTES`; a text with a backslash
//! is written in hexadecimal, and so are bytes. The connection speaks utf8mb4, in which no byte of a longer character is
//! a quote.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::{Error, Result};

/// Prefix of the sink's own tables; no mapping may write to them.
pub const RESERVED: &str = "_millstream_";

/// Most characters in the name of a table or column.
const NAME_MAX: usize = 64;

/// Most columns in a table of InnoDB.
pub const COLUMNS_MAX: usize = 1_017;

/// A name in backticks.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Refuses what MySQL cannot have as a name.
///
/// # Errors
/// [`connector_api::Kind::Config`], saying what is wrong with it.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let wrong = match () {
        () if name.is_empty() => "it is empty",
        () if name.contains('\0') => "it holds a NUL character",
        () if name.chars().count() > NAME_MAX => "it is longer than 64 characters",
        () if name.ends_with(' ') => "it ends in a blank",
        () if name.chars().any(|character| character > '\u{ffff}') => "it holds a character beyond U+FFFF",
        () => return Ok(()),
    };
    Err(Error::config(format!("name {what} {name:?}: {wrong}, and MySQL takes no such name"))
        .with_remedy(format!("give the {what} another name in the rule's `table` or `columns`")))
}

/// Refuses the names of tables that belong to the sink, or that MySQL cannot have.
///
/// # Errors
/// [`connector_api::Kind::Config`].
pub fn check_table_name(name: &str) -> Result<()> {
    check_name("table", name)?;
    let head = name.get(..RESERVED.len()).unwrap_or_default();
    match head.eq_ignore_ascii_case(RESERVED) {
        true => Err(Error::config(format!(
            "name table {name:?}: names that begin with {RESERVED} belong to the sink"
        ))
        .with_remedy("give the rule another `table`")),
        false => Ok(()),
    }
}

/// Appends a text literal.
#[inline]
pub fn put_text(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    let mut plain = true;
    for byte in bytes {
        match byte {
            b'\\' => {
                out.push_str("_utf8mb4 ");
                return put_bytes(out, bytes);
            }
            b'\'' => plain = false,
            _ => {}
        }
    }
    out.push('\'');
    match plain {
        true => out.push_str(text),
        false => {
            for (at, piece) in text.split('\'').enumerate() {
                if at > 0 {
                    out.push_str("''");
                }
                out.push_str(piece);
            }
        }
    }
    out.push('\'');
}

/// Appends a literal of bytes.
pub fn put_bytes(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2 + 3);
    out.push_str("x'");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0')));
        }
    }
    out.push('\'');
}

/// A text literal of its own.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    put_text(&mut out, text);
    out
}

/// Joins with commas.
pub fn list(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_quoted_and_checked() {
        assert_eq!(quote("a`; DROP TABLE x; -- "), "`a``; DROP TABLE x; -- `");
        for name in ["", "a\0b", "ends ", &"x".repeat(65), "smile 😀", "_millstream_cursor", "_MILLSTREAM_x"]
        {
            assert!(check_table_name(name).is_err(), "{name:?}");
        }
        for name in ["users", "a`b", "a.b", "select", "é_millstream", &"é".repeat(64), " x"] {
            assert!(check_table_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn literals() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("''"), "''''''");
        assert_eq!(literal(r"\'; DROP TABLE x"), format!("_utf8mb4 x'5c273b2044524f50205441424c452078'"));
        assert_eq!(literal(""), "''");
    }

    proptest! {
        /// A reader of literals under both meanings of the backslash finds one literal, and the end of it.
        #[test]
        fn a_literal_ends_where_it_should(text in "[a'\\\\\"`\0;é😀-]{0,20}") {
            let literal = literal(&text);
            if let Some(inner) = literal.strip_prefix('\'') {
                prop_assert!(!inner.contains('\\'));
                let inner = inner.strip_suffix('\'').unwrap();
                prop_assert_eq!(inner.replace("''", "").matches('\'').count(), 0);
                prop_assert_eq!(inner.replace("''", "'"), text);
            } else {
                let hex = literal.strip_prefix("_utf8mb4 x'").unwrap().strip_suffix('\'').unwrap();
                prop_assert!(hex.bytes().all(|byte| byte.is_ascii_hexdigit()) && hex.len() == text.len() * 2);
            }
        }
    }
}
