//! `millstream verify`: does a sink hold what its sources have?

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connector_api::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::offsets::known;
use crate::config::Config;
use crate::verify::report::{Report, RowReport, TableReport};
use crate::verify::{Asked, Progress, verify};

/// Compares and prints; true when nothing differs, or nothing any more.
///
/// # Errors
/// When the comparison cannot be made, or stdout cannot be written.
pub async fn run(config: &Config, sink: &str, asked: Asked<'_>, json: bool) -> Result<bool> {
    known(config, sink)?;
    let bar = Bar::new();
    let watching = bar.watch();
    let outcome = verify(config, sink, asked, &bar).await;
    watching.abort();
    bar.bar.finish_and_clear();
    let report = outcome?;
    print(&report, json).map_err(|error| Error::io("write to stdout", error))?;
    Ok(report.equal)
}

fn print(report: &Report, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let text = serde_json::to_string_pretty(report)?;
        return writeln!(out, "{text}");
    }
    for table in &report.tables {
        for row in &table.rows {
            writeln!(out, "{}", line(&table.table, row))?;
        }
        let more = table.differences.saturating_sub(table.rows.len() as u64);
        if more > 0 {
            writeln!(out, "{}: and {more} more", table.table)?;
        }
        writeln!(out, "{}", summary(table))?;
    }
    drop(out);
    let rate = report.rows as f64 / report.seconds.max(0.001);
    eprintln!("{} rows in {:.1} s ({rate:.0} rows/s)", report.rows, report.seconds);
    if !report.running {
        let pending = match report.pending {
            Some(0) => "nothing waits in the log for this sink".to_owned(),
            Some(count) => format!("{count} records wait in the log for this sink"),
            None => "how much waits for this sink is not known".to_owned(),
        };
        eprintln!(
            "no service runs: {pending}, and changes of the source may not be in the log yet; what differs may only be late"
        );
    }
    Ok(())
}

/// `customers {"id":7}: changed in email, waits as dead letter 12`
fn line(table: &str, row: &RowReport) -> String {
    let key = row
        .key
        .as_ref()
        .map(|key| format!(" {}", serde_json::Value::Object(key.clone())))
        .unwrap_or_default();
    let mut line = format!("{table}{key}: {}", row.what);
    if !row.columns.is_empty() {
        line.push_str(&format!(" in {}", row.columns.join(", ")));
    }
    if let Some(letter) = row.dead_letter {
        line.push_str(&format!(", waits as dead letter {letter}"));
    }
    if row.repaired {
        line.push_str(", repaired");
    }
    for (side, values) in [("source", &row.source), ("sink", &row.found)] {
        if let Some(values) = values {
            line.push_str(&format!("\n  {side} {}", serde_json::Value::Object(values.clone())));
        }
    }
    line
}

fn summary(table: &TableReport) -> String {
    let mut text = format!(
        "{}: {} rows in the source, {} in the sink, ",
        table.table, table.source_rows, table.sink_rows
    );
    text.push_str(&match table.differences {
        0 => "none differs".to_owned(),
        count => format!(
            "{count} differ ({} missing, {} extra, {} changed)",
            table.missing, table.extra, table.changed
        ),
    });
    let mut note = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    };
    note(table.repaired, "repaired");
    note(table.kept, "only in the sink, as the rules have it");
    note(table.unsettled, "changed all the time and could not be compared");
    note(table.not_followed, "more may differ and were not looked at again");
    note(table.buckets_left, "groups of rows differ and were not looked into");
    text
}

/// A bar on a terminal; nothing when stderr is piped.
struct Bar {
    bar: ProgressBar,
    read: Arc<Mutex<(Arc<AtomicU64>, u64)>>,
}

impl Bar {
    fn new() -> Bar {
        let style = "{prefix} [{bar:30}] {human_pos}/{human_len} rows, {per_sec}, {eta} left {msg}";
        let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(0).with_style(style),
            false => ProgressBar::hidden(),
        };
        Bar { bar, read: Arc::default() }
    }

    fn watch(&self) -> tokio::task::JoinHandle<()> {
        let (bar, read) = (self.bar.clone(), self.read.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let (count, base) = read.lock().unwrap_or_else(PoisonError::into_inner).clone();
                bar.set_position(count.load(Ordering::Relaxed).saturating_sub(base));
            }
        })
    }
}

impl Progress for Bar {
    fn begin(&self, table: &str, rows: u64, read: Arc<AtomicU64>) {
        self.bar.reset();
        self.bar.set_prefix(format!("comparing {table}"));
        self.bar.set_message("");
        self.bar.set_length(rows);
        let base = read.load(Ordering::Relaxed);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = (read, base);
    }

    fn doing(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }
}
