//! What each kind of work does to a target table: few statements for many rows.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::{Error, Result, Row, Value};
use connector_sql::gather::{Absent, Work, cells};

use crate::error::{Failure, number};
use crate::plan::Plan;
use crate::session::Session;

/// A statement is sent when it is this long. Longer ones gain nothing that could be measured.
pub const STATEMENT_BYTES: usize = 256 << 10;
/// Most keys in one condition: behind some thousands the optimizer stops using the index.
const KEYS_MAX: usize = 1_000;
/// Room for what surrounds the statement in its packet.
const PACKET_MARGIN: usize = 64;

/// Sends the work of one flush.
#[derive(Debug)]
pub struct Writer<'s> {
    session: &'s mut Session,
    /// Statements whose answer nobody needs, waiting to be sent together.
    waiting: String,
    statement_bytes: usize,
}

impl<'s> Writer<'s> {
    /// On the session's open transaction.
    pub fn new(session: &'s mut Session, statement_bytes: usize) -> Self {
        Writer { session, waiting: String::new(), statement_bytes }
    }

    /// Does one step. After an error nothing is known to have had an effect.
    pub async fn step(&mut self, plan: &Plan, work: &Work<'_>) -> Result<(), Failure> {
        if !matches!(work, Work::DeleteRow { .. }) {
            self.finish().await?;
        }
        match work {
            Work::Upsert { rows, .. } => {
                let all = all(plan);
                self.upsert(plan, &all, rows).await
            }
            Work::Update { columns, rows } => self.update(plan, columns, rows).await,
            Work::Mark { columns, rows } => self.mark(plan, columns, rows).await,
            Work::MarkAll { columns, row } => {
                let mut sql = format!("UPDATE {} SET ", plan.table);
                plan.put_sets(&mut sql, columns, &values(plan, *row)?)?;
                self.one(plan, sql).await.map(drop)
            }
            Work::Delete { keys } => self.delete(plan, keys).await,
            Work::Move { old, columns, row } => self.relocate(plan, *old, columns, *row).await,
            // TRUNCATE would commit.
            Work::Truncate => self.one(plan, format!("DELETE FROM {}", plan.table)).await.map(drop),
            Work::Insert { rows } => self.insert(plan, rows).await,
            Work::ReplaceRow { old, columns, row, absent } => {
                self.replace_row(plan, *old, columns, *row, *absent).await
            }
            Work::DeleteRow { old } => self.delete_row(plan, *old).await,
        }
    }

