//! What the rows of one topic become in one table of a sink.

use std::sync::Arc;

use crate::schema::{Column, Schema};

/// A rule of the configuration worked out for one shape of one topic. The deliver loop makes it and gives it with every
/// change; the same topic in the same shape always comes with the same `Arc`, so that a sink may know it by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The topic that the rows come from.
    pub topic: Arc<str>,
    /// The shape of the rows as they come to the sink: the source's own, or the one that expressions made of it.
    pub schema: Arc<Schema>,
    /// The target table's name, unquoted.
    pub table: String,
    /// The configuration names the table, so that several topics may be written to it; else it is the source table's.
    pub named: bool,
    /// For each target column: the index of its column in `schema`, and its name in the target.
    pub columns: Vec<(usize, String)>,
    /// Indexes into `columns` that form the key in the target, in the order of `schema.key`; empty without a key.
    pub key: Vec<usize>,
}

impl Target {
    /// Everything of a topic, under the source's names.
    pub fn whole(topic: &Arc<str>, schema: &Arc<Schema>) -> Target {
        let name = |(at, column): (usize, &Column)| (at, column.name.clone());
        Target {
            topic: topic.clone(),
            schema: schema.clone(),
            table: schema.table.clone(),
            named: false,
            columns: schema.columns.iter().enumerate().map(name).collect(),
            key: schema.key.clone(),
        }
    }

    /// The column of `schema` behind a target column.
    pub fn column(&self, at: usize) -> Option<&Column> {
        self.columns.get(at).and_then(|(source, _)| self.schema.columns.get(*source))
    }

    /// Name of a target column, unquoted; empty when there is none.
    pub fn name(&self, at: usize) -> &str {
        self.columns.get(at).map_or("", |(_, name)| name.as_str())
    }

    /// Names of the key in the target, unquoted, in key order.
    pub fn key_names(&self) -> Vec<&str> {
        self.key.iter().map(|at| self.name(*at)).collect()
    }
}
