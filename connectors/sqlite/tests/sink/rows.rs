//! What was written is read back, in the kinds of the source.

use connector_api::array::{Array, Dimension, put_array_head};
use connector_api::{Rows, Target, Value, ValueKind, put_row};
use connector_sqlite::{Options, rows};
use proptest::prelude::*;
use rusqlite::Connection;

use crate::fixture::{Harness, Table, now, table, user, users};

fn reader(harness: &Harness) -> Box<dyn Rows> {
    rows("billing", &harness.options).unwrap()
}

/// Every row, as shown.
fn scan(reader: &mut dyn Rows, target: &Target) -> Vec<String> {
    let mut found = Vec::new();
    now(reader.scan(target, &mut |row| {
        found.push(format!("{:?}", row.to_vec()?));
        Ok(())
    }))
    .unwrap();
    found
}

fn key(values: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_row(&mut out, values.iter().copied());
    out
}

#[test]
fn rows_are_scanned_and_found_by_key() {
    let pairs =
        table("pairs", &[("v", ValueKind::Uuid), ("a", ValueKind::Text), ("b", ValueKind::Date)], &[2, 1]);
    let mut harness = Harness::new();
    for day in 0..3 {
        harness.feed.insert(&pairs, &[Value::Uuid([day as u8; 16]), Value::Text("x"), Value::Date(day)]);
    }
    harness.deliver();
    let mut reader = reader(&harness);
    assert_eq!(scan(&mut *reader, &pairs.target).len(), 3);
    let keys = [
        key(&[Value::Date(2), Value::Text("x")]),
        key(&[Value::Date(2), Value::Text("y")]),
        key(&[Value::Date(0), Value::Text("x")]),
    ];
    let mut days = Vec::new();
    now(reader.find(&pairs.target, &keys, &mut |row| {
        days.push(row.to_vec()?[2] == Value::Date(2));
        Ok(())
    }))
    .unwrap();
    assert_eq!(days, [true, false]);
}

#[test]
fn what_is_not_there_has_no_rows_or_is_null() {
    let mut harness = Harness::new();
    let users = users();
    let missing = Options::new(harness.path().with_file_name("none.db"));
    assert!(scan(&mut *rows("billing", &missing).unwrap(), &users.target).is_empty());
    assert!(!missing.path.exists(), "reading makes nothing");
    assert!(scan(&mut *reader(&harness), &users.target).is_empty());
    harness.feed.insert(&users, &user(1, "ann"));
    harness.deliver();
    let wider = table("users", &[("id", ValueKind::Int), ("age", ValueKind::Int)], &[0]);
    assert_eq!(scan(&mut *reader(&harness), &wider.target), ["[Int(1), Null]"]);
}

#[test]
fn reading_goes_on_beside_the_sink_and_sees_what_is_committed() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann"));
    harness.deliver();
    let mut reader = reader(&harness);
    harness.feed.insert(&users, &user(2, "bob"));
    let delivery = harness.feed.take();
    harness.apply(&delivery).remove(0).unwrap();
    assert_eq!(scan(&mut *reader, &users.target).len(), 1);
    delivery.advance(&mut harness.cursor);
    now(connector_api::Sink::commit(&mut harness.sink, &harness.cursor)).unwrap();
    assert_eq!(scan(&mut *reader, &users.target).len(), 2);
}

#[test]
fn an_error_of_the_taker_ends_the_scan() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob"));
    harness.deliver();
    let mut seen = 0;
    let error = now(reader(&harness).scan(&users.target, &mut |_| {
        seen += 1;
        Err(connector_api::Error::data("enough"))
    }))
    .unwrap_err();
    assert_eq!((seen, error.to_string()), (1, "enough".to_owned()));
}

#[test]
fn what_somebody_else_wrote_differs_and_does_not_end_the_scan() {
    let columns = [
        ("id", ValueKind::Int),
        ("flag", ValueKind::Bool),
        ("day", ValueKind::Date),
        ("name", ValueKind::Text),
        ("list", ValueKind::Array),
        ("price", ValueKind::Decimal),
        ("data", ValueKind::Bytes),
    ];
    let kinds = table("kinds", &columns, &[0]);
    let sql = "CREATE TABLE kinds (id INTEGER PRIMARY KEY, flag, day, name, list, price, data);
        INSERT INTO kinds VALUES (1, 7, 'someday', 8, '[1', 12.5, 'text'), (2, 'true', 1, x'ff', '{}', 'abc', 5),
        (3, 1.5, x'00', CAST(x'ff' AS TEXT), NULL, x'', 1.5);";
    let harness = Harness::on(sql);
    assert_eq!(
        scan(&mut *reader(&harness), &kinds.target),
        [
            r#"[Int(1), Text("7"), Text("someday"), Int(8), Text("[1"), Text("12.5"), Text("text")]"#,
            r#"[Int(2), Text("true"), Text("1"), Bytes([255]), Text("{}"), Text("abc"), Text("5")]"#,
            r#"[Int(3), Text("1.5"), Text("\\x00"), Bytes([255]), Null, Text("\\x"), Text("1.5")]"#,
        ]
    );
}

/// One column of a kind, and what may be in it.
fn kinds() -> Vec<(ValueKind, Option<ValueKind>)> {
    let scalars = ValueKind::ALL.into_iter().filter(|kind| *kind != ValueKind::Array);
    scalars
        .clone()
        .map(|kind| (kind, None))
        .chain(scalars.map(|kind| (ValueKind::Array, Some(kind))))
        .collect()
}

