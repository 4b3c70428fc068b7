//! The bytes on disk, all of them: file headers, entry heads and what stands in entries. `docs/FORMAT.md` describes them;
//! change both together, raise [`VERSION`], and keep a fixture of the old one.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

mod batch;
mod checkpoint;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use connector_api::reader::{Reader, put_bytes, put_varint};
use connector_api::{Error, LogId, Result, Schema, TopicPartition};

pub(super) use batch::{COMPRESSION_LZ4, COMPRESSION_NONE, Directory, SectionHead, encode_batch};
pub(super) use checkpoint::{decode_checkpoint, encode_checkpoint};

use crate::log::state::{Aborted, PAYLOAD_BYTES_MAX, Trim};

/// Version of every file of a log directory.
pub(super) const VERSION: u16 = 1;
pub(super) const META_MAGIC: &[u8; 8] = b"millmeta";
pub(super) const SEGMENT_MAGIC: &[u8; 8] = b"millsegm";
pub(super) const INDEX_MAGIC: &[u8; 8] = b"millindx";
pub(super) const GROUP_MAGIC: &[u8; 8] = b"millgrup";
/// First bytes of every entry, so that a search for entries behind damage finds candidates fast.
pub(super) const ENTRY_MAGIC: [u8; 4] = *b"\xf5mE\n";

pub(super) const META_LEN: usize = 40;
pub(super) const HEADER_LEN: usize = 64;
pub(super) const HEAD_LEN: usize = 40;
/// Longest head data of an entry; payloads come on top.
pub(super) const META_MAX: usize = 256 << 20;
/// Longest payload of one section.
pub(super) const PAYLOAD_MAX: u64 = PAYLOAD_BYTES_MAX as u64;

/// What an entry is. The numbers are bytes on disk: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum EntryKind {
    /// The whole state; the first entry of every segment, and nowhere else.
    Checkpoint = 1,
    /// A schema, in force for its topic-partition from here on.
    Schema = 2,
    /// A batch.
    Batch = 3,
    /// A transaction that will never end.
    Abort = 4,
    /// Nothing but a proof that everything before is durable; the last entry of a sealed segment.
    Mark = 5,
    /// New earliest offsets, durable before anything is removed.
    Trim = 6,
}

impl EntryKind {
    const ALL: [EntryKind; 6] = [
        EntryKind::Checkpoint,
        EntryKind::Schema,
        EntryKind::Batch,
        EntryKind::Abort,
        EntryKind::Mark,
        EntryKind::Trim,
    ];
}

/// The fixed part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub kind: EntryKind,
    /// Bytes that follow the head and describe the entry.
    pub meta: u32,
    /// Bytes of payload that follow those.
    pub payload: u64,
    /// Everything of this file before this byte was durable when the entry was written. So damage before it is never the
    /// trace of a crash.
    pub durable: u64,
    /// CRC32C of the `meta` bytes.
    pub meta_crc: u32,
}

impl EntryHead {
    /// Length of the whole entry; no overflow after [`EntryHead::decode`].
    pub fn len(&self) -> u64 {
        (HEAD_LEN as u64).saturating_add(u64::from(self.meta)).saturating_add(self.payload)
    }

