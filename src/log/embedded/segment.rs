//! A segment file, opened for reading: entries are checked before they are believed, and read through one large buffer.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use connector_api::{Error, LogId, Result};

use super::format::{
    COMPRESSION_NONE, Directory, ENTRY_MAGIC, EntryHead, EntryKind, HEAD_LEN, HEADER_LEN, HeadFault, Header, Salt,
    SectionHead,
};
use super::fs::{self, File, Fs};

/// What one read takes from the disk when reading on.
const READ_AHEAD: usize = 1 << 20;
/// The same when most of what follows is likely to be passed over.
const READ_LITTLE: usize = 32 << 10;

/// The file name of the segment whose first batch is `first`.
pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}.log")
}

/// The first batch of a segment file; `None` for other files.
pub(super) fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Why bytes cannot be read.
#[derive(Debug)]
pub(super) struct Fault {
    /// Where in the file.
    pub at: u64,
    pub what: String,
    pub cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// Not what was written: a torn tail or damage.
    Damage,
    /// Written soundly, but not by this version.
    Unknown,
    /// The disk failed.
    Io(std::io::Error),
}

/// An entry whose head data is sound.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub at: u64,
    pub head: EntryHead,
    pub meta: Bytes,
}

impl Entry {
    /// The byte after it.
    pub fn end(&self) -> u64 {
        self.at.saturating_add(self.head.len())
    }

    /// Where its payloads begin.
    pub fn payload_at(&self) -> u64 {
        self.at.saturating_add(HEAD_LEN as u64 + u64::from(self.head.meta))
    }
}

/// An open segment and a window on it.
#[derive(Debug)]
pub(super) struct Segment {
    pub header: Header,
    pub path: PathBuf,
    file: Arc<dyn File>,
    salt: Salt,
    window: Bytes,
    window_at: u64,
    ahead: usize,
}

impl Segment {
    /// Opens a segment and checks its header.
    pub fn open(fs: &dyn Fs, path: &Path, log: LogId, first: u64) -> Result<Segment> {
        let file = fs.open(path).map_err(|error| Error::io(format!("open {}", path.display()), error))?;
        Segment::over(file, path, log, first)
    }

    /// The same over a file that is open already.
    pub fn over(file: Arc<dyn File>, path: &Path, log: LogId, first: u64) -> Result<Segment> {
        let mut bytes = [0; HEADER_LEN];
        let read = fs::read_full(&*file, &mut bytes, 0)
            .map_err(|error| Error::io(format!("read {}", path.display()), error))?;
        let corrupt = |what: String| Error::corrupt(format!("read {} at byte 0: {what}", path.display()));
        let header = Header::decode(bytes.get(..read).unwrap_or_default()).map_err(corrupt)?;
        if header.log != log {
            return Err(corrupt(format!("the segment belongs to log {}, not to {log}", header.log)));
        }
        if header.first != first {
            return Err(corrupt(format!("the header says that the segment is {}", file_name(header.first))));
        }
        Ok(Segment {
            header,
            path: path.to_owned(),
            file,
            salt: Salt::new(log, first),
            window: Bytes::new(),
            window_at: 0,
            ahead: READ_AHEAD,
        })
    }

    /// Length of the file now.
    pub fn len(&self) -> Result<u64> {
        self.file.len().map_err(|error| Error::io(format!("read {}", self.path.display()), error))
    }

    /// The error for a fault, with file and byte.
    pub fn error(&self, fault: Fault) -> Error {
        let context = format!("read {} at byte {}: {}", self.path.display(), fault.at, fault.what);
        match fault.cause {
            Cause::Io(error) => Error::io(context, error),
            Cause::Damage | Cause::Unknown => Error::corrupt(context),
        }
    }

    /// The error for bytes that are not what was written.
    pub fn corrupt(&self, at: u64, what: impl Into<String>) -> Error {
        self.error(Fault { at, what: what.into(), cause: Cause::Damage })
    }

