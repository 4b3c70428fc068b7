//! The desk: follows the cases in the log, has the log purged, and closes a case when every due receipt is there.
//!
//! Everything here can be done again: the log says which cases there are, the ledger which receipts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use connector_api::erasure::Erased;
use connector_api::{
    BatchBuilder, Cursor, Delivery, Error, Event as Record, Headers, Result, TopicPartition,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant};
use tracing::{info, warn};

use super::event::{CASES, Event, Opened, RECEIPTS};
use super::fence::Gate;
use super::ledger::{Arrival, Case, Completion, Ledger};
use super::matcher::Place;
use super::purge::{Counts, Wanted, purge};
use super::receipt::{Done, LOG, Receipt};
use super::recheck::recheck;
use super::rules::{Action, LogRule, Subject};
use crate::config::Config;
use crate::log::{Log, LogReader, Subscription};
use crate::pipeline::Shutdown;
use crate::pipeline::status::now_us;

/// How often the desk looks round when nothing rings.
const TICK: Duration = Duration::from_secs(1);
/// How much of the log is read at a time.
const READ_BYTES: usize = 1 << 20;
/// How long the log waits for sinks before it is purged for the first time: most have their receipts by then, and one pass
/// serves for all.
const GRACE: Duration = Duration::from_secs(5);
/// Between two passes, and between two long looks, there is at least so many times the duration of the last one.
const REST: u32 = 4;
/// How often, at most and at least, cases are looked for whose absence is to be looked at again.
const RECHECK_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A look at the open cases that takes no longer may be followed by the next one at once.
const SHORT: Duration = Duration::from_millis(25);
/// Cases that are closed in one write of the log and one of the ledger.
const CLOSE_MAX: usize = 250;
/// Cases of one pass.
const PASS_MAX: usize = 10_000;
/// What purging the log leaves, for certificates.
pub const REMAINS: &str = "Rewritten files are deleted: what the file system, snapshots of it and backups keep of them goes \
     when these do. A program that was reading an old file at that moment may read it to its end.";

/// Follows and closes cases.
pub struct Desk {
    /// Who is a subject.
    pub gate: Gate,
    /// What is known of cases and receipts.
    pub ledger: Ledger,
    /// Where cases come from, and a target itself.
    pub log: Arc<dyn Log>,
    /// Where the sinks are.
    pub config: Arc<Config>,
    /// Rung when a receipt is final.
    pub bell: Arc<Notify>,
}

/// A case that is not complete.
struct Open {
    opened: Arc<Opened>,
    place: Place,
    offset: u64,
    /// Ends of the subject's own topic when the desk met the case: every sink that has passed them has met the delete.
    ends: Vec<(TopicPartition, u64)>,
    since: Instant,
    /// The log was purged once, of all but tombstones.
    stripped: bool,
    counts: BTreeMap<Arc<str>, u64>,
}

/// A pass over the log under way: the cases that it covers, and whether each is done with it.
struct Pass {
    task: JoinHandle<Result<Counts>>,
    cases: Vec<(String, bool)>,
    begun: Instant,
}

struct AtWork {
    desk: Desk,
    open: BTreeMap<String, Open>,
    pass: Option<Pass>,
    /// No pass before this moment.
    rest_until: Instant,
    /// Looking whether absence holds.
    recheck: Option<JoinHandle<Result<()>>>,
    recheck_at: Instant,
    /// No look at the open cases before this moment.
    look_from: Instant,
}

/// The cases that are not complete, as the ledger has them.
type Standing = BTreeMap<String, Case>;

impl Desk {
    /// Works until stopped. A failure is looked at again a second later.
    pub async fn run(self, mut until: Shutdown) {
        let (bell, now) = (self.bell.clone(), Instant::now());
        let mut work = AtWork {
            desk: self,
            open: BTreeMap::new(),
            pass: None,
            rest_until: now,
            look_from: now,
            recheck: None,
            recheck_at: now,
        };
        let mut reader: Option<Box<dyn LogReader>> = None;
        while !until.is_requested() {
            let outcome = match &mut reader {
                None => work.desk.subscribe().map(|fresh| reader = Some(fresh)),
                Some(reader) => tokio::select! {
                    () = until.requested() => break,
                    read = reader.next(READ_BYTES) => match read {
                        Ok(deliveries) => work.take(&deliveries).await,
                        Err(error) => Err(error),
                    },
                    () = bell.notified() => Ok(()),
                    () = tokio::time::sleep(TICK) => Ok(()),
                },
            };
            let outcome = match outcome {
                Ok(()) => work.advance().await,
                failed => failed,
            };
            if let Err(error) = outcome {
                warn!(remedy = error.remedy(), "erasures: {error}");
                reader = None;
                tokio::select! {
                    () = until.requested() => break,
                    () = tokio::time::sleep(TICK) => {}
                }
            }
        }
    }

