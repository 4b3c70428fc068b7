//! Erasures, met in the log in their order: a sink erases what its target holds of a person in the transaction that carries
//! its cursor past the case (I3), and gives a receipt.
//!
//! A receipt is prepared before that transaction commits and becomes final after it. After a crash in between the target's
//! own cursor says which: behind the case, the receipt is true; in front of it, it is thrown away and the case is met again.

use std::sync::Arc;

use connector_api::erasure::{Outcome, Scrubbed};
use connector_api::{Cursor, Delivery, Error, Result, TopicPartition, Value};
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};
use tracing::{info, warn};

use super::Session;
use crate::erasure::cascade;
use crate::erasure::event::{CASES, Event, Opened};
use crate::erasure::fence::Gate;
use crate::erasure::ledger::{Arrival, Ledger};
use crate::erasure::matcher::{Fate, Matcher};
use crate::erasure::receipt::{Done, Receipt};
use crate::erasure::rules::Subject;
use crate::pipeline::dead_letter::Selection;
use crate::pipeline::status::now_us;

/// How long until bytes that a reader of the target still holds are looked for again.
const SCRUB_EVERY: Duration = Duration::from_secs(1);
/// Receipts that become final in one write of the ledger; others who need the state database have their turn in between.
const FINISH_MAX: usize = 500;
/// No record of a sink's letters stands behind the case that it meets.
const EVERYTHING: (u64, u32) = (u64::MAX, u32::MAX);

/// What a sink needs to erase.
pub struct Eraser {
    /// Who is a subject, and who can say who it is.
    pub gate: Gate,
    /// Where receipts go.
    pub ledger: Ledger,
    /// Rings when a receipt is final.
    pub bell: Arc<Notify>,
    /// The type of the sink, for receipts.
    pub kind: &'static str,
    /// The target cannot be looked into: it is told, and has its word taken.
    pub told: bool,
    /// What a deletion leaves at such a target.
    pub remains: &'static str,
}

/// The topic-partition of cases.
pub fn cases() -> TopicPartition {
    TopicPartition { topic: CASES.into(), partition: 0 }
}

/// What is under way.
#[derive(Default)]
pub(super) struct Erasing {
    /// Receipts of the delivery at hand, not in the ledger yet.
    fresh: Vec<Receipt>,
    /// Cases carried out since the last commit.
    open: Vec<String>,
    /// Committed, and not known to be gone under the rows too.
    unscrubbed: Vec<String>,
    scrub_at: Option<Instant>,
}

impl Erasing {
    /// Takes up what a crash left: receipts of cases that the target is behind are true, the others are not.
    ///
    /// # Errors
    /// When the state database cannot be read or written.
    pub fn resume(eraser: Option<&Eraser>, sink: &str, cursor: &Cursor) -> Result<Erasing> {
        let mut erasing = Erasing::default();
        let Some(eraser) = eraser else { return Ok(erasing) };
        for (case, offset) in eraser.ledger.prepared(sink)? {
            if cursor.get(&cases()) > offset {
                erasing.unscrubbed.push(case);
            } else {
                eraser.ledger.discard(&case, sink)?;
            }
        }
        if !erasing.unscrubbed.is_empty() {
            erasing.scrub_at = Some(Instant::now());
        }
        Ok(erasing)
    }

    /// When bytes are to be looked for again.
    pub fn scrub_at(&self) -> Option<Instant> {
        self.scrub_at
    }
}

