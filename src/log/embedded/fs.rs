//! The few file operations that the log makes, behind a trait, so that tests can let the disk fail, fill up and lose what
//! was not fsynced.

#[cfg(test)]
pub(super) mod faulty;

use std::fmt::Debug;
use std::fs::OpenOptions;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use connector_api::{Error, Result};

/// Operations on names.
pub(super) trait Fs: Send + Sync + Debug {
    /// Makes a directory, and its parents, if it is not there; its name is durable.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Opens for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens for reading and writing.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Makes an empty file, or empties it.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock on a file until the result is dropped (I8).
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>>;
}

/// An open file.
pub(super) trait File: Send + Sync + Debug {
    fn len(&self) -> io::Result<u64>;
    /// Reads some bytes at a place; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes some of the bytes at a place.
    fn write_at(&self, buffers: &[IoSlice<'_>], at: u64) -> io::Result<usize>;
    /// Makes data and length durable.
    fn sync(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
}

/// Held while a log is open for writing.
pub(super) trait Lock: Send + Sync + Debug {}

/// The file system of the machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk;

impl Fs for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
        let made: Vec<&Path> = path.ancestors().take_while(missing).collect();
        std::fs::create_dir_all(path)?;
        // A new folder is durable with its name in its parent (I1).
        for parent in made.into_iter().filter_map(Path::parent) {
            let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            self.sync_dir(here)?;
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            // A name that is not UTF-8 is not one of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(std::fs::File::open(path)?))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        Ok(Arc::new(options.read(true).write(true).create(true).truncate(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>> {
        Ok(Box::new(super::lock::FileLock::take(path)?))
    }
}

impl File for std::fs::File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, at)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(self, buffers, at)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        std::fs::File::set_len(self, len)
    }
}

/// Most buffers that one `pwritev` takes.
const BUFFERS_MAX: usize = 1024;

/// Writes all buffers at a place. What was written before an error is unknown.
pub(super) fn write_all(file: &dyn File, buffers: &mut [IoSlice<'_>], mut at: u64) -> io::Result<()> {
    let mut rest = buffers;
    // Skips empty buffers in front, so that a write of nothing is never asked for.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let some = rest.len().min(BUFFERS_MAX);
        match file.write_at(&rest[..some], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `buffer` from a place; fewer bytes only at the end of the file.
pub(super) fn read_full(file: &dyn File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// A whole small file; one larger than `max` is refused.
pub(super) fn read_small(fs: &dyn Fs, path: &Path, max: u64) -> Result<Vec<u8>> {
    let failed = |error| Error::io(format!("read {}", path.display()), error);
    let file = fs.open(path).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    if len > max {
        return Err(Error::corrupt(format!("read {}: {len} bytes, at most {max}", path.display())));
    }
    let mut bytes = vec![0; len as usize];
    let read = read_full(&*file, &mut bytes, 0).map_err(failed)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Puts a file in place of another, whole or not at all: temporary file, fsync, rename, fsync of the directory.
pub(super) fn replace(fs: &dyn Fs, dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (to, temporary) = (dir.join(name), dir.join(format!("{name}.new")));
    let written = || -> io::Result<()> {
        let file = fs.create(&temporary)?;
        write_all(&*file, &mut [IoSlice::new(bytes)], 0)?;
        file.sync()?;
        fs.rename(&temporary, &to)?;
        fs.sync_dir(dir)
    };
    written().map_err(|error| {
        let _ = fs.remove(&temporary);
        Error::io(format!("write {}", to.display()), error)
    })
}

/// True when an error says that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A writer of a whole file through one buffer, for files that are not appended to later.
#[derive(Debug)]
pub(super) struct Sequential {
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    at: u64,
}

impl Sequential {
    pub fn new(file: Arc<dyn File>) -> Sequential {
        Sequential { file, buffer: Vec::with_capacity(256 << 10), at: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> u64 {
        self.at + self.buffer.len() as u64
    }

    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync()
    }
}

impl Write for Sequential {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > self.buffer.capacity() {
            self.flush()?;
        }
        if bytes.len() < self.buffer.capacity() {
            self.buffer.extend_from_slice(bytes);
        } else {
            write_all(&*self.file, &mut [IoSlice::new(bytes)], self.at)?;
            self.at += bytes.len() as u64;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all(&*self.file, &mut [IoSlice::new(&self.buffer)], self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
