//! W1, W2 and W3: drains of a backlog, capture and end to end, each beside its reference.
//!
//! A slot can be drained once, so every run has its own, all made before the load. The pipelines and the bare loops
//! keep their databases from one workload to the next: the updates of W2 meet the million rows of W1.

use std::path::Path;

use crate::measure::{Error, Run};
use crate::report::{self, Series};
use crate::source::{Source, Transport};
use crate::subject::Pipeline;
use crate::workload::{self, Backlog, Sizes};
use crate::{Options, Part, recvlogical, sqlite};

/// Everything that runs in one round over one transport.
struct Round {
    transport: Transport,
    /// Slots of `pg_recvlogical`: the reference, and itself once more as A/A.
    reference: String,
    control: String,
    capture: Option<Pipeline>,
    end_to_end: Option<Pipeline>,
}

/// The bare loops of one round, by what they are compared as.
struct Loops {
    tuned: sqlite::Loop,
    plain: sqlite::Loop,
    grouped: sqlite::Loop,
}

/// The runs of one workload.
#[derive(Default)]
struct Results {
    reference: Vec<Run>,
    capture: Vec<Run>,
    control: Vec<Run>,
    end_to_end: Vec<Run>,
}

#[derive(Default)]
struct LoopResults {
    tuned: Vec<Run>,
    plain: Vec<Run>,
    grouped: Vec<Run>,
}

pub fn measure(options: &Options, subject: Option<&Path>) -> Result<(), Error> {
    let sizes = Sizes::new(options.quick);
    let source = Source::start();
    let directory = tempfile::Builder::new().prefix("ms-bench-").tempdir()?;
    let mut rounds = Vec::new();
    for transport in options.transports() {
        for number in 0..options.rounds() {
            rounds.push(Round::create(&source, *transport, number, subject, directory.path())?);
        }
    }
    let mut loops = Vec::new();
    for number in 0..options.rounds() {
        loops.push(Loops::create(directory.path(), number, sizes)?);
    }
    // The rows of W1 are what the others change, so that it always passes; nothing of W3 needs the updates of W2.
    let needed = |part: &Part| options.wants(*part) || *part == Part::W1;
    for part in [Part::W1, Part::W2, Part::W3].into_iter().filter(needed) {
        eprintln!("{}: loading", name(part));
        let backlog = workload::load(&source, part, sizes);
        if options.wants(part) {
            compare(options, &source, part, &backlog, sizes, &rounds, &mut loops)?;
        } else {
            pass(&source, part, &backlog, sizes, &rounds, &mut loops)?;
        }
    }
    Ok(())
}

/// Runs a workload in turn through everything and prints it.
fn compare(
    options: &Options,
    source: &Source,
    part: Part,
    backlog: &Backlog,
    sizes: Sizes,
    rounds: &[Round],
    loops: &mut [Loops],
) -> Result<(), Error> {
    let changes = sizes.changes(part);
    let mut bare = LoopResults::default();
    for transport in options.transports() {
        let mut results = Results::default();
        for (number, round) in rounds.iter().filter(|round| round.transport == *transport).enumerate() {
            eprintln!("{}, {transport}, round {}", name(part), number + 1);
            let recvlogical = |slot: &str| recvlogical::drain(source, *transport, slot, backlog, changes);
            results.reference.push(recvlogical(&round.reference)?);
            if let Some(pipeline) = &round.capture {
                results.capture.push(pipeline.drain(source, backlog, changes)?);
            }
            results.control.push(recvlogical(&round.control)?);
            if let Some(pipeline) = &round.end_to_end {
                results.end_to_end.push(pipeline.drain(source, backlog, changes)?);
            }
            // The loops know no transport: once a round is enough.
            if bare.tuned.len() < loops.len() {
                bare.tuned.push(loops[number].tuned.apply(part)?);
                bare.plain.push(loops[number].plain.apply(part)?);
                bare.grouped.push(loops[number].grouped.apply(part)?);
            }
        }
        print(part, *transport, results, &bare);
    }
    Ok(())
}

