//! One bad row is set aside; the others of its flush have their effect.

use connector_api::{Kind, Value, ValueKind};

use crate::fixture::{Harness, table, user, users};

#[test]
fn a_refused_row_takes_only_its_own_key_with_it() {
    let mut harness = Harness::on(
        "CREATE TABLE users (id bigint PRIMARY KEY, name varchar(5) CHECK (name <> 'bad'), note text)",
    );
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")); // 0
    harness.feed.insert(&users, &user(2, "much too long")); // 1: refused
    harness.feed.insert(&users, &user(3, "bad")); // 2: refused
    harness.feed.update(&users, &[Value::Int(2), Value::Unchanged, Value::Text("x")]); // 3: waits
    harness.feed.update(&users, &user(1, "Ann")); // 4
    harness.feed.insert(&users, &user(4, "dan")).delete(&users, &[Value::Int(4)]); // 5, 6
    let refused = harness.refused();
    let offsets: Vec<_> = refused.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [1, 2, 3]);
    assert!(refused.iter().all(|(_, error)| error.kind() == Kind::Data));
    let texts: Vec<_> = refused.iter().map(|(_, error)| error.to_string()).collect();
    assert!(
        texts[0].contains("22001") && texts[1].contains("23514") && texts[1].contains("users_name_check"),
        "{texts:?}"
    );
    assert!(!texts.iter().any(|text| text.contains("much too long") || text.contains("'bad'")), "{texts:?}");
    assert_eq!(harness.rows("SELECT id, name FROM users"), ["1|Ann"]);
    // What comes later is a matter of the loop: the sink itself goes on.
    harness.feed.insert(&users, &user(2, "bob"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT id, name FROM users ORDER BY id"), ["1|Ann", "2|bob"]);
}

#[test]
fn a_bad_row_in_a_copy_and_one_in_the_middle_of_a_transaction() {
    let mut harness = Harness::on("CREATE TABLE users (id bigint PRIMARY KEY, name varchar(6), note text)");
    let users = users();
    harness.feed.insert(&users, &user(9_999, "first"));
    let first = harness.feed.take();
    assert!(harness.apply(&first).unwrap().is_empty());
    // No commit: the second flush must not take the first one back.
    for id in 0..300 {
        harness.feed.insert(&users, &user(id, if id == 150 { "much too long" } else { "fits" }));
    }
    let refused = harness.refused();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0, 151);
    assert_eq!(harness.rows("SELECT count(*), max(id) FROM users"), ["300|9999"]);
}

#[test]
fn a_value_without_a_form_in_the_target_is_refused_before_it_is_sent() {
    let mut harness = Harness::on("CREATE TABLE users (id smallint PRIMARY KEY, name text, note text)");
    let users = users();
    harness
        .feed
        .insert(&users, &user(1, "ann"))
        .insert(&users, &user(70_000, "far"))
        .insert(&users, &user(2, "nul\0byte"));
    for id in 100..300 {
        harness.feed.insert(&users, &user(id, "many"));
    }
    let refused = harness.refused();
    let offsets: Vec<_> = refused.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [1, 2]);
    assert_eq!(harness.rows("SELECT count(*) FROM users"), ["201"]);
}

#[test]
fn a_trigger_may_refuse_and_its_words_stay_there() {
    let mut harness = Harness::on(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, note text);
         CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF new.name = 'hunter2' THEN RAISE EXCEPTION 'not %', new.name; END IF; RETURN new; END $$;
         CREATE TRIGGER no BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION no();",
    );
    let users = users();
    harness.feed.insert(&users, &user(1, "hunter2")).insert(&users, &user(2, "bob"));
    let refused = harness.refused();
    assert_eq!(refused.len(), 1);
    let text = refused[0].1.to_string();
    assert!(text.contains("P0001") && !text.contains("hunter2"), "{text}");
    assert_eq!(harness.rows("SELECT id FROM users"), ["2"]);
}

#[test]
fn a_key_with_null_is_refused() {
    let mut harness =
        Harness::on("CREATE TABLE pairs (a bigint, b bigint); CREATE UNIQUE INDEX ON pairs (a)");
    let pairs = table("pairs", &[("a", ValueKind::Int), ("b", ValueKind::Int)], &[0]);
    harness
        .feed
        .insert(&pairs, &[Value::Null, Value::Int(1)])
        .insert(&pairs, &[Value::Int(1), Value::Int(1)]);
    assert_eq!(harness.refused().len(), 1);
    assert_eq!(harness.rows("SELECT a FROM pairs"), ["1"]);
}

#[test]
fn unique_columns_may_change_hands_within_a_flush() {
    let mut harness = Harness::on("CREATE TABLE users (id bigint PRIMARY KEY, name text UNIQUE, note text)");
    let users = users();
    harness.feed.insert(&users, &user(1, "a")).insert(&users, &user(2, "b"));
    harness.deliver();
    // In the order of the source every step is legal.
    harness.feed.update(&users, &user(1, "x")).update(&users, &user(2, "a")).update(&users, &user(1, "b"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT id, name FROM users ORDER BY id"), ["1|b", "2|a"]);
    harness.feed.delete(&users, &[Value::Int(2)]).insert(&users, &user(3, "a"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT id, name FROM users ORDER BY id"), ["1|b", "3|a"]);
}

#[test]
fn an_update_that_leaves_values_out_says_so_when_its_row_is_missing() {
    let mut harness =
        Harness::on("CREATE TABLE users (id bigint PRIMARY KEY, name text, note text NOT NULL)");
    let users = users();
    harness.feed.update(&users, &[Value::Int(1), Value::Text("ann"), Value::Unchanged]);
    let refused = harness.refused();
    assert_eq!(refused.len(), 1);
    let text = refused[0].1.to_string();
    assert!(text.contains("its row is not in the table") && text.contains("note"), "{text}");
}
