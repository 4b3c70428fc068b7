//! Reading rows back for `millstream verify`, and what this sink keeps of a value: the loss table of `docs/MYSQL.md`.

use std::fmt::Write as _;

use connector_api::erasure::{EachHeld, Step};
use connector_api::{
    BoxFuture, Column, Each, Error, Finding, Result, Row, Rows, Target, Value,
    json::{put_json, put_string},
    reader::put_varint,
};
use connector_sql::erase::{Search, examine};
use serde_json::{Map, Value as Json};
use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

use crate::catalog::{self, Object, Table};
use crate::decode;
use crate::erase;
use crate::error::Failure;
use crate::form::Form;
use crate::options::Options;
use crate::plan::Plan;
use crate::session::Session;
use crate::sql::{list, quote};

/// Most keys that are looked up with one statement.
const KEYS_MAX: usize = 1_000;

/// Reads the tables of one sink.
#[derive(Debug)]
pub struct Reader {
    options: Options,
}

impl Reader {
    /// For the database of `options`. Connects when it is asked for rows.
    pub fn new(options: Options) -> Reader {
        Reader { options }
    }

    /// A connection of its own for one reading, and the table; `None` when there is none.
    async fn open(&self, target: &Target) -> Result<Option<(Session, Table)>> {
        let mut session = Session::open(&self.options).await?;
        match catalog::read(&mut session, &target.table).await? {
            Object::Table(table) => Ok(Some((session, table))),
            Object::Missing => Ok(None),
            Object::Other(kind) => {
                Err(Error::config(format!("read table {:?}: the name belongs to a {kind}", target.table)))
            }
        }
    }

    async fn scanned(&self, target: &Target, each: &mut Each<'_>) -> Result<()> {
        let Some((mut session, table)) = self.open(target).await? else { return Ok(()) };
        let sql = select(target, &table)?;
        read(&mut session, sql, target, each).await?;
        session.close().await
    }

    async fn found(&self, target: &Target, keys: &[Vec<u8>], each: &mut Each<'_>) -> Result<()> {
        let Some((mut session, table)) = self.open(target).await? else { return Ok(()) };
        let plan = Plan::new(&target.clone().into(), &table, &session.server)?;
        for keys in keys.chunks(KEYS_MAX) {
            let mut sql = plan.where_key_in(&select(target, &table)?);
            for (at, key) in keys.iter().enumerate() {
                if at > 0 {
                    sql.push(',');
                }
                plan.put_key(&mut sql, &Row::from_bytes(key).to_vec()?)?;
            }
            sql.push(')');
            read(&mut session, sql, target, each).await?;
        }
        session.close().await
    }
}

async fn read(session: &mut Session, sql: String, target: &Target, each: &mut Each<'_>) -> Result<()> {
    let mut row = Vec::new();
    let mut give = |found: &MySqlRow| {
        encode(found, target, &mut row)?;
        each(Row::from_bytes(&row))
    };
    let what = format!("read table {:?}", target.table);
    session.each(sql, &mut give).await.map_err(|failure| match failure {
        Failure::Other(error) => error,
        failure => failure.into_error(what),
    })
}

fn encode(found: &MySqlRow, target: &Target, row: &mut Vec<u8>) -> Result<()> {
    row.clear();
    put_varint(row, target.columns.len() as u64);
    for at in 0..target.columns.len() {
        let bytes: Option<&[u8]> =
            found.try_get_unchecked(at).map_err(|error| Failure::from(error).into_error("read row"))?;
        match target.column(at) {
            Some(column) => decode::put(row, column, bytes)?,
            None => Value::Null.encode(row),
        }
    }
    Ok(())
}

fn select(target: &Target, table: &Table) -> Result<String> {
    let column = |(_, name): &(usize, String)| {
        let quoted = quote(name);
        let found = table.column(name).ok_or_else(|| {
            Error::config(format!("read table {:?}: column {name:?} does not exist", target.table))
        })?;
        Ok(match found.form {
            // The server shows six digits of a float, and all of a double.
            Form::Single => format!("{quoted} + 0e0"),
            Form::Bit => format!("{quoted} + 0"),
            Form::Bytes { .. } => quoted,
            _ => format!("CAST({quoted} AS CHAR)"),
        })
    };
    let columns: Vec<String> = target.columns.iter().map(column).collect::<Result<_>>()?;
    Ok(format!("SELECT {} FROM {}", list(columns), quote(&target.table)))
}

