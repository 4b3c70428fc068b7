//! Millstream.

pub mod log;
pub mod pipeline;
