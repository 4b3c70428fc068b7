//! A case as the admin API gives it and the command line prints it: stable JSON.

use serde::{Deserialize, Serialize};

use crate::erasure::certificate::rfc3339;
use crate::erasure::event::Trigger;
use crate::erasure::ledger::{Case, Counts, Slot, SlotState};
use crate::erasure::receipt::Receipt;

/// A case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseView {
    /// Its id.
    pub id: String,
    /// `open`, `overdue`, `completed` or `violated`.
    pub state: String,
    /// The kind of subject.
    pub subject: String,
    /// The keyed hash of the subject's key.
    pub key_hash: String,
    /// `deleted` or `asked`.
    pub trigger: Trigger,
    /// Its offset in the log's topic of erasures.
    pub offset: u64,
    /// When it opened, RFC 3339.
    pub opened_at: String,
    /// Until when it is due.
    pub deadline_at: String,
    /// When every due receipt was there.
    pub completed_at: Option<String>,
    /// When absence was last looked at.
    pub checked_at: Option<String>,
    /// A new row of the subject came since.
    pub returned: bool,
    /// The targets that are waited for.
    pub waits_for: Vec<String>,
    /// The targets.
    pub targets: Vec<TargetView>,
}

/// A target of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetView {
    /// Its name.
    pub target: String,
    /// `awaited`, `prepared` or `final`.
    pub state: String,
    /// The case is not complete without it.
    pub due: bool,
    /// When no bytes were left under the rows, RFC 3339.
    pub scrubbed_at: Option<String>,
    /// What it did.
    pub receipt: Option<Receipt>,
}

/// How many cases there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountsView {
    /// Receipts are missing.
    pub open: u64,
    /// Of these, past their deadline.
    pub overdue: u64,
    /// Every due receipt is there.
    pub completed: u64,
    /// The last verification found rows.
    pub violated: u64,
}

impl CaseView {
    /// A case as it stands at a moment, Unix microseconds. The sealed key is left out.
    pub fn of(case: &Case, now_us: i64) -> CaseView {
        let state = match case.completed_us {
            Some(_) if case.violated => "violated",
            Some(_) => "completed",
            None if case.is_overdue(now_us) => "overdue",
            None => "open",
        };
        CaseView {
            id: case.id.clone(),
            state: state.to_owned(),
            subject: case.subject.clone(),
            key_hash: case.key_hash.clone(),
            trigger: case.trigger,
            offset: case.offset,
            opened_at: rfc3339(case.opened_us),
            deadline_at: rfc3339(case.deadline_us),
            completed_at: case.completed_us.map(rfc3339),
            checked_at: case.checked_us.map(rfc3339),
            returned: case.lifted.is_some(),
            waits_for: case.missing().map(str::to_owned).collect(),
            targets: case.slots.iter().map(TargetView::of).collect(),
        }
    }
}

impl TargetView {
    fn of(slot: &Slot) -> TargetView {
        let state = match slot.state {
            SlotState::Awaited => "awaited",
            SlotState::Prepared => "prepared",
            SlotState::Final => "final",
        };
        TargetView {
            target: slot.target.clone(),
            state: state.to_owned(),
            due: slot.due,
            scrubbed_at: slot.scrubbed_us.map(rfc3339),
            receipt: slot.receipt.clone(),
        }
    }
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        let Counts { open, overdue, completed, violated } = counts;
        CountsView { open, overdue, completed, violated }
    }
}
