//! What the entries of a case tell, in the form of a certificate.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use super::{About, Certified, Looked, rfc3339};
use crate::erasure::ledger::Entry;
use crate::erasure::receipt::Receipt;

/// What a complete case's entries tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub about: About,
    pub receipts: Vec<Certified>,
    pub verifications: Vec<Looked>,
}

impl Story {
    /// Reads entries, oldest first.
    ///
    /// # Errors
    /// Why they tell of no complete case, in words.
    pub fn of(entries: &[(i64, Entry)]) -> Result<Story, String> {
        let (mut about, mut completed, mut returned) = (None, None, None);
        let (mut receipts, mut verifications) = (Vec::<Certified>::new(), Vec::new());
        for (at_us, entry) in entries {
            let once =
                |known: bool, what: &str| if known { Err(format!("it is {what} twice")) } else { Ok(()) };
            match entry {
                Entry::Opened { .. } => {
                    once(about.is_some(), "opened")?;
                    about = opened(entry);
                }
                Entry::Receipt(receipt) => {
                    let known = receipts.iter().any(|known| known.target == receipt.target);
                    once(known, &format!("confirmed by {}", receipt.target))?;
                    receipts.push(certified(receipt));
                }
                Entry::Scrubbed { target, .. } => {
                    match receipts.iter_mut().find(|known| known.target == *target) {
                        Some(receipt) => {
                            once(receipt.scrubbed_at.is_some(), &format!("scrubbed by {target}"))?;
                            receipt.scrubbed_at = Some(rfc3339(*at_us));
                        }
                        None => return Err(format!("{target} scrubbed without a receipt")),
                    }
                }
                Entry::Completed { .. } => {
                    once(completed.is_some(), "complete")?;
                    completed = Some(rfc3339(*at_us));
                }
                Entry::Verified { left, .. } => {
                    verifications.push(Looked { at: rfc3339(*at_us), left: left.clone() });
                }
                Entry::Lifted { .. } => {
                    once(returned.is_some(), "lifted")?;
                    returned = Some(rfc3339(*at_us));
                }
            }
        }
        let about = about.ok_or("there is no entry that opens it")?;
        let completed_at = completed.ok_or("there is no entry that completes it")?;
        Ok(Story { about: About { completed_at, returned_at: returned, ..about }, receipts, verifications })
    }

    /// What is missing for a complete erasure.
    pub fn missing(&self) -> Vec<String> {
        let due =
            self.about.due.iter().filter(|due| !self.receipts.iter().any(|receipt| receipt.target == **due));
        let left = self.receipts.iter().filter(|receipt| receipt.steps.iter().any(|step| step.left > 0));
        due.map(|due| format!("the receipt of {due}"))
            .chain(left.map(|receipt| format!("rows that {} left", receipt.target)))
            .collect()
    }
}

fn opened(entry: &Entry) -> Option<About> {
    let Entry::Opened { case, subject, key_hash, trigger, opened_us, deadline_us, offset, due } = entry
    else {
        return None;
    };
    Some(About {
        id: case.clone(),
        subject: subject.clone(),
        key_hash: key_hash.clone(),
        trigger: *trigger,
        offset: *offset,
        due: due.clone(),
        opened_at: rfc3339(*opened_us),
        deadline_at: rfc3339(*deadline_us),
        completed_at: String::new(),
        returned_at: None,
    })
}

fn certified(receipt: &Receipt) -> Certified {
    Certified {
        target: receipt.target.clone(),
        kind: receipt.kind.clone(),
        committed_at: rfc3339(receipt.at_us),
        offset: receipt.offset,
        verified: receipt.verified,
        steps: receipt.steps.clone(),
        scrubbed_at: None,
        remains: receipt.remains.clone().filter(|remains| !remains.is_empty()),
        confirmed_by: receipt.confirmed_by.clone(),
    }
}
