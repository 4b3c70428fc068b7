//! Messages of the `pgoutput` plugin, protocol version 1, borrowed from the bytes that were received. No I/O.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::error::malformed;
use crate::wire::Fields;
use connector_api::{Error, Result};

/// What XLogData or a keepalive carries in the copy-both mode.
#[derive(Debug)]
pub(crate) enum Envelope<'a> {
    /// A message of the plugin; `sent` is the server's clock in microseconds of 2000-01-01.
    Data { sent: i64, body: &'a [u8] },
    /// The server has nothing up to `end`, and may want to hear from us at once.
    Keepalive { end: u64, reply: bool },
}

/// One logical replication message.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Begin(Begin),
    Commit(Commit),
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple<'a>,
    },
    Update {
        relation: u32,
        old: Option<Old<'a>>,
        new: Tuple<'a>,
    },
    Delete {
        relation: u32,
        old: Old<'a>,
    },
    Truncate(Truncate<'a>),
    /// What `pg_logical_emit_message` wrote, whoever did.
    Emitted {
        prefix: &'a [u8],
        content: &'a [u8],
    },
    /// Origin and Type: nothing that we need.
    Ignored,
}

/// The start of a transaction; times are microseconds of 2000-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) commit_lsn: u64,
    pub(crate) time: i64,
    pub(crate) xid: u32,
}

/// The end of a transaction. `end_lsn` is what a position is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) commit_lsn: u64,
    pub(crate) end_lsn: u64,
    pub(crate) time: i64,
}

/// A table as it was when the changes that follow were made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// `pg_class.relreplident`: d, n, f or i.
    pub(crate) identity: u8,
    pub(crate) columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Part of the replica identity.
    pub(crate) key: bool,
    pub(crate) type_oid: u32,
    pub(crate) typmod: i32,
}

/// The row before an update or delete.
#[derive(Debug, Clone)]
pub(crate) enum Old<'a> {
    /// The columns of the replica identity; the others are null.
    Key(Tuple<'a>),
    /// All columns (replica identity full).
    Full(Tuple<'a>),
}

/// The tables of a TRUNCATE, still encoded.
#[derive(Debug, Clone)]
pub(crate) struct Truncate<'a>(&'a [u8]);

impl Truncate<'_> {
    pub(crate) fn relations(&self) -> impl Iterator<Item = u32> {
        self.0.chunks_exact(4).map(|chunk| chunk.iter().fold(0, |oid, byte| oid << 8 | u32::from(*byte)))
    }
}

/// One column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Datum<'a> {
    Null,
    /// A TOAST value that the statement did not touch.
    Unchanged,
    /// In the type's text form.
    Text(&'a [u8]),
}

/// The columns of a row, decoded one by one as they are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Tuple<'a> {
    columns: usize,
    fields: Fields<'a>,
}

impl<'a> Tuple<'a> {
    /// The rest of `fields` begins with a tuple and may hold more.
    fn read(fields: &mut Fields<'a>) -> Tuple<'a> {
        let columns = usize::from(fields.u16());
        Tuple { columns, fields: fields.clone() }
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The next column. After the last one, and after malformed bytes, [`Datum::Null`]: `check` tells.
    #[inline]
    pub(crate) fn next(&mut self) -> Datum<'a> {
        match self.fields.u8() {
            b't' => {
                let len = self.fields.u32() as usize;
                Datum::Text(self.fields.take(len))
            }
            b'n' => Datum::Null,
            b'u' => Datum::Unchanged,
            // Binary values are never asked for.
            _ => {
                self.fields.poison();
                Datum::Null
            }
        }
    }

    /// True after all columns were read and nothing was malformed or left over.
    #[cfg(test)]
    pub(crate) fn is_whole(&self) -> bool {
        !self.fields.is_bad() && self.fields.rest().is_empty()
    }

    pub(crate) fn is_bad(&self) -> bool {
        self.fields.is_bad()
    }

    /// Passes over all columns and returns what follows.
    fn skip(mut self) -> Fields<'a> {
        for _ in 0..self.columns {
            self.next();
            if self.fields.is_bad() {
                break;
            }
        }
        self.fields
    }
}

