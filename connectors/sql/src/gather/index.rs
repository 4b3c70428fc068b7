//! Finds keys by their bytes, fast and without an allocation for each: open addressing over numbers, which a new round
//! empties by counting on.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Where keys may be. Who asks compares the key itself.
#[derive(Debug)]
pub(super) struct Index {
    /// The round in the upper half, the number in the lower.
    slots: Vec<u64>,
    round: u32,
    seed: u64,
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ (wide >> 64) as u64
}

impl Index {
    /// Keys come from a peer: the seed keeps it from choosing ones that collide.
    pub(super) fn new() -> Index {
        Index { slots: Vec::new(), round: 0, seed: RandomState::new().build_hasher().finish() }
    }

    /// A hash of a table's number and a key.
    #[inline]
    pub(super) fn hash(&self, table: u32, key: &[u8]) -> u64 {
        let mut hash = fold(self.seed ^ u64::from(table), MIX ^ key.len() as u64);
        let (words, rest) = key.as_chunks::<8>();
        for word in words {
            hash = fold(hash ^ u64::from_le_bytes(*word), MIX);
        }
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        fold(hash ^ u64::from_le_bytes(last), MIX ^ self.seed)
    }

    /// Forgets everything, and makes room for `keys`.
    pub(super) fn begin(&mut self, keys: usize) {
        let wanted = keys.saturating_mul(2).next_power_of_two().max(16);
        if self.slots.len() < wanted || self.round == u32::MAX {
            self.slots.clear();
            self.slots.resize(wanted.max(self.slots.len()), 0);
            self.round = 0;
        }
        self.round += 1;
    }

    /// The number under which `is` finds its key, and the slot of it: an empty one when there is none.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> (usize, Option<u32>) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        // There is always an empty slot: `begin` made twice the room.
        loop {
            let slot = self.slots.get(at).copied().unwrap_or_default();
            if (slot >> 32) as u32 != self.round {
                return (at, None);
            }
            if is(slot as u32) {
                return (at, Some(slot as u32));
            }
            at = (at + 1) & mask;
        }
    }

    /// Puts a number into a slot that [`Index::find`] gave.
    #[inline]
    pub(super) fn put(&mut self, slot: usize, number: u32) {
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = u64::from(self.round) << 32 | u64::from(number);
        }
    }

    /// Gives back what one large round took.
    pub(super) fn shrink(&mut self, slots_max: usize) {
        if self.slots.len() > slots_max {
            self.slots = Vec::new();
            self.round = 0;
        }
    }
}
