//! Reading rows back, so that `millstream verify` can compare what a source has with what a sink holds.

use futures_util::future::BoxFuture;

use crate::error::Result;
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
}
