//! The statements of a step.

use connector_api::erasure::{Action, Constant, Find, Step};
use connector_api::{Error, Result};

use super::{At, Column, Finder, LEVELS_MAX, Place, Set, Sought, Table, Tables, doing};
use crate::names::list;

/// The condition that nothing meets, and the one that everything does.
const NEVER: &str = "1 = 0";
const ALWAYS: &str = "1 = 1";

/// A statement, and what its numbered places stand for, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Statement<V> {
    /// Its text.
    pub sql: String,
    /// Its values.
    pub values: Vec<V>,
}

/// The rows of one step in one system's SQL.
#[derive(Debug)]
pub struct Search<'s, F: Finder> {
    finder: &'s F,
    step: &'s Step,
    tables: &'s Tables<F::Facts>,
    own: &'s Table<F::Facts>,
}

/// Where rows come from, and which.
struct Level {
    from: String,
    condition: String,
}

impl<'s, F: Finder> Search<'s, F> {
    /// `None` when a table of the step does not exist: it holds nothing then.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when a name belongs to something that is no table, or was not looked at.
    pub fn new(finder: &'s F, step: &'s Step, tables: &'s Tables<F::Facts>) -> Result<Option<Search<'s, F>>> {
        let mut own = None;
        for name in super::names(step) {
            match tables.get(name) {
                Some(Place::Table(table)) => own = own.or(Some(table)),
                Some(Place::Missing) => return Ok(None),
                Some(Place::Other(kind)) => {
                    return Err(Error::config(format!(
                        "{}: the name {name:?} belongs to a {kind}",
                        doing(step)
                    ))
                    .with_remedy("name the table below it in the `erasure` section"));
                }
                None => return Err(Error::config(format!("{}: no one looked at {name:?}", doing(step)))),
            }
        }
        Ok(own.map(|own| Search { finder, step, tables, own }))
    }

    /// What is done; `None` when the rows are kept.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when a column is not there, or does not take what it is set to.
    pub fn act(&self) -> Result<Option<Statement<F::Value>>> {
        let mut values = Vec::new();
        let Level { from, condition } = self.level(0, &self.step.table, &self.step.find, &mut values)?;
        let sql = match &self.step.action {
            Action::Keep => return Ok(None),
            Action::Delete if F::JOINS => format!("DELETE t0 FROM {from} WHERE {condition}"),
            Action::Delete => format!("DELETE FROM {from} WHERE {condition}"),
            Action::Set(constants) => {
                let sets = self.sets(constants, &mut values)?;
                let alias = if F::JOINS { "t0." } else { "" };
                let assigned = sets.iter().map(|(name, set)| format!("{alias}{name} = {}", set.value));
                format!("UPDATE {from} SET {} WHERE {}", list(assigned), narrowed(&condition, &sets))
            }
        };
        Ok(Some(Statement { sql, values }))
    }

    /// Counts the rows that would still be acted on; `None` when they are kept.
    ///
    /// # Errors
    /// As [`Search::act`].
    pub fn left(&self) -> Result<Option<Statement<F::Value>>> {
        let mut values = Vec::new();
        let Level { from, condition } = self.level(0, &self.step.table, &self.step.find, &mut values)?;
        let condition = match &self.step.action {
            Action::Keep => return Ok(None),
            Action::Delete => condition,
            Action::Set(constants) => narrowed(&condition, &self.sets(constants, &mut values)?),
        };
        Ok(Some(Statement { sql: format!("SELECT count(*) FROM {from} WHERE {condition}"), values }))
    }

    /// Counts the rows that are found.
    ///
    /// # Errors
    /// As [`Search::act`].
    pub fn count(&self) -> Result<Statement<F::Value>> {
        self.select("count(*)")
    }

    /// Gives the rows that are found, every column of them in the table's order.
    ///
    /// # Errors
    /// As [`Search::act`].
    pub fn held(&self) -> Result<Statement<F::Value>> {
        self.select(&list(self.own.columns.iter().map(|column| self.finder.shown(&self.column(0, column)))))
    }

    /// The columns of [`Search::held`].
    pub fn columns(&self) -> &'s [Column<F::Facts>] {
        &self.own.columns
    }

    fn select(&self, what: &str) -> Result<Statement<F::Value>> {
        let mut values = Vec::new();
        let Level { from, condition } = self.level(0, &self.step.table, &self.step.find, &mut values)?;
        Ok(Statement { sql: format!("SELECT {what} FROM {from} WHERE {condition}"), values })
    }

