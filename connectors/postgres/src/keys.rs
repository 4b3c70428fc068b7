//! Rows by their keys: the text of conditions, and of the COPY that they go into. Every value is quoted here (I12).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::catalog::Table;
use crate::connection::{identifier, literal};
use connector_api::array::Array;
use connector_api::json::put_text;
use connector_api::{Error, Result, Row, Schema, Value};
use std::fmt::Write as _;

/// A COPY of a table's rows under its row filter: all of them, or those with these keys.
///
/// # Errors
/// [`connector_api::Kind::Data`] for bytes that are no key of the table.
pub(crate) fn copy(table: &Table, schema: &Schema, keys: Option<&[Vec<u8>]>) -> Result<String> {
    let columns: Vec<_> = schema.columns.iter().map(|column| identifier(&column.name)).collect();
    // A partitioned table has its rows in its partitions; other tables that inherit from one are captured by themselves.
    let only = if table.kind == b'p' { "" } else { "ONLY " };
    let mut sql = format!("COPY (SELECT {} FROM {only}{}", columns.join(", "), table.sql_name());
    let filter = table.filter.as_ref().map(|filter| format!("({filter})"));
    let keys = keys.map(|keys| by_keys(schema, keys)).transpose()?;
    let conditions: Vec<_> = filter.into_iter().chain(keys).collect();
    if !conditions.is_empty() {
        let _ = write!(sql, " WHERE {}", conditions.join(" AND "));
    }
    sql.push_str(") TO STDOUT");
    Ok(sql)
}

/// `("a", "b") IN (VALUES ('1'::int, 'x'::text), …)`: a join by the key's index, however many there are.
fn by_keys(schema: &Schema, keys: &[Vec<u8>]) -> Result<String> {
    let names: Vec<_> = schema.key_columns().map(|column| identifier(&column.name)).collect();
    let mut sql = format!("({}) IN (VALUES ", names.join(", "));
    for (at, key) in keys.iter().enumerate() {
        let values = Row::from_bytes(key).to_vec()?;
        if values.len() != names.len() || names.is_empty() {
            return Err(Error::data(format!(
                "look up rows: a key of {} has {} columns",
                schema.table,
                names.len()
            )));
        }
        sql.push_str(if at == 0 { "(" } else { ", (" });
        for (at, (value, column)) in values.iter().zip(schema.key_columns()).enumerate() {
            sql.push_str(if at == 0 { "" } else { ", " });
            // The type's name comes from `format_type`, which quotes it.
            let _ = write!(sql, "{}::{}", quoted(*value)?, column.type_name);
        }
        sql.push(')');
    }
    sql.push(')');
    Ok(sql)
}

/// A value as the text form of its type, in a literal.
fn quoted(value: Value<'_>) -> Result<String> {
    let mut text = String::new();
    match value {
        Value::Null | Value::Unchanged => return Ok("NULL".to_owned()),
        Value::Array(array) => put_array(&mut text, array)?,
        value => put_text(&mut text, value)?,
    }
    if text.contains('\0') {
        return Err(Error::data("look up rows: a key holds a zero byte"));
    }
    Ok(literal(&text))
}

/// `[1:2]={"a","b"}`; one dimension is what a key can sensibly have.
fn put_array(out: &mut String, array: Array<'_>) -> Result<()> {
    let (dimensions, elements) = array.open()?;
    let lower = match dimensions.as_slice() {
        [] => 1,
        [one] => one.lower,
        _ => return Err(Error::data("look up rows: a key holds an array of several dimensions")),
    };
    if let [one] = dimensions.as_slice()
        && lower != 1
    {
        let _ = write!(out, "[{lower}:{}]=", i64::from(lower) + i64::from(one.len) - 1);
    }
    out.push('{');
    for (at, element) in elements.enumerate() {
        out.push_str(if at == 0 { "" } else { "," });
        match element? {
            Value::Null => out.push_str("NULL"),
            value => {
                let mut text = String::new();
                put_text(&mut text, value)?;
                let _ = write!(out, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            }
        }
    }
    out.push('}');
    Ok(())
}
