//! Brings a target table to the shape that a topic needs, as far as the sink may; all inside the open transaction, so
//! that a table and the rows that needed it appear together.

use connector_api::Result;
use connector_sql::{Action, Gap, Rights, evolve::actions};
use rusqlite::Connection;

use crate::Wanted;
use crate::catalog::{self, Object, Table};
use crate::error::Context;

/// Creates or extends the table of `wanted` for the sink `sink`, and tells `notices` what it did.
///
/// # Errors
/// [`connector_api::Kind::Config`] for a difference that the sink may not or cannot close, with the statement that does.
pub fn evolve(
    connection: &Connection,
    wanted: &Wanted<'_>,
    sink: &str,
    create: bool,
    notices: &mut Vec<String>,
) -> Result<Table> {
    let name = &wanted.target.table;
    let rights = Rights { create, ours: is_ours(connection, name)? };
    for action in actions(wanted, &catalog::read(connection, name)?, rights)? {
        match action {
            Action::Tell(notice) => notices.push(notice),
            Action::Run { gap, statements, notice } => {
                for statement in statements {
                    // An index, a trigger or a view may be in the way of what we would change; a person can judge that.
                    connection.execute_batch(&statement).map_err(|error| {
                        match error.sqlite_error_code() {
                            Some(rusqlite::ErrorCode::Unknown) => gap.error(wanted, rights).caused_by(error),
                            _ => crate::error::from_rusqlite(error, format_args!("change table {name:?}")),
                        }
                    })?;
                }
                notices.push(notice);
                if gap == Gap::NoTable {
                    remember(connection, wanted, sink)?;
                }
            }
        }
    }
    match catalog::read(connection, name)? {
        Object::Table(table) => Ok(table),
        _ => Err(Gap::NoTable.error(wanted, rights)),
    }
}

/// Whether a sink created the table. A file without the bookkeeping has no such table.
pub fn is_ours(connection: &Connection, table: &str) -> Result<bool> {
    let known = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_millstream_tables')";
    let what = || format!("read table {table:?}");
    if !connection.query_row(known, [], |row| row.get::<_, bool>(0)).context(what())? {
        return Ok(false);
    }
    let ours = "SELECT EXISTS (SELECT 1 FROM _millstream_tables WHERE name = ?1)";
    connection.query_row(ours, [table], |row| row.get(0)).context(what())
}

fn remember(connection: &Connection, wanted: &Wanted<'_>, sink: &str) -> Result<()> {
    connection
        .execute(
            "INSERT INTO _millstream_tables (name, sink, topic) VALUES (?1, ?2, ?3) \
             ON CONFLICT (name) DO UPDATE SET sink = excluded.sink, topic = excluded.topic",
            [&*wanted.target.table, sink, &*wanted.target.topic],
        )
        .context("remember created table")
        .map(drop)
}
