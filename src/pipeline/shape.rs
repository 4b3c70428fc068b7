//! From the source's rows to the target's: every record that a sink takes, in the shape of each table it goes to.
//!
//! Sinks know nothing of rules. A row that a rule only projects and renames passes as it is: its [`Target`] says which
//! columns count. A row that a rule selects, computes, gives another key or marks is written anew, in the target's own
//! shape: [`reshape`].

mod image;
mod reshape;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use connector_api::{Change, Error, Incoming, Op, Result, Schema, Sink, Target, TopicPartition, Transaction};

use crate::pipeline::mapping::fit::{Fit, fit};
use crate::pipeline::mapping::{Mapping, Misfit, OnDelete};

use reshape::Reshape;

/// A change as the log has it, in the source's shape.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// Where it comes from.
    pub topic: &'a TopicPartition,
    /// The source transaction it belongs to.
    pub transaction: Transaction<'a>,
    /// The change.
    pub change: Change<'a>,
}

/// Shapes changes by the rules of one sink.
#[derive(Debug)]
pub struct Shaper {
    mapping: Mapping,
    routes: Vec<Route>,
    /// By the addresses of topic and shape. The routes hold both, so that no address can come to mean another.
    index: HashMap<(usize, usize), usize>,
    last: usize,
}

/// Where the rows of one topic in one shape go.
#[derive(Debug)]
struct Route {
    topic: Arc<str>,
    schema: Arc<Schema>,
    shapes: Vec<Shape>,
}

/// One table that the rows go to.
#[derive(Debug)]
struct Shape {
    target: Arc<Target>,
    /// Deletes are passed over.
    ignores_deletes: bool,
    /// Other topics are written to the same table.
    shared: bool,
    /// `None`: rows pass as they are.
    reshape: Option<Box<Reshape>>,
}

/// Knows a topic in a shape again, for as long as both are held.
pub(crate) fn address(topic: &Arc<str>, schema: &Arc<Schema>) -> (usize, usize) {
    (topic.as_ptr() as usize, Arc::as_ptr(schema) as usize)
}

impl Shaper {
    /// By these rules.
    pub fn new(mapping: Mapping) -> Self {
        Shaper { mapping, routes: Vec::new(), index: HashMap::new(), last: 0 }
    }

    /// Applies the change as each target table takes it: not at all, once, or once for each of several.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when a rule does not fit the shape of the topic, or the source sends too little of
    /// old rows for it; [`connector_api::Kind::Data`] when an expression cannot be worked out for this row; what the sink
    /// returned.
    #[inline]
    pub fn apply(&mut self, captured: &Captured<'_>, sink: &mut dyn Sink) -> Result<()> {
        let Captured { topic, transaction, change } = *captured;
        let at = self.find(&topic.topic, change.schema)?;
        let Some(route) = self.routes.get_mut(at) else { return Ok(()) };
        let mut refused = Ok(());
        for shape in &mut route.shapes {
            if change.op == Op::Truncate && shape.shared && !shape.ignores_deletes {
                refused = Err(truncate_shared(captured, &shape.target));
                continue;
            }
            if let Some(reshape) = &mut shape.reshape {
                reshape.apply(captured, &shape.target, sink)?;
                continue;
            }
            let removes = matches!(change.op, Op::Delete | Op::Truncate);
            if removes && shape.ignores_deletes {
                continue;
            }
            sink.apply(&Incoming { topic, transaction, change, target: &shape.target })?;
        }
        refused
    }

    /// Whether a truncate of the topic leaves rows in the target.
    pub fn keeps_rows(&self, topic: &str) -> bool {
        self.mapping
            .rules(topic)
            .any(|(_, rule)| rule.on_delete != OnDelete::Delete || self.mapping.is_shared(rule))
    }

