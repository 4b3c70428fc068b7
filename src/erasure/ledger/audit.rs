//! Whether the whole chain is as it was written, and the tables say what the chain says.

use std::collections::HashMap;
use std::fmt;

use connector_api::Result;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::chain::{Digest, Entry, GENESIS, Head, body_hash, link_hash, skip};
use super::{Ledger, unreadable};
use crate::erasure::event::Trigger;

/// Where the ledger is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The entry, where it is one.
    pub seq: Option<u64>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "entry {seq} of the ledger of erasures: {}", self.why),
            None => write!(f, "ledger of erasures: {}", self.why),
        }
    }
}

/// What ends an audit.
enum End {
    Database(rusqlite::Error),
    Broken(Broken),
}

impl From<rusqlite::Error> for End {
    fn from(error: rusqlite::Error) -> Self {
        End::Database(error)
    }
}

impl Ledger {
    /// Recomputes every hash of the chain, and compares the cases and receipts with it. Reads everything; the state
    /// database is held meanwhile.
    ///
    /// # Errors
    /// When the database cannot be read. What is found wrong is no error of this call.
    pub fn chain_ok(&self) -> Result<Result<(), Broken>> {
        let connection = self.state.lock();
        let mut audit = Audit::default();
        let mut run = || {
            let mark: Option<Vec<u8>> =
                connection.query_row("SELECT head_mac FROM erasure_state", [], |row| row.get(0))?;
            let head = audit.walk(&connection)?;
            let marked = match mark {
                Some(mark) => self.secret.marked(&head.bytes(), &mark),
                None => head.seq == 0,
            };
            if !marked {
                return Err(broken(Some(head.seq), "the chain does not end where this service left it"));
            }
            audit.compare(&connection)
        };
        match run() {
            Ok(()) => Ok(Ok(())),
            Err(End::Broken(broken)) => Ok(Err(broken)),
            Err(End::Database(error)) => Err(unreadable(error)),
        }
    }
}

fn broken(seq: Option<u64>, why: &str) -> End {
    End::Broken(Broken { seq, why: why.to_owned() })
}

/// What was seen on the way through the chain.
#[derive(Default)]
struct Audit {
    opened: i64,
    lifted: i64,
    receipts: i64,
    scrubbed: i64,
    completed: i64,
    /// Of each case that was looked at again: when last, and whether rows were found.
    verified: HashMap<String, (i64, bool)>,
}

