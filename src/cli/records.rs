//! `millstream tail` and `millstream produce`.

use std::io::{BufRead as _, Write as _};

use connector_api::{Error, Result};

use crate::cli::access::Access;
use crate::client::{Client, segment};
use crate::config::Config;
use crate::http::append_events;
use crate::http::views::Done;
use crate::registry;
use crate::render::Format;
use crate::service;
use crate::tail::{Start, Tail};

/// Events sent in one request: enough to amortise an fsync, few enough that a pipe shows progress.
const PRODUCE_LINES: usize = 1_000;

/// What `tail` prints.
pub struct TailOptions {
    /// Where to begin.
    pub from: Start,
    /// Wait for more at the end.
    pub follow: bool,
    /// Most records.
    pub limit: Option<u64>,
    /// How a record looks.
    pub format: Format,
}

/// Prints the records of a topic, a line each.
///
/// # Errors
/// When there is no such topic, or it cannot be read.
pub async fn tail(config: &Config, topic: &str, options: TailOptions) -> Result<()> {
    match Access::of(config).await? {
        Access::Running(client) => {
            let mut query = vec![
                ("from", options.from.to_string()),
                ("follow", options.follow.to_string()),
                ("format", format_name(options.format)),
            ];
            query.extend(options.limit.map(|limit| ("limit", limit.to_string())));
            let mut answer =
                client.stream(&format!("/api/topics/{}/records", segment(topic)), &query).await?;
            while let Some(bytes) = chunk(&mut answer).await? {
                if !write(&bytes)? {
                    return Ok(());
                }
            }
            Ok(())
        }
        Access::Idle(_, log) => {
            let source = topic.split('.').next().and_then(|source| config.sources.get(source));
            let info = source.map(registry::source_info).unwrap_or_default();
            let TailOptions { from, follow, limit, format } = options;
            let mut tail = Tail::open(&*log, topic, from, follow, limit, format, info)?;
            while let Some(line) = tail.next().await? {
                if !write((line + "\n").as_bytes())? {
                    return Ok(());
                }
            }
            Ok(())
        }
    }
}

async fn chunk(answer: &mut reqwest::Response) -> Result<Option<Vec<u8>>> {
    let bytes = answer.chunk().await.map_err(|error| Error::transient("read records").caused_by(error))?;
    Ok(bytes.map(|bytes| bytes.to_vec()))
}

/// Writes to stdout; false when nobody reads it any more (`| head`).
fn write(bytes: &[u8]) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("write to stdout", error)),
    }
}

fn format_name(format: Format) -> String {
    use clap::ValueEnum as _;
    format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Appends every line of stdin as an event, or one tombstone. Without a running service it opens the log itself.
///
/// # Errors
/// When the topic cannot take events, or the log refuses.
pub async fn produce(config: &Config, topic: &str, key: Option<&str>, tombstone: bool) -> Result<()> {
    let client = Client::connect(config).await?;
    let log = if client.is_none() { Some(service::open_log(config)?) } else { None };
    let names: Vec<_> = config.sources.keys().map(String::as_str).collect();
    let mut count = 0;
    let mut lines = std::io::stdin().lock().lines();
    loop {
        let batch = if tombstone { vec![String::new()] } else { next_lines(&mut lines)? };
        if batch.is_empty() {
            break;
        }
        count += match (&client, &log) {
            (Some(client), _) => {
                let mut query = vec![("tombstone", tombstone.to_string()), ("lines", "true".into())];
                query.extend(key.map(|key| ("key", key.to_owned())));
                let done: Done = client
                    .post(&format!("/api/topics/{}", segment(topic)), &query, batch.join("\n").into_bytes())
                    .await?;
                done.count
            }
            (None, Some(log)) => {
                let values = batch.iter().map(|line| (!tombstone).then_some(line.as_bytes()));
                append_events(&**log, &names, topic, key, values).await?
            }
            (None, None) => 0,
        };
        if tombstone {
            break;
        }
    }
    if let Some(log) = log {
        log.close().await?;
    }
    eprintln!("{count} appended to {topic}");
    Ok(())
}

fn next_lines(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Result<Vec<String>> {
    let filled = lines.filter(|line| line.as_ref().map_or(true, |line| !line.is_empty())).take(PRODUCE_LINES);
    filled.collect::<std::io::Result<_>>().map_err(|error| Error::io("read stdin", error))
}
