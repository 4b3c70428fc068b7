#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;
use crate::types::Reading;
use connector_api::{Batch, Column, Kind, Schema, Transactions};
use proptest::prelude::*;
use std::sync::Arc;

const OID: u32 = 42;

fn shape() -> Shape {
    let readings = vec![Reading::Int, Reading::Text];
    let column = |name: &str, reading: &Reading| Column {
        name: name.into(),
        kind: reading.kind(),
        element: None,
        type_name: String::new(),
        nullable: true,
    };
    let columns = ["id", "name"].iter().zip(&readings).map(|(name, reading)| column(name, reading)).collect();
    let schema = Schema { namespace: "public".into(), table: "t".into(), columns, key: vec![0] };
    Shape { topic: "shop.public.t".into(), schema: Arc::new(schema), readings }
}

fn decoder(resumed: u64) -> Decoder {
    let mut decoder = Decoder::new(7, Lsn(resumed));
    decoder.plans.set(OID, Some(Plan::new(shape())));
    decoder.plans.set(OID + 1, None);
    decoder
}

fn data(sent: i64, message: &[u8]) -> Vec<u8> {
    [&b"w"[..], &[0; 16], &sent.to_be_bytes(), message].concat()
}

fn begin(lsn: u64, time: i64) -> Vec<u8> {
    data(time, &[&b"B"[..], &lsn.to_be_bytes(), &time.to_be_bytes(), &5u32.to_be_bytes()].concat())
}

fn commit(lsn: u64, end: u64) -> Vec<u8> {
    data(0, &[&b"C\0"[..], &lsn.to_be_bytes(), &end.to_be_bytes(), &[0; 8]].concat())
}

fn insert(oid: u32, id: &str) -> Vec<u8> {
    let len = (id.len() as u32).to_be_bytes();
    data(0, &[&b"I"[..], &oid.to_be_bytes(), b"N\0\x02t", &len, id.as_bytes(), b"n"].concat())
}

fn keepalive(end: u64, reply: bool) -> Vec<u8> {
    [&b"k"[..], &end.to_be_bytes(), &[0; 8], &[u8::from(reply)]].concat()
}

fn apply(decoder: &mut Decoder, messages: &[Vec<u8>]) -> Result<Batch> {
    let mut into = BatchBuilder::new("shop", 1 << 20);
    for message in messages {
        decoder.apply(message, &mut into)?;
    }
    Ok(into.take(None))
}

#[test]
fn transactions_that_the_log_has_are_dropped() {
    let mut decoder = decoder(100);
    let messages = [
        begin(80, 1),
        insert(OID, "1"),
        commit(80, 100),
        begin(100, 2),
        insert(OID, "2"),
        insert(OID + 1, "3"),
        commit(100, 140),
    ];
    let batch = apply(&mut decoder, &messages).unwrap();
    assert_eq!(batch.records(), 1);
    let transaction = Transactions::new(&batch.transactions).next().unwrap().unwrap();
    let mark = Mark { system: 7, stage: Stage::Streaming(Lsn(140)) };
    assert_eq!((transaction.position, transaction.id), (&mark.encode()[..], 5));
    assert_eq!(transaction.timestamp_us, 2 + MICROS_1970_TO_2000);
    assert_eq!(decoder.position(), Lsn(140));
}

#[test]
fn an_idle_server_moves_the_position_but_not_inside_a_transaction() {
    let mut decoder = decoder(100);
    let mut into = BatchBuilder::new("shop", 1 << 20);
    assert_eq!(decoder.apply(&keepalive(150, true), &mut into).unwrap(), Step::Reply);
    assert_eq!(decoder.position(), Lsn(150));
    assert_eq!(decoder.apply(&keepalive(120, false), &mut into).unwrap(), Step::Next);
    assert_eq!(decoder.position(), Lsn(150));
    decoder.apply(&begin(160, 1), &mut into).unwrap();
    decoder.apply(&keepalive(500, false), &mut into).unwrap();
    assert_eq!(decoder.position(), Lsn(150));
}

#[test]
fn a_backlog_is_seen_by_the_servers_clock_alone() {
    let mut decoder = decoder(0);
    let mut into = BatchBuilder::new("shop", 1 << 20);
    let long_ago = -1_000_000_000;
    decoder.apply(&begin(10, long_ago), &mut into).unwrap();
    assert!(!decoder.is_behind());
    decoder.apply(&data(long_ago + BEHIND.as_micros() as i64 + 1, b"O"), &mut into).unwrap();
    assert!(decoder.is_behind());
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |messages: &[Vec<u8>]| apply(&mut decoder(0), messages).unwrap_err().kind();
    assert_eq!(refused(&[insert(OID, "1")]), Kind::Corrupt);
    assert_eq!(refused(&[begin(1, 1), begin(1, 1)]), Kind::Corrupt);
    assert_eq!(refused(&[commit(1, 1)]), Kind::Corrupt);
    assert_eq!(refused(&[begin(1, 1), insert(OID + 9, "1")]), Kind::Corrupt);
    let error = apply(&mut decoder(0), &[begin(1, 1), insert(OID, "secret")]).unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.to_string().contains("column id") && !error.to_string().contains("secret"), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_messages_never_panic(
        messages in prop::collection::vec((0..6u8, any::<u32>(), prop::collection::vec(any::<u8>(), 0..60)), 1..40),
    ) {
        let mut decoder = decoder(50);
        let mut into = BatchBuilder::new("shop", 1 << 20);
        for (kind, number, bytes) in messages {
            let message = match kind {
                0 => begin(u64::from(number), 0),
                1 => commit(u64::from(number), u64::from(number) + 8),
                2 => insert(OID + number % 3, &number.to_string()),
                3 => keepalive(u64::from(number), number % 2 == 0),
                4 => data(0, &[&[b"IUDTRBC"[number as usize % 7]], &OID.to_be_bytes()[..], &bytes].concat()),
                _ => bytes,
            };
            if decoder.apply(&message, &mut into).is_ok_and(|step| step == Step::LookUp) {
                decoder.install(Some(shape()));
            }
        }
        // Whatever went in comes out whole.
        for section in into.take(None).sections {
            for record in section.records() {
                prop_assert!(record.is_ok());
            }
        }
    }
}
