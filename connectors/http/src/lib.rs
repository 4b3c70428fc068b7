//! The webhook sink: changes as HTTP requests, in order per key.
//!
//! **At least once.** An endpoint cannot keep a cursor, so the log's own one is used, which is written after the endpoint
//! has answered (I3): after a crash, a lost answer or a failed flush the same events are sent again, with the same ids.
//! `docs/WEBHOOKS.md` says what a receiver sees and must do.
//!
//! `apply` renders a change into memory, [`queue`]; `flush` sends all of it, [`flush`](mod@flush): calls side by side for
//! keys that have nothing to do with each other, one after the other for each key.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod address;
mod answer;
mod breaker;
mod check;
mod client;
mod erase;
mod event;
mod flush;
mod options;
mod pace;
mod queue;
mod schedule;
mod sign;
mod sink;

pub use check::check;
pub use erase::REMAINS;
pub use options::{Batch, Format, Method, Options, Retry};
pub use sink::Http;
