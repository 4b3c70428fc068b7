//! Erasing: SQLite's side of [`connector_sql::erase`].
//!
//! A column of SQLite holds values of any type, so that a condition names the value's form twice: as a comparison that an
//! index serves, and with the form and the bytes that the stored value must have (a column may be NOCASE, and takes the
//! text `7 ` for the number 7).
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::erasure::{Constant, Erased, Step};
use connector_api::{Result, Value};
use connector_sql::erase::{
    At, Codes, Column, Finder, Limits, Link, Place, Search, Set, Sought, Statement, Table, Tables, doing,
    names, refused,
};
use connector_sql::{Dialect, erasure_codes};
use rusqlite::types::Value as Stored;
use rusqlite::{Connection, params_from_iter};

use crate::catalog::{self, Affinity, Object};
use crate::dialect::Lite;
use crate::error::{Context, from_rusqlite};

/// What a delete leaves in a SQLite file, for people who read a certificate.
pub const REMAINS: &str = "SQLite overwrites deleted rows with zeros (secure_delete); after the erasure the write-ahead log \
     is emptied and the unused parts of the tables' pages are overwritten, so that the database file, its -wal and its -shm hold none of the values. What remains is outside of \
     the file: blocks that the file system freed earlier, snapshots and backups of the file; they go when the disk \
     overwrites them and when the backups expire.";

/// A value as a condition binds it.
fn put(values: &mut Vec<Stored>, value: Stored) -> String {
    values.push(value);
    format!("?{}", values.len())
}

