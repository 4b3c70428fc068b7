//! What each operation does to a target table, one statement for nearly every change.

use connector_api::{Before, Change, Error, Kind, Op, Result, Row, Value};

use crate::bind;
use crate::error::{Failure, from_rusqlite};
use crate::sql::{Shape, ShapeColumn};
use crate::statement::{Database, StatementId};

/// Applies the changes of one topic in one shape. A change that fails had no effect.
#[derive(Debug)]
pub struct Applier {
    table: String,
    shape: Shape,
    upsert: Option<StatementId>,
    insert: Option<StatementId>,
    delete: Option<StatementId>,
    vacate: Option<StatementId>,
    delete_row: Option<StatementId>,
    truncate: Option<StatementId>,
    slots: Slots,
    /// Offset of the last update that moved a row to another key.
    moved: Option<u64>,
    told_partial: bool,
}

/// Statements that set some columns and leave the others alone.
#[derive(Debug, Default)]
pub struct Variant {
    /// For each source column, whether its value is left out; empty for rows with all their values.
    pub unchanged: Vec<bool>,
    /// The columns outside the key that are set.
    pub kept: Vec<ShapeColumn>,
    update: Option<StatementId>,
    relocate: Option<StatementId>,
    fill: Option<StatementId>,
    update_row: Option<StatementId>,
    mark_all: Option<StatementId>,
}

/// Memory for values that SQLite wants as text.
#[derive(Debug)]
struct Slots {
    row: Vec<String>,
    old_row: Vec<String>,
    key: Vec<String>,
    old_key: Vec<String>,
}

impl Applier {
    /// For the table of `shape`, named `table`.
    pub fn new(table: String, shape: Shape) -> Self {
        let (columns, keys) = (shape.columns.len(), shape.key.len());
        let slots = |count| vec![String::new(); count];
        Applier {
            table,
            shape,
            upsert: None,
            insert: None,
            delete: None,
            vacate: None,
            delete_row: None,
            truncate: None,
            slots: Slots {
                row: slots(columns),
                old_row: slots(columns),
                key: slots(keys),
                old_key: slots(keys),
            },
            moved: None,
            told_partial: false,
        }
    }

    /// The statements for rows in which the values marked in `unchanged` are left out.
    pub fn variant(&self, unchanged: Vec<bool>) -> Variant {
        let kept = |column: &&ShapeColumn| !column.key && unchanged.get(column.source) != Some(&true);
        let kept = self.shape.columns.iter().filter(kept).cloned().collect();
        Variant { unchanged, kept, ..Variant::default() }
    }

    /// Gives the statements back.
    pub fn retire(self, database: &mut Database) {
        let own = [self.upsert, self.insert, self.delete, self.vacate, self.delete_row, self.truncate];
        own.into_iter().flatten().for_each(|id| database.finalize(id));
    }

    /// Insert, update or snapshot read.
    #[inline]
    pub fn write(
        &mut self,
        database: &mut Database,
        change: &Change<'_>,
        variant: &mut Variant,
        notices: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let after = self.after(change)?;
        let whole = variant.unchanged.is_empty();
        if self.shape.key.is_empty() {
            return match change.op {
                Op::Update => self.update_row(database, change, after, variant),
                _ => self.insert(database, after),
            };
        }
        let changed = match change.op {
            Op::Update => match change.old_key()? {
                Some(old) => match self.relocate(database, change, after, variant, &old)? {
                    // Moved before (a dead letter that is applied again): its values still count.
                    0 if !whole => self.update(database, change, after, variant)?,
                    changed => changed,
                },
                None => self.update(database, change, after, variant)?,
            },
            _ if whole => 0,
            _ => self.update(database, change, after, variant)?,
        };
        match changed {
            0 if whole => self.upsert(database, after),
            0 => self.fill(database, change, after, variant, notices),
            _ => Ok(()),
        }
    }

    #[inline]
    fn upsert(&mut self, database: &mut Database, after: Row<'_>) -> Result<(), Failure> {
        let Applier { shape, upsert, slots, .. } = self;
        let id = prepared(upsert, database, || shape.upsert())?;
        let slots = &mut slots.row[..];
        database.execute(id, move |binder| bind::row(binder, after, shape.columns.iter(), slots)).map(drop)
    }

    /// For a topic without a key.
    fn insert(&mut self, database: &mut Database, after: Row<'_>) -> Result<(), Failure> {
        let Applier { shape, insert, slots, .. } = self;
        let id = prepared(insert, database, || shape.insert())?;
        let slots = &mut slots.row[..];
        database.execute(id, move |binder| bind::row(binder, after, shape.columns.iter(), slots)).map(drop)
    }

    /// Sets the columns that the change holds; 0 when the row is not there.
    #[inline]
    fn update(
        &mut self,
        database: &mut Database,
        change: &Change<'_>,
        after: Row<'_>,
        variant: &mut Variant,
    ) -> Result<u64, Failure> {
        let key = change.key().ok_or_else(|| self.lacks(change, "its key"))?;
        let Applier { shape, slots, .. } = self;
        let Variant { update, kept, .. } = variant;
        if kept.is_empty() {
            return Ok(0);
        }
        let id = prepared(update, database, || shape.update(&names(kept)))?;
        database.execute(id, move |binder| {
            bind::row(binder, after, kept.iter(), &mut slots.row)?;
            bind::key(binder, key, &mut slots.key)
        })
    }

