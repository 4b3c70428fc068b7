//! Receipts on their way: awaited, prepared before the target commits, final after it; and what they complete.

use connector_api::{Error, Result};
use rusqlite::{OptionalExtension as _, params};

use super::chain::{Entry, Left};
use super::follow::statement;
use super::write::{Fault, Writer};
use super::{Ledger, unreadable};
use crate::erasure::receipt::Receipt;

/// What [`Ledger::complete`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// The case is complete, as of this call.
    Now,
    /// It was complete before.
    Before,
    /// It waits for the receipts of these targets.
    Waits(Vec<String>),
}

impl Ledger {
    /// A target is about to commit what a receipt says; another prepared one is replaced. False when a final one is there.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] for a receipt that says rows are left: it is none. When the database cannot be written.
    pub fn prepare(&self, receipt: &Receipt) -> Result<bool> {
        Ok(self.prepare_all(std::slice::from_ref(receipt))? == 1)
    }

    /// Several, in one transaction. Returns how many are new or replaced.
    ///
    /// # Errors
    /// As [`Ledger::prepare`].
    pub fn prepare_all(&self, receipts: &[Receipt]) -> Result<u64> {
        self.write(|writer| {
            let mut prepared = 0;
            for receipt in receipts {
                prepared += u64::from(put(writer, receipt)?);
            }
            Ok(prepared)
        })
    }

    /// The receipts of a target that are prepared and not final: case, and its offset in the topic. After a restart the
    /// target's own cursor says of each whether it was committed (I3).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn prepared(&self, target: &str) -> Result<Vec<(String, u64)>> {
        let connection = self.state.lock();
        let sql = "SELECT case_id, \"offset\" FROM erasure_receipts WHERE target = ?1 AND state = 'prepared' ORDER BY \"offset\"";
        let mut statement = connection.prepare_cached(sql).map_err(unreadable)?;
        statement
            .query_map([target], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))
            .and_then(Iterator::collect)
            .map_err(unreadable)
    }

    /// A prepared receipt was committed by its target. False when there is none: it is final already, or was never prepared.
    ///
    /// # Errors
    /// When the database cannot be written, or the chain is not what this service wrote last.
    pub fn finish(&self, case: &str, target: &str, at_us: i64) -> Result<bool> {
        Ok(self.finish_all(target, &[case], at_us)? == 1)
    }

    /// Several of one target, in one transaction. Returns how many became final.
    ///
    /// # Errors
    /// As [`Ledger::finish`].
    pub fn finish_all(&self, target: &str, cases: &[&str], at_us: i64) -> Result<u64> {
        self.write(|writer| {
            let mut finished = 0;
            for case in cases {
                finished += u64::from(finish(writer, case, target, at_us)?);
            }
            Ok(finished)
        })
    }

    /// A prepared receipt was not committed: it is awaited again. False when there is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn discard(&self, case: &str, target: &str) -> Result<bool> {
        self.write(|writer| {
            let awaited = "UPDATE erasure_receipts SET state = 'awaited', receipt = NULL
                           WHERE case_id = ?1 AND target = ?2 AND state = 'prepared' AND due = 1";
            let gone = "DELETE FROM erasure_receipts WHERE case_id = ?1 AND target = ?2 AND state = 'prepared' AND due = 0";
            let mut discarded = 0;
            for sql in [awaited, gone] {
                discarded += statement(writer, sql)?.execute([case, target])?;
            }
            Ok(discarded > 0)
        })
    }

    /// A receipt that needs no preparing: the log's own, or what another system confirms later. False when a final one is
    /// there: the second is ignored.
    ///
    /// # Errors
    /// As [`Ledger::prepare`] and [`Ledger::finish`].
    pub fn receive(&self, receipt: &Receipt) -> Result<bool> {
        Ok(self.receive_all(std::slice::from_ref(receipt))? == 1)
    }

    /// Several, in one transaction. Returns how many counted.
    ///
    /// # Errors
    /// As [`Ledger::receive`].
    pub fn receive_all(&self, receipts: &[Receipt]) -> Result<u64> {
        self.write(|writer| {
            let mut received = 0;
            for receipt in receipts {
                let new = put(writer, receipt)?;
                received += u64::from(new && finish(writer, &receipt.case, &receipt.target, receipt.at_us)?);
            }
            Ok(received)
        })
    }

    /// No bytes are left under the rows of a final receipt. False when that is known, or the receipt is not final.
    ///
    /// # Errors
    /// As [`Ledger::finish`].
    pub fn note_scrub(&self, case: &str, target: &str, at_us: i64) -> Result<bool> {
        self.write(|writer| {
            let sql = "UPDATE erasure_receipts SET scrubbed_us = ?3
                       WHERE case_id = ?1 AND target = ?2 AND state = 'final' AND scrubbed_us IS NULL";
            let new = statement(writer, sql)?.execute(params![case, target, at_us])? == 1;
            if new {
                writer
                    .append(at_us, &Entry::Scrubbed { case: case.to_owned(), target: target.to_owned() })?;
            }
            Ok(new)
        })
    }

    /// Completes a case, if every due receipt is final.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] for a case that is not known; as [`Ledger::finish`].
    pub fn complete(&self, case: &str, at_us: i64) -> Result<Completion> {
        self.write(|writer| complete(writer, case, at_us))
    }

    /// Completes several, in one transaction. Returns what became of each, in their order.
    ///
    /// # Errors
    /// As [`Ledger::complete`].
    pub fn complete_all(&self, cases: &[&str], at_us: i64) -> Result<Vec<Completion>> {
        self.write(|writer| cases.iter().map(|case| complete(writer, case, at_us)).collect())
    }

    /// Completes the cases whose due receipts are all final, at most `limit`. Returns which.
    ///
    /// # Errors
    /// As [`Ledger::complete`].
    pub fn complete_ready(&self, at_us: i64, limit: usize) -> Result<Vec<String>> {
        self.write(|writer| {
            let sql = "SELECT id FROM erasure_cases WHERE completed_us IS NULL AND missing = 0 ORDER BY \"offset\" LIMIT ?1";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let cases = statement(writer, sql)?
                .query_map([limit], |row| row.get::<_, String>(0))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let mut completed = Vec::new();
            for case in cases {
                if complete(writer, &case, at_us)? == Completion::Now {
                    completed.push(case);
                }
            }
            Ok(completed)
        })
    }

    /// It was looked again whether absence holds; a case of which rows were found is marked until a later look finds none.
    /// False when a look of that time or a later one is known.
    ///
    /// # Errors
    /// As [`Ledger::complete`].
    pub fn verified(&self, case: &str, at_us: i64, left: &[(String, u64)]) -> Result<bool> {
        self.write(|writer| {
            let violated = left.iter().any(|(_, rows)| *rows > 0);
            let sql = "UPDATE erasure_cases SET checked_us = ?2, violated = ?3
                       WHERE id = ?1 AND completed_us IS NOT NULL AND checked_us < ?2";
            let new = statement(writer, sql)?.execute(params![case, at_us, violated])? == 1;
            if new {
                let left =
                    left.iter().map(|(target, left)| Left { target: target.clone(), left: *left }).collect();
                writer.append(at_us, &Entry::Verified { case: case.to_owned(), left })?;
            }
            Ok(new)
        })
    }
}

