//! `make bench`: millstream beside its references, in turn, in one run; ratios and not absolutes count.
//!
//! The references are `pg_recvlogical` to /dev/null (what the server can send), a bare rusqlite upsert loop (what the
//! target can take), native logical replication (latency, into Postgres) and the bare drivers of the other targets. The
//! same reference measured twice (A/A) says how large a difference has to be before it is one. Tables go to stdout,
//! progress to stderr.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

mod contest;
mod copy;
mod drain;
mod erasure;
mod huge;
mod idle;
mod isolation;
mod latency;
mod mariadb;
mod measure;
mod native;
mod postgres;
mod receiver;
mod recvlogical;
mod redis;
mod report;
mod rows;
mod source;
mod sqlite;
mod subject;
mod webhook;
mod workload;

/// Measures millstream beside its references.
#[derive(Parser)]
pub struct Options {
    /// Smaller counts and one round: shows that everything runs, not how fast.
    #[arg(long)]
    quick: bool,
    /// Which parts to run; all by default.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// How the source is reached.
    #[arg(long, default_value = "both")]
    transport: Transports,
    /// Rounds of each comparison; 3 by default, 1 with --quick.
    #[arg(long)]
    rounds: Option<usize>,
    /// The millstream to measure; by default the one beside this program.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Measures the references alone.
    #[arg(long)]
    references: bool,
}

/// What can be run by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// 1,000,000 inserts in transactions of 1,000.
    W1,
    /// 300,000 single-row updates by random key, committed by 100.
    W2,
    /// 200,000 single-row transactions: 60% insert, 30% update, 10% delete.
    W3,
    /// 500 single-row inserts a second, commit to visible.
    Latency,
    /// Start, idle CPU and idle memory.
    Memory,
    /// One transaction of 5,000,000 rows.
    Huge,
    /// W1, W2 and W3 into a second Postgres, beside a native subscription.
    Postgres,
    /// The initial copy of 1,000,000 rows, into the log, SQLite and Postgres.
    Copy,
    /// Inserts and updates into MariaDB, beside the bare driver.
    Mariadb,
    /// Inserts and updates into Redis, beside the bare driver.
    Redis,
    /// Inserts and updates to a webhook, beside a bare HTTP client.
    Webhook,
    /// One sink stalled, and what another one notices of it.
    Isolation,
    /// Persons who leave: one by one under load, and many in one transaction.
    Erasure,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Transports {
    Socket,
    Tcp,
    Both,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
    }

    fn transports(&self) -> &'static [source::Transport] {
        match self.transport {
            Transports::Socket => &[source::Transport::Socket],
            Transports::Tcp => &[source::Transport::Tcp],
            Transports::Both => &[source::Transport::Socket, source::Transport::Tcp],
        }
    }

    /// The subject's binary; none when only the references are wanted.
    fn subject(&self) -> Result<Option<PathBuf>, measure::Error> {
        if self.references {
            return Ok(None);
        }
        let beside = || Ok::<_, measure::Error>(std::env::current_exe()?.with_file_name("millstream"));
        let binary = self.binary.clone().map_or_else(beside, Ok)?;
        if !binary.is_file() {
            return Err(
                format!("no millstream at {}; build it, or pass --references", binary.display()).into()
            );
        }
        Ok(Some(std::path::absolute(binary)?))
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), measure::Error> {
    let subject = options.subject()?;
    let subject = subject.as_deref();
    report::machine();
    if options.quick {
        println!("\nA quick run: the figures show that everything works, not how fast it is.");
    }
    if [Part::W1, Part::W2, Part::W3].into_iter().any(|part| options.wants(part)) {
        drain::measure(options, subject)?;
    }
    if options.wants(Part::Latency) {
        latency::measure(options, subject)?;
    }
    if let Some(subject) = subject.filter(|_| options.wants(Part::Memory)) {
        idle::measure(options, subject)?;
    }
    if options.wants(Part::Huge) {
        huge::measure(options, subject)?;
    }
    into_sinks(options, subject)
}

fn into_sinks(options: &Options, subject: Option<&Path>) -> Result<(), measure::Error> {
    if options.wants(Part::Postgres) {
        postgres::measure(options, subject)?;
    }
    if options.wants(Part::Copy) {
        copy::measure(options, subject)?;
    }
    if options.wants(Part::Mariadb) {
        mariadb::measure(options, subject)?;
    }
    if options.wants(Part::Redis) {
        redis::measure(options, subject)?;
    }
    if options.wants(Part::Webhook) {
        webhook::measure(options, subject)?;
    }
    if let Some(subject) = subject.filter(|_| options.wants(Part::Isolation)) {
        isolation::measure(options, subject)?;
    }
    if options.wants(Part::Erasure) {
        erasure::measure(options, subject)?;
    }
    Ok(())
}
