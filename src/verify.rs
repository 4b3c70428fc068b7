//! Compares what a sink holds with what its sources have, through the sink's own rules.
//!
//! Both sides are scanned once and summed by buckets of their keys' hashes ([`kept`]); buckets that differ are looked into
//! ([`suspects`]); keys that differ there are looked up again until they stand still ([`settle`]), because on data that
//! moves two scans are never of the same moment. What stays different is a finding, and may be repaired: the source
//! reads the row again and sends it through the log, in its right place among the changes.

pub mod kept;
pub mod report;
pub mod service;
pub mod settle;
pub mod sides;
pub mod suspects;
pub mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use connector_api::{Error, Result};

use crate::config::Config;
use crate::registry;
use kept::{Hasher, Sums};
use report::{Report, TableReport};
use service::Service;
use settle::{Bench, CHUNK, Difference};
use sides::{Actual, Expected};
use suspects::Suspect;
use tables::Table;

/// Rows that differ which are named for each table; the others are counted.
const NAMED_MAX: usize = 1_000;
/// How often rows are sent again before they count as not repaired.
const REPAIRS_MAX: u32 = 3;
/// How often a table with more suspects than one pass takes is gone through.
const PASSES_MAX: u32 = 1_000;

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Only this table of the sink.
    pub table: Option<&'a str>,
    /// Send the rows that differ again.
    pub repair: bool,
    /// Show values.
    pub values: bool,
}

/// Who is told how far it has come.
pub trait Progress {
    /// A table is begun: its name, an estimate of its rows, and where the rows read so far are counted.
    fn begin(&self, table: &str, rows: u64, read: Arc<AtomicU64>);
    /// Something else is done with the table now.
    fn doing(&self, what: &str);
}

