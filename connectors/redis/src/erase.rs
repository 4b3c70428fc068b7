//! Erasing: scripts in the open transaction, and the counts for the answer.
//!
//! A transaction of Redis answers only at its `EXEC`. So the rows are counted before, on a connection of its own: what the
//! same transaction wrote to the person's rows is erased and not counted. What is found there, a page at a time so that the
//! server is not stopped, and what the transaction itself wrote, is all that the script has to look at. That nothing is left is looked at where it
//! counts, at the `EXEC`: if something were, the script fails, and the cursor goes back (I3).
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::sync::Arc;

use connector_api::erasure::{Action, Erased, Erasure, Find, Outcome, Step};
use connector_api::json::put_text;
use connector_api::{Error, Result};
use redis::Cmd;
use redis::aio::MultiplexedConnection;

use crate::error::failed;
use crate::hunt::Hunt;
use crate::options::{Form, Mode, Options};
use crate::plan::Plan;
use crate::script::Scripts;
use crate::seek;
use crate::session::Session;
use crate::template::Template;

/// What a deletion leaves in Redis, for certificates.
pub const REMAINS: &str = "Redis keeps deleted values in its append-only file until that is rewritten, in its snapshots (RDB) until \
     the next one replaces them, and in backups of both.";

/// Queues what erases, and says how many rows it is about.
///
/// # Errors
/// [`connector_api::Kind::Config`] when rows of a table cannot be found in this mode. No error names the key.
pub async fn erase(
    session: &mut Session,
    looking: &mut MultiplexedConnection,
    options: &Options,
    known: &[Arc<Plan>],
    erasure: &Erasure,
) -> Result<Outcome> {
    let mut done = Vec::with_capacity(erasure.steps.len());
    for step in &erasure.steps {
        let rows = match options.mode {
            Mode::Rows => rows(session, looking, options, known, step).await,
            Mode::Stream => entries(session, looking, options, known, step).await,
            Mode::Invalidate => invalidate(session, looking, options, known, step).await,
        };
        let rows = rows.map_err(|error| error.within(format!("erase in table {:?}", step.table)))?;
        done.push(Erased { rows, left: 0 });
    }
    Ok(Outcome::Done(done))
}

async fn rows(
    session: &mut Session,
    looking: &mut MultiplexedConnection,
    options: &Options,
    known: &[Arc<Plan>],
    step: &Step,
) -> Result<u64> {
    let mut hunt = Hunt::of(step, options, known)?;
    let found = seek::names(looking, options, &session.cursor.key, &hunt).await?;
    let rows = found.last().map_or(0, Vec::len) as u64;
    let action = match step.action {
        Action::Delete => "delete",
        Action::Set(_) => "set",
        Action::Keep => return Ok(rows),
    };
    let written = &session.written;
    // Values that lead to other rows may have changed in this transaction, and then nothing was looked for that they lead to.
    let leads = hunt.levels.len() > 1 && !written.is_empty();
    if !written.unknown && !leads {
        hunt.narrow(&found, written);
    }
    session.begin();
    let Session { scripts, cursor, pipeline, .. } = session;
    let mut command = redis::cmd("EVALSHA");
    command.arg(&scripts.erase).arg(0).arg(form(options)).arg(&cursor.key).arg(action);
    hunt.put(&mut command);
    pipeline.add_command(command);
    Ok(rows)
}

/// An entry of a stream cannot be changed: what is to be set is deleted.
async fn entries(
    session: &mut Session,
    looking: &mut MultiplexedConnection,
    options: &Options,
    known: &[Arc<Plan>],
    step: &Step,
) -> Result<u64> {
    let names = streams(options, known, &step.table)?;
    let rows: i64 = unstream(&session.scripts, "count", step, &names)?
        .query_async(looking)
        .await
        .map_err(|error| failed("count entries", error))?;
    if step.action != Action::Keep {
        let command = unstream(&session.scripts, "act", step, &names)?;
        session.begin();
        session.pipeline.add_command(command);
    }
    Ok(u64::try_from(rows).unwrap_or_default())
}

