//! Opening a directory: the newest segment is read and checked whole, the others are only listed. A torn tail of the newest
//! one is cut when opening for writing, and by nobody else (I6).
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, RwLock};

use connector_api::{Error, LogId, Position, Result, Schema, Section, TopicPartition};

use super::format::{self, EntryKind, HEADER_LEN, Header, META_LEN, Salt, put_entry};
use super::fs::{self, File, Fs};
use super::index::Index;
use super::segment::{Cause, Entry, Fault, Segment, file_name, parse_name};
use super::shared::Opened;
use super::writer::now_us;
use crate::log::scan::Stored;
use crate::log::state::{Note, State};

/// What a directory is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// What opening found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub id: LogId,
    pub state: State,
    /// Bytes of the sealed segments by first sequence.
    pub sealed: BTreeMap<u64, u64>,
    /// Schemas met.
    pub schemas: HashMap<u64, Arc<Schema>>,
    pub opened: Opened,
}

/// Opens a directory; for writing, also makes it.
pub(super) fn open(fs: Arc<dyn Fs>, path: &Path, access: Access) -> Result<Recovered> {
    let dir = path.join("segments");
    let mut lock = None;
    if access == Access::Write {
        for dir in [path, &dir, &path.join("groups")] {
            fs.create_dir(dir).map_err(|error| Error::io(format!("make {}", dir.display()), error))?;
        }
        lock = Some(fs.lock(&path.join("LOCK"))?);
        fs.sync_dir(path).map_err(|error| Error::io(format!("fsync {}", path.display()), error))?;
    }
    let mut firsts = list(&*fs, &dir, access)?;
    let id = identify(&*fs, path, access, firsts.is_empty())?;
    if firsts.is_empty() {
        if access == Access::Read {
            return Err(no_log(path));
        }
        firsts.push(create_first(&*fs, &dir, id)?);
    }
    let newest = firsts.pop().unwrap_or_default();
    let mut sealed = BTreeMap::new();
    for first in firsts {
        let path = dir.join(file_name(first));
        match fs.open(&path).and_then(|file| file.len()) {
            Ok(len) => drop(sealed.insert(first, len)),
            // The writer beside this reader cleans.
            Err(error) if access == Access::Read && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(format!("open {}", path.display()), error)),
        }
    }
    let mut recovered = replay(&*fs, &dir.join(file_name(newest)), id, newest, access)?;
    recovered.sealed = sealed;
    recovered.opened.lock = lock;
    Ok(recovered)
}

fn no_log(path: &Path) -> Error {
    Error::config(format!("open log {}: there is no log", path.display()))
        .with_remedy("check log.path, or run `millstream run` once to make it")
}

/// The first sequences of all segments. Temporary files that a crash left are removed when opening for writing: they were
/// never part of the log.
fn list(fs: &dyn Fs, dir: &Path, access: Access) -> Result<Vec<u64>> {
    let names = match fs.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io(format!("list {}", dir.display()), error)),
    };
    if access == Access::Write {
        for name in names.iter().filter(|name| name.ends_with(".new")) {
            let path = dir.join(name);
            fs.remove(&path).map_err(|error| Error::io(format!("remove {}", path.display()), error))?;
        }
    }
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| parse_name(name)).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// The identity in `log.meta`; made for a new log only.
fn identify(fs: &dyn Fs, path: &Path, access: Access, fresh: bool) -> Result<LogId> {
    let meta = path.join("log.meta");
    let corrupt = |what: &str| Error::corrupt(format!("read {} at byte 0: {what}", meta.display()));
    match fs::read_small(fs, &meta, 4 * META_LEN as u64) {
        Ok(bytes) => format::decode_meta(&bytes).map_err(|what| corrupt(&what)),
        Err(error) if error.kind() != connector_api::Kind::Config => Err(error),
        Err(_) if !fresh => Err(corrupt("it is missing, and there are segments")
            .with_remedy("bring log.meta back from where the directory was copied from")),
        Err(_) if access == Access::Read => Err(no_log(path)),
        Err(_) => {
            let id = LogId(random()?);
            fs::replace(fs, path, "log.meta", &format::encode_meta(id, now_us()))?;
            Ok(id)
        }
    }
}

/// 128 bits from the system.
fn random() -> Result<u128> {
    let failed = |error| Error::io("read /dev/urandom", error);
    let mut bytes = [0; 16];
    let mut source = std::fs::File::open("/dev/urandom").map_err(failed)?;
    io::Read::read_exact(&mut source, &mut bytes).map_err(failed)?;
    Ok(u128::from_le_bytes(bytes))
}