/// The steps of an erasure.
impl Reader {
    async fn held_all(&self, step: &Step, each: &mut EachHeld<'_>) -> Result<()> {
        let mut session = Session::open(&self.options).await?;
        let tables = erase::look(&mut session, step, false).await?;
        let server = session.server.clone();
        let Some(search) = Search::new(&server, step, &tables)? else { return session.close().await };
        let what = format!("read table {:?}", step.table);
        let mut give = |found: &MySqlRow| {
            let mut row = Map::new();
            for (at, column) in search.columns().iter().enumerate() {
                let bytes = found.try_get_unchecked::<Option<&[u8]>, _>(at);
                let bytes = bytes.map_err(|error| Failure::from(error).into_error("read row"))?;
                row.insert(column.name.clone(), erase::json(&column.facts, bytes));
            }
            each(row)
        };
        session.each(search.held()?.sql, &mut give).await.map_err(|failure| match failure {
            Failure::Other(error) => error,
            failure => failure.into_error(what),
        })?;
        session.close().await
    }

    async fn left_now(&self, step: &Step) -> Result<u64> {
        let mut session = Session::open(&self.options).await?;
        let left = erase::left(&mut session, step).await?;
        session.close().await.map(|()| left)
    }

    async fn examined(&self, step: &Step) -> Result<Vec<Finding>> {
        let mut session = Session::open(&self.options).await?;
        let tables = erase::look(&mut session, step, true).await?;
        let findings = examine(&session.server, step, &tables);
        session.close().await.map(|()| findings)
    }
}

impl Rows for Reader {
    /// Bytes are shown as `\x` and hexadecimal digits.
    fn held<'a>(&'a mut self, step: &'a Step, each: &'a mut EachHeld<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.held_all(step, each))
    }

    fn left<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.left_now(step))
    }

    fn examine<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<Vec<Finding>>> {
        Box::pin(self.examined(step))
    }

    fn scan<'a>(&'a mut self, target: &'a Target, each: &'a mut Each<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.scanned(target, each))
    }

    fn find<'a>(
        &'a mut self,
        target: &'a Target,
        keys: &'a [Vec<u8>],
        each: &'a mut Each<'_>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.found(target, keys, each))
    }

    fn keep(&self, column: &Column, value: Value<'_>, out: &mut Vec<u8>) -> Result<()> {
        let _ = column;
        keep(value, out)
    }
}

/// What the target keeps of a value: all of it, but for these.
fn keep(value: Value<'_>, out: &mut Vec<u8>) -> Result<()> {
    match value {
        // There is one zero.
        Value::Float(0.0) => Value::Float(0.0).encode(out),
        // Zeros behind the last digit are the column's, not the value's.
        Value::Decimal(text) if text.contains('.') => {
            let kept = text.trim_end_matches('0').trim_end_matches('.');
            Value::Decimal(if matches!(kept, "" | "-" | "-0") { "0" } else { kept }).encode(out);
        }
        // MySQL keeps what a document means, and not how it is written.
        Value::Json(text) => Value::Json(&canonical(text)).encode(out),
        // Arrays become JSON; the index of their first element is not in it.
        Value::Array(_) => {
            let mut text = String::new();
            put_json(&mut text, value)?;
            Value::Json(&canonical(&text)).encode(out);
        }
        other => other.encode(out),
    }
    Ok(())
}

/// A document without blanks, with its names in order; of a name that occurs twice the last value counts. A text that is
/// no document, or one that is too deep, stays as it is.
fn canonical(text: &str) -> String {
    match serde_json::from_str::<Json>(text) {
        Err(_) => text.to_owned(),
        Ok(json) => {
            let mut out = String::with_capacity(text.len());
            put_canonical(&mut out, &json);
            out
        }
    }
}

fn put_canonical(out: &mut String, json: &Json) {
    match json {
        Json::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put_canonical(out, item);
            }
            out.push(']');
        }
        Json::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put_string(out, name);
                out.push(':');
                put_canonical(out, value);
            }
            out.push('}');
        }
        Json::String(text) => put_string(out, text),
        Json::Number(number) => match number.as_f64() {
            // 1, 1.0 and 1e0 are one number, as far as a double tells numbers apart.
            Some(float)
                if !number.is_i64() && !number.is_u64() && float.fract() == 0.0 && float.abs() < 1e15 =>
            {
                let _ = write!(out, "{}", float as i64);
            }
            _ => {
                let _ = write!(out, "{number}");
            }
        },
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        keep(value, &mut out).unwrap();
        out
    }

    fn encoded(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        value.encode(&mut out);
        out
    }

    #[test]
    fn the_loss_table() {
        for (value, left) in [
            (Value::Float(-0.0), Value::Float(0.0)),
            (Value::Decimal("1.500"), Value::Decimal("1.5")),
            (Value::Decimal("-0.00"), Value::Decimal("0")),
            (Value::Decimal("100"), Value::Decimal("100")),
            (Value::Json(r#"{ "b": 1.0, "a": [ null ], "b": 2 }"#), Value::Json(r#"{"a":[null],"b":2}"#)),
            (Value::Text("a "), Value::Text("a ")),
            (Value::Timestamp(1), Value::Timestamp(1)),
        ] {
            assert_eq!(kept(value), encoded(left), "{value:?}");
            assert_eq!(kept(left), encoded(left), "twice: {value:?}");
        }
    }
}