fn unstream(scripts: &Scripts, op: &str, step: &Step, streams: &[String]) -> Result<Cmd> {
    let mut command = redis::cmd("EVALSHA");
    command.arg(&scripts.unstream).arg(0).arg("json").arg("");
    seek::put_entries(&mut command, op, step, streams)?;
    Ok(command)
}

/// The streams of a table.
pub fn streams(options: &Options, known: &[Arc<Plan>], table: &str) -> Result<Vec<String>> {
    let mut names: Vec<String> =
        known.iter().filter(|plan| plan.target.table == table).map(|plan| plan.stream.clone()).collect();
    let template = Template::parse(&options.stream).map_err(Error::config)?;
    match options.topics.get(table) {
        Some(topics) => names.extend(topics.iter().map(|topic| template.text(table, topic))),
        None if !template.has_topic() => names.push(template.text(table, "")),
        None if names.is_empty() => {
            return Err(Error::config("no topic of it is known yet, and the stream's name has the topic")
                .with_remedy(format!(
                    "name it in `tables` of this sink: - {{topic: TOPIC, table: {table}}}"
                )));
        }
        None => {}
    }
    names.sort();
    names.dedup();
    Ok(names)
}

async fn invalidate(
    session: &mut Session,
    looking: &mut MultiplexedConnection,
    options: &Options,
    known: &[Arc<Plan>],
    step: &Step,
) -> Result<u64> {
    let names = cached(options, known, step)?;
    let mut rows = 0;
    for name in &names {
        let there: i64 = redis::cmd("EXISTS")
            .arg(name)
            .query_async(looking)
            .await
            .map_err(|error| failed("look for a key", error))?;
        rows += u64::from(there > 0);
    }
    if step.action != Action::Keep {
        session.begin();
        for name in &names {
            session.pipeline.cmd("UNLINK").arg(name);
            if let Some(channel) = &options.publish {
                session.pipeline.cmd("PUBLISH").arg(channel).arg(name);
            }
        }
    }
    Ok(rows)
}

/// The keys of a person's rows in a cache that somebody else fills: what is in it is not known.
pub fn cached(options: &Options, known: &[Arc<Plan>], step: &Step) -> Result<Vec<String>> {
    let cannot = || {
        Error::config("what a cache holds is not known: its keys are found by the key alone").with_remedy(format!(
            "match the column that is the key of table {:?}, with `is` if it is made of the subject's key",
            step.table
        ))
    };
    let Find::Column(column) = &step.find else { return Err(cannot()) };
    let mut names = Vec::new();
    for plan in known.iter().filter(|plan| plan.target.table == step.table) {
        match plan.target.key_names().as_slice() {
            [key] if key == column => names.push(plan.name.of(&[step.value()])?),
            _ => return Err(cannot()),
        }
    }
    if names.is_empty() {
        let template = Template::parse(&options.key).map_err(Error::config)?;
        let topics = options.topics.get(&step.table).map_or(&[][..], Vec::as_slice);
        if template.has_topic() && topics.is_empty() {
            return Err(Error::config("no topic of it is known yet, and the option key has the topic")
                .with_remedy(format!(
                    "name it in `tables` of this sink: - {{topic: TOPIC, table: {}}}",
                    step.table
                )));
        }
        let any = [String::new()];
        let topics = if topics.is_empty() { &any[..] } else { topics };
        for topic in topics {
            names.push(template.assumed(&step.table, topic, step.value())?);
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The word of the scripts for how rows are kept.
pub fn form(options: &Options) -> &'static str {
    match options.value {
        Form::Hash => "hash",
        Form::Json => "json",
    }
}

/// A step's value as text.
pub fn text(step: &Step) -> Result<String> {
    let mut text = String::new();
    put_text(&mut text, step.value())?;
    Ok(text)
}
