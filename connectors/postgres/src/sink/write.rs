//! Net effects on their way to the server: rows become arrays or COPY data, and statements of one volley.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;

use connector_api::{Error, Result, Row, Target, Value};
use connector_sql::gather::cells;
use connector_sql::{Absent, Step, Work};

use super::form::List;
use super::plan::{Bound, Copying, Plan};
use super::session::Session;
use super::sql::{Param, Verb};
use super::statements::Statement;

/// Rows of one statement: more cost the server nothing less, and fewer let it begin earlier.
const ROWS_MAX: usize = 1_000;
/// Bytes of one statement's arrays.
const BYTES_MAX: usize = 1 << 20;
/// Fewer new rows than this are inserted by a statement: a COPY costs more to begin.
const COPY_ROWS_MIN: usize = 50;
/// Bytes of one message of a COPY.
const COPY_BYTES: usize = 16 << 10;

/// A statement of a volley.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Begins or ends something.
    Control,
    /// A COPY for a plan.
    Copy(usize),
    /// A statement of a plan.
    Done(usize, Verb),
    /// All rows of a plan's table.
    Truncate(usize),
}

impl Sent {
    /// The plan it belongs to.
    pub(super) fn plan(self) -> Option<usize> {
        match self {
            Sent::Control => None,
            Sent::Copy(at) | Sent::Done(at, _) | Sent::Truncate(at) => Some(at),
        }
    }
}

/// Writes one volley.
pub(super) struct Writer<'a> {
    pub(super) session: &'a mut Session,
    pub(super) sent: Vec<Sent>,
    /// Memory for arrays, used again.
    pub(super) lists: &'a mut Vec<List>,
}

