//! How far consumer groups have come: one small file a group, replaced as a whole, at most about once a second.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_api::reader::{Reader, put_bytes, put_varint};
use connector_api::{Cursor, Error, LogId, Result, TopicPartition};

use super::format::{self, GROUP_MAGIC, VERSION};
use super::fs::{self, Fs};
use crate::log::Subscription;

/// Longest group name in bytes; escaped it must still be a file name.
const NAME_BYTES_MAX: usize = 64;
/// No group file is larger.
const FILE_MAX: u64 = 64 << 20;
/// How long a commit may wait for its file.
const FLUSH_EVERY: Duration = Duration::from_millis(1000);

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub cursor: Cursor,
    /// What it reads, when it was registered.
    pub subscription: Option<Subscription>,
}

impl Group {
    /// The offset before which the group needs nothing of a topic-partition; `None` when it does not care. A group that said
    /// what it reads does not care for what it read in an earlier configuration: its cursor would stand there for ever.
    pub fn passed(&self, topic: &TopicPartition) -> Option<u64> {
        let next = self.cursor.next.get(topic).copied();
        match &self.subscription {
            Some(wanted) => wanted.wants(&topic.topic).then(|| next.unwrap_or(0)),
            None => next,
        }
    }
}

/// All groups of a log.
#[derive(Debug)]
pub(super) struct Groups {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    log: LogId,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Held while files are written, so that two writers never cross.
    flushing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Inner {
    groups: BTreeMap<String, Group>,
    dirty: BTreeMap<String, ()>,
    stopped: bool,
}

impl Groups {
    /// Reads all group files of the directory.
    pub fn open(fs: Arc<dyn Fs>, dir: PathBuf, log: LogId) -> Result<Groups> {
        let names = fs.list(&dir).map_err(|error| Error::io(format!("list {}", dir.display()), error))?;
        let mut inner = Inner::default();
        for file in names.iter().filter(|name| !name.ends_with(".new")) {
            let path = dir.join(file);
            let bytes = fs::read_small(&*fs, &path, FILE_MAX)?;
            let (name, group) = decode(&bytes).map_err(|what| damaged(&path, &what))?;
            if escape(&name) != *file || group.cursor.log != log {
                return Err(damaged(&path, "it belongs to another group or another log"));
            }
            inner.groups.insert(name, group);
        }
        let (inner, changed, flushing) = (Mutex::new(inner), Condvar::new(), Mutex::new(()));
        Ok(Groups { fs, dir, log, inner, changed, flushing })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn all(&self) -> BTreeMap<String, Group> {
        self.lock().groups.clone()
    }

    /// Notes a cursor; the file follows within a second.
    pub fn commit(&self, name: &str, cursor: &Cursor) -> Result<()> {
        check(name)?;
        let mut inner = self.lock();
        match inner.groups.get_mut(name) {
            Some(group) if group.cursor == *cursor => return Ok(()),
            Some(group) => group.cursor.clone_from(cursor),
            None => {
                let group = Group { cursor: cursor.clone(), subscription: None };
                inner.groups.insert(name.to_owned(), group);
            }
        }
        inner.dirty.insert(name.to_owned(), ());
        self.changed.notify_all();
        Ok(())
    }

    /// Notes what a group reads, durably at once: retention must not miss it after a crash.
    pub fn register(&self, name: &str, subscription: &Subscription) -> Result<()> {
        check(name)?;
        {
            let mut inner = self.lock();
            let fresh = || Group { cursor: Cursor::start(self.log), subscription: None };
            let group = inner.groups.entry(name.to_owned()).or_insert_with(fresh);
            if group.subscription.as_ref() == Some(subscription) {
                return Ok(());
            }
            group.subscription = Some(subscription.clone());
            inner.dirty.insert(name.to_owned(), ());
        }
        self.flush()
    }

    /// Removes a group and its file.
    pub fn forget(&self, name: &str) -> Result<()> {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = {
            let mut inner = self.lock();
            inner.dirty.remove(name);
            inner.groups.remove(name).is_some()
        };
        let path = self.dir.join(escape(name));
        let removed = match self.fs.remove(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.and_then(|()| self.fs.sync_dir(&self.dir)),
        };
        match removed {
            Err(error) if known => Err(Error::io(format!("remove {}", path.display()), error)),
            _ => Ok(()),
        }
    }

    /// Writes the files of all groups that changed.
    pub fn flush(&self) -> Result<()> {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some((name, bytes)) = ({
                let mut inner = self.lock();
                let next = inner.dirty.pop_first().map(|(name, ())| name);
                next.and_then(|name| {
                    let bytes = encode(&name, inner.groups.get(&name)?);
                    Some((name, bytes))
                })
            }) else {
                return Ok(());
            };
            if let Err(error) = fs::replace(&*self.fs, &self.dir, &escape(&name), &bytes) {
                self.lock().dirty.insert(name, ());
                return Err(error);
            }
        }
    }

