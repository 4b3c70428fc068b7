//! A row as the sink keeps it, and checksums of many: they depend on no order and on no collation.

use std::hash::{BuildHasher as _, RandomState};

use connector_api::reader::put_varint;
use connector_api::{Result, Rows, Target, Value};
use siphasher::sip128::SipHasher24;

/// One row with its key; the buffers are used again for the next one.
#[derive(Debug, Default)]
pub struct Kept {
    /// The values of the target's columns, encoded as a [`connector_api::Row`].
    pub row: Vec<u8>,
    /// The values of its key, encoded likewise; the whole row where the table has no key.
    pub key: Vec<u8>,
    starts: Vec<usize>,
}

impl Kept {
    /// Takes a row: what the system of `keeper` keeps of each value.
    ///
    /// # Errors
    /// When a value does not decode, or cannot be kept.
    pub fn fill<'v>(
        &mut self,
        target: &Target,
        keeper: &mut dyn Rows,
        values: impl Iterator<Item = Result<Value<'v>>>,
    ) -> Result<()> {
        self.row.clear();
        self.key.clear();
        self.starts.clear();
        put_varint(&mut self.row, target.columns.len() as u64);
        for (at, value) in values.enumerate() {
            self.starts.push(self.row.len());
            match (value?, target.column(at)) {
                (Value::Null, _) | (_, None) => Value::Null.encode(&mut self.row),
                (value, Some(column)) => keeper.keep(column, value, &mut self.row)?,
            }
        }
        self.starts.push(self.row.len());
        if target.key.is_empty() {
            self.key.extend_from_slice(&self.row);
            return Ok(());
        }
        put_varint(&mut self.key, target.key.len() as u64);
        for at in &target.key {
            if let (Some(from), Some(to)) = (self.starts.get(*at), self.starts.get(at + 1)) {
                self.key.extend_from_slice(&self.row[*from..*to]);
            }
        }
        Ok(())
    }
}

/// Hashes with a key of this run, so that nobody can make rows that collide.
#[derive(Debug, Clone, Copy)]
pub struct Hasher(SipHasher24);

impl Default for Hasher {
    /// With a new key.
    fn default() -> Hasher {
        let random = || RandomState::new().hash_one(std::process::id());
        Hasher(SipHasher24::new_with_keys(random(), random()))
    }
}

impl Hasher {
    /// 128 bits of `bytes`.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u128 {
        self.0.hash(bytes).as_u128()
    }
}

/// Rows by buckets of their keys' hashes: of each bucket how many there are, and the sum of their hashes.
#[derive(Debug, Clone)]
pub struct Sums {
    hasher: Hasher,
    buckets: Vec<(u64, u128)>,
    /// How many rows in all.
    pub rows: u64,
}

/// Rows that a bucket should hold: little work is then done again for one that differs.
const ROWS_PER_BUCKET: u64 = 64;
const BUCKETS_MIN: u64 = 4_096;
/// 2 MiB.
const BUCKETS_MAX: u64 = 65_536;

impl Sums {
    /// For about so many rows.
    pub fn new(hasher: Hasher, rows: u64) -> Sums {
        let count = (rows / ROWS_PER_BUCKET).next_power_of_two().clamp(BUCKETS_MIN, BUCKETS_MAX);
        Sums { hasher, buckets: vec![(0, 0); count as usize], rows: 0 }
    }

    /// Adds a row.
    #[inline]
    pub fn add(&mut self, kept: &Kept) {
        let at = self.bucket(&kept.key);
        let row = self.hasher.hash(&kept.row);
        if let Some((count, sum)) = self.buckets.get_mut(at) {
            *count += 1;
            *sum = sum.wrapping_add(row);
        }
        self.rows += 1;
    }

    /// How many buckets there are.
    pub fn size(&self) -> usize {
        self.buckets.len()
    }

    /// The bucket of a key.
    #[inline]
    pub fn bucket(&self, key: &[u8]) -> usize {
        self.hasher.hash(key) as usize & (self.buckets.len() - 1)
    }

    /// The buckets that differ, with the number of rows that the larger side has there.
    pub fn different(&self, other: &Sums) -> Vec<(usize, u64)> {
        let pairs = self.buckets.iter().zip(&other.buckets).enumerate();
        pairs.filter(|(_, (one, two))| one != two).map(|(at, (one, two))| (at, one.0.max(two.0))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(key: u8, row: u8) -> Kept {
        Kept { row: vec![key, row], key: vec![key], starts: Vec::new() }
    }

    fn sums(hasher: Hasher, rows: &[(u8, u8)]) -> Sums {
        let mut sums = Sums::new(hasher, 10);
        rows.iter().for_each(|(key, row)| sums.add(&kept(*key, *row)));
        sums
    }

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        let hasher = Hasher::default();
        let one = sums(hasher, &[(1, 1), (2, 2), (3, 3), (3, 3)]);
        assert_eq!(one.different(&sums(hasher, &[(3, 3), (2, 2), (3, 3), (1, 1)])), []);
        for other in [
            &[(1, 1), (2, 2), (3, 3)][..],
            &[(1, 1), (2, 2), (3, 3), (3, 3), (3, 3)],
            &[(1, 1), (2, 9), (3, 3), (3, 3)],
            &[(1, 1), (2, 2), (3, 3), (3, 4)],
        ] {
            assert_eq!(one.different(&sums(hasher, other)).len(), 1, "{other:?}");
        }
    }

    #[test]
    fn every_run_has_its_own_key() {
        assert_ne!(Hasher::default().hash(b"a"), Hasher::default().hash(b"a"));
    }
}
