//! The subject: the real `millstream` binary, by its documented command line and configuration.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::measure::{Error, Run, stop, watch};
use crate::source::{PUBLICATION, Source, Transport};
use crate::sqlite::Observer;
use crate::workload::Backlog;

/// One pipeline with its own slot, log and target; it lives through several workloads.
pub struct Pipeline {
    binary: PathBuf,
    directory: PathBuf,
    pub slot: String,
    /// The SQLite database that it fills; none when it only captures.
    pub target: Option<PathBuf>,
}

impl Pipeline {
    /// Writes the configuration. The slot and the publication exist already; nothing is copied at the start.
    pub fn create(
        binary: &Path,
        directory: &Path,
        source: &Source,
        transport: Transport,
        slot: &str,
        to_sqlite: bool,
    ) -> Result<Self, Error> {
        let directory = directory.join(slot);
        fs::create_dir(&directory)?;
        let target = to_sqlite.then(|| directory.join("target.db"));
        // JSON is YAML, and quotes for us.
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let mut yaml = format!(
            "log: {{path: {log}}}\nadmin: {{listen: \"127.0.0.1:{admin}\"}}\nsources:\n  bench: {{type: postgres, \
             url: {url}, tables: [public.bench], publication: {PUBLICATION}, slot: {slot}, snapshot: never}}\n",
            log = quote(&directory.join("log").display().to_string()),
            admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            url = quote(&source.url(transport)),
        );
        if let Some(target) = &target {
            let path = quote(&target.display().to_string());
            yaml += &format!(
                "sinks:\n  out: {{type: sqlite, path: {path}, tables: [{{topic: bench.public.bench, table: bench}}]}}\n"
            );
        }
        fs::write(directory.join("millstream.yaml"), yaml)?;
        Ok(Self { binary: binary.to_owned(), directory, slot: slot.to_owned(), target })
    }

    /// Runs until the backlog is drained: until its last row is visible in the target, or, without a target, until
    /// the source may forget it, which it may only once it is fsynced in the log (I1).
    pub fn drain(&self, source: &Source, backlog: &Backlog, changes: u64) -> Result<Run, Error> {
        let mut command = self.command()?;
        command.arg("--until-caught-up");
        let sender = || source.sender(&self.slot);
        let run = match &self.target {
            Some(target) => {
                let mut observer = Observer::new(target);
                watch(command, changes, Duration::from_millis(2), || observer.sees(backlog.sentinel), sender)
            }
            None => {
                let done = || source.has_confirmed(&self.slot, &backlog.end);
                watch(command, changes, Duration::from_millis(5), done, sender)
            }
        };
        let run = run.map_err(|error| self.explain(&error))?;
        if !source.has_confirmed(&self.slot, &backlog.before_sentinel) {
            return Err(self.explain(&"the process ended well before it had confirmed the backlog".into()));
        }
        if let Some(target) = &self.target {
            let (wanted, found) = (source.digest(), Observer::new(target).digest()?);
            if wanted != found {
                return Err(format!("the copy differs (rows/ids/n): source {wanted}, target {found}").into());
            }
        }
        Ok(run)
    }

    /// Starts `millstream run` to run until it is stopped.
    pub fn spawn(&self) -> Result<Running, Error> {
        Ok(Running { child: Some(self.command()?.spawn()?) })
    }

    fn command(&self) -> Result<Command, Error> {
        let output = File::options().append(true).create(true).open(self.directory.join("output"))?;
        let mut command = Command::new(&self.binary);
        command.arg("run").arg(self.directory.join("millstream.yaml")).current_dir(&self.directory);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(command)
    }

    /// An error with the end of what the subject printed.
    pub fn explain(&self, error: &Error) -> Error {
        let output = fs::read_to_string(self.directory.join("output")).unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        format!("{error}\n{}", lines[lines.len().saturating_sub(15)..].join("\n")).into()
    }
}

/// A subject that runs on; killed on drop.
pub struct Running {
    child: Option<Child>,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// SIGTERM, then the exit code has to be 0.
    pub fn stop(mut self) -> Result<(), Error> {
        self.child.take().map_or(Ok(()), stop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
