//! What each operation does.

use connector_api::{Image, Kind, Op, Sink, Value, ValueKind};

use crate::fixture::{Harness, Table, now, table, user, users};

const USERS: &str = "SELECT * FROM users ORDER BY id";

#[test]
fn inserts_updates_and_deletes() {
    let mut harness = Harness::new();
    let users = users();
    harness
        .feed
        .insert(&users, &user(1, "ann"))
        .insert(&users, &user(2, "bob"))
        .insert(&users, &user(3, "cy"));
    harness.deliver();
    harness
        .feed
        .update(&users, &user(2, "rob"))
        .delete(&users, &[Value::Int(3)])
        .delete(&users, &[Value::Int(9)]);
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|ann|NULL", "2|rob|NULL"]);
}

#[test]
fn a_snapshot_read_and_an_insert_again_are_idempotent() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.change(&users, Op::Read, None, Some(&user(1, "old"))).insert(&users, &user(1, "new"));
    harness.feed.change(&users, Op::Read, None, Some(&user(2, "old"))).update(&users, &user(3, "not there"));
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|new|NULL", "2|old|NULL", "3|not there|NULL"]);
}

#[test]
fn an_update_fires_update_triggers_only() {
    let mut harness = Harness::on(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name, note); CREATE TABLE audit (what, id);
         CREATE TRIGGER i AFTER INSERT ON users BEGIN INSERT INTO audit VALUES ('insert', new.id); END;
         CREATE TRIGGER bi BEFORE INSERT ON users BEGIN INSERT INTO audit VALUES ('before insert', new.id); END;
         CREATE TRIGGER u AFTER UPDATE ON users BEGIN INSERT INTO audit VALUES ('update', old.id || new.id); END;
         CREATE TRIGGER d AFTER DELETE ON users BEGIN INSERT INTO audit VALUES ('delete', old.id); END;",
    );
    let users = users();
    harness.feed.insert(&users, &user(1, "a")).update(&users, &user(1, "b"));
    harness.feed.relocate(&users, &[Value::Int(1)], &user(2, "c")).delete(&users, &[Value::Int(2)]);
    harness.deliver();
    let audit = harness.rows("SELECT * FROM audit");
    assert_eq!(audit, ["before insert|1", "insert|1", "update|11", "update|12", "delete|2"]);
}

#[test]
fn unchanged_values_keep_what_the_target_has() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &[Value::Int(1), Value::Text("ann"), Value::Text("long")]);
    harness.feed.update(&users, &[Value::Int(1), Value::Text("eve"), Value::Unchanged]);
    harness.feed.insert(&users, &[Value::Int(2), Value::Text("bob"), Value::Text("note")]);
    harness.feed.update(&users, &[Value::Int(2), Value::Unchanged, Value::Null]);
    harness.feed.update(&users, &[Value::Int(2), Value::Unchanged, Value::Unchanged]);
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|eve|long", "2|bob|NULL"]);
    assert!(harness.sink_notices().is_empty());
}

#[test]
fn unchanged_values_of_a_missing_row_are_null_and_told_once() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.update(&users, &[Value::Int(1), Value::Text("eve"), Value::Unchanged]);
    harness.feed.update(&users, &[Value::Int(2), Value::Text("sue"), Value::Unchanged]);
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|eve|NULL", "2|sue|NULL"]);
    assert_eq!(harness.sink_notices().len(), 1);
}

#[test]
fn unchanged_values_of_a_missing_row_are_a_data_error_where_null_is_not_allowed() {
    let mut harness = Harness::on("CREATE TABLE users (id INTEGER PRIMARY KEY, name, note NOT NULL)");
    harness.feed.update(&users(), &[Value::Int(1), Value::Text("eve"), Value::Unchanged]);
    let error = harness.refused();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.to_string().contains("unchanged large values"), "{error}");
    assert!(error.to_string().contains("users.note"), "{error}");
}

