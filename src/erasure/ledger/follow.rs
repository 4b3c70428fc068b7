//! What comes from the log's topic of erasures, each with the offset up to which it was followed.

use connector_api::Result;
use rusqlite::types::Type;
use rusqlite::{CachedStatement, Row, params};

use super::Ledger;
use super::chain::Entry;
use super::write::{Fault, Writer};
use crate::erasure::event::{Lifted, Opened, Trigger};

/// A case that opened, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The offset of the event.
    pub offset: u64,
    /// The event.
    pub opened: Opened,
    /// The targets whose receipts are due: the event's sinks, and [`crate::erasure::receipt::LOG`] where the log is purged.
    pub due: Vec<String>,
}

impl Ledger {
    /// A case opened. False when it is known already.
    ///
    /// # Errors
    /// When the database cannot be written, or the chain is not what this service wrote last.
    pub fn opened(&self, offset: u64, opened: &Opened, due: &[String]) -> Result<bool> {
        let arrival = Arrival { offset, opened: opened.clone(), due: due.to_vec() };
        Ok(self.opened_all(&[arrival])? == 1)
    }

    /// Cases opened, in one transaction. Returns how many are new.
    ///
    /// # Errors
    /// As [`Ledger::opened`].
    pub fn opened_all(&self, arrivals: &[Arrival]) -> Result<u64> {
        self.write(|writer| {
            let mut new = 0;
            for arrival in arrivals {
                new += u64::from(open(writer, arrival)?);
            }
            if let Some(last) = arrivals.iter().map(|arrival| arrival.offset).max() {
                follow(writer, last)?;
            }
            Ok(new)
        })
    }

    /// The fence of a case was lifted. False when that is known already, or the case is not.
    ///
    /// # Errors
    /// As [`Ledger::opened`].
    pub fn lifted(&self, offset: u64, lifted: &Lifted, at_us: i64) -> Result<bool> {
        self.write(|writer| {
            let sql = "UPDATE erasure_cases SET lifted = ?2 WHERE id = ?1 AND lifted IS NULL";
            let new = statement(writer, sql)?.execute(params![lifted.case, offset as i64])? == 1;
            if new {
                writer.append(at_us, &Entry::Lifted { case: lifted.case.clone(), offset })?;
            }
            follow(writer, offset)?;
            Ok(new)
        })
    }

    /// The topic was read to here, and this record says nothing.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn passed(&self, offset: u64) -> Result<()> {
        self.write(|writer| follow(writer, offset))
    }
}

fn open(writer: &mut Writer<'_>, arrival: &Arrival) -> Result<bool, Fault> {
    let Arrival { offset, opened, due } = arrival;
    let trigger = trigger_text(opened.trigger);
    let sql = "INSERT INTO erasure_cases (id, \"offset\", subject, key_hash, sealed, opened_by, opened_us, deadline_us, missing)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0) ON CONFLICT DO NOTHING";
    let new = statement(writer, sql)?.execute(params![
        opened.case,
        *offset as i64,
        opened.subject,
        opened.key_hash,
        opened.sealed,
        trigger,
        opened.opened_us,
        opened.deadline_us,
    ])?;
    if new == 0 {
        return Ok(false);
    }
    for target in due {
        // A sink that met the event first may have its receipt there already.
        let sql = "INSERT INTO erasure_receipts (case_id, target, due, state, \"offset\") VALUES (?1, ?2, 1, 'awaited', ?3)
                   ON CONFLICT DO UPDATE SET due = 1";
        statement(writer, sql)?.execute(params![opened.case, target, *offset as i64])?;
    }
    let sql = "UPDATE erasure_cases SET missing =
               (SELECT count(*) FROM erasure_receipts WHERE case_id = ?1 AND due = 1 AND state <> 'final') WHERE id = ?1";
    statement(writer, sql)?.execute([&opened.case])?;
    let entry = Entry::Opened {
        case: opened.case.clone(),
        subject: opened.subject.clone(),
        key_hash: opened.key_hash.clone(),
        trigger: opened.trigger,
        opened_us: opened.opened_us,
        deadline_us: opened.deadline_us,
        offset: *offset,
        due: due.clone(),
    };
    writer.append(opened.opened_us, &entry)?;
    Ok(true)
}

fn follow(writer: &Writer<'_>, offset: u64) -> Result<(), Fault> {
    let sql = "UPDATE erasure_state SET followed = max(followed, ?1)";
    statement(writer, sql)?.execute([offset.saturating_add(1) as i64])?;
    Ok(())
}

pub(super) fn statement<'w>(writer: &'w Writer<'_>, sql: &str) -> rusqlite::Result<CachedStatement<'w>> {
    writer.transaction.prepare_cached(sql)
}

fn trigger_text(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Deleted => "deleted",
        Trigger::Asked => "asked",
    }
}

pub(super) fn trigger(row: &Row<'_>, at: usize) -> rusqlite::Result<Trigger> {
    match row.get_ref(at)?.as_str()? {
        "deleted" => Ok(Trigger::Deleted),
        "asked" => Ok(Trigger::Asked),
        _ => Err(rusqlite::Error::InvalidColumnType(at, "opened_by".into(), Type::Text)),
    }
}
