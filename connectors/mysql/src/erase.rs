//! Erasing: MySQL's side of [`connector_sql::erase`]: the tables of a step as they are, and its statements run.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

mod finder;

use connector_api::erasure::{Erased, Step};
use connector_api::{Error, Result};
use connector_sql::erase::{Column, Limits, Place, Search, Statement, Table, Tables, doing, names, refused};

use crate::catalog::{self, Object, TableColumn};
use crate::check;
use crate::error::Failure;
use crate::session::Session;

pub use finder::json;

/// What a delete leaves in a MySQL or MariaDB database, for people who read a certificate.
pub const REMAINS: &str = "InnoDB keeps a deleted row's bytes in the table's pages and in the undo log until purge removes them (it \
     runs by itself, once no transaction needs the row) and the space is written again (OPTIMIZE TABLE rewrites the table \
     at once), in the redo log until that is overwritten, in the binary log until it expires (binlog_expire_logs_seconds, \
     or PURGE BINARY LOGS), on replicas until they have applied it, and in backups until those expire.";

/// The tables of a step as they are now. `examined` asks for [`Limits`], too.
pub async fn look(session: &mut Session, step: &Step, examined: bool) -> Result<Tables<TableColumn>> {
    let mut tables = Tables::new();
    for name in names(step) {
        let place = match catalog::read(session, name).await? {
            Object::Missing => Place::Missing,
            Object::Other(kind) => Place::Other(kind),
            Object::Table(found) => {
                let limits = match examined {
                    true => limits(session, name, &found)
                        .await
                        .map_err(|failure| failure.into_error(doing(step)))?,
                    false => Limits::default(),
                };
                let column = |facts: TableColumn| Column {
                    name: facts.name.clone(),
                    generated: facts.generated,
                    facts,
                };
                Place::Table(Table { columns: found.columns.into_iter().map(column).collect(), limits })
            }
        };
        tables.insert(name.to_owned(), place);
    }
    Ok(tables)
}

async fn limits(session: &mut Session, name: &str, table: &catalog::Table) -> Result<Limits, Failure> {
    let is_key = |index: &&(String, Vec<String>)| index.0 == "PRIMARY";
    let filled = table.columns.iter().filter(|column| !column.nullable).map(|column| column.name.clone());
    Ok(Limits {
        indexed: catalog::heads(session, name).await?,
        filled: filled.collect(),
        key: table.unique.iter().find(is_key).map(|(_, key)| key.clone()).unwrap_or_default(),
        unique: table.unique.iter().filter(|index| !is_key(index)).map(|(_, set)| set.clone()).collect(),
        lacking: check::lacking(session, name).await?,
    })
}

/// Acts on one step, inside the open transaction, and looks what is left.
pub async fn act(session: &mut Session, step: &Step) -> Result<Erased> {
    let tables = look(session, step, false).await?;
    let server = session.server.clone();
    let Some(search) = Search::new(&server, step, &tables)? else { return Ok(Erased::default()) };
    let Some(acts) = search.act()? else {
        return Ok(Erased { rows: count(session, step, search.count()?).await?, left: 0 });
    };
    let done = session.run(acts.sql).await;
    let done = done.map_err(|failure| refused(step, failure.into_error(doing(step))))?;
    let left = match search.left()? {
        Some(left) => count(session, step, left).await?,
        None => 0,
    };
    Ok(Erased { rows: done.last().copied().unwrap_or_default(), left })
}

/// How many rows a step would still act on.
pub async fn left(session: &mut Session, step: &Step) -> Result<u64> {
    let tables = look(session, step, false).await?;
    let server = session.server.clone();
    let Some(search) = Search::new(&server, step, &tables)? else { return Ok(0) };
    match search.left()? {
        Some(left) => count(session, step, left).await,
        None => Ok(0),
    }
}

async fn count<V>(session: &mut Session, step: &Step, statement: Statement<V>) -> Result<u64> {
    let rows = session.rows(statement.sql).await.map_err(|failure| failure.into_error(doing(step)))?;
    let count = rows.into_iter().flatten().flatten().next().and_then(|text| text.parse().ok());
    count.ok_or_else(|| Error::corrupt(format!("{}: no count", doing(step))))
}