#[test]
fn more_sets_of_unchanged_columns_than_statements_are_kept() {
    let columns: Vec<(String, ValueKind)> =
        (0..9).map(|at| (format!("c{at}"), if at == 0 { ValueKind::Int } else { ValueKind::Text })).collect();
    let columns: Vec<(&str, ValueKind)> = columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    let wide = table("wide", &columns, &[0]);
    let mut harness = Harness::new();
    let mut row = vec![Value::Int(1)];
    row.resize(9, Value::Text("first"));
    harness.feed.insert(&wide, &row);
    for set in 1..=255u32 {
        for bit in 0..8 {
            row[bit + 1] = if set >> bit & 1 == 1 { Value::Unchanged } else { Value::Text("then") };
        }
        harness.feed.update(&wide, &row);
    }
    harness.deliver();
    assert_eq!(harness.rows("SELECT * FROM wide"), ["1|then|then|then|then|then|then|then|then"]);
}

#[test]
fn a_key_change_moves_the_row() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &[Value::Int(1), Value::Text("ann"), Value::Text("long")]);
    harness.feed.relocate(&users, &[Value::Int(1)], &[Value::Int(5), Value::Text("eve"), Value::Unchanged]);
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["5|eve|long"]);
}

#[test]
fn keys_are_swapped() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "one")).insert(&users, &user(2, "two"));
    harness.deliver();
    let key = |id| [Value::Int(id)];
    harness.feed.relocate(&users, &key(1), &user(-1, "one"));
    harness.feed.relocate(&users, &key(2), &user(1, "two"));
    harness.feed.relocate(&users, &key(-1), &user(2, "one"));
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|two|NULL", "2|one|NULL"]);
}

#[test]
fn a_key_change_to_a_key_that_stands_there_replaces_the_stale_row() {
    let mut harness = Harness::on("CREATE TABLE users (id INTEGER PRIMARY KEY, name UNIQUE, note)");
    let users = users();
    harness
        .feed
        .insert(&users, &user(1, "one"))
        .insert(&users, &user(2, "stale"))
        .insert(&users, &user(3, "three"));
    harness.deliver();
    // The name is taken by row 3: nothing may happen, and the stale row must not be gone either.
    harness.feed.relocate(&users, &[Value::Int(1)], &user(2, "three"));
    let delivery = harness.feed.take();
    let results = harness.apply(&delivery);
    assert_eq!(results[0].as_ref().unwrap_err().kind(), Kind::Data);
    now(harness.sink.commit(&harness.cursor)).unwrap();
    assert_eq!(harness.rows(USERS), ["2|stale|NULL", "3|three|NULL"], "only the tombstone had an effect");
    harness.feed.insert(&users, &user(1, "one")).relocate(&users, &[Value::Int(1)], &user(2, "fresh"));
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["2|fresh|NULL", "3|three|NULL"]);
}

#[test]
fn a_key_change_of_a_missing_row_inserts_it() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(2, "stale"));
    harness.feed.relocate(&users, &[Value::Int(1)], &user(2, "fresh"));
    harness.feed.relocate(&users, &[Value::Int(7)], &[Value::Int(8), Value::Text("part"), Value::Unchanged]);
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["2|fresh|NULL", "8|part|NULL"]);
}

#[test]
fn a_key_that_the_target_takes_for_the_same_survives_its_tombstone() {
    let mut harness = Harness::on("CREATE TABLE tags (tag TEXT COLLATE NOCASE PRIMARY KEY, n)");
    let tags = table("tags", &[("tag", ValueKind::Text), ("n", ValueKind::Int)], &[0]);
    harness.feed.insert(&tags, &[Value::Text("rust"), Value::Int(1)]);
    harness.feed.relocate(&tags, &[Value::Text("rust")], &[Value::Text("Rust"), Value::Int(2)]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT * FROM tags"), ["Rust|2"]);
    harness.feed.delete(&tags, &[Value::Text("Rust")]);
    harness.deliver();
    assert!(harness.rows("SELECT * FROM tags").is_empty());
}

#[test]
fn whole_old_rows_show_whether_the_key_changed() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob"));
    let full = |harness: &mut Harness, old: &[Value<'_>], new: &[Value<'_>]| {
        harness.feed.change(&users, Op::Update, Some((Image::OldRow, old)), Some(new));
    };
    full(&mut harness, &user(1, "ann"), &user(1, "eve"));
    full(&mut harness, &user(2, "bob"), &user(4, "bob"));
    harness.feed.change(&users, Op::Delete, Some((Image::OldRow, &user(1, "eve"))), None);
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["4|bob|NULL"]);
}

