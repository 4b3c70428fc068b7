//! What each change becomes: commands that are queued in the open transaction.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::json::{put_json, put_text};
use connector_api::{Change, Error, Incoming, Op, Result, Row, Target, Value};
use redis::Pipeline;

use crate::options::{Form, Mode, Options};
use crate::plan::Plan;
use crate::script::Scripts;
use crate::session::Written;

/// Puts commands for changes into a pipeline.
#[derive(Debug)]
pub struct Commands<'s> {
    /// What the sink is to make of changes.
    pub options: &'s Options,
    /// The scripts that the server has.
    pub scripts: &'s Scripts,
    /// The key of the cursor, which no truncate may touch.
    pub cursor: &'s str,
    /// Where the commands go.
    pub pipeline: &'s mut Pipeline,
    /// Where the rows are remembered that are written, for an erasure behind them.
    pub written: &'s mut Written,
}

impl Commands<'_> {
    /// Adds the commands for one change. On an error it adds none.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] when the row has no key; [`connector_api::Kind::Corrupt`] when it does not decode.
    pub fn put(&mut self, plan: &Plan, incoming: &Incoming<'_>) -> Result<()> {
        match self.options.mode {
            Mode::Rows => self.row(plan, &incoming.change),
            Mode::Stream => self.entry(plan, incoming),
            Mode::Invalidate => self.invalidate(plan, &incoming.change),
        }
    }

    fn row(&mut self, plan: &Plan, change: &Change<'_>) -> Result<()> {
        let scripts = self.scripts;
        let ttl = self.options.ttl.map_or(0, |ttl| ttl.0);
        match (change.op, change.after) {
            (Op::Truncate, None) => self.every(plan, &scripts.clear, &[]),
            (Op::Truncate, Some(row)) => {
                let fields = self.fields(plan, row)?;
                self.written.unknown = true;
                self.every(plan, &scripts.set_every, &fields.list);
            }
            (Op::Delete, None) => {
                let name = plan.name.of(&key(change)?)?;
                self.pipeline.cmd("UNLINK").arg(name);
            }
            (Op::Delete, Some(row)) => {
                let (name, fields) = (plan.name.of(&key(change)?)?, self.fields(plan, row)?);
                self.set(&name, false, 0, &fields);
            }
            (Op::Insert | Op::Update | Op::Read, Some(row)) => {
                let (name, fields) = (plan.name.of(&key(change)?)?, self.fields(plan, row)?);
                let old = change.old_key()?.map(|old| plan.name.of(&old)).transpose()?;
                match (&old, fields.whole) {
                    (Some(old), false) => {
                        self.pipeline.cmd("EVALSHA").arg(&self.scripts.rename).arg(2).arg(old).arg(&name);
                    }
                    (Some(old), true) => {
                        self.pipeline.cmd("UNLINK").arg(old);
                    }
                    (None, _) => {}
                }
                match fields.whole {
                    true => self.replace(&name, ttl, &fields),
                    false => self.set(&name, true, ttl, &fields),
                }
            }
            (Op::Insert | Op::Update | Op::Read, None) => return Err(lacks(change, "its new row")),
        }
        Ok(())
    }

    /// Writes a whole row, whatever stood there.
    fn replace(&mut self, name: &str, ttl: u64, fields: &Fields) {
        self.remember(name);
        match self.options.value {
            Form::Hash => {
                self.pipeline.cmd("UNLINK").arg(name);
                let command = self.pipeline.cmd("HSET").arg(name);
                for [mark, field, value] in &fields.list {
                    if mark == b"+" {
                        command.arg(field.as_slice()).arg(value.as_slice());
                    }
                }
                if ttl > 0 {
                    self.pipeline.cmd("PEXPIRE").arg(name).arg(ttl);
                }
            }
            Form::Json => {
                let command = self.pipeline.cmd("SET").arg(name).arg(fields.object());
                if ttl > 0 {
                    command.arg("PX").arg(ttl);
                }
            }
        }
    }

    fn remember(&mut self, name: &str) {
        if self.options.erases {
            self.written.add(name);
        }
    }

    fn set(&mut self, name: &str, make: bool, ttl: u64, fields: &Fields) {
        self.remember(name);
        let command = self.pipeline.cmd("EVALSHA").arg(&self.scripts.set).arg(1).arg(name);
        command.arg(u8::from(make)).arg(ttl);
        fields.list.iter().flatten().for_each(|part| {
            command.arg(part.as_slice());
        });
    }

    fn every(&mut self, plan: &Plan, script: &str, fields: &[[Vec<u8>; 3]]) {
        let command = self.pipeline.cmd("EVALSHA").arg(script).arg(0);
        command.arg(plan.name.glob()).arg(plan.name.pattern()).arg(self.cursor);
        fields.iter().flatten().for_each(|part| {
            command.arg(part.as_slice());
        });
    }

    fn fields(&self, plan: &Plan, row: Row<'_>) -> Result<Fields> {
        let values = row.to_vec()?;
        let mut fields = Fields { list: Vec::with_capacity(plan.fields.len()), whole: true };
        for (at, field) in plan.fields.iter().enumerate() {
            let value = value_at(&plan.target, &values, at)?;
            if value.is_unchanged() {
                fields.whole = false;
                continue;
            }
            let mark = if value == Value::Null && self.options.value == Form::Hash { b"-" } else { b"+" };
            fields.list.push([mark.to_vec(), field.as_bytes().to_vec(), self.bytes(value)?]);
        }
        Ok(fields)
    }

    fn bytes(&self, value: Value<'_>) -> Result<Vec<u8>> {
        let mut text = String::new();
        match (self.options.value, value) {
            (Form::Hash, Value::Bytes(bytes)) => return Ok(bytes.to_vec()),
            (Form::Hash, value) => put_text(&mut text, value)?,
            (Form::Json, value) => put_json(&mut text, value)?,
        }
        Ok(text.into_bytes())
    }

    /// An entry of the stream: `op`, `key` and `row` as JSON, and where it comes from.
    fn entry(&mut self, plan: &Plan, incoming: &Incoming<'_>) -> Result<()> {
        let change = &incoming.change;
        let row = change.after.map(|row| object(plan, &row.to_vec()?)).transpose()?;
        let key = change.key().map(|key| key_object(plan, &key.to_vec()?)).transpose()?;
        let old = change.old_key()?.map(|old| key_object(plan, &old)).transpose()?;
        let command = self.pipeline.cmd("XADD").arg(&plan.stream);
        if let Some(most) = self.options.max_length {
            command.arg("MAXLEN").arg("~").arg(most);
        }
        command.arg("*").arg("op").arg(change.op.letter());
        for (name, value) in [("key", key), ("old_key", old), ("row", row)] {
            if let Some(value) = value {
                command.arg(name).arg(value);
            }
        }
        command.arg("topic").arg(incoming.topic.to_string()).arg("offset").arg(change.record.offset);
        command.arg("time_us").arg(incoming.transaction.timestamp_us);
        Ok(())
    }

    /// What an initial copy reads did not change: nothing is stale.
    fn invalidate(&mut self, plan: &Plan, change: &Change<'_>) -> Result<()> {
        if change.op == Op::Read {
            return Ok(());
        }
        if change.op == Op::Truncate {
            let scripts = self.scripts;
            self.every(plan, &scripts.clear, &[]);
            self.publish(&plan.name.glob());
            return Ok(());
        }
        let name = plan.name.of(&key(change)?)?;
        let old = change.old_key()?.map(|old| plan.name.of(&old)).transpose()?;
        for name in [Some(name), old].into_iter().flatten() {
            self.pipeline.cmd("UNLINK").arg(&name);
            self.publish(&name);
        }
        Ok(())
    }

    fn publish(&mut self, message: &str) {
        if let Some(channel) = &self.options.publish {
            self.pipeline.cmd("PUBLISH").arg(channel).arg(message);
        }
    }
}

