//! What is written in one go.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use connector_api::{Error, Section};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::log::embedded::format::{
    self, COMPRESSION_LZ4, COMPRESSION_NONE, Directory, EntryKind, Salt, encode_batch,
};
use crate::log::embedded::fs::{self, File};
use crate::log::embedded::options::Compression;
use crate::log::embedded::shared::{Counters, Failure, Shared};
use crate::log::state::Note;

/// An append that waits for its group.
#[derive(Debug)]
pub(super) struct Waiting {
    pub producer: Arc<str>,
    pub reply: oneshot::Sender<Result<u64, Failure>>,
    pub accepted: Instant,
    /// Its sequence, or why it was refused already.
    pub result: Result<u64, Failure>,
    pub _room: OwnedSemaphorePermit,
}

/// Entries that are written together. Their heads stand in one buffer, payloads are the producers' own bytes.
#[derive(Debug)]
pub(super) struct Group {
    salt: Salt,
    start: u64,
    durable: u64,
    compression: Compression,
    heads: Vec<u8>,
    pieces: Vec<Piece>,
    len: u64,
    notes: Vec<(u64, Note)>,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
enum Piece {
    Heads(Range<usize>),
    Payload(Bytes),
}

impl Group {
    pub fn new(salt: Salt, start: u64, durable: u64, compression: Compression) -> Group {
        Group {
            salt,
            start,
            durable,
            compression,
            heads: Vec::new(),
            pieces: Vec::new(),
            len: 0,
            notes: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Begins again at a place of a file, with nothing to write.
    pub fn begin(&mut self, salt: Salt, start: u64, durable: u64) {
        (self.salt, self.start, self.durable, self.len) = (salt, start, durable, 0);
        self.heads.clear();
        self.pieces.clear();
        self.notes.clear();
    }

    /// Bytes to write.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds the entry of a note.
    pub fn add(&mut self, note: Note) {
        let at = self.start + self.len;
        match &note {
            Note::Schema { topic, id, schema } => {
                self.put(EntryKind::Schema, |out| format::encode_schema(out, topic, *id, schema));
            }
            Note::Abort(aborted) => self.put(EntryKind::Abort, |out| format::encode_abort(out, aborted)),
            Note::Trim(trims) => self.put(EntryKind::Trim, |out| format::encode_trim(out, trims)),
            Note::Batch { stored, schemas } => {
                let packed: Vec<(u8, Bytes)> =
                    stored.sections.iter().map(|section| pack(section, self.compression)).collect();
                let form = |(compression, bytes): &(u8, Bytes)| {
                    (*compression, bytes.len() as u64, crc32c::crc32c(bytes))
                };
                let forms: Vec<(u8, u64, u32)> = packed.iter().map(form).collect();
                let directory = Directory::of(stored, schemas, &forms);
                self.put_with(EntryKind::Batch, directory.payload(), |out| encode_batch(out, &directory));
                self.pieces.extend(packed.into_iter().map(|(_, bytes)| Piece::Payload(bytes)));
            }
        }
        self.notes.push((at, note));
    }

    /// Adds an entry without payload.
    pub fn put(&mut self, kind: EntryKind, meta: impl FnOnce(&mut Vec<u8>)) {
        self.put_with(kind, 0, meta);
    }

    fn put_with(&mut self, kind: EntryKind, payload: u64, meta: impl FnOnce(&mut Vec<u8>)) {
        let (from, at) = (self.heads.len(), self.start + self.len);
        self.len += format::put_entry(&mut self.heads, self.salt, at, self.durable, kind, payload, meta);
        match self.pieces.last_mut() {
            Some(Piece::Heads(range)) => range.end = self.heads.len(),
            _ => self.pieces.push(Piece::Heads(from..self.heads.len())),
        }
    }

    /// Writes everything at a place of a file.
    pub fn write(&self, file: &dyn File, at: u64) -> io::Result<()> {
        let mut buffers: Vec<IoSlice<'_>> = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            buffers.push(IoSlice::new(match piece {
                Piece::Heads(range) => &self.heads[range.clone()],
                Piece::Payload(bytes) => bytes,
            }));
        }
        fs::write_all(file, &mut buffers, at)
    }

    pub fn take_notes(&mut self) -> Vec<(u64, Note)> {
        std::mem::take(&mut self.notes)
    }

    /// Answers this append together with the group.
    pub fn wait(&mut self, waiting: Waiting) {
        self.waiting.push(waiting);
    }

    /// Tells every append its result.
    pub fn answer(&mut self) {
        for waiting in self.waiting.drain(..) {
            // A producer that no longer listens does not matter.
            let _ = waiting.reply.send(waiting.result);
        }
    }

    /// Tells every append of the group that it failed.
    pub fn fail(&mut self, shared: &Arc<Shared>, error: &Error) {
        for waiting in self.waiting.drain(..) {
            let failed = |_| Err(shared.failed(waiting.producer.clone(), error.again()));
            let _ = waiting.reply.send(waiting.result.and_then(failed));
        }
    }

    /// Counts the appends.
    pub fn count(&self, counters: &Counters) {
        for waiting in self.waiting.iter().filter(|waiting| waiting.result.is_ok()) {
            counters.appends.fetch_add(1, Relaxed);
            counters.append_us.fetch_add(waiting.accepted.elapsed().as_micros() as u64, Relaxed);
        }
    }
}

/// The stored form of a section's payload.
fn pack(section: &Section, compression: Compression) -> (u8, Bytes) {
    if compression == Compression::Lz4 {
        let packed = lz4_flex::block::compress(&section.payload);
        if packed.len() < section.payload.len() {
            return (COMPRESSION_LZ4, packed.into());
        }
    }
    (COMPRESSION_NONE, section.payload.clone())
}
