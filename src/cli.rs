//! The command line: what is typed, and where it goes.
//!
//! Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed while running, 2 bad usage or
//! configuration, 3 `check` or `verify` found something.

pub mod access;
pub mod args;
mod check;
pub mod completions;
mod dead_letters;
mod erase;
pub mod erasures;
mod inspect;
mod offsets;
mod records;
mod run;
pub mod schema;
mod status;
mod verify;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use connector_api::{Error, Kind, Result};
use serde::Serialize;

use crate::config::{Config, Settings};
use args::{Args, Command, ConfigPath, DeadLetters, Erasures, LogAction, Offsets};

/// `check` or `verify` found something.
const FOUND: u8 = 3;
/// Bad usage or configuration.
const MISUSED: u8 = 2;

/// Does what the arguments say.
pub fn main(args: Args) -> ExitCode {
    // Workers of the runtime serve the admin API only: sources and sinks have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(dispatch(args.command));
            // A reader of stdin must not keep the process.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Error::transient("start the runtime").caused_by(error)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("millstream: {error}");
        if let Some(remedy) = error.remedy() {
            eprintln!("  mend it with: {remedy}");
        }
        if error.kind() == Kind::Config { ExitCode::from(MISUSED) } else { ExitCode::FAILURE }
    })
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    let settings = Settings::load()?;
    let load = |path: &ConfigPath| load(path, &settings);
    match command {
        Command::Run { config, until_caught_up } => {
            let config = load(&config)?;
            crate::telemetry::start(&settings)?;
            // From here on a failure is one of running, whatever its kind.
            if let Err(error) = run::run(config, until_caught_up).await {
                eprintln!("millstream: {error}");
                if let Some(remedy) = error.remedy() {
                    eprintln!("  mend it with: {remedy}");
                }
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Check { config, output } => {
            if !check::check(&load(&config)?, output.json).await? {
                return Ok(ExitCode::from(FOUND));
            }
        }
        Command::Demo => return crate::demo::run().await,
        Command::Status { config, output, watch } => {
            status::status(&load(&config)?, output.json, watch).await?
        }
        Command::Topics { config, output } => status::topics(&load(&config)?, output.json).await?,
        Command::Tail { config, topic, from, follow, format, limit } => {
            let options = records::TailOptions { from, follow, limit, format };
            records::tail(&load(&config)?, &topic, options).await?;
        }
        Command::Produce { config, topic, key, tombstone } => {
            records::produce(&load(&config)?, &topic, key.as_deref(), tombstone).await?;
        }
        Command::Offsets { config, action } => match action {
            Offsets::List { output } => status::offsets(&load(&config)?, output.json).await?,
            Offsets::Reset { sink, topic, to } => {
                offsets::reset(&load(&config)?, &sink, topic.as_deref(), to).await?;
            }
        },
        Command::DeadLetters { config, action } => {
            let config = load(&config)?;
            match action {
                DeadLetters::List { sink, output } => {
                    dead_letters::list(&config, sink.as_deref(), output.json).await?
                }
                DeadLetters::Show { sink, id, output: _ } => dead_letters::show(&config, &sink, id).await?,
                DeadLetters::Retry(letters) => dead_letters::retry(&config, &letters).await?,
                DeadLetters::Drop(letters) => dead_letters::forget(&config, &letters).await?,
            }
        }
        Command::Verify { config, sink, table, repair, values, output } => {
            let asked = crate::verify::Asked { table: table.as_deref(), repair, values };
            if !verify::run(&load(&config)?, &sink, asked, output.json).await? {
                return Ok(ExitCode::from(FOUND));
            }
        }
        command @ (Command::Erase { .. } | Command::Erasures { .. } | Command::Subject { .. }) => {
            return about_people(command, &settings).await;
        }
        Command::Log { action: LogAction::Inspect { path, verify, output } } => {
            inspect::inspect(&path, verify, output.json)?;
        }
        Command::Schema => piped(schema::print(io::stdout().lock()))?,
        Command::Completions { shell } => piped(completions::print(shell, io::stdout().lock()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `erase`, `erasures` and `subject`.
async fn about_people(command: Command, settings: &Settings) -> Result<ExitCode> {
    match command {
        Command::Erase { config, subject, key, wait, timeout, delete_at_source, output } => {
            let how = erase::How { wait, timeout, delete_at_source, json: output.json };
            if !erase::erase(&load(&config, settings)?, &subject, &key, how).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Erasures { action: Erasures::Verify { file, fingerprint, output }, .. } => {
            let valid = erasures::verify_file(&file, fingerprint.as_deref(), output.json)?;
            return Ok(if valid { ExitCode::SUCCESS } else { ExitCode::from(FOUND) });
        }
        Command::Erasures { config, action } => {
            let path = config.ok_or_else(|| {
                Error::config("which configuration?").with_remedy("millstream erasures CONFIG list")
            })?;
            let config = load(&ConfigPath { path }, settings)?;
            match action {
                Erasures::List { subject, state, output } => {
                    erase::list(&config, subject, state, output.json).await?;
                }
                Erasures::Show { case, output } => erase::show(&config, &case, output.json).await?,
                Erasures::Certificate { case, html } => erase::certificate(&config, &case, html).await?,
                Erasures::Audit { output } => {
                    if !erase::audit(&config, output.json)? {
                        return Ok(ExitCode::from(FOUND));
                    }
                }
                Erasures::Verify { .. } => {}
            }
        }
        Command::Subject { config, subject, key, export } => {
            erase::subject(&load(&config, settings)?, &subject, &key, export).await?;
        }
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn load(path: &ConfigPath, settings: &Settings) -> Result<Config> {
    Config::load(&path.path, settings).map_err(|error| {
        eprintln!("{}", error.render(io::stderr().is_terminal()));
        Error::config(format!("{} in the configuration", plural(error.count(), "error")))
    })
}

/// `millstream schema | head`: the reader has what it wanted.
fn piped(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("write to stdout", error)),
        _ => Ok(()),
    }
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// JSON for programs that people read, too.
fn pretty(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| Error::data("print as JSON").caused_by(error))
}
