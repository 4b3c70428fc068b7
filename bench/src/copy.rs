//! The initial copy (P4): into the log, into SQLite and into Postgres, beside binary COPY, a bare SQLite loop and a
//! native subscription's `copy_data`. Ours are timed to the end of the process, everything fsynced and confirmed.

use std::path::Path;
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use throwaway_servers::postgres::{Binaries, Postgres};

use crate::measure::{Error, Run, cpu_seconds, watch};
use crate::postgres::{Database, server};
use crate::report::{self, Series};
use crate::source::{PUBLICATION, Source, Transport};
use crate::sqlite::{self, Observer};
use crate::subject::{Pipeline, Target, sqlite_sink};
use crate::workload::{self, Sizes, TABLE};
use crate::{Options, Part};

/// How long `copy_data` may take.
const LIMIT: Duration = Duration::from_secs(900);

/// The runs over one transport, by what they are.
#[derive(Default)]
struct Results {
    binary: Vec<Run>,
    binary_again: Vec<Run>,
    log: Vec<Run>,
    bare: Vec<Run>,
    sqlite: Vec<Run>,
    native: Vec<Run>,
    native_again: Vec<Run>,
    postgres: Vec<Run>,
}

/// What every run needs.
struct Place<'a> {
    source: &'a Source,
    transport: Transport,
    directory: &'a Path,
    rows: u64,
    /// Tells the runs apart.
    tag: String,
}

pub fn measure(options: &Options, subject: Option<&Path>) -> Result<(), Error> {
    let sizes = Sizes::for_sinks(options.quick);
    let source = Source::start();
    let directory = tempfile::Builder::new().prefix("ms-bench-").tempdir()?;
    let (ours, native) = (Rc::new(server()), Rc::new(server()));
    eprintln!("copy: loading");
    workload::load(&source, Part::W1, sizes);
    for transport in options.transports().iter().copied() {
        let mut results = Results::default();
        let load = report::load();
        for round in 0..options.rounds() {
            eprintln!("copy, {transport}, round {}", round + 1);
            let kind = if transport == Transport::Tcp { "tcp" } else { "socket" };
            let place = Place {
                source: &source,
                transport,
                directory: directory.path(),
                rows: sizes.changes(Part::W1),
                tag: format!("{kind}_{round}"),
            };
            results.binary.push(place.binary_copy()?);
            if let Some(binary) = subject {
                results.log.push(place.copy_to_log(binary)?);
            }
            results.binary_again.push(place.binary_copy()?);
            let path = directory.path().join(format!("bare_{}.db", place.tag));
            let mut bare = sqlite::Loop::create(&path, sqlite::TUNED, sizes, workload::transaction_size)?;
            results.bare.push(bare.apply(Part::W1)?);
            if let Some(binary) = subject {
                results.sqlite.push(place.copy_to_sqlite(binary)?);
            }
            results.native.push(place.native(&native, "native")?);
            if let Some(binary) = subject {
                results.postgres.push(place.copy_to_postgres(binary, &ours)?);
            }
            results.native_again.push(place.native(&native, "control")?);
        }
        print(transport, &load, sizes, &results);
    }
    Ok(())
}

