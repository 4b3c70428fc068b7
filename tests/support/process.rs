//! The real `millstream` binary as a child process.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running (or ended) millstream. Its output goes to files, so that a full pipe never stops it. Killed on drop;
/// when the test fails, the end of its stderr is printed.
pub struct Millstream {
    child: Child,
    command_line: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Millstream {
    /// Starts `millstream ARGS…` with `directory` as working directory; output goes to `NAME.out` and `NAME.err` there.
    pub fn spawn<S: AsRef<OsStr>>(directory: &Path, name: &str, args: &[S]) -> Self {
        let mut command = Self::command(directory);
        command.args(args);
        Self::spawn_command(directory, name, command)
    }

    /// Starts `millstream run CONFIG`.
    pub fn run(directory: &Path, config: &Path) -> Self {
        Self::spawn(directory, "run", &[OsStr::new("run"), config.as_os_str()])
    }

    /// The command that [`spawn`](Self::spawn) would start, for a test that sets more (environment, limits).
    pub fn command(directory: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.current_dir(directory).stdin(Stdio::null()).env("RUST_BACKTRACE", "1");
        command
    }

    /// Starts a prepared command; see [`spawn`](Self::spawn) for its output. A name used again appends.
    pub fn spawn_command(directory: &Path, name: &str, mut command: Command) -> Self {
        let stdout = directory.join(format!("{name}.out"));
        let stderr = directory.join(format!("{name}.err"));
        command.stdout(append(&stdout)).stderr(append(&stderr));
        let command_line = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command_line}: {error}"));
        Self { child, command_line, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Asks for a clean stop (SIGTERM); does not wait.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the process at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("wait for a killed process");
    }

    /// Sends any signal; one that has ended already takes none.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process id is positive");
        // The child is not reaped before `wait`, so the id is still its own.
        let _ = kill_process(pid, signal);
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("look at the process").is_none()
    }

    /// Waits for the end. Panics when it takes longer than `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the process") {
                return status;
            }
            assert!(Instant::now() < deadline, "{} still runs after {timeout:?}", self.command_line);
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end and panics, with stderr, unless the exit code is `code`.
    pub fn expect_exit(&mut self, code: i32, timeout: Duration) {
        let status = self.wait(timeout);
        assert_eq!(
            status.code(),
            Some(code),
            "{} ended with {status}; stderr:\n{}",
            self.command_line,
            self.stderr()
        );
    }

    /// SIGTERM, then exit code 0 within `timeout`.
    pub fn stop(&mut self, timeout: Duration) {
        self.terminate();
        self.expect_exit(0, timeout);
    }

    /// Waits until `done` holds, looking every few milliseconds. Panics when the process ends before or the time is up.
    pub fn wait_until(&mut self, what: &str, timeout: Duration, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + timeout;
        while !done() {
            if let Some(status) = self.child.try_wait().expect("look at the process") {
                // It may have got there in its last moments.
                assert!(done(), "ended with {status} before {what}; stderr:\n{}", self.stderr());
                return;
            }
            assert!(Instant::now() < deadline, "not within {timeout:?}: {what}; stderr:\n{}", self.stderr());
            sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Millstream {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
        }
        if std::thread::panicking() {
            let stderr = self.stderr();
            let lines: Vec<&str> = stderr.lines().collect();
            eprintln!("{}\n{}", self.command_line, lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}

fn append(path: &Path) -> File {
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap_or_else(|error| panic!("open {}: {error}", path.display()))
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
