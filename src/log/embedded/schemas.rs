//! The schema of a section. Those met since the start are in memory; those of an old segment are in its checkpoint and its schema
//! entries.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::sync::{Arc, PoisonError, RwLock};

use connector_api::{Result, Schema};

use super::format::{self, EntryKind, HEADER_LEN};
use super::index::Index;
use super::segment::Segment;
use super::shared::Shared;

/// The schema that a section of this segment has; `None` for id 0, events.
pub(super) fn find(
    shared: &Shared,
    segment: &mut Segment,
    index: &RwLock<Index>,
    id: u64,
    limit: u64,
) -> Result<Option<Arc<Schema>>> {
    if id == 0 {
        return Ok(None);
    }
    if let Some(schema) = shared.schemas().get(&id) {
        return Ok(Some(schema.clone()));
    }
    let entry = segment.entry(HEADER_LEN as u64, limit).map_err(|fault| segment.error(fault))?;
    let checkpoint = format::decode_checkpoint(&entry.meta)?;
    let places = index.read().unwrap_or_else(PoisonError::into_inner).schemas.clone();
    let mut met: Vec<(u64, Arc<Schema>)> =
        checkpoint.state.topics.into_values().filter_map(|topic| topic.schema).collect();
    for place in places {
        let entry = segment.entry(place, limit).map_err(|fault| segment.error(fault))?;
        if entry.head.kind != EntryKind::Schema {
            return Err(segment.corrupt(place, "the index points at an entry that is no schema"));
        }
        let (_, id, schema) = format::decode_schema(&entry.meta)?;
        met.push((id, schema));
    }
    let mut schemas = shared.schemas();
    for (id, schema) in met {
        // The first one found stays, so that equal schemas are the same one in memory.
        schemas.entry(id).or_insert(schema);
    }
    match schemas.get(&id) {
        Some(schema) => Ok(Some(schema.clone())),
        None => {
            let what = format!("a section refers to schema {id}, which nothing defines");
            Err(segment.corrupt(HEADER_LEN as u64, what))
        }
    }
}
