//! What was applied and not yet sent: rendered once, into one buffer, and tied to the chain of its key.
//!
//! The bound is the deliver loop's: it flushes after every delivery.

use std::collections::HashMap;
use std::ops::Range;

use connector_api::{Incoming, Op, Result, TopicPartition, put_row};
use reqwest::header::HeaderMap;

/// One event that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub topic: TopicPartition,
    pub offset: u64,
    pub id: String,
    /// Index of the plan, and so of the URL.
    pub plan: usize,
    /// Where its JSON stands in the buffer.
    pub body: Range<usize>,
    pub headers: Option<Box<HeaderMap>>,
    /// Events of one chain are sent one after the other. As it was when the event came; see [`Queue::chain`].
    chain: usize,
    /// A later event of the chain must not overtake one that was refused.
    pub keyed: bool,
    /// Events of a later phase wait for all of an earlier one: a truncate lets nothing pass.
    pub phase: u32,
}

/// The events between two flushes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// JSON of all events.
    pub bytes: Vec<u8>,
    pub waiting: Vec<Waiting>,
    /// The chain of each key: topic, partition and key as bytes.
    chains: HashMap<Vec<u8>, usize>,
    /// Chains that became one: an update that moves a row from one key to another belongs to both.
    parents: Vec<usize>,
    phase: u32,
    scratch: Vec<u8>,
}

/// What an event is besides its place.
pub(crate) struct Made {
    pub id: String,
    pub plan: usize,
    pub headers: Option<HeaderMap>,
    /// Where its JSON begins in [`Queue::bytes`]; it ends at the end.
    pub from: usize,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.waiting.clear();
        self.chains.clear();
        self.parents.clear();
        self.phase = 0;
    }

    /// Number of chains, those that became one counted as they were.
    pub fn chains(&self) -> usize {
        self.parents.len()
    }

    /// The chain of an event, now that all are known.
    pub fn chain(&self, waiting: &Waiting) -> usize {
        self.root(waiting.chain)
    }

    /// Adds an event whose JSON stands at the end of the buffer.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] when the old key does not decode.
    pub fn push(&mut self, incoming: &Incoming<'_>, made: Made) -> Result<()> {
        let Incoming { topic, change, .. } = incoming;
        let key = change.record.key;
        let chain = self.chain_of(topic, key);
        if let Some(old) = change.old_key()? {
            let mut key = Vec::new();
            put_row(&mut key, old.into_iter());
            let other = self.chain_of(topic, Some(&key));
            self.join(chain, other);
        }
        let barrier = change.op == Op::Truncate;
        self.phase += u32::from(barrier);
        self.waiting.push(Waiting {
            topic: (*topic).clone(),
            offset: change.record.offset,
            id: made.id,
            plan: made.plan,
            body: made.from..self.bytes.len(),
            headers: made.headers.map(Box::new),
            chain,
            keyed: key.is_some(),
            phase: self.phase,
        });
        self.phase += u32::from(barrier);
        Ok(())
    }

    fn chain_of(&mut self, topic: &TopicPartition, key: Option<&[u8]>) -> usize {
        let scratch = &mut self.scratch;
        scratch.clear();
        scratch.extend_from_slice(topic.topic.as_bytes());
        // No UTF-8 holds this byte, so that no topic runs into what follows.
        scratch.push(0xff);
        scratch.extend_from_slice(&topic.partition.to_le_bytes());
        scratch.push(u8::from(key.is_some()));
        scratch.extend_from_slice(key.unwrap_or_default());
        if let Some(chain) = self.chains.get(scratch.as_slice()) {
            return *chain;
        }
        let chain = self.parents.len();
        self.parents.push(chain);
        self.chains.insert(scratch.clone(), chain);
        chain
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.root(one), self.root(other));
        if let Some(parent) = self.parents.get_mut(one.max(other)) {
            *parent = one.min(other);
        }
    }

    /// A parent has a smaller number than its child, so this ends.
    fn root(&self, mut chain: usize) -> usize {
        while let Some(parent) = self.parents.get(chain).filter(|parent| **parent != chain) {
            chain = *parent;
        }
        chain
    }
}
