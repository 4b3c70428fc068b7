//! A disk in memory that fails on demand: short reads and writes, no room, failing fsyncs, and a crash that keeps any part
//! of what was not fsynced.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use connector_api::{Error, Result};

use super::{File, Fs, Lock};

/// The disk; clones are the same disk.
#[derive(Debug, Clone)]
pub(in crate::log::embedded) struct Faulty {
    inner: Arc<Mutex<Inner>>,
    /// Handles of an earlier life, from before a crash, do nothing any more.
    life: u64,
}

#[derive(Debug)]
struct Inner {
    life: u64,
    names: BTreeMap<PathBuf, Node>,
    /// Names as a crash leaves them, before `pending` changes are applied in order.
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<Change>,
    random: u64,
    locked: bool,
    faults: Faults,
}

/// What goes wrong from now on.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::log::embedded) struct Faults {
    /// Bytes that can still be written.
    pub room: Option<u64>,
    /// fsyncs of files fail.
    pub sync: bool,
    /// Writes fail, for another reason than room.
    pub write: bool,
    /// Reads and writes take a few bytes at a time.
    pub short: bool,
    /// Renames fail.
    pub rename: bool,
    /// Removing files fails.
    pub remove: bool,
    /// Changes of files and names that still succeed; then power is gone.
    pub steps: Option<u64>,
}

