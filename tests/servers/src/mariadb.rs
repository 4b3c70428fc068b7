//! Throwaway MariaDB servers.
//!
//! `MariaDb::start(Options::new())` gives a server of its own to a test: fresh data on a free port, on a Unix socket in
//! its own directory. It ends and its files go when the value is dropped, and also when the test process dies before
//! that. Only Debian's `mariadb-server-core` is needed: it has the programs and starts no service.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

mod session;

pub use session::Session;

use crate::postgres::{account, certificates, free_port, scratch};

/// How long a server may take to start, and to stop when it is asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Becomes the server, and leaves a watcher behind that kills it when stdin closes: when the test process is gone.
/// Two subshells, so that the watcher is not a child that the server would have to wonder about.
const LAUNCH: &str = r#"
exec 3<&0 </dev/null
server=$$ pidfile=$1
shift
( { cat <&3 >/dev/null; [ "$(head -n 1 "$pidfile" 2>/dev/null)" = "$server" ] && kill -KILL "$server"; rm -f "$pidfile"; } 2>/dev/null & )
exec 3<&- "$@"
"#;

/// A data directory as `mariadb-install-db` makes it, once per process: a copy takes a tenth of its time.
static TEMPLATE: LazyLock<Mutex<Option<PathBuf>>> = LazyLock::new(Mutex::default);

/// What a test may ask of its server. By default: no TLS, a small buffer pool, no fsync.
#[derive(Clone, Debug, Default)]
pub struct Options {
    durable: bool,
    tls: bool,
    settings: Vec<String>,
}

impl Options {
    pub fn new() -> Self {
        Self::default()
    }

    /// fsync at every commit: for benchmarks, and for tests that crash the server and count what is left.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// TLS on, with the certificates of [`certificates`]; connections without it are let in as well.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// An option of `mariadbd`: `--max-allowed-packet=1M`.
    pub fn setting(mut self, option: &str) -> Self {
        self.settings.push(option.to_owned());
        self
    }

    fn arguments(&self) -> Vec<String> {
        let mut all = vec!["--innodb-buffer-pool-size=64M".to_owned(), "--skip-name-resolve".to_owned()];
        if !self.durable {
            all.push("--innodb-flush-log-at-trx-commit=0".to_owned());
        }
        if self.tls {
            let files = certificates();
            all.push(format!("--ssl-ca={}", files.authority.display()));
            all.push(format!("--ssl-cert={}", files.server.display()));
            all.push(format!("--ssl-key={}", readable(&files.server_key).display()));
        }
        all.extend(self.settings.iter().cloned());
        all
    }
}

/// A running (or stopped) server with the users `root` (no password, by the socket or by TCP).
pub struct MariaDb {
    options: Options,
    directory: PathBuf,
    port: u16,
    server: Option<Server>,
}

struct Server {
    process: Child,
    /// Open for as long as the server is wanted.
    _lifeline: ChildStdin,
}

impl MariaDb {
    /// Whether this machine has MariaDB's programs.
    pub fn is_installed() -> bool {
        program("mariadbd").is_some() && program("mariadb-install-db").is_some()
    }

    /// Starts a new server. Panics, with the server's log, when it does not come up.
    pub fn start(options: Options) -> Self {
        let directory = scratch::fresh("m");
        fs::create_dir(&directory).expect("make a directory");
        account::give(&directory);
        let mut copy = account::command("cp");
        copy.args(["-a", "--reflink=auto"]).arg(template()).arg(directory.join("data"));
        account::run(copy);
        let mut server = Self { options, directory, port: 0, server: None };
        for _ in 0..5 {
            server.port = free_port();
            match server.launch() {
                Ok(()) => return server,
                // Another program took the port between the look and the start.
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("MariaDB did not start:\n{log}"),
            }
        }
        panic!("found no free port for MariaDB");
    }

    /// Stops the server in its own way: what is open is rolled back, data is flushed.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Kills the server: nothing is flushed, the next start recovers from the redo log.
    pub fn crash(&mut self) {
        self.end(Signal::KILL);
    }

