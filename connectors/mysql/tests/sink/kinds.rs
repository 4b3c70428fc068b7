//! The whole matrix of types: in, and back by `rows`.

use connector_api::array::{Dimension, put_array_head};
use connector_api::{
    Column, DATE_INFINITY, Kind, Row, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, Target, Value, ValueKind,
};

use crate::fixture::{Harness, Table, shaped, typed};

fn array(lower: i32, items: &[Value<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_array_head(&mut bytes, &[Dimension { len: items.len() as u32, lower }]);
    items.iter().for_each(|item| item.encode(&mut bytes));
    bytes
}

/// A column for every kind, and types that have a declared type of their own.
fn matrix() -> Table {
    let array = Column { element: Some(ValueKind::Text), ..typed("array", ValueKind::Array, "text[]") };
    let columns = vec![
        typed("id", ValueKind::Int, "bigint"),
        typed("bool", ValueKind::Bool, "boolean"),
        typed("small", ValueKind::Int, "smallint"),
        typed("int", ValueKind::Int, "integer"),
        typed("big", ValueKind::Int, "bigint"),
        typed("float", ValueKind::Float, "double precision"),
        typed("money", ValueKind::Decimal, "numeric(12,2)"),
        typed("exact", ValueKind::Decimal, "numeric"),
        typed("text", ValueKind::Text, "text"),
        typed("bytes", ValueKind::Bytes, "bytea"),
        typed("uuid", ValueKind::Uuid, "uuid"),
        typed("date", ValueKind::Date, "date"),
        typed("time", ValueKind::Time, "time without time zone"),
        typed("stamp", ValueKind::Timestamp, "timestamp without time zone"),
        typed("stamptz", ValueKind::TimestampTz, "timestamp with time zone"),
        typed("json", ValueKind::Json, "jsonb"),
        array,
    ];
    shaped("matrix", columns, &[0])
}

const DAY: i64 = 86_400_000_000;

fn samples<'a>(numbers: &'a [u8], texts: &'a [u8]) -> Vec<Vec<Value<'a>>> {
    use connector_api::array::Array;
    let digits = "-123456789012345678901234567890123456789012345678901234567890.123456789";
    vec![
        vec![
            Value::Bool(true),
            Value::Int(i16::MIN.into()),
            Value::Int(i32::MAX.into()),
            Value::Int(i64::MIN),
            Value::Float(f64::MAX),
            Value::Decimal("9999999999.99"),
            Value::Decimal(digits),
            Value::Text("it's \\ \u{1f600} \0 "),
            Value::Bytes(&[0, 255, 39, 92]),
            Value::Uuid([0xab; 16]),
            Value::Date(-730_119),
            Value::Time(DAY),
            Value::Timestamp(-730_119 * DAY),
            Value::TimestampTz(2_921_940 * DAY - 1),
            Value::Json(r#"{"b": [1, 2.50, "x\\y'"], "a": null}"#),
            Value::Array(Array::from_bytes(texts)),
        ],
        vec![
            Value::Bool(false),
            Value::Int(0),
            Value::Int(-1),
            Value::Int(i64::MAX),
            Value::Float(5e-324),
            Value::Decimal("-0.10"),
            Value::Decimal("NaN"),
            Value::Text(""),
            Value::Bytes(&[]),
            Value::Uuid([0; 16]),
            Value::Date(0),
            Value::Time(0),
            Value::Timestamp(1),
            Value::TimestampTz(-1),
            Value::Json("\"text\""),
            Value::Array(Array::from_bytes(numbers)),
        ],
        vec![Value::Null; 16],
        vec![
            Value::Bool(true),
            Value::Int(7),
            Value::Int(7),
            Value::Int(7),
            Value::Float(-0.1),
            Value::Decimal("7.00"),
            Value::Decimal("100000"),
            Value::Text("NULL"),
            Value::Bytes(b"bytes"),
            Value::Uuid([1; 16]),
            Value::Date(9_999),
            Value::Time(1),
            Value::Timestamp(123_456_789),
            Value::TimestampTz(123_456_000),
            Value::Json("[]"),
            Value::Array(Array::from_bytes(texts)),
        ],
    ]
}

fn kept(rows: &dyn connector_api::Rows, target: &Target, row: Row<'_>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (at, value) in row.values().enumerate() {
        let mut bytes = Vec::new();
        rows.keep(target.column(at).unwrap(), value.unwrap(), &mut bytes).unwrap();
        out.push(bytes);
    }
    out
}

#[test]
fn every_kind_comes_back_as_the_loss_table_says() {
    let Some(mut h) = Harness::new("every_kind_comes_back_as_the_loss_table_says") else { return };
    let matrix = matrix();
    h.route(&[&matrix]);
    let numbers = array(5, &[Value::Text("1"), Value::Null]);
    let texts = array(1, &[Value::Text("a\"b\\c'"), Value::Text("")]);
    let samples = samples(&numbers, &texts);
    let mut rows: Vec<Vec<Value<'_>>> = Vec::new();
    for (id, sample) in samples.iter().enumerate() {
        rows.push([Value::Int(id as i64)].into_iter().chain(sample.iter().copied()).collect());
    }
    for row in &rows {
        h.feed.insert(&matrix, row);
    }
    h.deliver();
    let mut reader = connector_mysql::rows("billing", &h.options).unwrap();
    let mut found = Vec::new();
    let mut each = |row: Row<'_>| {
        found.push(row.as_bytes().to_vec());
        Ok(())
    };
    h.wait(reader.scan(&matrix.target, &mut each)).unwrap();
    assert_eq!(found.len(), rows.len());
    found.sort_by_key(|row| match Row::from_bytes(row).values().next() {
        Some(Ok(Value::Int(id))) => id,
        other => panic!("{other:?}"),
    });
    for (sent, found) in rows.iter().zip(&found) {
        let mut bytes = Vec::new();
        connector_api::put_row(&mut bytes, sent.iter().copied());
        let wanted = kept(&*reader, &matrix.target, Row::from_bytes(&bytes));
        let held = kept(&*reader, &matrix.target, Row::from_bytes(found));
        for (at, (wanted, held)) in wanted.iter().zip(&held).enumerate() {
            assert_eq!(wanted, held, "column {} of {:?}", matrix.target.name(at), sent[0]);
        }
    }
    // By key, with one that is not there.
    let keys: Vec<Vec<u8>> = [2, 77]
        .map(|id| {
            let mut key = Vec::new();
            connector_api::put_row(&mut key, [Value::Int(id)].into_iter());
            key
        })
        .into();
    let mut count = 0;
    let mut each = |_: Row<'_>| {
        count += 1;
        Ok(())
    };
    h.wait(reader.find(&matrix.target, &keys, &mut each)).unwrap();
    assert_eq!(count, 1);
    let nowhere = matrix.aliased("nowhere");
    h.wait(reader.scan(&nowhere.target, &mut |_| panic!("no rows"))).unwrap();
}