    /// The head's bytes for an entry at byte `at`.
    pub fn encode(&self, salt: Salt, at: u64) -> [u8; HEAD_LEN] {
        let mut out = Vec::with_capacity(HEAD_LEN);
        out.extend_from_slice(&ENTRY_MAGIC);
        out.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        out.extend_from_slice(&self.meta.to_le_bytes());
        out.extend_from_slice(&self.payload.to_le_bytes());
        out.extend_from_slice(&self.durable.to_le_bytes());
        out.extend_from_slice(&self.meta_crc.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let crc = salt.crc(at, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.try_into().unwrap_or([0; HEAD_LEN])
    }

    /// Reads the head of an entry at byte `at`.
    pub fn decode(bytes: &[u8], salt: Salt, at: u64) -> Result<EntryHead, HeadFault> {
        let Some((head, crc)) = bytes.split_at_checked(HEAD_LEN - 4) else {
            return Err(HeadFault::Damaged("an entry is cut short"));
        };
        if Reader::new(crc).u32() != salt.crc(at, head) {
            return Err(HeadFault::Damaged("the checksum of an entry's head does not match"));
        }
        let mut reader = Reader::new(head);
        let magic = reader.take(4) == ENTRY_MAGIC;
        let kind = reader.u8();
        let reserved = reader.take(3) == [0; 3];
        let (meta, payload, durable, meta_crc) = (reader.u32(), reader.u64(), reader.u64(), reader.u32());
        let reserved = reserved && reader.u32() == 0;
        // The checksum held, so what is unknown from here on was written on purpose, by a later version (I9).
        let kind = EntryKind::ALL.into_iter().find(|known| *known as u8 == kind);
        let Some(kind) = kind else {
            return Err(HeadFault::Unknown("an entry of a kind that this version does not know"));
        };
        if !magic || !reserved {
            return Err(HeadFault::Unknown("an entry's head has bits that this version does not know"));
        }
        if meta as usize > META_MAX || payload > u64::MAX / 4 {
            return Err(HeadFault::Unknown("an entry's head claims an impossible length"));
        }
        Ok(EntryHead { kind, meta, payload, durable, meta_crc })
    }
}

/// Why bytes are not the head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadFault {
    /// The checksum does not hold: damage, or nothing was ever written here.
    Damaged(&'static str),
    /// It was written like this, by a later version.
    Unknown(&'static str),
}

/// What entry checksums start from: the log and the segment. With the byte's place added, an entry is one only where it
/// was written; a copy of it inside a user's value is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Salt(u32);

impl Salt {
    pub fn new(log: LogId, segment: u64) -> Salt {
        let crc = crc32c::crc32c(&log.0.to_le_bytes());
        Salt(crc32c::crc32c_append(crc, &segment.to_le_bytes()))
    }

    fn crc(self, at: u64, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &at.to_le_bytes()), bytes)
    }
}

/// The first bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub log: LogId,
    /// Sequence of the first batch that may stand in it; also its name.
    pub first: u64,
    /// How often it was rewritten.
    pub generation: u32,
    /// Unix microseconds.
    pub created_us: i64,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(SEGMENT_MAGIC);
        out.extend_from_slice(&u32::from(VERSION).to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.log.0.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.created_us.to_le_bytes());
        out.extend_from_slice(&[0; 12]);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.try_into().unwrap_or([0; HEADER_LEN])
    }

    pub fn decode(bytes: &[u8]) -> Result<Header, String> {
        let mut reader = open_file(bytes, HEADER_LEN, SEGMENT_MAGIC, "segment")?;
        let generation = reader.u32();
        let log = LogId(u128::from_le_bytes(reader.bytes16()));
        let (first, created_us) = (reader.u64(), reader.i64());
        Ok(Header { log, first, generation, created_us })
    }
}

/// Checks magic, version and the checksum in the last four bytes of the `len` bytes that a file begins with.
pub(super) fn open_file<'a>(
    bytes: &'a [u8],
    len: usize,
    magic: &[u8; 8],
    what: &str,
) -> Result<Reader<'a>, String> {
    let body = bytes.get(..len).and_then(|bytes| bytes.split_at_checked(len.checked_sub(4)?));
    let Some((body, crc)) = body else { return Err(format!("the {what} is cut short")) };
    let mut reader = Reader::new(body);
    if reader.take(8) != magic {
        return Err(format!("this is no {what} of a millstream log"));
    }
    let version = reader.u32();
    if version != u32::from(VERSION) {
        // Said before the checksum is looked at: a later version may have moved it.
        return Err(format!("the {what} has format version {version}; this program reads version {VERSION}"));
    }
    if Reader::new(crc).u32() != crc32c::crc32c(body) {
        return Err(format!("the checksum of the {what} does not match"));
    }
    Ok(reader)
}

