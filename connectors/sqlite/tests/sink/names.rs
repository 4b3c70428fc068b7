//! Names come from a peer: whatever they hold, they stay names (I12).

use connector_api::{Kind, Value, ValueKind};

use crate::fixture::{Harness, Table, table, user, users};

#[test]
fn hostile_names_stay_names() {
    let names = [
        r#"a"b; DROP TABLE users; --"#,
        "select",
        "naïve ☃",
        "",
        " ",
        "'",
        "]",
        "`",
        "a\nb",
        "?1",
        "rowid",
        "%s",
    ];
    for name in names {
        let hostile = table(name, &[("id", ValueKind::Int), (name, ValueKind::Text)], &[0]);
        let mut harness = Harness::new();
        harness.feed.insert(&users(), &user(1, "safe"));
        harness.feed.insert(&hostile, &[Value::Int(1), Value::Text("x")]);
        harness.feed.update(&hostile, &[Value::Int(1), Value::Text("y")]);
        harness.deliver();
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        assert_eq!(harness.rows(&format!("SELECT id, {quoted} FROM {quoted}")), ["1|y"], "{name:?}");
        assert_eq!(harness.rows("SELECT name FROM users"), ["safe"], "{name:?}");
    }
}

#[test]
fn hostile_names_of_keys_and_added_columns() {
    let (k1, k2, late) = (r#"k"1"#, "order", r#"x" TEXT); DROP TABLE "t"; --"#);
    let first = table("t", &[(k1, ValueKind::Text), ("v", ValueKind::Int), (k2, ValueKind::Int)], &[2, 0]);
    let then = table(
        "t",
        &[(k1, ValueKind::Text), ("v", ValueKind::Int), (k2, ValueKind::Int), (late, ValueKind::Text)],
        &[2, 0],
    );
    let mut harness = Harness::new();
    harness.feed.insert(&first, &[Value::Text("a"), Value::Int(1), Value::Int(10)]);
    harness.feed.insert(&first, &[Value::Text("b"), Value::Int(2), Value::Int(10)]);
    harness.feed.update(&then, &[Value::Text("a"), Value::Int(3), Value::Int(10), Value::Text("z")]);
    // Keys come in key order, which is not the order of the columns.
    harness.feed.delete(&then, &[Value::Int(10), Value::Text("b")]);
    harness.feed.relocate(
        &then,
        &[Value::Int(10), Value::Text("a")],
        &[Value::Text("c"), Value::Int(3), Value::Int(11), Value::Unchanged],
    );
    harness.deliver();
    assert_eq!(harness.rows("SELECT * FROM t"), ["c|3|11|z"]);
    let keys = harness.rows("SELECT name FROM pragma_table_info('t') WHERE pk > 0 ORDER BY pk");
    assert_eq!(keys, [k2, k1]);
}

#[test]
fn a_table_without_a_key_may_hide_the_row_number() {
    let hiding = table("t", &[("rowid", ValueKind::Int), ("_ROWID_", ValueKind::Int)], &[]);
    let mut harness = Harness::new();
    let row = [Value::Int(1), Value::Int(1)];
    harness.feed.insert(&hiding, &row).insert(&hiding, &row);
    harness.feed.change(&hiding, connector_api::Op::Delete, Some((connector_api::Image::OldRow, &row)), None);
    harness.deliver();
    assert_eq!(harness.rows("SELECT count(*) FROM t"), ["1"]);
}

#[test]
fn names_that_sqlite_cannot_hold_are_configuration_errors() {
    let cases = [
        table("a\0b", &[("id", ValueKind::Int)], &[0]),
        table("t", &[("id", ValueKind::Int), ("a\0b", ValueKind::Int)], &[0]),
        table("t", &[("id", ValueKind::Int), ("ID", ValueKind::Int)], &[0]),
        table("_millstream_cursor", &[("id", ValueKind::Int)], &[0]),
        table("sqlite_schema", &[("id", ValueKind::Int)], &[0]),
        table("empty", &[], &[]),
    ];
    for case in cases {
        let mut harness = Harness::new();
        let row = vec![Value::Int(1); case.schema.columns.len()];
        harness.feed.insert(&case, &row);
        assert_eq!(harness.refused().kind(), Kind::Config, "{:?}", case.schema);
    }
}

#[test]
fn the_limit_of_columns() {
    let names: Vec<String> = (0..2_001).map(|at| format!("c{at}")).collect();
    let columns: Vec<(&str, ValueKind)> = names.iter().map(|name| (name.as_str(), ValueKind::Int)).collect();
    let row = vec![Value::Int(1); 2_001];
    for key in [&[0usize][..], &[]] {
        let mut harness = Harness::new();
        let widest = table("widest", &columns[..2_000], key);
        harness.feed.insert(&widest, &row[..2_000]);
        let old = (connector_api::Image::OldRow, &row[..2_000]);
        let mut new = row[..2_000].to_vec();
        new[1_999] = Value::Int(2);
        harness.feed.change(&widest, connector_api::Op::Update, Some(old), Some(&new));
        harness.deliver();
        assert_eq!(harness.rows("SELECT c1998, c1999 FROM widest"), ["1|2"]);
    }
    let mut harness = Harness::new();
    harness.feed.insert(&table("wider", &columns, &[0]), &row);
    let error = harness.refused();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("2001 columns"), "{error}");
}

#[test]
fn two_topics_may_be_written_to_one_table() {
    let named =
        |table: &Table| table.ruled(|target| (target.table, target.named) = ("people".to_owned(), true));
    let here = named(&users());
    let there = named(&Table::of(&"shop.audit.Users".into(), (*users().schema).clone()));
    let mut harness = Harness::new();
    harness.feed.insert(&here, &user(1, "ann")).insert(&there, &user(2, "bob"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT name FROM people ORDER BY id"), ["ann", "bob"]);
}
