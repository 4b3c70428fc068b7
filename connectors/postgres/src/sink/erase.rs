//! Erasing: PostgreSQL's side of [`connector_sql::erase`].
//!
//! A value is bound in the type of the column that it is compared with, where the type has a form for it: an index serves
//! the comparison, and the server never meets a text that it cannot read. Types that this file does not know (enums,
//! ranges, an extension's) are compared by the text that the server shows of them.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod finder;

use connector_api::erasure::{Action, Erased, Step};
use connector_api::{Error, Finding, Result, Severity};
use connector_sql::Object;
use connector_sql::erase::{
    Column, Finder, Limits, Place, Search, Statement as Text, Table, Tables, doing, names, refused,
};

use super::catalog;
use super::dialect::Sql;
use super::failure::failed;
use super::names::literal;
use super::session::{Answer, Session};
use super::statements::Statement;
use crate::catalog::{flag, number as read_number, text};
use finder::{constant_text, shown};

pub(super) use finder::{Facts, Param};

/// What a delete leaves in a PostgreSQL database, for people who read a certificate.
pub const REMAINS: &str = "PostgreSQL keeps a deleted row's bytes in the table's files until vacuum frees them (autovacuum does, by \
     itself; VACUUM does at once) and the space is written again (VACUUM FULL rewrites the table at once), in the \
     write-ahead log until it is recycled, on standbys until they have replayed it, and in archived log and backups until \
     those expire.";

/// The tables of a step as they are now. `examined` asks for [`Limits`], too.
pub(super) async fn look(
    session: &mut Session,
    schema: &str,
    step: &Step,
    examined: bool,
) -> Result<Tables<Facts>> {
    let mut tables = Tables::new();
    for name in names(step) {
        let place = match catalog::read(session, schema, name).await? {
            Object::Missing => Place::Missing,
            Object::Other(kind) => Place::Other(kind),
            Object::Table(found) => {
                let limits = match examined {
                    true => limits(session, &found).await?,
                    false => Limits::default(),
                };
                let column = |column: catalog::TableColumn| Column {
                    name: column.name,
                    generated: column.generated,
                    facts: Facts { of: column.facts, declared: column.declared },
                };
                Place::Table(Table { columns: found.columns.into_iter().map(column).collect(), limits })
            }
        };
        tables.insert(name.to_owned(), place);
    }
    Ok(tables)
}

async fn limits(session: &mut Session, table: &catalog::Table) -> Result<Limits> {
    let (doing, oid) = ("read indexes", table.facts.oid);
    let heads = format!(
        "SELECT a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
         WHERE i.indrelid = {oid} AND i.indisvalid AND i.indpred IS NULL AND m.amname IN ('btree', 'hash')"
    );
    let columns = format!(
        "SELECT a.attname, a.attnotnull, EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary \
           AND a.attnum = ANY (i.indkey::int2[])) \
         FROM pg_attribute a WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    );
    let mut limits = Limits { lacking: table.facts.missing.clone(), ..Limits::default() };
    for row in session.query(doing, &heads).await? {
        limits.indexed.push(text(&row, 0).to_owned());
    }
    for row in session.query(doing, &columns).await? {
        let name = || text(&row, 0).to_owned();
        if flag(&row, 1) {
            limits.filled.push(name());
        }
        if flag(&row, 2) {
            limits.key.push(name());
        }
    }
    let is_key =
        |set: &Vec<String>| set.len() == limits.key.len() && set.iter().all(|name| limits.key.contains(name));
    limits.unique = table.unique.iter().filter(|set| !is_key(set)).cloned().collect();
    Ok(limits)
}

/// Constants that the server cannot read as the column's type, or that it would cut: asked of the server itself.
pub(super) async fn unreadable(
    session: &mut Session,
    step: &Step,
    tables: &Tables<Facts>,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let (Action::Set(constants), Some(Place::Table(table))) = (&step.action, tables.get(&step.table)) else {
        return Ok(findings);
    };
    for (name, constant) in constants {
        let Some(column) = table.columns.iter().find(|column| column.name == *name) else { continue };
        let Some(text) = constant_text(constant).filter(|text| !text.contains('\0')) else { continue };
        let facts = &column.facts;
        let (value, declared) = (literal(&text), &facts.declared);
        let cast = format!("CAST({value} AS {declared})");
        // An explicit cast cuts a text where an assignment is an error.
        let sql = match facts.is_text() {
            true => format!("SELECT rtrim({}) = rtrim({value})", shown(facts, &cast)),
            false => format!("SELECT {cast} IS NOT NULL"),
        };
        let answer = session.simple(&sql).await?;
        let why = match &answer.failed {
            Some(error) => {
                format!("the server does not read the constant as {declared} (SQLSTATE {})", error.code)
            }
            None if answer.rows.first().is_some_and(|row| flag(row, 0)) => continue,
            None => format!("the constant is too long for {declared}"),
        };
        let place = format!("table {:?}", step.table);
        findings.push(
            Finding::new(
                Severity::Error,
                <Sql as Finder>::CODES.invalid,
                place,
                format!("column {name:?}: {why}"),
            )
            .with_remedy(format!(
                "set {name:?} to another constant for table {:?} in the `erasure` section",
                step.table
            )),
        );
    }
    Ok(findings)
}

/// Acts on one step, inside the open transaction, and looks what is left.
pub(super) async fn act(session: &mut Session, sql: &Sql, step: &Step) -> Result<Erased> {
    let tables = look(session, &sql.schema, step, false).await?;
    let Some(search) = Search::new(sql, step, &tables)? else { return Ok(Erased::default()) };
    let Some(acts) = search.act()? else {
        return Ok(Erased { rows: count(session, step, search.count()?).await?, left: 0 });
    };
    let answer = run(session, step, acts).await?;
    let rows = answer.done.last().map_or(0, |done| done.rows);
    let left = match search.left()? {
        Some(left) => count(session, step, left).await?,
        None => 0,
    };
    Ok(Erased { rows, left })
}

/// How many rows a step would still act on.
pub(super) async fn left(session: &mut Session, sql: &Sql, step: &Step) -> Result<u64> {
    let tables = look(session, &sql.schema, step, false).await?;
    let Some(search) = Search::new(sql, step, &tables)? else { return Ok(0) };
    match search.left()? {
        Some(left) => count(session, step, left).await,
        None => Ok(0),
    }
}

async fn count(session: &mut Session, step: &Step, statement: Text<Param>) -> Result<u64> {
    let answer = run(session, step, statement).await?;
    let row = answer.rows.first().ok_or_else(|| Error::corrupt(format!("{}: no count", doing(step))))?;
    read_number(row, 0)
}

/// Runs one statement.
pub(super) async fn run(session: &mut Session, step: &Step, text: Text<Param>) -> Result<Answer> {
    let statement = Statement::new(text.sql, text.values.iter().map(|param| param.oid).collect());
    session.execute(&statement, |out| {
        text.values.iter().for_each(|param| out.extend_from_slice(&param.bytes));
        Ok(())
    })?;
    let answer = session.answer().await?;
    match &answer.failed {
        None => Ok(answer),
        Some(error) => Err(refused(step, failed(doing(step), error))),
    }
}