#[test]
fn truncate_empties_the_table() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob")).truncate(&users);
    harness.feed.insert(&users, &user(3, "cy"));
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["3|cy|NULL"]);
}

#[test]
fn a_table_of_key_columns_only() {
    let pairs = table("pairs", &[("a", ValueKind::Int), ("b", ValueKind::Text)], &[1, 0]);
    let mut harness = Harness::new();
    let pair = |a, b| [Value::Int(a), Value::Text(b)];
    harness.feed.insert(&pairs, &pair(1, "x")).insert(&pairs, &pair(1, "x")).update(&pairs, &pair(1, "x"));
    harness.feed.insert(&pairs, &pair(2, "y"));
    harness.feed.relocate(&pairs, &[Value::Text("y"), Value::Int(2)], &pair(3, "z"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT * FROM pairs ORDER BY a"), ["1|x", "3|z"]);
}

fn log_lines() -> Table {
    table("lines", &[("a", ValueKind::Int), ("b", ValueKind::Text), ("c", ValueKind::Float)], &[])
}

#[test]
fn rows_without_a_key_are_matched_whole_one_at_a_time() {
    let mut harness = Harness::new();
    let lines = log_lines();
    let row = |a, b, c| [Value::Int(a), b, Value::Float(c)];
    let same = row(1, Value::Text("x"), f64::NAN);
    harness.feed.insert(&lines, &same).insert(&lines, &same).insert(&lines, &same);
    harness.feed.insert(&lines, &row(2, Value::Null, 0.1));
    harness.feed.change(&lines, Op::Delete, Some((Image::OldRow, &same)), None);
    harness.feed.change(
        &lines,
        Op::Update,
        Some((Image::OldRow, &row(2, Value::Null, 0.1))),
        Some(&row(2, Value::Text("y"), 0.2)),
    );
    harness.feed.change(
        &lines,
        Op::Update,
        Some((Image::OldRow, &same)),
        Some(&[Value::Int(5), Value::Unchanged, Value::Float(1.5)]),
    );
    harness.deliver();
    assert_eq!(harness.rows("SELECT * FROM lines ORDER BY a, b"), ["1|x|NaN", "2|y|0.2", "5|x|1.5"]);
}

#[test]
fn an_update_without_a_key_whose_row_is_missing_inserts_the_new_row() {
    let mut harness = Harness::new();
    let lines = log_lines();
    let row = |a| [Value::Int(a), Value::Null, Value::Null];
    harness.feed.change(&lines, Op::Update, Some((Image::OldRow, &row(1))), Some(&row(2)));
    harness.feed.change(&lines, Op::Delete, Some((Image::OldRow, &row(9))), None);
    harness.deliver();
    assert_eq!(harness.rows("SELECT a FROM lines"), ["2"]);
    harness.feed.change(&lines, Op::Update, None, Some(&row(3)));
    let error = harness.refused();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.remedy().is_some());
}

#[test]
fn columns_are_picked_renamed_and_reordered() {
    let users = users().ruled(|target| {
        let named = |(at, name): (usize, &str)| (at, name.to_owned());
        target.table = "customers".to_owned();
        target.columns = [(2, "memo"), (0, "number"), (0, "copy")].map(named).to_vec();
        target.key = vec![1];
    });
    let mut harness = Harness::new();
    harness.feed.insert(&users, &[Value::Int(1), Value::Text("ann"), Value::Text("hi")]);
    harness.feed.update(&users, &[Value::Int(1), Value::Text("ann"), Value::Text("ho")]);
    harness.feed.relocate(&users, &[Value::Int(1)], &[Value::Int(2), Value::Text("ann"), Value::Unchanged]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT memo, number, copy FROM customers"), ["ho|2|2"]);
}

#[test]
fn a_null_in_the_key_is_a_data_error() {
    let mut harness = Harness::new();
    harness.feed.insert(&users(), &[Value::Null, Value::Text("ann"), Value::Null]);
    let error = harness.refused();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.to_string().contains("key is NULL"), "{error}");
}

impl Harness {
    pub fn sink_notices(&mut self) -> Vec<String> {
        let made = |notice: &String| notice.starts_with("created table");
        self.sink.notices().into_iter().filter(|notice| !made(notice)).collect()
    }
}