/// Reads the body of a CopyData message.
pub(crate) fn envelope(body: &[u8]) -> Result<Envelope<'_>> {
    let mut fields = Fields::new(body);
    let envelope = match fields.u8() {
        b'w' => {
            fields.take(16);
            Envelope::Data { sent: fields.i64(), body: fields.rest() }
        }
        b'k' => {
            let end = fields.u64();
            fields.i64();
            Envelope::Keepalive { end, reply: fields.u8() != 0 }
        }
        _ => return Err(malformed("replication message")),
    };
    if fields.is_bad() { Err(malformed("replication message")) } else { Ok(envelope) }
}

/// Reads one message of the plugin. Values inside tuples are checked as they are read.
pub(crate) fn message(body: &[u8]) -> Result<Message<'_>> {
    let mut fields = Fields::new(body);
    let tag = fields.u8();
    let message = match tag {
        b'I' => {
            let relation = fields.u32();
            marker(&mut fields, b'N');
            Message::Insert { relation, new: Tuple::read(&mut fields) }
        }
        b'U' => update(&mut fields),
        b'D' => {
            let relation = fields.u32();
            let kind = fields.u8();
            match old(kind, &mut fields) {
                Some(old) => Message::Delete { relation, old },
                None => return Err(malformed("delete")),
            }
        }
        b'B' => Message::Begin(Begin { commit_lsn: fields.u64(), time: fields.i64(), xid: fields.u32() }),
        b'C' => {
            fields.u8();
            Message::Commit(Commit { commit_lsn: fields.u64(), end_lsn: fields.u64(), time: fields.i64() })
        }
        b'R' => Message::Relation(relation(&mut fields)),
        b'T' => {
            let count = fields.u32() as usize;
            fields.u8();
            Message::Truncate(Truncate(fields.take(count.saturating_mul(4))))
        }
        b'M' => {
            // Flags and the place in the WAL.
            fields.take(9);
            // Other people's prefixes come in the encoding of the database.
            let end = memchr::memchr(0, fields.rest()).unwrap_or_default();
            let prefix = fields.take(end);
            fields.u8();
            let len = fields.u32() as usize;
            Message::Emitted { prefix, content: fields.take(len) }
        }
        b'O' | b'Y' => Message::Ignored,
        tag => return Err(Error::corrupt(format!("decode replication message: unknown tag {tag:#04x}"))),
    };
    if fields.is_bad() { Err(malformed("replication message")) } else { Ok(message) }
}

fn marker(fields: &mut Fields<'_>, expected: u8) {
    if fields.u8() != expected {
        fields.poison();
    }
}

fn old<'a>(kind: u8, fields: &mut Fields<'a>) -> Option<Old<'a>> {
    match kind {
        b'K' => Some(Old::Key(Tuple::read(fields))),
        b'O' => Some(Old::Full(Tuple::read(fields))),
        _ => None,
    }
}

fn update<'a>(fields: &mut Fields<'a>) -> Message<'a> {
    let relation = fields.u32();
    let kind = fields.u8();
    let old = old(kind, fields);
    match &old {
        Some(Old::Key(tuple) | Old::Full(tuple)) => {
            *fields = tuple.clone().skip();
            marker(fields, b'N');
        }
        None if kind != b'N' => fields.poison(),
        None => {}
    }
    Message::Update { relation, old, new: Tuple::read(fields) }
}

fn relation(fields: &mut Fields<'_>) -> Relation {
    let oid = fields.u32();
    let schema = match fields.text() {
        // The catalog's own schema is sent as an empty name.
        "" => "pg_catalog".to_owned(),
        schema => schema.to_owned(),
    };
    let name = fields.text().to_owned();
    let identity = fields.u8();
    let count = usize::from(fields.u16());
    let mut columns = Vec::with_capacity(count.min(fields.rest().len() / 10));
    for _ in 0..count {
        let key = fields.u8() & 1 == 1;
        let name = fields.text().to_owned();
        columns.push(Column { name, key, type_oid: fields.u32(), typmod: fields.i32() });
        if fields.is_bad() {
            break;
        }
    }
    Relation { oid, schema, name, identity, columns }
}

#[cfg(test)]
mod tests;
