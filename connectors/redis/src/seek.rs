//! Finding the rows of a step without stopping the server: a page of keys at a time.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::collections::HashSet;

use connector_api::erasure::{Find, Step};
use connector_api::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Script};

use crate::erase::{form, text};
use crate::error::failed;
use crate::hunt::{Hunt, Level, Place};
use crate::options::Options;
use crate::script::Scripts;

/// How many keys are looked at in one call.
const PAGE: usize = 500;
/// Rows of one person in one table, and values that lead to others.
const FOUND_MAX: usize = 100_000;

/// The keys of the rows of each level of a step; of the last one, those that it acts on: of a step that sets, those that are
/// not as they should be.
///
/// # Errors
/// When the server cannot be asked, or so many rows are found that they cannot be one person's.
pub async fn names(
    connection: &mut MultiplexedConnection,
    options: &Options,
    cursor: &str,
    hunt: &Hunt,
) -> Result<Vec<Vec<Vec<u8>>>> {
    let script = Script::new(&Scripts::find());
    let mut wanted = vec![hunt.value.clone().into_bytes()];
    let mut names = Vec::with_capacity(hunt.levels.len());
    for (at, level) in hunt.levels.iter().enumerate() {
        let last = at + 1 == hunt.levels.len();
        let marks = if last { hunt.marks.as_slice() } else { &[] };
        let seeking = Seeking { script: &script, options, cursor, level, wanted: &wanted, marks };
        let (found, taken): (Vec<_>, HashSet<_>) = seeking.all(connection).await?.into_iter().unzip();
        wanted = taken.into_iter().flatten().collect();
        names.push(found);
    }
    Ok(names)
}

struct Seeking<'s> {
    script: &'s Script,
    options: &'s Options,
    cursor: &'s str,
    level: &'s Level,
    wanted: &'s [Vec<u8>],
    marks: &'s [[String; 3]],
}

/// A key, and the value that the next level wants, where there is one.
type Found = (Vec<u8>, Option<Vec<u8>>);

impl Seeking<'_> {
    async fn all(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Found>> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        if self.wanted.is_empty() {
            return Ok(found);
        }
        for place in &self.level.places {
            let names = match place {
                Place::Key(name) => {
                    let page = self.page(connection, "", &[name.clone().into_bytes()]).await?;
                    self.add(&mut found, &mut seen, page)?;
                    continue;
                }
                Place::Candidate(name, names) => {
                    let page = self.page(connection, &names.pattern, std::slice::from_ref(name)).await?;
                    self.add(&mut found, &mut seen, page)?;
                    continue;
                }
                Place::Keys(names) => names,
            };
            let mut from = "0".to_owned();
            loop {
                let (next, keys): (String, Vec<Vec<u8>>) = redis::cmd("SCAN")
                    .arg(&from)
                    .arg("MATCH")
                    .arg(&names.glob)
                    .arg("COUNT")
                    .arg(PAGE)
                    .query_async(connection)
                    .await
                    .map_err(|error| failed("list keys", error))?;
                for keys in keys.chunks(PAGE) {
                    let page = self.page(connection, &names.pattern, keys).await?;
                    self.add(&mut found, &mut seen, page)?;
                }
                if next == "0" {
                    break;
                }
                from = next;
            }
        }
        Ok(found)
    }

    /// A key may be given twice while the server's table grows.
    fn add(&self, found: &mut Vec<Found>, seen: &mut HashSet<Vec<u8>>, page: Vec<Found>) -> Result<()> {
        found.extend(page.into_iter().filter(|(name, _)| seen.insert(name.clone())));
        if found.len() > FOUND_MAX {
            let table = &self.level.table;
            return Err(Error::config(format!("find rows of table {table:?}: more than {FOUND_MAX} match"))
                .with_remedy("match a column in the `erasure` section whose value is one person's"));
        }
        Ok(())
    }

    async fn page(
        &self,
        connection: &mut MultiplexedConnection,
        pattern: &str,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Found>> {
        let level = self.level;
        let mut call = self.script.prepare_invoke();
        call.arg(form(self.options)).arg(self.cursor).arg(pattern).arg(&level.column);
        call.arg(level.path.len()).arg(&level.path).arg(&level.take);
        call.arg(self.wanted.len()).arg(self.wanted).arg(keys.len()).arg(keys);
        for part in self.marks.iter().flatten() {
            call.arg(part);
        }
        let flat: Vec<Vec<u8>> =
            call.invoke_async(connection).await.map_err(|error| failed("find rows", error))?;
        let mut flat = flat.into_iter();
        let mut found = Vec::new();
        while let (Some(name), Some(taken)) = (flat.next(), flat.next()) {
            found.push((name, taken.strip_prefix(b"+").map(<[u8]>::to_vec)));
        }
        Ok(found)
    }
}

/// Adds what the script for streams takes.
///
/// # Errors
/// [`connector_api::Kind::Config`] for rows that are found through another table.
pub fn put_entries(command: &mut Cmd, op: &str, step: &Step, streams: &[String]) -> Result<()> {
    let (column, path) = match &step.find {
        Find::Column(column) => (column, &[][..]),
        Find::Json { column, path } => (column, path.as_slice()),
        Find::Through { .. } => {
            return Err(Error::config("entries of a stream are found by their own fields alone")
                .with_remedy("match a column of the table itself"));
        }
    };
    command.arg(op).arg(text(step)?).arg(column).arg(path.len()).arg(path);
    command.arg(streams.len()).arg(streams);
    Ok(())
}
