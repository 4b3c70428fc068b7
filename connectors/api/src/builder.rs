//! Builds a [`Batch`]: every value is written once, straight into the bytes that the log will hold.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Batch, Encoding, Section};
use crate::change::{AFTER, BEFORE_FULL, BEFORE_KEY, Op};
use crate::error::{Error, Result};
use crate::position::{Position, TopicPartition};
use crate::reader::{put_bytes, put_varint, put_zigzag};
use crate::record::Attributes;
use crate::schema::Schema;
use crate::value::{Row, Value, put_row};
use crate::watch::Watch;

mod watched;
mod whole;

pub use whole::Event;

/// How much larger than a batch of whole transactions a chunk of a large one is.
const CHUNK_FACTOR: usize = 4;

/// A section of the batch under construction, found once per table and remembered by the source.
///
/// Stale after [`BatchBuilder::take`]: [`BatchBuilder::section`] notices and finds it again.
#[derive(Debug, Clone, Copy, Default)]
pub struct SectionHandle {
    generation: u64,
    index: usize,
}

/// Which image of a row the values pushed next belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The key columns of the old row, in key order.
    OldKey,
    /// The whole old row.
    OldRow,
    /// The new row.
    NewRow,
}

#[derive(Debug)]
struct SectionBuilder {
    topic: Arc<str>,
    schema: Option<Arc<Schema>>,
    encoding: Encoding,
    payload: Vec<u8>,
    count: u32,
    order: u32,
    /// The builder's watch wants to see its changes.
    watched: bool,
}

/// Fills a [`Batch`]. Belongs to the capture loop, so that a cancelled read loses nothing.
#[derive(Debug)]
pub struct BatchBuilder {
    producer: Arc<str>,
    limit: usize,
    generation: u64,
    sections: Vec<SectionBuilder>,
    /// Bytes in all sections, kept so that [`BatchBuilder::is_full`] is one comparison.
    bytes: usize,
    order: u32,
    transactions: Vec<u8>,
    transaction_from: u32,
    timestamp_us: i64,
    open: Option<(u64, i64)>,
    continued: bool,
    scratch: Scratch,
    watch: Option<Box<dyn Watch>>,
}

/// Buffers reused by every change.
#[derive(Debug, Default)]
struct Scratch {
    /// Where each column of the image under construction starts in the section's payload.
    starts: Vec<usize>,
    old_key: Vec<u8>,
    new_key: Vec<u8>,
}

impl BatchBuilder {
    /// A builder for batches of `producer` that are full at `limit` bytes; see [`BatchBuilder::is_full`].
    pub fn new(producer: impl Into<Arc<str>>, limit: usize) -> Self {
        BatchBuilder {
            producer: producer.into(),
            limit,
            generation: 1,
            sections: Vec::new(),
            bytes: 0,
            order: 0,
            transactions: Vec::new(),
            transaction_from: 0,
            timestamp_us: 0,
            open: None,
            continued: false,
            scratch: Scratch::default(),
            watch: None,
        }
    }

    /// Shows changes to `watch` before they count.
    #[must_use]
    pub fn watched_by(mut self, watch: Box<dyn Watch>) -> Self {
        self.watch = Some(watch);
        self
    }

    /// Time to [`BatchBuilder::take`]: at the limit between transactions, and at four times the limit inside one. So most
    /// transactions stay whole, and only large ones become chunks, which readers see later (I4).
    #[inline]
    pub fn is_full(&self) -> bool {
        let limit = if self.open.is_some() { self.limit.saturating_mul(CHUNK_FACTOR) } else { self.limit };
        self.bytes + self.transactions.len() >= limit
    }

    /// True when nothing was put in since the last [`BatchBuilder::take`].
    pub fn is_empty(&self) -> bool {
        self.order == 0 && self.transactions.is_empty()
    }

    /// Records so far.
    pub fn records(&self) -> u32 {
        self.order
    }