    /// `len` bytes at `at`, which end at or before `limit`.
    fn slice(&mut self, at: u64, len: usize, limit: u64) -> Result<Bytes, Fault> {
        let damage = |what: &str| Fault { at, what: what.to_owned(), cause: Cause::Damage };
        let room = limit.saturating_sub(at);
        if len as u64 > room {
            return Err(damage("the file ends inside an entry"));
        }
        let skip = at.checked_sub(self.window_at).and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = skip
            && skip.checked_add(len).is_some_and(|end| end <= self.window.len())
        {
            return Ok(self.window.slice(skip..skip + len));
        }
        let want = usize::try_from(room).unwrap_or(usize::MAX).min(self.ahead.max(len));
        let mut buffer = std::mem::take(&mut self.window).try_into_mut().unwrap_or_default();
        if buffer.capacity() < want {
            buffer = BytesMut::with_capacity(want);
        }
        buffer.resize(want, 0);
        let read = fs::read_full(&*self.file, &mut buffer, at).map_err(|error| Fault {
            at,
            what: "reading failed".to_owned(),
            cause: Cause::Io(error),
        })?;
        buffer.truncate(read);
        (self.window, self.window_at) = (buffer.freeze(), at);
        if read < len {
            return Err(damage("the file ends inside an entry"));
        }
        Ok(self.window.slice(..len))
    }

    /// Lets go of the read-ahead.
    pub fn release(&mut self) {
        self.window = Bytes::new();
    }

    /// Reads a range at once, so that entries in it can be read in any order.
    pub fn prefetch(&mut self, at: u64, len: usize, limit: u64) -> Result<(), Fault> {
        self.slice(at, len, limit).map(drop)
    }

    /// The entry at `at`: head and head data, checked; payloads are not read.
    pub fn entry(&mut self, at: u64, limit: u64) -> Result<Entry, Fault> {
        let fault = |at, what: &str| Fault { at, what: what.to_owned(), cause: Cause::Damage };
        let bytes = self.slice(at, HEAD_LEN, limit)?;
        let head = EntryHead::decode(&bytes, self.salt, at).map_err(|found| match found {
            HeadFault::Damaged(what) => fault(at, what),
            HeadFault::Unknown(what) => Fault { cause: Cause::Unknown, ..fault(at, what) },
        })?;
        if head.len() > limit.saturating_sub(at) {
            return Err(fault(at, "the file ends inside an entry"));
        }
        let meta_at = at.saturating_add(HEAD_LEN as u64);
        let meta = self.slice(meta_at, head.meta as usize, limit)?;
        if crc32c::crc32c(&meta) != head.meta_crc {
            return Err(fault(meta_at, "the checksum of an entry's head data does not match"));
        }
        let first = at == HEADER_LEN as u64;
        if first != (head.kind == EntryKind::Checkpoint) {
            return Err(fault(at, "a checkpoint is the first entry of a segment and only that"));
        }
        Ok(Entry { at, head, meta })
    }

