//! A sink beside its reference: both drain the same backlog of the same source, in turn.
//!
//! Targets and references keep their rows from one workload to the next: the updates of W2 meet the rows of W1.

use std::path::Path;

use crate::measure::{Error, Run};
use crate::report::{self, Series};
use crate::source::{Source, Transport};
use crate::subject::{Pipeline, Target};
use crate::workload::{self, Backlog, Sizes};
use crate::{Options, Part, drain};

/// What a sink is measured beside.
pub trait Reference {
    /// Takes a workload; the backlog is for one that reads the source, too.
    fn take(&mut self, source: &Source, part: Part, backlog: &Backlog, changes: u64) -> Result<Run, Error>;

    /// What differs from the source, where the reference copies it.
    fn check(&mut self, _source: &Source) -> Result<(), Error> {
        Ok(())
    }
}

/// A pipeline, and what it fills.
pub type Filled = (Pipeline, Box<dyn Target>);

/// One round: everything with a slot and a target of its own.
pub struct Round {
    pub pipeline: Option<Filled>,
    pub reference: Box<dyn Reference>,
    /// The reference again, as A/A.
    pub control: Box<dyn Reference>,
}

/// What is compared, in words.
pub struct Names<'a> {
    pub target: &'a str,
    pub reference: &'a str,
    /// The goal, in front of the ratio.
    pub goal: &'a str,
}

#[derive(Default)]
struct Results {
    ours: Vec<Run>,
    reference: Vec<Run>,
    control: Vec<Run>,
}

/// Where a round is made: the source, the number of the round, and whether and where a pipeline is wanted.
pub struct Place<'a> {
    pub source: &'a Source,
    pub transport: Transport,
    pub number: usize,
    pub subject: Option<&'a Path>,
    pub directory: &'a Path,
}

impl Place<'_> {
    /// A new slot.
    pub fn slot(&self, role: &str) -> String {
        let kind = if self.transport == Transport::Tcp { "tcp" } else { "socket" };
        let slot = format!("{role}_{kind}_{}", self.number);
        self.source.create_slot(&slot);
        slot
    }

    /// A pipeline into one sink, where a subject is measured.
    pub fn pipeline<T: Target + 'static>(
        &self,
        role: &str,
        sink: impl FnOnce() -> Result<(String, T), Error>,
    ) -> Result<Option<Filled>, Error> {
        let Some(binary) = self.subject else { return Ok(None) };
        let (sink, target) = sink()?;
        let slot = self.slot(role);
        let pipeline =
            Pipeline::with_sinks(binary, self.directory, self.source, self.transport, &slot, "never", &sink)?;
        Ok(Some((pipeline, Box::new(target))))
    }
}

/// Makes the rounds, then runs each workload through all of them.
pub fn measure(
    options: &Options,
    subject: Option<&Path>,
    names: &Names<'_>,
    parts: &[Part],
    sizes: Sizes,
    mut make: impl FnMut(&Place<'_>) -> Result<Round, Error>,
) -> Result<(), Error> {
    let source = Source::start();
    let directory = tempfile::Builder::new().prefix("ms-bench-").tempdir()?;
    let mut rounds = Vec::new();
    for transport in options.transports().iter().copied() {
        for number in 0..options.rounds() {
            let directory = directory.path();
            let place = Place { source: &source, transport, number, subject, directory };
            rounds.push((transport, make(&place)?));
        }
    }
    for part in parts.iter().copied() {
        eprintln!("{}, {}: loading", names.target, drain::name(part));
        let backlog = workload::load(&source, part, sizes);
        for transport in options.transports().iter().copied() {
            let load = report::load();
            let mut results = Results::default();
            let rounds = rounds.iter_mut().filter(|(over, _)| *over == transport);
            for (number, (_, round)) in rounds.enumerate() {
                eprintln!("{}, {}, {transport}, round {}", names.target, drain::name(part), number + 1);
                run(round, &source, part, &backlog, sizes, &mut results)?;
            }
            print(names, part, transport, sizes, &load, &results);
        }
    }
    for (_, round) in &mut rounds {
        if let Some((_, target)) = &mut round.pipeline {
            target.check(&source)?;
        }
        round.reference.check(&source)?;
        round.control.check(&source)?;
    }
    println!("\nWhat each copy of the source holds was compared with it at the end.");
    Ok(())
}

fn run(
    round: &mut Round,
    source: &Source,
    part: Part,
    backlog: &Backlog,
    sizes: Sizes,
    results: &mut Results,
) -> Result<(), Error> {
    let changes = sizes.changes(part);
    if let Some((pipeline, target)) = &mut round.pipeline {
        results.ours.push(pipeline.drain_into(source, backlog, changes, target.as_mut())?);
    }
    results.reference.push(round.reference.take(source, part, backlog, changes)?);
    results.control.push(round.control.take(source, part, backlog, changes)?);
    Ok(())
}

fn print(names: &Names<'_>, part: Part, transport: Transport, sizes: Sizes, load: &str, results: &Results) {
    let series = |name: String, runs: &[Run]| Series { name, runs: runs.to_vec() };
    report::table(
        &format!(
            "Into {}: {} ({} changes), {transport}, load {load} to {}",
            names.target,
            drain::name(part),
            sizes.changes(part),
            report::load()
        ),
        &[
            series(format!("millstream, end to end into {}", names.target), &results.ours),
            series(names.reference.to_owned(), &results.reference),
            series("the same again (A/A)".to_owned(), &results.control),
        ],
    );
    println!();
    report::ratio("A/A, the reference / itself", &results.control, &results.reference);
    report::ratio(&format!("{}millstream / the reference", names.goal), &results.ours, &results.reference);
}
