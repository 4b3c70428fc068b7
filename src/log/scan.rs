//! Reading in the order of visibility, the same for every engine: a batch counts where it stands, a transaction of many
//! batches where its last one stands (I4).
//!
//! A reader walks the journal and passes over chunks of transactions; at the chunk that ends one, it goes back to where that
//! began and gives all of them in a row. So an unfinished or aborted transaction needs no bookkeeping here: its end never
//! comes. No two producers' chunks interleave in what a sink sees.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use connector_api::{BoxFuture, Cursor, Delivery, Error, LogId, Position, Result, Section, TopicPartition};
use tokio::sync::watch;

use super::{LogReader, Subscription};

/// A batch as the journal holds it, its sections placed.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub sequence: u64,
    /// Unix microseconds.
    pub appended_us: i64,
    pub producer: Arc<str>,
    pub position: Option<Position>,
    pub continued: bool,
    pub continues: bool,
    /// Sequence of the batch in which its first transaction began; its own unless it is `continued`.
    pub first: u64,
    pub transactions: Bytes,
    pub sections: Vec<Section>,
}

impl Stored {
    /// Bytes of memory that it keeps alive, about.
    pub fn weight(&self) -> usize {
        let payloads: usize = self.sections.iter().map(|section| section.payload.len()).sum();
        payloads + self.transactions.len() + 256 + 192 * self.sections.len()
    }
}

/// What [`Journal::find`] found: a batch with those of its sections that are wanted.
#[derive(Debug)]
pub(super) struct Found {
    pub sequence: u64,
    pub producer: Arc<str>,
    pub continued: bool,
    pub first: u64,
    pub transactions: Bytes,
    pub sections: Vec<Section>,
}

/// Where batches come from. `end` is the sequence after the last published batch.
pub(super) trait Journal: Send {
    /// Sequence after the last batch that is published.
    fn end(&self) -> u64;

    /// The sequence to begin at for `wanted`: nothing that it wants stands before.
    fn start(&mut self, wanted: &mut Wanted) -> Result<u64>;

    /// The first batch in `from..until` that `wanted` has an interest in. Fails with [`connector_api::Kind::Lost`] when
    /// records that `wanted` still needed were removed.
    fn find(&mut self, from: u64, until: u64, wanted: &mut Wanted) -> Result<Option<Found>>;

    /// True when nothing will ever be published again.
    fn closed(&self) -> bool;

    /// Whether something that `wanted` has not been given is visible, as far as the ends of topics tell.
    fn behind(&self, wanted: &Wanted) -> bool;
}

/// What a scan does with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Nothing.
    Skip,
    /// It must know that the batch is there, but not its sections.
    Head,
    /// It takes the wanted sections, and the batch only if there are any.
    Sections,
    /// It takes the batch, with the wanted sections.
    Whole,
}

/// What a reader wants now.
#[derive(Debug)]
pub(super) struct Wanted {
    subscription: Subscription,
    /// What is applied so far.
    pub cursor: Cursor,
    /// Offsets below which nothing is given, of topic-partitions that the cursor does not name.
    pub floors: BTreeMap<TopicPartition, u64>,
    /// Set while the chunks of the transaction that began with this batch are given.
    replay: Option<u64>,
    /// Topics met, with the name to share; `None` for those not wanted.
    topics: HashMap<Arc<str>, Option<Arc<str>>>,
}

impl Wanted {
    pub fn new(subscription: Subscription, cursor: Cursor) -> Self {
        Wanted { subscription, cursor, floors: BTreeMap::new(), replay: None, topics: HashMap::new() }
    }

    /// The next offset wanted.
    pub fn from(&self, topic: &TopicPartition) -> u64 {
        match self.cursor.next.get(topic) {
            Some(next) => *next,
            None => self.floors.get(topic).copied().unwrap_or(0),
        }
    }

    /// What to do with a batch.
    pub fn interest(&self, first: u64, continued: bool, continues: bool) -> Interest {
        let chunk = continued || continues;
        match self.replay {
            Some(replay) if chunk && replay == first => Interest::Whole,
            Some(_) => Interest::Skip,
            None if chunk && continues => Interest::Skip,
            None if chunk => Interest::Head,
            None => Interest::Sections,
        }
    }