/// `log.meta`: who the log is.
pub(super) fn encode_meta(log: LogId, created_us: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(META_LEN);
    out.extend_from_slice(META_MAGIC);
    out.extend_from_slice(&u32::from(VERSION).to_le_bytes());
    out.extend_from_slice(&log.0.to_le_bytes());
    out.extend_from_slice(&created_us.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Reads [`encode_meta`].
pub(super) fn decode_meta(bytes: &[u8]) -> Result<LogId, String> {
    if bytes.len() > META_LEN {
        return Err("log.meta is too long".to_owned());
    }
    let mut reader = open_file(bytes, META_LEN, META_MAGIC, "log.meta")?;
    Ok(LogId(u128::from_le_bytes(reader.bytes16())))
}

pub(super) fn put_topic(out: &mut Vec<u8>, topic: &TopicPartition) {
    put_bytes(out, topic.topic.as_bytes());
    put_varint(out, u64::from(topic.partition));
}

pub(super) fn read_topic(reader: &mut Reader<'_>) -> TopicPartition {
    let topic = reader.text().into();
    TopicPartition { topic, partition: reader.varint32() }
}

/// A schema entry: topic-partition, id, schema.
pub(super) fn encode_schema(out: &mut Vec<u8>, topic: &TopicPartition, id: u64, schema: &Schema) {
    put_topic(out, topic);
    put_varint(out, id);
    schema.encode(out);
}

/// Reads [`encode_schema`].
pub(super) fn decode_schema(bytes: &[u8]) -> Result<(TopicPartition, u64, Arc<Schema>)> {
    let mut reader = Reader::new(bytes);
    let topic = read_topic(&mut reader);
    let id = reader.varint();
    reader.check("schema entry")?;
    if id == 0 {
        return Err(Error::corrupt("decode schema entry: id 0"));
    }
    Ok((topic, id, Arc::new(Schema::decode(reader.rest())?)))
}

/// An abort entry: producer, first and last sequence.
pub(super) fn encode_abort(out: &mut Vec<u8>, aborted: &Aborted) {
    put_bytes(out, aborted.producer.as_bytes());
    put_varint(out, aborted.first);
    put_varint(out, aborted.last);
}

/// Reads [`encode_abort`].
pub(super) fn decode_abort(bytes: &[u8]) -> Result<Aborted> {
    let mut reader = Reader::new(bytes);
    let aborted = read_abort(&mut reader);
    reader.finish("abort entry")?;
    Ok(aborted)
}

fn read_abort(reader: &mut Reader<'_>) -> Aborted {
    Aborted { producer: reader.text().into(), first: reader.varint(), last: reader.varint() }
}

/// A trim entry: a count, and for each a topic-partition, its earliest offset, and the bytes that go.
pub(super) fn encode_trim(out: &mut Vec<u8>, trims: &[Trim]) {
    put_varint(out, trims.len() as u64);
    for trim in trims {
        put_topic(out, &trim.topic);
        put_varint(out, trim.earliest);
        put_varint(out, trim.bytes);
    }
}

/// Reads [`encode_trim`].
pub(super) fn decode_trim(bytes: &[u8]) -> Result<Vec<Trim>> {
    let mut reader = Reader::new(bytes);
    let mut trims = Vec::new();
    for _ in 0..reader.varint() {
        if reader.is_bad() {
            break;
        }
        trims.push(Trim {
            topic: read_topic(&mut reader),
            earliest: reader.varint(),
            bytes: reader.varint(),
        });
    }
    reader.finish("trim entry")?;
    Ok(trims)
}

/// A mark entry: one byte, 1 when it seals the segment.
pub(super) fn decode_mark(bytes: &[u8]) -> Result<bool> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Error::corrupt("decode mark entry")),
    }
}

/// Appends an entry at byte `at` of a segment, but for its payload, which the caller writes after it.
pub(super) fn put_entry(
    out: &mut Vec<u8>,
    salt: Salt,
    at: u64,
    durable: u64,
    kind: EntryKind,
    payload: u64,
    meta: impl FnOnce(&mut Vec<u8>),
) -> u64 {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_LEN]);
    meta(out);
    let (mut length, mut meta_crc) = (0, 0);
    if let Some(meta) = out.get(start.saturating_add(HEAD_LEN)..) {
        (length, meta_crc) = (meta.len() as u32, crc32c::crc32c(meta));
    }
    let head = EntryHead { kind, meta: length, payload, durable, meta_crc };
    if let Some(place) = out.get_mut(start..start.saturating_add(HEAD_LEN)) {
        place.copy_from_slice(&head.encode(salt, at));
    }
    head.len()
}
