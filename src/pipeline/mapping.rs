//! Which topics a sink takes, and what their rows become in the target: the configuration's rules, worked out for a
//! shape.

use std::sync::Arc;

use connector_api::pattern::matches;
use connector_api::{Error, Result, Schema, Target};

use crate::log::Subscription;

/// What a sink takes. Rules are tried in order; the first whose topic matches decides, together with all others that
/// name the very same topic.
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

impl Mapping {
    /// What a reader of the log must ask for.
    pub fn subscription(&self) -> Subscription {
        Subscription { patterns: self.rules.iter().map(|rule| rule.topic.clone()).collect() }
    }

    /// The rules for a topic: none when the sink does not take it, several when it goes to several tables.
    pub fn rules(&self, topic: &str) -> impl Iterator<Item = &Rule> {
        let first = self.rules.iter().find(|rule| matches(&rule.topic, topic));
        self.rules.iter().filter(move |rule| first.is_some_and(|first| first.topic == rule.topic))
    }
}

impl Rule {
    /// Works the rule out for one shape of the table.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when a named column does not exist, or a column of the key is left out.
    pub fn target(&self, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<Target> {
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
        let named = self.table.is_some();
        Ok(Target { topic: topic.clone(), schema: schema.clone(), table, named, columns, key })
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
