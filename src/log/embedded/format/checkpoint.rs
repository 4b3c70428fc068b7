//! The checkpoint that every segment begins with: the whole [`State`], so that a segment opens alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::reader::{Reader, put_bytes, put_varint};
use connector_api::{Error, Position, Result, Schema};

use super::{encode_abort, put_topic, read_abort, read_topic};
use crate::log::state::{Open, State, Topic};

/// A checkpoint, read.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::log::embedded) struct Checkpoint {
    pub state: State,
    /// When it was written, Unix microseconds.
    pub written_us: i64,
}

/// Appends a checkpoint. Aborted transactions of which nothing is left at or after batch `oldest` are left out.
pub(in crate::log::embedded) fn encode_checkpoint(out: &mut Vec<u8>, state: &State, oldest: u64, written_us: i64) {
    out.extend_from_slice(&written_us.to_le_bytes());
    put_varint(out, state.next);
    put_varint(out, state.next_schema);
    put_varint(out, state.topics.len() as u64);
    for (topic, known) in &state.topics {
        put_topic(out, topic);
        put_varint(out, known.next);
        put_varint(out, known.visible);
        put_varint(out, known.earliest);
        put_varint(out, known.bytes);
        put_varint(out, known.schema.as_ref().map_or(0, |(id, _)| *id));
        if let Some((_, schema)) = &known.schema {
            let mut bytes = Vec::new();
            schema.encode(&mut bytes);
            put_bytes(out, &bytes);
        }
    }
    put_varint(out, state.positions.len() as u64);
    for (producer, position) in &state.positions {
        put_bytes(out, producer.as_bytes());
        put_bytes(out, position.as_bytes());
    }
    put_varint(out, state.open.len() as u64);
    for (producer, open) in &state.open {
        put_bytes(out, producer.as_bytes());
        put_varint(out, open.first);
        put_varint(out, open.last);
        put_varint(out, open.ends.len() as u64);
        for (topic, end) in &open.ends {
            put_topic(out, topic);
            put_varint(out, *end);
        }
    }
    put_varint(out, state.aborted_since(oldest).count() as u64);
    state.aborted_since(oldest).for_each(|aborted| encode_abort(out, aborted));
}

/// Reads [`encode_checkpoint`].
pub(in crate::log::embedded) fn decode_checkpoint(bytes: &[u8]) -> Result<Checkpoint> {
    let mut reader = Reader::new(bytes);
    let written_us = reader.i64();
    let mut state = State { next: reader.varint(), next_schema: reader.varint(), ..State::default() };
    for _ in 0..count(&mut reader)? {
        let topic = read_topic(&mut reader);
        state.topics.insert(topic, read_state(&mut reader)?);
    }
    for _ in 0..count(&mut reader)? {
        let producer: Arc<str> = reader.text().into();
        state.positions.insert(producer, Position::new(reader.bytes()));
    }
    for _ in 0..count(&mut reader)? {
        let producer: Arc<str> = reader.text().into();
        let (first, last) = (reader.varint(), reader.varint());
        let mut ends = BTreeMap::new();
        for _ in 0..count(&mut reader)? {
            let topic = read_topic(&mut reader);
            ends.insert(topic, reader.varint());
        }
        state.open.insert(producer, Open { first, last, ends });
    }
    for _ in 0..count(&mut reader)? {
        state.aborted.push(read_abort(&mut reader));
    }
    reader.finish("checkpoint")?;
    Ok(Checkpoint { state, written_us })
}

/// A count of things that each take at least a byte.
fn count(reader: &mut Reader<'_>) -> Result<u64> {
    let count = reader.varint();
    reader.check("checkpoint")?;
    if count > reader.rest().len() as u64 {
        return Err(Error::corrupt(format!("decode checkpoint: {count} items in {} bytes", reader.rest().len())));
    }
    Ok(count)
}

fn read_state(reader: &mut Reader<'_>) -> Result<Topic> {
    let (next, visible) = (reader.varint(), reader.varint());
    let (earliest, bytes) = (reader.varint(), reader.varint());
    let schema = match reader.varint() {
        0 => None,
        id => Some((id, Arc::new(Schema::decode(reader.bytes())?))),
    };
    Ok(Topic { next, visible, earliest, bytes, schema })
}