fn shape() -> Table {
    let names: Vec<String> = kinds().iter().enumerate().map(|(at, _)| format!("c{at}")).collect();
    let mut columns = vec![("id", ValueKind::Int)];
    columns.extend(names.iter().zip(kinds()).map(|(name, (kind, _))| (name.as_str(), kind)));
    let made = table("kinds", &columns, &[0]);
    let mut schema = (*made.schema).clone();
    for (column, (_, element)) in schema.columns[1..].iter_mut().zip(kinds()) {
        column.element = element;
    }
    Table::of(&made.topic, schema)
}

/// A value of a kind, encoded, from numbers and text at random.
fn encoded(kind: ValueKind, element: Option<ValueKind>, seed: &Seed) -> Vec<u8> {
    let mut out = Vec::new();
    let Seed { number, float, text, bytes, null, .. } = seed;
    let decimal = format!("{number}.{:05}", number.unsigned_abs() % 100_000);
    let json = format!("{{\"n\": [{number}, \"]\"]}}");
    let array;
    let value = match kind {
        _ if *null == 0 => Value::Null,
        ValueKind::Bool => Value::Bool(number & 1 == 1),
        ValueKind::Int => Value::Int(*number),
        ValueKind::Float => Value::Float(*float),
        ValueKind::Decimal => Value::Decimal(&decimal),
        ValueKind::Text => Value::Text(text),
        ValueKind::Bytes => Value::Bytes(bytes),
        ValueKind::Uuid => Value::Uuid([*number as u8; 16]),
        ValueKind::Date => Value::Date((number % 2_000_000) as i32),
        ValueKind::Time => Value::Time(number.rem_euclid(86_400_000_001)),
        ValueKind::Timestamp => Value::Timestamp(*number),
        ValueKind::TimestampTz => Value::TimestampTz(*number),
        ValueKind::Json => Value::Json(&json),
        ValueKind::Array => {
            let element = element.unwrap_or(ValueKind::Text);
            let mut made = Vec::new();
            let dimensions: Vec<_> =
                seed.dimensions.iter().map(|(len, lower)| Dimension { len: *len, lower: *lower }).collect();
            put_array_head(&mut made, &dimensions);
            let count: u32 = seed.dimensions.iter().map(|(len, _)| len).product();
            for at in 0..if dimensions.is_empty() { 0 } else { count } {
                let seed = Seed { null: (u32::from(*null) + at) as u8 % 4, ..seed.clone() };
                made.extend(encoded(element, None, &seed));
            }
            array = made;
            Value::Array(Array::from_bytes(&array))
        }
    };
    value.encode(&mut out);
    out
}

#[derive(Debug, Clone)]
struct Seed {
    number: i64,
    float: f64,
    text: String,
    bytes: Vec<u8>,
    null: u8,
    dimensions: Vec<(u32, i32)>,
}

fn seed() -> impl Strategy<Value = Seed> {
    let float = prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(5e-324)
    ];
    let number = prop_oneof![any::<i64>(), -1_000i64..1_000, Just(i64::MAX), Just(i64::MIN)];
    let dimensions = proptest::collection::vec((1..3u32, -2..3i32), 0..3);
    (number, float, any::<String>(), any::<Vec<u8>>(), 0..4u8, dimensions).prop_map(
        |(number, float, text, bytes, null, dimensions)| Seed {
            number,
            float,
            text,
            bytes,
            null,
            dimensions,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Through the sink and back is `keep`, and `keep` again changes nothing.
    #[test]
    fn what_is_written_is_kept(seeds in proptest::collection::vec(seed(), 1..4)) {
        let shape = shape();
        let mut harness = Harness::new();
        let reader = &mut *reader(&harness);
        let mut expected = Vec::new();
        for (at, seed) in seeds.iter().enumerate() {
            let cells: Vec<Vec<u8>> = kinds().iter().map(|(kind, element)| encoded(*kind, *element, seed)).collect();
            let mut row = vec![Value::Int(at as i64)];
            row.extend(cells.iter().map(|cell| Value::from_bytes(cell)));
            harness.feed.insert(&shape, &row);
            let mut kept = Vec::new();
            for (column, value) in shape.schema.columns.iter().zip(&row) {
                let (mut once, mut twice) = (Vec::new(), Vec::new());
                reader.keep(column, *value, &mut once).unwrap();
                reader.keep(column, Value::from_bytes(&once), &mut twice).unwrap();
                prop_assert_eq!(&once, &twice, "{:?}", value);
                let whole = !matches!(value.kind(), Some(ValueKind::Float | ValueKind::Array));
                let mut plain = Vec::new();
                value.encode(&mut plain);
                prop_assert!(!whole || once == plain, "{:?}", value);
                kept.extend(once);
            }
            expected.push(kept);
        }
        harness.deliver();
        let mut found = Vec::new();
        now(reader.scan(&shape.target, &mut |row| {
            found.push(row.as_bytes()[1..].to_vec());
            Ok(())
        }))
        .unwrap();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_file_that_is_no_database_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("target.db"));
    std::fs::write(&options.path, "no database at all ".repeat(100)).unwrap();
    let error = now(rows("billing", &options).unwrap().scan(&users().target, &mut |_| Ok(()))).unwrap_err();
    assert_eq!(error.kind(), connector_api::Kind::Corrupt);
    drop(Connection::open(&options.path));
}