    /// Moves a row to its new key; 0 when it is not there.
    fn relocate(
        &mut self,
        database: &mut Database,
        change: &Change<'_>,
        after: Row<'_>,
        variant: &mut Variant,
        old: &[Value<'_>],
    ) -> Result<u64, Failure> {
        let key = change.key().ok_or_else(|| self.lacks(change, "its key"))?;
        let changed = match self.relocate_once(database, key, after, variant, old) {
            Err(Failure::Sqlite(code, message)) if code.is_constraint() => {
                let failure = Failure::Sqlite(code, message);
                self.relocate_over(database, key, after, variant, old, failure)?
            }
            other => other?,
        };
        self.moved = Some(change.record.offset);
        Ok(changed)
    }

    fn relocate_once(
        &mut self,
        database: &mut Database,
        key: Row<'_>,
        after: Row<'_>,
        variant: &mut Variant,
        old: &[Value<'_>],
    ) -> Result<u64, Failure> {
        let Applier { shape, slots, .. } = self;
        let Variant { relocate, kept, .. } = variant;
        let id = prepared(relocate, database, || shape.relocate(&names(kept)))?;
        database.execute(id, move |binder| {
            bind::key(binder, key, &mut slots.key)?;
            bind::row(binder, after, kept.iter(), &mut slots.row)?;
            bind::values(binder, old, &mut slots.old_key)
        })
    }

    /// The source had no row under the new key, so one that stands there in the target is out of date and makes way. In
    /// a savepoint, because a change that fails must not have removed it.
    fn relocate_over(
        &mut self,
        database: &mut Database,
        key: Row<'_>,
        after: Row<'_>,
        variant: &mut Variant,
        old: &[Value<'_>],
        failure: Failure,
    ) -> Result<u64, Failure> {
        savepoint(database, "SAVEPOINT _millstream_move")?;
        let vacated = self.vacate(database, key, old);
        let result = match vacated {
            Ok(0) => Err(failure),
            Ok(_) => self.relocate_once(database, key, after, variant, old),
            Err(failure) => Err(failure),
        };
        if !database.in_transaction() {
            return result;
        }
        match result {
            Ok(changed) => savepoint(database, "RELEASE _millstream_move").map(|()| changed),
            Err(failure) => {
                savepoint(database, "ROLLBACK TO _millstream_move; RELEASE _millstream_move")?;
                Err(failure)
            }
        }
    }

    fn vacate(&mut self, database: &mut Database, key: Row<'_>, old: &[Value<'_>]) -> Result<u64, Failure> {
        let Applier { shape, vacate, slots, .. } = self;
        let id = prepared(vacate, database, || shape.vacate())?;
        database.execute(id, move |binder| {
            bind::key(binder, key, &mut slots.key)?;
            bind::values(binder, old, &mut slots.old_key)
        })
    }

    /// Inserts what a change with values left out does hold.
    fn fill(
        &mut self,
        database: &mut Database,
        change: &Change<'_>,
        after: Row<'_>,
        variant: &mut Variant,
        notices: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let key = change.key().ok_or_else(|| self.lacks(change, "its key"))?;
        let Applier { shape, slots, table, .. } = self;
        let Variant { fill, kept, .. } = variant;
        let id = prepared(fill, database, || shape.fill(&names(kept)))?;
        let filled = database.execute(id, move |binder| {
            bind::key(binder, key, &mut slots.key)?;
            bind::row(binder, after, kept.iter(), &mut slots.row)
        });
        match filled {
            Ok(0) => Ok(()),
            Ok(_) => {
                if !std::mem::replace(&mut self.told_partial, true) {
                    notices.push(format!(
                        "table {table:?}: an update left values out and its row was not there; it was inserted without them"
                    ));
                }
                Ok(())
            }
            Err(Failure::Sqlite(code, message)) if code.is_constraint() => Err(Error::data(format!(
                "the update leaves values out (unchanged large values), and its row is not in the table: {message}"
            ))
            .into()),
            Err(failure) => Err(failure),
        }
    }

    /// For a topic without a key: one row that equals the old one.
    fn update_row(
        &mut self,
        database: &mut Database,
        change: &Change<'_>,
        after: Row<'_>,
        variant: &mut Variant,
    ) -> Result<(), Failure> {
        match self.set_row(database, change, after, variant)? {
            0 if variant.unchanged.is_empty() => self.insert(database, after),
            0 => Err(Error::data(
                "the update leaves values out (unchanged large values), and no row equals its old row",
            )
            .into()),
            _ => Ok(()),
        }
    }

    /// Sets columns of one row that equals the old one; 0 when there is none.
    fn set_row(
        &mut self,
        database: &mut Database,
        change: &Change<'_>,
        after: Row<'_>,
        variant: &mut Variant,
    ) -> Result<u64, Failure> {
        let old = self.old_row(change)?;
        let Applier { shape, slots, .. } = self;
        let Variant { update_row, kept, .. } = variant;
        if kept.is_empty() {
            return Ok(1);
        }
        let id = prepared(update_row, database, || shape.update_row(&names(kept)))?;
        database.execute(id, move |binder| {
            bind::row(binder, after, kept.iter(), &mut slots.row)?;
            bind::row(binder, old, shape.columns.iter(), &mut slots.old_row)
        })
    }

    /// Delete.
    pub fn delete(&mut self, database: &mut Database, change: &Change<'_>) -> Result<(), Failure> {
        if self.is_second_half(change) {
            return Ok(());
        }
        if self.shape.key.is_empty() {
            let old = self.old_row(change)?;
            let Applier { shape, delete_row, slots, .. } = self;
            let id = prepared(delete_row, database, || shape.delete_row())?;
            let slots = &mut slots.old_row[..];
            return database
                .execute(id, move |binder| bind::row(binder, old, shape.columns.iter(), slots))
                .map(drop);
        }
        let key = change.key().ok_or_else(|| self.lacks(change, "its key"))?;
        let Applier { shape, delete, slots, .. } = self;
        let id = prepared(delete, database, || shape.delete())?;
        let slots = &mut slots.key[..];
        database.execute(id, move |binder| bind::key(binder, key, slots)).map(drop)
    }

    /// The tombstone after an update that moved a row. It would do nothing, except where the target takes the two keys
    /// for one (a column without case, -0.0 and 0.0) and it would delete the row that has just been moved.
    fn is_second_half(&self, change: &Change<'_>) -> bool {
        let after_move = self.moved.is_some_and(|offset| offset.checked_add(1) == Some(change.record.offset));
        change.follows_move() || (after_move && change.record.is_null())
    }

    /// A delete that keeps its row, and sets columns of it.
    pub fn mark(
        &mut self,
        database: &mut Database,
        change: &Change<'_>,
        variant: &mut Variant,
    ) -> Result<(), Failure> {
        let after = self.after(change)?;
        if self.is_second_half(change) {
            return Ok(());
        }
        match self.shape.key.is_empty() {
            true => self.set_row(database, change, after, variant).map(drop),
            false => self.update(database, change, after, variant).map(drop),
        }
    }

    /// A truncate that keeps the rows, and sets columns of them all.
    pub fn mark_all(
        &mut self,
        database: &mut Database,
        change: &Change<'_>,
        variant: &mut Variant,
    ) -> Result<(), Failure> {
        let after = self.after(change)?;
        let Applier { shape, slots, .. } = self;
        let Variant { mark_all, kept, .. } = variant;
        if kept.is_empty() {
            return Ok(());
        }
        let id = prepared(mark_all, database, || shape.mark_all(&names(kept)))?;
        database.execute(id, move |binder| bind::row(binder, after, kept.iter(), &mut slots.row)).map(drop)
    }

    /// Truncate.
    pub fn truncate(&mut self, database: &mut Database) -> Result<(), Failure> {
        let Applier { shape, truncate, .. } = self;
        let id = prepared(truncate, database, || shape.truncate())?;
        database.run(id).map(drop)
    }

    /// Forgets what happened in a transaction that was rolled back.
    pub fn rolled_back(&mut self) {
        self.moved = None;
    }

    /// The new row of a change that has one.
    #[inline]
    pub fn after<'v>(&self, change: &Change<'v>) -> Result<Row<'v>> {
        change.after.ok_or_else(|| self.lacks(change, "its new row"))
    }

