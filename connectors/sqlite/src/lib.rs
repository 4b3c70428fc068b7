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
mod ddl;
mod error;
mod evolve;
mod gap;
mod migrate;
mod options;
mod plan;
mod pragmas;
mod rows;
mod sink;
mod sql;
mod statement;

pub use check::check;
pub use options::Options;
pub use rows::rows;
pub use sink::Sqlite;