    fn level(&self, depth: usize, table: &str, find: &Find, values: &mut Vec<F::Value>) -> Result<Level> {
        if depth > LEVELS_MAX {
            return Err(Error::config(format!(
                "{}: found through more than {LEVELS_MAX} tables",
                self.doing()
            )));
        }
        let mut from = format!("{} AS t{depth}", self.finder.table(table));
        let sought = Sought::of(self.step.value())?;
        let condition = match find {
            Find::Column(column) => {
                let at = self.at(depth, table, column)?;
                self.finder.equals(&at, &sought, values).unwrap_or_else(|| NEVER.to_owned())
            }
            Find::Json { column, path } => {
                let at = self.at(depth, table, column)?;
                let held = self.finder.holds(&at, path, &sought, values);
                held.map_err(|why| {
                    self.wrong(format!("column {column:?} cannot be searched by a path: {why}"))
                })?
            }
            Find::Through { column, table: other, theirs, find } => {
                let inner = self.level(depth + 1, other, find, values)?;
                let ours = self.at(depth, table, column)?;
                let link = self.finder.link(&ours, &self.at(depth + 1, other, theirs)?).map_err(|why| {
                    self.wrong(format!(
                        "column {column:?} cannot be compared with column {theirs:?} of table {other:?}: {why}"
                    ))
                })?;
                let Level { from: inner, condition } = inner;
                match F::JOINS {
                    true => {
                        let named = link.theirs.iter().enumerate().map(|(at, sql)| format!("{sql} AS k{at}"));
                        let equal = link.ours.iter().enumerate();
                        let equal: Vec<_> =
                            equal.map(|(at, sql)| format!("{sql} = d{depth}.k{at}")).collect();
                        // DISTINCT keeps the subquery apart from the table that is changed, which may be the same.
                        from = format!(
                            "{from} JOIN (SELECT DISTINCT {} FROM {inner} WHERE {condition}) AS d{depth} ON {}",
                            list(named),
                            equal.join(" AND ")
                        );
                        ALWAYS.to_owned()
                    }
                    false => format!(
                        "({}) IN (SELECT {} FROM {inner} WHERE {condition})",
                        list(link.ours.iter()),
                        list(link.theirs.iter())
                    ),
                }
            }
        };
        Ok(Level { from, condition })
    }

    fn sets(
        &self,
        constants: &[(String, Constant)],
        values: &mut Vec<F::Value>,
    ) -> Result<Vec<(String, Set)>> {
        if constants.is_empty() {
            return Err(self.wrong("no column is set".to_owned()));
        }
        let set = |(name, constant): &(String, Constant)| {
            let at = self.at(0, &self.step.table, name)?;
            if at.column.generated {
                return Err(self.wrong(format!("column {name:?} is computed and cannot be set")));
            }
            let set = self.finder.set(&at, constant, values);
            let set = set.map_err(|why| self.wrong(format!("column {name:?} cannot be set: {why}")))?;
            Ok((self.finder.quote(&at.column.name), set))
        };
        constants.iter().map(set).collect()
    }

    fn column<'c>(&self, depth: usize, column: &'c Column<F::Facts>) -> At<'c, F::Facts> {
        At { column, sql: format!("t{depth}.{}", self.finder.quote(&column.name)) }
    }

    fn at(&self, depth: usize, table: &str, name: &str) -> Result<At<'s, F::Facts>> {
        let columns = match self.tables.get(table) {
            Some(Place::Table(found)) => found.columns.as_slice(),
            _ => &[],
        };
        match columns.iter().find(|column| self.finder.same_column(&column.name, name)) {
            Some(column) => Ok(self.column(depth, column)),
            None => Err(Error::config(format!(
                "{}: column {name:?} of table {table:?} does not exist",
                self.doing()
            ))
            .with_remedy(format!(
                "name another column for table {table:?} in the `erasure` section, or: ALTER TABLE {} ADD COLUMN {} TYPE;",
                self.finder.table(table),
                self.finder.quote(name)
            ))),
        }
    }

    fn doing(&self) -> String {
        doing(self.step)
    }

    fn wrong(&self, why: String) -> Error {
        Error::config(format!("{}: {why}", self.doing())).with_remedy(format!(
            "change what the `erasure` section says of table {:?}; `millstream check CONFIG` examines it",
            self.step.table
        ))
    }
}

/// Only rows in which a column is not yet what it is to be, so that a second time counts none.
fn narrowed(condition: &str, sets: &[(String, Set)]) -> String {
    let differ: Vec<_> = sets.iter().map(|(_, set)| set.differs.as_str()).collect();
    format!("({condition}) AND ({})", differ.join(" OR "))
}
