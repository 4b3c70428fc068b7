//! Arrays of any number of dimensions, with the lower bounds that Postgres keeps.
//!
//! Encoding: varint number of dimensions; for each a varint length and a zigzag lower bound; then the elements,
//! tagged, in row-major order. Zero dimensions is the empty array.

use crate::error::{Error, Result};
use crate::reader::{Reader, put_varint, put_zigzag};
use crate::value::Value;

/// Most dimensions an array may have, as in Postgres (`MAXDIM`).
pub const MAX_DIMENSIONS: usize = 6;

/// One dimension: how many elements, and the index of the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimension {
    /// Number of elements.
    pub len: u32,
    /// Index of the first element; 1 unless the source said otherwise.
    pub lower: i32,
}

/// A view over an encoded array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array<'a> {
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// A view; nothing is checked before [`Array::open`].
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Array { bytes }
    }

    /// The encoded array.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The dimensions, and the elements in row-major order.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`] when the head does not decode or claims more elements than there are bytes.
    pub fn open(&self) -> Result<(Vec<Dimension>, Elements<'a>)> {
        let mut reader = Reader::new(self.bytes);
        let count = reader.varint() as usize;
        if count > MAX_DIMENSIONS {
            return Err(Error::corrupt(format!("decode array: {count} dimensions")));
        }
        let mut dimensions = Vec::with_capacity(count);
        let mut elements = if count == 0 { 0 } else { 1u64 };
        for _ in 0..count {
            let len = reader.varint32();
            let lower = reader.zigzag() as i32;
            elements = elements.saturating_mul(u64::from(len));
            dimensions.push(Dimension { len, lower });
        }
        reader.check("array")?;
        if dimensions.iter().any(|dimension| dimension.len == 0) {
            return Err(Error::corrupt("decode array: a dimension without elements"));
        }
        if elements > reader.rest().len() as u64 {
            return Err(Error::corrupt(format!(
                "decode array: {elements} elements in {} bytes",
                reader.rest().len()
            )));
        }
        Ok((dimensions, Elements { reader, left: elements }))
    }
}

/// Iterator over the elements of an [`Array`].
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Value<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let value = Value::decode(&mut self.reader);
        if self.reader.is_bad() {
            self.left = 0;
            return Some(Err(Error::corrupt("decode array element: truncated or malformed")));
        }
        Some(Ok(value))
    }
}

/// Appends the head of an array; the elements follow, each by [`Value::encode`].
pub fn put_array_head(out: &mut Vec<u8>, dimensions: &[Dimension]) {
    put_varint(out, dimensions.len() as u64);
    for dimension in dimensions {
        put_varint(out, u64::from(dimension.len));
        put_zigzag(out, i64::from(dimension.lower));
    }
}