#[test]
fn every_kind_may_be_a_key() {
    let Some(mut h) = Harness::new("every_kind_may_be_a_key") else { return };
    let matrix = matrix();
    let values = samples(&[], &[]);
    // Neither floats nor documents are keys that anybody has.
    for (at, column) in matrix.schema.columns.iter().enumerate().skip(1) {
        if matches!(column.kind, ValueKind::Float | ValueKind::Json | ValueKind::Array) {
            continue;
        }
        let name = format!("by_{}", column.name);
        let keyed = shaped(&name, vec![column.clone(), typed("v", ValueKind::Int, "int")], &[0]);
        h.route(&[&keyed]);
        let keys = [values[0][at - 1], values[1][at - 1]];
        for key in keys {
            h.feed.insert(&keyed, &[key, Value::Int(1)]);
        }
        h.deliver();
        h.feed.update(&keyed, &[keys[0], Value::Int(2)]).delete(&keyed, &[keys[1]]);
        h.deliver();
        assert_eq!(h.rows(&format!("SELECT v FROM {name}")), ["2"], "{name}");
    }
}

#[test]
fn what_has_no_place_is_refused_and_not_changed() {
    let Some(mut h) = Harness::new("what_has_no_place_is_refused_and_not_changed") else { return };
    let matrix = matrix();
    h.route(&[&matrix]);
    let cases = [
        ("float", Value::Float(f64::NAN)),
        ("float", Value::Float(f64::NEG_INFINITY)),
        ("money", Value::Decimal("NaN")),
        ("date", Value::Date(DATE_INFINITY)),
        ("date", Value::Date(-800_000)),
        ("stamp", Value::Timestamp(TIMESTAMP_INFINITY)),
        ("stamptz", Value::TimestampTz(TIMESTAMP_MINUS_INFINITY)),
        ("stamp", Value::Timestamp(3_000_000 * DAY)),
        ("small", Value::Int(40_000)),
        ("json", Value::Json("{no json")),
    ];
    for (id, (name, value)) in cases.iter().enumerate() {
        let row: Vec<Value<'_>> = (matrix.schema.columns.iter().enumerate())
            .map(|(at, column)| match at {
                0 => Value::Int(id as i64),
                _ if column.name == *name => *value,
                _ => Value::Null,
            })
            .collect();
        h.feed.insert(&matrix, &row);
    }
    h.feed.insert(&matrix, &[&[Value::Int(100)][..], &[Value::Null; 16]].concat());
    let refused = h.deliver_some();
    assert_eq!(refused.len(), cases.len(), "{refused:?}");
    assert!(refused.iter().all(|refused| refused.error.kind() == Kind::Data));
    assert!(refused[0].error.to_string().contains("\"float\""), "{:?}", refused[0].error);
    assert_eq!(h.rows("SELECT id FROM matrix"), ["100"]);
}