    /// What becomes of a topic, worked out for its shape; for `check`.
    ///
    /// # Errors
    /// What does not fit, with its place in the configuration.
    pub fn targets(&mut self, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<Vec<Arc<Target>>, Misfit> {
        let at = self.find(topic, schema)?;
        let shapes = self.routes.get(at).map_or(&[][..], |route| &route.shapes);
        Ok(shapes.iter().map(|shape| shape.target.clone()).collect())
    }

    /// The tables, of those that a topic goes to, in which rows are found only by whole old rows; for `check`.
    pub fn needs_old_rows<'s>(&'s self, topic: &'s str) -> impl Iterator<Item = &'s str> {
        let routes = self.routes.iter().filter(move |route| &*route.topic == topic);
        let needs = |shape: &&Shape| shape.reshape.as_ref().is_some_and(|reshape| reshape.needs_old_rows());
        routes.flat_map(|route| &route.shapes).filter(needs).map(|shape| shape.target.table.as_str())
    }

    #[inline]
    fn find(&mut self, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<usize, Misfit> {
        if let Some(route) = self.routes.get(self.last)
            && Arc::ptr_eq(&route.schema, schema)
            && Arc::ptr_eq(&route.topic, topic)
        {
            return Ok(self.last);
        }
        self.last = match self.index.get(&address(topic, schema)) {
            Some(at) => *at,
            None => self.find_by_value(topic, schema)?,
        };
        Ok(self.last)
    }

    /// The same topic and shape, decoded another time; or a new one.
    #[cold]
    fn find_by_value(&mut self, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<usize, Misfit> {
        let known = self.routes.iter().position(|route| route.topic == *topic && route.schema == *schema);
        let at = match known {
            Some(at) => {
                let route = &mut self.routes[at];
                self.index.remove(&address(&route.topic, &route.schema));
                (route.topic, route.schema) = (topic.clone(), schema.clone());
                at
            }
            None => {
                let shapes = self.work_out(topic, schema)?;
                self.routes.push(Route { topic: topic.clone(), schema: schema.clone(), shapes });
                self.routes.len() - 1
            }
        };
        self.index.insert(address(topic, schema), at);
        Ok(at)
    }

    fn work_out(&self, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<Vec<Shape>, Misfit> {
        let mut shapes: Vec<Shape> = Vec::new();
        for (at, rule) in self.mapping.rules(topic) {
            let Fit { target, plan } = fit(&self.mapping, at, topic, schema)?;
            let all = self.routes.iter().flat_map(|route| &route.shapes);
            let taken = all.map(|shape| &shape.target).find(|other| {
                other.topic != *topic
                    && other.table.eq_ignore_ascii_case(&target.table)
                    && !(other.named && target.named)
            });
            if let Some(other) = taken {
                return Err(Misfit {
                    rule: at,
                    path: vec!["table".to_owned()],
                    place: None,
                    error: shared_table(&target, &other.topic),
                });
            }
            let ignores_deletes = rule.on_delete == OnDelete::Ignore;
            let reshape = plan.map(|plan| Box::new(Reshape::new(plan, ignores_deletes, schema, &target)));
            let shared = self.mapping.is_shared(rule);
            shapes.push(Shape { target: Arc::new(target), ignores_deletes, shared, reshape });
        }
        if shapes.is_empty() {
            let error = Error::config(format!("apply change: no rule takes topic {topic}"));
            return Err(Misfit { rule: 0, path: Vec::new(), place: None, error });
        }
        Ok(shapes)
    }
}

/// The statement that makes a source send whole old rows of a table.
pub fn whole_old_rows(schema: &Schema) -> String {
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("ALTER TABLE {}.{} REPLICA IDENTITY FULL;", quote(&schema.namespace), quote(&schema.table))
}

/// The rows of the other topics would go with it. What to do about the topic's own rows is for a person to decide.
#[cold]
fn truncate_shared(captured: &Captured<'_>, target: &Target) -> Error {
    let (topic, table) = (&captured.topic.topic, &target.table);
    // A copy belongs to no source transaction. When it begins again, it writes every row again that is still there.
    let what = match captured.transaction.id {
        0 => {
            "its copy was interrupted and began again; rows that the source deleted in between are still there"
        }
        _ => "the source truncated it, and its rows are still there",
    };
    Error::data(format!("map {topic}: other topics are written to table {table:?}, so it is not emptied: {what}"))
        .with_remedy(format!(
            "delete the rows of {topic} from table {table:?} that the source no longer has, then drop this dead letter"
        ))
}

/// Two topics that would be written to one table without anybody having said so.
fn shared_table(target: &Target, other: &str) -> Error {
    let Target { topic, table, .. } = target;
    Error::config(format!("map topic {topic}: topic {other} is already written to table {table:?}"))
        .with_remedy(format!(
            "give the rules for {topic} and {other} each a `table` (the same one, to merge them)"
        ))
}
