//! Rows that a rule selects, computes, gives another key or marks: written anew into a scratch buffer, in the target's own
//! shape.
//!
//! What a change becomes:
//!
//! | the row | before it did not match | it matched, or nobody knows |
//! | --- | --- | --- |
//! | matches now | comes in: an insert of the whole row | stays: an update |
//! | does not match | nothing | leaves: a delete of the old key, or its marks |
//!
//! Every change is worked out from its own record alone, so that a restart between any two changes nothing.

use std::sync::Arc;

use connector_api::reader::put_varint;
use connector_api::record::{Attributes, Record};
use connector_api::{Before, Change, Error, Incoming, Op, Result, Schema, Sink, Target, Value, ValueKind};

use super::image::{Images, Room};
use super::{Captured, whole_old_rows};
use crate::expression::{Datum, Expression, Failure, cast};
use crate::pipeline::mapping::Mark;
use crate::pipeline::mapping::fit::{From, Output, Plan};

/// Bits of a change's images; see [`connector_api::Change`].
const OLD_KEY: u8 = 1;
const OLD_ROW: u8 = 2;
const NEW_ROW: u8 = 4;

/// Writes the rows of one topic in one shape for one table.
#[derive(Debug)]
pub(super) struct Reshape {
    plan: Plan,
    ignores_deletes: bool,
    schema: Arc<Schema>,
    /// For each column of the target's key, its output.
    key: Vec<usize>,
    scratch: Vec<u8>,
    old: Room,
    new: Room,
    /// Partition and offset of the last record; and of the last update that changed the source's key.
    last: Option<(u32, u64)>,
    moved: Option<(u32, u64)>,
}

/// What could not be worked out.
enum Trouble {
    /// A value of a row; which part of the rule wanted it.
    Row(Failure, Part),
    /// Anything else.
    Other(Error),
}

/// A part of a rule.
#[derive(Debug, Clone, Copy)]
enum Part {
    Condition,
    Output(usize),
    Key(usize),
}

impl std::convert::From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Other(error)
    }
}

type Worked<T> = Result<T, Trouble>;

impl Reshape {
    pub(super) fn new(plan: Plan, ignores_deletes: bool, schema: &Arc<Schema>, target: &Target) -> Self {
        Reshape {
            plan,
            ignores_deletes,
            schema: schema.clone(),
            key: target.key.clone(),
            scratch: Vec::new(),
            old: Room::default(),
            new: Room::default(),
            last: None,
            moved: None,
        }
    }

    /// Whether rows are found in the target only by whole old rows of the source.
    pub(super) fn needs_old_rows(&self) -> bool {
        self.plan.rekeyed && !self.plan.key_from_key
    }

    pub(super) fn apply(
        &mut self,
        captured: &Captured<'_>,
        target: &Arc<Target>,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let place = (captured.topic.partition, captured.change.record.offset);
        let applied = match captured.change.op {
            Op::Truncate => self.truncate(captured, target, sink),
            Op::Delete if self.is_second_half(captured) => Ok(()),
            Op::Delete if self.lacks_its_old_row(captured) => Err(Trouble::Other(self.lacking())),
            _ => self.row(captured, target, sink),
        };
        self.last = Some(place);
        applied.map_err(|trouble| self.told(captured, trouble))
    }

    /// The tombstone after an update that changed the key: that update did all that there was to do.
    fn is_second_half(&self, captured: &Captured<'_>) -> bool {
        let record = &captured.change.record;
        let before = record.offset.checked_sub(1).map(|offset| (captured.topic.partition, offset));
        let follows = before.is_some() && self.moved == before;
        // Compaction took the record before it away, and with it the row that this is about.
        let gap = self.last.is_some() && self.last != before;
        record.is_null() && (captured.change.follows_move() || follows || (gap && self.needs_old_rows()))
    }

    /// The target's key cannot be told from what the source sent.
    fn lacks_its_old_row(&self, captured: &Captured<'_>) -> bool {
        self.needs_old_rows() && !matches!(captured.change.before, Some(Before::Full(_)))
    }

    fn row(&mut self, captured: &Captured<'_>, target: &Arc<Target>, sink: &mut dyn Sink) -> Worked<()> {
        let (mut old, mut new) = (std::mem::take(&mut self.old), std::mem::take(&mut self.new));
        let images = Images::of(&captured.change, &mut old, &mut new)?;
        let done = self.decide(captured, &images, target, sink);
        images.give(&mut old, &mut new);
        (self.old, self.new) = (old, new);
        done
    }