/// Brings everything past a workload that is not asked for, so that the next one finds its rows in each database.
fn pass(
    source: &Source,
    part: Part,
    backlog: &Backlog,
    sizes: Sizes,
    rounds: &[Round],
    loops: &mut [Loops],
) -> Result<(), Error> {
    for round in rounds {
        source.skip(&round.reference, &backlog.end);
        source.skip(&round.control, &backlog.end);
        // A capture has no rows to find: its slot moves, as those of the reference do.
        if let Some(pipeline) = &round.capture {
            source.skip(&pipeline.slot, &backlog.end);
        }
        if let Some(pipeline) = &round.end_to_end {
            pipeline.drain(source, backlog, sizes.changes(part))?;
        }
    }
    for loops in loops {
        for each in [&mut loops.tuned, &mut loops.plain, &mut loops.grouped] {
            each.apply(part)?;
        }
    }
    Ok(())
}

fn print(part: Part, transport: Transport, results: Results, bare: &LoopResults) {
    let series = |name: &str, runs: &[Run]| Series { name: name.into(), runs: runs.to_vec() };
    let size = workload::transaction_size(part);
    let each = match size {
        1 => format!("one row a transaction (rate of at most {} rows)", sqlite::SINGLE_ROWS_MAX),
        size => format!("transactions of {size}"),
    };
    // Where the source's own transactions are that large the two loops are the same.
    let grouped: &[Run] = if size == 1000 { &[] } else { &bare.grouped };
    report::table(
        &format!("{}, {transport}", name(part)),
        &[
            series("`pg_recvlogical` to /dev/null", &results.reference),
            series("the same again (A/A)", &results.control),
            series("millstream, captured into the fsynced log", &results.capture),
            series("millstream, end to end into SQLite", &results.end_to_end),
            series(&format!("bare upsert loop, tuned pragmas, {each}"), &bare.tuned),
            series(&format!("bare upsert loop, default pragmas, {each}"), &bare.plain),
            series("bare upsert loop, tuned pragmas, transactions of 1000", grouped),
        ],
    );
    println!();
    report::ratio("A/A, `pg_recvlogical` / itself", &results.control, &results.reference);
    report::ratio("P1 capture / `pg_recvlogical`", &results.capture, &results.reference);
    let slower = slower_of_each_round(&results.reference, &bare.tuned);
    report::ratio(
        "P2 end to end / the slower of `pg_recvlogical` and the tuned loop",
        &results.end_to_end,
        &slower,
    );
    let slower = slower_of_each_round(&results.reference, grouped);
    report::ratio("the same against the loop in transactions of 1000", &results.end_to_end, &slower);
    report::ratio("end to end / the loop with default pragmas", &results.end_to_end, &bare.plain);
}

fn slower_of_each_round(a: &[Run], b: &[Run]) -> Vec<Run> {
    a.iter().zip(b).map(|(a, b)| if a.rate() < b.rate() { a.clone() } else { b.clone() }).collect()
}

pub fn name(part: Part) -> &'static str {
    match part {
        Part::W1 => "W1, inserts in transactions of 1,000",
        Part::W2 => "W2, updates by random key, committed by 100",
        Part::W3 => "W3, mixed single-row transactions",
        _ => "another part",
    }
}

impl Round {
    fn create(
        source: &Source,
        transport: Transport,
        number: usize,
        subject: Option<&Path>,
        directory: &Path,
    ) -> Result<Self, Error> {
        let kind = if transport == Transport::Tcp { "tcp" } else { "socket" };
        let slot = |role: &str| {
            let slot = format!("{role}_{kind}_{number}");
            source.create_slot(&slot);
            slot
        };
        let pipeline = |role: &str, to_sqlite: bool| {
            subject
                .map(|binary| Pipeline::create(binary, directory, source, transport, &slot(role), to_sqlite))
                .transpose()
        };
        Ok(Self {
            transport,
            reference: slot("reference"),
            control: slot("control"),
            capture: pipeline("capture", false)?,
            end_to_end: pipeline("end_to_end", true)?,
        })
    }
}

impl Loops {
    fn create(directory: &Path, number: usize, sizes: Sizes) -> Result<Self, Error> {
        let path = |name: &str| directory.join(format!("{name}{number}.db"));
        Ok(Self {
            tuned: sqlite::Loop::create(&path("tuned"), sqlite::TUNED, sizes, workload::transaction_size)?,
            plain: sqlite::Loop::create(&path("plain"), sqlite::PLAIN, sizes, workload::transaction_size)?,
            grouped: sqlite::Loop::create(&path("grouped"), sqlite::TUNED, sizes, |_| 1000)?,
        })
    }
}
