//! What the log knows by heart: where every topic-partition and every producer stands. A checkpoint is this on disk; opening
//! is this, replayed from the newest checkpoint on.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::{Batch, Encoding, Error, Position, Result, Schema, Section, TopicPartition};

use super::scan::Stored;

/// Longest topic name in bytes.
pub(super) const TOPIC_BYTES_MAX: usize = 1024;
/// Longest producer name in bytes.
pub(super) const PRODUCER_BYTES_MAX: usize = 1024;
/// Most sections in one batch.
pub(super) const SECTIONS_MAX: usize = 65_536;

/// Longest list of transactions in one batch.
pub(super) const TRANSACTION_BYTES_MAX: usize = 64 << 20;
/// Largest payload of one section: a little over the largest record.
pub(super) const PAYLOAD_BYTES_MAX: usize = 2 << 30;

/// The state after some batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    /// Sequence of the next batch.
    pub next: u64,
    /// Id of the next schema; 0 means "no schema" in a section.
    pub next_schema: u64,
    pub topics: BTreeMap<TopicPartition, Topic>,
    pub positions: BTreeMap<Arc<str>, Position>,
    /// The unfinished transaction of each producer that has one.
    pub open: BTreeMap<Arc<str>, Open>,
    /// Transactions that never ended, of which chunks may still stand in segments.
    pub aborted: Vec<Aborted>,
}

/// One topic-partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Topic {
    /// Offset of the next record.
    pub next: u64,
    /// Offset after the last record that readers may see (I4).
    pub visible: u64,
    /// Limits removed what is below.
    pub earliest: u64,
    /// Payload bytes, as far as known.
    pub bytes: u64,
    /// Schema in force, with its id.
    pub schema: Option<(u64, Arc<Schema>)>,
}

/// A transaction whose end has not come.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Open {
    /// Sequence of its first batch.
    pub first: u64,
    /// Sequence of its last batch so far.
    pub last: u64,
    /// What it holds: no other producer appends there meanwhile, because offsets become visible in order.
    pub ends: BTreeMap<TopicPartition, u64>,
}

/// The batches of `producer` from `first` to `last` were never committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aborted {
    pub producer: Arc<str>,
    pub first: u64,
    pub last: u64,
}

impl Aborted {
    pub fn covers(&self, producer: &str, sequence: u64) -> bool {
        (self.first..=self.last).contains(&sequence) && *self.producer == *producer
    }
}

/// One step of the state. Everything that is written is one of these, and so is everything that is replayed.
#[derive(Debug, Clone)]
pub(super) enum Note {
    Schema { topic: TopicPartition, id: u64, schema: Arc<Schema> },
    Abort(Aborted),
    Batch { stored: Arc<Stored>, schemas: Vec<u64> },
    Trim(Vec<Trim>),
}

/// What cleaning is about to take from a topic-partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trim {
    pub topic: TopicPartition,
    /// Its first offset from now on; limits move it, compaction does not.
    pub earliest: u64,
    /// Payload bytes that go.
    pub bytes: u64,
}

impl Default for State {
    fn default() -> Self {
        State {
            next: 0,
            next_schema: 1,
            topics: BTreeMap::new(),
            positions: BTreeMap::new(),
            open: BTreeMap::new(),
            aborted: Vec::new(),
        }
    }
}

impl State {
    /// Takes a batch: checks it, gives it its sequence, offsets and schema ids, and applies the resulting notes.
    pub fn admit(&mut self, batch: Batch, now_us: i64) -> Result<Vec<Note>> {
        self.check(&batch)?;
        let mut notes = Vec::with_capacity(1);
        if !batch.continued
            && let Some(open) = self.open.get(&batch.producer)
        {
            let (first, last) = (open.first, open.last);
            notes.push(Note::Abort(Aborted { producer: batch.producer.clone(), first, last }));
            self.apply(&notes[0]);
        }
        let mut schemas = Vec::with_capacity(batch.sections.len());
        let mut sections = batch.sections;
        for section in &mut sections {
            schemas.push(self.place(section, &mut notes));
        }
        let first = match self.open.get(&batch.producer) {
            Some(open) if batch.continued => open.first,
            _ => self.next,
        };
        let stored = Arc::new(Stored {
            first,
            sequence: self.next,
            appended_us: now_us,
            producer: batch.producer,
            position: batch.position,
            continued: batch.continued,
            continues: batch.continues,
            transactions: batch.transactions,
            sections,
        });
        let note = Note::Batch { stored, schemas };
        self.apply(&note);
        notes.push(note);
        Ok(notes)
    }

    /// Gives a section its base and its schema, and returns the schema's id. Offsets are counted on at once, because a
    /// batch may hold several sections of one topic-partition.
    fn place(&mut self, section: &mut Section, notes: &mut Vec<Note>) -> u64 {
        let topic = self.topics.entry(section.topic.clone()).or_default();
        section.base = topic.next;
        section.from = 0;
        topic.next = section.end();
        let Some(schema) = &section.schema else { return 0 };
        match &topic.schema {
            Some((id, known)) if Arc::ptr_eq(known, schema) || known == schema => {
                let id = *id;
                section.schema = Some(known.clone());
                id
            }
            _ => {
                let id = self.next_schema;
                let note = Note::Schema { topic: section.topic.clone(), id, schema: schema.clone() };
                self.apply(&note);
                notes.push(note);
                id
            }
        }
    }

