//! Every kind of value, and what SQLite holds afterwards.

use connector_api::array::{Array, Dimension, put_array_head};
use connector_api::{DATE_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY, Value, ValueKind};

use crate::fixture::{Harness, table};

fn array(values: &[Value<'_>], dimensions: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let dimensions: Vec<_> = dimensions.iter().map(|len| Dimension { len: *len, lower: 1 }).collect();
    put_array_head(&mut bytes, &dimensions);
    values.iter().for_each(|value| value.encode(&mut bytes));
    bytes
}

#[test]
fn every_kind_is_stored_as_documented() {
    let numbers = array(&[Value::Int(1), Value::Null, Value::Int(-3), Value::Int(4)], &[2, 2]);
    let empty = array(&[], &[]);
    let long = "9".repeat(200);
    let cases: Vec<(ValueKind, Value<'_>, &str, &str)> = vec![
        (ValueKind::Bool, Value::Bool(true), "integer", "1"),
        (ValueKind::Bool, Value::Bool(false), "integer", "0"),
        (ValueKind::Int, Value::Int(i64::MIN), "integer", "-9223372036854775808"),
        (ValueKind::Int, Value::Int(i64::MAX), "integer", "9223372036854775807"),
        (ValueKind::Float, Value::Float(0.1), "real", "0.1"),
        (ValueKind::Float, Value::Float(3.0), "real", "3.0"),
        (ValueKind::Float, Value::Float(f64::NAN), "text", "NaN"),
        (ValueKind::Float, Value::Float(f64::INFINITY), "real", "inf"),
        (ValueKind::Float, Value::Float(f64::NEG_INFINITY), "real", "-inf"),
        (ValueKind::Float, Value::Float(5e-324), "real", "5e-324"),
        (ValueKind::Decimal, Value::Decimal("12.500"), "text", "12.500"),
        (ValueKind::Decimal, Value::Decimal(&long), "text", &long),
        (ValueKind::Decimal, Value::Decimal("NaN"), "text", "NaN"),
        (ValueKind::Text, Value::Text(""), "text", ""),
        (ValueKind::Text, Value::Text("007"), "text", "007"),
        (ValueKind::Text, Value::Text("naïve ☃ \u{1F600}"), "text", "naïve ☃ \u{1F600}"),
        (ValueKind::Bytes, Value::Bytes(&[]), "blob", "x[]"),
        (ValueKind::Bytes, Value::Bytes(&[0, 255, 39]), "blob", "x[00, ff, 27]"),
        (ValueKind::Uuid, Value::Uuid([0xab; 16]), "text", "abababab-abab-abab-abab-abababababab"),
        (ValueKind::Date, Value::Date(0), "text", "2000-01-01"),
        (ValueKind::Date, Value::Date(DATE_INFINITY), "text", "infinity"),
        (ValueKind::Time, Value::Time(86_400_000_000), "text", "24:00:00"),
        (ValueKind::Timestamp, Value::Timestamp(-1), "text", "1999-12-31 23:59:59.999999"),
        (ValueKind::Timestamp, Value::Timestamp(TIMESTAMP_INFINITY), "text", "infinity"),
        (ValueKind::TimestampTz, Value::TimestampTz(500_000), "text", "2000-01-01 00:00:00.5+00:00"),
        (ValueKind::TimestampTz, Value::TimestampTz(TIMESTAMP_MINUS_INFINITY), "text", "-infinity"),
        (ValueKind::Json, Value::Json(r#"{"a": [1, 2]}"#), "text", r#"{"a": [1, 2]}"#),
        (ValueKind::Array, Value::Array(Array::from_bytes(&numbers)), "text", "[[1,null],[-3,4]]"),
        (ValueKind::Array, Value::Array(Array::from_bytes(&empty)), "text", "[]"),
        (ValueKind::Text, Value::Null, "null", "NULL"),
    ];
    let names: Vec<String> = (0..cases.len()).map(|at| format!("c{at}")).collect();
    let mut columns = vec![("id", ValueKind::Int)];
    columns.extend(names.iter().zip(&cases).map(|(name, (kind, ..))| (name.as_str(), *kind)));
    let kinds = table("kinds", &columns, &[0]);
    let mut row = vec![Value::Int(1)];
    row.extend(cases.iter().map(|(_, value, ..)| *value));
    let mut harness = Harness::new();
    harness.feed.insert(&kinds, &row).update(&kinds, &row);
    harness.deliver();
    for (name, (kind, _, stored, shown)) in names.iter().zip(&cases) {
        let found = harness.rows(&format!("SELECT typeof({name}) || ' ', {name} FROM kinds"));
        assert_eq!(found, [format!("{stored} |{shown}")], "{kind:?}");
    }
}

#[test]
fn every_kind_can_be_the_key() {
    let values = [
        (Value::Bool(true), Value::Bool(false)),
        (Value::Int(1), Value::Int(2)),
        (Value::Float(1.5), Value::Float(f64::NAN)),
        (Value::Decimal("1.0"), Value::Decimal("1.00")),
        (Value::Text("a"), Value::Text("A")),
        (Value::Bytes(&[0]), Value::Bytes(&[])),
        (Value::Uuid([1; 16]), Value::Uuid([2; 16])),
        (Value::Date(1), Value::Date(2)),
        (Value::Time(1), Value::Time(2)),
        (Value::Timestamp(1), Value::Timestamp(2)),
        (Value::TimestampTz(1), Value::TimestampTz(2)),
        (Value::Json("{}"), Value::Json("{ }")),
    ];
    for (one, two) in values {
        let kind = one.kind().unwrap();
        let keyed = table("keyed", &[("n", ValueKind::Int), ("k", kind)], &[1]);
        let mut harness = Harness::new();
        harness.feed.insert(&keyed, &[Value::Int(1), one]).insert(&keyed, &[Value::Int(2), two]);
        harness.feed.update(&keyed, &[Value::Int(3), one]).delete(&keyed, &[two]);
        harness.deliver();
        assert_eq!(harness.rows("SELECT n FROM keyed"), ["3"], "{kind:?}");
    }
}

#[test]
fn a_single_integer_key_is_the_row_number() {
    let mut harness = Harness::new();
    harness.feed.insert(&crate::fixture::users(), &crate::fixture::user(42, "ann"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT rowid FROM users"), ["42"]);
    assert!(
        harness.rows("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'users'").is_empty()
    );
}