/// The number as SQLite compares it exactly; `None` when a float does not hold it.
fn number(sought: &Sought<'_>) -> Option<Stored> {
    let text = sought.number.as_deref()?;
    if let Ok(int) = text.parse() {
        return Some(Stored::Integer(int));
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (digits <= 15).then(|| text.parse().ok().map(Stored::Real)).flatten()
}

/// The text that a value is, whatever it is stored as: 7 and 7.0 are one number, bytes are never a text.
fn exact(sql: &str) -> String {
    format!(
        "CASE typeof({sql}) WHEN 'blob' THEN 'x' || hex({sql}) WHEN 'real' THEN 't' || CASE WHEN {sql} = CAST({sql} AS INTEGER) \
         THEN CAST({sql} AS INTEGER) ELSE {sql} END ELSE 't' || {sql} END"
    )
}

impl Finder for Lite {
    type Facts = Affinity;
    type Value = Stored;

    const CODES: &'static Codes = &erasure_codes!("sqlite");

    fn quote(&self, name: &str) -> String {
        crate::sql::quote(name)
    }

    fn same_column(&self, one: &str, other: &str) -> bool {
        Dialect::same_column(self, one, other)
    }

    fn equals(&self, at: &At<'_, Affinity>, sought: &Sought<'_>, values: &mut Vec<Stored>) -> Option<String> {
        let sql = &at.sql;
        let (mut places, mut terms) = (Vec::new(), Vec::new());
        for text in &sought.texts {
            let place = put(values, Stored::Text(text.clone()));
            terms.push(format!(
                "({sql} = {place} AND typeof({sql}) = 'text' AND {sql} COLLATE BINARY = {place})"
            ));
            places.push(place);
        }
        if let Some(number) = number(sought) {
            let place = put(values, number);
            terms.push(format!("({sql} = {place} AND typeof({sql}) IN ('integer', 'real'))"));
            places.push(place);
        }
        let bytes = match &sought.value {
            Value::Bytes(bytes) => Some(bytes.to_vec()),
            _ => sought.uuid.map(|uuid| uuid.to_vec()),
        };
        if let Some(bytes) = bytes {
            let place = put(values, Stored::Blob(bytes));
            terms.push(format!("({sql} = {place} AND typeof({sql}) = 'blob')"));
            places.push(place);
        }
        // The list says nothing that the terms do not say; from them alone SQLite does not see that an index serves.
        let indexed = places.join(", ");
        (!terms.is_empty()).then(|| format!("({sql} IN ({indexed}) AND ({}))", terms.join(" OR ")))
    }

    /// Every step into the document is a row of `json_each`, so that a key is compared and never read as a path.
    fn holds(
        &self,
        at: &At<'_, Affinity>,
        path: &[String],
        sought: &Sought<'_>,
        values: &mut Vec<Stored>,
    ) -> Result<String, String> {
        let sql = &at.sql;
        let mut document = format!(
            "CASE WHEN json_valid({sql}, 9) THEN CASE json_type({sql}) WHEN 'object' THEN {sql} ELSE '{{}}' END ELSE '{{}}' END"
        );
        let (mut from, mut terms, mut last) = (Vec::new(), Vec::new(), String::new());
        for (depth, key) in path.iter().enumerate() {
            last = format!("j{depth}");
            from.push(format!("json_each({document}) AS {last}"));
            let place = put(values, Stored::Text(key.clone()));
            terms.push(format!("{last}.key = {place}"));
            document = format!("CASE {last}.type WHEN 'object' THEN {last}.value ELSE '{{}}' END");
        }
        if last.is_empty() {
            return Err("the path has no key".to_owned());
        }
        let mut forms = Vec::new();
        for text in &sought.texts {
            let place = put(values, Stored::Text(text.clone()));
            forms.push(format!("({last}.type = 'text' AND {last}.value COLLATE BINARY = {place})"));
        }
        if let Some(number) = number(sought) {
            let place = put(values, number);
            forms.push(format!("({last}.type IN ('integer', 'real') AND {last}.value = {place})"));
        }
        terms.push(format!("({})", forms.join(" OR ")));
        Ok(format!("EXISTS (SELECT 1 FROM {} WHERE {})", from.join(", "), terms.join(" AND ")))
    }

    fn link(&self, ours: &At<'_, Affinity>, theirs: &At<'_, Affinity>) -> Result<Link, String> {
        let (mine, other) = (&ours.sql, &theirs.sql);
        // With a number on the other side the column of texts would be compared as one, and without its index.
        let first = match ours.column.facts {
            Affinity::Text => Link::plain(
                mine,
                format!("CASE typeof({other}) WHEN 'blob' THEN {other} ELSE CAST({other} AS TEXT) END"),
            ),
            _ => Link::plain(mine, other),
        };
        Ok(first.and(exact(mine), exact(other)))
    }

    fn set(
        &self,
        at: &At<'_, Affinity>,
        constant: &Constant,
        values: &mut Vec<Stored>,
    ) -> Result<Set, String> {
        let (stored, collate) = match constant {
            Constant::Null => (Stored::Null, ""),
            Constant::Bool(bool) => (Stored::Integer(i64::from(*bool)), ""),
            Constant::Int(int) => (Stored::Integer(*int), ""),
            Constant::Float(float) if float.is_nan() => return Err("SQLite has no NaN".to_owned()),
            Constant::Float(float) => (Stored::Real(*float), ""),
            Constant::Text(text) => (Stored::Text(text.clone()), " COLLATE BINARY"),
        };
        let value = put(values, stored);
        let differs = format!("{}{collate} IS NOT {value}", at.sql);
        Ok(Set { value, differs })
    }
}

/// The tables of a step as they are now. `examined` asks for [`Limits`], too.
pub fn look(connection: &Connection, step: &Step, examined: bool) -> Result<Tables<Affinity>> {
    let mut tables = Tables::new();
    for name in names(step) {
        let place = match catalog::read(connection, name)? {
            Object::Missing => Place::Missing,
            Object::Other(kind) if kind != "virtual" => Place::Other(kind),
            _ => {
                let columns = catalog::searched(connection, name).context(doing(step))?;
                let limits = match examined {
                    true => catalog::limits(connection, name).context(doing(step))?,
                    false => Limits::default(),
                };
                let column = |(name, declared, generated): (String, String, bool)| Column {
                    name,
                    generated,
                    facts: Affinity::of(&declared),
                };
                Place::Table(Table { columns: columns.into_iter().map(column).collect(), limits })
            }
        };
        tables.insert(name.to_owned(), place);
    }
    Ok(tables)
}

/// Acts on one step, inside the open transaction, and looks what is left.
pub fn act(connection: &Connection, step: &Step) -> Result<Erased> {
    let tables = look(connection, step, false)?;
    let Some(search) = Search::new(&Lite, step, &tables)? else { return Ok(Erased::default()) };
    let Some(acts) = search.act()? else {
        return Ok(Erased { rows: count(connection, step, search.count()?)?, left: 0 });
    };
    let Statement { sql, values } = acts;
    let done = connection.execute(&sql, params_from_iter(values));
    let rows = done.map_err(|error| refused(step, from_rusqlite(error, doing(step))))?;
    forget_samples(connection, step)?;
    let unscrubbed = "INSERT OR IGNORE INTO _millstream_unscrubbed VALUES (?1)";
    connection.execute(unscrubbed, [&step.table]).context(doing(step))?;
    let left = search.left()?.map_or(Ok(0), |left| count(connection, step, left))?;
    Ok(Erased { rows: rows as u64, left })
}

/// How many rows a step would still act on.
pub fn left(connection: &Connection, step: &Step) -> Result<u64> {
    let tables = look(connection, step, false)?;
    let Some(search) = Search::new(&Lite, step, &tables)? else { return Ok(0) };
    search.left()?.map_or(Ok(0), |left| count(connection, step, left))
}

fn count(connection: &Connection, step: &Step, statement: Statement<Stored>) -> Result<u64> {
    let Statement { sql, values } = statement;
    let found: i64 =
        connection.query_row(&sql, params_from_iter(values), |row| row.get(0)).context(doing(step))?;
    Ok(found.unsigned_abs())
}

/// ANALYZE keeps values of indexed columns as samples for the planner: those of a table that was changed here go, and the
/// next ANALYZE takes new ones.
fn forget_samples(connection: &Connection, step: &Step) -> Result<()> {
    for samples in ["sqlite_stat4", "sqlite_stat3"] {
        let known = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";
        if connection.query_row(known, [samples], |row| row.get::<_, bool>(0)).context(doing(step))? {
            let forget = format!("DELETE FROM {samples} WHERE tbl = ?1 COLLATE NOCASE");
            connection.execute(&forget, [&step.table]).context(doing(step))?;
        }
    }
    Ok(())
}
