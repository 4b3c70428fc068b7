//! `millstream status`, `topics`, `offsets list`: what there is, as tables or JSON.

use std::time::Duration;

use comfy_table::{Table, presets};
use connector_api::Result;

use crate::cli::access::Access;
use crate::config::Config;
use crate::http::views::{OffsetView, Status, TopicView};

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Prints sources, topics and sinks; with `watch` once a second until interrupted.
///
/// # Errors
/// When neither the service nor the log directory can be read.
pub async fn status(config: &Config, json: bool, watch: bool) -> Result<()> {
    loop {
        let status = Access::of(config).await?.status().await?;
        let text = if json { super::pretty(&status)? } else { table(&status) };
        if watch && !json {
            // Clears the screen and goes home, so that the tables stand still.
            print!("\x1b[2J\x1b[H");
        }
        println!("{text}");
        if !watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// Prints the topics.
///
/// # Errors
/// When neither the service nor the log directory can be read.
pub async fn topics(config: &Config, json: bool) -> Result<()> {
    let topics = Access::of(config).await?.topics().await?;
    println!("{}", if json { super::pretty(&topics)? } else { topic_table(&topics) });
    Ok(())
}

/// Prints the offsets of every group.
///
/// # Errors
/// When neither the service nor the log directory can be read.
pub async fn offsets(config: &Config, json: bool) -> Result<()> {
    let offsets = Access::of(config).await?.offsets().await?;
    println!("{}", if json { super::pretty(&offsets)? } else { offset_table(&offsets) });
    Ok(())
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

fn table(status: &Status) -> String {
    let running = match status.uptime_s {
        Some(seconds) => format!("up {}", humantime::format_duration(Duration::from_secs(seconds))),
        None => "not running: read from the log directory".into(),
    };
    let ready = if status.ready { "ready" } else { "NOT READY" };
    let log = &status.log;
    let mut out = format!(
        "millstream {} · {running} · {ready}\nlog {} ({}), {} segments, {}\n\n",
        status.version,
        log.id,
        log.engine,
        log.segments,
        size(log.bytes)
    );
    out.extend(status.not_ready.iter().map(|reason| format!("! {reason}\n")));
    out.push_str(&sources(status));
    out.push_str("\n\n");
    out.push_str(&sinks(status));
    if let Some(erasures) = &status.erasures {
        let cases = erasures.cases;
        out.push_str(&format!(
            "\n\nerasures: {} open, {} overdue, {} complete, {} violated",
            cases.open, cases.overdue, cases.completed, cases.violated
        ));
    }
    for (what, name, failure) in failures(status) {
        out.push_str(&format!("\n\n{what} {name}: {}", failure.message));
        out.extend(failure.remedy.as_ref().map(|remedy| format!("\n  mend it with: {remedy}")));
    }
    out
}

fn failures(status: &Status) -> impl Iterator<Item = (&'static str, &str, &crate::http::views::FailureView)> {
    let sources =
        status.sources.iter().filter_map(|source| Some(("source", &*source.name, source.failure.as_ref()?)));
    let sinks = status.sinks.iter().filter_map(|sink| Some(("sink", &*sink.name, sink.failure.as_ref()?)));
    sources.chain(sinks)
}

fn sources(status: &Status) -> String {
    let mut table =
        new_table(&["SOURCE", "STATE", "PHASE", "POSITION", "LAG", "RETAINED", "CHANGES", "TXNS"]);
    for source in &status.sources {
        let phase = match &source.snapshot {
            Some(copy) if copy.tables_done < copy.tables_total => {
                format!(
                    "{} {}/{} tables, {} rows",
                    source.phase, copy.tables_done, copy.tables_total, copy.rows_done
                )
            }
            _ => source.phase.clone(),
        };
        table.add_row([
            source.name.clone(),
            source.state.clone(),
            phase,
            source.position.clone(),
            source.lag_bytes.map_or_else(|| "-".into(), size),
            source.retained_bytes.map_or_else(|| "-".into(), size),
            source.changes.to_string(),
            source.transactions.to_string(),
        ]);
    }
    table.to_string()
}

fn sinks(status: &Status) -> String {
    let mut table =
        new_table(&["SINK", "STATE", "LAG", "LAG BYTES", "LAG TIME", "APPLIED", "TXNS", "DEAD LETTERS"]);
    for sink in &status.sinks {
        table.add_row([
            sink.name.clone(),
            sink.state.clone(),
            sink.lag.records.to_string(),
            size(sink.lag.bytes),
            format!("{:.1} s", sink.lag.seconds),
            sink.records.to_string(),
            sink.transactions.to_string(),
            sink.dead_letters.to_string(),
        ]);
    }
    table.to_string()
}

fn topic_table(topics: &[TopicView]) -> String {
    let mut table = new_table(&["TOPIC", "PARTITION", "EARLIEST", "END", "SIZE", "COLUMNS"]);
    for topic in topics {
        table.add_row([
            topic.topic.clone(),
            topic.partition.to_string(),
            topic.earliest.to_string(),
            topic.end.to_string(),
            size(topic.bytes),
            topic.columns.join(", "),
        ]);
    }
    table.to_string()
}

fn offset_table(offsets: &[OffsetView]) -> String {
    let mut table = new_table(&["SINK", "TOPIC", "NEXT", "END", "LAG"]);
    for row in offsets {
        table.add_row([
            row.group.clone(),
            row.topic.clone(),
            row.next.to_string(),
            row.end.to_string(),
            row.lag.to_string(),
        ]);
    }
    table.to_string()
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}
