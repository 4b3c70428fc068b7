//! From suspects to findings: a row differs only when it stays the same on both sides, and different, while the sink has
//! applied all that the source had.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use connector_api::reader::put_varint;
use connector_api::{Result, Row};

use crate::log::Subscription;
use crate::verify::service::Service;
use crate::verify::sides::{Actual, Expected, Found};
use crate::verify::suspects::Suspect;
use crate::verify::tables::{Feed, Table};

/// Keys that are looked up at a time.
pub const CHUNK: usize = 1_000;
/// How often a difference has to be seen, the same each time. Once is a row that changed and changed back.
const SEEN: u32 = 3;
/// How often a row is looked at before it counts as never still.
const ROUNDS_MAX: u32 = 16;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A row that differs.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Its key.
    pub suspect: Suspect,
    /// The rows that the sink should have under it, as it keeps them; one at most where the table has a key.
    pub expected: Vec<Vec<u8>>,
    /// The rows that it has.
    pub actual: Vec<Vec<u8>>,
}

/// What became of suspects.
#[derive(Debug, Default)]
pub struct Settled {
    /// Those that differ.
    pub different: Vec<Difference>,
    /// Those that never stood still.
    pub unsettled: Vec<Suspect>,
    /// Those that the source no longer has and the rules leave in the sink.
    pub kept: u64,
}

/// Rows as they are encoded.
type Rows = Vec<Vec<u8>>;
/// The rows under each key.
type ByKey = HashMap<Vec<u8>, Rows>;

/// What a comparison works with.
pub struct Bench<'b> {
    pub(super) sink: &'b str,
    pub(super) wants: &'b Subscription,
    pub(super) service: &'b Service,
    pub(super) expected: Expected,
    pub(super) actual: Actual,
}

/// A suspect with what was seen of it.
struct Watched {
    suspect: Suspect,
    seen: u32,
    last: Option<(Rows, Rows)>,
}

impl Bench<'_> {
    /// Looks at a chunk of suspects until each has settled, or does not.
    ///
    /// # Errors
    /// When a side cannot be read, or the sink does not move.
    pub async fn settle(&mut self, table: &Arc<Table>, chunk: Vec<Suspect>) -> Result<Settled> {
        let watched = |suspect| Watched { suspect, seen: 0, last: None };
        let mut watched: Vec<_> = chunk.into_iter().map(watched).collect();
        let mut settled = Settled::default();
        let sources: BTreeSet<&str> = table.feeds.iter().map(|feed| feed.source.as_str()).collect();
        let mut pause = PAUSE_MIN;
        for round in 0..ROUNDS_MAX {
            if watched.is_empty() {
                break;
            }
            if round > 0 {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            let suspects: Vec<_> = watched.iter().map(|watched| watched.suspect.clone()).collect();
            let before = self.expected_of(table, &suspects).await?;
            self.service.pass(self.sink, &sources, self.wants).await?;
            let actual = self.actual_of(table, &suspects).await?;
            let after = self.expected_of(table, &suspects).await?;
            watched.retain_mut(|watched| !watched.look(&before, &actual, &after, table, &mut settled));
        }
        settled.unsettled.extend(watched.into_iter().map(|watched| watched.suspect));
        Ok(settled)
    }

    async fn expected_of(&mut self, table: &Table, suspects: &[Suspect]) -> Result<ByKey> {
        let mut rows = keys_of(suspects);
        let mut take = |found: &Found<'_>| {
            note(&mut rows, found);
            Ok(())
        };
        for (at, feed) in table.feeds.iter().enumerate() {
            let keys: Option<Vec<_>> = suspects.iter().map(|suspect| suspect.key_in(at, feed)).collect();
            match keys {
                Some(keys) => self.expected.feed(table, at, Some(&unique(keys)), &mut take).await?,
                // The source's key cannot be told from the sink's: all rows are looked at.
                None => self.expected.feed(table, at, None, &mut take).await?,
            }
        }
        rows.values_mut().for_each(|rows| rows.sort());
        Ok(rows)
    }

    async fn actual_of(&mut self, table: &Arc<Table>, suspects: &[Suspect]) -> Result<ByKey> {
        let keys = suspects.iter().map(|suspect| suspect.key.clone());
        let keys = (!table.target.key.is_empty()).then(|| keys.collect());
        let reading = self.actual.read(table, keys, keys_of(suspects), |rows, found| {
            note(rows, found);
            Ok(())
        })?;
        let mut rows = reading.await?;
        rows.values_mut().for_each(|rows| rows.sort());
        Ok(rows)
    }
}

fn keys_of(suspects: &[Suspect]) -> ByKey {
    suspects.iter().map(|suspect| (suspect.key.clone(), Vec::new())).collect()
}

/// Only rows under the very keys count: a system may take others for equal.
fn note(rows: &mut ByKey, found: &Found<'_>) {
    if let Some(rows) = rows.get_mut(&found.kept.key) {
        rows.push(found.kept.row.clone());
    }
}

fn unique(keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.into_iter().collect::<HashSet<_>>().into_iter().collect()
}

impl Suspect {
    /// Its key in the source of one feed; `None` when that cannot be told.
    pub(super) fn key_in(&self, at: usize, feed: &Feed) -> Option<Vec<u8>> {
        match &self.origin {
            Some((own, key)) if *own == at && feed.key_is_known() => return Some(key.clone()),
            _ => {}
        }
        let places = feed.key.as_ref()?;
        let values = Row::from_bytes(&self.key).to_vec().ok()?;
        let mut key = Vec::with_capacity(self.key.len());
        put_varint(&mut key, places.len() as u64);
        for place in places {
            values.get(*place)?.encode(&mut key);
        }
        Some(key)
    }
}

impl Feed {
    /// A table without a key has no rows that could be looked up.
    fn key_is_known(&self) -> bool {
        !self.original.schema.key.is_empty()
    }
}

impl Watched {
    /// True when it has settled.
    fn look(
        &mut self,
        before: &ByKey,
        actual: &ByKey,
        after: &ByKey,
        table: &Table,
        into: &mut Settled,
    ) -> bool {
        let none = Vec::new();
        let of = |rows: &'_ ByKey| rows.get(&self.suspect.key).unwrap_or(&none).clone();
        let (before, actual, after) = (of(before), of(actual), of(after));
        // The sink has what the source had before the sink passed, or what it has by now.
        if actual == before || actual == after {
            return true;
        }
        if before != after {
            (self.seen, self.last) = (0, None);
            return false;
        }
        if before.is_empty() && table.keeps_rows {
            into.kept += 1;
            return true;
        }
        let seen = Some((before, actual));
        self.seen = if self.last == seen { self.seen + 1 } else { 1 };
        self.last = seen;
        if self.seen < SEEN {
            return false;
        }
        if let Some((expected, actual)) = self.last.take() {
            into.different.push(Difference { suspect: self.suspect.clone(), expected, actual });
        }
        true
    }
}
