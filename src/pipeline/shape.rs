//! From the source's rows to the target's: every record that a sink takes, in the shape of each table it goes to.
//!
//! Sinks know nothing of rules. A row that a rule only projects and renames passes as it is: its [`Target`] says which
//! columns count.

use std::collections::HashMap;
use std::sync::Arc;

use connector_api::{Change, Error, Incoming, Op, Result, Schema, Sink, Target, TopicPartition, Transaction};

use crate::pipeline::mapping::{Mapping, OnDelete, Rule};

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
    on_delete: OnDelete,
}

fn address(topic: &Arc<str>, schema: &Arc<Schema>) -> (usize, usize) {
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
    /// [`connector_api::Kind::Config`] when a rule does not fit the shape of the topic; what the sink returned.
    #[inline]
    pub fn apply(&mut self, captured: &Captured<'_>, sink: &mut dyn Sink) -> Result<()> {
        let Captured { topic, transaction, change } = *captured;
        let at = self.find(&topic.topic, change.schema)?;
        let Some(route) = self.routes.get(at) else { return Ok(()) };
        for shape in &route.shapes {
            let removes = matches!(change.op, Op::Delete | Op::Truncate);
            if removes && shape.on_delete == OnDelete::Ignore {
                continue;
            }
            sink.apply(&Incoming { topic, transaction, change, target: &shape.target })?;
        }
        Ok(())
    }

    /// Whether a truncate of the topic leaves rows in the target.
    pub fn keeps_rows(&self, topic: &str) -> bool {
        self.mapping.rules(topic).any(|rule| rule.on_delete != OnDelete::Delete)
    }

    /// What becomes of a topic, worked out for its shape; for `check`.
    ///
    /// # Errors
    /// As [`Shaper::shape`].
    pub fn targets(&mut self, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<Vec<Arc<Target>>> {
        let at = self.find(topic, schema)?;
        let shapes = self.routes.get(at).map_or(&[][..], |route| &route.shapes);
        Ok(shapes.iter().map(|shape| shape.target.clone()).collect())
    }

    #[inline]
    fn find(&mut self, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<usize> {
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
    fn find_by_value(&mut self, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<usize> {
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

    fn work_out(&self, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<Vec<Shape>> {
        let shape = |rule: &Rule| {
            let target = rule.target(topic, schema)?;
            let all = self.routes.iter().flat_map(|route| &route.shapes);
            let shared = all.map(|shape| &shape.target).find(|other| {
                other.topic != *topic
                    && other.table.eq_ignore_ascii_case(&target.table)
                    && !(other.named && target.named)
            });
            match shared {
                Some(other) => Err(shared_table(&target, &other.topic)),
                None => Ok(Shape { target: Arc::new(target), on_delete: rule.on_delete }),
            }
        };
        let shapes: Vec<_> = self.mapping.rules(topic).map(shape).collect::<Result<_>>()?;
        if shapes.is_empty() {
            return Err(Error::config(format!("apply change: no rule takes topic {topic}")));
        }
        Ok(shapes)
    }
}

/// Two topics that would be written to one table without anybody having said so.
fn shared_table(target: &Target, other: &str) -> Error {
    let Target { topic, table, .. } = target;
    Error::config(format!("map topic {topic}: topic {other} is already written to table {table:?}"))
        .with_remedy(format!(
            "give the rules for {topic} and {other} each a `table` (the same one, to merge them)"
        ))
}