    /// From the beginning: the places of open cases are in the log only.
    fn subscribe(&self) -> Result<Box<dyn LogReader>> {
        let subscription = Subscription { patterns: vec![CASES.to_owned()] };
        self.log.subscribe(subscription, Cursor::start(self.log.id()))
    }
}

impl AtWork {
    async fn take(&mut self, deliveries: &[Delivery]) -> Result<()> {
        self.desk.gate.catch_up(&*self.desk.log).await?;
        let mut arrivals = Vec::new();
        let mut lifted = Vec::new();
        for delivery in deliveries {
            for delivered in delivery.records() {
                let delivered = delivered?;
                let offset = delivered.record.offset;
                match Event::decode(delivered.record.value)? {
                    Event::Opened(opened) => {
                        let Some(subject) = self.desk.gate.rules.subject(&opened.subject) else { continue };
                        let place = (delivery.sequence, delivered.record.order);
                        let due = subject.due_targets();
                        arrivals.push((place, Arrival { offset, opened, due }));
                    }
                    Event::Lifted(event) => lifted.push((offset, event)),
                }
            }
        }
        let only: Vec<_> = arrivals.iter().map(|(_, arrival)| arrival.clone()).collect();
        self.desk.ledger.opened_all(&only)?;
        for (offset, event) in lifted {
            self.desk.ledger.lifted(offset, &event, now_us())?;
        }
        for (place, arrival) in arrivals {
            self.remember(place, arrival)?;
        }
        Ok(())
    }

    fn remember(&mut self, place: Place, arrival: Arrival) -> Result<()> {
        let Arrival { offset, opened, .. } = arrival;
        let known = self.desk.ledger.case(&opened.case)?;
        if known.is_some_and(|case| case.completed_us.is_some()) || self.open.contains_key(&opened.case) {
            return Ok(());
        }
        let subject = self.desk.gate.rules.subject(&opened.subject);
        let own = subject.map(|subject| subject.topic.clone()).unwrap_or_default();
        let topics = self.desk.log.topics().into_iter().filter(|status| status.topic.topic == own);
        let ends = topics.map(|status| (status.topic, status.end)).collect();
        let (case, opened) = (opened.case.clone(), Arc::new(opened));
        let since = Instant::now();
        let open = Open { opened, place, offset, ends, since, stripped: false, counts: BTreeMap::new() };
        self.open.insert(case, open);
        Ok(())
    }

    async fn advance(&mut self) -> Result<()> {
        self.end_pass().await?;
        let begun = Instant::now();
        if !self.open.is_empty() && begun >= self.look_from {
            let standing = self.desk.ledger.open_cases(usize::MAX)?;
            let standing = standing.into_iter().map(|case| (case.id.clone(), case)).collect();
            let took = begun.elapsed();
            if took > SHORT {
                self.look_from = Instant::now() + took * REST;
            }
            self.begin_pass(&standing);
            self.close(&standing).await?;
        }
        self.recheck().await
    }

    /// Looks at complete cases that are due, beside everything else.
    async fn recheck(&mut self) -> Result<()> {
        if let Some(task) = self.recheck.take_if(|task| task.is_finished()) {
            let kinds = &self.desk.gate.rules.subjects;
            let shortest = kinds.iter().filter_map(|kind| kind.verify_every).min();
            let (least, most) = RECHECK_EVERY;
            self.recheck_at = Instant::now() + shortest.unwrap_or(most).clamp(least, most);
            return task
                .await
                .map_err(|error| Error::transient("look whether erasures hold").caused_by(error))?;
        }
        if self.recheck.is_none() && Instant::now() >= self.recheck_at {
            let Desk { config, gate, ledger, .. } = &self.desk;
            self.recheck = Some(tokio::spawn(recheck(config.clone(), gate.clone(), ledger.clone())));
        }
        Ok(())
    }

    /// Takes up what a pass came to, when it has ended.
    async fn end_pass(&mut self) -> Result<()> {
        if !self.pass.as_ref().is_some_and(|pass| pass.task.is_finished()) {
            return Ok(());
        }
        let Some(pass) = self.pass.take() else { return Ok(()) };
        let took = pass.begun.elapsed();
        self.rest_until = Instant::now() + took * REST;
        let counts =
            pass.task.await.map_err(|error| Error::transient("purge the log").caused_by(error))??;
        info!(cases = pass.cases.len(), ?took, records = counts.values().sum::<u64>(), "purged the log");
        for ((case, topic), count) in counts {
            if let Some(open) = self.open.get_mut(&*case) {
                *open.counts.entry(topic).or_default() += count;
            }
        }
        let mut receipts = Vec::new();
        for (case, whole) in pass.cases {
            let Some(open) = self.open.get_mut(&case) else { continue };
            open.stripped = true;
            if let (true, Some(subject)) = (whole, self.desk.gate.rules.subject(&open.opened.subject)) {
                receipts.push(receipt(open, subject));
            }
        }
        self.desk.ledger.receive_all(&receipts)?;
        Ok(())
    }

