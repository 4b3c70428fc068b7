//! A case as it stands, and the questions that are asked about cases.

use std::time::Duration;

use connector_api::Result;
use rusqlite::types::Type;
use rusqlite::{Connection, Params, Row, params};

use super::follow::trigger;
use super::receipts::decode;
use super::{Ledger, unreadable};
use crate::erasure::event::Trigger;
use crate::erasure::receipt::Receipt;

/// A case as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its id.
    pub id: String,
    /// Its offset in the log's topic of erasures.
    pub offset: u64,
    /// The kind of subject.
    pub subject: String,
    /// The keyed hash of its key, in hex.
    pub key_hash: String,
    /// The key, sealed.
    pub sealed: String,
    /// What opened it.
    pub trigger: Trigger,
    /// When, Unix microseconds.
    pub opened_us: i64,
    /// Until when every receipt is due.
    pub deadline_us: i64,
    /// When every due receipt was there.
    pub completed_us: Option<i64>,
    /// The offset of the event that lifted the fence, when a new row of the subject came.
    pub lifted: Option<u64>,
    /// When absence was last looked at: at completion, then at each verification.
    pub checked_us: Option<i64>,
    /// The last verification found rows.
    pub violated: bool,
    /// One for each target, by name.
    pub slots: Vec<Slot>,
}

/// Where a target's receipt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The target.
    pub target: String,
    /// The case is not complete without it.
    pub due: bool,
    /// How far it is.
    pub state: SlotState,
    /// The receipt, once it is prepared.
    pub receipt: Option<Receipt>,
    /// When no bytes were left under the rows, as far as the target knows.
    pub scrubbed_us: Option<i64>,
}

/// How far a receipt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// Nothing came yet.
    Awaited,
    /// The target is about to commit.
    Prepared,
    /// It counts.
    Final,
}

impl Case {
    /// The targets whose due receipts are not there.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter(|slot| slot.due && slot.state != SlotState::Final).map(|slot| &*slot.target)
    }

    /// Whether it is past its deadline and not complete.
    pub fn is_overdue(&self, now_us: i64) -> bool {
        self.completed_us.is_none() && self.deadline_us < now_us
    }

    /// The final receipts.
    pub fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.slots
            .iter()
            .filter(|slot| slot.state == SlotState::Final)
            .filter_map(|slot| slot.receipt.as_ref())
    }
}

/// Which cases are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseState {
    /// Receipts are missing.
    Open,
    /// Of these, those whose deadline is before this moment, Unix microseconds.
    Overdue(i64),
    /// Every due receipt is there.
    Completed,
    /// The last verification found rows.
    Violated,
}

/// Which cases are asked for, newest first.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this kind of subject only.
    pub subject: Option<String>,
    /// In this state only.
    pub state: Option<CaseState>,
    /// Older than this offset only: the next page.
    pub before: Option<u64>,
}

/// How many cases there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Receipts are missing.
    pub open: u64,
    /// Of these, past their deadline.
    pub overdue: u64,
    /// Every due receipt is there.
    pub completed: u64,
    /// The last verification found rows.
    pub violated: u64,
}

