//! From buckets that differ to the keys that may: one more look at both sides, at those buckets only.

use std::collections::HashMap;
use std::sync::Arc;

use connector_api::Result;

use crate::verify::kept::{Hasher, Sums};
use crate::verify::sides::{Actual, Expected, Found};
use crate::verify::tables::Table;

/// Rows of one side that are held at a time. Buckets that hold more are looked at in groups.
const GROUP_ROWS: u64 = 200_000;
/// Suspects of one pass; the buckets left over are counted.
const SUSPECTS_MAX: usize = 100_000;

/// A key whose rows may differ.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// As the sink keeps it, encoded.
    pub key: Vec<u8>,
    /// The feed that has it, and its key there, when the source has it.
    pub origin: Option<(usize, Vec<u8>)>,
}

/// What a pass found.
#[derive(Debug, Default)]
pub struct Suspects {
    /// The keys.
    pub keys: Vec<Suspect>,
    /// Buckets that differ and were not looked into, because there are too many.
    pub buckets_left: u64,
}

/// The rows of one side under one key.
#[derive(Debug, Default)]
struct Entry {
    sum: u128,
    count: u64,
    origin: Option<(usize, Vec<u8>)>,
}

/// The keys of one side in the wanted buckets.
struct Gathered {
    hasher: Hasher,
    sums: Arc<Sums>,
    wanted: Arc<Vec<bool>>,
    entries: HashMap<Vec<u8>, Entry>,
}

impl Gathered {
    fn take(&mut self, found: &Found<'_>) {
        if !self.wanted.get(self.sums.bucket(&found.kept.key)).copied().unwrap_or_default() {
            return;
        }
        let hash = self.hasher.hash(&found.kept.row);
        let entry = match self.entries.get_mut(&found.kept.key) {
            Some(entry) => entry,
            None => self.entries.entry(found.kept.key.clone()).or_default(),
        };
        entry.sum = entry.sum.wrapping_add(hash);
        entry.count += 1;
        entry.origin = found.origin.map(|(feed, key)| (feed, key.to_vec()));
    }
}

/// Finds the keys that differ in the buckets that differ between two sums.
///
/// # Errors
/// When a side cannot be read.
pub async fn find(
    hasher: Hasher,
    table: &Arc<Table>,
    expected: &mut Expected,
    actual: &mut Actual,
    sums: &Arc<Sums>,
    buckets: &[(usize, u64)],
    size: usize,
) -> Result<Suspects> {
    let mut suspects = Suspects::default();
    let mut rest = buckets;
    while !rest.is_empty() && suspects.keys.len() < SUSPECTS_MAX {
        let mut wanted = vec![false; size];
        let (mut rows, mut count) = (0, 0);
        for (bucket, larger) in rest {
            rows += larger;
            if count > 0 && rows > GROUP_ROWS {
                break;
            }
            count += 1;
            wanted.get_mut(*bucket).into_iter().for_each(|wanted| *wanted = true);
        }
        rest = rest.get(count..).unwrap_or_default();
        let wanted = Arc::new(wanted);
        let gathered =
            || Gathered { hasher, sums: sums.clone(), wanted: wanted.clone(), entries: HashMap::new() };
        let reading = actual.read(table, None, gathered(), |gathered, found| {
            gathered.take(found);
            Ok(())
        })?;
        let mut theirs = gathered();
        expected
            .scan(table, &mut |found| {
                theirs.take(found);
                Ok(())
            })
            .await?;
        compare(theirs.entries, reading.await?.entries, &mut suspects.keys);
    }
    suspects.buckets_left = rest.len() as u64;
    Ok(suspects)
}

fn compare(expected: HashMap<Vec<u8>, Entry>, mut actual: HashMap<Vec<u8>, Entry>, into: &mut Vec<Suspect>) {
    for (key, wanted) in expected {
        let found = actual.remove(&key).unwrap_or_default();
        if (wanted.sum, wanted.count) != (found.sum, found.count) {
            into.push(Suspect { key, origin: wanted.origin });
        }
    }
    into.extend(actual.into_keys().map(|key| Suspect { key, origin: None }));
}
