//! The subject: the real `millstream` binary, by its documented command line and configuration.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::measure::{Error, Run, stop, watch, watch_with};
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
    /// A pipeline into the log alone, or into SQLite. The slot and the publication exist already; nothing is copied at
    /// the start.
    pub fn create(
        binary: &Path,
        directory: &Path,
        source: &Source,
        transport: Transport,
        slot: &str,
        to_sqlite: bool,
    ) -> Result<Self, Error> {
        let target = to_sqlite.then(|| directory.join(slot).join("target.db"));
        let sinks = target.as_deref().map(|path| sqlite_sink("out", path)).unwrap_or_default();
        let pipeline = Self::with_sinks(binary, directory, source, transport, slot, "never", &sinks)?;
        Ok(Self { target, ..pipeline })
    }

    /// A pipeline into any sinks, each a line of YAML; `snapshot` as the source has it.
    pub fn with_sinks(
        binary: &Path,
        directory: &Path,
        source: &Source,
        transport: Transport,
        slot: &str,
        snapshot: &str,
        sinks: &str,
    ) -> Result<Self, Error> {
        let directory = directory.join(slot);
        fs::create_dir(&directory)?;
        let mut yaml = format!(
            "log: {{path: {log}}}\nadmin: {{listen: \"127.0.0.1:{admin}\"}}\nsources:\n  bench: {{type: postgres, \
             url: {url}, tables: [public.bench], publication: {PUBLICATION}, slot: {slot}, snapshot: {snapshot}}}\n",
            log = quote(&directory.join("log").display().to_string()),
            admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            url = quote(&source.url(transport)),
        );
        if !sinks.is_empty() {
            yaml += "sinks:\n";
            yaml += sinks;
        }
        fs::write(directory.join("millstream.yaml"), yaml)?;
        Ok(Self { binary: binary.to_owned(), directory, slot: slot.to_owned(), target: None })
    }

    /// Runs until it has caught up; the time ends when the backlog has arrived at the target, or with the process.
    pub fn drain_into(
        &self,
        source: &Source,
        backlog: &Backlog,
        changes: u64,
        target: &mut dyn Target,
    ) -> Result<Run, Error> {
        target.begin();
        let target = RefCell::new(target);
        let run = watch_with(
            self.until_caught_up()?,
            changes,
            Duration::from_millis(3),
            || target.borrow_mut().has(backlog, changes),
            || source.sender(&self.slot),
            || target.borrow_mut().servants(),
        );
        let run = run.map_err(|error| self.explain(&error))?;
        if !source.has_confirmed(&self.slot, &backlog.before_sentinel) {
            return Err(self.explain(&"the process ended well before it had confirmed the backlog".into()));
        }
        Ok(run)
    }

    /// Runs until it has caught up; the time is that of the process.
    pub fn run_to_its_end(&self, source: &Source, changes: u64) -> Result<Run, Error> {
        self.run_watched(source, changes, Vec::new)
    }

    /// The same, where other processes work for it at the target.
    pub fn run_watched(
        &self,
        source: &Source,
        changes: u64,
        servants: impl FnMut() -> Vec<u32>,
    ) -> Result<Run, Error> {
        let command = self.until_caught_up()?;
        let (never, sender) = (Duration::from_secs(3600), || source.sender(&self.slot));
        watch_with(command, changes, never, || false, sender, servants).map_err(|error| self.explain(&error))
    }

    /// Adds a sink to the configuration.
    pub fn add_sink(&self, sink: &str) -> Result<(), Error> {
        let mut file = File::options().append(true).open(self.directory.join("millstream.yaml"))?;
        Ok(file.write_all(sink.as_bytes())?)
    }

    /// Runs until the backlog is drained: until its last row is visible in the target, or, without a target, until
    /// the source may forget it, which it may only once it is fsynced in the log (I1).
    pub fn drain(&self, source: &Source, backlog: &Backlog, changes: u64) -> Result<Run, Error> {
        let command = self.until_caught_up()?;
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

    fn until_caught_up(&self) -> Result<Command, Error> {
        let mut command = self.command()?;
        command.arg("--until-caught-up");
        Ok(command)
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

/// What a sink fills, seen from outside, as another service would.
pub trait Target {
    /// What has to happen before the clock starts.
    fn begin(&mut self) {}

    /// Whether all of a backlog has arrived.
    fn has(&mut self, backlog: &Backlog, changes: u64) -> bool;

    /// The processes that serve the sink alone.
    fn servants(&mut self) -> Vec<u32> {
        Vec::new()
    }

    /// What differs from the source, once everything has arrived.
    fn check(&mut self, source: &Source) -> Result<(), Error>;
}

/// A SQLite sink of the workloads' table.
pub fn sqlite_sink(name: &str, path: &Path) -> String {
    sink(name, "sqlite", &format!("path: {}", quote(&path.display().to_string())))
}

/// A sink of the workloads' table, with its own options.
pub fn sink(name: &str, kind: &str, options: &str) -> String {
    format!("  {name}: {{type: {kind}, {options}, tables: [{{topic: bench.public.bench, table: bench}}]}}\n")
}

/// JSON is YAML, and quotes for us.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
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