    fn old_row<'v>(&self, change: &Change<'v>) -> Result<Row<'v>> {
        match change.before {
            Some(Before::Full(row)) => Ok(row),
            _ => Err(Error::data(format!(
                "the table has no key, and the change at offset {} lacks its old row",
                change.record.offset
            ))
            .with_remedy("give the source table a key, or let the source send whole old rows")),
        }
    }

    #[cold]
    fn lacks(&self, change: &Change<'_>, what: &str) -> Error {
        Error::new(Kind::Corrupt, format!("the change at offset {} lacks {what}", change.record.offset))
    }
}

impl Variant {
    /// Gives the statements back.
    pub fn retire(self, database: &mut Database) {
        let own = [self.update, self.relocate, self.fill, self.update_row, self.mark_all];
        own.into_iter().flatten().for_each(|id| database.finalize(id));
    }
}

fn names(columns: &[ShapeColumn]) -> Vec<&str> {
    columns.iter().map(|column| column.name.as_str()).collect()
}

/// The statement in `slot`, prepared at its first use.
#[inline]
fn prepared(
    slot: &mut Option<StatementId>,
    database: &mut Database,
    sql: impl FnOnce() -> String,
) -> Result<StatementId, Failure> {
    match slot {
        Some(id) => Ok(*id),
        None => Ok(*slot.insert(database.prepare(&sql())?)),
    }
}

fn savepoint(database: &Database, sql: &str) -> Result<(), Failure> {
    let run = database.connection().execute_batch(sql);
    run.map_err(|error| from_rusqlite(error, "move row").into())
}
