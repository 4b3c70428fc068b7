//! Erasure: how long a person is still in the copies after the commit of the delete, one by one under load; and how many
//! persons a second leave when one transaction deletes many, beside a bare loop of the same deletes.
//!
//! Times of the source are those of its commits, times of receipts and cases those of the ledger: one machine, one clock.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::Options;
use crate::latency::RATE;
use crate::measure::{Error, Run, peak_memory};
use crate::report::{self, Series, percentile, spread};
use crate::source::{Source, Transport};
use crate::sqlite::{Observer, TUNED};
use crate::subject::{Pipeline, sqlite_sink};

/// The sinks, each with a copy of the table.
const SINKS: [&str; 2] = ["first", "second"];
/// The pause between two deletes.
const EVERY: Duration = Duration::from_millis(50);
/// Deletes in one transaction of the bare loop.
const GROUP: usize = 1_000;
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(600);

struct Counts {
    /// Rows of a round that are there before anybody leaves.
    rows: u64,
    /// Of these, who leave one by one.
    single: u64,
    /// Who leave in one transaction.
    many: u64,
}

/// What a round found.
struct Round {
    /// From the commit to the last receipt of a sink, and to the end of the case; sorted, in milliseconds.
    receipts: Vec<f64>,
    cases: Vec<f64>,
    /// The same for the transaction of many, to the last person; in seconds.
    many_receipts: f64,
    many_cases: f64,
    bare: Run,
    peak: Option<u64>,
}

pub fn measure(options: &Options, binary: Option<&Path>) -> Result<(), Error> {
    let Some(binary) = binary else { return Ok(()) };
    let counts = match options.quick {
        true => Counts { rows: 10_000, single: 40, many: 1_000 },
        false => Counts { rows: 100_000, single: 200, many: 10_000 },
    };
    let source = Source::start();
    let directory = tempfile::Builder::new().prefix("ms-bench-").tempdir()?;
    let load = report::load();
    let mut rounds = Vec::new();
    for round in 0..options.rounds() {
        eprintln!("erasure, round {}", round + 1);
        rounds.push(Place::create(&source, binary, directory.path(), round, &counts)?.run(&counts)?);
    }
    print(&counts, &load, &rounds);
    Ok(())
}

/// One pipeline with rows of its own.
struct Place<'a> {
    source: &'a Source,
    pipeline: Pipeline,
    directory: PathBuf,
    /// The id before the first of its rows.
    base: u64,
}

impl<'a> Place<'a> {
    fn create(
        source: &'a Source,
        binary: &Path,
        directory: &Path,
        round: usize,
        counts: &Counts,
    ) -> Result<Self, Error> {
        let (slot, base) = (format!("erasure_{round}"), 10_000_000 * round as u64);
        source.create_slot(&slot);
        insert(source, base + 1, base + counts.rows);
        let directory = directory.join(&slot);
        let mut sinks: String =
            SINKS.iter().map(|name| sqlite_sink(name, &directory.join(format!("{name}.db")))).collect();
        sinks += "erasure:\n  persons:\n    subject: {topic: bench.public.bench, key: id}\n    sinks:\n";
        for name in SINKS {
            sinks += &format!("      {name}: [{{table: bench, match: id, action: delete}}]\n");
        }
        let parent = directory.parent().ok_or("a folder in a folder")?;
        let pipeline =
            Pipeline::with_sinks(binary, parent, source, Transport::Socket, &slot, "never", &sinks)?;
        Ok(Self { source, pipeline, directory, base })
    }

    fn run(&self, counts: &Counts) -> Result<Round, Error> {
        let running = self.pipeline.spawn()?;
        for name in SINKS {
            let path = self.directory.join(format!("{name}.db"));
            let mut observer = Observer::new(&path);
            self.until("the rows have not arrived", || Ok(observer.sees(self.base + counts.rows)))?;
        }
        let round = self.one_by_one(counts).and_then(|(receipts, cases)| {
            let copy = self.directory.join("bare.db");
            Connection::open(self.directory.join("first.db"))?
                .execute("VACUUM INTO ?1", [copy.display().to_string()])?;
            let (many_receipts, many_cases) = self.many(counts)?;
            let peak = peak_memory(running.pid());
            let bare = bare(&copy, self.first_of_many(counts), counts.many)?;
            Ok(Round { receipts, cases, many_receipts, many_cases, bare, peak })
        });
        let round = round.map_err(|error| self.pipeline.explain(&error))?;
        running.stop().map_err(|error| self.pipeline.explain(&error))?;
        for name in SINKS {
            let sql = "SELECT count(*) FROM bench WHERE id BETWEEN ?1 AND ?2";
            let (first, last) = (self.base + 1, self.base + counts.single + counts.many);
            let left: i64 = Connection::open(self.directory.join(format!("{name}.db")))?.query_row(
                sql,
                [first as i64, last as i64],
                |row| row.get(0),
            )?;
            if left != 0 {
                return Err(format!("{left} rows of erased persons are left in {name}").into());
            }
        }
        self.source.drop_slot(&self.pipeline.slot);
        Ok(round)
    }