impl Ledger {
    /// One case.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn case(&self, id: &str) -> Result<Option<Case>> {
        Ok(select(&self.state.lock(), "WHERE id = ?1", [id])?.pop())
    }

    /// The newest case of a subject: `key_hash` as [`crate::erasure::secret::KeyHash`] shows itself.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn find(&self, subject: &str, key_hash: &str) -> Result<Option<Case>> {
        let newest = "WHERE subject = ?1 AND key_hash = ?2 ORDER BY \"offset\" DESC LIMIT 1";
        Ok(select(&self.state.lock(), newest, [subject, key_hash])?.pop())
    }

    /// The cases that are not complete, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn open_cases(&self, limit: usize) -> Result<Vec<Case>> {
        let open = "WHERE completed_us IS NULL ORDER BY deadline_us LIMIT ?1";
        let mut cases = select(&self.state.lock(), open, [bound(limit)])?;
        cases.sort_by_key(|case| case.offset);
        Ok(cases)
    }

    /// The cases that wait for a target's receipt, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting_for(&self, target: &str, limit: usize) -> Result<Vec<Case>> {
        let waiting = "WHERE id IN (SELECT case_id FROM erasure_receipts WHERE target = ?1 AND state <> 'final' AND due = 1
                       ORDER BY \"offset\" LIMIT ?2) ORDER BY \"offset\"";
        select(&self.state.lock(), waiting, params![target, bound(limit)])
    }

    /// Cases, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn cases(&self, filter: &Filter, limit: usize) -> Result<Vec<Case>> {
        let (state, now_us) = match filter.state {
            None => ("1", 0),
            Some(CaseState::Open) => ("completed_us IS NULL", 0),
            Some(CaseState::Overdue(now_us)) => ("completed_us IS NULL AND deadline_us < ?4", now_us),
            Some(CaseState::Completed) => ("completed_us IS NOT NULL", 0),
            Some(CaseState::Violated) => ("violated = 1", 0),
        };
        let sql = format!(
            "WHERE (?1 IS NULL OR subject = ?1) AND \"offset\" < ?2 AND (?4 = ?4 AND {state}) ORDER BY \"offset\" DESC LIMIT ?3"
        );
        let before = filter.before.and_then(|offset| i64::try_from(offset).ok()).unwrap_or(i64::MAX);
        select(&self.state.lock(), &sql, params![filter.subject, before, bound(limit), now_us])
    }

    /// How many cases there are in each state.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn counts(&self, now_us: i64) -> Result<Counts> {
        let sql = "SELECT (SELECT count(*) FROM erasure_cases WHERE completed_us IS NULL),
                          (SELECT count(*) FROM erasure_cases WHERE completed_us IS NULL AND deadline_us < ?1),
                          (SELECT count(*) FROM erasure_cases),
                          (SELECT count(*) FROM erasure_cases WHERE violated = 1)";
        let counted = self.state.lock().query_row(sql, [now_us], |row| {
            let count = |at| row.get::<_, i64>(at).map(|count| count as u64);
            let open = count(0)?;
            Ok(Counts {
                open,
                overdue: count(1)?,
                completed: count(2)?.saturating_sub(open),
                violated: count(3)?,
            })
        });
        counted.map_err(unreadable)
    }

    /// The complete cases of a kind of subject whose absence was last looked at more than `every` ago, the longest ago first.
    /// Cases whose fence was lifted are not among them: there the subject is back.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn due_for_verification(
        &self,
        subject: &str,
        now_us: i64,
        every: Duration,
        limit: usize,
    ) -> Result<Vec<Case>> {
        let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
        let due = "WHERE subject = ?1 AND completed_us IS NOT NULL AND lifted IS NULL AND checked_us <= ?2
                   ORDER BY checked_us LIMIT ?3";
        select(&self.state.lock(), due, params![subject, now_us.saturating_sub(every), bound(limit)])
    }

    /// Every subject that is erased and has not come back, with its newest case: what the fence begins with (I11).
    /// `each` gets the kind of subject, the key's hash and the case.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn fenced(&self, mut each: impl FnMut(&str, &str, &str)) -> Result<()> {
        let connection = self.state.lock();
        // The newest case of each subject decides: an older one may have been lifted, and the subject erased again.
        let sql = "SELECT subject, key_hash, id, lifted, max(\"offset\") FROM erasure_cases GROUP BY subject, key_hash";
        let mut read = || {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if row.get::<_, Option<i64>>(3)?.is_none() {
                    each(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
                }
            }
            Ok(())
        };
        read().map_err(unreadable)
    }
}

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The cases that a condition names, with their slots.
pub(super) fn select(connection: &Connection, condition: &str, values: impl Params) -> Result<Vec<Case>> {
    let sql = format!(
        "SELECT id, \"offset\", subject, key_hash, sealed, opened_by, opened_us, deadline_us, completed_us, lifted, checked_us,
         violated FROM erasure_cases {condition}"
    );
    let mut statement = connection.prepare_cached(&sql).map_err(unreadable)?;
    let rows = statement.query_map(values, read).map_err(unreadable)?;
    let mut cases = Vec::new();
    for row in rows {
        let mut case = row.map_err(unreadable)?;
        case.slots = slots(connection, &case.id)?;
        cases.push(case);
    }
    Ok(cases)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Case> {
    Ok(Case {
        id: row.get(0)?,
        offset: row.get::<_, i64>(1)? as u64,
        subject: row.get(2)?,
        key_hash: row.get(3)?,
        sealed: row.get(4)?,
        trigger: trigger(row, 5)?,
        opened_us: row.get(6)?,
        deadline_us: row.get(7)?,
        completed_us: row.get(8)?,
        lifted: row.get::<_, Option<i64>>(9)?.map(|offset| offset as u64),
        checked_us: row.get(10)?,
        violated: row.get(11)?,
        slots: Vec::new(),
    })
}

fn slots(connection: &Connection, case: &str) -> Result<Vec<Slot>> {
    let sql = "SELECT target, due, state, receipt, scrubbed_us FROM erasure_receipts WHERE case_id = ?1 ORDER BY target";
    let mut statement = connection.prepare_cached(sql).map_err(unreadable)?;
    let rows = statement
        .query_map([case], |row| {
            let state = match row.get_ref(2)?.as_str()? {
                "awaited" => SlotState::Awaited,
                "prepared" => SlotState::Prepared,
                "final" => SlotState::Final,
                _ => return Err(rusqlite::Error::InvalidColumnType(2, "state".into(), Type::Text)),
            };
            let slot = Slot {
                target: row.get(0)?,
                due: row.get(1)?,
                state,
                receipt: None,
                scrubbed_us: row.get(4)?,
            };
            Ok((slot, row.get::<_, Option<String>>(3)?))
        })
        .map_err(unreadable)?;
    rows.map(|row| {
        let (mut slot, receipt) = row.map_err(unreadable)?;
        slot.receipt = receipt.as_deref().map(decode).transpose()?;
        Ok(slot)
    })
    .collect()
}
