//! The command line.

pub mod args;
pub mod completions;
pub mod schema;