    /// Milliseconds from each commit to the last receipt of a sink, and to the end of the case.
    fn one_by_one(&self, counts: &Counts) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let done = AtomicBool::new(false);
        let transactions = scope(|scope| {
            scope.spawn(|| self.insert_until(&done));
            let begun = Instant::now();
            let delete = |number: u64| {
                sleep((EVERY * u32::try_from(number)?).saturating_sub(begun.elapsed()));
                let id = self.base + 1 + number;
                let sql = format!("DELETE FROM bench WHERE id = {id} RETURNING pg_current_xact_id()");
                Ok::<_, Error>(self.source.session.value(&sql))
            };
            let transactions = (0..counts.single).map(delete).collect::<Result<Vec<_>, Error>>();
            // The load lasts until the last case is complete.
            let waited = self.complete(counts.single);
            done.store(true, Ordering::Release);
            waited.and(transactions)
        })?;
        let times = self.times(0)?;
        if times.len() as u64 != counts.single {
            return Err(format!("{} cases instead of {}", times.len(), counts.single).into());
        }
        let (mut receipts, mut cases) = (Vec::new(), Vec::new());
        for (transaction, time) in transactions.iter().zip(times) {
            let commit = self.commit_us(transaction)?;
            receipts.push((time.receipts_us - commit) as f64 / 1e3);
            cases.push((time.completed_us - commit) as f64 / 1e3);
        }
        receipts.sort_unstable_by(f64::total_cmp);
        cases.sort_unstable_by(f64::total_cmp);
        Ok((receipts, cases))
    }

    /// Seconds from the commit to the last receipt of a sink, and to the end of the last case.
    fn many(&self, counts: &Counts) -> Result<(f64, f64), Error> {
        let first = self.first_of_many(counts);
        let last = first + counts.many - 1;
        let transaction = self.source.session.value(&format!(
            "BEGIN; DELETE FROM bench WHERE id BETWEEN {first} AND {last}; SELECT pg_current_xact_id(); COMMIT"
        ));
        self.complete(counts.single + counts.many)?;
        let commit = self.commit_us(&transaction)?;
        let times = self.times(counts.single)?;
        if times.len() as u64 != counts.many {
            return Err(format!("{} cases instead of {}", times.len(), counts.many).into());
        }
        let since = |us: Option<i64>| us.map_or(0.0, |us| (us - commit) as f64 / 1e6);
        Ok((
            since(times.iter().map(|time| time.receipts_us).max()),
            since(times.iter().map(|time| time.completed_us).max()),
        ))
    }

    fn first_of_many(&self, counts: &Counts) -> u64 {
        self.base + 1 + counts.single
    }

    /// Inserts into other rows at the rate, on a connection of its own.
    fn insert_until(&self, done: &AtomicBool) {
        let (session, begun) = (self.source.server.session("bench"), Instant::now());
        for number in 0.. {
            if done.load(Ordering::Acquire) {
                return;
            }
            sleep((Duration::from_secs(number) / RATE).saturating_sub(begun.elapsed()));
            let id = self.base + 5_000_000 + number;
            session.execute(&format!(
                "INSERT INTO bench VALUES ({id}, 'Customer number {id:09}', 'customer{id:09}@example.com', 12.34, 7, now(), true)"
            ));
        }
    }

    /// Waits until so many cases are complete.
    fn complete(&self, cases: u64) -> Result<(), Error> {
        let sql = "SELECT count(*) FROM erasure_cases WHERE completed_us IS NOT NULL";
        self.until("not every case is complete", || {
            let Ok(ledger) = self.ledger() else { return Ok(false) };
            Ok(ledger.query_row(sql, [], |row| row.get::<_, i64>(0)).is_ok_and(|count| count as u64 >= cases))
        })
    }

    /// Of each case, in the order of the deletes: when the last sink's receipt was final, and when it was complete.
    fn times(&self, from: u64) -> Result<Vec<Times>, Error> {
        let ledger = self.ledger()?;
        let mut statement = ledger.prepare(
            "SELECT max(json_extract(r.receipt, '$.at_us')), c.completed_us FROM erasure_cases c
             JOIN erasure_receipts r ON r.case_id = c.id AND r.target <> 'log' AND r.state = 'final'
             GROUP BY c.id HAVING count(*) = 2 ORDER BY c.\"offset\" LIMIT -1 OFFSET ?1",
        )?;
        let times = statement.query_map([from as i64], |row| {
            Ok(Times { receipts_us: row.get(0)?, completed_us: row.get(1)? })
        })?;
        Ok(times.collect::<rusqlite::Result<_>>()?)
    }

    fn ledger(&self) -> rusqlite::Result<Connection> {
        let path = self.directory.join("log").join("state.db");
        let ledger = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        ledger.busy_timeout(Duration::from_secs(10))?;
        Ok(ledger)
    }

    fn commit_us(&self, transaction: &str) -> Result<i64, Error> {
        let sql = format!(
            "SELECT (extract(epoch FROM pg_xact_commit_timestamp('{transaction}'::xid)) * 1000000)::bigint"
        );
        Ok(self.source.session.value(&sql).parse()?)
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> Result<bool, Error>) -> Result<(), Error> {
        let begun = Instant::now();
        while !done()? {
            if begun.elapsed() > LIMIT {
                return Err(self.pipeline.explain(&format!("{what} after {LIMIT:?}").into()));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

struct Times {
    receipts_us: i64,
    completed_us: i64,
}

/// Rows that are there before anybody leaves.
fn insert(source: &Source, first: u64, last: u64) {
    source.session.execute(&format!(
        "INSERT INTO bench SELECT g, 'Customer number ' || lpad(g::text, 9, '0'), 'customer' || lpad(g::text, 9, '0')
         || '@example.com', (g % 100000) / 100.0, (g % 1000)::int, now(), g % 2 = 0 FROM generate_series({first}, {last}) g"
    ));
}

/// The same deletes by a careful hand: on an equal file, with the sink's pragmas.
fn bare(path: &Path, first: u64, count: u64) -> Result<Run, Error> {
    let connection = Connection::open(path)?;
    connection.execute_batch(TUNED)?;
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let ids: Vec<_> = (first..first + count).collect();
    let start = Instant::now();
    let mut delete = connection.prepare("DELETE FROM bench WHERE id = ?1")?;
    let mut changes = 0;
    for group in ids.chunks(GROUP) {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for id in group {
            changes += delete.execute([*id as i64])? as u64;
        }
        connection.execute_batch("COMMIT")?;
    }
    let seconds = start.elapsed().as_secs_f64();
    if changes != count {
        return Err(format!("the bare loop deleted {changes} rows instead of {count}").into());
    }
    Ok(Run { changes, seconds, ..Run::default() })
}

fn print(counts: &Counts, load: &str, rounds: &[Round]) {
    println!(
        "\n## Erasure one by one: {} deletes, one every {} ms, {RATE} other inserts a second, two SQLite sinks, load {load} to {}\n",
        counts.single,
        EVERY.as_millis(),
        report::load()
    );
    println!("| ms from the commit of the delete | p50 | p90 | p99 | max |\n| --- | --- | --- | --- | --- |");
    type Times = fn(&Round) -> &Vec<f64>;
    let parts: [(&str, Times); 2] = [
        ("the last sink's receipt is final", |round| &round.receipts),
        ("the case is complete, the log purged", |round| &round.cases),
    ];
    for (what, of) in parts {
        let column = |share| {
            let values = rounds.iter().map(|round| percentile(of(round), share)).collect();
            spread(values, |ms| format!("{ms:.1}"))
        };
        println!("| {what} | {} | {} | {} | {} |", column(0.5), column(0.9), column(0.99), column(1.0));
    }
    let runs = |seconds: fn(&Round) -> f64| -> Vec<Run> {
        let run = |round: &Round| Run {
            changes: counts.many,
            seconds: seconds(round),
            peak: round.peak,
            ..Run::default()
        };
        rounds.iter().map(run).collect()
    };
    let receipts = runs(|round| round.many_receipts);
    let cases = runs(|round| round.many_cases);
    let bare: Vec<_> = rounds.iter().map(|round| round.bare.clone()).collect();
    let series = [
        Series {
            name: "millstream, the receipts of both sinks, which are scrubbed".into(),
            runs: receipts.clone(),
        },
        Series { name: "millstream, every case complete, the log purged".into(), runs: cases.clone() },
        Series {
            name: format!("bare rusqlite, the same deletes on one equal file, committed by {GROUP}"),
            runs: bare.clone(),
        },
    ];
    report::table(
        &format!("Erasure of {} persons, deleted in one transaction; a change is a person", counts.many),
        &series,
    );
    for (what, runs) in [("receipts", &receipts), ("complete cases", &cases)] {
        let seconds = spread(runs.iter().map(|run| run.seconds).collect(), |seconds| format!("{seconds:.2}"));
        println!("- {what}: **{seconds} s** after the commit");
    }
    for (what, runs) in [("receipts of both sinks", &receipts), ("complete cases", &cases)] {
        let ratios = runs.iter().zip(&bare).map(|(ours, bare)| bare.rate() / ours.rate()).collect();
        let ratios = spread(ratios, |ratio| format!("{ratio:.0}"));
        println!("- the bare loop on one file / {what} (less is better): **{ratios}**");
    }
}
