//! Frames of the PostgreSQL protocol (3.0), borrowed from the bytes that were received. No I/O here.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::error::{ServerError, malformed};
use connector_api::{Error, Result};

/// The largest message that the server can send: its own limit on one allocation, with room for a head.
const LARGEST: usize = (1 << 30) + 4096;
/// What an idle buffer is brought back to after a large message.
const USUAL: usize = 512 << 10;

/// A message of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
}

/// Received bytes that were not consumed yet. Bytes stay here when a reader is dropped at an await, so that
/// reading is cancel-safe.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    /// The length of the frame at the front with its head, when the head has arrived.
    fn front(&self) -> Result<Option<(u8, usize)>> {
        let Some([tag, a, b, c, d]) = self.held().first_chunk::<5>() else { return Ok(None) };
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if !(4..=LARGEST).contains(&len) {
            return Err(malformed("length of a message"));
        }
        Ok(Some((*tag, len + 1)))
    }

    /// Received and not consumed.
    pub(crate) fn held(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// True when `next` will return a frame.
    pub(crate) fn is_ready(&self) -> Result<bool> {
        Ok(self.front()?.is_some_and(|(_, len)| self.end - self.start >= len))
    }

    /// The next whole frame; consumed by this call.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>> {
        let Some((tag, len)) = self.front()? else { return Ok(None) };
        if self.end - self.start < len {
            return Ok(None);
        }
        let body = self.start + 5..self.start + len;
        self.start = body.end;
        Ok(Some(Frame { tag, body: self.bytes.get(body).unwrap_or_default() }))
    }

    /// Room for the next read: never empty. Grows only in proportion to what has really arrived, so that a
    /// length that the peer made up allocates nothing (I12).
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() > 2 * USUAL && self.end < USUAL / 2 {
            self.bytes.truncate(USUAL);
            self.bytes.shrink_to_fit();
        }
        if self.end * 2 >= self.bytes.len() {
            let len = (self.bytes.len() * 2).clamp(USUAL, LARGEST + USUAL);
            self.bytes.resize(len.max(self.end + 4096), 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// `count` bytes were read into `room`.
    pub(crate) fn received(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }
}

/// Reads big-endian numbers and strings from a slice; goes bad once and is asked once.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    bad: bool,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Fields { bytes, bad: false }
    }

    pub(crate) fn is_bad(&self) -> bool {
        self.bad
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn poison(&mut self) {
        self.bad = true;
        self.bytes = &[];
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

    #[inline]
    pub(crate) fn u8(&mut self) -> u8 {
        let [byte] = self.array::<1>();
        byte
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.array())
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.array())
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
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

    /// A string that ends in a zero byte.
    pub(crate) fn text(&mut self) -> &'a str {
        let end = memchr::memchr(0, self.bytes);
        let text = end.and_then(|end| std::str::from_utf8(self.take(end)).ok());
        match text {
            Some(text) => {
                self.u8();
                text
            }
            None => {
                self.poison();
                ""
            }
        }
    }
}

/// The columns of a DataRow, in order; `None` is null.
pub(crate) fn data_row(body: &[u8]) -> Result<Vec<Option<String>>> {
    let mut fields = Fields::new(body);
    let count = usize::from(fields.u16());
    let mut row = Vec::with_capacity(count.min(body.len() / 4));
    for _ in 0..count {
        let value = match fields.i32() {
            -1 => None,
            len => match usize::try_from(len).ok().and_then(|len| std::str::from_utf8(fields.take(len)).ok())
            {
                Some(text) => Some(text.to_owned()),
                None => return Err(malformed("row")),
            },
        };
        row.push(value);
    }
    if fields.is_bad() { Err(malformed("row")) } else { Ok(row) }
}

/// An ErrorResponse or NoticeResponse.
pub(crate) fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    let mut rest = body;
    while let Some((field, tail)) = rest.split_first() {
        let end = memchr::memchr(0, tail).unwrap_or(tail.len());
        let text = String::from_utf8_lossy(tail.get(..end).unwrap_or_default());
        error.set(*field, &text);
        rest = tail.get(end + 1..).unwrap_or_default();
    }
    error
}

/// A message that has no place in the present state of the connection.
pub(crate) fn unexpected(frame: Frame<'_>, doing: &str) -> Error {
    Error::corrupt(format!("{doing}: unexpected message {:?} of the server", char::from(frame.tag)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn give(inbox: &mut Inbox, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = inbox.room();
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            inbox.received(count);
            rest = &rest[count..];
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_however_they_arrive(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            step in 1usize..700,
        ) {
            let mut stream = Vec::new();
            for body in &bodies {
                stream.push(b'd');
                stream.extend((body.len() as u32 + 4).to_be_bytes());
                stream.extend(body);
            }
            let mut inbox = Inbox::default();
            let mut found = Vec::new();
            for part in stream.chunks(step) {
                give(&mut inbox, part);
                while let Some(frame) = inbox.next().unwrap() {
                    found.push(frame.body.to_vec());
                }
            }
            prop_assert_eq!(found, bodies);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let mut inbox = Inbox::default();
            give(&mut inbox, &bytes);
            while let Ok(Some(_)) = inbox.next() {}
            let _ = data_row(&bytes);
            let _ = server_error(&bytes);
        }
    }

    #[test]
    fn a_made_up_length_allocates_nothing() {
        let mut inbox = Inbox::default();
        give(&mut inbox, &[b'd', 0x40, 0, 0, 0]);
        assert!(!inbox.is_ready().unwrap());
        inbox.room();
        assert!(inbox.bytes.len() <= USUAL);
        let mut inbox = Inbox::default();
        give(&mut inbox, &[b'd', 0x7f, 0, 0, 0]);
        assert!(inbox.next().is_err());
    }

    #[test]
    fn a_large_frame_fits_and_the_buffer_shrinks_after_it() {
        let mut inbox = Inbox::default();
        let body = vec![7u8; 5 << 20];
        give(&mut inbox, b"d");
        give(&mut inbox, &(body.len() as u32 + 4).to_be_bytes());
        give(&mut inbox, &body);
        assert_eq!(inbox.next().unwrap().unwrap().body, body);
        inbox.room();
        assert!(inbox.bytes.len() <= USUAL);
    }
}
