//! What a server holds of a person, looked at without changing anything.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::erasure::{Action, EachHeld, Find, Step};
use connector_api::{Error, Finding, Result, Severity};
use redis::aio::MultiplexedConnection;
use redis::{Script, Value as Reply};
use serde_json::{Map, Value as Json};

use crate::cursor::CursorKey;
use crate::erase::{cached, streams};
use crate::error::failed;
use crate::hunt::{Hunt, Place};
use crate::options::{Form, Mode, Options};
use crate::script::Scripts;
use crate::seek;

/// Asks about one step.
pub struct Held<'h> {
    pub connection: &'h mut MultiplexedConnection,
    pub options: &'h Options,
    /// The name of the sink.
    pub sink: &'h str,
}

impl Held<'_> {
    /// The rows that a step finds. Of a stream, how many entries; of a cache, which keys: what stands there is not ours.
    pub async fn each(&mut self, step: &Step, each: &mut EachHeld<'_>) -> Result<()> {
        match self.options.mode {
            Mode::Rows => {
                let mut hunt = Hunt::of(step, self.options, &[])?;
                // Whatever the action is.
                hunt.marks.clear();
                for name in self.names(&hunt).await? {
                    let row = self.row(&name).await?;
                    if !row.is_empty() {
                        each(row)?;
                    }
                }
                Ok(())
            }
            Mode::Stream => match self.entries(step).await? {
                0 => Ok(()),
                count => each(Map::from_iter([("entries".to_owned(), Json::from(count))])),
            },
            Mode::Invalidate => {
                for name in self.there(step).await? {
                    each(Map::from_iter([("key".to_owned(), Json::from(name))]))?;
                }
                Ok(())
            }
        }
    }

    /// How many rows the step would still act on.
    pub async fn left(&mut self, step: &Step) -> Result<u64> {
        if step.action == Action::Keep {
            return Ok(0);
        }
        match self.options.mode {
            Mode::Rows => {
                let hunt = Hunt::of(step, self.options, &[])?;
                Ok(self.names(&hunt).await?.len() as u64)
            }
            Mode::Stream => self.entries(step).await,
            Mode::Invalidate => Ok(self.there(step).await?.len() as u64),
        }
    }

    async fn names(&mut self, hunt: &Hunt) -> Result<Vec<Vec<u8>>> {
        let cursor = CursorKey::new(self.sink).key;
        let mut names = seek::names(self.connection, self.options, &cursor, hunt).await?;
        Ok(names.pop().unwrap_or_default())
    }

    async fn row(&mut self, name: &[u8]) -> Result<Map<String, Json>> {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self.options.value {
            Form::Hash => {
                let fields: Vec<(Vec<u8>, Vec<u8>)> = redis::cmd("HGETALL")
                    .arg(name)
                    .query_async(self.connection)
                    .await
                    .map_err(|error| failed("read a row", error))?;
                Ok(fields.iter().map(|(name, value)| (shown(name), Json::from(shown(value)))).collect())
            }
            Form::Json => {
                let reply: Reply = redis::cmd("GET")
                    .arg(name)
                    .query_async(self.connection)
                    .await
                    .map_err(|error| failed("read a row", error))?;
                let Reply::BulkString(bytes) = reply else { return Ok(Map::new()) };
                let object = serde_json::from_slice(&bytes);
                Ok(object
                    .unwrap_or_else(|_| Map::from_iter([("value".to_owned(), Json::from(shown(&bytes)))])))
            }
        }
    }

    async fn entries(&mut self, step: &Step) -> Result<u64> {
        let names = streams(self.options, &[], &step.table)?;
        let mut command = redis::cmd("EVAL");
        command.arg(Scripts::unstream_text()).arg(0).arg("json").arg("");
        seek::put_entries(&mut command, "count", step, &names)?;
        let count: i64 =
            command.query_async(self.connection).await.map_err(|error| failed("count entries", error))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// The keys of a cache that are there.
    async fn there(&mut self, step: &Step) -> Result<Vec<String>> {
        let names = cached(self.options, &[], step)?;
        let script = Script::new(
            "local there = {} for _, key in ipairs(KEYS) do if redis.call('EXISTS', key) == 1 then there[#there + 1] = key end end return there",
        );
        let mut call = script.prepare_invoke();
        names.iter().for_each(|name| {
            call.key(name);
        });
        call.invoke_async(self.connection).await.map_err(|error| failed("look for keys", error))
    }
}

/// What is wrong with a step in this mode, and how its rows are found.
pub fn examine(options: &Options, step: &Step) -> Vec<Finding> {
    let place = format!("table {:?}", step.table);
    let finding = |severity, code, what: String| Finding::new(severity, code, &place, what);
    let refused = |error: Error| {
        let found = finding(Severity::Error, "redis-erasure", error.to_string());
        vec![match error.remedy() {
            Some(remedy) => found.with_remedy(remedy),
            None => found,
        }]
    };
    match options.mode {
        Mode::Invalidate => cached(options, &[], step).map_or_else(refused, |_| Vec::new()),
        Mode::Stream => {
            if let Err(error) = streams(options, &[], &step.table) {
                return refused(error);
            }
            if let Find::Through { .. } = step.find {
                let error = Error::config("entries of a stream are found by their own fields alone");
                return refused(error.with_remedy("match a column of the table itself"));
            }
            let mut findings = Vec::new();
            if let Action::Set(_) = step.action {
                let what = "entries of a stream cannot be changed: they are deleted instead".to_owned();
                findings.push(finding(Severity::Note, "redis-erasure-stream", what));
            }
            findings
        }
        Mode::Rows => {
            let hunt = match Hunt::of(step, options, &[]) {
                Ok(hunt) => hunt,
                Err(error) => return refused(error),
            };
            let scans = |place: &Place| matches!(place, Place::Keys(_));
            match hunt.levels.iter().find(|level| level.places.iter().any(scans)) {
                Some(level) => {
                    let what = format!(
                        "rows of {:?} are found by {:?} by looking at every key of the server, unless that is the whole key of the \
                         table",
                        level.table, level.column
                    );
                    vec![finding(Severity::Note, "redis-erasure-scan", what)]
                }
                None => Vec::new(),
            }
        }
    }
}
