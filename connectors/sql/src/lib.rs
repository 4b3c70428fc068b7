//! What sinks that speak SQL have in common. Nothing here does I/O: it takes what a sink read and gives back what the sink is
//! to run, so that it serves drivers that block and drivers that do not.
//!
//! - [`gather`]: changes worked out to their net effect per key, for sinks that send many rows in one statement.
//! - [`dialect`]: what one system's SQL looks like; everything below is written in terms of it.
//! - [`catalog`], [`ddl`], [`gap`], [`evolve`]: a target table as it is, as a topic needs it, what lies between, and what to
//!   do about it: in words for `check` and for errors alike.
//! - [`erase`]: the statements that erase what a table holds of one person.
//! - [`names`]: what may be written to, and under which names.
//! - [`cursor`], [`migrate`]: the bookkeeping in the target.

pub mod catalog;
pub mod cursor;
pub mod ddl;
pub mod dialect;
pub mod erase;
pub mod evolve;
pub mod gap;
pub mod gather;
pub mod migrate;
pub mod names;

pub use catalog::{Object, Table, TableColumn};
pub use cursor::Stored;
pub use ddl::Wanted;
pub use dialect::Dialect;
pub use evolve::Action;
pub use gap::{Codes, Flaw, Gap, Rights};
pub use gather::{Absent, Gather, Refusals, Single, Step, Work};
pub use migrate::Migration;