    fn check(&self, batch: &Batch) -> Result<()> {
        let producer = &batch.producer;
        let refuse = |what: String| Err(Error::data(format!("append batch of {producer:?}: {what}")));
        if producer.is_empty() || producer.len() > PRODUCER_BYTES_MAX {
            return refuse(format!("the producer's name has {} bytes, 1 to {PRODUCER_BYTES_MAX}", producer.len()));
        }
        if batch.sections.len() > SECTIONS_MAX {
            return refuse(format!("{} sections, at most {SECTIONS_MAX}", batch.sections.len()));
        }
        if batch.transactions.len() > TRANSACTION_BYTES_MAX {
            return refuse(format!("its list of transactions is longer than {TRANSACTION_BYTES_MAX} bytes"));
        }
        if batch.position.as_ref().is_some_and(|position| position.as_bytes().len() > Position::LEN_MAX) {
            return refuse(format!("its position is longer than {} bytes", Position::LEN_MAX));
        }
        if batch.continues && batch.position.is_some() {
            return refuse("it ends inside a transaction and has a position (I2)".to_owned());
        }
        if batch.continued && !self.open.contains_key(producer) {
            return Err(Error::transient(format!(
                "append batch of {producer:?}: it continues a transaction that is not open; start the source again"
            )));
        }
        for section in &batch.sections {
            self.check_section(section, producer)?;
        }
        Ok(())
    }

    fn check_section(&self, section: &Section, producer: &str) -> Result<()> {
        let topic = &section.topic;
        let len = topic.topic.len();
        if len == 0 || len > TOPIC_BYTES_MAX {
            return Err(Error::data(format!("append to a topic whose name has {len} bytes, 1 to {TOPIC_BYTES_MAX}")));
        }
        if section.count == 0 || section.count != section.span || section.payload.is_empty() {
            return Err(Error::data(format!("append to {topic}: a section without records")));
        }
        if section.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Error::data(format!(
                "append to {topic}: {} bytes, at most {PAYLOAD_BYTES_MAX}",
                section.payload.len()
            )));
        }
        if section.schema.is_some() != (section.encoding == Encoding::Changes) {
            return Err(Error::data(format!("append to {topic}: changes have a schema and events have none")));
        }
        let next = self.topics.get(topic).map_or(0, |known| known.next);
        if next.checked_add(u64::from(section.span)).is_none() {
            return Err(Error::data(format!("append to {topic}: no offsets are left")));
        }
        let holder = self.open.iter().find(|(holder, open)| ***holder != *producer && open.ends.contains_key(topic));
        match holder {
            Some((holder, _)) => Err(Error::transient(format!(
                "append to {topic}: producer {holder:?} has an unfinished transaction there"
            ))),
            None => Ok(()),
        }
    }

    /// Moves the state over one note.
    pub fn apply(&mut self, note: &Note) {
        match note {
            Note::Schema { topic, id, schema } => {
                self.next_schema = self.next_schema.max(id.saturating_add(1));
                self.topics.entry(topic.clone()).or_default().schema = Some((*id, schema.clone()));
            }
            Note::Abort(aborted) => {
                self.open.remove(&aborted.producer);
                self.aborted.push(aborted.clone());
            }
            Note::Batch { stored, .. } => self.apply_batch(stored),
            Note::Trim(trims) => {
                for trim in trims {
                    let topic = self.topics.entry(trim.topic.clone()).or_default();
                    topic.earliest = topic.earliest.max(trim.earliest);
                    topic.bytes = topic.bytes.saturating_sub(trim.bytes);
                }
            }
        }
    }

    fn apply_batch(&mut self, batch: &Stored) {
        self.next = batch.sequence.saturating_add(1);
        if let Some(position) = &batch.position {
            self.positions.insert(batch.producer.clone(), position.clone());
        }
        let whole = !batch.continued && !batch.continues;
        for section in &batch.sections {
            let topic = match self.topics.get_mut(&section.topic) {
                Some(topic) => topic,
                None => self.topics.entry(section.topic.clone()).or_default(),
            };
            topic.next = topic.next.max(section.end());
            topic.bytes = topic.bytes.saturating_add(section.payload.len() as u64);
            if whole {
                topic.visible = topic.visible.max(section.end());
            }
        }
        if !whole {
            self.apply_chunk(batch);
        }
    }

    fn apply_chunk(&mut self, batch: &Stored) {
        let fresh = || Open { first: batch.first, last: batch.sequence, ends: BTreeMap::new() };
        let open = self.open.entry(batch.producer.clone()).or_insert_with(fresh);
        open.last = batch.sequence;
        for section in &batch.sections {
            open.ends.insert(section.topic.clone(), section.end());
        }
        if batch.continues {
            return;
        }
        let Some(open) = self.open.remove(&batch.producer) else { return };
        for (topic, end) in open.ends {
            if let Some(topic) = self.topics.get_mut(&topic) {
                topic.visible = topic.visible.max(end);
            }
        }
    }

    /// What was aborted, of which a batch at or after `oldest` may still be on disk.
    pub fn aborted_since(&self, oldest: u64) -> impl Iterator<Item = &Aborted> {
        self.aborted.iter().filter(move |aborted| aborted.last >= oldest)
    }
}
