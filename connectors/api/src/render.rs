//! Changes as JSON, for people and for peers that speak nothing else: made at the edge of the data path, and written
//! straight into the caller's buffer.
//!
//! What is written is always UTF-8 and one line.

pub mod debezium;
mod object;
pub mod plain;
mod view;

use serde_json::Value as Json;

use crate::batch::Transaction;
use crate::change::{Change, Op};
use crate::position::TopicPartition;
use crate::sink::Incoming;

pub use object::{Object, put_text};
pub use view::View;

/// What a renderer must be told because the log does not know it.
#[derive(Debug, Clone, Default)]
pub struct SourceInfo {
    /// The field's name of the connector.
    pub connector: &'static str,
    /// The database.
    pub database: String,
    /// Reads the connector's own position of a transaction into fields of the `source` block.
    pub position: Option<DescribePosition>,
}

/// Fields of the `source` block, from the position of a transaction.
pub type DescribePosition = fn(&[u8]) -> Vec<(&'static str, Json)>;

/// One change, and what surrounds it.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Where it comes from.
    pub topic: &'a TopicPartition,
    /// The source transaction it belongs to.
    pub transaction: Transaction<'a>,
    /// The change.
    pub change: &'a Change<'a>,
    /// Which columns are shown, and under which names.
    pub view: View<'a>,
}

impl<'a> Event<'a> {
    /// A change as a sink gets it: the target's columns under the target's names.
    pub fn of(incoming: &'a Incoming<'a>) -> Event<'a> {
        Event {
            topic: incoming.topic,
            transaction: incoming.transaction,
            change: &incoming.change,
            view: View::Target(incoming.target),
        }
    }

    /// What happened to the row that a reader keeps: a delete that leaves the row, with some of its columns set, is an
    /// update to it.
    pub fn op(&self) -> Op {
        match self.change.op {
            Op::Delete if self.change.after.is_some() => Op::Update,
            op => op,
        }
    }
}

#[cfg(test)]
mod tests;
