//! Time, CPU and memory of a process, read from /proc.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// One measured run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub changes: u64,
    /// From the start of the process to the last change in its place.
    pub seconds: f64,
    /// User and system time of the process; resolution 10 ms.
    pub cpu: Option<f64>,
    /// The same of the walsender that fed it.
    pub sender_cpu: Option<f64>,
    /// The same of the processes that serve it at the target, where they are its own.
    pub target_cpu: Option<f64>,
    /// Peak resident set in bytes (VmHWM).
    pub peak: Option<u64>,
}

impl Run {
    pub fn rate(&self) -> f64 {
        self.changes as f64 / self.seconds
    }
}

/// How long a run may take before it counts as hung.
const LIMIT: Duration = Duration::from_secs(900);

/// Runs a command to its end and measures it. `done` is asked every `every` whether the last change is in its place;
/// the time ends there, or with the process if that comes first. `sender` finds the walsender, once there is one.
pub fn watch(
    command: Command,
    changes: u64,
    every: Duration,
    done: impl FnMut() -> bool,
    sender: impl FnMut() -> Option<u32>,
) -> Result<Run, Error> {
    watch_with(command, changes, every, done, sender, Vec::new)
}

/// The same, where other processes work for this one at the target.
pub fn watch_with(
    mut command: Command,
    changes: u64,
    every: Duration,
    mut done: impl FnMut() -> bool,
    mut sender: impl FnMut() -> Option<u32>,
    mut servants: impl FnMut() -> Vec<u32>,
) -> Result<Run, Error> {
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("start {command:?}: {error}"))?;
    let mut run = Run { changes, ..Run::default() };
    let mut finished = None;
    let mut sender_pid = None;
    let (mut looked, mut sampled) = (start, start);
    let mut at_target: HashMap<u32, f64> = HashMap::new();
    while !has_ended(&child)? {
        if finished.is_none() && looked.elapsed() >= every {
            if done() {
                finished = Some(start.elapsed());
            }
            looked = Instant::now();
        }
        if sampled.elapsed() >= Duration::from_millis(10) {
            run.peak = peak_memory(child.id()).or(run.peak);
            sender_pid = sender_pid.or_else(&mut sender);
            run.sender_cpu = sender_pid.and_then(cpu_seconds).or(run.sender_cpu);
            // They may come and go; each keeps what it was last seen with.
            at_target.extend(servants().into_iter().filter_map(|pid| Some((pid, cpu_seconds(pid)?))));
            sampled = Instant::now();
        }
        if start.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Err(format!("{command:?} still runs after {LIMIT:?}").into());
        }
        sleep(Duration::from_millis(1));
    }
    run.seconds = finished.unwrap_or_else(|| start.elapsed()).as_secs_f64();
    // It has ended but is not reaped: the kernel still has its times.
    run.cpu = cpu_seconds(child.id());
    run.target_cpu = (!at_target.is_empty()).then(|| at_target.values().sum());
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(run)
}

fn has_ended(child: &Child) -> Result<bool, Error> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid(child)?), options)?.is_some())
}

fn pid(child: &Child) -> Result<Pid, Error> {
    Ok(Pid::from_raw(i32::try_from(child.id())?).ok_or("a process has an id")?)
}

/// SIGTERM, then the exit code has to be 0.
pub fn stop(mut child: Child) -> Result<(), Error> {
    kill_process(pid(&child)?, Signal::TERM)?;
    let asked = Instant::now();
    while !has_ended(&child)? {
        if asked.elapsed() > Duration::from_secs(30) {
            child.kill()?;
            child.wait()?;
            return Err("the process did not stop within 30 s of SIGTERM".into());
        }
        sleep(Duration::from_millis(5));
    }
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("after SIGTERM the process ended with {status}").into())
    }
}

/// User and system seconds of a process so far, threads that have ended included.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold blanks; the times are the 12th and 13th field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let total = ticks()? + ticks()?;
    Some(total as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Peak resident set in bytes; none once the process has ended.
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
