//! `millstream offsets reset` and `millstream dead-letters`: what only a running service does.

use comfy_table::{Table, presets};
use connector_api::{Error, Result};

use crate::cli::access::running;
use crate::config::Config;
use crate::http::views::{DeadLetterView, Done};
use crate::service;

/// Moves a sink's cursor.
///
/// # Errors
/// When the service does not run or refuses.
pub async fn reset(config: &Config, sink: &str, topic: Option<&str>, to: &str) -> Result<()> {
    known(config, sink)?;
    let mut query = vec![("to", to.to_owned())];
    query.extend(topic.map(|topic| ("topic", topic.to_owned())));
    let _: Done = running(config).await?.post(&format!("/api/offsets/{sink}/reset"), &query, Vec::new()).await?;
    eprintln!("{sink} goes on from {to}");
    Ok(())
}

fn known(config: &Config, sink: &str) -> Result<()> {
    if config.sinks.contains_key(sink) {
        return Ok(());
    }
    let names: Vec<_> = config.sinks.keys().map(String::as_str).collect();
    Err(Error::config(format!("no sink {sink:?}")).with_remedy(format!("name one of: {}", names.join(", "))))
}

/// Prints the dead letters of a sink; works without the service, too.
///
/// # Errors
/// When they cannot be read.
pub async fn list_letters(config: &Config, sink: &str, json: bool) -> Result<()> {
    let letters = letters(config, sink, None).await?;
    if json {
        println!("{}", super::pretty(&letters)?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(["TOPIC", "OFFSET", "OP", "TRIED", "ERROR"]);
    for letter in &letters {
        let (offset, attempts) = (letter.offset.to_string(), letter.attempts.to_string());
        table.add_row([&letter.topic, &offset, &letter.op, &attempts, &letter.error]);
    }
    println!("{table}");
    Ok(())
}

/// Prints one dead letter with its record.
///
/// # Errors
/// When there is none.
pub async fn show_letter(config: &Config, sink: &str, topic: &str, offset: u64) -> Result<()> {
    match letters(config, sink, Some((topic, offset))).await?.first() {
        Some(letter) => println!("{}", super::pretty(letter)?),
        None => {
            return Err(Error::config(format!("no dead letter at {topic} offset {offset}"))
                .with_remedy(format!("millstream dead-letters CONFIG list {sink}")));
        }
    }
    Ok(())
}

async fn letters(config: &Config, sink: &str, only: Option<(&str, u64)>) -> Result<Vec<DeadLetterView>> {
    known(config, sink)?;
    let query = only.map(|(topic, offset)| [("topic", topic.to_owned()), ("offset", offset.to_string())]);
    let query = query.as_ref().map_or(&[][..], |query| &query[..]);
    if let Some(client) = crate::client::Client::connect(config).await? {
        return client.get(&format!("/api/dead-letters/{sink}"), query).await;
    }
    let store = service::open_dead_letters(config)?;
    match only {
        None => store.list(sink, usize::MAX)?.iter().map(crate::http::view::dead_letter).collect(),
        Some((topic, offset)) => match store.get(sink, topic, offset)? {
            Some(letter) => {
                let view = crate::http::view::dead_letter(&letter)?;
                Ok(vec![DeadLetterView { record: Some(crate::render::letter(&letter)?), ..view }])
            }
            None => Ok(Vec::new()),
        },
    }
}

/// Applies the dead letters of a sink again.
///
/// # Errors
/// When the service does not run or refuses.
pub async fn retry_letters(config: &Config, sink: &str) -> Result<()> {
    known(config, sink)?;
    let done: Done = running(config).await?.post(&format!("/api/dead-letters/{sink}/retry"), &[], Vec::new()).await?;
    eprintln!("{} applied", done.count);
    Ok(())
}

/// Forgets dead letters: one, or all of a sink.
///
/// # Errors
/// When the service does not run or refuses.
pub async fn drop_letters(config: &Config, sink: &str, only: Option<(String, u64)>) -> Result<()> {
    known(config, sink)?;
    let query = only.map(|(topic, offset)| [("topic", topic), ("offset", offset.to_string())]);
    let query = query.as_ref().map_or(&[][..], |query| &query[..]);
    let done: Done = running(config).await?.post(&format!("/api/dead-letters/{sink}/drop"), query, Vec::new()).await?;
    eprintln!("{} dropped", done.count);
    Ok(())
}