impl Writer<'_> {
    /// Adds a statement that begins or ends something.
    pub(super) fn control(&mut self, statement: &Statement) -> Result<()> {
        self.sent.push(Sent::Control);
        self.session.run(statement)
    }

    /// Adds what a step does. `careful` is for one row: no COPY.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] for a value that has no form in the target; others when the connection is lost.
    pub(super) async fn step(
        &mut self,
        plan: &mut Plan,
        at: usize,
        step: &Step<'_>,
        careful: bool,
    ) -> Result<()> {
        match &step.work {
            Work::Upsert { rows, fresh: true } if !careful && rows.len() >= COPY_ROWS_MIN => {
                match plan.copying().cloned() {
                    Some(copying) => self.copy(&copying, plan, at, rows).await,
                    None => self.upsert(plan, at, rows, true).await,
                }
            }
            Work::Insert { rows } if !careful && rows.len() >= COPY_ROWS_MIN => match plan.copying().cloned()
            {
                Some(copying) => self.copy(&copying, plan, at, rows).await,
                None => self.rows(plan, at, Verb::Insert, &[], rows, &[]).await,
            },
            Work::Upsert { rows, fresh } => {
                let there = !fresh || plan.is_conflicted();
                self.upsert(plan, at, rows, there).await
            }
            Work::Insert { rows } => self.rows(plan, at, Verb::Insert, &[], rows, &[]).await,
            Work::Update { columns, rows } => {
                if !columns.is_empty() {
                    self.rows(plan, at, Verb::Update, columns, rows, &[]).await?;
                }
                self.rows(plan, at, Verb::Fill, columns, rows, &[]).await
            }
            Work::Mark { columns, rows } => self.rows(plan, at, Verb::Update, columns, rows, &[]).await,
            Work::MarkAll { columns, row } => self.rows(plan, at, Verb::MarkAll, columns, &[*row], &[]).await,
            Work::Delete { keys } => self.rows(plan, at, Verb::Delete, &[], &[], keys).await,
            Work::Move { old, columns, row } => {
                let whole = columns.as_slice() == plan.rest();
                self.rows(plan, at, Verb::Vacate, &[], &[*row], &[*old]).await?;
                self.rows(plan, at, Verb::Move(whole), columns, &[*row], &[*old]).await
            }
            Work::Truncate => {
                self.sent.push(Sent::Truncate(at));
                self.session.run(plan.truncate())
            }
            Work::ReplaceRow { old, columns, row, absent } => {
                self.rows(plan, at, Verb::Replace(*absent), columns, &[*row], &[*old]).await
            }
            Work::DeleteRow { old } => self.rows(plan, at, Verb::DeleteRow, &[], &[], &[*old]).await,
        }
    }

    async fn upsert(&mut self, plan: &mut Plan, at: usize, rows: &[Row<'_>], there: bool) -> Result<()> {
        let bound = plan.upsert(there);
        self.bound(&bound, plan, Sent::Done(at, Verb::Upsert), rows, &[]).await
    }

    async fn rows(
        &mut self,
        plan: &mut Plan,
        at: usize,
        verb: Verb,
        columns: &[usize],
        new: &[Row<'_>],
        old: &[Row<'_>],
    ) -> Result<()> {
        let bound = plan.bound(verb, columns);
        self.bound(&bound, plan, Sent::Done(at, verb), new, old).await
    }

    /// Adds a statement for each so many rows.
    async fn bound(
        &mut self,
        bound: &Arc<Bound>,
        plan: &Plan,
        sent: Sent,
        new: &[Row<'_>],
        old: &[Row<'_>],
    ) -> Result<()> {
        let count = new.len().max(old.len());
        let most = match sent {
            Sent::Done(_, Verb::Update | Verb::Fill) => plan.updates_max().min(ROWS_MAX),
            _ => ROWS_MAX,
        };
        let mut filler = Filler::default();
        let mut from = 0;
        while from < count {
            self.lists.iter_mut().for_each(List::clear);
            if self.lists.len() < bound.params.len() {
                self.lists.resize_with(bound.params.len(), List::default);
            }
            let mut to = from;
            while to < count
                && to - from < most
                && self.lists.iter().map(List::len).sum::<usize>() < BYTES_MAX
            {
                filler.row(bound, &plan.target, new.get(to), old.get(to), self.lists)?;
                to += 1;
            }
            let lists = &*self.lists;
            self.session.execute(&bound.statement, |out| {
                bound.params.iter().zip(lists).try_for_each(|(param, list)| list.put(out, param.element))
            })?;
            self.sent.push(sent);
            if self.session.is_full() {
                self.session.write().await?;
            }
            from = to;
        }
        Ok(())
    }

    /// Adds a COPY. The server takes the rows in while the next ones are made.
    async fn copy(&mut self, copying: &Copying, plan: &Plan, at: usize, rows: &[Row<'_>]) -> Result<()> {
        self.session.run(&copying.statement)?;
        self.sent.push(Sent::Copy(at));
        let copied = self.copy_rows(copying, plan, rows).await;
        self.session.end_copy(copied.is_ok())?;
        copied
    }

    async fn copy_rows(&mut self, copying: &Copying, plan: &Plan, rows: &[Row<'_>]) -> Result<()> {
        let mut rows = rows.iter().peekable();
        let mut values = Vec::new();
        let count =
            i16::try_from(copying.forms.len()).map_err(|_| Error::data("write row: too many columns"))?;
        let mut first = true;
        while rows.peek().is_some() || first {
            self.session.copy_data(|out| {
                let start = out.len();
                if first {
                    // Signature, flags, length of the extension: none.
                    out.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
                }
                while out.len() - start < COPY_BYTES {
                    let Some(row) = rows.next() else {
                        out.extend_from_slice(&(-1i16).to_be_bytes());
                        return Ok(());
                    };
                    cells(*row, &plan.target, &mut values)?;
                    out.extend_from_slice(&count.to_be_bytes());
                    for (form, value) in copying.forms.iter().zip(&values) {
                        form.put(out, *value)?;
                    }
                }
                Ok(())
            })?;
            first = false;
            if self.session.is_full() {
                self.session.write().await?;
            }
        }
        Ok(())
    }
}

/// Takes rows apart; its memory is used again for the next one.
#[derive(Default)]
struct Filler<'g> {
    new: Vec<Value<'g>>,
    old: Vec<Value<'g>>,
}

impl<'g> Filler<'g> {
    #[inline]
    fn row(
        &mut self,
        bound: &Bound,
        target: &Target,
        new: Option<&Row<'g>>,
        old: Option<&Row<'g>>,
        lists: &mut [List],
    ) -> Result<()> {
        if let Some(row) = new.filter(|_| bound.new) {
            cells(*row, target, &mut self.new)?;
        }
        if let Some(row) = old.filter(|_| bound.old) {
            match target.key.is_empty() {
                true => cells(*row, target, &mut self.old)?,
                false => {
                    self.old.clear();
                    for value in row.values() {
                        self.old.push(value?);
                    }
                }
            }
        }
        for (param, list) in bound.params.iter().zip(lists) {
            let value = match param.from {
                Param::New(at) => self.new.get(at),
                Param::OldKey(at) | Param::OldRow(at) => self.old.get(at),
            };
            let value = *value.ok_or_else(short)?;
            if param.key && matches!(value, Value::Null) {
                return Err(Error::data("write row: a column of the key is NULL"));
            }
            list.push(&param.form, value)?;
        }
        Ok(())
    }
}

#[cold]
fn short() -> Error {
    Error::corrupt("write row: fewer values than its schema has columns")
}

/// What a row lacks that a statement did not find: why it had no effect.
pub(super) fn absent(sent: Sent, rows: u64) -> Option<Error> {
    match sent {
        Sent::Done(_, Verb::Replace(Absent::Refuse)) if rows == 0 => Some(Error::data(
            "the update leaves values out (unchanged large values), and no row equals its old row",
        )),
        _ => None,
    }
}