    fn decide(
        &mut self,
        captured: &Captured<'_>,
        images: &Images<'_>,
        target: &Arc<Target>,
        sink: &mut dyn Sink,
    ) -> Worked<()> {
        if images.moved {
            self.moved = Some((captured.topic.partition, captured.change.record.offset));
        }
        let op = captured.change.op;
        let before = self.matched_before(images);
        if op == Op::Delete {
            return match before {
                Some(false) => Ok(()),
                _ if self.ignores_deletes => Ok(()),
                _ => self.leave(captured, &images.old, images.whole, target, sink),
            };
        }
        let now = self.matches(&images.new)?;
        match (op, now) {
            (Op::Update, true) if before == Some(false) => self.enter(captured, images, target, sink),
            (Op::Update, true) => self.stay(captured, images, target, sink),
            (_, true) => self.enter(captured, images, target, sink),
            (Op::Update, false) if before != Some(false) => {
                if self.lacks_its_old_row(captured) {
                    return Err(Trouble::Other(self.lacking()));
                }
                self.leave(captured, &images.old, images.whole, target, sink)
            }
            // A copy that is made again may find rows of the one before in the target.
            (Op::Read, false) if !self.key.is_empty() => {
                self.leave(captured, &images.new, false, target, sink)
            }
            (_, false) => Ok(()),
        }
    }

    fn matches(&self, row: &[Value<'_>]) -> Worked<bool> {
        match &self.plan.condition {
            None => Ok(true),
            Some(condition) => condition.holds(row).map_err(|failure| Trouble::Row(failure, Part::Condition)),
        }
    }

    /// `None`: it cannot be told from what the source sent.
    fn matched_before(&self, images: &Images<'_>) -> Option<bool> {
        match &self.plan.condition {
            None => Some(true),
            Some(_) if !images.whole => None,
            Some(condition) => condition.holds(&images.old).ok(),
        }
    }

    /// The target does not have the row, or a copy of it that this one replaces.
    fn enter(
        &mut self,
        captured: &Captured<'_>,
        images: &Images<'_>,
        target: &Arc<Target>,
        sink: &mut dyn Sink,
    ) -> Worked<()> {
        let op = if captured.change.op == Op::Update { Op::Insert } else { captured.change.op };
        self.begin(op, NEW_ROW);
        let partial = self.put_row(captured, &images.new, &[], false)?;
        self.finish(captured, Some(&images.new), partial, target, sink)
    }

    fn stay(
        &mut self,
        captured: &Captured<'_>,
        images: &Images<'_>,
        target: &Arc<Target>,
        sink: &mut dyn Sink,
    ) -> Worked<()> {
        if self.lacks_its_old_row(captured) {
            return Err(Trouble::Other(self.lacking()));
        }
        self.begin(Op::Update, NEW_ROW);
        self.put_before(captured, &images.old, images.whole, images.moved)?;
        let partial = self.put_row(captured, &images.new, &images.left_out, false)?;
        self.finish(captured, Some(&images.new), partial, target, sink)
    }

    /// The row leaves the target, or is marked there.
    fn leave(
        &mut self,
        captured: &Captured<'_>,
        row: &[Value<'_>],
        whole: bool,
        target: &Arc<Target>,
        sink: &mut dyn Sink,
    ) -> Worked<()> {
        self.begin(Op::Delete, if self.plan.soft { NEW_ROW } else { 0 });
        // Never a plain tombstone: a sink could take that for the second half of a key change.
        self.put_before(captured, row, whole, true)?;
        let partial = self.plan.soft;
        if partial {
            self.put_marks(captured)?;
        }
        self.finish(captured, Some(row), partial, target, sink)
    }

    fn truncate(&mut self, captured: &Captured<'_>, target: &Arc<Target>, sink: &mut dyn Sink) -> Worked<()> {
        if self.ignores_deletes {
            return Ok(());
        }
        self.begin(Op::Truncate, if self.plan.soft { NEW_ROW } else { 0 });
        let partial = self.plan.soft;
        if partial {
            self.put_marks(captured)?;
        }
        self.finish(captured, None, partial, target, sink)
    }

    /// Starts the value of a record: operation and images.
    fn begin(&mut self, op: Op, images: u8) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&[op as u8, images]);
    }

