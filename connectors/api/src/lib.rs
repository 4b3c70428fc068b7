//! What a connector and the service have in common: the data model, and the contracts of sources and sinks.
//!
//! A source pushes [`Value`]s into a [`BatchBuilder`]; the [`Batch`] it gives is what the log stores and what memory
//! holds, never re-encoded. A reader of the log gets a [`Delivery`], whose records are views; a [`Change`] is what a
//! record of a table means; a [`Sink`] applies it. No vendor's word stands in this crate.

pub mod array;
mod batch;
mod builder;
mod change;
pub mod civil;
mod delivery;
pub mod erasure;
mod error;
mod finding;
mod headers;
pub mod json;
pub mod options;
pub mod pattern;
mod position;
pub mod reader;
pub mod record;
pub mod render;
mod rows;
mod schema;
mod sink;
mod source;
mod target;
#[cfg(feature = "testing")]
pub mod testing;
mod value;
mod watch;

pub use batch::{Batch, Encoding, Section, Transaction, Transactions};
pub use builder::{BatchBuilder, ChangeWriter, Event, Image, RECORD_BYTES_MAX, SectionHandle};
pub use change::{Before, Change, Op};
pub use delivery::{Delivered, Delivery, Merge};
pub use error::{Error, Kind, Result};
pub use finding::{Finding, Severity};
pub use futures_util::future::BoxFuture;
pub use headers::Headers;
pub use position::{Cursor, LogId, Position, TopicPartition};
pub use rows::{Each, Rows};
pub use schema::{Column, Schema};
pub use sink::{Incoming, Refused, Sink};
pub use source::{Original, Originals, Refresh, Refreshed, SnapshotProgress, Source, SourceStatus};
pub use target::Target;
pub use value::{
    DATE_INFINITY, DATE_MINUS_INFINITY, Row, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, Value, ValueKind,
    Values, put_row,
};
pub use watch::{Notice, Seen, Watch};
