//! Looks at files without opening the log: takes no lock and changes nothing, also beside a running writer (I6).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use connector_api::{Error, LogId, Result, Schema, TopicPartition};

use super::format::{self, EntryKind, HEADER_LEN};
use super::fs::{self, Disk, Fs};
use super::segment::{Cause, Entry, Fault, Segment, file_name, parse_name, unsealed};

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The file.
    pub path: PathBuf,
    /// Sequence of the first batch that may stand in it.
    pub first: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// How often cleaning rewrote it.
    pub generation: u32,
    /// When it was made, Unix microseconds.
    pub created_us: i64,
    /// False for the newest segment.
    pub sealed: bool,
    /// Entries and batches in it.
    pub entries: u64,
    /// Batches in it.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes at the end of the newest segment that are no entry: being written just now, or a torn tail that opening for
    /// writing will cut.
    pub torn: u64,
}

/// One entry of a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryInfo {
    /// First byte of it in the file.
    pub at: u64,
    /// Bytes, head and payloads included.
    pub bytes: u64,
    /// `checkpoint`, `schema`, `batch`, `abort`, `mark`, `trim`.
    pub kind: &'static str,
    /// Of a batch: its sequence.
    pub sequence: Option<u64>,
    /// Of a batch: when it was appended, Unix microseconds.
    pub appended_us: Option<i64>,
    /// Of a batch or an abort: who wrote it.
    pub producer: Option<String>,
    /// Of a batch: it goes on with a transaction of an earlier one.
    pub continued: bool,
    /// Of a batch: its last transaction goes on in a later one.
    pub continues: bool,
    /// Of a batch: the source's position, if it has one.
    pub position: Option<Vec<u8>>,
    /// Of a batch: its sections.
    pub sections: Vec<SectionInfo>,
    /// Of a schema entry: the schema, with topic-partition and id.
    pub schema: Option<(TopicPartition, u64, Arc<Schema>)>,
    /// Of a mark: it seals the segment.
    pub seals: bool,
}

/// One section of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionInfo {
    /// Where its records belong.
    pub topic: TopicPartition,
    /// Offset of its first record.
    pub base: u64,
    /// Offsets that it covers.
    pub span: u32,
    /// Records that it holds.
    pub count: u32,
    /// Id of its schema; 0 for events.
    pub schema: u64,
    /// True when the payload is compressed.
    pub compressed: bool,
    /// First byte of the payload in the file.
    pub at: u64,
    /// Bytes of the payload in the file.
    pub bytes: u64,
}

/// The log's identity and its segment files, oldest first.
///
/// # Errors
/// [`connector_api::Kind::Config`] when there is no log; [`connector_api::Kind::Corrupt`] when `log.meta` is damaged.
pub fn segments(path: &Path) -> Result<(LogId, Vec<PathBuf>)> {
    let meta = path.join("log.meta");
    let bytes = fs::read_small(&Disk, &meta, 1 << 16)?;
    let id = format::decode_meta(&bytes)
        .map_err(|what| Error::corrupt(format!("read {} at byte 0: {what}", meta.display())))?;
    let dir = path.join("segments");
    let names = Disk.list(&dir).map_err(|error| Error::io(format!("list {}", dir.display()), error))?;
    let firsts = names.iter().filter_map(|name| parse_name(name));
    Ok((id, firsts.map(|first| dir.join(file_name(first))).collect()))
}