type Node = Arc<Mutex<Content>>;

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug)]
enum Change {
    Put(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Faulty {
    pub fn new(seed: u64) -> Faulty {
        let inner = Inner {
            life: 0,
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            random: seed | 1,
            locked: false,
            faults: Faults::default(),
        };
        Faulty { inner: Arc::new(Mutex::new(inner)), life: 0 }
    }

    pub fn set(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// The disk after power came back: durable content, and of the rest any part.
    pub fn crash(&self) -> Faulty {
        let mut inner = self.lock();
        let mut names = std::mem::take(&mut inner.durable);
        let pending = inner.pending.len() as u64;
        let kept = inner.below(pending + 1) as usize;
        for change in std::mem::take(&mut inner.pending).into_iter().take(kept) {
            apply(&mut names, change);
        }
        for node in names.values_mut() {
            let survived = {
                let content = node.lock().unwrap();
                inner.survive(&content)
            };
            *node = Arc::new(Mutex::new(Content { now: survived.clone(), durable: survived }));
        }
        inner.names = names.clone();
        inner.durable = names;
        inner.life += 1;
        inner.locked = false;
        inner.faults = Faults::default();
        Faulty { inner: self.inner.clone(), life: inner.life }
    }

    /// The disk after the process died: everything that was written is there, and durable is only what was before.
    pub fn kill(&self) -> Faulty {
        let mut inner = self.lock();
        inner.life += 1;
        inner.locked = false;
        inner.faults = Faults::default();
        Faulty { inner: self.inner.clone(), life: inner.life }
    }

    /// Another disk with the same files, as they are now.
    pub fn copy(&self) -> Faulty {
        let copy = Faulty::new(1);
        for path in self.paths() {
            copy.put(&path, self.read(&path));
        }
        copy
    }

    /// Puts a file there behind the log's back.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut inner = self.lock();
        let node = Arc::new(Mutex::new(Content { now: bytes.clone(), durable: bytes }));
        inner.names.insert(path.to_owned(), node.clone());
        inner.durable.insert(path.to_owned(), node);
    }

    /// Changes a file's bytes behind the log's back.
    pub fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let inner = self.lock();
        let mut content = inner.names[path].lock().unwrap();
        edit(&mut content.now);
        content.durable = content.now.clone();
    }

    pub fn read(&self, path: &Path) -> Vec<u8> {
        self.lock().names[path].lock().unwrap().now.clone()
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.lock();
        if inner.life == self.life { Ok(inner) } else { Err(io::Error::other("the machine crashed")) }
    }

    /// Before every change.
    fn step(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.alive()?;
        if let Some(steps) = &mut inner.faults.steps {
            if *steps == 0 {
                return Err(io::Error::other("power is gone"));
            }
            *steps -= 1;
        }
        Ok(inner)
    }

    fn file(&self, node: Node) -> Arc<dyn File> {
        Arc::new(Handle { disk: self.clone(), node })
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: Change) {
    match change {
        Change::Put(path, node) => drop(names.insert(path, node)),
        Change::Remove(path) => drop(names.remove(&path)),
        Change::Rename(from, to) => {
            if let Some(node) = names.remove(&from) {
                names.insert(to, node);
            }
        }
    }
}

impl Inner {
    /// xorshift; good enough to choose what survives.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    /// Any mix of pages of what is durable and what was written since, cut anywhere between the two lengths.
    fn survive(&mut self, content: &Content) -> Vec<u8> {
        let (now, durable) = (&content.now, &content.durable);
        let (short, long) = (now.len().min(durable.len()), now.len().max(durable.len()));
        let len = match self.below(4) {
            0 => durable.len(),
            1 => now.len(),
            _ => short + self.below((long - short) as u64 + 1) as usize,
        };
        let whole = self.below(2) == 0;
        let mut out = durable.clone();
        out.resize(len, 0);
        for page in (0..len).step_by(64) {
            if whole || self.below(3) > 0 {
                let end = (page + 64).min(len).min(now.len());
                if page < end {
                    out[page..end].copy_from_slice(&now[page..end]);
                }
            }
        }
        out
    }
}

impl Fs for Faulty {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.alive().map(drop)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let inner = self.alive()?;
        let inside = inner.names.keys().filter(|name| name.parent() == Some(path));
        Ok(inside.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let node = self.alive()?.names.get(path).cloned();
        Ok(self.file(node.ok_or(io::ErrorKind::NotFound)?))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut inner = self.step()?;
        if inner.faults.room == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let node = Node::default();
        inner.names.insert(path.to_owned(), node.clone());
        inner.pending.push(Change::Put(path.to_owned(), node.clone()));
        drop(inner);
        Ok(self.file(node))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.step()?;
        if inner.faults.rename {
            return Err(io::Error::other("rename failed"));
        }
        let node = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), node);
        inner.pending.push(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.step()?;
        if inner.faults.remove {
            return Err(io::Error::other("remove failed"));
        }
        inner.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        inner.pending.push(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut inner = self.step()?;
        let inner = &mut *inner;
        for change in inner.pending.drain(..) {
            apply(&mut inner.durable, change);
        }
        Ok(())
    }

    fn lock(&self, _: &Path) -> Result<Box<dyn Lock>> {
        let mut inner = self.alive().map_err(|error| Error::io("lock", error))?;
        if inner.locked {
            return Err(Error::config("lock: process 1 has the log open for writing"));
        }
        inner.locked = true;
        Ok(Box::new(Held { disk: self.clone() }))
    }
}

#[derive(Debug)]
struct Held {
    disk: Faulty,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        if let Ok(mut inner) = self.disk.alive() {
            inner.locked = false;
        }
    }
}

#[derive(Debug)]
struct Handle {
    disk: Faulty,
    node: Node,
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        let _inner = self.disk.alive()?;
        Ok(self.node.lock().unwrap().now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut inner = self.disk.alive()?;
        let some = if inner.faults.short { 1 + inner.below(61) as usize } else { usize::MAX };
        let content = self.node.lock().unwrap();
        let rest = content.now.get(at as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len()).min(some);
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let mut inner = self.disk.step()?;
        if inner.faults.write {
            return Err(io::Error::other("write failed"));
        }
        let mut bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        if inner.faults.short {
            let some = 1 + inner.below(61) as usize;
            bytes.truncate(some);
        }
        if let Some(room) = &mut inner.faults.room {
            if *room == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            bytes.truncate((*room).min(bytes.len() as u64) as usize);
            *room -= bytes.len() as u64;
        }
        let mut content = self.node.lock().unwrap();
        let (from, to) = (at as usize, at as usize + bytes.len());
        if content.now.len() < to {
            content.now.resize(to, 0);
        }
        content.now[from..to].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        let inner = self.disk.step()?;
        if inner.faults.sync {
            return Err(io::Error::other("fsync failed"));
        }
        let mut content = self.node.lock().unwrap();
        content.durable = content.now.clone();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _inner = self.disk.step()?;
        self.node.lock().unwrap().now.resize(len as usize, 0);
        Ok(())
    }
}
