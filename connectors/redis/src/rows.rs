//! Reading rows back: keys that are those of a table, hashes or JSON into values.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use connector_api::erasure::{EachHeld, Step};
use connector_api::json::{encode_array, encode_text};
use connector_api::reader::put_varint;
use connector_api::{BoxFuture, Column, Each, Error, Finding, Result, Row, Rows, Target, Value, ValueKind};
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value as Reply};

use crate::error::{failed, first_error, refused_reply};
use crate::held::{Held, examine};
use crate::options::{Form, Mode, Options};
use crate::plan::Plan;
use crate::session::connect;

/// How many rows are asked for at a time.
const PAGE: usize = 500;

/// Reads the rows of the sink `name`. Only `mode: rows` has some that can be read back; what is held of a person can be asked
/// in every mode.
///
/// What Redis keeps less of than a source: arrays lose their lower bounds.
///
/// # Errors
/// [`connector_api::Kind::Config`] when its options contradict each other.
pub fn rows(name: &str, options: &Options) -> Result<Box<dyn Rows>> {
    options.check(name)?;
    Ok(Box::new(Reader { name: name.to_owned(), options: options.clone(), connection: None }))
}

#[derive(Debug)]
struct Reader {
    /// The sink.
    name: String,
    options: Options,
    connection: Option<MultiplexedConnection>,
}

impl Reader {
    fn keeps_rows(&self) -> Result<()> {
        match self.options.mode {
            Mode::Rows => Ok(()),
            Mode::Stream | Mode::Invalidate => Err(Error::config(format!(
                "read sink {}: in this mode it keeps no rows that could be read back",
                self.name
            ))),
        }
    }

    async fn open(&mut self) -> Result<MultiplexedConnection> {
        match &self.connection {
            Some(connection) => Ok(connection.clone()),
            None => Ok(self.connection.insert(connect(&self.options).await?).clone()),
        }
    }

    async fn scan_all(&mut self, target: &Target, each: &mut Each<'_>) -> Result<()> {
        let mut connection = self.open().await?;
        let plan = Plan::new(&self.options, &Arc::new(target.clone()))?;
        let (glob, state) = (plan.name.glob(), RandomState::new());
        // A key may be given twice while the server's table grows.
        let mut seen = HashSet::new();
        let mut from = "0".to_owned();
        loop {
            let (next, names): (String, Vec<String>) = redis::cmd("SCAN")
                .arg(&from)
                .arg("MATCH")
                .arg(&glob)
                .arg("COUNT")
                .arg(PAGE)
                .query_async(&mut connection)
                .await
                .map_err(|error| failed("list keys", error))?;
            let fresh =
                names.into_iter().filter(|name| plan.name.matches(name) && seen.insert(state.hash_one(name)));
            self.give(&mut connection, &plan, &fresh.collect::<Vec<_>>(), each).await?;
            if next == "0" {
                return Ok(());
            }
            from = next;
        }
    }

    async fn find_all(&mut self, target: &Target, keys: &[Vec<u8>], each: &mut Each<'_>) -> Result<()> {
        let mut connection = self.open().await?;
        let plan = Plan::new(&self.options, &Arc::new(target.clone()))?;
        for page in keys.chunks(PAGE) {
            let name = |key: &Vec<u8>| plan.name.of(&Row::from_bytes(key).to_vec()?);
            let names: Vec<String> = page.iter().map(name).collect::<Result<_>>()?;
            self.give(&mut connection, &plan, &names, each).await?;
        }
        Ok(())
    }

    async fn give(
        &self,
        connection: &mut MultiplexedConnection,
        plan: &Plan,
        names: &[String],
        each: &mut Each<'_>,
    ) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::new();
        let command = if self.options.value == Form::Hash { "HGETALL" } else { "GET" };
        names.iter().for_each(|name| {
            pipeline.cmd(command).arg(name);
        });
        let replies = connection.send_packed_commands(&pipeline, 0, names.len()).await;
        let replies = replies.map_err(|error| failed("read rows", error))?;
        if let Some(error) = first_error(&replies) {
            return Err(refused_reply(format_args!("read rows of table {:?}", plan.target.table), error));
        }
        let mut row = Vec::new();
        for reply in &replies {
            let fields = match self.options.value {
                Form::Hash => hash(reply),
                Form::Json => object(reply),
            };
            // Gone since it was listed.
            if fields.is_empty() {
                continue;
            }
            row.clear();
            put_varint(&mut row, plan.target.columns.len() as u64);
            for (at, (_, name)) in plan.target.columns.iter().enumerate() {
                let Some(column) = plan.target.column(at) else { continue };
                match (fields.get(name.as_str()), self.options.value) {
                    (None, _) => Value::Null.encode(&mut row),
                    (Some(bytes), Form::Hash) => encode_field(&mut row, column, bytes),
                    (Some(bytes), Form::Json) => {
                        encode_member(&mut row, column, &String::from_utf8_lossy(bytes))
                    }
                }
            }
            each(Row::from_bytes(&row))?;
        }
        Ok(())
    }
}