#[test]
fn a_text_column_keeps_what_a_typed_one_cannot() {
    let test = "a_text_column_keeps_what_a_typed_one_cannot";
    let sql =
        "CREATE TABLE t (id bigint PRIMARY KEY, f longtext, d longtext, s longtext) CHARACTER SET utf8mb4";
    let Some(mut h) = Harness::on(test, sql) else { return };
    let columns = vec![
        typed("id", ValueKind::Int, "bigint"),
        typed("f", ValueKind::Float, "double precision"),
        typed("d", ValueKind::Date, "date"),
        typed("s", ValueKind::TimestampTz, "timestamptz"),
    ];
    let t = shaped("t", columns, &[0]);
    h.route(&[&t]);
    let row = [
        Value::Int(1),
        Value::Float(f64::NAN),
        Value::Date(-800_000),
        Value::TimestampTz(TIMESTAMP_INFINITY),
    ];
    h.feed.insert(&t, &row);
    h.deliver();
    assert_eq!(h.rows("SELECT * FROM t"), ["1|NaN|0192-09-04 BC|infinity"]);
    let mut reader = connector_mysql::rows("billing", &h.options).unwrap();
    let mut wanted = Vec::new();
    connector_api::put_row(&mut wanted, row[1..].iter().copied());
    let mut found = Vec::new();
    let mut each = |row: Row<'_>| {
        connector_api::put_row(&mut found, row.to_vec()?[1..].iter().copied());
        Ok(())
    };
    h.wait(reader.scan(&t.target, &mut each)).unwrap();
    assert_eq!(found, wanted);
}

#[test]
fn columns_of_somebody_elses_types() {
    let sql = "CREATE TABLE t (id int unsigned PRIMARY KEY, b bit(1), f float, d decimal(8,3), v varchar(5), m datetime, \
               u binary(16), e enum('a','b'), c char(3)) CHARACTER SET latin1";
    let Some(mut h) = Harness::on("columns_of_somebody_elses_types", sql) else { return };
    let columns = vec![
        typed("id", ValueKind::Int, "bigint"),
        typed("b", ValueKind::Bool, "boolean"),
        typed("f", ValueKind::Float, "real"),
        typed("d", ValueKind::Decimal, "numeric"),
        typed("v", ValueKind::Text, "text"),
        typed("m", ValueKind::Timestamp, "timestamp"),
        typed("u", ValueKind::Uuid, "uuid"),
        typed("e", ValueKind::Text, "mood"),
        typed("c", ValueKind::Text, "text"),
    ];
    let t = shaped("t", columns, &[0]);
    h.route(&[&t]);
    let row = |id, d, v, m, f| {
        let uuid = Value::Uuid([39; 16]);
        [
            Value::Int(id),
            Value::Bool(true),
            Value::Float(f),
            Value::Decimal(d),
            Value::Text(v),
            Value::Timestamp(m),
            uuid,
            Value::Text("b"),
            Value::Null,
        ]
    };
    let third = f64::from(1.1f32);
    h.feed.insert(&t, &row(1, "12345.600", "é", 1_000_000, third));
    h.feed.insert(&t, &row(2, "0.1234", "x", 0, third));
    h.feed.insert(&t, &row(3, "1", "\u{1f600}", 0, third));
    h.feed.insert(&t, &row(4, "1", "long   ", 0, third));
    h.feed.insert(&t, &row(5, "1", "x", 1, third));
    h.feed.insert(&t, &row(6, "1", "x", 0, 0.1));
    h.feed.insert(&t, &row(-1, "1", "x", 0, third));
    let refused = h.deliver_some();
    assert_eq!(refused.iter().map(|refused| refused.offset).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let found = h.rows("SELECT id, b + 0, f + 0e0, d, hex(v), m, hex(u), e FROM t");
    let wanted = "1|1|1.100000023841858|12345.600|E9|2000-01-01 00:00:01|27272727272727272727272727272727|b";
    assert_eq!(found, [wanted]);
}
