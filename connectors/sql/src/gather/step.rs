//! What [`crate::Gather`] gives back.

use std::sync::Arc;

use connector_api::{Result, Row, Target, TopicPartition, Value};

/// A part of the net effect: one kind of work on one table.
#[derive(Debug, Clone)]
pub struct Step<'g> {
    /// Where it goes, and what its rows mean.
    pub target: &'g Arc<Target>,
    /// What is to be done.
    pub work: Work<'g>,
}

/// What is to be done. Rows hold a value for every column of the target's schema, in its order ([`cells`] picks those of
/// the target); keys hold the values of the key alone, in key order. `columns` are indexes into [`Target::columns`], in
/// ascending order and without the key: the row's other values are not known, or not meant.
#[derive(Debug, Clone)]
pub enum Work<'g> {
    /// Whole rows, one for each key.
    Upsert {
        /// The rows.
        rows: Vec<Row<'g>>,
        /// All that is known says that none of the keys stands in the table (its first change here was an insert or a
        /// snapshot read, or a delete came before it): a plain `COPY` or `INSERT` may be tried first.
        fresh: bool,
    },
    /// Sets some columns of rows, one row for each key. A row that is not there is inserted with its key and `columns`.
    /// Without `columns`, it only sees to it that the row is there.
    Update {
        /// What is set.
        columns: Vec<usize>,
        /// The new values, and the key.
        rows: Vec<Row<'g>>,
    },
    /// Soft deletes: sets some columns of rows that are there, one row for each key.
    Mark {
        /// What is set.
        columns: Vec<usize>,
        /// The new values, and the key.
        rows: Vec<Row<'g>>,
    },
    /// A soft truncate: sets some columns of all rows.
    MarkAll {
        /// What is set.
        columns: Vec<usize>,
        /// The new values.
        row: Row<'g>,
    },
    /// Deletes rows by key.
    Delete {
        /// The keys.
        keys: Vec<Row<'g>>,
    },
    /// A row's key changes, to the one in `row`. A row that already stands under the new key is out of date and makes
    /// way. When the old row is not there, this is an upsert of `row`, or an update when `columns` are not all.
    Move {
        /// The old key.
        old: Row<'g>,
        /// What is set beside the key.
        columns: Vec<usize>,
        /// The new values, and the new key.
        row: Row<'g>,
    },
    /// Deletes all rows.
    Truncate,
    /// For tables without a key: more rows, equal ones included.
    Insert {
        /// The rows.
        rows: Vec<Row<'g>>,
    },
    /// For tables without a key: changes one row, and only one, of those that equal `old`.
    ReplaceRow {
        /// The whole old row.
        old: Row<'g>,
        /// What is set.
        columns: Vec<usize>,
        /// The new values.
        row: Row<'g>,
        /// What happens when no row equals `old`.
        absent: Absent,
    },
    /// For tables without a key: deletes one row, and only one, of those that equal `old`.
    DeleteRow {
        /// The whole old row.
        old: Row<'g>,
    },
}

/// What a change of a row does when the row is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Absent {
    /// The new row, which is whole, is inserted.
    Insert,
    /// The change is refused ([`connector_api::Kind::Data`]): the new row is not known in full.
    Refuse,
    /// Nothing: a soft delete.
    Ignore,
}

/// One operation by itself.
#[derive(Debug, Clone)]
pub struct Single<'g> {
    /// What is to be done, with one row.
    pub step: Step<'g>,
    /// Where it comes from.
    pub topic: &'g TopicPartition,
    /// Its offset there.
    pub offset: u64,
    /// The key of its row after it, as the log encodes it; for a delete, of the row that is gone.
    pub key: Option<&'g [u8]>,
}

/// Reads a row of the target's schema into the values of the target's columns, in their order. The memory of `out` is
/// used again for the next row.
///
/// # Errors
/// [`connector_api::Kind::Corrupt`] when the row does not decode, or is shorter than its schema.
#[inline]
pub fn cells<'g>(row: Row<'g>, target: &Target, out: &mut Vec<Value<'g>>) -> Result<()> {
    out.clear();
    let mut values = row.values();
    let mut next = 0;
    // Nearly always the columns come in the order of the source: then one walk does.
    for (source, _) in &target.columns {
        if *source < next {
            values = row.values();
            next = 0;
        }
        let value = values.nth(source - next).ok_or_else(short)??;
        next = source + 1;
        out.push(value);
    }
    Ok(())
}

#[cold]
pub(super) fn short() -> connector_api::Error {
    connector_api::Error::corrupt("read row: fewer values than its schema has columns")
}
