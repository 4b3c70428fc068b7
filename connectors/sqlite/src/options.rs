//! What the configuration says about a SQLite sink.

use std::path::PathBuf;

use connector_api::options::Size;
use connector_api::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A SQLite sink, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The database file. It is created when it is missing; its folder must exist.
    pub path: PathBuf,
    /// Whether target tables are created, and extended when the source gains columns. When false, a missing table or
    /// column is an error that says which statement to run.
    #[serde(skip, default = "yes")]
    pub create_tables: bool,
    /// Whether the sink is part of an erasure: deleted rows are overwritten then, from the start, because a value that an
    /// update replaced leaves its bytes, too.
    #[serde(skip)]
    pub erases: bool,
    /// Whether SQLite enforces the foreign keys that the target's own tables declare. Off, because the tables of one
    /// source may be mapped in part; with it on, a violation that shows at commit stops the sink.
    #[serde(default)]
    pub foreign_keys: bool,
    /// Memory for pages of the database, such as `256MiB`. Random updates of a table larger than this read the disk.
    #[serde(default = "cache_size")]
    pub cache_size: Size,
}

impl Options {
    /// The defaults, for a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Options {
            path: path.into(),
            create_tables: true,
            erases: false,
            foreign_keys: false,
            cache_size: cache_size(),
        }
    }

    /// Checks what can be checked without the database.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`], naming the option.
    pub fn check(&self, _sink: &str) -> Result<()> {
        if self.path.as_os_str().is_empty() {
            return Err(Error::config("check option path: it is empty"));
        }
        if !(Size::mib(1)..=Size::gib(64)).contains(&self.cache_size) {
            return Err(Error::config("check option cache_size: between 1MiB and 64GiB"));
        }
        Ok(())
    }
}

fn yes() -> bool {
    true
}

fn cache_size() -> Size {
    Size::mib(32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_come_with_the_path_alone() {
        let read: Options = serde_json::from_str(r#"{"path": "a.db"}"#).unwrap();
        assert_eq!(read, Options::new("a.db"));
        let read: Options = serde_json::from_str(r#"{"path": "a.db", "cache_size": "256MiB"}"#).unwrap();
        assert_eq!(read.cache_size.bytes(), 256 << 20);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = serde_json::from_str::<Options>(r#"{"path": "a.db", "cash": 1}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `cash`"), "{error}");
    }
}
