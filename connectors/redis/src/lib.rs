//! The Redis sink: rows as hashes or JSON, changes as a stream, or keys of a cache that are made invalid.
//!
//! Everything of one group of source transactions is queued in one `MULTI`, and the cursor is the last command before its
//! `EXEC`: Redis runs all of it or nothing, so that effects are exactly once (I3). What a crash of Redis keeps is what its
//! own persistence keeps; data and cursor go together, and what is missing is applied again from the log.
//!
//! One server (or a primary with replicas); a cluster would spread the keys of one transaction over several servers.

mod check;
mod command;
mod cursor;
mod erase;
mod error;
mod held;
mod hunt;
mod options;
mod plan;
mod rows;
mod script;
mod seek;
mod session;
mod sink;
mod template;

pub use check::check;
pub use erase::REMAINS;
pub use options::{Form, Mode, Options};
pub use rows::rows;
pub use sink::Redis;