/// Compares a sink with its sources.
///
/// # Errors
/// When a side cannot be read, when the sink is one that cannot be read back, when nothing is to be compared.
pub async fn verify(
    config: &Config,
    sink: &str,
    asked: Asked<'_>,
    progress: &dyn Progress,
) -> Result<Report> {
    let began = Instant::now();
    let rules = config.sinks.get(sink).ok_or_else(|| Error::config(format!("no sink {sink:?}")))?;
    let reader = || {
        registry::rows(sink, rules)?.ok_or_else(|| {
            let kind = rules.connector.type_name();
            Error::config(format!(
                "sink {sink} is of type {kind}, which cannot be read back: there is nothing to compare"
            ))
            .with_remedy("millstream verify CONFIG SINK with a sink that is a database")
        })
    };
    let actual = Actual::new(reader()?, reader()?);
    let mapping = registry::mapping(config, rules);
    let wants = mapping.subscription();
    let (sources, all) = tables::tables(config, &mapping).await?;
    let chosen = choose(all, asked.table)?;
    let service = Service::of(config, sink, &wants).await?;
    if asked.repair && matches!(service, Service::Idle(_)) {
        return Err(Error::config("rows are sent again by the running service, and none answers")
            .with_remedy("start it:  millstream run CONFIG"));
    }
    let expected = Expected::new(sources, mapping, reader()?);
    let mut bench = Bench { sink, wants: &wants, service: &service, expected, actual };
    let mut report = Report { sink: sink.to_owned(), running: true, ..Report::default() };
    if let Service::Idle(pending) = &service {
        (report.running, report.pending) = (false, *pending);
    }
    for table in chosen {
        let table = Arc::new(table);
        report.tables.push(Comparison { bench: &mut bench, asked, progress, table: &table }.run().await?);
    }
    report.rows = report.tables.iter().map(|table| table.source_rows).sum();
    report.equal = report.tables.iter().all(TableReport::is_equal);
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

impl TableReport {
    fn is_equal(&self) -> bool {
        self.differences == self.repaired && self.not_followed == 0 && self.buckets_left == 0
    }
}

fn choose(tables: Vec<Table>, wanted: Option<&str>) -> Result<Vec<Table>> {
    let names: Vec<_> = tables.iter().map(|table| table.target.table.clone()).collect();
    let chosen: Vec<_> =
        tables.into_iter().filter(|table| wanted.is_none_or(|wanted| wanted == table.target.table)).collect();
    match (chosen.is_empty(), wanted) {
        (false, _) => Ok(chosen),
        (true, None) => {
            Err(Error::config("there is nothing to compare: no table of a source goes into this sink")
                .with_remedy("millstream check CONFIG"))
        }
        (true, Some(wanted)) => {
            let error = Error::config(format!("the sink has no table {wanted:?}"));
            Err(match crate::config::nearest(wanted, names.iter().map(String::as_str)) {
                Some(near) => error.with_remedy(format!("--table {near}")),
                None => error.with_remedy(format!("name one of: {}", names.join(", "))),
            })
        }
    }
}

/// One table under comparison.
struct Comparison<'c, 'b> {
    bench: &'c mut Bench<'b>,
    asked: Asked<'c>,
    progress: &'c dyn Progress,
    table: &'c Arc<Table>,
}

impl Comparison<'_, '_> {
    async fn run(mut self) -> Result<TableReport> {
        let target = &self.table.target;
        let mut report = TableReport {
            table: target.table.clone(),
            topics: self.table.feeds.iter().map(|feed| feed.original.topic.to_string()).collect(),
            ..TableReport::default()
        };
        for pass in 0..PASSES_MAX {
            let hasher = Hasher::default();
            self.progress.begin(&target.table, self.table.rows_estimated, self.bench.expected.rows.clone());
            let (expected, actual) = self.sums(hasher).await?;
            if pass == 0 {
                (report.source_rows, report.sink_rows) = (expected.rows, actual.rows);
            }
            let different = expected.different(&actual);
            if different.is_empty() {
                report.buckets_left = 0;
                break;
            }
            self.progress.doing("looking into what differs");
            let Bench { expected: theirs, actual: ours, .. } = &mut *self.bench;
            let sums = Arc::new(expected);
            let size = sums.size();
            let found = suspects::find(hasher, self.table, theirs, ours, &sums, &different, size).await?;
            report.buckets_left = found.buckets_left;
            let repaired = report.repaired;
            self.follow(found.keys, &mut report).await?;
            // With a repair, what had no room in this pass comes in the next one.
            if !self.asked.repair || report.buckets_left == 0 || report.repaired == repaired {
                break;
            }
        }
        Ok(report)
    }

    /// One scan of each side, at the same time.
    async fn sums(&mut self, hasher: Hasher) -> Result<(Sums, Sums)> {
        let mut expected = Sums::new(hasher, self.table.rows_estimated);
        let actual = expected.clone();
        let reading = self.bench.actual.read(self.table, None, actual, |sums, found| {
            sums.add(found.kept);
            Ok(())
        })?;
        self.bench
            .expected
            .scan(self.table, &mut |found| {
                expected.add(found.kept);
                Ok(())
            })
            .await?;
        Ok((expected, reading.await?))
    }

    async fn follow(&mut self, suspects: Vec<Suspect>, report: &mut TableReport) -> Result<()> {
        let letters = self.bench.service.has_dead_letters(self.bench.sink).await?;
        for chunk in suspects.chunks(CHUNK) {
            if report.rows.len() >= NAMED_MAX && !self.asked.repair {
                report.not_followed += chunk.len() as u64;
                continue;
            }
            self.progress.doing("waiting until what differs stands still");
            let settled = self.bench.settle(self.table, chunk.to_vec()).await?;
            report.kept += settled.kept;
            report.unsettled += settled.unsettled.len() as u64;
            let mut left: Vec<Vec<u8>> = Vec::new();
            let repairs = self.asked.repair && !settled.different.is_empty();
            if repairs {
                self.progress.doing("sending rows again");
                left = self.repair(&settled.different).await?;
            }
            for difference in settled.different {
                let mut row = difference.report(&self.table.target, self.asked.values)?;
                row.repaired = repairs && !left.contains(&difference.suspect.key);
                report.count(row.what);
                report.repaired += u64::from(row.repaired);
                if report.rows.len() < NAMED_MAX {
                    if letters {
                        row.dead_letter = self.dead_letter(&difference.suspect).await?;
                    }
                    report.rows.push(row);
                }
            }
        }
        Ok(())
    }

    async fn dead_letter(&self, suspect: &Suspect) -> Result<Option<u64>> {
        for (at, feed) in self.table.feeds.iter().enumerate() {
            if let Some(key) = suspect.key_in(at, feed)
                && let found @ Some(_) =
                    self.bench.service.dead_letter(self.bench.sink, &feed.original.topic, &key).await?
            {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Sends rows again until none of them differs; returns the keys of those that still do.
    async fn repair(&mut self, different: &[Difference]) -> Result<Vec<Vec<u8>>> {
        let mut left: Vec<Suspect> = different.iter().map(|difference| difference.suspect.clone()).collect();
        for _ in 0..REPAIRS_MAX {
            let mut wanted: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
            for suspect in &left {
                if let Some((feed, key)) = self.origin(suspect) {
                    wanted.entry(feed).or_default().push(key);
                }
            }
            if wanted.is_empty() {
                break;
            }
            for (feed, keys) in wanted {
                let Some(feed) = self.table.feeds.get(feed) else { continue };
                self.bench.service.refresh_all(&feed.source, &feed.original.topic, &keys).await?;
            }
            let settled = self.bench.settle(self.table, left).await?;
            // One that never stands still gets its newest state from the stream.
            left = settled.different.into_iter().map(|difference| difference.suspect).collect();
            if left.is_empty() {
                break;
            }
        }
        Ok(left.into_iter().map(|suspect| suspect.key).collect())
    }

    /// The feed that a row is to be sent by, and its key there: its own, or for one that the source does not have the first
    /// that tells.
    fn origin(&self, suspect: &Suspect) -> Option<(usize, Vec<u8>)> {
        let mut feeds = self.table.feeds.iter().enumerate();
        match &suspect.origin {
            Some((feed, key)) => {
                let keyed =
                    self.table.feeds.get(*feed).is_some_and(|feed| !feed.original.schema.key.is_empty());
                keyed.then(|| (*feed, key.clone()))
            }
            None => feeds.find_map(|(at, feed)| Some((at, suspect.key_in(at, feed)?))),
        }
    }
}