impl Audit {
    fn walk(&mut self, connection: &Connection) -> Result<Head, End> {
        let mut statement = connection
            .prepare("SELECT seq, at_us, case_id, entry, prev_hash, hash FROM erasure_ledger ORDER BY seq")?;
        let mut rows = statement.query([])?;
        let mut head = Head { seq: 0, hash: GENESIS };
        // The newest hash at each number of trailing zeros: what an entry skips to is the newest at its own number.
        let mut levels = [GENESIS; 65];
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)? as u64;
            let (at_us, case) = (row.get::<_, i64>(1)?, row.get::<_, String>(2)?);
            let text = row.get::<_, String>(3)?;
            let (prev, hash) = (Digest(row.get(4)?), Digest(row.get(5)?));
            if seq != head.seq + 1 {
                return Err(broken(Some(head.seq + 1), "it is missing"));
            }
            if prev != head.hash {
                return Err(broken(Some(seq), "it does not follow the one before it"));
            }
            let far = if skip(seq) == 0 { GENESIS } else { levels[skip(seq).trailing_zeros() as usize] };
            if link_hash(seq, prev, far, body_hash(seq, at_us, &case, &text)) != hash {
                return Err(broken(Some(seq), "it was changed"));
            }
            levels[seq.trailing_zeros() as usize] = hash;
            head = Head { seq, hash };
            let entry: Entry = serde_json::from_str(&text)
                .map_err(|_| broken(Some(seq), "this program did not write it"))?;
            let agrees = entry.case() == case && self.agrees(connection, at_us, &entry)?;
            if !agrees {
                return Err(broken(
                    Some(seq),
                    &format!("the state of case {case} is not what the entry says"),
                ));
            }
        }
        Ok(head)
    }

    /// Whether the tables hold what an entry says.
    fn agrees(&mut self, connection: &Connection, at_us: i64, entry: &Entry) -> rusqlite::Result<bool> {
        let holds = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<bool> {
            Ok(connection.prepare_cached(sql)?.query_row(values, |_| Ok(())).optional()?.is_some())
        };
        match entry {
            Entry::Opened { case, subject, key_hash, trigger, opened_us, deadline_us, offset, due } => {
                self.opened += 1;
                let opened_by = match trigger {
                    Trigger::Deleted => "deleted",
                    Trigger::Asked => "asked",
                };
                let sql = "SELECT 1 FROM erasure_cases WHERE id = ?1 AND subject = ?2 AND key_hash = ?3 AND opened_by = ?4
                           AND opened_us = ?5 AND deadline_us = ?6 AND \"offset\" = ?7";
                let same =
                    params![case, subject, key_hash, opened_by, opened_us, deadline_us, *offset as i64];
                Ok(holds(sql, same)? && dues(connection, case)? == sorted(due))
            }
            Entry::Receipt(receipt) => {
                self.receipts += 1;
                let text = serde_json::to_string(receipt).unwrap_or_default();
                let sql = "SELECT 1 FROM erasure_receipts WHERE case_id = ?1 AND target = ?2 AND state = 'final' AND receipt = ?3";
                holds(sql, params![receipt.case, receipt.target, text])
            }
            Entry::Scrubbed { case, target } => {
                self.scrubbed += 1;
                let sql =
                    "SELECT 1 FROM erasure_receipts WHERE case_id = ?1 AND target = ?2 AND scrubbed_us = ?3";
                holds(sql, params![case, target, at_us])
            }
            Entry::Completed { case } => {
                self.completed += 1;
                holds("SELECT 1 FROM erasure_cases WHERE id = ?1 AND completed_us = ?2", params![case, at_us])
            }
            Entry::Lifted { case, offset } => {
                self.lifted += 1;
                holds(
                    "SELECT 1 FROM erasure_cases WHERE id = ?1 AND lifted = ?2",
                    params![case, *offset as i64],
                )
            }
            Entry::Verified { case, left } => {
                self.verified.insert(case.clone(), (at_us, left.iter().any(|left| left.left > 0)));
                Ok(true)
            }
        }
    }

    /// Whether the tables hold nothing that the chain does not say.
    fn compare(&self, connection: &Connection) -> Result<(), End> {
        let counts = [
            (self.opened, "SELECT count(*) FROM erasure_cases", "cases"),
            (self.lifted, "SELECT count(*) FROM erasure_cases WHERE lifted IS NOT NULL", "lifted cases"),
            (
                self.completed,
                "SELECT count(*) FROM erasure_cases WHERE completed_us IS NOT NULL",
                "complete cases",
            ),
            (self.receipts, "SELECT count(*) FROM erasure_receipts WHERE state = 'final'", "final receipts"),
            (
                self.scrubbed,
                "SELECT count(*) FROM erasure_receipts WHERE scrubbed_us IS NOT NULL",
                "scrubbed receipts",
            ),
        ];
        for (told, sql, what) in counts {
            let found: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            if found != told {
                return Err(broken(
                    None,
                    &format!("it tells of {told} {what}, and the database has {found}"),
                ));
            }
        }
        let mut statement = connection.prepare(
            "SELECT id, completed_us, checked_us, violated FROM erasure_cases ORDER BY \"offset\"",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, completed): (String, Option<i64>) = (row.get(0)?, row.get(1)?);
            let told = match self.verified.get(&id) {
                Some((at_us, violated)) => (Some(*at_us), *violated),
                None => (completed, false),
            };
            if told != (row.get(2)?, row.get(3)?) {
                return Err(broken(None, &format!("the last verification of case {id} is not what it says")));
            }
        }
        let sql = "SELECT id FROM erasure_cases WHERE missing <> (SELECT count(*) FROM erasure_receipts
                   WHERE case_id = id AND due = 1 AND state <> 'final') LIMIT 1";
        match connection.query_row(sql, [], |row| row.get::<_, String>(0)).optional()? {
            Some(case) => {
                Err(broken(None, &format!("the missing receipts of case {case} are not counted right")))
            }
            None => Ok(()),
        }
    }
}

fn dues(connection: &Connection, case: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT target FROM erasure_receipts WHERE case_id = ?1 AND due = 1 ORDER BY target")?
        .query_map([case], |row| row.get(0))?
        .collect()
}

fn sorted(due: &[String]) -> Vec<String> {
    let mut due = due.to_vec();
    due.sort();
    due.dedup();
    due
}
