//! One directory per test process for all that its servers need, removed when the process is gone, however it went.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::account;

/// Removes the directory once its stdin closes (this process ended) and the servers have stopped, 10 s at most. It
/// looks again, because an `initdb` that lost its caller writes on for a while.
const JANITOR: &str = r#"
cat >/dev/null
for _ in $(seq 100); do
    ls "$1"/*/data/postmaster.pid >/dev/null 2>&1 || break
    sleep 0.1
done
for _ in 1 2 3 4 5; do
    rm -rf "$1"
    sleep 1
    [ -e "$1" ] || break
done
"#;

static SCRATCH: LazyLock<PathBuf> = LazyLock::new(|| {
    let wanted = std::env::temp_dir();
    // A socket's path has room for 107 bytes, and the servers' user has to reach it.
    let short = wanted.as_os_str().len() <= 50;
    let parent = if short && account::can_enter(&wanted) { wanted } else { PathBuf::from("/tmp") };
    let path = tempfile::Builder::new().prefix("ms-pg-").tempdir_in(parent).expect("make a directory").keep();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .expect("open the directory to the servers' user");
    account::give(&path);
    let janitor = Command::new("sh")
        .args(["-c", JANITOR, "janitor"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        // Outside of the terminal's group: Ctrl-C is for the tests, the janitor comes after them.
        .process_group(0)
        .spawn()
        .expect("start the janitor");
    // Its stdin stays open for as long as this process lives.
    std::mem::forget(janitor);
    path
});

/// The directory of this process.
pub fn root() -> &'static Path {
    &SCRATCH
}

/// A new path in it that nothing has used.
pub fn fresh(prefix: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    SCRATCH.join(format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed)))
}