    /// The old row: all of it where the source sent it and expressions allow, else its key, if that is asked for.
    fn put_before(
        &mut self,
        captured: &Captured<'_>,
        old: &[Value<'_>],
        whole: bool,
        keyed: bool,
    ) -> Worked<()> {
        let start = self.scratch.len();
        if whole {
            self.scratch.extend_from_slice(&[0; 4]);
            match self.put_row(captured, old, &[], true) {
                Ok(false) => return self.end_before(start, OLD_ROW),
                Ok(true) => self.scratch.truncate(start),
                Err(trouble) if self.key.is_empty() => return Err(trouble),
                // An expression that the old row does not allow: the key must do.
                Err(_) => self.scratch.truncate(start),
            }
        }
        if self.key.is_empty() || !(keyed || whole || self.plan.rekeyed) {
            return Ok(());
        }
        self.scratch.extend_from_slice(&[0; 4]);
        self.put_key(captured, old)?;
        self.end_before(start, OLD_KEY)
    }

    fn end_before(&mut self, start: usize, image: u8) -> Worked<()> {
        let length = (self.scratch.len() - start - 4) as u32;
        self.scratch[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.scratch[1] |= image;
        Ok(())
    }

    /// All columns of the target, for a row that it has. True when some stay as they are there. `left_out` says which values
    /// of the source the target keeps.
    fn put_row(
        &mut self,
        captured: &Captured<'_>,
        row: &[Value<'_>],
        left_out: &[bool],
        old: bool,
    ) -> Worked<bool> {
        let Reshape { plan, scratch, .. } = self;
        put_varint(scratch, plan.outputs.len() as u64);
        let mut partial = false;
        for (at, output) in plan.outputs.iter().enumerate() {
            let kept = |column: &usize| left_out.get(*column) == Some(&true);
            let unknown = |column: &usize| row.get(*column).is_none_or(Value::is_unchanged);
            let unchanged = match &output.from {
                From::Column(column) => kept(column) || unknown(column),
                From::Expression(expression) => {
                    let columns = expression.columns();
                    // Of values that did not change, the result did not either.
                    !columns.is_empty() && (columns.iter().all(kept) || (!old && columns.iter().all(unknown)))
                }
                From::Mark(_) => false,
            };
            if unchanged {
                partial = true;
                Value::Unchanged.encode(scratch);
                continue;
            }
            put(scratch, output, row, captured).map_err(|failure| Trouble::Row(failure, Part::Output(at)))?;
        }
        Ok(partial)
    }

    /// What a deleted row has: marks, and nothing else changes.
    fn put_marks(&mut self, captured: &Captured<'_>) -> Worked<()> {
        let Reshape { plan, scratch, .. } = self;
        put_varint(scratch, plan.outputs.len() as u64);
        for (at, output) in plan.outputs.iter().enumerate() {
            match &output.dead {
                None => Value::Unchanged.encode(scratch),
                Some(mark) => put_mark(scratch, mark, output.kind, captured)
                    .map_err(|failure| Trouble::Row(failure, Part::Output(at)))?,
            }
        }
        Ok(())
    }

    /// The key of a row in the target.
    fn put_key(&mut self, captured: &Captured<'_>, row: &[Value<'_>]) -> Worked<()> {
        let Reshape { plan, scratch, key, .. } = self;
        put_varint(scratch, key.len() as u64);
        for at in key.iter() {
            let Some(output) = plan.outputs.get(*at) else { continue };
            let start = scratch.len();
            put(scratch, output, row, captured).map_err(|failure| Trouble::Row(failure, Part::Key(*at)))?;
            if plan.rekeyed && scratch.get(start) == Some(&0) {
                return Err(Trouble::Row(Failure::Bad("null, which no key may be"), Part::Key(*at)));
            }
        }
        Ok(())
    }

    /// Puts the key behind the value, and hands the record to the sink.
    fn finish(
        &mut self,
        captured: &Captured<'_>,
        row: Option<&[Value<'_>]>,
        partial: bool,
        target: &Arc<Target>,
        sink: &mut dyn Sink,
    ) -> Worked<()> {
        let value = self.scratch.len();
        let keyed = !self.key.is_empty() && row.is_some();
        if let Some(row) = row.filter(|_| keyed) {
            self.put_key(captured, row)?;
        }
        let op = self.scratch.first().copied().unwrap_or_default();
        let mut bits = if keyed { Attributes::KEY } else { 0 };
        bits |= if partial { Attributes::PARTIAL } else { 0 };
        bits |= if op == Op::Truncate as u8 { Attributes::CLEAR } else { 0 };
        bits |= if op == Op::Delete as u8 && keyed && !self.plan.soft { Attributes::TOMBSTONE } else { 0 };
        let (value, key) = self.scratch.split_at(value);
        let source = &captured.change.record;
        let record = Record {
            offset: source.offset,
            order: source.order,
            attributes: Attributes(bits),
            headers: &[],
            value,
            key: keyed.then_some(key),
        };
        let change = Change::decode(record, &target.schema)?;
        let Captured { topic, transaction, .. } = *captured;
        sink.apply(&Incoming { topic, transaction, change, target })?;
        Ok(())
    }

    #[cold]
    fn told(&self, captured: &Captured<'_>, trouble: Trouble) -> Error {
        let (failure, part) = match trouble {
            Trouble::Other(error) => return error,
            Trouble::Row(failure, part) => (failure, part),
        };
        let name = |at: usize| self.plan.outputs.get(at).map_or("", |output| output.name.as_str());
        let what = match part {
            Part::Condition => "where".to_owned(),
            Part::Output(at) => format!("column {:?}", name(at)),
            Part::Key(at) => format!("key column {:?}", name(at)),
        };
        let topic = &captured.topic.topic;
        match failure {
            Failure::Bad(why) => Error::data(format!("map {topic}: {what}: {why}")),
            Failure::Unknown(column) => {
                let column = self.schema.columns.get(column).map_or("", |column| column.name.as_str());
                Error::data(format!(
                    "map {topic}: {what} needs column {column:?}, a large value that did not change and that the source did not send"
                ))
                .with_remedy(format!("{} or leave column {column:?} out of the rule", whole_old_rows(&self.schema)))
            }
        }
    }

    #[cold]
    fn lacking(&self) -> Error {
        let names: Vec<_> = self
            .key
            .iter()
            .filter_map(|at| self.plan.outputs.get(*at))
            .map(|output| output.name.as_str())
            .collect();
        let Schema { namespace, table, .. } = &*self.schema;
        Error::config(format!(
            "map {namespace}.{table}: the key ({}) is not made of the source's key, and the source sends too little of old rows to find the row in the target",
            names.join(", ")
        ))
        .with_remedy(whole_old_rows(&self.schema))
    }
}

/// Appends the value of one column.
#[inline]
fn put(
    out: &mut Vec<u8>,
    output: &Output,
    row: &[Value<'_>],
    captured: &Captured<'_>,
) -> Result<(), Failure> {
    match &output.from {
        From::Column(column) => match row.get(*column) {
            None | Some(Value::Unchanged) => Err(Failure::Unknown(*column)),
            Some(value) => {
                value.encode(out);
                Ok(())
            }
        },
        From::Expression(expression) => put_expression(out, expression, row, output.kind),
        From::Mark(mark) => put_mark(out, mark, output.kind, captured),
    }
}

fn put_expression(
    out: &mut Vec<u8>,
    expression: &Expression,
    row: &[Value<'_>],
    kind: ValueKind,
) -> Result<(), Failure> {
    // Nothing but a column: as it is, JSON as it was written.
    if let Some(value) = expression.column().and_then(|at| row.get(at))
        && value.kind() == Some(kind)
    {
        value.encode(out);
        return Ok(());
    }
    put_datum(out, expression.run(row)?, kind)
}

fn put_mark(out: &mut Vec<u8>, mark: &Mark, kind: ValueKind, captured: &Captured<'_>) -> Result<(), Failure> {
    let datum = mark.datum(captured.transaction.timestamp_us);
    put_datum(out, datum.ok_or(Failure::Bad("a commit time beyond all times"))?, kind)
}

fn put_datum(out: &mut Vec<u8>, datum: Datum<'_>, kind: ValueKind) -> Result<(), Failure> {
    let datum = cast(datum, kind)?;
    match (&datum, kind) {
        (Datum::Text(text), ValueKind::Json) => Value::Json(text).encode(out),
        (datum, _) => datum.value().encode(out),
    }
    Ok(())
}
