//! Records that are put in whole: application events, and what follows from a change.

use std::sync::Arc;

use super::{BatchBuilder, RECORD_BYTES_MAX};
use crate::batch::Encoding;
use crate::error::{Error, Result};
use crate::headers::Headers;
use crate::record::{Attributes, Place, Record, put_record};

/// One application event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Key bytes, if any.
    pub key: Option<&'a [u8]>,
    /// The payload; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: &'a Headers,
}

impl BatchBuilder {
    /// Adds an application event, a transaction of its own.
    ///
    /// # Errors
    /// [`crate::Kind::Data`] when key or value is larger than 1 GiB.
    pub fn event(&mut self, topic: &Arc<str>, timestamp_us: i64, event: Event<'_>) -> Result<()> {
        let size = event.value.map_or(0, <[u8]>::len) + event.key.map_or(0, <[u8]>::len);
        if size > RECORD_BYTES_MAX {
            return Err(Error::data(format!(
                "append event to {topic}: {size} bytes, at most {RECORD_BYTES_MAX}"
            )));
        }
        self.begin(0, timestamp_us);
        self.put_event(topic, event);
        self.commit(&[]);
        Ok(())
    }

    /// Adds an event to the open transaction.
    pub(super) fn put_event(&mut self, topic: &Arc<str>, event: Event<'_>) {
        let index = self.find(topic, None, Encoding::Events);
        let mut bits = 0;
        bits |= if event.key.is_some() { Attributes::KEY } else { 0 };
        bits |= if event.value.is_none() { Attributes::TOMBSTONE } else { 0 };
        bits |= if event.headers.as_bytes().is_empty() { 0 } else { Attributes::HEADERS };
        let headers = event.headers.as_bytes();
        self.put(index, Attributes(bits), headers, event.value.unwrap_or_default(), event.key);
    }

    /// Adds a whole record to a section.
    pub(super) fn put(
        &mut self,
        index: usize,
        attributes: Attributes,
        headers: &[u8],
        value: &[u8],
        key: Option<&[u8]>,
    ) {
        let section = &mut self.sections[index];
        let record =
            Record { offset: u64::from(section.count), order: self.order, attributes, headers, value, key };
        let previous = Place { offset: u64::from(section.count.saturating_sub(1)), order: section.order };
        let start = section.payload.len();
        put_record(&mut section.payload, &record, previous);
        self.bytes += section.payload.len() - start;
        self.counted(index);
    }

    /// The second record of a key change: the old key is gone.
    pub(super) fn tombstone(&mut self, index: usize, partial: bool) {
        let bits = Attributes::KEY | Attributes::TOMBSTONE | if partial { Attributes::MOVED } else { 0 };
        let key = std::mem::take(&mut self.scratch.old_key);
        self.put(index, Attributes(bits), &[], &[], Some(&key));
        self.scratch.old_key = key;
    }
}
