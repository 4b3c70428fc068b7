//! Reads rows back, on a connection of its own that cannot write.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

mod read;

use std::path::PathBuf;
use std::time::Duration;

use connector_api::json::put_text;
use connector_api::reader::put_varint;
use connector_api::{BoxFuture, Column, Each, Result, Row, Rows, Target, Value};
use rusqlite::types::Value as Stored;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::catalog::{self, Object};
use crate::error::Context;
use crate::options::Options;
use crate::sql::quote;

/// How long a writer may keep the database locked.
const BUSY: Duration = Duration::from_secs(30);

/// Rows of the sink `name`, to be compared with those of its source.
///
/// # Errors
/// [`connector_api::Kind::Config`], naming the option that is wrong.
pub fn rows(name: &str, options: &Options) -> Result<Box<dyn Rows>> {
    options.check(name)?;
    Ok(Box::new(Reader { path: options.path.clone() }))
}

struct Reader {
    path: PathBuf,
}

impl Reader {
    /// Reads the rows under each of `keys`, or all.
    fn read(&self, target: &Target, keys: Option<&[Vec<u8>]>, each: &mut Each<'_>) -> Result<()> {
        if !self.path.exists() {
            return Ok(());
        }
        let what = || format!("read table {:?}", target.table);
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)
            .context(format!("open {}", self.path.display()))?;
        connection.busy_timeout(BUSY).context(what())?;
        let Object::Table(table) = catalog::read(&connection, &target.table)? else { return Ok(()) };
        // In double quotes, SQLite takes a column that does not exist for a text.
        let column = |name: &str| table.column(name).map_or("NULL".to_owned(), |_| quote(name));
        let columns: Vec<_> = (0..target.columns.len()).map(|at| column(target.name(at))).collect();
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), quote(&target.table));
        if keys.is_some() {
            let terms: Vec<_> =
                target.key_names().iter().map(|name| format!("{} IS ?", column(name))).collect();
            sql.push_str(" WHERE ");
            sql.push_str(&terms.join(" AND "));
        }
        let mut statement = connection.prepare(&sql).context(what())?;
        let mut row = Vec::new();
        let mut one = |values: Vec<Stored>| -> Result<()> {
            let mut found = statement.query(params_from_iter(values)).context(what())?;
            while let Some(stored) = found.next().context(what())? {
                row.clear();
                put_varint(&mut row, target.columns.len() as u64);
                for at in 0..target.columns.len() {
                    let stored = stored.get_ref(at).context(what())?;
                    read::value(stored, target.column(at), &mut row)?;
                }
                each(Row::from_bytes(&row))?;
            }
            Ok(())
        };
        match keys {
            None => one(Vec::new()),
            Some(keys) => keys.iter().try_for_each(|key| {
                let values = Row::from_bytes(key).values().map(|value| stored(value?));
                one(values.collect::<Result<_>>()?)
            }),
        }
    }
}

impl Rows for Reader {
    fn scan<'a>(&'a mut self, target: &'a Target, each: &'a mut Each<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.read(target, None, each) })
    }

    fn find<'a>(
        &'a mut self,
        target: &'a Target,
        keys: &'a [Vec<u8>],
        each: &'a mut Each<'_>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.read(target, Some(keys), each) })
    }

    /// Arrays are JSON text here; a float zero has no sign.
    fn keep(&self, _: &Column, value: Value<'_>, out: &mut Vec<u8>) -> Result<()> {
        match value {
            Value::Array(_) => {
                let mut text = String::new();
                put_text(&mut text, value)?;
                Value::Json(&text).encode(out);
            }
            Value::Float(float) if float == 0.0 => Value::Float(0.0).encode(out),
            Value::Float(float) if float.is_nan() => Value::Float(f64::NAN).encode(out),
            value => value.encode(out),
        }
        Ok(())
    }
}

/// As [`crate::bind`] stores it.
fn stored(value: Value<'_>) -> Result<Stored> {
    Ok(match value {
        Value::Null | Value::Unchanged => Stored::Null,
        Value::Int(int) => Stored::Integer(int),
        Value::Bool(bool) => Stored::Integer(i64::from(bool)),
        Value::Float(float) if !float.is_nan() => Stored::Real(float),
        Value::Bytes(bytes) => Stored::Blob(bytes.to_vec()),
        value => {
            let mut text = String::new();
            put_text(&mut text, value)?;
            Stored::Text(text)
        }
    })
}
