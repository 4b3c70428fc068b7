//! Options of `type: sqlite`.

use connector_api::{Error, Result};
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

impl SqliteOptions {
    /// Checks what can be checked without the database.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`], naming the option.
    pub fn check(&self, _sink: &str) -> Result<()> {
        if self.path.as_os_str().is_empty() {
            return Err(Error::config("check option path: it is empty"));
        }
        Ok(())
    }
}