    /// The shared name of a topic that is subscribed to.
    pub fn topic(&mut self, name: &str) -> Option<Arc<str>> {
        if let Some(known) = self.topics.get(name) {
            return known.clone();
        }
        let shared: Arc<str> = name.into();
        let wanted = self.subscription.wants(name).then(|| shared.clone());
        self.topics.insert(shared, wanted.clone());
        wanted
    }

    /// Whether a topic is subscribed to.
    pub fn subscribes(&self, name: &str) -> bool {
        match self.topics.get(name) {
            Some(known) => known.is_some(),
            None => self.subscription.wants(name),
        }
    }

    /// The wanted sections of a batch in memory.
    pub fn sections(&mut self, stored: &Stored) -> Vec<Section> {
        let mut wanted = Vec::new();
        for section in &stored.sections {
            if self.topic(&section.topic.topic).is_none() {
                continue;
            }
            let from = self.from(&section.topic);
            if section.end() > from {
                wanted.push(Section { from, ..section.clone() });
            }
        }
        wanted
    }

    /// A batch in memory, if it is of interest.
    pub fn find(&mut self, stored: &Stored) -> Option<Found> {
        let sections = match self.interest(stored.first, stored.continued, stored.continues) {
            Interest::Skip => return None,
            Interest::Head => Vec::new(),
            Interest::Whole => self.sections(stored),
            Interest::Sections => {
                let sections = self.sections(stored);
                if sections.is_empty() {
                    return None;
                }
                sections
            }
        };
        Some(Found {
            sequence: stored.sequence,
            producer: stored.producer.clone(),
            continued: stored.continued,
            first: stored.first,
            transactions: stored.transactions.clone(),
            sections,
        })
    }

    /// Fails when a wanted topic-partition fell behind what limits removed (I5). One that the cursor does not name began at
    /// its floor: what was removed above that since is missed like anything else.
    pub fn check_earliest(&self, topic: &TopicPartition, earliest: u64) -> Result<()> {
        let next = self.from(topic);
        if next >= earliest || !self.subscribes(&topic.topic) {
            return Ok(());
        }
        Err(Error::lost(format!(
            "read {topic} from offset {next}: retention removed everything before offset {earliest}"
        ))
        .with_remedy(
            "fill the sink again from the log's earliest record or from a new snapshot, or set its offset by hand with \
             `millstream offsets`; a longer log.retention keeps this from happening again",
        ))
    }
}

/// A transaction of many batches that is being given.
#[derive(Debug)]
struct Replay {
    first: u64,
    next: u64,
    last: u64,
    /// Some of it was given.
    given: bool,
    producer: Arc<str>,
}

/// The walk.
pub(super) struct Scan<J> {
    journal: J,
    log: LogId,
    wanted: Wanted,
    /// Next sequence to look at; `None` before the first look.
    next: Option<u64>,
    replay: Option<Replay>,
    /// Looked for by [`LogReader::at_tail`], not given yet.
    ready: VecDeque<Delivery>,
}

impl<J: Journal> Scan<J> {
    pub fn new(journal: J, log: LogId, wanted: Wanted) -> Self {
        Scan { journal, log, wanted, next: None, replay: None, ready: VecDeque::new() }
    }

    /// What is there now, of together about `bytes_max`; empty at the tail.
    fn pull(&mut self, bytes_max: usize) -> Result<Vec<Delivery>> {
        if !self.ready.is_empty() {
            return Ok(self.take_ready(bytes_max));
        }
        let mut next = match self.next {
            Some(next) => next,
            None => self.journal.start(&mut self.wanted)?,
        };
        let (end, mut out, mut bytes) = (self.journal.end(), Vec::new(), 0);
        while out.is_empty() || bytes < bytes_max {
            match self.step(&mut next, end) {
                Ok(Step::Give(delivery)) => {
                    bytes += weight(&delivery);
                    delivery.advance(&mut self.wanted.cursor);
                    out.push(delivery);
                }
                Ok(Step::On) => {}
                Ok(Step::Tail) => break,
                // Given first what is sound; the error comes again with the next call.
                Err(_) if !out.is_empty() => break,
                Err(error) => return Err(error),
            }
            self.next = Some(next);
        }
        self.next = Some(next);
        Ok(out)
    }

