//! One writer a log (I8): an advisory lock on the file `LOCK`, which names the process that holds it. The kernel
//! lets go of it when that process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use connector_api::{Error, Result};

use super::fs::Lock;

/// The lock, held.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

impl Lock for FileLock {}

impl FileLock {
    /// Takes the lock or says who has it.
    pub fn take(path: &Path) -> Result<FileLock> {
        let failed = |error| Error::io(format!("lock {}", path.display()), error);
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&mut file, path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let pid = format!("{}\n", std::process::id());
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(pid.as_bytes())).map_err(failed)?;
        Ok(FileLock { _file: file })
    }
}

fn held(file: &mut File, path: &Path) -> Error {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    let text = text.trim();
    let known = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (holder, stop) = match known {
        true => (format!("process {text}"), format!("stop that process: kill {text}")),
        false => ("another process".to_owned(), "stop the process that uses it".to_owned()),
    };
    Error::config(format!("lock {}: {holder} has the log open for writing", path.display())).with_remedy(stop)
}
