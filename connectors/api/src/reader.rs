//! Decoding of bytes that a disk or a peer gave us: a reader that goes bad once and is asked once.
//!
//! Every read checks its length first; after the first short or malformed read all further reads return
//! zero values, so that parsers stay straight lines, and [`Reader::finish`] reports the one error (I12).

use crate::error::{Error, Result};

/// Reads little-endian numbers, varints and byte strings from a slice, without allocation.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    bad: bool,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, bad: false }
    }

    /// What has not been read; empty once the reader is bad.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// True when nothing is left to read, also because the reader went bad.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// True after a read that the bytes could not satisfy.
    pub fn is_bad(&self) -> bool {
        self.bad
    }

    /// Makes the reader bad: the caller met a value that cannot be.
    pub fn poison(&mut self) {
        self.bad = true;
        self.bytes = &[];
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        match self.bytes.split_at_checked(len) {
            Some((head, tail)) => {
                self.bytes = tail;
                head
            }
            None => {
                self.poison();
                &[]
            }
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> [u8; N] {
        match self.bytes.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.bytes = tail;
                *head
            }
            None => {
                self.poison();
                [0; N]
            }
        }
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Four bytes, little-endian.
    #[inline]
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Eight bytes, little-endian.
    #[inline]
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Eight bytes, little-endian, signed.
    #[inline]
    pub fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.array())
    }

    /// Sixteen bytes as they are.
    #[inline]
    pub fn bytes16(&mut self) -> [u8; 16] {
        self.array()
    }

    /// LEB128, at most ten bytes; an overlong or overflowing one is bad.
    #[inline]
    pub fn varint(&mut self) -> u64 {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8();
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        self.poison();
        0
    }

    /// A varint that must fit in 32 bits.
    #[inline]
    pub fn varint32(&mut self) -> u32 {
        let value = self.varint();
        u32::try_from(value).unwrap_or_else(|_| {
            self.poison();
            0
        })
    }

    /// A zigzag varint.
    #[inline]
    pub fn zigzag(&mut self) -> i64 {
        let raw = self.varint();
        ((raw >> 1) as i64) ^ -((raw & 1) as i64)
    }

    /// A varint length and that many bytes.
    #[inline]
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = self.varint();
        match usize::try_from(len) {
            Ok(len) => self.take(len),
            Err(_) => {
                self.poison();
                &[]
            }
        }
    }

    /// A varint length and that many bytes of UTF-8.
    #[inline]
    pub fn text(&mut self) -> &'a str {
        match std::str::from_utf8(self.bytes()) {
            Ok(text) => text,
            Err(_) => {
                self.poison();
                ""
            }
        }
    }

    /// The one check at the end: everything that was read was there, and nothing is left over.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`], naming `what` was being decoded.
    pub fn finish(self, what: &str) -> Result<()> {
        self.check(what)?;
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(Error::corrupt(format!("decode {what}: {} bytes too many", self.bytes.len())))
    }

    /// Like [`Reader::finish`], but bytes may be left over.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`], naming `what` was being decoded.
    pub fn check(&self, what: &str) -> Result<()> {
        if self.bad { Err(Error::corrupt(format!("decode {what}: truncated or malformed"))) } else { Ok(()) }
    }
}

/// Appends LEB128.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag varint.
#[inline]
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a varint length and the bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_come_back(unsigned in any::<u64>(), signed in any::<i64>(), bytes: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(&mut out, unsigned);
            put_zigzag(&mut out, signed);
            put_bytes(&mut out, &bytes);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), unsigned);
            prop_assert_eq!(reader.zigzag(), signed);
            prop_assert_eq!(reader.bytes(), &bytes[..]);
            prop_assert!(reader.finish("test").is_ok());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            reader.varint();
            reader.zigzag();
            reader.text();
            reader.u32();
            reader.bytes();
            prop_assert!(reader.is_bad() || reader.rest().len() <= bytes.len());
        }
    }

    #[test]
    fn an_overflowing_varint_is_bad() {
        let mut reader = Reader::new(&[0xff; 11]);
        reader.varint();
        assert!(reader.is_bad());
        assert_eq!(reader.u8(), 0);
    }
}