    /// Starts a stopped server again, on the same port and socket.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        self.launch().unwrap_or_else(|log| panic!("MariaDB did not start again:\n{log}"));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.join("log")).unwrap_or_default()).into_owned()
    }

    /// `mysql://root@localhost:PORT/DATABASE`.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@localhost:{}/{database}", self.port)
    }

    /// The same by the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        format!("mysql://root@localhost/{database}?socket={}", self.socket().display())
    }

    /// A connection of its own to a database; `""` for none.
    pub fn session(&self, database: &str) -> Session {
        Session::connect(&self.socket_url(database))
            .unwrap_or_else(|error| panic!("connect to {database:?}: {error}"))
    }

    /// Creates a database and connects to it.
    pub fn create_database(&self, name: &str) -> Session {
        self.session("").execute(&format!("CREATE DATABASE `{}`", name.replace('`', "``")));
        self.session(name)
    }

    /// Starts the server and waits until it takes connections; an error is its log.
    fn launch(&mut self) -> Result<(), String> {
        let pidfile = self.directory.join("pid");
        let _ = fs::remove_file(&pidfile);
        let log =
            File::options().append(true).create(true).open(self.directory.join("log")).expect("open the log");
        let mut command = account::command("sh");
        command.args(["-c", LAUNCH, "launch"]).arg(&pidfile);
        command.arg(
            program("mariadbd").expect("MariaDB is not on this machine: apt-get install mariadb-server-core"),
        );
        command.arg("--no-defaults").args(["--bind-address=127.0.0.1", &format!("--port={}", self.port)]);
        command.arg(flag("--datadir", &self.directory.join("data"))).arg(flag("--pid-file", &pidfile));
        command.arg(flag("--socket", &self.socket())).args(self.options.arguments());
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("the log's handle")).stderr(log);
        // Outside of the terminal's group: Ctrl-C ends the tests, and the watcher then ends the server.
        command.process_group(0);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let lifeline = process.stdin.take().expect("stdin is a pipe");
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The file appears when the server has its sockets.
            let ours = fs::read_to_string(&pidfile).is_ok_and(|pid| pid.trim() == process.id().to_string());
            if ours && Session::connect(&self.socket_url("")).is_ok() {
                self.server = Some(Server { process, _lifeline: lifeline });
                return Ok(());
            }
            let ended = process.try_wait().expect("look at the server").is_some();
            if ended || Instant::now() > deadline {
                signal(&process, Signal::KILL);
                process.wait().expect("wait for the server");
                return Err(self.log());
            }
            sleep(Duration::from_millis(5));
        }
    }

    fn end(&mut self, how: Signal) {
        let Some(mut server) = self.server.take() else { return };
        signal(&server.process, how);
        let asked = Instant::now();
        while server.process.try_wait().expect("wait for the server").is_none() {
            if asked.elapsed() > PATIENCE / 2 {
                signal(&server.process, Signal::KILL);
            }
            sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.crash();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the server's log ends:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn signal(process: &Child, signal: Signal) {
    let pid = Pid::from_raw(process.id() as i32).expect("a process id is positive");
    // Not reaped yet, so the id is still its own; one that has ended takes no signal.
    let _ = kill_process(pid, signal);
}

fn flag(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// A program of MariaDB, on PATH or where distributions put servers; `MILLSTREAM_MARIADB_BINDIR` overrides.
fn program(name: &str) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("MILLSTREAM_MARIADB_BINDIR") {
        return Some(PathBuf::from(folder).join(name)).filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn template() -> PathBuf {
    let mut template = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
    template.get_or_insert_with(install).clone()
}

fn install() -> PathBuf {
    let folder = scratch::fresh("mariadb-template");
    let program = program("mariadb-install-db")
        .expect("MariaDB is not on this machine: apt-get install mariadb-server-core");
    let mut command: Command = account::command(program);
    command.arg("--no-defaults").arg(flag("--datadir", &folder)).args([
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
    ]);
    account::run(command);
    folder
}

/// A copy of a key that the servers' user may read.
fn readable(key: &Path) -> PathBuf {
    let copy = scratch::fresh("key");
    crate::postgres::install(key, &copy);
    copy
}
