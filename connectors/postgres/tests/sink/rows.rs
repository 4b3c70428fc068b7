//! Rows come back as they went in.

use connector_api::{Row, Value, ValueKind, put_row};
use connector_postgres::sink::rows as reader;

use crate::fixture::{Harness, column, table_of, users};

#[test]
fn rows_are_scanned_and_found_in_the_kinds_of_the_source() {
    let mut harness = Harness::new();
    let kinds = [
        ("id", ValueKind::Int, "bigint"),
        ("amount", ValueKind::Decimal, "numeric(12,2)"),
        ("at", ValueKind::TimestampTz, "timestamp with time zone"),
        ("data", ValueKind::Bytes, "bytea"),
        ("text", ValueKind::Text, "text"),
        ("ip", ValueKind::Text, "inet"),
        ("f", ValueKind::Float, "real"),
    ];
    let table = table_of("t", kinds.iter().map(|(name, kind, of)| column(name, *kind, of)).collect(), &[0]);
    let texts = ["tab\tand\nline", "\\N", "", "é\\"];
    let row = |id: i64| {
        [
            Value::Int(id),
            Value::Decimal("1.50"),
            Value::TimestampTz(id * 1_000_003),
            Value::Bytes(b"\0\xff\\"),
            Value::Text(texts[id as usize % 4]),
            if id % 2 == 0 { Value::Null } else { Value::Text("10.0.0.1") },
            Value::Float(0.1),
        ]
    };
    for id in 0..1_000 {
        harness.feed.insert(&table, &row(id));
    }
    harness.deliver();
    let mut rows = reader("billing", &harness.options).unwrap();
    let encoded = |id: i64| {
        let mut bytes = Vec::new();
        put_row(&mut bytes, row(id).into_iter());
        bytes
    };
    let mut found = Vec::new();
    let mut each = |row: Row<'_>| {
        found.push(row.as_bytes().to_vec());
        Ok(())
    };
    harness.runtime.block_on(rows.scan(&table.target, &mut each)).unwrap();
    found.sort();
    let mut expected: Vec<_> = (0..1_000).map(encoded).collect();
    expected.sort();
    assert_eq!(found, expected);

    let key = |id: i64| {
        let mut key = Vec::new();
        put_row(&mut key, [Value::Int(id)].into_iter());
        key
    };
    let mut found = Vec::new();
    let mut each = |row: Row<'_>| {
        found.push(row.as_bytes().to_vec());
        Ok(())
    };
    harness.runtime.block_on(rows.find(&table.target, &[key(5), key(5_000), key(6)], &mut each)).unwrap();
    found.sort();
    let mut expected = vec![encoded(5), encoded(6)];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_missing_table_has_no_rows_and_an_error_of_the_reader_ends_the_reading() {
    let mut harness = Harness::new();
    let mut rows = reader("billing", &harness.options).unwrap();
    let mut each = |_: Row<'_>| panic!("no rows");
    harness.runtime.block_on(rows.scan(&users().target, &mut each)).unwrap();
    harness
        .feed
        .insert(&users(), &crate::fixture::user(1, "ann"))
        .insert(&users(), &crate::fixture::user(2, "bob"));
    harness.deliver();
    let mut each = |_: Row<'_>| Err(connector_api::Error::transient("enough"));
    assert!(harness.runtime.block_on(rows.scan(&users().target, &mut each)).is_err());
    let mut count = 0;
    let mut each = |_: Row<'_>| {
        count += 1;
        Ok(())
    };
    harness.runtime.block_on(rows.scan(&users().target, &mut each)).unwrap();
    assert_eq!(count, 2);
}
