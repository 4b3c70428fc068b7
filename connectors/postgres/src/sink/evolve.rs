//! Makes a target table fit a topic, as far as the sink may.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_api::{Error, Result, Target};
use connector_sql::evolve::actions;
use connector_sql::{Action, Gap, Object, Rights, Wanted};

use super::catalog::{self, Table};
use super::dialect::Sql;
use super::failure::failed;
use super::names::{literal, qualified, quote};
use super::session::Session;
use crate::catalog::{flag, text};

/// What a table is made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basis<'a> {
    pub(super) sink: &'a str,
    pub(super) sql: &'a Sql,
    pub(super) create: bool,
}

/// The table as it is when it fits, after creating or extending it inside the open transaction, and whether anything
/// was changed.
///
/// # Errors
/// [`connector_api::Kind::Config`], with the statement to run, when it does not fit.
pub(super) async fn evolve(
    session: &mut Session,
    basis: Basis<'_>,
    target: &Target,
    notices: &mut Vec<String>,
) -> Result<(Table, bool)> {
    let wanted = Wanted { target, dialect: basis.sql };
    let mut changed = false;
    // A change can show the next gap: a column that is added makes the key look at its index.
    for _ in 0..3 {
        let object = catalog::read(session, &basis.sql.schema, &target.table).await?;
        let rights = Rights { create: basis.create, ours: is_ours(session, basis, &target.table).await? };
        let mut again = false;
        for action in actions(&wanted, &object, rights)? {
            let notice = match action {
                Action::Tell(notice) => notice,
                Action::Run { gap, statements, notice } => {
                    for sql in statements {
                        run(session, &format!("change table {:?}", target.table), &sql, basis).await?;
                    }
                    if matches!(gap, Gap::NoTable) {
                        remember(session, basis, target, true).await?;
                    }
                    again = true;
                    notice
                }
            };
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
        changed |= again;
        if let (false, Object::Table(table)) = (again, object) {
            remember(session, basis, target, rights.ours).await?;
            return Ok((table, changed));
        }
    }
    let Target { topic, table, .. } = target;
    Err(Error::config(format!("map topic {topic}: table {table:?} still does not fit after it was changed")))
}

/// Runs a change of a table. Who may not is told the statement, to have it run by somebody who may.
async fn run(session: &mut Session, doing: &str, sql: &str, basis: Basis<'_>) -> Result<()> {
    let answer = session.simple(sql).await?;
    let Some(error) = answer.failed else { return Ok(()) };
    let made = failed(doing, &error);
    match error.code.as_str() {
        "42501" => {
            Err(made.with_remedy(format!("run as the owner of schema {}: {sql};", quote(&basis.sql.schema))))
        }
        _ => Err(made),
    }
}

/// Who is connected.
pub(super) async fn role(session: &mut Session) -> Result<String> {
    let rows = session.query("read role", "SELECT current_user").await?;
    Ok(rows.first().map(|row| text(row, 0).to_owned()).unwrap_or_default())
}

/// Whether a sink of millstream made the table.
pub(super) async fn is_ours(session: &mut Session, basis: Basis<'_>, table: &str) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} WHERE name = {} AND created)",
        qualified(&basis.sql.schema, "_millstream_tables"),
        literal(table)
    );
    Ok(session.query("read bookkeeping tables", &sql).await?.first().is_some_and(|row| flag(row, 0)))
}

async fn remember(session: &mut Session, basis: Basis<'_>, target: &Target, created: bool) -> Result<()> {
    let sql = remember_sql(&basis.sql.schema, basis.sink, &target.topic, &target.table, created);
    session.query("write bookkeeping tables", &sql).await.map(drop)
}

/// The statement that notes which table a topic goes to.
pub(super) fn remember_sql(schema: &str, sink: &str, topic: &str, table: &str, created: bool) -> String {
    format!(
        "INSERT INTO {} (name, sink, topic, created) VALUES ({}, {}, {}, {created}) ON CONFLICT DO NOTHING",
        qualified(schema, "_millstream_tables"),
        literal(table),
        literal(sink),
        literal(topic)
    )
}
