//! Which columns of a row are shown, and under which names.

use crate::error::{Error, Result};
use crate::schema::{Column, Schema};
use crate::target::Target;
use crate::value::{Row, Value};

/// The shape in which a change is shown.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// As the source has it: every column under its own name.
    Source(&'a Schema),
    /// As a target has it: columns left out and renamed.
    Target(&'a Target),
}

impl View<'_> {
    /// The table's name.
    pub fn table(&self) -> &str {
        match self {
            View::Source(schema) => &schema.table,
            View::Target(target) => &target.table,
        }
    }

    /// Gives every shown value of a row to `each`, in order.
    pub(super) fn row(
        &self,
        row: Row<'_>,
        mut each: impl FnMut(&str, Value<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            View::Source(schema) => named(schema.columns.iter(), row, each),
            View::Target(target) => {
                let values = row.to_vec()?;
                target.columns.iter().try_for_each(|(at, name)| match values.get(*at) {
                    Some(value) => each(name, *value),
                    // Columns that are newer than the row.
                    None => Ok(()),
                })
            }
        }
    }

    /// Gives every value of a key to `each`, in key order.
    pub(super) fn key(
        &self,
        key: Row<'_>,
        mut each: impl FnMut(&str, Value<'_>) -> Result<()>,
    ) -> Result<()> {
        match self {
            View::Source(schema) => {
                let columns = schema.key.iter().filter_map(|at| schema.columns.get(*at));
                named(columns, key, each)
            }
            View::Target(target) => {
                target.key.iter().zip(key.values()).try_for_each(|(at, value)| each(target.name(*at), value?))
            }
        }
    }

    /// A key alone, as a row in which every other column is null.
    pub(super) fn key_as_row(
        &self,
        key: Row<'_>,
        mut each: impl FnMut(&str, Value<'_>) -> Result<()>,
    ) -> Result<()> {
        let values = key.to_vec()?;
        let value = |key: &[usize], at: usize| {
            let place = key.iter().position(|column| *column == at);
            match place.map(|place| values.get(place)) {
                None => Ok(Value::Null),
                Some(Some(value)) => Ok(*value),
                Some(None) => Err(Error::corrupt("decode key: a column is missing")),
            }
        };
        match self {
            View::Source(schema) => {
                let mut columns = schema.columns.iter().enumerate();
                columns.try_for_each(|(at, column)| each(&column.name, value(&schema.key, at)?))
            }
            View::Target(target) => {
                let mut columns = target.columns.iter().enumerate();
                columns.try_for_each(|(at, (_, name))| each(name, value(&target.key, at)?))
            }
        }
    }
}

fn named<'c>(
    mut columns: impl Iterator<Item = &'c Column>,
    row: Row<'_>,
    mut each: impl FnMut(&str, Value<'_>) -> Result<()>,
) -> Result<()> {
    for value in row.values() {
        let value = value?;
        let Some(column) = columns.next() else { break };
        each(&column.name, value)?;
    }
    Ok(())
}
