//! `millstream erase`, `erasures` and `subject`.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;
use std::time::{Duration, Instant};

use connector_api::{Error, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::erasures::{list_text, show_text};
use crate::client::{Client, segment};
use crate::config::Config;
use crate::erasure::certificate::Certificate;
use crate::erasure::export::{self, Export};
use crate::erasure::page::page;
use crate::erasure::view::CaseView;
use crate::erasure::{Erasures, KEY_FILE};
use crate::http::erasures::{Asked, Opened};
use crate::pipeline::status::now_us;
use crate::service;

/// How often a case is looked at while it is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Longest key that is read from stdin.
const KEY_BYTES_MAX: u64 = 64 << 10;
/// Cases that are listed without a service.
const CASES_MAX: usize = 1_000;

/// How `erase` works.
pub struct How {
    /// Until every receipt is there.
    pub wait: bool,
    /// No longer than this.
    pub timeout: Option<Duration>,
    /// In the source, too.
    pub delete_at_source: bool,
    /// Prints JSON.
    pub json: bool,
}

/// Opens a case; true when it is complete, or nobody waits for that.
///
/// # Errors
/// When no service runs, or it refuses.
pub async fn erase(config: &Config, subject: &str, key: &str, how: How) -> Result<bool> {
    let client = running(config).await?;
    let (subject, key) = (subject.to_owned(), key_of(key)?);
    let asked = Asked { subject, key, delete_at_source: how.delete_at_source };
    let opened: Opened = client.post_json("/api/erasures", json(&asked)?).await?;
    if !how.json {
        eprintln!("case {}", opened.case);
        if how.delete_at_source {
            eprintln!("{} rows deleted in the source", opened.deleted_at_source);
        }
    }
    let case = match how.wait {
        true => wait(&client, &opened.case, how.timeout).await?,
        false => None,
    };
    match (&case, how.json) {
        (Some(case), true) => println!("{}", super::pretty(case)?),
        (None, true) => println!("{}", super::pretty(&opened)?),
        (Some(case), false) => print!("{}", show_text(case)),
        (None, false) => println!("{}", opened.case),
    }
    Ok(!how.wait || case.is_some_and(|case| case.completed_at.is_some()))
}

/// Waits until a case is complete, or the time is up.
async fn wait(client: &Client, case: &str, timeout: Option<Duration>) -> Result<Option<CaseView>> {
    let (begun, path) = (Instant::now(), format!("/api/erasures/{}", segment(case)));
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new(0).with_style(
            ProgressStyle::with_template("erasing [{bar:30}] {pos}/{len} receipts, {elapsed} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        ),
        false => ProgressBar::hidden(),
    };
    loop {
        // The desk may not have met the case yet.
        let found: Option<CaseView> = client.get(&path, &[]).await.ok();
        if let Some(case) = &found {
            let due = case.targets.iter().filter(|target| target.due).count() as u64;
            bar.set_length(due);
            bar.set_position(due.saturating_sub(case.waits_for.len() as u64));
            bar.set_message(format!("waits for {}", case.waits_for.join(", ")));
        }
        let complete = found.as_ref().is_some_and(|case| case.completed_at.is_some());
        if complete || timeout.is_some_and(|timeout| begun.elapsed() >= timeout) {
            bar.finish_and_clear();
            return Ok(found);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Lists cases.
///
/// # Errors
/// When neither the service nor the state database can be asked.
pub async fn list(config: &Config, subject: Option<String>, state: Option<String>, json: bool) -> Result<()> {
    let cases = match Client::connect(config).await? {
        Some(client) => {
            let subject = subject.map(|subject| ("subject", subject));
            let query: Vec<_> = subject.into_iter().chain(state.map(|state| ("state", state))).collect();
            client.get("/api/erasures", &query).await?
        }
        None => offline(config)?.cases(subject, state.as_deref(), CASES_MAX)?,
    };
    println!("{}", if json { super::pretty(&cases)? } else { list_text(&cases) });
    Ok(())
}

/// Shows a case.
///
/// # Errors
/// As [`list`]; when there is none of this id.
pub async fn show(config: &Config, id: &str, json: bool) -> Result<()> {
    let case = match Client::connect(config).await? {
        Some(client) => client.get(&format!("/api/erasures/{}", segment(id)), &[]).await?,
        None => CaseView::of(&offline(config)?.case(id)?, now_us()),
    };
    match json {
        true => println!("{}", super::pretty(&case)?),
        false => print!("{}", show_text(&case)),
    }
    Ok(())
}

/// Prints a certificate, as JSON or as a page.
///
/// # Errors
/// As [`show`]; when the case is not complete.
pub async fn certificate(config: &Config, id: &str, html: bool) -> Result<()> {
    let text = match Client::connect(config).await? {
        Some(client) => client.text(&format!("/api/erasures/{}/certificate", segment(id))).await?,
        None => {
            let log = crate::log::Embedded::open_read_only(&config.log.path)?;
            offline(config)?.certificate(&crate::log::Log::id(&*log).to_string(), id)?
        }
    };
    if !html {
        print!("{text}");
        return Ok(());
    }
    let certificate: Certificate = serde_json::from_str(&text)
        .map_err(|error| Error::corrupt("read the certificate").caused_by(error))?;
    print!("{}", page(&certificate));
    Ok(())
}

/// Checks the ledger, beside a running service or without one; true when nothing was changed.
///
/// # Errors
/// When the state database cannot be read.
pub fn audit(config: &Config, json: bool) -> Result<bool> {
    let ledger = offline(config)?.ledger;
    let (broken, head) = (ledger.chain_ok()?.err(), ledger.head()?);
    let why = broken.map(|broken| broken.to_string());
    match (json, &why) {
        (true, _) => {
            let shown = serde_json::json!({"whole": why.is_none(), "entries": head.seq, "broken": why});
            println!("{}", super::pretty(&shown)?);
        }
        (false, None) => println!("the ledger is whole: {} entries", head.seq),
        (false, Some(why)) => {
            println!("THE LEDGER WAS CHANGED: {why}");
            eprintln!("keep state.db as evidence, and compare it with a backup");
        }
    }
    Ok(why.is_none())
}

/// What is held of a person.
///
/// # Errors
/// When no service runs, or it cannot gather everything.
pub async fn subject(config: &Config, subject: &str, key: &str, whole: bool) -> Result<()> {
    let client = running(config).await?;
    let asked = Asked { subject: subject.to_owned(), key: key_of(key)?, delete_at_source: false };
    let found: Export = client.post_json("/api/subjects", json(&asked)?).await?;
    match whole {
        true => println!("{}", super::pretty(&found)?),
        false => print!("{}", export::summary(&found)),
    }
    Ok(())
}

fn json(asked: &Asked) -> Result<Vec<u8>> {
    serde_json::to_vec(asked).map_err(|error| Error::data("encode the question").caused_by(error))
}

fn key_of(given: &str) -> Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut key = String::new();
    let read = std::io::stdin().lock().take(KEY_BYTES_MAX).read_to_string(&mut key);
    read.map_err(|error| Error::io("read the key from stdin", error))?;
    Ok(key.trim_end_matches(['\n', '\r']).to_owned())
}

async fn running(config: &Config) -> Result<Client> {
    Client::connect(config).await?.ok_or_else(|| {
        Error::config("no service runs, and only a running one can do this")
            .with_remedy("millstream run CONFIG, and then this command again")
    })
}

/// The ledger without a service.
fn offline(config: &Config) -> Result<Erasures> {
    let nothing = |path: &Path| {
        Error::config(format!("nothing is known of erasures: there is no {}", path.display()))
            .with_remedy("millstream run CONFIG")
    };
    let key = config.log.path.join(KEY_FILE);
    if !key.exists() {
        return Err(nothing(&key));
    }
    let none = || Error::config("no kind of data subject is configured");
    service::open_erasures(config, service::open_state(config)?)?.ok_or_else(none)
}
