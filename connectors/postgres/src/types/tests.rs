#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;
use connector_api::array::Dimension;
use connector_api::civil::{put_date, put_time, put_timestamp};
use connector_api::{DATE_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_MINUS_INFINITY};
use proptest::prelude::*;

fn all() -> Vec<Reading> {
    use Reading::*;
    let array = |element: Reading| Array { element: Box::new(element), delimiter: b',' };
    let plain = vec![
        Bool,
        Int,
        Float,
        Decimal,
        Text,
        Bytes,
        Uuid,
        Date,
        Time,
        Timestamp,
        TimestampTz,
        Json,
        array(Text),
        array(Int),
    ];
    plain
}

/// Asserts what `text` reads as.
fn check(reading: &Reading, text: &str, expected: Value<'_>) {
    let mut scratch = Vec::new();
    assert_eq!(reading.read(text.as_bytes(), &mut scratch).unwrap(), expected, "{text}");
}

fn refused(reading: &Reading, text: &str) {
    assert!(reading.read(text.as_bytes(), &mut Vec::new()).is_err(), "{text}");
}

fn elements(element: Reading, delimiter: u8, text: &str) -> Option<(Vec<Dimension>, String)> {
    let reading = Reading::Array { element: Box::new(element), delimiter };
    let mut scratch = Vec::new();
    let Ok(Value::Array(array)) = reading.read(text.as_bytes(), &mut scratch) else { return None };
    let (dimensions, elements) = array.open().unwrap();
    let values: Vec<_> = elements.map(|value| value.unwrap()).collect();
    assert_eq!(
        values.len() as u32,
        if dimensions.is_empty() { 0 } else { dimensions.iter().map(|d| d.len).product() }
    );
    Some((dimensions, format!("{values:?}")))
}

#[test]
fn numbers() {
    check(&Reading::Int, "-9223372036854775808", Value::Int(i64::MIN));
    check(&Reading::Int, "9223372036854775807", Value::Int(i64::MAX));
    check(&Reading::Int, "4294967295", Value::Int(4_294_967_295));
    for wrong in ["", "-", "9223372036854775808", "-9223372036854775809", "1.5", "1a", "99999999999999999999"]
    {
        refused(&Reading::Int, wrong);
    }
    check(&Reading::Float, "1e+100", Value::Float(1e100));
    check(&Reading::Float, "-Infinity", Value::Float(f64::NEG_INFINITY));
    let mut scratch = Vec::new();
    assert!(matches!(Reading::Float.read(b"NaN", &mut scratch), Ok(Value::Float(nan)) if nan.is_nan()));
    refused(&Reading::Float, "inf");
    check(&Reading::Decimal, "-0.000000001", Value::Decimal("-0.000000001"));
    check(&Reading::Decimal, "NaN", Value::Decimal("NaN"));
    check(&Reading::Decimal, "-Infinity", Value::Decimal("-Infinity"));
    for wrong in ["", "-", ".", "1.2.3", "1e5", "--1", "Infinit"] {
        refused(&Reading::Decimal, wrong);
    }
}

#[test]
fn bytes_and_uuids() {
    check(&Reading::Bytes, "\\x00ffAb", Value::Bytes(&[0, 255, 0xab]));
    check(&Reading::Bytes, "\\x", Value::Bytes(&[]));
    check(&Reading::Bytes, "a\\\\b\\000\\377", Value::Bytes(&[b'a', b'\\', b'b', 0, 255]));
    for wrong in ["\\x0", "\\x0g", "\\9", "\\777"] {
        refused(&Reading::Bytes, wrong);
    }
    let uuid =
        [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0];
    check(&Reading::Uuid, "12345678-9abc-def0-1234-56789abcdef0", Value::Uuid(uuid));
    refused(&Reading::Uuid, "123456789abcdef0-1234-56789abcdef0xx");
}

