//! `millstream schema`.

use std::io::{self, Write};

/// Prints the JSON Schema of the configuration.
///
/// # Errors
/// When `out` cannot be written.
pub fn print(mut out: impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, &crate::config::schema())?;
    writeln!(out)
}
