//! A record as the log sees it: offset, key, tombstone, value. What the value means is [`crate::Change`]'s business.
//!
//! Layout of one record inside a section's payload (integers little-endian):
//!
//! ```text
//! u32 length of what follows | u8 attributes | varint offset - previous offset | varint order - previous order
//! [varint length, headers]   | u32 value length | value | key (the rest, when the record has one)
//! ```
//!
//! The key comes last because a source knows the row first; lengths are fixed-width where they are patched.

use crate::error::{Error, Result};
use crate::reader::Reader;

/// Facts about a record that the log may act on without reading its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub u8);

impl Attributes {
    /// The record has a key.
    pub const KEY: u8 = 1;
    /// The key's row is gone: compaction forgets older records of the key, and in the end this one.
    pub const TOMBSTONE: u8 = 1 << 1;
    /// The record does not stand alone (it holds unchanged values): compaction keeps older records of its key back to
    /// the newest one that does.
    pub const PARTIAL: u8 = 1 << 2;
    /// A tombstone whose row lives on under another key, by a record that is partial: compaction keeps older records of
    /// this key, because that other record still needs them.
    pub const MOVED: u8 = 1 << 3;
    /// Everything older in the topic-partition is void (a truncate).
    pub const CLEAR: u8 = 1 << 4;
    /// The record has headers.
    pub const HEADERS: u8 = 1 << 5;
    const KNOWN: u8 = (1 << 6) - 1;

    /// True when every bit of `bits` is set.
    #[inline]
    pub fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }
}

/// A view over one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Place in its topic-partition.
    pub offset: u64,
    /// Place in its batch, across all sections: the source's own order.
    pub order: u32,
    /// What the log may know.
    pub attributes: Attributes,
    /// Headers, as [`crate::Headers`] encodes them; empty when there are none.
    pub headers: &'a [u8],
    /// The value; empty together with [`Attributes::TOMBSTONE`] is a null value.
    pub value: &'a [u8],
    /// The key.
    pub key: Option<&'a [u8]>,
}

impl Record<'_> {
    /// True for a null value: the record says only that its key is gone.
    pub fn is_null(&self) -> bool {
        self.value.is_empty() && self.attributes.has(Attributes::TOMBSTONE)
    }
}

/// Where the next record of a section continues counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset that a delta counts from.
    pub offset: u64,
    /// Order that a delta counts from.
    pub order: u32,
}

/// Iterator over the records of one section's payload.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    reader: Reader<'a>,
    place: Place,
}

impl<'a> Records<'a> {
    /// The records of `payload`, whose section begins at offset `base`.
    pub fn new(payload: &'a [u8], base: u64) -> Self {
        Records { reader: Reader::new(payload), place: Place { offset: base, order: 0 } }
    }

    #[inline]
    fn decode(&mut self) -> Result<Record<'a>> {
        let length = self.reader.u32() as usize;
        let mut body = Reader::new(self.reader.take(length));
        let attributes = Attributes(body.u8());
        let offset = self.place.offset.checked_add(body.varint());
        let order = self.place.order.checked_add(body.varint32());
        let headers = if attributes.has(Attributes::HEADERS) { body.bytes() } else { &[] };
        let value_len = body.u32() as usize;
        let value = body.take(value_len);
        let key = attributes.has(Attributes::KEY).then(|| body.rest());
        let sound = attributes.0 & !Attributes::KNOWN == 0 && !body.is_bad() && !self.reader.is_bad();
        match (offset, order) {
            (Some(offset), Some(order)) if sound => {
                self.place = Place { offset, order };
                Ok(Record { offset, order, attributes, headers, value, key })
            }
            _ => {
                self.reader.poison();
                Err(Error::corrupt(format!("decode record after offset {}", self.place.offset)))
            }
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        Some(self.decode())
    }
}

/// Appends a whole record; `after` is where the previous one of the section stood (its offset and order, or the
/// section's base offset and zero). Used by application events and by cleaning; sources write through
/// [`crate::BatchBuilder`].
pub fn put_record(out: &mut Vec<u8>, record: &Record<'_>, after: Place) {
    use crate::reader::{put_bytes, put_varint};
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(record.attributes.0);
    put_varint(out, record.offset.saturating_sub(after.offset));
    put_varint(out, u64::from(record.order.saturating_sub(after.order)));
    if record.attributes.has(Attributes::HEADERS) {
        put_bytes(out, record.headers);
    }
    out.extend_from_slice(&(record.value.len() as u32).to_le_bytes());
    out.extend_from_slice(record.value);
    if let Some(key) = record.key {
        out.extend_from_slice(key);
    }
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}