impl Place<'_> {
    /// What the source can give to one connection, thrown away by psql.
    fn binary_copy(&self) -> Result<Run, Error> {
        let mut command = std::process::Command::new(Binaries::installed().program("psql"));
        command.args(["-X", "-q", "-d", &self.source.url(self.transport), "-c"]);
        command.arg("COPY bench TO STDOUT (FORMAT binary)").stdout(std::process::Stdio::null());
        watch(command, self.rows, Duration::from_secs(3600), || false, || None)
    }

    fn pipeline(&self, binary: &Path, role: &str, sinks: &str) -> Result<Pipeline, Error> {
        let slot = format!("{role}_{}", self.tag);
        Pipeline::with_sinks(binary, self.directory, self.source, self.transport, &slot, "initial", sinks)
    }

    fn copy_to_log(&self, binary: &Path) -> Result<Run, Error> {
        let pipeline = self.pipeline(binary, "copy_log", "")?;
        let run = pipeline.run_to_its_end(self.source, self.rows)?;
        self.source.drop_slot(&pipeline.slot);
        Ok(run)
    }

    fn copy_to_sqlite(&self, binary: &Path) -> Result<Run, Error> {
        let path = self.directory.join(format!("copy_{}.db", self.tag));
        let pipeline = self.pipeline(binary, "copy_sqlite", &sqlite_sink("out", &path))?;
        let run = pipeline.run_to_its_end(self.source, self.rows)?;
        self.source.drop_slot(&pipeline.slot);
        let (wanted, found) = (self.source.digest(), Observer::new(&path).digest()?);
        if wanted != found {
            return Err(format!("the copy differs (rows/ids/n): source {wanted}, target {found}").into());
        }
        Ok(run)
    }

    fn copy_to_postgres(&self, binary: &Path, server: &Rc<Postgres>) -> Result<Run, Error> {
        let mut database = Database::create(server, &format!("ours_{}", self.tag));
        database.session.execute(TABLE);
        database.begin();
        let pipeline = self.pipeline(binary, "copy_postgres", &database.sink(self.transport))?;
        let mut run = pipeline.run_watched(self.source, self.rows, || database.servants())?;
        self.source.drop_slot(&pipeline.slot);
        database.compare(self.source)?;
        // Of the walsender alone, which copies nothing.
        run.sender_cpu = None;
        Ok(run)
    }

    fn native(&self, server: &Rc<Postgres>, role: &str) -> Result<Run, Error> {
        let name = format!("{role}_{}", self.tag);
        let mut database = Database::create(server, &name);
        database.session.execute(TABLE);
        database.begin();
        let start = Instant::now();
        database.session.execute(&format!(
            "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION {PUBLICATION} WITH (copy_data = true)",
            self.source.conninfo(self.transport)
        ));
        // The copy is one transaction: its first row is visible with its last. The worker ends soon after.
        let mut cpu = std::collections::HashMap::new();
        while database.session.value("SELECT EXISTS (SELECT 1 FROM bench)") != "t" {
            cpu.extend(database.servants().into_iter().filter_map(|pid| Some((pid, cpu_seconds(pid)?))));
            if start.elapsed() > LIMIT {
                return Err(format!("the subscription {name} has not copied after {LIMIT:?}").into());
            }
            sleep(Duration::from_millis(5));
        }
        let seconds = start.elapsed().as_secs_f64();
        database.compare(self.source)?;
        database.session.execute(&format!("DROP SUBSCRIPTION {name}"));
        let target_cpu = Some(cpu.values().sum());
        Ok(Run { changes: self.rows, seconds, target_cpu, ..Run::default() })
    }
}

fn print(transport: Transport, load: &str, sizes: Sizes, results: &Results) {
    let series = |name: &str, runs: &[Run]| Series { name: name.into(), runs: runs.to_vec() };
    report::table(
        &format!(
            "Initial copy of {} rows, {transport}, load {load} to {}",
            sizes.changes(Part::W1),
            report::load()
        ),
        &[
            series("binary `COPY` to /dev/null by psql", &results.binary),
            series("the same again (A/A)", &results.binary_again),
            series("millstream into the fsynced log", &results.log),
            series("bare SQLite upsert loop, tuned pragmas, transactions of 1000", &results.bare),
            series("millstream into SQLite", &results.sqlite),
            series("native `copy_data`", &results.native),
            series("the same again (A/A)", &results.native_again),
            series("millstream into Postgres", &results.postgres),
        ],
    );
    println!();
    report::ratio("A/A, binary `COPY` / itself", &results.binary_again, &results.binary);
    report::ratio("P4 into the log / binary `COPY`", &results.log, &results.binary);
    report::ratio("P4 into SQLite / the bare loop", &results.sqlite, &results.bare);
    report::ratio("A/A, `copy_data` / itself", &results.native_again, &results.native);
    report::ratio("P4 into Postgres / `copy_data`", &results.postgres, &results.native);
}
