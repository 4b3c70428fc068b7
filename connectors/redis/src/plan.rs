//! What the rows of one target need to become keys: worked out once, then used for every change.

use std::collections::HashMap;
use std::sync::Arc;

use connector_api::json::put_string;
use connector_api::{Error, Result, Target};

use crate::options::{Form, Mode, Options};
use crate::template::{KeyName, Template};

/// The names that one target's rows need.
#[derive(Debug)]
pub struct Plan {
    /// Where its rows go; held so that its address stays its own.
    pub target: Arc<Target>,
    /// The key of a row.
    pub name: KeyName,
    /// The stream of the target's changes.
    pub stream: String,
    /// For each target column its name as a field; as a piece of JSON when rows are kept so.
    pub fields: Vec<String>,
}

impl Plan {
    /// Works a plan out.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when the options do not fit the target.
    pub fn new(options: &Options, target: &Arc<Target>) -> Result<Plan> {
        let parse = |text: &str| Template::parse(text).map_err(Error::config);
        if target.key.is_empty() && options.mode != Mode::Stream {
            return Err(Error::config(format!(
                "map topic {}: table {:?} has no key, and a row without one has no place in Redis",
                target.topic, target.table
            ))
            .with_remedy("give the source table a primary key, or use `mode: stream` for this sink"));
        }
        let name = match options.mode {
            Mode::Stream => Template::parse("{table}:{key}").map_err(Error::config)?.resolve(target)?,
            Mode::Rows | Mode::Invalidate => parse(&options.key)?.resolve(target)?,
        };
        let field =
            |(_, name): &(usize, String)| match options.mode == Mode::Rows && options.value == Form::Hash {
                true => name.clone(),
                false => {
                    let mut quoted = String::new();
                    put_string(&mut quoted, name);
                    quoted
                }
            };
        Ok(Plan {
            target: target.clone(),
            name,
            stream: parse(&options.stream)?.resolve(target)?.of(&[])?,
            fields: target.columns.iter().map(field).collect(),
        })
    }
}

/// The plans of a session, by the addresses of their targets.
#[derive(Debug, Default)]
pub struct Plans {
    list: Vec<Arc<Plan>>,
    index: HashMap<usize, usize>,
}

impl Plans {
    /// Those that are known so far.
    pub fn known(&self) -> &[Arc<Plan>] {
        &self.list
    }

    /// The plan for a target.
    ///
    /// # Errors
    /// As [`Plan::new`]; also when two targets would write the same keys.
    pub fn find(&mut self, options: &Options, target: &Arc<Target>) -> Result<Arc<Plan>> {
        let address = Arc::as_ptr(target) as usize;
        if let Some(plan) = self.index.get(&address).and_then(|at| self.list.get(*at)) {
            return Ok(plan.clone());
        }
        let plan = Plan::new(options, target)?;
        let same = |other: &&Arc<Plan>| {
            other.target.topic != target.topic
                && other.name == plan.name
                && options.mode == Mode::Rows
                && !(other.target.named && target.named)
        };
        if let Some(other) = self.list.iter().find(same) {
            return Err(Error::config(format!(
                "map topic {}: its rows would have the same keys as those of topic {}",
                target.topic, other.target.topic
            ))
            .with_remedy("write {table} in the option key of this sink"));
        }
        self.list.push(Arc::new(plan));
        self.index.insert(address, self.list.len() - 1);
        self.list.last().cloned().ok_or_else(|| Error::config("map topic: no plan"))
    }
}
