#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;
use crate::pgoutput::{Message, message};
use connector_api::{Batch, Change, Column, Kind, Schema};
use proptest::prelude::*;
use std::sync::Arc;

fn plan(readings: Vec<Reading>, key: Vec<usize>) -> Plan {
    let columns = readings.iter().enumerate().map(|(at, reading)| Column {
        name: format!("c{at}"),
        kind: reading.kind(),
        element: reading.element(),
        type_name: String::new(),
        nullable: true,
    });
    let schema = Schema { namespace: "public".into(), table: "t".into(), columns: columns.collect(), key };
    Plan::new(Shape { topic: "s.public.t".into(), schema: Arc::new(schema), readings })
}

/// The row of the one change of `batch`.
fn row(batch: &Batch) -> String {
    let section = &batch.sections[0];
    let record = section.records().next().unwrap().unwrap();
    let change = Change::decode(record, section.schema.as_ref().unwrap()).unwrap();
    format!("{:?}", change.after.unwrap().to_vec().unwrap())
}

fn line(readings: Vec<Reading>, text: &[u8]) -> Result<String> {
    let mut plan = plan(readings, vec![]);
    let mut into = BatchBuilder::new("s", 1 << 20);
    plan.line(text, &mut into, &mut Scratch::default())?;
    Ok(row(&into.take(None)))
}

#[test]
fn lines_of_a_copy_are_read() {
    let readings = || vec![Reading::Int, Reading::Text, Reading::Bytes];
    assert_eq!(line(readings(), b"1\ta b\t\\\\x00ff").unwrap(), r#"[Int(1), Text("a b"), Bytes([0, 255])]"#);
    assert_eq!(line(readings(), b"\\N\ta\\tb\\\\\\n\t\\N").unwrap(), r#"[Null, Text("a\tb\\\n"), Null]"#);
    assert_eq!(line(readings(), b"1\t\t\\N").unwrap(), r#"[Int(1), Text(""), Null]"#);
    assert_eq!(line(readings(), b"").unwrap_err().kind(), Kind::Data);
    for wrong in [&b"1\ta"[..], b"1\ta\t\\N\tx"] {
        assert_eq!(line(readings(), wrong).unwrap_err().kind(), Kind::Corrupt);
    }
    assert_eq!(line(vec![], b"").unwrap(), "[]");
    assert_eq!(line(vec![Reading::Text], b"").unwrap(), r#"[Text("")]"#);
}

/// The escapes that the server writes.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            char => out.push(char),
        }
    }
    out
}

proptest! {
    #[test]
    fn escaped_text_comes_back(texts in prop::collection::vec("[\\\\\\PC\n\r\t\u{8}\u{b}\u{c}N]{0,12}", 1..5)) {
        let joined: Vec<_> = texts.iter().map(|text| escape(text)).collect();
        let values: Vec<_> = texts.iter().map(|text| Value::Text(text)).collect();
        let found = line(vec![Reading::Text; texts.len()], joined.join("\t").as_bytes()).unwrap();
        prop_assert_eq!(found, format!("{values:?}"));
    }

    #[test]
    fn arbitrary_lines_never_panic(text: Vec<u8>) {
        let array = Reading::Array { element: Box::new(Reading::Text), delimiter: b',' };
        let _ = line(vec![Reading::Bytes, array, Reading::TimestampTz], &text);
    }
}

/// `cargo test -p connector-postgres --lib -- --ignored --nocapture decode_speed`
#[test]
#[ignore = "prints how fast rows are decoded"]
fn decode_speed() {
    let values = [
        "123456",
        "a user's name",
        "user123456@example.com",
        "1234.56",
        "42",
        "2026-11-23 09:30:00.123456+00",
        "t",
    ];
    let mut insert = b"I\0\0\0\x01N\0\x07".to_vec();
    for value in values {
        insert.push(b't');
        insert.extend((value.len() as u32).to_be_bytes());
        insert.extend(value.as_bytes());
    }
    let text = values.join("\t");
    let readings = {
        use Reading::*;
        || vec![Int, Text, Text, Decimal, Int, TimestampTz, Bool]
    };
    let (mut plan, mut scratch) = (plan(readings(), vec![0]), Scratch::default());
    let mut into = BatchBuilder::new("s", 1 << 20);
    for copy in [false, true] {
        let begun = std::time::Instant::now();
        let rows = 2_000_000u32;
        for _ in 0..rows {
            match message(&insert).unwrap() {
                _ if copy => plan.line(text.as_bytes(), &mut into, &mut scratch).unwrap(),
                Message::Insert { new, .. } => plan.insert(new, &mut into, &mut scratch).unwrap(),
                _ => unreachable!(),
            }
            if into.is_full() {
                drop(into.take(None));
            }
        }
        let nanos = begun.elapsed().as_nanos() / u128::from(rows);
        println!("{}: {nanos} ns a row of 7 columns", if copy { "copy line" } else { "insert" });
    }
}
