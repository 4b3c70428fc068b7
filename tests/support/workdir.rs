//! A directory per test.

use std::fs;
use std::path::{Path, PathBuf};

/// A fresh directory, removed on drop; kept, and its place printed, when the test fails or `MILLSTREAM_KEEP` is
/// set.
pub struct Workdir {
    path: PathBuf,
}

impl Workdir {
    /// Makes a directory whose name begins with `name`.
    pub fn new(name: &str) -> Self {
        let path = tempfile::Builder::new()
            .prefix(&format!("ms-{name}-"))
            .tempdir()
            .expect("make a directory")
            .keep();
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the directory, whether it exists or not.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file, with the directories above it, and returns its path.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("make a directory");
        fs::write(&path, contents).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
        path
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("MILLSTREAM_KEEP").is_some() {
            eprintln!("kept {}", self.path.display());
        } else if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("cannot remove {}: {error}", self.path.display());
        }
    }
}
