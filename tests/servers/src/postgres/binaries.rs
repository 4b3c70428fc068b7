//! Where the server's programs are: one directory per major.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::{account, scratch};

/// The oldest major that millstream supports.
const OLDEST: u32 = 14;

/// The programs of one major.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub directory: PathBuf,
    pub major: u32,
}

/// Every supported major found, the default one first.
static FOUND: LazyLock<Vec<Binaries>> = LazyLock::new(|| {
    let mut found: Vec<Binaries> = Vec::new();
    for directory in candidates() {
        let Some(binaries) = examine(&directory) else { continue };
        if binaries.major >= OLDEST && found.iter().all(|other| other.major != binaries.major) {
            found.push(binaries);
        }
    }
    found.into_iter().map(reachable).collect()
});

impl Binaries {
    /// The server to use, if there is one.
    pub fn look() -> Option<Self> {
        FOUND.first().cloned()
    }

    /// The server to use unless a test asks for a major: `MILLSTREAM_PG_BINDIR`, then PATH, then what is installed.
    pub fn installed() -> Self {
        Self::look().expect("no PostgreSQL server 14 or newer found; run scripts/setup")
    }

    /// The server of one major, when this machine has it (`scripts/postgres-versions` fetches them).
    pub fn of_major(major: u32) -> Option<Self> {
        FOUND.iter().find(|binaries| binaries.major == major).cloned()
    }

    /// The majors that this machine has, ascending.
    pub fn majors() -> Vec<u32> {
        let mut majors: Vec<u32> = FOUND.iter().map(|binaries| binaries.major).collect();
        majors.sort_unstable();
        majors
    }

    /// The path of one program. Client programs (psql, pg_recvlogical) come with installed servers only.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The same places in the same order as scripts/setup looks in, then what scripts/postgres-versions fetched.
fn candidates() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = Vec::new();
    places.extend(std::env::var_os("MILLSTREAM_PG_BINDIR").map(PathBuf::from));
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).filter_map(
        |directory| {
            // A link on PATH stands alone; its neighbours are where it points.
            fs::canonicalize(directory.join("postgres")).ok()?.parent().map(Path::to_owned)
        },
    ));
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        places.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    places.extend(numbered(Path::new("/usr/lib/postgresql")));
    // This program lies in the target directory, whatever that is called.
    let program = std::env::current_exe().expect("the path of this program");
    places.extend(program.ancestors().flat_map(|ancestor| numbered(&ancestor.join("postgres"))));
    places
}

/// `parent/NUMBER/bin`, the highest number first.
fn numbered(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut majors: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    majors.sort_unstable_by(|a, b| b.cmp(a));
    majors.into_iter().map(|major| parent.join(major.to_string()).join("bin")).collect()
}

/// The major of the server in a directory; none when it has no server that runs.
fn examine(directory: &Path) -> Option<Binaries> {
    let (postgres, initdb) = (directory.join("postgres"), directory.join("initdb"));
    if !postgres.is_file() || !initdb.is_file() {
        return None;
    }
    let output = Command::new(postgres).arg("--version").output().ok()?;
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let major = version.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?;
    Some(Binaries { directory: directory.to_owned(), major: major.parse().ok()? })
}

/// Copies programs that lie where the servers' user cannot go (a checkout below /root).
fn reachable(binaries: Binaries) -> Binaries {
    if account::can_enter(&binaries.directory) {
        return binaries;
    }
    let whole = binaries.directory.parent().expect("programs are in PREFIX/bin");
    let copy = scratch::root().join(format!("postgres-{}", binaries.major));
    let mut command = Command::new("cp");
    command.arg("-a").arg(whole).arg(&copy);
    account::run(command);
    Binaries { directory: copy.join("bin"), ..binaries }
}