    /// Writes what changed about once a second, until [`Groups::stop`].
    pub fn run(&self) {
        let mut inner = self.lock();
        while !inner.stopped {
            if inner.dirty.is_empty() {
                inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout_while(inner, FLUSH_EVERY, |inner| !inner.stopped);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            if inner.stopped {
                return;
            }
            drop(inner);
            if let Err(error) = self.flush() {
                tracing::warn!(%error, "offsets of consumer groups not written; trying again");
            }
            inner = self.lock();
        }
    }

    /// Ends [`Groups::run`].
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::corrupt(format!("read {} at byte 0: {what}", path.display())).with_remedy(format!(
        "rm '{}' (the group is registered again when its sink starts, from the sink's own cursor)",
        path.display()
    ))
}

fn check(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::config(format!("commit group {name:?}: a name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// The file name of a group: letters, digits, `-` and `_` as they are, every other byte as `%` and two digits.
pub(super) fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn encode(name: &str, group: &Group) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(GROUP_MAGIC);
    out.extend_from_slice(&u32::from(VERSION).to_le_bytes());
    out.extend_from_slice(&group.cursor.log.0.to_le_bytes());
    put_bytes(&mut out, name.as_bytes());
    out.push(u8::from(group.subscription.is_some()));
    let patterns = group.subscription.as_ref().map_or(&[][..], |wanted| &wanted.patterns);
    put_varint(&mut out, patterns.len() as u64);
    patterns.iter().for_each(|pattern| put_bytes(&mut out, pattern.as_bytes()));
    put_varint(&mut out, group.cursor.next.len() as u64);
    for (topic, next) in &group.cursor.next {
        format::put_topic(&mut out, topic);
        put_varint(&mut out, *next);
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn decode(bytes: &[u8]) -> Result<(String, Group), String> {
    let mut reader: Reader<'_> = format::open_file(bytes, bytes.len(), GROUP_MAGIC, "group file")?;
    let log = LogId(u128::from_le_bytes(reader.bytes16()));
    let name = reader.text().to_owned();
    let registered = reader.u8();
    let mut patterns = Vec::new();
    for _ in 0..reader.varint() {
        if reader.is_bad() {
            break;
        }
        patterns.push(reader.text().to_owned());
    }
    let mut cursor = Cursor::start(log);
    for _ in 0..reader.varint() {
        if reader.is_bad() {
            break;
        }
        let topic = format::read_topic(&mut reader);
        cursor.next.insert(topic, reader.varint());
    }
    reader.finish("group file").map_err(|error| error.to_string())?;
    let subscription = match registered {
        0 => None,
        1 => Some(Subscription { patterns }),
        other => return Err(format!("the group file has a flag {other} that this version does not know")),
    };
    Ok((name, Group { cursor, subscription }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn group_files_come_back(name in ".{1,20}", topics in prop::collection::btree_map(".{1,8}", any::<u64>(), 0..8),
                                 patterns in prop::option::of(prop::collection::vec(".{0,8}", 0..4))) {
            let next = topics.into_iter().map(|(topic, next)| (TopicPartition::first(topic), next)).collect();
            let subscription = patterns.map(|patterns| Subscription { patterns });
            let group = Group { cursor: Cursor { log: LogId(7), next }, subscription };
            prop_assert_eq!(decode(&encode(&name, &group)), Ok((name, group)));
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn escaped_names_are_different_file_names(one in ".{1,20}", two in ".{1,20}") {
            prop_assert_eq!(escape(&one) == escape(&two), one == two);
            prop_assert!(!escape(&one).contains(['/', '.', '\0']));
        }
    }

    #[test]
    fn every_flipped_byte_of_a_group_file_is_noticed() {
        let cursor = Cursor { log: LogId(7), next: [(TopicPartition::first("t"), 9)].into() };
        let good = encode("g", &Group { cursor, subscription: None });
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(decode(&bad).is_err(), "byte {at}");
        }
    }
}
