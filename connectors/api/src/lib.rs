//! What a connector and the service have in common: the data model, and the contracts of sources and sinks.

pub mod error;
pub mod reader;

pub use error::{Error, Kind, Result};
