//! Brings a target table to the shape that a topic needs, as far as the sink may.
//!
//! MySQL commits whenever a table is created or changed, so this runs on a connection of its own, never on one that holds
//! changes (I3). A crash in between leaves a table that is ahead of its rows: harmless, since new columns take NULL, and
//! the next attempt finds nothing left to do.

use connector_api::{Error, Result, Severity};

use crate::catalog::{self, Object, Table};
use crate::ddl::Wanted;
use crate::error::Failure;
use crate::gap::{Gap, Rights, gaps};
use crate::session::Session;
use crate::sql::literal;

/// What a sink does to a table before it writes there.
#[derive(Debug)]
pub struct Evolution {
    /// The table as it is now.
    pub table: Table,
    /// The statements that have to run first; empty when the table fits.
    pub statements: Vec<(Gap, String)>,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// Looks at the table of `wanted`. Changes nothing.
///
/// # Errors
/// [`connector_api::Kind::Config`] for a difference that the sink may not or cannot close, with the statement that does.
pub async fn look(session: &mut Session, wanted: &Wanted<'_>, create: bool) -> Result<Evolution> {
    let name = &wanted.target.table;
    let rights = Rights { create, ours: is_ours(session, name).await? };
    let object = catalog::read(session, name).await?;
    let (mut statements, mut notices) = (Vec::new(), Vec::new());
    for gap in gaps(wanted, &object) {
        if let Some(statement) = gap.repair(wanted, rights) {
            statements.push((gap, statement));
            continue;
        }
        let finding = gap.finding(wanted, rights);
        match finding.severity {
            Severity::Error => return Err(gap.error(wanted, rights)),
            Severity::Warning => notices.push(format!("{}: {}", finding.place, finding.what)),
            Severity::Note => {}
        }
    }
    let table = match object {
        Object::Table(table) => table,
        _ => Table::default(),
    };
    Ok(Evolution { table, statements, notices })
}

/// Runs the statements of an evolution for the sink `sink`, and looks again.
///
/// # Errors
/// [`connector_api::Kind::Config`] when the server refuses one, with the statement.
pub async fn run(
    session: &mut Session,
    wanted: &Wanted<'_>,
    sink: &str,
    evolution: Evolution,
) -> Result<Evolution> {
    let mut notices = evolution.notices;
    for (gap, statement) in evolution.statements {
        match session.run(statement.clone()).await {
            Ok(_) => {
                notices.push(gap.repaired(wanted));
                if gap == Gap::NoTable {
                    // Afterwards: a crash in between leaves a table that is only extended, as somebody else's is.
                    remember(session, wanted, sink).await?;
                }
            }
            // Another lane or another sink was faster.
            Err(Failure::Server(refusal)) if matches!(refusal.number, 1050 | 1060) => {}
            Err(failure) => return Err(refused(wanted, &statement, failure)),
        }
    }
    let mut after = look(session, wanted, false).await?;
    after.notices.splice(0..0, notices);
    Ok(after)
}

fn refused(wanted: &Wanted<'_>, statement: &str, failure: Failure) -> Error {
    let error = failure.into_error(format_args!("change table {:?}", wanted.target.table));
    match error.kind() {
        connector_api::Kind::Transient => error,
        // Rows that are there do not take the new type, or a right is missing: a person can judge that.
        _ => Error::config(error.to_string()).with_remedy(format!("as a user who may: {statement};")),
    }
}

/// Whether a sink created the table. A database without the bookkeeping has no such table.
pub async fn is_ours(session: &mut Session, table: &str) -> Result<bool> {
    let name = literal(&session.server.table_name(table));
    match session.rows(format!("SELECT 1 FROM _millstream_tables WHERE name = {name}")).await {
        Ok(rows) => Ok(!rows.is_empty()),
        Err(Failure::Server(refusal)) if refusal.number == 1146 => Ok(false),
        Err(failure) => Err(failure.into_error(format_args!("read table {table:?}"))),
    }
}

async fn remember(session: &mut Session, wanted: &Wanted<'_>, sink: &str) -> Result<()> {
    let name = literal(&session.server.table_name(&wanted.target.table));
    let (sink, topic) = (literal(sink), literal(&wanted.target.topic));
    let sql = format!(
        "INSERT INTO _millstream_tables (name, sink, topic) VALUES ({name}, {sink}, {topic}) \
         ON DUPLICATE KEY UPDATE sink = VALUES(sink), topic = VALUES(topic)"
    );
    session.run(sql).await.map(drop).map_err(|failure| failure.into_error("remember created table"))
}