fn put(writer: &Writer<'_>, receipt: &Receipt) -> Result<bool, Fault> {
    if let Some(step) = receipt.steps.iter().find(|step| step.left > 0) {
        return Err(Fault::Told(Error::data(format!(
            "record the receipt of {} for case {}: it says that {} rows of table {} are left",
            receipt.target, receipt.case, step.left, step.table
        ))));
    }
    let sql = "INSERT INTO erasure_receipts (case_id, target, due, state, \"offset\", receipt) VALUES (?1, ?2, 0, 'prepared', ?3, ?4)
               ON CONFLICT DO UPDATE SET state = 'prepared', \"offset\" = excluded.\"offset\", receipt = excluded.receipt
               WHERE state <> 'final'";
    let new = statement(writer, sql)?.execute(params![
        receipt.case,
        receipt.target,
        receipt.offset as i64,
        encode(receipt)?
    ])?;
    Ok(new == 1)
}

fn finish(writer: &mut Writer<'_>, case: &str, target: &str, at_us: i64) -> Result<bool, Fault> {
    let sql =
        "SELECT receipt, due FROM erasure_receipts WHERE case_id = ?1 AND target = ?2 AND state = 'prepared'";
    let found = statement(writer, sql)?
        .query_row([case, target], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))
        .optional()?;
    let Some((text, due)) = found else { return Ok(false) };
    let receipt = Receipt { at_us, ..decode(&text)? };
    let sql = "UPDATE erasure_receipts SET state = 'final', receipt = ?3 WHERE case_id = ?1 AND target = ?2";
    statement(writer, sql)?.execute(params![case, target, encode(&receipt)?])?;
    if due {
        statement(writer, "UPDATE erasure_cases SET missing = missing - 1 WHERE id = ?1")?.execute([case])?;
    }
    writer.append(at_us, &Entry::Receipt(receipt))?;
    Ok(true)
}

fn complete(writer: &mut Writer<'_>, case: &str, at_us: i64) -> Result<Completion, Fault> {
    let sql = "SELECT completed_us IS NOT NULL FROM erasure_cases WHERE id = ?1";
    let found = statement(writer, sql)?.query_row([case], |row| row.get::<_, bool>(0)).optional()?;
    match found {
        None => return Err(Fault::Told(Error::data(format!("complete case {case}: it is not known")))),
        Some(true) => return Ok(Completion::Before),
        Some(false) => {}
    }
    let sql = "SELECT target FROM erasure_receipts WHERE case_id = ?1 AND due = 1 AND state <> 'final' ORDER BY target";
    let missing = statement(writer, sql)?
        .query_map([case], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    if !missing.is_empty() {
        return Ok(Completion::Waits(missing));
    }
    let sql = "UPDATE erasure_cases SET completed_us = ?2, checked_us = ?2 WHERE id = ?1";
    statement(writer, sql)?.execute(params![case, at_us])?;
    writer.append(at_us, &Entry::Completed { case: case.to_owned() })?;
    Ok(Completion::Now)
}

fn encode(receipt: &Receipt) -> Result<String> {
    serde_json::to_string(receipt).map_err(|error| Error::corrupt("encode a receipt").caused_by(error))
}

pub(super) fn decode(text: &str) -> Result<Receipt> {
    serde_json::from_str(text)
        .map_err(|error| Error::corrupt("read a receipt in the ledger of erasures").caused_by(error))
}