#[test]
fn times() {
    check(&Reading::Date, "2000-01-01", Value::Date(0));
    check(&Reading::Date, "infinity", Value::Date(DATE_INFINITY));
    check(&Reading::Date, "4714-11-24 BC", Value::Date(-2_451_545));
    check(&Reading::Time, "24:00:00", Value::Time(86_400_000_000));
    check(&Reading::Time, "09:30:00.000001", Value::Time(34_200_000_001));
    check(&Reading::Timestamp, "1999-12-31 23:59:59.999999", Value::Timestamp(-1));
    check(&Reading::TimestampTz, "2000-01-01 05:30:00+05:30", Value::TimestampTz(0));
    check(&Reading::TimestampTz, "2000-01-01 00:00:00-07:52:58", Value::TimestampTz(28_378_000_000));
    check(&Reading::TimestampTz, "-infinity", Value::TimestampTz(TIMESTAMP_MINUS_INFINITY));
    check(&Reading::Timestamp, "infinity", Value::Timestamp(TIMESTAMP_INFINITY));
    for wrong in ["", "2000-13-01", "2000-00-01", "20-01-01", "2000-01-01 BCE", "99999999-01-01"] {
        refused(&Reading::Date, wrong);
    }
    refused(&Reading::Time, "24:00:01");
    refused(&Reading::TimestampTz, "2000-01-01 00:00:00");
    refused(&Reading::Timestamp, "2000-01-01T00:00:00");
}

#[test]
fn arrays() {
    let one = |len| vec![Dimension { len, lower: 1 }];
    assert_eq!(elements(Reading::Int, b',', "{}"), Some((vec![], "[]".into())));
    assert_eq!(elements(Reading::Int, b',', "{1,NULL,-3}"), Some((one(3), "[Int(1), Null, Int(-3)]".into())));
    let text = r#"{a,"NULL",null,"x,\"y\\",""}"#;
    let expected = r#"[Text("a"), Text("NULL"), Null, Text("x,\"y\\"), Text("")]"#;
    assert_eq!(elements(Reading::Text, b',', text), Some((one(5), expected.into())));
    let (dimensions, values) = elements(Reading::Int, b',', "[0:1][-2:0]={{1,2,3},{4,5,6}}").unwrap();
    assert_eq!(dimensions, [Dimension { len: 2, lower: 0 }, Dimension { len: 3, lower: -2 }]);
    assert_eq!(values, "[Int(1), Int(2), Int(3), Int(4), Int(5), Int(6)]");
    let (_, boxes) = elements(Reading::Text, b';', "{(1,1),(0,0);(2,2),(1,1)}").unwrap();
    assert_eq!(boxes, r#"[Text("(1,1),(0,0)"), Text("(2,2),(1,1)")]"#);
    assert_eq!(elements(Reading::Bytes, b',', r#"{"\\x01","\\x02"}"#).unwrap().1, "[Bytes([1]), Bytes([2])]");
    for wrong in
        ["", "{", "{1", "{1,}", "{1}x", "{{1},{2,3}}", "{{1},2}", "{1,{2}}", "[0:1={1}", "{{{{{{{1}}}}}}}"]
    {
        assert_eq!(elements(Reading::Int, b',', wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text: Vec<u8>, shaped in "[\\[\\]{}0-9:=,\"\\\\a+. -]{0,40}") {
        for reading in all() {
            let _ = reading.read(&text, &mut Vec::new());
            let _ = reading.read(shaped.as_bytes(), &mut Vec::new());
        }
    }

    #[test]
    fn moments_come_back(micros in -211_000_000_000_000_000i64..9_223_000_000_000_000_000, days in -2_400_000i32..2_000_000_000) {
        let mut text = String::new();
        put_timestamp(&mut text, micros, ' ', "+00");
        check(&Reading::TimestampTz, &text, Value::TimestampTz(micros));
        text.clear();
        put_time(&mut text, micros.rem_euclid(86_400_000_000));
        check(&Reading::Time, &text, Value::Time(micros.rem_euclid(86_400_000_000)));
        text.clear();
        put_date(&mut text, days % 100_000_000);
        check(&Reading::Date, &text, Value::Date(days % 100_000_000));
    }

    #[test]
    fn integers_and_bytes_come_back(int: i64, bytes: Vec<u8>, float: f64) {
        check(&Reading::Int, &int.to_string(), Value::Int(int));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        check(&Reading::Bytes, &format!("\\x{hex}"), Value::Bytes(&bytes));
        prop_assume!(float.is_finite());
        check(&Reading::Float, &format!("{float:e}"), Value::Float(float));
    }
}
