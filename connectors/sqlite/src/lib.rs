//! The SQLite sink: source transactions applied whole, with the cursor in the same transaction.
//!
//! One connection, one writer. A change becomes one statement that was prepared once for the shape of its table, bound
//! without copying ([`statement`]). The order of calls and what an error means is [`connector_api::Sink`]'s contract.
//!
//! What a crash does: SQLite's WAL with `synchronous=FULL` keeps a committed transaction, data and cursor together, or
//! nothing of it (I3); the next start reads the cursor and goes on from there.

mod apply;
mod bind;
mod catalog;
mod check;
mod cursor;
mod dialect;
mod erase;
mod error;
mod evolve;
mod migrate;
mod options;
mod plan;
mod pragmas;
mod read;
mod rows;
mod scrub;
mod sink;
mod sql;
mod statement;

pub use check::check;
pub use erase::REMAINS;
pub use options::Options;
pub use rows::rows;
pub use sink::Sqlite;

/// A table that a topic is to be written to.
type Wanted<'a> = connector_sql::Wanted<'a, dialect::Lite>;
