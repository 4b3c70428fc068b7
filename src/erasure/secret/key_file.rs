//! The file that holds the secret: made once, whole or not at all, and readable by its owner only.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use connector_api::{Error, Result};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::SECRET_BYTES;

type Bytes = [u8; SECRET_BYTES];

/// A new secret.
pub fn random() -> Result<Bytes> {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::transient("make a random key: the system gives no random numbers"))?;
    Ok(bytes)
}

/// What to do about a file that is not the one it should be.
pub fn restore(path: &Path) -> String {
    format!("put the file back from the backup: cp BACKUP/erasure.key {0} && chmod 600 {0}", path.display())
}

/// Reads the file, or makes it where there is none.
pub fn open(path: &Path) -> Result<Bytes> {
    if let Some(bytes) = read(path)? {
        return Ok(bytes);
    }
    make(path, &random()?).map_err(|error| Error::io(format!("make key file {}", path.display()), error))?;
    // Read back: another process may have been first, and then its key is the key.
    read(path)?.ok_or_else(|| Error::lost(format!("make key file {}: it is gone again", path.display())))
}

/// Reads the file, if there is one.
pub fn read(path: &Path) -> Result<Option<Bytes>> {
    let failed = |error| Error::io(format!("read key file {}", path.display()), error);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::config(format!(
            "read key file {}: others may read it (mode {:o})",
            path.display(),
            mode & 0o777
        ))
        .with_remedy(format!("chmod 600 {}", path.display())));
    }
    let mut bytes = Vec::new();
    (&mut file).take(SECRET_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Bytes::try_from(bytes).map(Some).map_err(|_| {
        Error::corrupt(format!("read key file {}: it is not {SECRET_BYTES} bytes long", path.display()))
            .with_remedy(restore(path))
    })
}

/// Writes the file under another name and links it: it is there whole or not at all, and never replaces one.
fn make(path: &Path, bytes: &Bytes) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(refused) if refused.error.kind() != io::ErrorKind::AlreadyExists => return Err(refused.error),
        _ => {}
    }
    File::open(folder)?.sync_all()
}
