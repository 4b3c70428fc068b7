//! Options of `type: sqlite`.

use schemars::JsonSchema;
use serde::Deserialize;
use std::path::PathBuf;

/// A SQLite sink.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqliteOptions {
    /// The database file.
    pub path: PathBuf,
}