    /// Begins a pass when one is worth it.
    fn begin_pass(&mut self, standing: &Standing) {
        if self.pass.is_some() || Instant::now() < self.rest_until {
            return;
        }
        let groups = self.desk.log.groups();
        let mut wanted = Vec::new();
        let mut worth = false;
        for (case, open) in &self.open {
            let Some(subject) = self.desk.gate.rules.subject(&open.opened.subject) else { continue };
            if subject.log != LogRule::Purge {
                continue;
            }
            let Some(known) = standing.get(case) else { continue };
            let missing: BTreeSet<_> = known.missing().collect();
            if !missing.contains(LOG) {
                continue;
            }
            let reads = |group: &&Cursor| open.ends.iter().any(|(topic, _)| group.get(topic) > 0);
            let behind = |group: &Cursor| open.ends.iter().any(|(topic, end)| group.get(topic) < *end);
            let passed = missing.len() == 1 && !groups.values().filter(reads).any(behind);
            worth |= passed || (!open.stripped && open.since.elapsed() >= GRACE);
            wanted.push((case.clone(), Wanted { opened: open.opened.clone(), place: open.place, passed }));
            if wanted.len() == PASS_MAX {
                break;
            }
        }
        if !worth {
            return;
        }
        let cases = wanted.iter().map(|(case, wanted)| (case.clone(), wanted.passed)).collect();
        let (log, gate) = (self.desk.log.clone(), self.desk.gate.clone());
        let wanted: Vec<_> = wanted.into_iter().map(|(_, wanted)| wanted).collect();
        let task = tokio::spawn(async move { purge(&*log, &gate.rules, &gate.secret, &wanted).await });
        self.pass = Some(Pass { task, cases, begun: Instant::now() });
    }

    /// Closes the cases whose receipts are all there.
    async fn close(&mut self, standing: &Standing) -> Result<()> {
        self.open.retain(|case, _| standing.contains_key(case));
        let known = self.open.keys().filter_map(|case| standing.get(case));
        let ready: Vec<&Case> = known.filter(|case| case.missing().next().is_none()).collect();
        for ready in ready.chunks(CLOSE_MAX) {
            // Published before the case is complete: a crash in between publishes them again, and loses none.
            publish(&*self.desk.log, ready.iter().flat_map(|case| case.receipts())).await?;
            let ids: Vec<_> = ready.iter().map(|case| &*case.id).collect();
            let completions = self.desk.ledger.complete_all(&ids, now_us())?;
            for (case, completion) in ready.iter().zip(completions) {
                match completion {
                    Completion::Waits(_) => continue,
                    Completion::Now => info!(case = case.id, "erasure complete: every receipt is there"),
                    Completion::Before => {}
                }
                self.open.remove(&case.id);
            }
        }
        Ok(())
    }
}

/// What the log did.
fn receipt(open: &Open, subject: &Subject) -> Receipt {
    let step = |(topic, rows): (&Arc<str>, &u64)| {
        let rule = subject.topics.iter().find(|rule| rule.topic == *topic);
        let (action, reason) =
            rule.map_or((&Action::Delete, None), |rule| (&rule.action, rule.reason.clone()));
        Done::by(topic, action, reason, Erased { rows: *rows, left: 0 })
    };
    Receipt {
        case: open.opened.case.clone(),
        target: LOG.to_owned(),
        kind: LOG.to_owned(),
        steps: open.counts.iter().map(step).collect(),
        verified: true,
        offset: open.offset,
        at_us: now_us(),
        remains: Some(REMAINS.to_owned()),
        confirmed_by: None,
    }
}

/// Appends receipts to the topic of receipts; durable when it returns.
async fn publish<'r>(log: &dyn Log, receipts: impl Iterator<Item = &'r Receipt>) -> Result<()> {
    let (topic, headers) = (Arc::from(RECEIPTS), Headers::default());
    let mut builder = BatchBuilder::new("millstream", usize::MAX);
    for receipt in receipts {
        let value =
            serde_json::to_vec(receipt).map_err(|error| Error::corrupt("encode receipt").caused_by(error))?;
        let record = Record { key: Some(receipt.case.as_bytes()), value: Some(&value), headers: &headers };
        builder.event(&topic, receipt.at_us, record)?;
    }
    if builder.is_empty() {
        return Ok(());
    }
    log.append(builder.take(None)).await?.await.map(drop)
}
