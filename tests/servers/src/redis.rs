//! Throwaway Redis servers.
//!
//! `Redis::start(&[])` gives a server of its own to a test, on a free port, with an append-only file that is written
//! before each answer. It ends and its files go when the value is dropped, and also when the test process dies.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::postgres::{account, free_port, scratch};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Becomes the server, and leaves a watcher behind that kills it when stdin closes: when the test process is gone.
const LAUNCH: &str = r#"
exec 3<&0 </dev/null
server=$$
( { cat <&3 >/dev/null; kill -KILL "$server"; } 2>/dev/null & )
exec 3<&- "$@"
"#;

/// A running (or stopped) server.
pub struct Redis {
    directory: PathBuf,
    port: u16,
    settings: Vec<String>,
    server: Option<(Child, ChildStdin)>,
}

impl Redis {
    /// Whether this machine has Redis.
    pub fn is_installed() -> bool {
        let look = Command::new("redis-server")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        look.is_ok_and(|status| status.success())
    }

    /// Starts a server with more settings, such as `--maxmemory 10mb`. Panics when it does not come up.
    pub fn start(settings: &[&str]) -> Self {
        let directory = scratch::fresh("r");
        fs::create_dir(&directory).expect("make a directory");
        account::give(&directory);
        let settings = settings.iter().flat_map(|setting| setting.split(' ')).map(str::to_owned).collect();
        let mut server = Redis { directory, port: free_port(), settings, server: None };
        server.launch();
        server
    }

    fn launch(&mut self) {
        let log =
            File::options().append(true).create(true).open(self.directory.join("log")).expect("open the log");
        let mut command = account::command("sh");
        command.args(["-c", LAUNCH, "launch", "redis-server", "--bind", "127.0.0.1", "--port"]);
        command.arg(self.port.to_string()).arg("--dir").arg(&self.directory);
        command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]).args(&self.settings);
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("the log's handle")).stderr(log);
        command.process_group(0);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let lifeline = process.stdin.take().expect("stdin is a pipe");
        let deadline = Instant::now() + PATIENCE;
        while !self.answers() {
            let ended = process.try_wait().expect("look at the server").is_some();
            assert!(!ended && Instant::now() < deadline, "Redis did not start:\n{}", self.log());
            sleep(Duration::from_millis(5));
        }
        self.server = Some((process, lifeline));
    }

    /// Whether it serves: one that still reads its append-only file refuses everything.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = [0; 5];
        let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer));
        asked.is_ok() && answer == *b"+PONG"
    }

    /// Kills the server.
    pub fn crash(&mut self) {
        if let Some((mut process, _)) = self.server.take() {
            process.kill().expect("kill the server");
            process.wait().expect("wait for the server");
        }
    }

    /// Starts a killed server again, on the same port.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the server runs");
        self.launch();
    }

    /// `redis://127.0.0.1:PORT/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.join("log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.crash();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
