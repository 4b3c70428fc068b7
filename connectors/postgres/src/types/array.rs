//! Arrays: `{1,NULL,"a \"b\""}`, nested, with bounds `[0:1]={…}` and other delimiters.

use super::Reading;
use connector_api::array::{Array, Dimension, MAX_DIMENSIONS, put_array_head};

/// Reads an array into `scratch`, head first.
pub(super) fn read<'a>(
    text: &[u8],
    element: &Reading,
    delimiter: u8,
    scratch: &'a mut Vec<u8>,
) -> Option<Array<'a>> {
    let (bounds, body) = bounds(text)?;
    let mut parser = Parser {
        rest: body,
        element,
        delimiter,
        lens: Vec::new(),
        out: Vec::with_capacity(body.len()),
        item: Vec::new(),
        inner: Vec::new(),
    };
    parser.list(0)?;
    if !parser.rest.is_empty() || (!bounds.is_empty() && bounds.len() != parser.lens.len()) {
        return None;
    }
    let lower = |at: usize| bounds.get(at).copied().unwrap_or(1);
    let mut dimensions: Vec<_> =
        parser.lens.iter().enumerate().map(|(at, len)| Dimension { len: *len, lower: lower(at) }).collect();
    if dimensions.iter().any(|dimension| dimension.len == 0) {
        dimensions.clear();
    }
    scratch.clear();
    put_array_head(scratch, &dimensions);
    scratch.extend_from_slice(&parser.out);
    Some(Array::from_bytes(scratch))
}

/// The lower bounds of `[0:1][2:3]=`, and what follows.
fn bounds(text: &[u8]) -> Option<(Vec<i32>, &[u8])> {
    if text.first() != Some(&b'[') {
        return Some((Vec::new(), text));
    }
    let equals = memchr::memchr(b'=', text)?;
    let (head, body) = text.split_at_checked(equals)?;
    let mut lower = Vec::new();
    for part in head.strip_prefix(b"[")?.strip_suffix(b"]")?.split(|byte| *byte == b'[') {
        let part = std::str::from_utf8(part.strip_suffix(b"]").unwrap_or(part)).ok()?;
        lower.push(part.split_once(':')?.0.parse().ok()?);
    }
    (lower.len() <= MAX_DIMENSIONS).then_some((lower, body.get(1..)?))
}

struct Parser<'a> {
    rest: &'a [u8],
    element: &'a Reading,
    delimiter: u8,
    /// Elements of each dimension, known after its first list.
    lens: Vec<u32>,
    out: Vec<u8>,
    /// An element without its quotes and backslashes.
    item: Vec<u8>,
    inner: Vec<u8>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// One brace-enclosed list; recursion ends at the most dimensions an array may have.
    fn list(&mut self, depth: usize) -> Option<()> {
        if depth >= MAX_DIMENSIONS || self.bump()? != b'{' {
            return None;
        }
        let first = self.lens.len() == depth;
        if first {
            self.lens.push(0);
        }
        let (mut len, mut leaf) = (0u32, false);
        if self.peek()? == b'}' {
            self.bump();
        } else {
            loop {
                match self.peek()? {
                    b'{' if !leaf => self.list(depth + 1)?,
                    // Elements stand in the innermost lists only.
                    _ if self.lens.len() == depth + 1 => {
                        leaf = true;
                        self.value()?;
                    }
                    _ => return None,
                }
                len = len.checked_add(1)?;
                match self.bump()? {
                    b'}' => break,
                    byte if byte == self.delimiter => {}
                    _ => return None,
                }
            }
        }
        let known = self.lens.get_mut(depth)?;
        if first {
            *known = len;
        }
        (*known == len).then_some(())
    }

    fn value(&mut self) -> Option<()> {
        self.item.clear();
        let quoted = self.peek()? == b'"';
        if quoted {
            self.bump();
        }
        loop {
            match self.peek()? {
                b'"' if quoted => {
                    self.bump();
                    break;
                }
                b'\\' => {
                    self.bump();
                    let byte = self.bump()?;
                    self.item.push(byte);
                }
                byte if !quoted && (byte == b'}' || byte == self.delimiter) => break,
                byte => {
                    self.bump();
                    self.item.push(byte);
                }
            }
        }
        if !quoted && self.item.eq_ignore_ascii_case(b"NULL") {
            connector_api::Value::Null.encode(&mut self.out);
            return Some(());
        }
        let value = self.element.read(&self.item, &mut self.inner).ok()?;
        value.encode(&mut self.out);
        Some(())
    }
}
