//! Headers of an application event: names and bytes, in order, duplicates allowed.

use crate::error::Result;
use crate::reader::{Reader, put_bytes};

/// Encoded headers; each a name and a value, both with a varint length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

impl Headers {
    /// Appends one header.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        put_bytes(&mut self.0, name.as_bytes());
        put_bytes(&mut self.0, value);
    }

    /// The encoded form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the headers of a record.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`] when they do not decode.
    pub fn decode(bytes: &[u8]) -> Result<Vec<(&str, &[u8])>> {
        let mut reader = Reader::new(bytes);
        let mut headers = Vec::new();
        while !reader.is_empty() {
            headers.push((reader.text(), reader.bytes()));
        }
        reader.finish("headers")?;
        Ok(headers)
    }
}
