//! PostgreSQL refuses to run as root: everything of a server runs as an unprivileged user.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

struct Account {
    user: u32,
    group: u32,
}

/// The user that servers run as; none when this process is not root and servers run as itself.
static ACCOUNT: LazyLock<Option<Account>> = LazyLock::new(|| {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let find = |name: &str| {
        let fields: Vec<&str> =
            users.lines().map(|line| line.split(':').collect()).find(|f: &Vec<&str>| f[0] == name)?;
        Some(Account { user: fields[2].parse().ok()?, group: fields[3].parse().ok()? })
    };
    let account = find("postgres").or_else(|| find("nobody"));
    Some(account.expect("tests run as root need a user `postgres` or `nobody` to run servers as"))
});

/// A command that runs `program` as the unprivileged user, away from the caller's `PG…` variables and terminal.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = match &*ACCOUNT {
        None => Command::new(program),
        Some(account) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={}", account.user))
                .arg(format!("--regid={}", account.group))
                .args(["--clear-groups", "--"])
                .arg(program);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    // The caller's directory may be one that the unprivileged user cannot enter.
    command.current_dir("/").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Runs a command to its end. Panics with its output when it fails.
pub fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Gives a file or directory to the unprivileged user.
pub fn give(path: &Path) {
    if let Some(account) = &*ACCOUNT {
        chown(path, Some(account.user), Some(account.group))
            .unwrap_or_else(|error| panic!("change the owner of {}: {error}", path.display()));
    }
}

/// Whether the unprivileged user can enter a directory: each directory down to it lets others through.
pub fn can_enter(directory: &Path) -> bool {
    let Some(account) = &*ACCOUNT else { return true };
    directory.ancestors().all(|ancestor| match fs::metadata(ancestor) {
        Ok(metadata) => metadata.mode() & 0o001 != 0 || metadata.uid() == account.user,
        Err(_) => false,
    })
}
