//! Names and values that try to be SQL.

use connector_api::{Kind, Value, ValueKind};

use crate::fixture::{Harness, table};

const HOSTILE: [&str; 8] = [
    "x\"; DROP TABLE canary; --",
    "x'; DROP TABLE canary; --",
    "$$; DROP TABLE canary; $$",
    "select",
    "Übung %s {} \\",
    "a.b",
    "$1",
    " ",
];

#[test]
fn hostile_names_and_values_stay_what_they_are() {
    let mut harness = Harness::on("CREATE TABLE canary (a int)");
    for name in HOSTILE {
        let hostile = table(name, &[(name, ValueKind::Text), ("rest", ValueKind::Text)], &[0]);
        for value in HOSTILE {
            harness.feed.insert(&hostile, &[Value::Text(value), Value::Text(value)]);
        }
        harness.deliver();
        harness.feed.update(&hostile, &[Value::Text(name), Value::Unchanged]);
        harness.feed.update(&hostile, &[Value::Text("new"), Value::Text(name)]);
        harness.feed.relocate(&hostile, &[Value::Text("new")], &[Value::Text("newer"), Value::Text(name)]);
        harness.feed.delete(&hostile, &[Value::Text("newer")]);
        harness.deliver();
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let sql =
            format!("SELECT {quoted} FROM {quoted} WHERE {quoted} = rest ORDER BY {quoted} COLLATE \"C\"");
        let mut expected = HOSTILE.map(str::to_owned);
        expected.sort();
        assert_eq!(harness.rows(&sql), expected, "{name}");
        harness.feed.truncate(&hostile);
        harness.deliver();
    }
    assert_eq!(harness.rows("SELECT count(*) FROM canary"), ["0"]);
}

#[test]
fn a_hostile_schema_and_sink_name() {
    let schema = "s\"'; DROP TABLE canary; --";
    let mut harness = Harness::with(
        |options| options.schema = schema.to_owned(),
        "CREATE TABLE canary (a int); CREATE SCHEMA \"s\"\"'; DROP TABLE canary; --\"",
    );
    let plain = table("plain", &[("id", ValueKind::Int)], &[0]);
    harness.feed.insert(&plain, &[Value::Int(1)]);
    harness.deliver();
    assert!(harness.restart().unwrap().is_some());
    assert_eq!(harness.rows("SELECT id FROM \"s\"\"'; DROP TABLE canary; --\".plain"), ["1"]);
    assert_eq!(harness.rows("SELECT count(*) FROM canary"), ["0"]);
}

#[test]
fn names_that_cannot_be_kept_are_refused() {
    let mut harness = Harness::new();
    let long = "n".repeat(64);
    for (name, column, wrong) in [
        (long.as_str(), "a", "64 bytes"),
        ("t", long.as_str(), "64 bytes"),
        ("_millstream_cursor", "a", "reserved"),
    ] {
        let refused = table(name, &[(column, ValueKind::Int)], &[0]);
        harness.feed.insert(&refused, &[Value::Int(1)]);
        let error = harness.failed();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains(wrong) && error.remedy().is_some(), "{error:?}");
        harness.restart().unwrap();
        harness.feed = crate::fixture::Feed::new();
    }
}
