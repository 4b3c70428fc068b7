//! `millstream dead-letters`.

use comfy_table::{Table, presets};
use connector_api::{Error, Result};

use crate::cli::access::running;
use crate::cli::args::Letters;
use crate::cli::offsets::known;
use crate::client::Client;
use crate::config::Config;
use crate::http::view;
use crate::http::views::{DeadLetterView, Done};
use crate::service;

/// Prints the dead letters of a sink, or of all; works without the service, too.
///
/// # Errors
/// When they cannot be read.
pub async fn list(config: &Config, sink: Option<&str>, json: bool) -> Result<()> {
    if let Some(sink) = sink {
        known(config, sink)?;
    }
    let mut all = Vec::new();
    for name in config.sinks.keys().filter(|name| sink.is_none_or(|sink| sink == *name)) {
        let letters: Vec<DeadLetterView> = match Client::connect(config).await? {
            Some(client) => client.get(&format!("/api/dead-letters/{name}"), &[]).await?,
            None => {
                let letters = service::open_dead_letters(config)?.list(name, usize::MAX)?;
                letters.iter().map(view::dead_letter).collect::<Result<_>>()?
            }
        };
        all.extend(letters.into_iter().map(|letter| (name, letter)));
    }
    if json {
        let rows = all.iter().map(|(sink, letter)| {
            let mut row = serde_json::to_value(letter).unwrap_or_default();
            row["sink"] = serde_json::Value::from(sink.as_str());
            row
        });
        println!("{}", super::pretty(&rows.collect::<Vec<_>>())?);
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["SINK", "ID", "TOPIC", "OFFSET", "OP", "TRIED", "ERROR"]);
    for (sink, letter) in &all {
        let [id, offset] = [letter.id, letter.offset].map(|number| number.to_string());
        table.add_row([
            sink,
            &id,
            &letter.topic,
            &offset,
            &letter.op,
            &letter.attempts.to_string(),
            &letter.error,
        ]);
    }
    println!("{table}");
    Ok(())
}

/// Prints one dead letter with its record.
///
/// # Errors
/// When there is none.
pub async fn show(config: &Config, sink: &str, id: u64) -> Result<()> {
    known(config, sink)?;
    let letter: Option<DeadLetterView> = match Client::connect(config).await? {
        Some(client) => client.get(&format!("/api/dead-letters/{sink}/{id}"), &[]).await?,
        None => {
            let letter = service::open_dead_letters(config)?.get(sink, id)?;
            letter.as_ref().map(view::whole_dead_letter).transpose()?
        }
    };
    let Some(letter) = letter else {
        return Err(Error::config(format!("{sink} has no dead letter {id}"))
            .with_remedy(format!("millstream dead-letters CONFIG list {sink}")));
    };
    println!("{}", super::pretty(&letter)?);
    Ok(())
}

/// Applies dead letters again.
///
/// # Errors
/// When the service does not run or refuses.
pub async fn retry(config: &Config, letters: &Letters) -> Result<()> {
    let count = ask(config, letters, "retry").await?;
    eprintln!("{count} applied");
    Ok(())
}

/// Forgets dead letters.
///
/// # Errors
/// When the service does not run or refuses.
pub async fn forget(config: &Config, letters: &Letters) -> Result<()> {
    let count = ask(config, letters, "drop").await?;
    eprintln!("{count} dropped");
    Ok(())
}

async fn ask(config: &Config, letters: &Letters, action: &str) -> Result<u64> {
    known(config, &letters.sink)?;
    let ids: Vec<_> = letters.ids.iter().map(u64::to_string).collect();
    let query = if letters.all { Vec::new() } else { vec![("ids", ids.join(","))] };
    let path = format!("/api/dead-letters/{}/{action}", letters.sink);
    let done: Done = running(config).await?.post(&path, &query, Vec::new()).await?;
    Ok(done.count)
}