/// Reads one segment: `visit` gets every entry. With `verify`, payloads are read and checked too. In the newest segment it
/// stops at the last sound entry and says how many bytes come after.
///
/// # Errors
/// [`connector_api::Kind::Corrupt`] with file and byte at the first damage that is no torn tail.
pub fn inspect_segment(
    path: &Path,
    log: LogId,
    newest: bool,
    verify: bool,
    visit: &mut dyn FnMut(&EntryInfo),
) -> Result<SegmentInfo> {
    let first = path.file_name().and_then(|name| parse_name(name.to_str()?));
    let first = first.ok_or_else(|| Error::config(format!("inspect {}: not a segment's name", path.display())))?;
    let mut segment = Segment::open(&Disk, path, log, first)?;
    let limit = segment.len()?;
    let mut info = SegmentInfo {
        path: path.to_owned(),
        first,
        bytes: limit,
        generation: segment.header.generation,
        created_us: segment.header.created_us,
        sealed: false,
        entries: 0,
        batches: 0,
        records: 0,
        torn: 0,
    };
    let mut at = HEADER_LEN as u64;
    while at < limit {
        let entry = segment.entry(at, limit).and_then(|entry| {
            let described = describe(&mut segment, &entry, limit, verify)?;
            Ok((entry.end(), described))
        });
        let (end, described) = match entry {
            Ok(entry) => entry,
            Err(fault) => {
                let torn = newest && matches!(fault.cause, Cause::Damage) && at > HEADER_LEN as u64;
                let proof = if torn { segment.proof_after(at, limit) } else { Ok(Some(at)) };
                if proof.map_err(|fault| segment.error(fault))?.is_some() {
                    return Err(segment.error(fault));
                }
                info.torn = limit - at;
                return Ok(info);
            }
        };
        info.entries += 1;
        info.batches += u64::from(described.sequence.is_some());
        info.records += described.sections.iter().map(|section| u64::from(section.count)).sum::<u64>();
        info.sealed = described.seals;
        visit(&described);
        at = end;
    }
    if !newest && !info.sealed {
        return Err(segment.error(unsealed(limit)));
    }
    Ok(info)
}

/// [`inspect_segment`] over a whole log.
///
/// # Errors
/// As [`segments`] and [`inspect_segment`].
pub fn inspect(path: &Path, verify: bool, visit: &mut dyn FnMut(&Path, &EntryInfo)) -> Result<Vec<SegmentInfo>> {
    let (log, paths) = segments(path)?;
    let mut infos = Vec::with_capacity(paths.len());
    for (number, path) in paths.iter().enumerate() {
        let newest = number + 1 == paths.len();
        infos.push(inspect_segment(path, log, newest, verify, &mut |entry| visit(path, entry))?);
    }
    Ok(infos)
}

fn describe(
    segment: &mut Segment,
    entry: &Entry,
    limit: u64,
    verify: bool,
) -> Result<EntryInfo, Fault> {
    let mut info = EntryInfo {
        at: entry.at,
        bytes: entry.head.len(),
        kind: "mark",
        sequence: None,
        appended_us: None,
        producer: None,
        continued: false,
        continues: false,
        position: None,
        sections: Vec::new(),
        schema: None,
        seals: false,
    };
    let unsound = |error: Error| Fault {
        at: entry.at,
        what: error.to_string(),
        cause: Cause::Unknown,
    };
    match entry.head.kind {
        EntryKind::Checkpoint => {
            info.kind = "checkpoint";
            format::decode_checkpoint(&entry.meta).map_err(unsound)?;
        }
        EntryKind::Schema => {
            info.kind = "schema";
            info.schema = Some(format::decode_schema(&entry.meta).map_err(unsound)?);
        }
        EntryKind::Abort => {
            info.kind = "abort";
            info.producer = Some(format::decode_abort(&entry.meta).map_err(unsound)?.producer.to_string());
        }
        EntryKind::Trim => {
            info.kind = "trim";
            format::decode_trim(&entry.meta).map_err(unsound)?;
        }
        EntryKind::Mark => info.seals = format::decode_mark(&entry.meta).map_err(unsound)?,
        EntryKind::Batch => batch(segment, entry, limit, verify, &mut info)?,
    }
    Ok(info)
}

fn batch(
    segment: &mut Segment,
    entry: &Entry,
    limit: u64,
    verify: bool,
    info: &mut EntryInfo,
) -> Result<(), Fault> {
    let directory = segment.directory(entry)?;
    if verify {
        segment.verify(entry, &directory, limit)?;
    }
    info.kind = "batch";
    info.sequence = Some(directory.sequence);
    info.appended_us = Some(directory.appended_us);
    info.producer = Some(directory.producer.to_owned());
    (info.continued, info.continues) = (directory.continued, directory.continues);
    info.position = directory.position.map(<[u8]>::to_vec);
    let mut at = entry.payload_at();
    for head in &directory.sections {
        info.sections.push(SectionInfo {
            topic: TopicPartition { topic: head.topic.into(), partition: head.partition },
            base: head.base,
            span: head.span,
            count: head.count,
            schema: head.schema,
            compressed: head.compression != format::COMPRESSION_NONE,
            at,
            bytes: head.stored,
        });
        at = at.saturating_add(head.stored);
    }
    Ok(())
}