/// The fields of a row that a change holds: mark, name, value.
struct Fields {
    list: Vec<[Vec<u8>; 3]>,
    /// None was left out.
    whole: bool,
}

impl Fields {
    fn object(&self) -> Vec<u8> {
        let mut out = b"{".to_vec();
        for (at, [_, name, value]) in self.list.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        out
    }
}

fn key<'a>(change: &Change<'a>) -> Result<Vec<Value<'a>>> {
    change.key().ok_or_else(|| lacks(change, "its key"))?.to_vec()
}

fn value_at<'v>(target: &Target, values: &[Value<'v>], at: usize) -> Result<Value<'v>> {
    let source = target.columns.get(at).map(|(source, _)| *source);
    let value = source.and_then(|source| values.get(source)).copied();
    value.ok_or_else(|| Error::corrupt("apply change: fewer values than its schema has columns"))
}

fn object(plan: &Plan, values: &[Value<'_>]) -> Result<String> {
    let mut members = Vec::new();
    for (at, field) in plan.fields.iter().enumerate() {
        members.push((field.as_str(), value_at(&plan.target, values, at)?));
    }
    json(members.into_iter())
}

fn key_object(plan: &Plan, values: &[Value<'_>]) -> Result<String> {
    let names = plan.target.key.iter().filter_map(|at| plan.fields.get(*at));
    json(names.map(String::as_str).zip(values.iter().copied()))
}

fn json<'m>(members: impl Iterator<Item = (&'m str, Value<'m>)>) -> Result<String> {
    let mut out = "{".to_owned();
    for (name, value) in members.filter(|(_, value)| !value.is_unchanged()) {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(name);
        out.push(':');
        put_json(&mut out, value)?;
    }
    out.push('}');
    Ok(out)
}

#[cold]
fn lacks(change: &Change<'_>, what: &str) -> Error {
    Error::corrupt(format!("the change at offset {} lacks {what}", change.record.offset))
}