/// The fields of a hash, by name.
fn hash(reply: &Reply) -> HashMap<String, Vec<u8>> {
    let bytes = |reply: &Reply| match reply {
        Reply::BulkString(bytes) => bytes.clone(),
        _ => Vec::new(),
    };
    let name = |reply: &Reply| String::from_utf8_lossy(&bytes(reply)).into_owned();
    match reply {
        Reply::Map(pairs) => pairs.iter().map(|(field, value)| (name(field), bytes(value))).collect(),
        Reply::Array(flat) => flat
            .chunks_exact(2)
            .filter_map(|pair| pair.first().zip(pair.last()))
            .map(|(field, value)| (name(field), bytes(value)))
            .collect(),
        _ => HashMap::new(),
    }
}

/// The members of an object, each as its piece of JSON: numbers are not read here, so that none is rounded.
fn object(reply: &Reply) -> HashMap<String, Vec<u8>> {
    let Reply::BulkString(bytes) = reply else { return HashMap::new() };
    let text = String::from_utf8_lossy(bytes);
    let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return HashMap::new();
    };
    let mut members = HashMap::new();
    for piece in split(inner, ',') {
        let name = split(piece, ':').into_iter().next().unwrap_or_default();
        let value = piece.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
        if let (Ok(name), Some(value)) = (serde_json::from_str::<String>(name), value) {
            members.insert(name, value.as_bytes().to_vec());
        }
    }
    members
}

/// Splits JSON at a mark that stands outside of strings and brackets.
fn split(text: &str, mark: char) -> Vec<&str> {
    let (mut pieces, mut from, mut depth) = (Vec::new(), 0, 0_i32);
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            found if found == mark && depth == 0 => {
                pieces.extend(text.get(from..at));
                from = at + mark.len_utf8();
            }
            _ => {}
        }
    }
    pieces.extend(text.get(from..).filter(|rest| !rest.is_empty()));
    pieces
}

/// What somebody else wrote comes back as the text or the bytes that it is, and so differs.
fn encode_field(row: &mut Vec<u8>, column: &Column, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return Value::Bytes(bytes).encode(row) };
    match column.kind {
        ValueKind::Bytes => Value::Bytes(bytes).encode(row),
        ValueKind::Array => encode_list(row, column, text),
        kind => {
            if !encode_text(row, kind, text) {
                Value::Text(text).encode(row);
            }
        }
    }
}

fn encode_member(row: &mut Vec<u8>, column: &Column, json: &str) {
    let plain = match (json, column.kind) {
        ("null", _) => return Value::Null.encode(row),
        (_, ValueKind::Array) => return encode_list(row, column, json),
        (_, ValueKind::Json) => return Value::Json(json).encode(row),
        _ => serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned()),
    };
    if !encode_text(row, column.kind, &plain) {
        Value::Text(&plain).encode(row);
    }
}

fn encode_list(row: &mut Vec<u8>, column: &Column, text: &str) {
    let mut inner = Vec::new();
    match encode_array(&mut inner, column.element.unwrap_or(ValueKind::Text), text) {
        true => Value::Array(connector_api::array::Array::from_bytes(&inner)).encode(row),
        false => Value::Text(text).encode(row),
    }
}

impl Rows for Reader {
    fn scan<'a>(&'a mut self, target: &'a Target, each: &'a mut Each<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.keeps_rows()?;
            self.scan_all(target, each).await
        })
    }

    fn find<'a>(
        &'a mut self,
        target: &'a Target,
        keys: &'a [Vec<u8>],
        each: &'a mut Each<'_>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.keeps_rows()?;
            self.find_all(target, keys, each).await
        })
    }

    /// An array is kept as JSON, which has no lower bounds.
    fn keep(&self, column: &Column, value: Value<'_>, out: &mut Vec<u8>) -> Result<()> {
        let mut text = String::new();
        match value {
            Value::Array(_) => {
                connector_api::json::put_json(&mut text, value)?;
                encode_list(out, column, &text);
            }
            Value::Float(number) if number.is_nan() => Value::Float(f64::NAN).encode(out),
            value => value.encode(out),
        }
        Ok(())
    }

    fn held<'a>(&'a mut self, step: &'a Step, each: &'a mut EachHeld<'_>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut connection = self.open().await?;
            let mut held = Held { connection: &mut connection, options: &self.options, sink: &self.name };
            held.each(step, each).await
        })
    }

    fn left<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move {
            let mut connection = self.open().await?;
            let mut held = Held { connection: &mut connection, options: &self.options, sink: &self.name };
            held.left(step).await
        })
    }

    fn examine<'a>(&'a mut self, step: &'a Step) -> BoxFuture<'a, Result<Vec<Finding>>> {
        Box::pin(async move { Ok(examine(&self.options, step)) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn members_are_cut_outside_of_strings_and_brackets() {
        let text = r#"{"a":1,"b,\":":"x:,{","c":{"d":[1,2],"e":"}"},"f":null}"#;
        let members = object(&Reply::BulkString(text.as_bytes().to_vec()));
        let of = |name: &str| String::from_utf8(members[name].clone()).unwrap();
        assert_eq!(of("a"), "1");
        assert_eq!(of("b,\":"), r#""x:,{""#);
        assert_eq!(of("c"), r#"{"d":[1,2],"e":"}"}"#);
        assert_eq!(of("f"), "null");
        assert_eq!(members.len(), 4);
    }
}