    /// True between [`BatchBuilder::begin`] and [`BatchBuilder::commit`].
    pub fn in_transaction(&self) -> bool {
        self.open.is_some()
    }

    /// Opens a transaction: the source's number for it, and its commit time in Unix microseconds.
    pub fn begin(&mut self, id: u64, timestamp_us: i64) {
        self.open = Some((id, timestamp_us));
    }

    /// Closes the open transaction; `position` is where the source stands after it. A transaction without records
    /// leaves no trace.
    pub fn commit(&mut self, position: &[u8]) {
        let finishes = self.continued && self.transactions.is_empty();
        if self.order > self.transaction_from || finishes {
            self.put_transaction(position);
        }
        self.open = None;
    }

    fn put_transaction(&mut self, position: &[u8]) {
        let (id, timestamp_us) = self.open.unwrap_or_default();
        let out = &mut self.transactions;
        put_varint(out, u64::from(self.order - self.transaction_from));
        put_zigzag(out, timestamp_us.wrapping_sub(self.timestamp_us));
        put_varint(out, id);
        put_bytes(out, position);
        self.transaction_from = self.order;
        self.timestamp_us = timestamp_us;
    }

    /// The section for changes of `topic` in the shape `schema`; `handle` is the caller's memory of it.
    #[inline]
    pub fn section(&mut self, handle: &mut SectionHandle, topic: &Arc<str>, schema: &Arc<Schema>) -> usize {
        if handle.generation != self.generation {
            let index = self.find(topic, Some(schema), Encoding::Changes);
            *handle = SectionHandle { generation: self.generation, index };
        }
        handle.index
    }

    fn find(&mut self, topic: &Arc<str>, schema: Option<&Arc<Schema>>, encoding: Encoding) -> usize {
        let same = |section: &SectionBuilder| section.topic == *topic;
        let newest = self.sections.iter().rposition(same);
        // Only the newest section of a topic may grow, or offsets would leave the order of the source.
        if let Some(index) = newest
            && self.sections[index].schema.as_ref() == schema
            && self.sections[index].encoding == encoding
        {
            return index;
        }
        let watched = match (&mut self.watch, schema) {
            (Some(watch), Some(schema)) => watch.wants(topic, schema),
            _ => false,
        };
        self.sections.push(SectionBuilder {
            topic: topic.clone(),
            schema: schema.cloned(),
            encoding,
            payload: Vec::new(),
            count: 0,
            order: 0,
            watched,
        });
        if newest.is_some() {
            // A handle on the topic's older section must not be used any more.
            self.generation += 1;
        }
        self.sections.len() - 1
    }

    /// Begins a change in a section that [`BatchBuilder::section`] gave. It counts only when
    /// [`ChangeWriter::finish`] returns `Ok`; a dropped writer leaves no trace.
    #[inline]
    pub fn change(&mut self, section: usize, op: Op) -> ChangeWriter<'_> {
        self.scratch.old_key.clear();
        self.scratch.new_key.clear();
        self.scratch.starts.clear();
        let start = self.sections[section].payload.len();
        ChangeWriter {
            builder: self,
            section,
            start,
            value: 0,
            images: 0,
            op,
            image: None,
            columns: 0,
            partial: false,
            done: false,
        }
        .head()
    }

    #[inline]
    fn counted(&mut self, index: usize) {
        let section = &mut self.sections[index];
        section.count += 1;
        section.order = self.order;
        self.order += 1;
    }

    /// Takes what was built. `position` is where the source stands after it, `None` inside a transaction (I2) and for
    /// application events.
    pub fn take(&mut self, position: Option<Position>) -> Batch {
        let continues = self.open.is_some();
        if continues {
            self.put_transaction(&[]);
        }
        let sections = self.sections.drain(..).map(|section| Section {
            topic: TopicPartition { topic: section.topic, partition: 0 },
            base: 0,
            span: section.count,
            count: section.count,
            from: 0,
            schema: section.schema,
            encoding: section.encoding,
            payload: Bytes::from(section.payload),
        });
        let batch = Batch {
            producer: self.producer.clone(),
            position,
            continued: self.continued,
            continues,
            sections: sections.filter(|section| section.count > 0).collect(),
            transactions: Bytes::from(std::mem::take(&mut self.transactions)),
        };
        self.generation += 1;
        (self.bytes, self.order, self.transaction_from, self.timestamp_us) = (0, 0, 0, 0);
        self.continued = continues;
        batch
    }

    /// Throws away what was built and any open transaction: the source starts again.
    pub fn reset(&mut self) {
        self.open = None;
        self.continued = false;
        let _ = self.take(None);
        self.continued = false;
    }
}

