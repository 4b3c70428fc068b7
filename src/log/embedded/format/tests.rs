//! Everything that is encoded comes back, and nothing else is accepted.

use std::collections::BTreeMap;

use bytes::Bytes;
use connector_api::{Column, Encoding, Position, Section, ValueKind};
use proptest::prelude::*;

use super::*;
use crate::log::scan::Stored;
use crate::log::state::{Open, State, Topic};

fn schema() -> impl Strategy<Value = Arc<Schema>> {
    let column = (".{0,6}", any::<bool>()).prop_map(|(name, nullable)| Column {
        name,
        kind: ValueKind::Array,
        element: Some(ValueKind::Text),
        type_name: "text[]".to_owned(),
        nullable,
    });
    (".{0,6}", prop::collection::vec(column, 1..4)).prop_map(|(table, columns)| {
        Arc::new(Schema { namespace: "public".to_owned(), table, columns, key: vec![0] })
    })
}

fn topic() -> impl Strategy<Value = TopicPartition> {
    (".{1,6}", 0..3u32).prop_map(|(topic, partition)| TopicPartition { topic: topic.into(), partition })
}

fn aborted() -> impl Strategy<Value = Aborted> {
    (".{0,6}", any::<u64>(), any::<u64>())
        .prop_map(|(producer, first, last)| Aborted { producer: producer.into(), first, last })
}

fn state() -> impl Strategy<Value = State> {
    let known = (any::<[u64; 4]>(), prop::option::of((1..u64::MAX, schema())));
    let known = known.prop_map(|([next, visible, earliest, bytes], schema)| Topic { next, visible, earliest, bytes, schema });
    let topics = prop::collection::btree_map(topic(), known, 0..4);
    let bytes = prop::collection::vec(any::<u8>(), 0..20);
    let positions = prop::collection::btree_map(".{0,6}", bytes, 0..4);
    let ends = prop::collection::btree_map(topic(), any::<u64>(), 0..3);
    let open = prop::collection::btree_map(".{0,6}", (any::<u64>(), any::<u64>(), ends), 0..3);
    let aborted = prop::collection::vec(aborted(), 0..3);
    (any::<u64>(), any::<u64>(), topics, positions, open, aborted).prop_map(
        |(next, next_schema, topics, positions, open, aborted)| State {
            next,
            next_schema,
            topics,
            positions: positions.into_iter().map(|(who, at)| (who.into(), Position::new(at))).collect(),
            open: open
                .into_iter()
                .map(|(who, (first, last, ends))| (who.into(), Open { first, last, ends }))
                .collect::<BTreeMap<_, _>>(),
            aborted,
        },
    )
}

fn section() -> impl Strategy<Value = (Section, u64)> {
    let payload = prop::collection::vec(any::<u8>(), 0..50);
    (topic(), 0..u64::MAX / 2, any::<u32>(), any::<u32>(), prop::option::of(schema()), payload).prop_map(
        |(topic, base, one, two, schema, payload)| {
            let encoding = if schema.is_some() { Encoding::Changes } else { Encoding::Events };
            let id = u64::from(schema.is_some()) * 9;
            let (span, count) = (one.max(two), one.min(two));
            (Section { topic, base, span, count, from: 0, schema, encoding, payload: payload.into() }, id)
        },
    )
}

fn stored() -> impl Strategy<Value = (Stored, Vec<u64>)> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    let sections = prop::collection::vec(section(), 0..4);
    (any::<(u64, i64, bool, bool, u64)>(), ".{0,6}", prop::option::of(bytes()), bytes(), sections).prop_map(
        |((sequence, appended_us, continued, continues, back), producer, position, transactions, sections)| {
            let (sections, schemas) = sections.into_iter().unzip();
            let first = if continued { sequence.saturating_sub(back) } else { sequence };
            let stored = Stored {
                sequence,
                appended_us,
                producer: producer.into(),
                position: position.map(Position::new),
                continued,
                continues,
                first,
                transactions: Bytes::from(transactions),
                sections,
            };
            (stored, schemas)
        },
    )
}

