//! Names come from a peer: each is checked once, and quoted wherever it goes (I12).

use connector_api::{Error, Result, Target};

use crate::dialect::Dialect;

/// How the names of our own tables at a sink begin. No rule may write to them.
pub const RESERVED: &str = "_millstream_";

/// An identifier in quotes, inner quotes doubled.
pub fn quote_with(mark: char, name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    out.push(mark);
    for character in name.chars() {
        if character == mark {
            out.push(mark);
        }
        out.push(character);
    }
    out.push(mark);
    out
}

/// Joins with commas.
pub fn list(parts: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut out = String::new();
    for part in parts {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(part.as_ref());
    }
    out
}

/// Refuses what the system cannot hold, and what is not a rule's to write to.
///
/// # Errors
/// [`connector_api::Kind::Config`], with the line of configuration to change.
pub fn check_target<D: Dialect>(dialect: &D, target: &Target) -> Result<()> {
    let Target { topic, table, columns, .. } = target;
    let (product, most) = (D::PRODUCT, D::COLUMNS_MAX);
    check_table(dialect, target)?;
    if columns.len() > most {
        let count = columns.len();
        return Err(Error::config(format!(
            "map topic {topic}: {count} columns, and {product} allows {most} in a table"
        ))
        .with_remedy(format!("name at most {most} in `columns` of the rule for topic {topic}")));
    }
    for (_, name) in columns {
        check_name(dialect, target, "column", name)?;
    }
    let mut seen = std::collections::HashMap::new();
    for (_, name) in columns {
        let Some(first) = seen.insert(dialect.fold(name), name) else { continue };
        let how = match first == name {
            true => String::new(),
            false => format!(" and {name:?}, which {product} takes for one"),
        };
        return Err(Error::config(format!("map topic {topic}: two columns are named {first:?}{how}"))
            .with_remedy(format!(
                "give one of them another name in `columns` of the rule for topic {topic}"
            )));
    }
    if columns.is_empty() {
        return Err(Error::config(format!("map topic {topic} to table {table:?}: no columns"))
            .with_remedy(format!("take topic {topic} out of the sink's tables")));
    }
    Ok(())
}

fn check_table<D: Dialect>(dialect: &D, target: &Target) -> Result<()> {
    let table = &target.table;
    check_name(dialect, target, "table", table)?;
    let begins =
        |prefix: &&str| table.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    if let Some(prefix) = [RESERVED].iter().chain(D::RESERVED).find(|prefix| begins(prefix)) {
        return Err(Error::config(format!(
            "map topic {} to table {table:?}: names that begin with {prefix} are reserved",
            target.topic
        ))
        .with_remedy(format!("give the rule for topic {} another `table`", target.topic)));
    }
    Ok(())
}

fn check_name<D: Dialect>(dialect: &D, target: &Target, what: &str, name: &str) -> Result<()> {
    match dialect.refuses_name(name) {
        None => Ok(()),
        Some(why) => {
            let topic = &target.topic;
            let setting =
                if what == "table" { "another `table`" } else { "another name for it in `columns`" };
            Err(Error::config(format!("map topic {topic}: {what} {name:?}: {why}"))
                .with_remedy(format!("give the rule for topic {topic} {setting}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quote_with('"', "plain"), r#""plain""#);
        assert_eq!(quote_with('"', r#"a"b; DROP TABLE x; --"#), r#""a""b; DROP TABLE x; --""#);
        assert_eq!(quote_with('`', "a`\"b"), "`a``\"b`");
        assert_eq!(quote_with('"', ""), r#""""#);
    }
}