/// Largest record: what Postgres allows for a row, and far below what the `u32` lengths could hold.
pub const RECORD_BYTES_MAX: usize = 1 << 30;

/// Writes one change: for each image [`ChangeWriter::image`], then [`ChangeWriter::push`] for each column; at the end
/// [`ChangeWriter::finish`].
#[derive(Debug)]
pub struct ChangeWriter<'b> {
    builder: &'b mut BatchBuilder,
    section: usize,
    start: usize,
    value: usize,
    images: u8,
    op: Op,
    image: Option<(Image, usize)>,
    columns: usize,
    partial: bool,
    done: bool,
}

impl ChangeWriter<'_> {
    #[inline]
    fn head(mut self) -> Self {
        let order = self.builder.order;
        let section = &mut self.builder.sections[self.section];
        let out = &mut section.payload;
        // Length and attributes are patched by `finish`.
        out.extend_from_slice(&[0; 5]);
        out.push(u8::from(section.count > 0));
        put_varint(out, u64::from(order - section.order));
        out.extend_from_slice(&[0; 4]);
        self.value = out.len();
        out.extend_from_slice(&[self.op as u8, 0]);
        self
    }

    /// Starts an image of `columns` columns. An old image comes before the new one.
    #[inline]
    pub fn image(&mut self, image: Image, columns: usize) {
        self.end_image();
        let out = &mut self.builder.sections[self.section].payload;
        match image {
            Image::OldKey | Image::OldRow => {
                self.images |= if image == Image::OldKey { BEFORE_KEY } else { BEFORE_FULL };
                out.extend_from_slice(&[0; 4]);
            }
            Image::NewRow => self.images |= AFTER,
        }
        self.image = Some((image, out.len()));
        self.columns = columns;
        put_varint(out, columns as u64);
        self.builder.scratch.starts.clear();
    }

    /// The next column of the image.
    #[inline]
    pub fn push(&mut self, value: Value<'_>) {
        let out = &mut self.builder.sections[self.section].payload;
        self.builder.scratch.starts.push(out.len());
        self.partial |= value.is_unchanged();
        value.encode(out);
    }

    fn end_image(&mut self) {
        let Some((image, start)) = self.image.take() else { return };
        let section = &mut self.builder.sections[self.section];
        let (out, scratch) = (&mut section.payload, &mut self.builder.scratch);
        scratch.starts.push(out.len());
        let key = section.schema.as_ref().map_or(&[][..], |schema| &schema.key);
        if image != Image::NewRow {
            let length = (out.len() - start) as u32;
            out[start - 4..start].copy_from_slice(&length.to_le_bytes());
        }
        let copy = |into: &mut Vec<u8>, columns: &mut dyn ExactSizeIterator<Item = usize>| {
            put_varint(into, columns.len() as u64);
            for column in columns {
                if let (Some(from), Some(to)) = (scratch.starts.get(column), scratch.starts.get(column + 1)) {
                    into.extend_from_slice(&out[*from..*to]);
                }
            }
        };
        match image {
            _ if key.is_empty() => {}
            Image::OldKey => copy(&mut scratch.old_key, &mut (0..key.len())),
            Image::OldRow => copy(&mut scratch.old_key, &mut key.iter().copied()),
            Image::NewRow => copy(&mut scratch.new_key, &mut key.iter().copied()),
        }
    }

    /// Ends the change. An update whose old key differs from its new one becomes two records: the update under the
    /// new key, and a tombstone for the old.
    ///
    /// # Errors
    /// [`crate::Kind::Data`] when the row is larger than 1 GiB; the change is then left out.
    #[inline]
    pub fn finish(mut self) -> Result<()> {
        self.end_image();
        self.complete_key()?;
        let scratch = &self.builder.scratch;
        let keyed = !scratch.new_key.is_empty() || !scratch.old_key.is_empty();
        let moved = self.op == Op::Update
            && !scratch.old_key.is_empty()
            && !scratch.new_key.is_empty()
            && scratch.old_key != scratch.new_key;
        let mut bits = if keyed { Attributes::KEY } else { 0 };
        bits |= if self.partial { Attributes::PARTIAL } else { 0 };
        bits |= match self.op {
            Op::Delete if keyed => Attributes::TOMBSTONE,
            Op::Truncate => Attributes::CLEAR,
            _ => 0,
        };
        let before = (self.builder.sections[self.section].order, self.builder.bytes);
        self.seal(bits)?;
        if self.builder.sections[self.section].watched
            && !self.builder.show(self.section, self.start, before)?
        {
            return Ok(());
        }
        if moved {
            let partial = self.partial;
            self.builder.tombstone(self.section, partial);
        }
        Ok(())
    }

    /// A new key with unchanged columns (a key of TOAST size) takes them from the old key, which the source sends then.
    #[inline]
    fn complete_key(&mut self) -> Result<()> {
        let scratch = &mut self.builder.scratch;
        if !self.partial || scratch.new_key.is_empty() {
            return Ok(());
        }
        let new = Row::from_bytes(&scratch.new_key).to_vec()?;
        if !new.iter().any(Value::is_unchanged) {
            return Ok(());
        }
        let old = match scratch.old_key.as_slice() {
            [] => Vec::new(),
            bytes => Row::from_bytes(bytes).to_vec()?,
        };
        if old.len() != new.len() {
            return Err(Error::data("append update: the key is unchanged and the source did not send it"));
        }
        let mut key = Vec::with_capacity(scratch.old_key.len());
        put_row(
            &mut key,
            new.iter().zip(&old).map(|(new, old)| if new.is_unchanged() { *old } else { *new }),
        );
        scratch.new_key = key;
        Ok(())
    }

    #[inline]
    fn seal(&mut self, bits: u8) -> Result<()> {
        let section = &mut self.builder.sections[self.section];
        let scratch = &self.builder.scratch;
        let out = &mut section.payload;
        let value_len = out.len() - self.value;
        let only_key =
            self.op == Op::Delete && self.images == BEFORE_KEY && bits & Attributes::TOMBSTONE != 0;
        let value_len = if only_key { 0 } else { value_len };
        out.truncate(self.value + value_len);
        if value_len > 0 {
            out[self.value + 1] = self.images;
        }
        out.extend_from_slice(if scratch.new_key.is_empty() { &scratch.old_key } else { &scratch.new_key });
        let length = out.len() - self.start - 4;
        if length > RECORD_BYTES_MAX {
            return Err(Error::data(format!("append row of {length} bytes, at most {RECORD_BYTES_MAX}")));
        }
        out[self.start..self.start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        out[self.start + 4] = bits;
        out[self.value - 4..self.value].copy_from_slice(&(value_len as u32).to_le_bytes());
        self.builder.bytes += length + 4;
        self.builder.counted(self.section);
        self.done = true;
        Ok(())
    }
}

impl Drop for ChangeWriter<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.builder.sections[self.section].payload.truncate(self.start);
        }
    }
}
