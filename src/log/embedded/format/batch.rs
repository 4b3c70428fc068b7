//! The head data of a batch entry: who, when, and a directory of its sections; their payloads follow it verbatim.

use connector_api::reader::{Reader, put_bytes, put_varint};
use connector_api::{Encoding, Error, Result};

use super::PAYLOAD_MAX;
use crate::log::scan::Stored;

const CONTINUED: u8 = 1;
const CONTINUES: u8 = 2;
const POSITION: u8 = 4;
const FLAGS: u8 = 7;

/// Payload bytes as they are.
pub(in crate::log::embedded) const COMPRESSION_NONE: u8 = 0;
/// One LZ4 block without a size in front.
pub(in crate::log::embedded) const COMPRESSION_LZ4: u8 = 1;

/// A batch without its payloads, borrowed from the entry's bytes.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::log::embedded) struct Directory<'a> {
    pub sequence: u64,
    pub appended_us: i64,
    pub producer: &'a str,
    pub position: Option<&'a [u8]>,
    pub continued: bool,
    pub continues: bool,
    /// Sequence of the batch in which its first transaction began; its own unless it is `continued`.
    pub first: u64,
    pub transactions: &'a [u8],
    pub sections: Vec<SectionHead<'a>>,
}

/// One section without its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::log::embedded) struct SectionHead<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub base: u64,
    pub span: u32,
    pub count: u32,
    /// Id of its schema; 0 for none.
    pub schema: u64,
    pub encoding: Encoding,
    pub compression: u8,
    /// Bytes on disk.
    pub stored: u64,
    /// Bytes after decompression.
    pub raw: u64,
    /// CRC32C of the bytes on disk.
    pub crc: u32,
}

impl SectionHead<'_> {
    /// The offset after the last one that it covers.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(u64::from(self.span))
    }
}

impl<'a> Directory<'a> {
    /// The directory of a batch that is about to be written, with the stored form of each payload: compression, bytes and
    /// CRC.
    pub fn of(stored: &'a Stored, schemas: &[u64], payloads: &[(u8, u64, u32)]) -> Directory<'a> {
        let sections = stored.sections.iter().zip(schemas).zip(payloads);
        Directory {
            sequence: stored.sequence,
            appended_us: stored.appended_us,
            producer: &stored.producer,
            position: stored.position.as_ref().map(|position| position.as_bytes()),
            continued: stored.continued,
            continues: stored.continues,
            first: stored.first,
            transactions: &stored.transactions,
            sections: sections
                .map(|((section, schema), (compression, bytes, crc))| SectionHead {
                    topic: &section.topic.topic,
                    partition: section.topic.partition,
                    base: section.base,
                    span: section.span,
                    count: section.count,
                    schema: *schema,
                    encoding: section.encoding,
                    compression: *compression,
                    stored: *bytes,
                    raw: section.payload.len() as u64,
                    crc: *crc,
                })
                .collect(),
        }
    }

    /// Reads what [`encode_batch`] wrote.
    pub fn decode(bytes: &'a [u8]) -> Result<Directory<'a>> {
        let mut reader = Reader::new(bytes);
        let (sequence, appended_us, flags) = (reader.u64(), reader.i64(), reader.u8());
        let producer = reader.text();
        let position = (flags & POSITION != 0).then(|| reader.bytes());
        let back = if flags & CONTINUED != 0 { reader.varint() } else { 0 };
        let Some(first) = sequence.checked_sub(back) else {
            return Err(Error::corrupt(format!("decode batch {sequence}: its transaction began {back} batches before")));
        };
        let count = reader.varint();
        if flags & !FLAGS != 0 || count > reader.rest().len() as u64 {
            return Err(Error::corrupt(format!("decode batch: flags {flags:#x}, {count} sections")));
        }
        let mut sections = Vec::with_capacity((count as usize).min(64));
        for _ in 0..count {
            sections.push(decode_section(&mut reader)?);
        }
        let transactions = reader.bytes();
        reader.finish("batch")?;
        Ok(Directory {
            sequence,
            appended_us,
            producer,
            position,
            continued: flags & CONTINUED != 0,
            continues: flags & CONTINUES != 0,
            first,
            transactions,
            sections,
        })
    }

    /// True for the last batch of a transaction of many.
    pub fn ends_transaction(&self) -> bool {
        self.continued && !self.continues
    }

    /// Bytes of all payloads on disk.
    pub fn payload(&self) -> u64 {
        self.sections.iter().fold(0, |sum, section| sum.saturating_add(section.stored))
    }
}

fn decode_section<'a>(reader: &mut Reader<'a>) -> Result<SectionHead<'a>> {
    let (topic, partition) = (reader.text(), reader.varint32());
    let (base, span, count, schema) = (reader.varint(), reader.varint32(), reader.varint32(), reader.varint());
    let (encoding, compression) = (reader.u8(), reader.u8());
    let stored = reader.varint();
    let raw = if compression == COMPRESSION_NONE { stored } else { reader.varint() };
    let crc = reader.u32();
    reader.check("section")?;
    let refuse = |what: &str| Err(Error::corrupt(format!("decode section of {topic}: {what}")));
    let Some(encoding) = Encoding::from_byte(encoding) else {
        return refuse(&format!("encoding {encoding} is not known to this version"));
    };
    if compression > COMPRESSION_LZ4 {
        return refuse(&format!("compression {compression} is not known to this version"));
    }
    // An LZ4 block grows at most 255 times: a small file cannot ask for a large buffer (I12).
    let raw_max = if compression == COMPRESSION_NONE { stored } else { stored.saturating_mul(255) };
    if stored > PAYLOAD_MAX || raw > PAYLOAD_MAX || raw > raw_max {
        return refuse(&format!("{stored} bytes that hold {raw}"));
    }
    if count > span || base.checked_add(u64::from(span)).is_none() || (schema == 0) != (encoding == Encoding::Events) {
        return refuse(&format!("{count} records of {span}, base {base}, schema {schema}"));
    }
    Ok(SectionHead { topic, partition, base, span, count, schema, encoding, compression, stored, raw, crc })
}

/// Appends the head data of a batch entry.
pub(in crate::log::embedded) fn encode_batch(out: &mut Vec<u8>, batch: &Directory<'_>) {
    out.extend_from_slice(&batch.sequence.to_le_bytes());
    out.extend_from_slice(&batch.appended_us.to_le_bytes());
    let mut flags = if batch.continued { CONTINUED } else { 0 };
    flags |= if batch.continues { CONTINUES } else { 0 };
    flags |= if batch.position.is_some() { POSITION } else { 0 };
    out.push(flags);
    put_bytes(out, batch.producer.as_bytes());
    if let Some(position) = batch.position {
        put_bytes(out, position);
    }
    if batch.continued {
        put_varint(out, batch.sequence.saturating_sub(batch.first));
    }
    put_varint(out, batch.sections.len() as u64);
    for section in &batch.sections {
        put_bytes(out, section.topic.as_bytes());
        put_varint(out, u64::from(section.partition));
        put_varint(out, section.base);
        put_varint(out, u64::from(section.span));
        put_varint(out, u64::from(section.count));
        put_varint(out, section.schema);
        out.push(section.encoding as u8);
        out.push(section.compression);
        put_varint(out, section.stored);
        if section.compression != COMPRESSION_NONE {
            put_varint(out, section.raw);
        }
        out.extend_from_slice(&section.crc.to_le_bytes());
    }
    put_bytes(out, batch.transactions);
}
