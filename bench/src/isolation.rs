//! One sink stalls (P8): what another one notices of it, in throughput and in latency.
//!
//! Every pipeline has the sink that is measured and a healthy neighbour; the subjects have a third one that is stalled, by
//! a lock on its SQLite file or by a webhook that never answers. The control has no third one: a healthy one would take
//! processor time that a stalled one leaves to the others.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::measure::{Error, Run, peak_memory};
use crate::receiver::Receiver;
use crate::report::{self, Series, percentile, spread};
use crate::source::{Source, Transport};
use crate::sqlite::Observer;
use crate::subject::{Pipeline, sink, sqlite_sink};
use crate::workload::{self, Sizes};
use crate::{Options, Part, latency};

/// How long a drain may take.
const LIMIT: Duration = Duration::from_secs(600);

/// The variants, in the order in which each round runs them.
const VARIANTS: [(Stall, &str); 4] = [
    (Stall::Nothing, "without the stalled sink"),
    (Stall::Lock, "with a SQLite sink whose file is locked"),
    (Stall::Silence, "with a webhook that never answers"),
    (Stall::Nothing, "without again (A/A)"),
];

#[derive(Clone, Copy, PartialEq)]
enum Stall {
    Nothing,
    Lock,
    Silence,
}

/// A pipeline whose third sink is stalled, or that has none.
struct Subject {
    pipeline: Pipeline,
    measured: std::path::PathBuf,
    /// Holds the lock.
    _lock: Option<Connection>,
}

pub fn measure(options: &Options, binary: &Path) -> Result<(), Error> {
    let sizes = Sizes::with_inserts(if options.quick { 10_000 } else { 500_000 });
    let seconds = Duration::from_secs(if options.quick { 5 } else { 20 });
    let silent = Receiver::silent()?;
    let source = Source::start();
    let directory = tempfile::Builder::new().prefix("ms-bench-").tempdir()?;
    source.session.execute("INSERT INTO bench(name) VALUES ('the table exists at every target')");
    let mut subjects = Vec::new();
    for round in 0..options.rounds() {
        for (number, (stall, _)) in VARIANTS.iter().enumerate() {
            let slot = format!("isolation_{round}_{number}");
            subjects.push(Subject::create(binary, directory.path(), &source, &slot, *stall, &silent)?);
        }
    }
    eprintln!("isolation: loading");
    let load = report::load();
    let backlog = workload::load(&source, Part::W1, sizes);
    let mut runs: [Vec<Run>; 4] = Default::default();
    let mut latencies: [Vec<Vec<f64>>; 4] = Default::default();
    let mut subjects = subjects.into_iter();
    for round in 0..options.rounds() {
        for (number, subject) in subjects.by_ref().take(VARIANTS.len()).enumerate() {
            eprintln!("isolation, round {}, {}", round + 1, VARIANTS[number].1);
            let (run, sample) = subject.run(&source, backlog.sentinel, sizes.changes(Part::W1), seconds)?;
            runs[number].push(run);
            latencies[number].push(sample);
        }
    }
    print(&load, &runs, &latencies);
    Ok(())
}

impl Subject {
    /// Runs it once with everything healthy, so that every target has its table, then stalls the third sink.
    fn create(
        binary: &Path,
        directory: &Path,
        source: &Source,
        slot: &str,
        stall: Stall,
        silent: &Receiver,
    ) -> Result<Self, Error> {
        let path = |name: &str| directory.join(format!("{slot}_{name}.db"));
        let measured = path("measured");
        let mut sinks = sqlite_sink("measured", &measured) + &sqlite_sink("neighbour", &path("neighbour"));
        if stall == Stall::Lock {
            sinks += &sqlite_sink("stalled", &path("stalled"));
        }
        source.create_slot(slot);
        source.session.execute("UPDATE bench SET n = coalesce(n, 0) + 1 WHERE id = 1");
        let socket = Transport::Socket;
        let pipeline = Pipeline::with_sinks(binary, directory, source, socket, slot, "never", &sinks)?;
        pipeline.run_to_its_end(source, 1)?;
        let lock = match stall {
            Stall::Lock => {
                let lock = Connection::open(path("stalled"))?;
                lock.execute_batch("BEGIN EXCLUSIVE")?;
                Some(lock)
            }
            Stall::Silence => {
                pipeline.add_sink(&sink("stalled", "http", &format!("url: \"{}\"", silent.url())))?;
                None
            }
            Stall::Nothing => None,
        };
        Ok(Self { pipeline, measured, _lock: lock })
    }

    /// The drain of the backlog, then the latencies at a steady rate.
    fn run(
        &self,
        source: &Source,
        sentinel: u64,
        changes: u64,
        seconds: Duration,
    ) -> Result<(Run, Vec<f64>), Error> {
        let mut observer = Observer::new(&self.measured);
        let start = Instant::now();
        let running = self.pipeline.spawn()?;
        while !observer.sees(sentinel) {
            if start.elapsed() > LIMIT {
                return Err(self.pipeline.explain(&"the backlog has not arrived".into()));
            }
            sleep(Duration::from_millis(2));
        }
        let run = Run { changes, seconds: start.elapsed().as_secs_f64(), ..Run::default() };
        // The neighbour catches up, too.
        sleep(Duration::from_secs(1));
        let sample = latency::observe(source, seconds, || observer.newest());
        let peak = peak_memory(running.pid());
        running.stop().map_err(|error| self.pipeline.explain(&error))?;
        source.drop_slot(&self.pipeline.slot);
        Ok((Run { peak, ..run }, sample.map_err(|error| self.pipeline.explain(&error))?))
    }
}

fn print(load: &str, runs: &[Vec<Run>; 4], latencies: &[Vec<Vec<f64>>; 4]) {
    let series: Vec<_> = VARIANTS
        .iter()
        .zip(runs)
        .map(|((_, name), runs)| Series { name: (*name).into(), runs: runs.clone() })
        .collect();
    report::table(
        &format!("Isolation: one sink of three stalled, Unix socket, load {load} to {}", report::load()),
        &series,
    );
    let quantile = |samples: &[Vec<f64>], share: f64| -> Vec<f64> {
        samples.iter().map(|sample| percentile(sample, share)).collect()
    };
    println!("\n| {} inserts a second, commit to visible, ms | p50 | p99 |", latency::RATE);
    println!("| --- | --- | --- |");
    for ((_, name), samples) in VARIANTS.iter().zip(latencies) {
        let column = |share| spread(quantile(samples, share), |ms| format!("{ms:.2}"));
        println!("| {name} | {} | {} |", column(0.5), column(0.99));
    }
    println!();
    let [control, subjects @ ..] = runs;
    let [quiet, delayed @ ..] = latencies;
    for ((runs, samples), (_, name)) in subjects.iter().zip(delayed).zip(&VARIANTS[1..]) {
        report::ratio(&format!("P8 throughput {name} / without"), runs, control);
        let pairs = quantile(samples, 0.99).into_iter().zip(quantile(quiet, 0.99));
        let ratios = spread(pairs.map(|(a, b)| a / b).collect(), |ratio| format!("{ratio:.2}"));
        println!("- P8 p99 {name} / without (less is better): **{ratios}**");
    }
}
