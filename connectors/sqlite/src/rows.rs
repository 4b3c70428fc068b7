//! Reading rows back, on a connection that cannot write.

use std::path::PathBuf;
use std::time::Duration;

use connector_api::erasure::{EachHeld, Step};
use connector_api::reader::put_varint;
use connector_api::{BoxFuture, Column, Each, Error, Finding, Result, Row, Rows, Target, Value, ValueKind};
use connector_sql::erase::{Search, Statement, Tables, examine};
use connector_sql::names::list;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use serde_json::Map;

use crate::catalog::{self, Object, Table};
use crate::check::freed_pages;
use crate::dialect::Lite;
use crate::erase;
use crate::error::{Context, from_rusqlite};
use crate::options::Options;
use crate::sql::quote;
use crate::{bind, read};

/// How long reading waits for a writer, which happens only where the file has no write-ahead log.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the rows of the sink `name`.
///
/// What SQLite keeps less of than a source: the sign of a zero float, the bits of a NaN, the lower bounds of an array, and
/// the dimensions of an array of JSON. A scan reads one state of the file, however long it takes; the write-ahead log
/// cannot shrink meanwhile.
///
/// # Errors
/// [`connector_api::Kind::Config`] for options that cannot be. A file that does not exist has no rows.
pub fn rows(name: &str, options: &Options) -> Result<Box<dyn Rows>> {
    options.check(name)?;
    Ok(Box::new(Reader { path: options.path.clone(), connection: None, buffer: Vec::new() }))
}

#[derive(Debug)]
struct Reader {
    path: PathBuf,
    connection: Option<Connection>,
    buffer: Vec<u8>,
}

impl Reader {
    /// Opens the file; `None` when there is none.
    fn open(&mut self) -> Result<Option<(&Connection, &mut Vec<u8>)>> {
        if self.connection.is_none() {
            if !self.path.exists() {
                return Ok(None);
            }
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_EXRESCODE;
            let what = format!("open database {}", self.path.display());
            let connection = Connection::open_with_flags(&self.path, flags).context(&what)?;
            connection.busy_timeout(BUSY_TIMEOUT).context(&what)?;
            self.connection = Some(connection);
        }
        Ok(self.connection.as_ref().map(|connection| (connection, &mut self.buffer)))
    }

    fn scan_all(&mut self, target: &Target, each: &mut Each<'_>) -> Result<()> {
        let Some((connection, buffer)) = self.open()? else { return Ok(()) };
        let Some(select) = select(connection, target)? else { return Ok(()) };
        let mut statement = connection.prepare(&select).map_err(|error| failed(target, error))?;
        give(target, statement.query([]).map_err(|error| failed(target, error))?, buffer, each)
    }

    fn find_all(&mut self, target: &Target, keys: &[Vec<u8>], each: &mut Each<'_>) -> Result<()> {
        let Some((connection, buffer)) = self.open()? else { return Ok(()) };
        let Some(select) = select(connection, target)?.filter(|_| !target.key.is_empty()) else {
            return Ok(());
        };
        let terms: Vec<_> =
            target.key_names().into_iter().map(|name| format!("{} = ?", quote(name))).collect();
        let select = format!("{select} WHERE {}", terms.join(" AND "));
        let mut statement = connection.prepare(&select).map_err(|error| failed(target, error))?;
        for key in keys {
            let values: Vec<_> =
                Row::from_bytes(key).values().map(|value| bind::stored(value?)).collect::<Result<_>>()?;
            if values.len() != target.key.len() {
                return Err(Error::corrupt(format!(
                    "find rows of table {:?}: a key of {} columns where {} were due",
                    target.table,
                    values.len(),
                    target.key.len()
                )));
            }
            let rows = statement.query(params_from_iter(values)).map_err(|error| failed(target, error))?;
            give(target, rows, buffer, each)?;
        }
        Ok(())
    }
}