fn create_first(fs: &dyn Fs, dir: &Path, id: LogId) -> Result<u64> {
    let mut checkpoint = Vec::new();
    format::encode_checkpoint(&mut checkpoint, &State::default(), 0, now_us());
    let header = Header { log: id, first: 0, generation: 0, created_us: now_us() };
    match create_segment(fs, dir, header, &checkpoint) {
        Ok(_) => Ok(0),
        Err(CreateError::Clean(error) | CreateError::Unknown(error)) => {
            Err(Error::io(format!("make segment {}", dir.join(file_name(0)).display()), error))
        }
    }
}

/// Why a segment was not made.
#[derive(Debug)]
pub(super) enum CreateError {
    /// Nothing of it is there.
    Clean(io::Error),
    /// It may be there after a crash.
    Unknown(io::Error),
}

/// Makes a segment that holds its header and a checkpoint. It gets its name when it is whole and durable, so that a segment
/// with a damaged beginning is never the trace of a crash.
pub(super) fn create_segment(
    fs: &dyn Fs,
    dir: &Path,
    header: Header,
    checkpoint: &[u8],
) -> Result<(Arc<dyn File>, u64), CreateError> {
    let path = dir.join(file_name(header.first));
    let temporary = path.with_extension("log.new");
    let mut bytes = header.encode().to_vec();
    let salt = Salt::new(header.log, header.first);
    put_entry(&mut bytes, salt, HEADER_LEN as u64, 0, EntryKind::Checkpoint, 0, |out| {
        out.extend_from_slice(checkpoint);
    });
    let written = || {
        let file = fs.create(&temporary)?;
        fs::write_all(&*file, &mut [IoSlice::new(&bytes)], 0)?;
        file.sync()?;
        Ok(file)
    };
    let file = written().map_err(|error| {
        let _ = fs.remove(&temporary);
        CreateError::Clean(error)
    })?;
    fs.rename(&temporary, &path).and_then(|()| fs.sync_dir(dir)).map_err(CreateError::Unknown)?;
    Ok((file, bytes.len() as u64))
}

/// How often reading beside a writer looks again before it believes in damage.
const LOOKS: u32 = 3;

/// Reads the newest segment from its checkpoint on.
fn replay(fs: &dyn Fs, path: &Path, id: LogId, first: u64, access: Access) -> Result<Recovered> {
    let open = |path| if access == Access::Write { fs.open_write(path) } else { fs.open(path) };
    let file = open(path).map_err(|error| Error::io(format!("open {}", path.display()), error))?;
    let mut segment = Segment::over(file.clone(), path, id, first)?;
    let mut looks = 1;
    let replay = loop {
        let limit = segment.len()?;
        match Replay::default().run(&mut segment, limit) {
            Ok(replay) => break replay,
            // A writer may have been in the middle of this group.
            Err(_) if access == Access::Read && looks < LOOKS => segment.release(),
            Err(error) => return Err(error),
        }
        looks += 1;
    };
    if access == Access::Write {
        settle(&*file, path, &replay)?;
    }
    let opened = Opened {
        file,
        first,
        end: replay.end,
        index: Arc::new(RwLock::new(replay.index)),
        sealed: replay.sealed,
        lock: None,
    };
    let (state, schemas) = (replay.state, replay.schemas);
    Ok(Recovered { id, state, sealed: BTreeMap::new(), schemas, opened })
}

/// Cuts the torn tail (I6), and makes durable what was read: after a crash of the process it may be in the page cache
/// only, and it is about to be confirmed upstream (I1).
fn settle(file: &dyn File, path: &Path, replay: &Replay) -> Result<()> {
    let failed = |error| Error::io(format!("open {} for writing", path.display()), error);
    if let Some((torn, what)) = &replay.torn {
        tracing::warn!(file = %path.display(), at = replay.end, bytes = torn, what, "torn tail cut");
        file.set_len(replay.end).map_err(failed)?;
    }
    file.sync().map_err(failed)
}

/// The state of reading a segment forward.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub state: State,
    pub schemas: HashMap<u64, Arc<Schema>>,
    pub index: Index,
    /// The byte after the last sound entry.
    pub end: u64,
    pub sealed: bool,
    /// Bytes behind `end` that are no entry, and why.
    pub torn: Option<(u64, String)>,
}

