//! Commands that end by themselves, as a user types them.

use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::process::Millstream;

/// No command but `run` takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    line: String,
}

/// Runs `millstream ARGS…` in a directory.
pub fn millstream(directory: &Path, args: &[&str]) -> Said {
    millstream_fed(directory, args, "")
}

/// The same with text on stdin.
pub fn millstream_fed(directory: &Path, args: &[&str], stdin: &str) -> Said {
    let mut input = tempfile::tempfile().expect("make a file");
    input.write_all(stdin.as_bytes()).and_then(|()| input.rewind()).expect("write stdin");
    let mut command = Millstream::command(directory);
    command.args(args).stdin(input);
    Said::of(directory, command)
}

/// Where the output of one command goes: commands of several threads do not read each other's.
fn own(directory: &Path) -> TempDir {
    tempfile::Builder::new().prefix("command-").tempdir_in(directory).expect("make a directory")
}

impl Said {
    /// Runs a prepared command to its end.
    pub fn of(directory: &Path, command: Command) -> Self {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let own = own(directory);
        let mut process = Millstream::spawn_command(own.path(), "command", command);
        let status = process.wait(PATIENCE);
        let (stdout, stderr) = (process.stdout(), process.stderr());
        Said { code: status.code(), stdout, stderr, line: format!("millstream {}", words.join(" ")) }
    }

    /// Panics, with both outputs, unless it ended with `code`.
    pub fn expect(self, code: i32) -> Self {
        let Said { line, stdout, stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "{line}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        self
    }

    /// Panics unless stderr holds every part.
    pub fn complains(self, parts: &[&str]) -> Self {
        let Said { line, stderr, .. } = &self;
        for part in parts {
            assert!(stderr.contains(part), "{line}: no {part:?} in stderr:\n{stderr}");
        }
        self
    }

    /// Panics unless stdout holds every part.
    pub fn prints(self, parts: &[&str]) -> Self {
        let Said { line, stdout, stderr, .. } = &self;
        for part in parts {
            assert!(stdout.contains(part), "{line}: no {part:?} in stdout:\n{stdout}\nstderr:\n{stderr}");
        }
        self
    }

    /// All of stdout as one JSON value.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.line, self.stdout))
    }

    /// Every line of stdout as a JSON value.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// Runs `millstream run --until-caught-up` to its end, whatever that is.
pub fn until_caught_up(directory: &Path, config: &Path) -> Said {
    millstream(directory, &["run", config.to_str().expect("UTF-8"), "--until-caught-up"])
}

/// Runs a command that goes on for ever until `enough` of its stdout, then interrupts it. Returns stdout.
pub fn until_it_prints(directory: &Path, args: &[&str], enough: impl Fn(&str) -> bool) -> String {
    let own = own(directory);
    let mut command = Millstream::command(directory);
    command.args(args);
    let mut process = Millstream::spawn_command(own.path(), "command", command);
    let out = own.path().join("command.out");
    let printed = || fs::read_to_string(&out).unwrap_or_default();
    process.wait_until("it prints enough", PATIENCE, || enough(&printed()));
    process.signal(Signal::INT);
    process.wait(PATIENCE);
    process.stdout()
}
