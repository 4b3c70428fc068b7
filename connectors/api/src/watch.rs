//! Looking at changes on their way into a batch, before they count.
//!
//! What has to be decided in the source's own order, and be as durable as the change itself, is decided here: that a
//! deleted row opens an erasure, and that an erased row does not come back (I11).

use std::fmt::Debug;
use std::sync::Arc;

use crate::change::Change;
use crate::error::Result;
use crate::schema::Schema;

/// Looks at the changes of the topics that it asks for.
pub trait Watch: Send + Debug {
    /// Whether it wants to see the changes of a topic in this shape. Asked once for each section of each batch.
    fn wants(&mut self, topic: &Arc<str>, schema: &Arc<Schema>) -> bool;

    /// Sees a change that is whole and does not count yet. The second half of a key change, a tombstone, is not shown:
    /// what is said of the update holds for it.
    ///
    /// # Errors
    /// The change is left out, and the source fails.
    fn see(&mut self, topic: &Arc<str>, change: &Change<'_>) -> Result<Seen>;
}

/// What becomes of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It counts.
    Keep,
    /// It leaves no trace.
    Drop,
    /// It counts, a delete, and says no more than the key.
    Strip,
    /// It counts, and this event stands before it in the same transaction.
    After(Notice),
}

/// An event that a [`Watch`] puts into the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}
