//! Which events may be sent now, and together: the order per key, as a data structure without a clock or a socket.
//!
//! A chain is the events of one key. At most one call at a time holds events of a chain, so that none overtakes
//! another; calls are filled in the log's order from the chains that are free.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

/// What counts of an event here.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub chain: usize,
    /// Where it goes. A call goes to one place.
    pub place: usize,
    pub bytes: usize,
    /// What was refused takes the rest of its chain with it.
    pub keyed: bool,
    /// Most events in a call that holds this one; halved when such a call was refused.
    pub limit: usize,
}

/// How large a call may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub records: usize,
    pub bytes: usize,
}

/// Events that are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub place: usize,
    /// Indexes of events, in the log's order.
    pub events: Vec<usize>,
    /// A larger call with these was refused; this one is to find out which event was to blame.
    pub suspect: bool,
}

/// The events of one flush.
#[derive(Debug)]
pub(crate) struct Schedule {
    items: Vec<Item>,
    limits: Limits,
    chains: Vec<VecDeque<usize>>,
    /// By place: the first event of each chain that is free, with its chain.
    ready: Vec<BTreeSet<(usize, usize)>>,
    /// Chains of which an event was refused.
    stuck: Vec<bool>,
}

impl Schedule {
    /// Nothing is free before [`Schedule::begin`].
    pub fn new(mut items: Vec<Item>, chains: usize, places: usize, limits: Limits) -> Schedule {
        items.iter_mut().for_each(|item| item.limit = limits.records);
        let ready = vec![BTreeSet::new(); places];
        Schedule { items, limits, chains: vec![VecDeque::new(); chains], ready, stuck: vec![false; chains] }
    }

    /// Frees the next events, once all before are done. Returns those that cannot be sent, because one of their key was
    /// refused before.
    pub fn begin(&mut self, events: Range<usize>) -> Vec<usize> {
        let mut behind = Vec::new();
        let mut fresh = BTreeSet::new();
        for at in events {
            let Some(Item { chain, keyed, .. }) = self.items.get(at) else { continue };
            if *keyed && self.stuck.get(*chain).copied().unwrap_or(false) {
                behind.push(at);
            } else if let Some(events) = self.chains.get_mut(*chain) {
                events.push_back(at);
                fresh.insert(*chain);
            }
        }
        fresh.into_iter().for_each(|chain| self.free(chain));
        behind
    }

    /// Whether an event is free.
    pub fn has_next(&self) -> bool {
        self.ready.iter().any(|ready| !ready.is_empty())
    }

    /// The next call: as many events as fit, the oldest first.
    pub fn next(&mut self) -> Option<Call> {
        let firsts = self.ready.iter().enumerate();
        let (_, place) = firsts.filter_map(|(place, ready)| Some((ready.first()?.0, place))).min()?;
        let mut call = Call { place, events: Vec::new(), suspect: false };
        let (mut bytes, mut limit) = (0usize, self.limits.records);
        let mut taken = BTreeSet::new();
        while let Some((event, chain)) = self.ready.get(place).and_then(|ready| ready.first().copied()) {
            let Some(item) = self.items.get(event) else { break };
            let room = call.events.len() < limit.min(item.limit)
                && bytes.saturating_add(item.bytes) <= self.limits.bytes;
            if !call.events.is_empty() && !room {
                break;
            }
            bytes = bytes.saturating_add(item.bytes);
            limit = limit.min(item.limit);
            call.suspect |= item.limit < self.limits.records;
            call.events.push(event);
            taken.insert(chain);
            self.hold(place, (event, chain));
            if let Some(events) = self.chains.get_mut(chain) {
                events.pop_front();
            }
            // The key's next event may go along, behind this one.
            self.free_at(chain, Some(place));
        }
        for chain in taken {
            if let Some(event) = self.chains.get(chain).and_then(|events| events.front().copied()) {
                self.hold(place, (event, chain));
            }
        }
        (!call.events.is_empty()).then_some(call)
    }

    /// The call had its effect.
    pub fn accepted(&mut self, call: &Call) {
        self.free_all(call);
    }

    /// The call was refused as a whole: its events go again, in calls of half the size.
    pub fn halve(&mut self, call: &Call) {
        let half = (call.events.len() / 2).max(1);
        for event in call.events.iter().rev() {
            let Some(item) = self.items.get_mut(*event) else { continue };
            item.limit = half;
            if let Some(events) = self.chains.get_mut(item.chain) {
                events.push_front(*event);
            }
        }
        self.free_all(call);
    }

    /// The call of one event was refused for good. Returns the later events of its key, which go with it.
    pub fn refused(&mut self, call: &Call) -> Vec<usize> {
        let mut behind = Vec::new();
        for item in call.events.iter().filter_map(|event| self.items.get(*event)).filter(|item| item.keyed) {
            let Some(events) = self.chains.get_mut(item.chain) else { continue };
            // Events without a key share no chain with events that have one.
            behind.extend(events.drain(..));
            if let Some(stuck) = self.stuck.get_mut(item.chain) {
                *stuck = true;
            }
        }
        self.free_all(call);
        behind
    }

    fn free_all(&mut self, call: &Call) {
        let chain = |event: &usize| self.items.get(*event).map(|item| item.chain);
        let chains: BTreeSet<usize> = call.events.iter().filter_map(chain).collect();
        chains.into_iter().for_each(|chain| self.free(chain));
    }

    fn free(&mut self, chain: usize) {
        self.free_at(chain, None);
    }

    /// Frees the first event of a chain, if it goes to `only`.
    fn free_at(&mut self, chain: usize, only: Option<usize>) {
        let Some(event) = self.chains.get(chain).and_then(|events| events.front().copied()) else { return };
        let Some(place) = self.items.get(event).map(|item| item.place) else { return };
        if only.is_none_or(|only| only == place)
            && let Some(ready) = self.ready.get_mut(place)
        {
            ready.insert((event, chain));
        }
    }

    fn hold(&mut self, place: usize, entry: (usize, usize)) {
        if let Some(ready) = self.ready.get_mut(place) {
            ready.remove(&entry);
        }
    }
}

#[cfg(test)]
mod tests;
