//! Writes a segment again without what goes, and puts it in place of the old one. Everything that is copied is checked
//! first. Readers that have the old file open go on reading it.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use connector_api::{Error, Result};

use super::{Drops, Plan, Run};
use crate::log::embedded::format::{
    self, COMPRESSION_LZ4, COMPRESSION_NONE, EntryKind, HEADER_LEN, Header, PAYLOAD_MAX, Salt, SectionHead,
    encode_batch,
};
use crate::log::embedded::fs::{File, Sequential};
use crate::log::embedded::index::{self, Index};
use crate::log::embedded::segment::{Entry, Segment, unsealed};

/// The new file, as far as written.
struct Rewrite<'r> {
    plan: &'r Plan,
    out: Sequential,
    salt: Salt,
    index: Index,
    heads: Vec<u8>,
}

/// Rewrites one segment and gives its length before and after; `None` when nothing is left, and the file is as it was.
pub(super) fn rewrite(run: &Run<'_>, first: u64, plan: &Plan) -> Result<(u64, Option<u64>)> {
    let (mut segment, limit) = run.open(first)?;
    let (fs, path) = (&*run.shared.fs, run.shared.path(first));
    let temporary = path.with_extension("log.new");
    let failed = |error| Error::io(format!("rewrite {}", path.display()), error);
    let file = fs.create(&temporary).map_err(failed)?;
    let header = Header { generation: segment.header.generation.wrapping_add(1), ..segment.header };
    let written = write(run, plan, file, header, (&mut segment, limit));
    let (index, len) = written.inspect_err(|_| drop(fs.remove(&temporary)))?;
    if index.is_empty() {
        fs.remove(&temporary).map_err(failed)?;
        return Ok((limit, None));
    }
    // What was renamed is durable when the directory is; only then the old file counts as gone.
    let renamed = fs.rename(&temporary, &path).inspect_err(|_| drop(fs.remove(&temporary)));
    renamed.and_then(|()| fs.sync_dir(&run.shared.dir)).map_err(failed)?;
    index::write(fs, &path, &index, first, header.generation, len);
    Ok((limit, Some(len)))
}

fn write(
    run: &Run<'_>,
    plan: &Plan,
    file: Arc<dyn File>,
    header: Header,
    (segment, limit): (&mut Segment, u64),
) -> Result<(Index, u64)> {
    let salt = Salt::new(header.log, header.first);
    let mut rewrite =
        Rewrite { plan, out: Sequential::new(file), salt, index: Index::default(), heads: Vec::new() };
    let failed = |error| Error::io(format!("rewrite segment {}", header.first), error);
    rewrite.out.write_all(&header.encode()).map_err(failed)?;
    let (mut at, mut sealed) = (HEADER_LEN as u64, false);
    while at < limit {
        run.go_on()?;
        let entry = segment.entry(at, limit).map_err(|fault| segment.error(fault))?;
        sealed = rewrite.entry(segment, &entry, limit)?;
        at = entry.end();
    }
    if !sealed {
        return Err(segment.error(unsealed(limit)));
    }
    let len = rewrite.out.len();
    rewrite.out.finish().map_err(failed)?;
    Ok((rewrite.index, len))
}

impl Rewrite<'_> {
    /// Copies what stays of an entry; true for the end of the segment.
    fn entry(&mut self, segment: &mut Segment, entry: &Entry, limit: u64) -> Result<bool> {
        let mut seals = false;
        match entry.head.kind {
            EntryKind::Batch => self.batch(segment, entry, limit)?,
            EntryKind::Mark => {
                seals = format::decode_mark(&entry.meta)?;
                if seals {
                    self.copy(entry)?;
                }
            }
            kind => {
                if kind == EntryKind::Schema {
                    self.index.schemas.push(self.out.len());
                }
                self.copy(entry)?;
            }
        }
        Ok(seals)
    }

    fn copy(&mut self, entry: &Entry) -> Result<()> {
        self.put(entry.head.kind, 0, |out| out.extend_from_slice(&entry.meta))
    }

    fn put(&mut self, kind: EntryKind, payload: u64, meta: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.heads.clear();
        let at = self.out.len();
        format::put_entry(&mut self.heads, self.salt, at, at, kind, payload, meta);
        self.out.write_all(&self.heads).map_err(failed)
    }

    fn batch(&mut self, segment: &mut Segment, entry: &Entry, limit: u64) -> Result<()> {
        let mut directory = segment.directory(entry).map_err(|fault| segment.error(fault))?;
        let (mut heads, mut payloads) = (Vec::new(), Vec::new());
        let mut at = entry.payload_at();
        for (number, head) in directory.sections.iter().enumerate() {
            let drops = self.plan.drops.get(&(directory.sequence, number));
            if let Some((head, payload)) = section(segment, at, head, drops, limit)? {
                heads.push(head);
                payloads.push(payload);
            }
            at += head.stored;
        }
        // The end of a large transaction stays, also when nothing is left in it: it makes the others visible.
        if heads.is_empty() && !directory.ends_transaction() {
            return Ok(());
        }
        directory.sections = heads;
        let ends = directory.sections.iter().map(|head| (head.topic, head.partition, head.end()));
        self.index.add(self.out.len(), directory.sequence, directory.ends_transaction(), ends);
        self.put(EntryKind::Batch, directory.payload(), |out| encode_batch(out, &directory))?;
        payloads.iter().try_for_each(|payload| self.out.write_all(payload)).map_err(failed)
    }
}

fn failed(error: io::Error) -> Error {
    Error::io("rewrite segment", error)
}

/// What stays of a section: its head and its payload as stored; `None` when nothing does.
fn section<'h>(
    segment: &mut Segment,
    at: u64,
    head: &SectionHead<'h>,
    drops: Option<&Drops>,
    limit: u64,
) -> Result<Option<(SectionHead<'h>, Bytes)>> {
    let edits = match drops {
        None => {
            let payload = segment.stored(at, head, limit).map_err(|fault| segment.error(fault))?;
            return Ok(Some((*head, payload)));
        }
        Some(drops) if drops.is_all() => return Ok(None),
        Some(Drops::Some(edits)) => edits,
        Some(Drops::All) => return Ok(None),
    };
    let payload = segment.payload(at, head, limit).map_err(|fault| segment.error(fault))?;
    let (kept, count) =
        edits.apply(&payload, head.base).map_err(|error| segment.corrupt(at, error.to_string()))?;
    let raw = kept.len() as u64;
    if raw > PAYLOAD_MAX {
        return Err(Error::data(format!(
            "rewrite the section of {} at offset {}: {raw} bytes, at most {PAYLOAD_MAX}",
            head.topic, head.base
        )));
    }
    let packed = (head.compression == COMPRESSION_LZ4).then(|| lz4_flex::block::compress(&kept));
    let (compression, bytes) = match packed {
        Some(packed) if packed.len() < kept.len() => (COMPRESSION_LZ4, packed),
        _ => (COMPRESSION_NONE, kept),
    };
    let (stored, crc) = (bytes.len() as u64, crc32c::crc32c(&bytes));
    Ok(Some((SectionHead { count, compression, stored, raw, crc, ..*head }, bytes.into())))
}
