//! Soft deletes: rows stay, and columns of them are set.

use connector_api::{Image, Op, Value, ValueKind};

use crate::fixture::{Harness, Table, table, user, users};

const USERS: &str = "SELECT * FROM users ORDER BY id";

fn gone<'a>() -> [Value<'a>; 3] {
    [Value::Unchanged, Value::Unchanged, Value::Text("gone")]
}

fn lines() -> Table {
    table("lines", &[("a", ValueKind::Int), ("b", ValueKind::Text)], &[])
}

#[test]
fn a_delete_with_a_new_row_keeps_the_row_and_sets_its_columns() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob"));
    harness.feed.mark(&users, &[Value::Int(1)], &gone());
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|ann|gone", "2|bob|NULL"]);
    // It comes back.
    harness.feed.insert(&users, &user(1, "eve"));
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|eve|NULL", "2|bob|NULL"]);
}

#[test]
fn a_row_that_is_not_there_is_not_made() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).mark(&users, &[Value::Int(9)], &gone());
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|ann|NULL"]);
}

#[test]
fn several_columns_null_included_and_none_at_all() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob"));
    harness.feed.mark(&users, &[Value::Int(1)], &[Value::Unchanged, Value::Null, Value::Text("gone")]);
    harness.feed.mark(&users, &[Value::Int(2)], &[Value::Unchanged; 3]);
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|NULL|gone", "2|bob|NULL"]);
}

#[test]
fn the_second_half_of_a_key_change_marks_nothing() {
    let mut harness = Harness::on("CREATE TABLE tags (tag TEXT COLLATE NOCASE PRIMARY KEY, gone)");
    let tags = table("tags", &[("tag", ValueKind::Text), ("gone", ValueKind::Int)], &[0]);
    harness.feed.insert(&tags, &[Value::Text("rust"), Value::Null]);
    harness.feed.relocate(&tags, &[Value::Text("rust")], &[Value::Text("Rust"), Value::Null]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT * FROM tags"), ["Rust|NULL"]);
    harness.feed.mark(&tags, &[Value::Text("Rust")], &[Value::Unchanged, Value::Int(1)]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT * FROM tags"), ["Rust|1"]);
}

#[test]
fn a_truncate_with_a_new_row_sets_columns_of_all_rows_but_the_key() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob"));
    let all = [Value::Int(0), Value::Unchanged, Value::Text("emptied")];
    harness.feed.change(&users, Op::Truncate, None, Some(&all)).insert(&users, &user(3, "cy"));
    harness.deliver();
    assert_eq!(harness.rows(USERS), ["1|ann|emptied", "2|bob|emptied", "3|cy|NULL"]);
    harness.feed.change(
        &users,
        Op::Truncate,
        None,
        Some(&[Value::Int(0), Value::Unchanged, Value::Unchanged]),
    );
    harness.deliver();
    assert_eq!(harness.rows("SELECT count(*) FROM users"), ["3"]);
}

#[test]
fn without_a_key_one_row_that_equals_the_old_one_is_marked() {
    let mut harness = Harness::new();
    let lines = lines();
    let row = |a| [Value::Int(a), Value::Null];
    harness.feed.insert(&lines, &row(1)).insert(&lines, &row(1)).insert(&lines, &row(2));
    let marked = [Value::Unchanged, Value::Text("gone")];
    harness.feed.change(&lines, Op::Delete, Some((Image::OldRow, &row(1))), Some(&marked));
    harness.feed.change(&lines, Op::Delete, Some((Image::OldRow, &row(9))), Some(&marked));
    harness.deliver();
    assert_eq!(harness.rows("SELECT * FROM lines ORDER BY a, b"), ["1|NULL", "1|gone", "2|NULL"]);
}
