//! Which topics a sink takes, and what their rows become in the target.

use crate::error::{Error, Result};
use crate::schema::Schema;

/// What a sink takes. Rules are tried in order; the first whose topic matches decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    /// The rules.
    pub rules: Vec<Rule>,
}

/// What happens to the topics that match one pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A topic, or a pattern in which `*` stands for any run of characters.
    pub topic: String,
    /// The target table; `None` keeps the source table's name.
    pub table: Option<String>,
    /// Source column to target column, in the order wanted; `None` takes all under their own names.
    pub columns: Option<Vec<(String, String)>>,
    /// What a delete does.
    pub on_delete: OnDelete,
}

/// What a delete in the source does in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDelete {
    /// The row is deleted.
    #[default]
    Delete,
    /// The row stays.
    Ignore,
}

/// A rule worked out for one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The target table's name, unquoted.
    pub table: String,
    /// For each target column: the index of its source column, and its name in the target.
    pub columns: Vec<(usize, String)>,
    /// Indexes into `columns` that form the key in the target; empty without a key.
    pub key: Vec<usize>,
    /// What a delete does.
    pub on_delete: OnDelete,
}

impl Mapping {
    /// The rule for a topic, if the sink takes it.
    pub fn rule(&self, topic: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| matches(&rule.topic, topic))
    }
}

impl Rule {
    /// Works the rule out for one shape of the table.
    ///
    /// # Errors
    /// [`crate::Kind::Config`] when a named column does not exist, or a column of the key is left out.
    pub fn target(&self, schema: &Schema) -> Result<Target> {
        let table = self.table.clone().unwrap_or_else(|| schema.table.clone());
        let columns = match &self.columns {
            None => schema.columns.iter().enumerate().map(|(at, column)| (at, column.name.clone())).collect(),
            Some(named) => self.named_columns(named, schema)?,
        };
        let place = |key: &usize| columns.iter().position(|(source, _)| source == key);
        let key: Option<Vec<usize>> = schema.key.iter().map(place).collect();
        let key = key.ok_or_else(|| {
            let names: Vec<_> = schema.key_columns().map(|column| column.name.as_str()).collect();
            Error::config(format!(
                "map {}: the key is ({}), and columns leaves part of it out",
                self.topic,
                names.join(", ")
            ))
            .with_remedy(format!(
                "add every column of the key to columns of the rule for topic {}",
                self.topic
            ))
        })?;
        Ok(Target { table, columns, key, on_delete: self.on_delete })
    }

    fn named_columns(&self, named: &[(String, String)], schema: &Schema) -> Result<Vec<(usize, String)>> {
        let find = |(source, target): &(String, String)| match schema.column(source) {
            Some(index) => Ok((index, target.clone())),
            None => {
                let names: Vec<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
                Err(Error::config(format!(
                    "map {}: no column {source:?} in {}.{}",
                    self.topic, schema.namespace, schema.table
                ))
                .with_remedy(format!("name one of: {}", names.join(", "))))
            }
        };
        named.iter().map(find).collect()
    }
}

/// Whether `name` matches `pattern`, in which `*` stands for any run of characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let mut rest = rest;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        let cases = [
            ("shop.public.users", "shop.public.users", true),
            ("shop.public.users", "shop.public.users2", false),
            ("shop.*", "shop.public.users", true),
            ("shop.*.order*", "shop.public.orders", true),
            ("shop.*.order*", "shop.public.users", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