    /// The directory of a batch entry; a bad one is a fault at the entry's head data.
    pub fn directory<'e>(&self, entry: &'e Entry) -> Result<Directory<'e>, Fault> {
        let at = entry.at.saturating_add(HEAD_LEN as u64);
        let fault = |what: String| Fault { at, what, cause: Cause::Unknown };
        let directory = Directory::decode(&entry.meta).map_err(|error| fault(error.to_string()))?;
        if directory.payload() != entry.head.payload {
            return Err(fault("the lengths of a batch's sections do not add up".to_owned()));
        }
        Ok(directory)
    }

    /// The payload of a section that begins at `at`, checked and decompressed.
    pub fn payload(&mut self, at: u64, section: &SectionHead<'_>, limit: u64) -> Result<Bytes, Fault> {
        let stored = self.slice(at, section.stored as usize, limit)?;
        if crc32c::crc32c(&stored) != section.crc {
            return Err(checksum(at, section));
        }
        if section.compression == COMPRESSION_NONE {
            return Ok(stored);
        }
        match lz4_flex::block::decompress(&stored, section.raw as usize) {
            Ok(raw) if raw.len() as u64 == section.raw => Ok(raw.into()),
            _ => Err(Fault { cause: Cause::Unknown, ..checksum(at, section) }),
        }
    }

    /// The payload of a section as it stands on disk, checked.
    pub fn stored(&mut self, at: u64, section: &SectionHead<'_>, limit: u64) -> Result<Bytes, Fault> {
        let stored = self.slice(at, section.stored as usize, limit)?;
        if crc32c::crc32c(&stored) == section.crc { Ok(stored) } else { Err(checksum(at, section)) }
    }

    /// Checks the payloads of a batch in pieces, without holding a large one.
    pub fn verify(&mut self, entry: &Entry, directory: &Directory<'_>, limit: u64) -> Result<(), Fault> {
        let mut at = entry.payload_at();
        for section in &directory.sections {
            let (mut done, mut crc) = (0, 0);
            while done < section.stored {
                let piece = (section.stored - done).min(READ_AHEAD as u64);
                crc = crc32c::crc32c_append(crc, &self.slice(at.saturating_add(done), piece as usize, limit)?);
                done = done.saturating_add(piece);
            }
            if crc != section.crc {
                return Err(checksum(at, section));
            }
            at = at.saturating_add(section.stored);
        }
        Ok(())
    }

    /// Calls `visit` with every entry of a sealed segment; payloads are not read. A segment whose end is missing is damaged,
    /// also when it is cut between two entries.
    pub fn each_entry(
        &mut self,
        limit: u64,
        mut visit: impl FnMut(&mut Segment, &Entry) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let (mut at, mut sealed) = (HEADER_LEN as u64, false);
        while at < limit {
            let entry = self.entry(at, limit)?;
            sealed = entry.head.kind == EntryKind::Mark && *entry.meta == [1];
            visit(self, &entry)?;
            self.expect(entry.head.payload);
            at = entry.end();
        }
        if sealed { Ok(()) } else { Err(unsealed(limit)) }
    }

    /// Tells the window how the next entries will be read.
    pub fn expect(&mut self, skipped: u64) {
        self.ahead = if skipped > 4 * READ_LITTLE as u64 { READ_LITTLE } else { READ_AHEAD };
    }

    /// Looks behind damage at byte `damage` for an entry that was written when that byte was already durable: then it is no
    /// torn tail (I6). Gives that entry's place.
    pub fn proof_after(&mut self, damage: u64, limit: u64) -> Result<Option<u64>, Fault> {
        self.ahead = READ_AHEAD;
        let mut at = damage;
        while at < limit {
            let len = (limit - at).min(READ_AHEAD as u64) as usize;
            let bytes = self.slice(at, len, limit)?;
            let candidates = bytes.windows(HEAD_LEN).enumerate();
            for (skip, window) in candidates.filter(|(_, window)| window.starts_with(&ENTRY_MAGIC)) {
                let place = at.saturating_add(skip as u64);
                if let Ok(head) = EntryHead::decode(window, self.salt, place)
                    && head.durable > damage
                {
                    return Ok(Some(place));
                }
            }
            // The next piece overlaps, so that a head across the border is seen.
            at = at.saturating_add((len.saturating_sub(HEAD_LEN - 1)).max(1) as u64);
        }
        Ok(None)
    }
}

/// The fault of a sealed segment whose last entry is not the mark that seals it.
pub(super) fn unsealed(at: u64) -> Fault {
    Fault { at, what: "the segment is sealed, but its end is missing".to_owned(), cause: Cause::Damage }
}

fn checksum(at: u64, section: &SectionHead<'_>) -> Fault {
    let what = format!(
        "the checksum of the section of {} at offset {} does not match",
        section.topic, section.base
    );
    Fault { at, what, cause: Cause::Damage }
}