/// The steps of an erasure.
impl Reader {
    fn held_all(&mut self, step: &Step, each: &mut EachHeld<'_>) -> Result<()> {
        let Some((connection, _)) = self.open()? else { return Ok(()) };
        let tables = erase::look(connection, step, false)?;
        let Some(search) = Search::new(&Lite, step, &tables)? else { return Ok(()) };
        let what = || format!("read rows of table {:?}", step.table);
        let Statement { sql, values } = search.held()?;
        let mut statement = connection.prepare(&sql).context(what())?;
        let mut rows = statement.query(params_from_iter(values)).context(what())?;
        while let Some(row) = rows.next().context(what())? {
            let mut held = Map::new();
            for (at, column) in search.columns().iter().enumerate() {
                held.insert(column.name.clone(), read::json(row.get_ref(at).context(what())?));
            }
            each(held)?;
        }
        Ok(())
    }

    fn left_now(&mut self, step: &Step) -> Result<u64> {
        match self.open()? {
            Some((connection, _)) => erase::left(connection, step),
            None => Ok(0),
        }
    }

    fn examined(&mut self, step: &Step) -> Result<Vec<Finding>> {
        let path = self.path.clone();
        let Some((connection, _)) = self.open()? else { return Ok(examine(&Lite, step, &Tables::new())) };
        let mut findings = examine(&Lite, step, &erase::look(connection, step, true)?);
        findings.extend(freed_pages(connection, &path)?);
        Ok(findings)
    }
}

fn failed(target: &Target, error: rusqlite::Error) -> Error {
    from_rusqlite(error, format_args!("read rows of table {:?}", target.table))
}

/// The statement for all rows. A column that is not there (yet) is NULL: SQLite takes an unknown name in quotes for a text.
fn select(connection: &Connection, target: &Target) -> Result<Option<String>> {
    let table: Table = match catalog::read(connection, &target.table)? {
        Object::Table(table) => table,
        Object::Missing | Object::Other(_) => return Ok(None),
    };
    let has = |name: &str| table.column(&Lite, name).is_some();
    if target.key_names().into_iter().any(|name| !has(name)) {
        return Ok(None);
    }
    let column = |(_, name): &(usize, String)| if has(name) { quote(name) } else { "NULL".to_owned() };
    Ok(Some(format!("SELECT {} FROM {}", list(target.columns.iter().map(column)), quote(&target.table))))
}

fn give(
    target: &Target,
    mut rows: rusqlite::Rows<'_>,
    buffer: &mut Vec<u8>,
    each: &mut Each<'_>,
) -> Result<()> {
    let unknown = Column {
        name: String::new(),
        kind: ValueKind::Text,
        element: None,
        type_name: String::new(),
        nullable: true,
    };
    while let Some(row) = rows.next().map_err(|error| failed(target, error))? {
        buffer.clear();
        put_varint(buffer, target.columns.len() as u64);
        for at in 0..target.columns.len() {
            let stored: ValueRef<'_> = row.get_ref(at).map_err(|error| failed(target, error))?;
            read::encode(buffer, target.column(at).unwrap_or(&unknown), stored);
        }
        each(Row::from_bytes(buffer))?;
    }
    Ok(())
}

impl Rows for Reader {
    fn scan<'a>(&'a mut self, target: &'a Target, each: &'a mut Each<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.scan_all(target, each) })
    }

    fn find<'a>(
        &'a mut self,
        target: &'a Target,
        keys: &'a [Vec<u8>],
        each: &'a mut Each<'_>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.find_all(target, keys, each) })
    }

    fn keep(&self, column: &Column, value: Value<'_>, out: &mut Vec<u8>) -> Result<()> {
        read::keep(out, column, value)
    }

    /// Bytes are shown as `\x` and hexadecimal digits.
    fn held<'a>(&'a mut self, step: &'a Step, each: &'a mut EachHeld<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.held_all(step, each) })
    }

    fn left<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move { self.left_now(step) })
    }

    fn examine<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<Vec<Finding>>> {
        Box::pin(async move { self.examined(step) })
    }
}
