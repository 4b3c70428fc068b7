//! Reading rows back, so that `millstream verify` can compare what a source has with what a sink holds.

use futures_util::future::{BoxFuture, FutureExt};

use crate::erasure::{EachHeld, Step};
use crate::error::{Error, Result};
use crate::finding::Finding;
use crate::schema::Column;
use crate::target::Target;
use crate::value::{Row, Value};

/// Takes one row. An error ends the reading, and is what the reader returns.
pub type Each<'e> = dyn FnMut(Row<'_>) -> Result<()> + Send + 'e;

/// Reads the rows of tables, in any order, on a connection of its own: never the one that applies changes (I10).
///
/// A row holds the values of the target's columns in their order (`Target::columns`), each in the kind that the target's
/// schema gives it, whatever the system keeps it as.
pub trait Rows: Send {
    /// Gives every row of the target's table to `each`, in bounded memory. A table that does not exist has no rows.
    ///
    /// # Errors
    /// When the system cannot be read; what `each` returned.
    fn scan<'a>(&'a mut self, target: &'a Target, each: &'a mut Each<'_>) -> BoxFuture<'a, Result<()>>;

    /// Gives the rows with these keys to `each`; each key is an encoded [`Row`] in key order. A key without a row gives
    /// none.
    ///
    /// # Errors
    /// As [`Rows::scan`].
    fn find<'a>(
        &'a mut self,
        target: &'a Target,
        keys: &'a [Vec<u8>],
        each: &'a mut Each<'_>,
    ) -> BoxFuture<'a, Result<()>>;

    /// Appends what this system keeps of a value, encoded: where a type of the target holds less than the source's (the
    /// documented losses of a sink), both sides are compared after it. Applied twice it changes nothing more.
    fn keep(&self, column: &Column, value: Value<'_>, out: &mut Vec<u8>) -> Result<()> {
        let _ = column;
        value.encode(out);
        Ok(())
    }

    /// Gives the rows that a step finds to `each`, whatever its action is.
    ///
    /// # Errors
    /// As [`Rows::scan`]; [`crate::Kind::Config`] when a column is not there.
    fn held<'a>(&'a mut self, step: &'a Step, each: &'a mut EachHeld<'_>) -> BoxFuture<'a, Result<()>> {
        let _ = (step, each);
        async { Err(cannot("gather what is held of a subject")) }.boxed()
    }

    /// How many rows the step would still act on ([`crate::erasure::Erased::left`]): 0 while an erasure holds.
    ///
    /// # Errors
    /// As [`Rows::held`].
    fn left<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<u64>> {
        let _ = step;
        async { Err(cannot("look whether an erasure holds")) }.boxed()
    }

    /// What is wrong with a step, asked of the system itself: a table or column that is not there, a column that is
    /// set and cannot be, one that rows are found by and that has no index. The step's value is any of its kind.
    ///
    /// # Errors
    /// As [`Rows::scan`].
    fn examine<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<Vec<Finding>>> {
        let _ = step;
        async { Err(cannot("examine an erasure")) }.boxed()
    }
}

fn cannot(what: &str) -> Error {
    Error::config(format!("{what}: sinks of this type cannot"))
}