    fn take_ready(&mut self, bytes_max: usize) -> Vec<Delivery> {
        let (mut out, mut bytes) = (Vec::new(), 0);
        while (out.is_empty() || bytes < bytes_max)
            && let Some(delivery) = self.ready.pop_front()
        {
            bytes += weight(&delivery);
            out.push(delivery);
        }
        out
    }

    fn step(&mut self, next: &mut u64, end: u64) -> Result<Step> {
        if self.replay.is_some() {
            return self.step_replay();
        }
        self.wanted.replay = None;
        let Some(found) = self.journal.find(*next, end, &mut self.wanted)? else {
            *next = end;
            return Ok(Step::Tail);
        };
        *next = found.sequence + 1;
        if !found.continued {
            return Ok(Step::Give(self.delivery(found, false, false)));
        }
        // The end of a transaction of many batches: go back to its beginning.
        let (first, last, producer) = (found.first, found.sequence, found.producer);
        self.replay = Some(Replay { first, next: first, last, given: false, producer });
        Ok(Step::On)
    }

    fn step_replay(&mut self) -> Result<Step> {
        let Some(replay) = &mut self.replay else { return Ok(Step::On) };
        self.wanted.replay = Some(replay.first);
        let found = self.journal.find(replay.next, replay.last.saturating_add(1), &mut self.wanted)?;
        let (given, last) = (replay.given, replay.last);
        let Some(found) = found else {
            // Cleaning removed the rest, so nothing of it was wanted (or `find` had said `Lost`). What was begun is ended.
            let end = Found {
                sequence: last,
                producer: replay.producer.clone(),
                continued: true,
                first: replay.first,
                transactions: Bytes::new(),
                sections: Vec::new(),
            };
            self.replay = None;
            return Ok(if given { Step::Give(self.delivery(end, true, false)) } else { Step::On });
        };
        replay.next = found.sequence + 1;
        let ends = found.sequence == last;
        if found.sections.is_empty() && !(ends && given) {
            if ends {
                self.replay = None;
            }
            return Ok(Step::On);
        }
        replay.given = true;
        if ends {
            self.replay = None;
        }
        Ok(Step::Give(self.delivery(found, given, !ends)))
    }

    fn delivery(&self, found: Found, continued: bool, continues: bool) -> Delivery {
        Delivery {
            log: self.log,
            sequence: found.sequence,
            producer: found.producer,
            continued,
            continues,
            transactions: found.transactions,
            sections: found.sections,
        }
    }

    fn at_tail(&mut self) -> bool {
        if !self.ready.is_empty() || self.replay.is_some() {
            return false;
        }
        if self.next == Some(self.journal.end()) || !self.journal.behind(&self.wanted) {
            return true;
        }
        // The ends of topics count records that cleaning has removed since: only looking tells.
        match self.pull(LOOK_BYTES) {
            Ok(found) => {
                self.ready = found.into();
                self.ready.is_empty()
            }
            Err(_) => false,
        }
    }
}

/// What [`LogReader::at_tail`] reads ahead at most.
const LOOK_BYTES: usize = 256 << 10;

fn weight(delivery: &Delivery) -> usize {
    delivery.len() + delivery.transactions.len()
}

enum Step {
    Give(Delivery),
    On,
    Tail,
}

/// A reader over any journal.
pub(super) struct Reader<J> {
    scan: Mutex<Scan<J>>,
    published: watch::Receiver<u64>,
}

impl<J: Journal> Reader<J> {
    pub fn new(scan: Scan<J>, published: watch::Receiver<u64>) -> Self {
        Reader { scan: Mutex::new(scan), published }
    }
}

impl<J: Journal> LogReader for Reader<J> {
    fn next(&mut self, bytes_max: usize) -> BoxFuture<'_, Result<Vec<Delivery>>> {
        Box::pin(async move {
            loop {
                // Marked as seen before looking, so that what is published meanwhile wakes us.
                self.published.borrow_and_update();
                let scan = self.scan.get_mut().unwrap_or_else(PoisonError::into_inner);
                // Looking and giving happen in one poll: a cancelled call has taken nothing.
                let found = scan.pull(bytes_max)?;
                if !found.is_empty() {
                    return Ok(found);
                }
                if scan.journal.closed() || self.published.changed().await.is_err() {
                    return Err(Error::transient("read log: it is closed"));
                }
            }
        })
    }

    fn at_tail(&self) -> bool {
        self.scan.lock().unwrap_or_else(PoisonError::into_inner).at_tail()
    }
}
