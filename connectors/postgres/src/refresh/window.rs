//! The stream's side of a refresh: from the first mark to the second.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{Found, Slot};
use crate::changes::{Plan, Scratch};
use crate::pgoutput::{Old, Tuple};
use connector_api::{BatchBuilder, Error, Refreshed, Result, Row};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Keys struck before everything counts as struck: memory is bounded however long the read takes.
const STRUCK_MAX: usize = 100_000;

/// What happens between the two marks.
pub(crate) struct Window {
    id: u64,
    slot: Arc<Slot>,
    table: Option<(u32, Plan)>,
    struck: HashSet<Vec<u8>>,
    /// The table was emptied, or too much changed.
    all_struck: bool,
    /// Transactions that had passed at the first mark.
    before: HashSet<u32>,
    outcome: Option<Refreshed>,
    key: Vec<u8>,
}

impl Window {
    pub(crate) fn new(id: u64, slot: Arc<Slot>) -> Window {
        Window {
            id,
            slot,
            table: None,
            struck: HashSet::new(),
            all_struck: false,
            before: HashSet::new(),
            outcome: None,
            key: Vec::new(),
        }
    }

    /// What came of it, once that is known.
    pub(crate) fn outcome(&mut self) -> Option<Result<Refreshed>> {
        match self.slot.lock().failed.take() {
            Some(error) => Some(Err(error)),
            None => self.outcome.take().map(Ok),
        }
    }

    /// A message of ours; true for the second mark, whose transaction then holds the rows. `recent` are the
    /// transactions that have passed, this one included.
    pub(crate) fn mark(
        &mut self,
        content: &[u8],
        recent: &VecDeque<u32>,
        into: &mut BatchBuilder,
        scratch: &mut Scratch,
    ) -> Result<bool> {
        if content == format!("low {:016x}", self.id).as_bytes() {
            self.table = self.slot.lock().table.take();
            self.before = recent.iter().copied().collect();
            return Ok(false);
        }
        if content != format!("high {:016x}", self.id).as_bytes() {
            return Ok(false);
        }
        let found = self.slot.lock().found.take();
        let found = found.ok_or_else(|| Error::corrupt("read stream: a mark before its rows"))?;
        self.outcome = Some(match found.open.iter().any(|xid| self.before.contains(xid)) {
            // The read missed a transaction that the stream has given already.
            true => Refreshed::default(),
            false => self.give(&found, into, scratch)?,
        });
        Ok(true)
    }

    /// A change between the marks, if it is one of the table.
    #[cold]
    pub(crate) fn strike(
        &mut self,
        oid: u32,
        old: Option<&Old<'_>>,
        new: Option<&Tuple<'_>>,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let Some((table, plan)) = &self.table else { return Ok(()) };
        if *table != oid {
            return Ok(());
        }
        let old = old.map(|old| match old {
            Old::Key(tuple) | Old::Full(tuple) => tuple,
        });
        self.all_struck |= (old.is_none() && new.is_none()) || self.struck.len() > STRUCK_MAX;
        for tuple in old.into_iter().chain(new) {
            // A table that was altered since it was read is of another width.
            if plan.tuple_key(tuple.clone(), &mut self.key, scratch).is_err() {
                self.all_struck = true;
            } else if !self.all_struck && !self.struck.contains(&self.key) {
                self.struck.insert(self.key.clone());
            }
        }
        Ok(())
    }

    /// Writes what was not struck: first the keys without a row, then the rows, in case a system takes keys for equal that
    /// are not.
    fn give(&mut self, found: &Found, into: &mut BatchBuilder, scratch: &mut Scratch) -> Result<Refreshed> {
        let mut refreshed = Refreshed { done: found.keys.len(), ..Refreshed::default() };
        let Some((_, plan)) = &mut self.table else {
            return match found.keys.is_empty() {
                true => Ok(refreshed),
                false => Ok(Refreshed::default()),
            };
        };
        if self.all_struck {
            refreshed.overtaken = found.keys.len() as u64;
            return Ok(refreshed);
        }
        let lines =
            || found.lines.strip_suffix(b"\n").into_iter().flat_map(|all| all.split(|byte| *byte == b'\n'));
        let mut there: HashSet<Vec<u8>> = HashSet::new();
        let mut fresh = Vec::new();
        for line in lines() {
            plan.line_key(line, &mut self.key, scratch)?;
            let struck = self.struck.contains(&self.key);
            fresh.push(!struck);
            refreshed.overtaken += u64::from(struck);
            there.insert(self.key.clone());
        }
        for key in found.keys.iter().filter(|key| !there.contains(*key)) {
            if self.struck.contains(key) {
                refreshed.overtaken += 1;
                continue;
            }
            plan.delete_key(Row::from_bytes(key), into)?;
            refreshed.deletes += 1;
        }
        for (line, _) in lines().zip(fresh).filter(|(_, fresh)| *fresh) {
            plan.line(line, into, scratch)?;
            refreshed.rows += 1;
        }
        Ok(refreshed)
    }
}
