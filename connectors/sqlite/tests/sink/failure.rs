//! Failures: each has the kind that decides what happens next, and leaves the sink usable.

use std::time::{Duration, Instant};

use connector_api::{Kind, Sink, Value, ValueKind};
use connector_sqlite::{Options, Sqlite};

use crate::fixture::{Harness, LOG, now, table, user, users};

#[test]
fn a_violated_constraint_is_a_data_error_that_names_no_values() {
    let mut harness =
        Harness::on("CREATE TABLE users (id INTEGER PRIMARY KEY, name UNIQUE CHECK (name <> 'bad'), note)");
    let users = users();
    harness
        .feed
        .insert(&users, &user(1, "ann"))
        .insert(&users, &user(2, "ann"))
        .insert(&users, &user(3, "bad"));
    harness.feed.update(&users, &user(1, "bad")).insert(&users, &user(4, "dan"));
    let delivery = harness.feed.take();
    let results = harness.apply(&delivery);
    for at in [1, 2, 3] {
        let error = results[at].as_ref().unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        let text = error.to_string();
        assert!(text.starts_with("apply change to table \"users\" (key id): "), "{text}");
        assert!(text.contains("constraint failed") && !text.contains("ann"), "{text}");
    }
    // The others are good, and so is the transaction.
    delivery.advance(&mut harness.cursor);
    now(harness.sink.commit(&harness.cursor)).unwrap();
    assert_eq!(harness.rows("SELECT id, name FROM users"), ["1|ann", "4|dan"]);
}

#[test]
fn a_value_of_the_wrong_type_is_a_data_error() {
    let mut harness = Harness::on("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER) STRICT");
    let keyed = table("t", &[("id", ValueKind::Text), ("n", ValueKind::Int)], &[0]);
    harness.feed.insert(&keyed, &[Value::Text("x"), Value::Int(1)]);
    let error = harness.refused();
    assert_eq!(error.kind(), Kind::Config, "a key that is converted is refused at once: {error}");
    let strict = table("t", &[("id", ValueKind::Int), ("n", ValueKind::Bytes)], &[0]);
    harness.feed.insert(&strict, &[Value::Int(1), Value::Bytes(b"x")]);
    let error = harness.refused();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.to_string().contains("cannot store BLOB value in INTEGER column t.n"), "{error}");
}

#[test]
fn a_constraint_that_rolls_everything_back_stops_the_sink() {
    let mut harness =
        Harness::on("CREATE TABLE users (id INTEGER PRIMARY KEY, name UNIQUE ON CONFLICT ROLLBACK, note)");
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "ann"));
    let delivery = harness.feed.take();
    let results = harness.apply(&delivery);
    let error = results[1].as_ref().unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("ABORT")));
    now(harness.sink.rollback()).unwrap();
    assert!(harness.rows("SELECT * FROM users").is_empty());
}

#[test]
fn foreign_keys_are_off_unless_wanted() {
    let sql = "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE users (id INTEGER PRIMARY KEY, name, note REFERENCES parent);
         CREATE TABLE late (id INTEGER PRIMARY KEY, p REFERENCES parent DEFERRABLE INITIALLY DEFERRED)";
    let row = [Value::Int(1), Value::Null, Value::Text("9")];
    let mut harness = Harness::on(sql);
    harness.feed.insert(&users(), &row);
    harness.deliver();
    let mut harness = Harness::with(|options| options.foreign_keys = true, sql);
    harness.feed.insert(&users(), &row);
    assert_eq!(harness.refused().kind(), Kind::Data);
    let late = table("late", &[("id", ValueKind::Int), ("p", ValueKind::Int)], &[0]);
    harness.feed.insert(&late, &[Value::Int(1), Value::Int(9)]);
    let delivery = harness.feed.take();
    harness.apply(&delivery).into_iter().for_each(|result| result.unwrap());
    let error = now(harness.sink.commit(&harness.cursor)).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    now(harness.sink.rollback()).unwrap();
    assert!(harness.rows("SELECT * FROM late").is_empty());
}

#[test]
fn another_writer_is_waited_for_and_then_transient() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann"));
    let delivery = harness.feed.take();
    let other = harness.open();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = Instant::now();
    let error = harness.apply(&delivery).remove(0).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.remedy().is_some());
    assert!(before.elapsed() >= Duration::from_millis(400), "it waited");
    now(harness.sink.rollback()).unwrap();
    other.execute_batch("COMMIT").unwrap();
    harness.apply(&delivery).remove(0).unwrap();
    delivery.advance(&mut harness.cursor);
    now(harness.sink.commit(&harness.cursor)).unwrap();
    assert_eq!(harness.rows("SELECT id FROM users"), ["1"]);
}

#[test]
fn a_writer_that_ends_in_time_is_not_noticed() {
    let mut harness = Harness::new();
    harness.feed.insert(&users(), &user(1, "ann"));
    let other = harness.open();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ends = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        other.execute_batch("COMMIT").unwrap();
    });
    harness.deliver();
    ends.join().unwrap();
}

#[test]
fn a_folder_that_is_missing_is_a_configuration_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/such/target.db");
    let mut sink = Sqlite::new("billing", Options::new(&path));
    let error = now(sink.start(LOG)).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.remedy().is_some_and(|remedy| remedy.starts_with("mkdir -p ")));
}

#[test]
fn a_file_that_is_no_database_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target.db");
    std::fs::write(&path, "this is a letter to a friend, and no database at all".repeat(100)).unwrap();
    let mut sink = Sqlite::new("billing", Options::new(&path));
    assert_eq!(now(sink.start(LOG)).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_path_that_looks_like_a_uri_is_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file:memory?mode=memory");
    let mut sink = Sqlite::new("billing", Options::new(&path));
    assert_eq!(now(sink.start(LOG)).unwrap(), None);
    assert!(path.is_file());
}