impl Replay {
    /// Reads and checks everything up to `limit` or to a torn tail.
    pub fn run(mut self, segment: &mut Segment, limit: u64) -> Result<Replay> {
        self.end = HEADER_LEN as u64;
        while self.end < limit || self.end == HEADER_LEN as u64 {
            let Err(fault) = self.step(segment, limit) else { continue };
            // The beginning of a segment was whole before it got its name.
            let torn = matches!(fault.cause, Cause::Damage) && self.end > HEADER_LEN as u64;
            if !torn {
                return Err(segment.error(fault));
            }
            let proof = segment.proof_after(self.end, limit).map_err(|fault| segment.error(fault))?;
            if let Some(proof) = proof {
                let what = format!(
                    "{}; this was durable when the entry at byte {proof} was written, so no crash did it",
                    fault.what
                );
                return Err(segment.error(Fault { what, ..fault }).with_remedy(
                    "bring the file back from a copy, or move the log directory away and fill the sinks again from new snapshots",
                ));
            }
            self.torn = Some((limit - self.end, fault.what));
            break;
        }
        Ok(self)
    }

    /// Reads one entry.
    fn step(&mut self, segment: &mut Segment, limit: u64) -> Result<(), Fault> {
        let entry = segment.entry(self.end, limit)?;
        if self.sealed {
            let what = "an entry follows the end of a sealed segment".to_owned();
            return Err(Fault { at: entry.at, what, cause: Cause::Unknown });
        }
        let at = entry.at + format::HEAD_LEN as u64;
        let unsound = |error: Error| Fault { at, what: error.to_string(), cause: Cause::Unknown };
        match entry.head.kind {
            EntryKind::Checkpoint => {
                self.state = format::decode_checkpoint(&entry.meta).map_err(unsound)?.state;
                let schemas = self.state.topics.values().filter_map(|topic| topic.schema.clone());
                self.schemas.extend(schemas);
            }
            EntryKind::Schema => {
                let (topic, id, schema) = format::decode_schema(&entry.meta).map_err(unsound)?;
                self.schemas.insert(id, schema.clone());
                self.index.schemas.push(entry.at);
                self.state.apply(&Note::Schema { topic, id, schema });
            }
            EntryKind::Abort => {
                let aborted = format::decode_abort(&entry.meta).map_err(unsound)?;
                self.state.apply(&Note::Abort(aborted));
            }
            EntryKind::Trim => {
                let trims = format::decode_trim(&entry.meta).map_err(unsound)?;
                self.state.apply(&Note::Trim(trims));
            }
            EntryKind::Mark => self.sealed = format::decode_mark(&entry.meta).map_err(unsound)?,
            EntryKind::Batch => self.batch(segment, &entry, limit)?,
        }
        self.end = entry.end();
        Ok(())
    }

    fn batch(&mut self, segment: &mut Segment, entry: &Entry, limit: u64) -> Result<(), Fault> {
        let directory = segment.directory(entry)?;
        segment.verify(entry, &directory, limit)?;
        let unsound = |what: String| Fault { at: entry.at, what, cause: Cause::Unknown };
        if directory.sequence < self.state.next {
            let what = format!("batch {} comes where {} is due", directory.sequence, self.state.next);
            return Err(unsound(what));
        }
        let mut sections = Vec::with_capacity(directory.sections.len());
        for head in &directory.sections {
            let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
            let known = self.state.topics.get(&topic);
            if head.schema != 0 && !self.schemas.contains_key(&head.schema) {
                return Err(unsound(format!(
                    "the section of {topic} refers to unknown schema {}",
                    head.schema
                )));
            }
            if known.is_some_and(|known| head.base < known.next) && segment.header.generation == 0 {
                return Err(unsound(format!("the section of {topic} begins at offset {} again", head.base)));
            }
            sections.push(Section {
                topic,
                base: head.base,
                span: head.span,
                count: head.count,
                from: 0,
                schema: None,
                encoding: head.encoding,
                payload: bytes::Bytes::new(),
            });
        }
        let ends = directory.sections.iter().map(|head| (head.topic, head.partition, head.end()));
        self.index.add(entry.at, directory.sequence, directory.ends_transaction(), ends);
        let stored = Stored {
            sequence: directory.sequence,
            appended_us: directory.appended_us,
            producer: directory.producer.into(),
            position: directory.position.map(Position::new),
            continued: directory.continued,
            continues: directory.continues,
            first: directory.first,
            transactions: bytes::Bytes::new(),
            sections,
        };
        self.state.apply(&Note::Batch { stored: Arc::new(stored), schemas: Vec::new() });
        for head in &directory.sections {
            let topic = TopicPartition { topic: head.topic.into(), partition: head.partition };
            if let Some(topic) = self.state.topics.get_mut(&topic) {
                topic.bytes = topic.bytes.saturating_add(head.raw);
            }
        }
        Ok(())
    }
}