impl Session<'_> {
    /// Whether a delivery holds cases.
    pub(super) fn has_cases(&self, delivery: &Delivery) -> bool {
        self.deliver.eraser.is_some()
            && delivery.sections.iter().any(|section| &*section.topic.topic == CASES)
    }

    /// Applies a delivery with cases in it: what stands before a case reaches the target before it. The ledger is written
    /// once before them and once after them: each write is a wait for the disk.
    pub(super) async fn apply_with_cases(&mut self, delivery: &Delivery) -> Result<()> {
        self.follow(delivery)?;
        for delivered in delivery.records() {
            let delivered = delivered?;
            if &*delivered.section.topic.topic != CASES {
                self.apply_delivered(&delivered)?;
                continue;
            }
            if let Event::Opened(opened) = Event::decode(delivered.record.value)? {
                self.flush(delivery).await?;
                self.erase(&opened, delivered.record.offset).await?;
            }
        }
        self.prepare()
    }

    /// Idempotent: the ledger may not have followed the log to here yet, and a target that is told may confirm at once.
    fn follow(&self, delivery: &Delivery) -> Result<()> {
        let Some(eraser) = &self.deliver.eraser else { return Ok(()) };
        let mut arrivals = Vec::new();
        for delivered in delivery.records() {
            let delivered = delivered?;
            if &*delivered.section.topic.topic != CASES {
                continue;
            }
            let Event::Opened(opened) = Event::decode(delivered.record.value)? else { continue };
            let subject = eraser.gate.rules.subject(&opened.subject);
            if let Some(subject) = subject.filter(|subject| subject.concerns(&self.deliver.name)) {
                let due = subject.due_targets();
                arrivals.push(Arrival { offset: delivered.record.offset, opened, due });
            }
        }
        if !arrivals.is_empty() {
            eraser.ledger.opened_all(&arrivals)?;
        }
        Ok(())
    }

    /// Makes the receipts of a delivery durable, before the commit that carries what they say (I3).
    fn prepare(&mut self) -> Result<()> {
        let fresh = std::mem::take(&mut self.erasing.fresh);
        if let (Some(eraser), false) = (&self.deliver.eraser, fresh.is_empty()) {
            eraser.ledger.prepare_all(&fresh)?;
        }
        self.erasing.open.extend(fresh.into_iter().map(|receipt| receipt.case));
        Ok(())
    }

    async fn erase(&mut self, opened: &Opened, offset: u64) -> Result<()> {
        let Some(eraser) = self.deliver.eraser.clone() else { return Ok(()) };
        let (name, case) = (self.deliver.name.clone(), &opened.case);
        let Some(subject) = eraser.gate.rules.subject(&opened.subject) else {
            warn!(sink = %name, case, subject = opened.subject, "the configuration has no such kind of subject any more: nothing is erased");
            return Ok(());
        };
        if !subject.concerns(&name) {
            return Ok(());
        }
        let plain = eraser.gate.secret.unseal(case, &opened.sealed)?;
        let key = Value::from_bytes(&plain);
        self.forget_letters(&eraser, opened, key)?;
        let erasure = cascade::erasure(subject, &name, case, key, &opened.key_hash)?;
        match self.sink.erase(&erasure).await? {
            Outcome::Awaited => {
                info!(sink = %name, case, "the target takes the erasure over, and confirms later")
            }
            Outcome::Done(done) => {
                self.must_be_gone(subject, case, &done)?;
                let rules = subject.steps(&name);
                let steps = match rules {
                    [] => done.into_iter().map(Done::told).collect(),
                    rules => rules.iter().zip(done).map(|(rule, erased)| Done::of(rule, erased)).collect(),
                };
                self.erasing.fresh.push(Receipt {
                    case: case.clone(),
                    target: name.to_string(),
                    kind: eraser.kind.to_owned(),
                    steps,
                    verified: !eraser.told,
                    offset,
                    at_us: now_us(),
                    remains: Some(eraser.remains.to_owned()),
                    confirmed_by: eraser.told.then(|| format!("{name}'s answer")),
                });
            }
        }
        self.group.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// What is still there after it was erased comes from the target itself: a trigger, a rule, another writer.
    fn must_be_gone(
        &self,
        subject: &Subject,
        case: &str,
        done: &[connector_api::erasure::Erased],
    ) -> Result<()> {
        let Some(at) = done.iter().position(|erased| erased.left > 0) else { return Ok(()) };
        let rule = subject.steps(&self.deliver.name).get(at);
        let table = rule.map(|rule| format!(" of table {:?}", rule.table)).unwrap_or_default();
        let left = done.get(at).map_or(0, |erased| erased.left);
        Err(Error::config(format!("erase case {case}: {left} rows{table} are still there afterwards"))
            .with_remedy("look for a trigger of the target that brings them back"))
    }

    /// Letters of the subject must not bring its rows back (I11).
    fn forget_letters(&mut self, eraser: &Eraser, opened: &Opened, key: Value<'_>) -> Result<()> {
        let (name, letters) = (self.deliver.name.clone(), self.deliver.dead_letters.clone());
        if letters.count(&name)? == 0 {
            return Ok(());
        }
        let mut matcher = Matcher::new(eraser.gate.rules.clone(), eraser.gate.secret.clone());
        matcher.want(&opened.case, &opened.subject, key, EVERYTHING, true)?;
        let mut list = letters.list(&name, usize::MAX)?;
        list.retain(|letter| matcher.looks_at(&letter.topic.topic));
        for letter in list.iter().rev() {
            matcher.learn(&letter.topic, &letter.schema, letter.record(), (0, 0))?;
        }
        let mut changed = 0;
        for letter in list.iter().rev() {
            match matcher.judge(&letter.topic, &letter.schema, letter.record(), (0, 0))? {
                Fate::Stays => continue,
                Fate::Goes { .. } => letters.remove(&name, &Selection::Ids(vec![letter.id]))?,
                Fate::Becomes { value, .. } => letters.rewrite(&name, letter.id, &value)?,
            };
            changed += 1;
        }
        if changed > 0 {
            info!(sink = %name, case = opened.case, changed, "dead letters of the erased subject are gone");
            letters.scrub()?;
            self.recount()?;
        }
        Ok(())
    }

    /// The commit that carried cases is durable.
    pub(super) async fn erased(&mut self) -> Result<()> {
        if self.erasing.open.is_empty() {
            return Ok(());
        }
        let open = std::mem::take(&mut self.erasing.open);
        self.erasing.unscrubbed.extend(open);
        self.scrub().await
    }

    /// Makes receipts final, once nothing is left under the rows.
    pub(super) async fn scrub(&mut self) -> Result<()> {
        let Some(eraser) = self.deliver.eraser.clone() else { return Ok(()) };
        if let Scrubbed::Later(why) = self.sink.scrub().await? {
            if self.erasing.scrub_at.is_none() {
                warn!(sink = %self.deliver.name, "erased, but not gone from the file yet: {why}");
            }
            self.erasing.scrub_at = Some(Instant::now() + SCRUB_EVERY);
            self.deliver.status.lock().unscrubbed = Some(why);
            return Ok(());
        }
        self.erasing.scrub_at = None;
        self.deliver.status.lock().unscrubbed = None;
        let cases = std::mem::take(&mut self.erasing.unscrubbed);
        let cases: Vec<_> = cases.iter().map(String::as_str).collect();
        for cases in cases.chunks(FINISH_MAX) {
            eraser.ledger.finish_all(&self.deliver.name, cases, now_us())?;
        }
        eraser.bell.notify_one();
        Ok(())
    }
}