    /// Sends what waits.
    pub async fn finish(&mut self) -> Result<(), Failure> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let sql = std::mem::take(&mut self.waiting);
        self.session.run(sql).await.map(drop)
    }

    async fn one(&mut self, plan: &Plan, sql: String) -> Result<u64, Failure> {
        if sql.len() + PACKET_MARGIN > plan.packet {
            return Err(too_large(plan).into());
        }
        let counts = self.session.run(sql).await?;
        Ok(counts.last().copied().unwrap_or_default())
    }

    async fn upsert(&mut self, plan: &Plan, columns: &[usize], rows: &[Row<'_>]) -> Result<(), Failure> {
        let (head, tail) = (plan.insert_head(columns), plan.upsert_tail(columns));
        self.many(plan, &head, &tail, rows, usize::MAX, |out, row, values| {
            cells(row, &plan.target, values)?;
            plan.put_tuple(out, columns, values)
        })
        .await
    }

    async fn insert(&mut self, plan: &Plan, rows: &[Row<'_>]) -> Result<(), Failure> {
        let all = all(plan);
        self.many(plan, &plan.insert_head(&all), "", rows, usize::MAX, |out, row, values| {
            cells(row, &plan.target, values)?;
            plan.put_tuple(out, &all, values)
        })
        .await
    }

    async fn delete(&mut self, plan: &Plan, keys: &[Row<'_>]) -> Result<(), Failure> {
        let head = plan.where_key_in(&format!("DELETE FROM {}", plan.table));
        self.many(plan, &head, ")", keys, KEYS_MAX, |out, key, values| {
            read_key(key, values)?;
            plan.put_key(out, values)
        })
        .await
    }

    /// Sends `head`, tuples and `tail`, as often as it takes.
    async fn many<'g>(
        &mut self,
        plan: &Plan,
        head: &str,
        tail: &str,
        rows: &[Row<'g>],
        most: usize,
        put: impl Fn(&mut String, Row<'g>, &mut Vec<Value<'g>>) -> Result<()>,
    ) -> Result<(), Failure> {
        let limit = self.statement_bytes.min(plan.packet.saturating_sub(tail.len() + PACKET_MARGIN));
        let begin = || {
            let mut sql = String::with_capacity(self.statement_bytes + (4 << 10));
            sql.push_str(head);
            sql
        };
        let (mut sql, mut count, mut scratch) = (begin(), 0, Vec::new());
        let mut full = Vec::new();
        for row in rows {
            let before = sql.len();
            if count > 0 {
                sql.push(',');
            }
            put(&mut sql, *row, &mut scratch)?;
            count += 1;
            if sql.len() > limit && count > 1 {
                // The row that went over begins the next statement.
                let mut next = begin();
                next.push_str(sql.get(before + 1..).unwrap_or_default());
                sql.truncate(before);
                full.push(std::mem::replace(&mut sql, next));
                count = 1;
            } else if count == most {
                full.push(std::mem::replace(&mut sql, begin()));
                count = 0;
            }
            for mut sql in full.drain(..) {
                sql.push_str(tail);
                if sql.len() + PACKET_MARGIN > plan.packet {
                    return Err(too_large(plan).into());
                }
                self.session.run(sql).await?;
            }
        }
        if count > 0 {
            sql.push_str(tail);
            self.one(plan, sql).await?;
        }
        Ok(())
    }

    async fn update(&mut self, plan: &Plan, columns: &[usize], rows: &[Row<'_>]) -> Result<(), Failure> {
        if plan.may_insert(columns) {
            return self.upsert(plan, &plan.with_key(columns), rows).await;
        }
        // A row cannot be inserted without its other columns, not even to find that it is there.
        let (mut sql, mut count) = (String::new(), 0);
        for (at, row) in rows.iter().enumerate() {
            let values = values(plan, *row)?;
            put_update(plan, &mut sql, columns, &values)?;
            count += 1;
            if sql.len() < self.statement_bytes && at + 1 < rows.len() {
                sql.push(';');
                continue;
            }
            if sql.len() + PACKET_MARGIN > plan.packet && count == 1 {
                return Err(too_large(plan).into());
            }
            let found = self.session.run(std::mem::take(&mut sql)).await?;
            if found.len() < count || found.contains(&0) {
                return Err(not_there().into());
            }
            count = 0;
        }
        Ok(())
    }

    /// Rows that get the same values are marked together.
    async fn mark(&mut self, plan: &Plan, columns: &[usize], rows: &[Row<'_>]) -> Result<(), Failure> {
        let (mut sets, mut sql, mut count) = (String::new(), String::new(), 0);
        for row in rows {
            let values = values(plan, *row)?;
            let mut own = String::new();
            plan.put_sets(&mut own, columns, &values)?;
            if count > 0 && (own != sets || count >= KEYS_MAX || sql.len() > self.statement_bytes) {
                sql.push(')');
                self.one(plan, std::mem::take(&mut sql)).await?;
                count = 0;
            }
            if count == 0 {
                sql = plan.where_key_in(&format!("UPDATE {} SET {own}", plan.table));
                sets = own;
            } else {
                sql.push(',');
            }
            plan.put_key(&mut sql, &plan.key_of(&values))?;
            count += 1;
        }
        if count > 0 {
            sql.push(')');
            self.one(plan, sql).await?;
        }
        Ok(())
    }

    async fn relocate(
        &mut self,
        plan: &Plan,
        old: Row<'_>,
        columns: &[usize],
        row: Row<'_>,
    ) -> Result<(), Failure> {
        let (old, values) = (old.to_vec()?, values(plan, row)?);
        let mut sql = format!("UPDATE {} SET ", plan.table);
        plan.put_sets(&mut sql, &plan.with_key(columns), &values)?;
        plan.put_where_key(&mut sql, &old)?;
        let found = match self.one(plan, sql.clone()).await {
            Err(failure) if failure.number() == Some(number::DUPLICATE) => {
                // The source had no row under the new key, so one that stands there in the target is out of date.
                let mut stale = format!("DELETE FROM {}", plan.table);
                plan.put_where_key(&mut stale, &plan.key_of(&values))?;
                match self.one(plan, stale).await? {
                    // It was not the key but another unique column.
                    0 => return Err(failure),
                    _ => self.one(plan, sql).await?,
                }
            }
            found => found?,
        };
        match found {
            0 => self.update(plan, columns, &[row]).await,
            _ => Ok(()),
        }
    }

    async fn replace_row(
        &mut self,
        plan: &Plan,
        old: Row<'_>,
        columns: &[usize],
        row: Row<'_>,
        absent: Absent,
    ) -> Result<(), Failure> {
        let mut sql = format!("UPDATE {} SET ", plan.table);
        plan.put_sets(&mut sql, columns, &values(plan, row)?)?;
        plan.put_where_row(&mut sql, &values(plan, old)?)?;
        sql.push_str(" LIMIT 1");
        match (self.one(plan, sql).await?, absent) {
            (0, Absent::Insert) => self.insert(plan, &[row]).await,
            (0, Absent::Refuse) => Err(Error::data(
                "the update leaves values out (unchanged large values), and no row equals its old row",
            )
            .into()),
            _ => Ok(()),
        }
    }

    async fn delete_row(&mut self, plan: &Plan, old: Row<'_>) -> Result<(), Failure> {
        let mut sql = format!("DELETE FROM {}", plan.table);
        plan.put_where_row(&mut sql, &values(plan, old)?)?;
        sql.push_str(" LIMIT 1");
        if sql.len() + PACKET_MARGIN > plan.packet {
            return Err(too_large(plan).into());
        }
        let most = self.statement_bytes.min(plan.packet.saturating_sub(PACKET_MARGIN));
        if !self.waiting.is_empty() {
            if self.waiting.len() + 1 + sql.len() > most {
                self.finish().await?;
            } else {
                self.waiting.push(';');
            }
        }
        self.waiting.push_str(&sql);
        Ok(())
    }
}

fn all(plan: &Plan) -> Vec<usize> {
    (0..plan.columns.len()).collect()
}

/// The values of all target columns.
fn values<'g>(plan: &Plan, row: Row<'g>) -> Result<Vec<Value<'g>>> {
    let mut values = Vec::with_capacity(plan.columns.len());
    cells(row, &plan.target, &mut values)?;
    Ok(values)
}

fn read_key<'g>(key: Row<'g>, values: &mut Vec<Value<'g>>) -> Result<()> {
    values.clear();
    for value in key.values() {
        values.push(value?);
    }
    Ok(())
}

fn put_update(plan: &Plan, out: &mut String, columns: &[usize], values: &[Value<'_>]) -> Result<()> {
    out.push_str("UPDATE ");
    out.push_str(&plan.table);
    out.push_str(" SET ");
    match columns {
        // Only to find that it is there.
        [] => plan.put_sets(out, &plan.target.key, values)?,
        columns => plan.put_sets(out, columns, values)?,
    }
    plan.put_where_key(out, &plan.key_of(values))
}

#[cold]
fn too_large(plan: &Plan) -> Error {
    Error::data(format!("the row is larger than the server's max_allowed_packet of {} bytes", plan.packet)).with_remedy(
        "SET GLOBAL max_allowed_packet = 1073741824; (and max_allowed_packet=1G in the server's configuration)",
    )
}

#[cold]
fn not_there() -> Error {
    Error::data("the update leaves values out (unchanged large values), and its row is not in the table")
}
