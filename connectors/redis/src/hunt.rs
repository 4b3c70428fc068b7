//! Where the rows of a step are, and what tells them from others: for the scripts that erase, and for reading back.
//!
//! What keys a table has follows from its [`Plan`], once a change of it has come; before that, from the template alone.
//! Then a row's own field decides, too, so that no other person's row is met.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::sync::Arc;

use connector_api::erasure::{Action, Find, Step};
use connector_api::json::{put_json, put_string, put_text};
use connector_api::{Error, Result, Value};
use redis::Cmd;

use crate::options::{Form, Options};
use crate::plan::Plan;
use crate::session::Written;
use crate::template::{Names, Template};

/// Rows of one table that hold a value; the innermost first.
#[derive(Debug, Clone)]
pub struct Level {
    /// The table.
    pub table: String,
    /// The column that holds it.
    pub column: String,
    /// Keys of objects inside of that column.
    pub path: Vec<String>,
    /// The column whose values the next level looks for; empty at the last.
    pub take: String,
    /// The keys that its rows may have.
    pub places: Vec<Place>,
}

/// Keys of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This one, if it is there.
    Key(String),
    /// All that match.
    Keys(Names),
    /// This one, if it matches and holds the value.
    Candidate(Vec<u8>, Names),
}

/// What a step is about.
#[derive(Debug, Clone)]
pub struct Hunt {
    /// What the first level holds, as text.
    pub value: String,
    /// The tables, the innermost first.
    pub levels: Vec<Level>,
    /// What is set: mark, name and value, as [`crate::script`] has them.
    pub marks: Vec<[String; 3]>,
}

impl Hunt {
    /// Works out where a step's rows are, from the targets that are known.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when the option `key` does not tell where.
    pub fn of(step: &Step, options: &Options, known: &[Arc<Plan>]) -> Result<Hunt> {
        let value = step.value();
        let mut text = String::new();
        put_text(&mut text, value)?;
        let mut levels = Vec::new();
        let (mut find, mut table, mut take) = (&step.find, step.table.as_str(), "");
        loop {
            let (column, path) = match find {
                Find::Column(column) | Find::Through { column, .. } => (column, &[][..]),
                Find::Json { column, path } => (column, path.as_slice()),
            };
            let innermost = !matches!(find, Find::Through { .. });
            // Only what is looked for first is known here.
            let direct = (innermost && path.is_empty()).then_some((column.as_str(), value));
            levels.push(Level {
                table: table.to_owned(),
                column: column.clone(),
                path: path.to_vec(),
                take: take.to_owned(),
                places: places(options, known, table, direct)?,
            });
            let Find::Through { table: other, theirs, find: inner, .. } = find else { break };
            (find, table, take) = (&**inner, other.as_str(), theirs.as_str());
        }
        levels.reverse();
        let marks = match &step.action {
            Action::Set(marks) => {
                let mark = |(name, constant): &(String, connector_api::erasure::Constant)| {
                    mark(options.value, name, constant.value())
                };
                marks.iter().map(mark).collect::<Result<_>>()?
            }
            Action::Delete | Action::Keep => Vec::new(),
        };
        Ok(Hunt { value: text, levels, marks })
    }

    /// Looks at these keys alone, of all that rows of a level may have. `found` are those of each level.
    pub fn narrow(&mut self, found: &[Vec<Vec<u8>>], written: &Written) {
        for (level, found) in self.levels.iter_mut().zip(found) {
            let places = std::mem::take(&mut level.places);
            for place in places {
                let Place::Keys(names) = place else {
                    level.places.push(place);
                    continue;
                };
                let written = written.names().map(|name| name.as_bytes());
                let candidates = found.iter().map(Vec::as_slice).chain(written);
                level.places.extend(candidates.map(|name| Place::Candidate(name.to_vec(), names.clone())));
            }
        }
    }

    /// Adds what the script that erases takes: levels, then marks.
    pub fn put(&self, command: &mut Cmd) {
        command.arg(&self.value).arg(self.levels.len());
        for level in &self.levels {
            command.arg(&level.column).arg(level.path.len()).arg(&level.path).arg(&level.take);
            command.arg(level.places.len());
            for place in &level.places {
                match place {
                    Place::Key(name) => command.arg(name).arg("").arg(""),
                    Place::Keys(names) => command.arg("").arg(&names.glob).arg(&names.pattern),
                    Place::Candidate(name, names) => command.arg(name).arg("").arg(&names.pattern),
                };
            }
        }
        self.marks.iter().flatten().for_each(|part| {
            command.arg(part);
        });
    }
}

/// The keys that rows of a table may have; one, where the column that is known is the whole key.
fn places(
    options: &Options,
    known: &[Arc<Plan>],
    table: &str,
    direct: Option<(&str, Value<'_>)>,
) -> Result<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    for plan in known.iter().filter(|plan| plan.target.table == table) {
        let place = match (direct, plan.target.key_names().as_slice()) {
            (Some((column, value)), [key]) if *key == column => Place::Key(plan.name.of(&[value])?),
            _ => Place::Keys(plan.name.names()),
        };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if !places.is_empty() {
        return Ok(places);
    }
    let template = Template::parse(&options.key).map_err(Error::config)?;
    let topics = options.topics.get(table).map_or(&[][..], Vec::as_slice);
    Ok(match direct.map(|(column, value)| template.only(table, column, value)).transpose()?.flatten() {
        Some(name) => vec![Place::Key(name)],
        None => template.loose(table, topics).into_iter().map(Place::Keys).collect(),
    })
}

fn mark(form: Form, name: &str, value: Value<'_>) -> Result<[String; 3]> {
    let mut text = String::new();
    match (form, value) {
        (Form::Hash, Value::Null) => Ok(["-".to_owned(), name.to_owned(), text]),
        (Form::Hash, value) => {
            put_text(&mut text, value)?;
            Ok(["+".to_owned(), name.to_owned(), text])
        }
        (Form::Json, value) => {
            let mut quoted = String::new();
            put_string(&mut quoted, name);
            put_json(&mut text, value)?;
            Ok(["+".to_owned(), quoted, text])
        }
    }
}
