//! Throwaway PostgreSQL servers.
//!
//! `Postgres::start(Options::new())` gives a server of its own to a test: a fresh cluster on a free port, on a Unix
//! socket in its own directory, with logical decoding on. It ends and its files go when the value is dropped, and
//! also when the test process dies before that.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) mod account;
mod binaries;
mod certificates;
mod options;
pub(crate) mod scratch;
mod session;
mod template;

pub use binaries::Binaries;
pub use certificates::certificates;
pub use options::Options;
pub use session::Session;

/// How long a server may take to start, and to stop when it is asked to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Becomes the server, and leaves a watcher behind that stops it when stdin closes: when the test process is gone.
/// Two subshells, so that the watcher is not a child that the server would have to wonder about.
const LAUNCH: &str = r#"
exec 3<&0 </dev/null
server=$$ pidfile=$1
shift
( { cat <&3 >/dev/null; [ "$(head -n 1 "$pidfile" 2>/dev/null)" = "$server" ] && kill -INT "$server"; } 2>/dev/null & )
exec 3<&- "$@"
"#;

/// A running (or stopped) server with the superuser `postgres`.
pub struct Postgres {
    options: Options,
    binaries: Binaries,
    directory: PathBuf,
    port: u16,
    server: Option<Server>,
    session: Mutex<Option<Arc<Session>>>,
}

struct Server {
    process: Child,
    /// Open for as long as the server is wanted.
    _lifeline: ChildStdin,
}

impl Postgres {
    /// Starts a new server. Panics, with the server's log, when it does not come up.
    pub fn start(options: Options) -> Self {
        let binaries = match options.major {
            None => Binaries::installed(),
            Some(major) => Binaries::of_major(major)
                .unwrap_or_else(|| panic!("PostgreSQL {major} is not on this machine")),
        };
        let directory = scratch::fresh("c");
        for path in [directory.clone(), directory.join("socket")] {
            fs::create_dir(&path).expect("make a directory");
            account::give(&path);
        }
        let data = directory.join("data");
        template::make_data_directory(&data, &binaries, options.password.as_deref());
        options.write(&data, &directory.join("socket"));
        let mut server =
            Self { options, binaries, directory, port: 0, server: None, session: Mutex::default() };
        for _ in 0..5 {
            server.port = free_port();
            match server.launch() {
                Ok(()) => return server,
                // Another program took the port between the look and the start.
                Err(log) if log.contains("could not bind") => {}
                Err(log) => panic!("PostgreSQL did not start:\n{log}"),
            }
        }
        panic!("found no free port for PostgreSQL");
    }

    /// The majors that this machine has, ascending.
    pub fn majors() -> Vec<u32> {
        Binaries::majors()
    }

    /// Stops the server in its `fast` mode: sessions end, data is flushed. One that hangs on a receiver that reads no
    /// more is stopped hard after a while.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    /// Stops the server as a crash does: nothing is flushed, the next start recovers from the WAL.
    pub fn crash(&mut self) {
        self.end(Signal::QUIT);
    }

    /// Starts a stopped server again, on the same port and socket.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        self.launch().unwrap_or_else(|log| panic!("PostgreSQL did not start again:\n{log}"));
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn major(&self) -> u32 {
        self.binaries.major
    }

    /// The programs of this server's major.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The directory of the Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.join("log")).unwrap_or_default()).into_owned()
    }

    /// `postgres://postgres@localhost:PORT/DATABASE`, with the password where there is one.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{}@localhost:{}/{database}", self.user(), self.port)
    }

    /// The same by the Unix socket: `postgres://postgres@/DATABASE?host=DIRECTORY&port=PORT`.
    pub fn socket_url(&self, database: &str) -> String {
        format!("postgres://{}@/{database}?host={}&port={}", self.user(), self.socket().display(), self.port)
    }

    fn user(&self) -> String {
        match &self.options.password {
            None => "postgres".into(),
            Some(password) => format!("postgres:{}", percent_encode(password)),
        }
    }

    /// A connection of its own to a database. The one behind [`execute`](Self::execute) goes to `postgres`.
    pub fn session(&self, database: &str) -> Session {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.socket()).port(self.port).user("postgres").dbname(database);
        if let Some(password) = &self.options.password {
            config.password(password);
        }
        Session::open(&config).unwrap_or_else(|error| panic!("connect to {database}: {error:?}"))
    }

    /// Creates a database and connects to it.
    pub fn create_database(&self, name: &str) -> Session {
        self.execute(&format!("CREATE DATABASE \"{}\"", name.replace('"', "\"\"")));
        self.session(name)
    }

    /// Runs statements in the database `postgres`. Panics when one fails.
    pub fn execute(&self, sql: &str) {
        self.shared_session().execute(sql);
    }

    /// Every row of a query in the database `postgres`, each value as PostgreSQL's text.
    pub fn query_text(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.shared_session().query_text(sql)
    }

    /// The one value that a query in the database `postgres` returns.
    pub fn value(&self, sql: &str) -> String {
        self.shared_session().value(sql)
    }

    fn shared_session(&self) -> Arc<Session> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match &*session {
            Some(open) if !open.is_closed() => open.clone(),
            _ => session.insert(Arc::new(self.session("postgres"))).clone(),
        }
    }

    /// Starts the server and waits until it takes connections; an error is its log.
    fn launch(&mut self) -> Result<(), String> {
        let pidfile = self.data().join("postmaster.pid");
        let log =
            File::options().append(true).create(true).open(self.directory.join("log")).expect("open the log");
        let mut command = account::command("sh");
        command.args(["-c", LAUNCH, "launch"]).arg(&pidfile).arg(self.binaries.program("postgres"));
        command.arg("-D").arg(self.data()).args(["-c", &format!("port={}", self.port)]);
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("the log's handle")).stderr(log);
        // Outside of the terminal's group: Ctrl-C ends the tests, and the watcher then ends the server.
        command.process_group(0);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let lifeline = process.stdin.take().expect("stdin is a pipe");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = fs::read_to_string(&pidfile).unwrap_or_default();
            let ours = status.lines().next() == Some(&process.id().to_string());
            // The eighth line of the file says how far the start has come.
            if ours && status.lines().nth(7).is_some_and(|state| state.trim() == "ready") {
                self.server = Some(Server { process, _lifeline: lifeline });
                return Ok(());
            }
            let ended = process.try_wait().expect("look at the server").is_some();
            if ended || Instant::now() > deadline {
                signal(&process, Signal::QUIT);
                process.wait().expect("wait for the server");
                return Err(self.log());
            }
            sleep(Duration::from_millis(5));
        }
    }

    fn end(&mut self, how: Signal) {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut server) = self.server.take() else { return };
        signal(&server.process, how);
        let asked = Instant::now();
        let mut hard = how == Signal::QUIT;
        while server.process.try_wait().expect("wait for the server").is_none() {
            if !hard && asked.elapsed() > PATIENCE / 4 {
                signal(&server.process, Signal::QUIT);
                hard = true;
            }
            if asked.elapsed() > PATIENCE {
                signal(&server.process, Signal::KILL);
            }
            sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Postgres {
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

/// A TCP port that nothing listens on (the millstream under test may have one, too), below the range that outgoing connections are given: a server that restarts
/// finds it free again. Each call gives another one.
pub fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Two test processes begin at different places.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + at).expect("a port has 16 bits");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Gives a file to the servers' user with the mode that PostgreSQL asks of keys.
pub(crate) fn install(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::copy(from, to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).expect("set the mode of a file");
    account::give(to);
}