proptest! {
    #[test]
    fn checkpoints_come_back(state in state(), written_us: i64) {
        let mut out = Vec::new();
        encode_checkpoint(&mut out, &state, 0, written_us);
        let read = decode_checkpoint(&out).unwrap();
        prop_assert_eq!(read.state, state);
        prop_assert_eq!(read.written_us, written_us);
    }

    #[test]
    fn checkpoints_forget_what_was_aborted_in_segments_that_are_gone(state in state(), oldest: u64) {
        let mut out = Vec::new();
        encode_checkpoint(&mut out, &state, oldest, 0);
        let read = decode_checkpoint(&out).unwrap().state;
        prop_assert!(read.aborted.iter().all(|aborted| aborted.last >= oldest));
        prop_assert_eq!(read.aborted.len(), state.aborted_since(oldest).count());
    }

    #[test]
    fn batches_come_back((stored, schemas) in stored()) {
        let forms: Vec<_> = stored.sections.iter()
            .map(|section| (COMPRESSION_NONE, section.payload.len() as u64, crc32c::crc32c(&section.payload)))
            .collect();
        let directory = Directory::of(&stored, &schemas, &forms);
        let mut out = Vec::new();
        encode_batch(&mut out, &directory);
        prop_assert_eq!(Directory::decode(&out).unwrap(), directory);
    }

    #[test]
    fn small_entries_come_back(topic in topic(), id in 1..u64::MAX, schema in schema(), aborted in aborted(), numbers: [u64; 2]) {
        let mut out = Vec::new();
        encode_schema(&mut out, &topic, id, &schema);
        prop_assert_eq!(decode_schema(&out).unwrap(), (topic.clone(), id, schema));
        out.clear();
        encode_abort(&mut out, &aborted);
        prop_assert_eq!(decode_abort(&out).unwrap(), aborted);
        out.clear();
        let trims = vec![Trim { topic, earliest: numbers[0], bytes: numbers[1] }];
        encode_trim(&mut out, &trims);
        prop_assert_eq!(decode_trim(&out).unwrap(), trims);
    }

    #[test]
    fn heads_come_back_where_they_were_written_only(
        kind in prop::sample::select(EntryKind::ALL.to_vec()),
        meta in 0..=META_MAX as u32,
        payload in 0..u64::MAX / 4,
        (durable, meta_crc, at, other) in any::<(u64, u32, u64, u64)>(),
    ) {
        let salt = Salt::new(LogId(5), 9);
        let head = EntryHead { kind, meta, payload, durable, meta_crc };
        let bytes = head.encode(salt, at);
        prop_assert_eq!(EntryHead::decode(&bytes, salt, at), Ok(head));
        if other != at {
            prop_assert!(EntryHead::decode(&bytes, salt, other).is_err());
        }
        prop_assert!(EntryHead::decode(&bytes, Salt::new(LogId(6), 9), at).is_err());
        prop_assert!(EntryHead::decode(&bytes, Salt::new(LogId(5), 8), at).is_err());
    }

    #[test]
    fn headers_come_back(log: u128, first: u64, generation: u32, created_us: i64) {
        let header = Header { log: LogId(log), first, generation, created_us };
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        prop_assert_eq!(decode_meta(&encode_meta(LogId(log), created_us)), Ok(LogId(log)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = decode_checkpoint(&bytes);
        let _ = Directory::decode(&bytes);
        let _ = decode_schema(&bytes);
        let _ = decode_abort(&bytes);
        let _ = decode_trim(&bytes);
        let _ = decode_mark(&bytes);
        prop_assert!(Header::decode(&bytes).is_err());
        prop_assert!(decode_meta(&bytes).is_err());
        prop_assert!(EntryHead::decode(&bytes, Salt::new(LogId(0), 0), 0).is_err());
    }
}

#[test]
fn a_later_version_is_named() {
    let header = Header { log: LogId(1), first: 0, generation: 0, created_us: 0 };
    let mut bytes = header.encode();
    bytes[8] = 2;
    assert!(Header::decode(&bytes).unwrap_err().contains("format version 2"));
    let mut meta = encode_meta(LogId(1), 0);
    meta[8] = 3;
    assert!(decode_meta(&meta).unwrap_err().contains("format version 3"));
}

#[test]
fn a_small_section_cannot_ask_for_a_large_buffer() {
    let head = SectionHead {
        topic: "t",
        partition: 0,
        base: 0,
        span: 1,
        count: 1,
        schema: 0,
        encoding: Encoding::Events,
        compression: COMPRESSION_LZ4,
        stored: 10,
        raw: 1 << 30,
        crc: 0,
    };
    let directory = Directory {
        sequence: 0,
        appended_us: 0,
        producer: "p",
        position: None,
        continued: false,
        continues: false,
        first: 0,
        transactions: &[],
        sections: vec![head],
    };
    let mut out = Vec::new();
    encode_batch(&mut out, &directory);
    assert!(Directory::decode(&out).is_err());
}
