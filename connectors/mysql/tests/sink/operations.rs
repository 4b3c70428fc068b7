//! Every operation, with and without a key.

use connector_api::{Image, Op, Value, ValueKind};

use crate::fixture::{Harness, Table, table, user, users};

const ALL: &str = "SELECT * FROM users ORDER BY id";

fn harness(test: &str) -> Option<(Harness, Table)> {
    let (mut harness, users) = (Harness::new(test)?, users());
    harness.route(&[&users]);
    Some((harness, users))
}

#[test]
fn rows_come_change_and_go() {
    let Some((mut h, users)) = harness("rows_come_change_and_go") else { return };
    h.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob")).insert(&users, &user(3, "cid"));
    h.deliver();
    assert_eq!(h.rows(ALL), ["1|ann|NULL", "2|bob|NULL", "3|cid|NULL"]);
    h.feed.update(&users, &user(1, "anna")).delete(&users, &[Value::Int(2)]).insert(&users, &user(4, "dan"));
    h.feed.change(&users, Op::Read, None, Some(&user(3, "cyd")));
    h.deliver();
    assert_eq!(h.rows(ALL), ["1|anna|NULL", "3|cyd|NULL", "4|dan|NULL"]);
    // An update of a row that is not there is an insert, a delete of one is nothing.
    h.feed.update(&users, &user(9, "zoe")).delete(&users, &[Value::Int(77)]);
    h.deliver();
    assert_eq!(h.rows(ALL).len(), 4);
    assert_eq!(h.restart().unwrap().unwrap(), h.cursor);
}

#[test]
fn values_that_were_left_out_are_never_overwritten() {
    let Some((mut h, users)) = harness("values_that_were_left_out_are_never_overwritten") else { return };
    h.feed.insert(&users, &[Value::Int(1), Value::Text("ann"), Value::Text("large")]);
    h.deliver();
    h.feed.update(&users, &[Value::Int(1), Value::Text("anna"), Value::Unchanged]);
    h.deliver();
    assert_eq!(h.rows(ALL), ["1|anna|large"]);
    // Not there: inserted with what is known.
    h.feed.update(&users, &[Value::Int(2), Value::Text("bob"), Value::Unchanged]);
    h.deliver();
    assert_eq!(h.rows(ALL), ["1|anna|large", "2|bob|NULL"]);
}

#[test]
fn values_left_out_of_a_column_that_needs_one() {
    let test = "values_left_out_of_a_column_that_needs_one";
    let sql = "CREATE TABLE users (id bigint PRIMARY KEY, name longtext, note longtext NOT NULL) CHARACTER SET utf8mb4";
    let Some(mut h) = Harness::on(test, sql) else { return };
    let users = users();
    h.route(&[&users]);
    for id in 1..=3 {
        h.feed.insert(&users, &[Value::Int(id), Value::Text("x"), Value::Text("kept")]);
    }
    h.deliver();
    for id in 1..=4 {
        h.feed.update(&users, &[Value::Int(id), Value::Text("new"), Value::Unchanged]);
    }
    let refused = h.deliver_some();
    assert_eq!(h.rows(ALL), ["1|new|kept", "2|new|kept", "3|new|kept"]);
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].offset == 6 && refused[0].error.to_string().contains("leaves values out"),
        "{refused:?}"
    );
}

#[test]
fn a_key_changes_and_a_stale_row_makes_way() {
    let Some((mut h, users)) = harness("a_key_changes_and_a_stale_row_makes_way") else { return };
    h.feed.insert(&users, &[Value::Int(1), Value::Text("ann"), Value::Text("large")]);
    h.feed.insert(&users, &user(5, "stale"));
    h.deliver();
    h.feed.relocate(&users, &[Value::Int(1)], &[Value::Int(5), Value::Text("ann"), Value::Unchanged]);
    h.deliver();
    assert_eq!(h.rows(ALL), ["5|ann|large"]);
    // In one transaction, in a circle over a free key.
    h.feed.insert(&users, &user(6, "bob"));
    h.deliver();
    h.feed.relocate(&users, &[Value::Int(5)], &[Value::Int(7), Value::Text("ann"), Value::Unchanged]);
    h.feed.relocate(&users, &[Value::Int(6)], &user(5, "bob"));
    h.feed.relocate(&users, &[Value::Int(7)], &[Value::Int(6), Value::Text("ann"), Value::Unchanged]);
    h.deliver();
    assert_eq!(h.rows(ALL), ["5|bob|NULL", "6|ann|large"]);
    // The old row is not there: a whole new one is inserted.
    h.feed.relocate(&users, &[Value::Int(100)], &user(101, "new"));
    h.deliver();
    assert_eq!(h.rows(ALL).len(), 3);
}

#[test]
fn truncate_and_soft_deletes() {
    let Some((mut h, users)) = harness("truncate_and_soft_deletes") else { return };
    for id in 1..=3 {
        h.feed.insert(&users, &user(id, "x"));
    }
    h.deliver();
    for id in [1, 2, 9] {
        let gone = [Value::Int(id), Value::Unchanged, Value::Text("gone")];
        h.feed.change(&users, Op::Delete, Some((Image::OldKey, &[Value::Int(id)])), Some(&gone));
    }
    h.deliver();
    assert_eq!(h.rows(ALL), ["1|x|gone", "2|x|gone", "3|x|NULL"]);
    let gone = [Value::Null, Value::Unchanged, Value::Text("gone")];
    h.feed.change(&users, Op::Truncate, None, Some(&gone));
    h.deliver();
    assert_eq!(h.rows(ALL), ["1|x|gone", "2|x|gone", "3|x|gone"]);
    h.feed.truncate(&users).insert(&users, &user(8, "after"));
    h.deliver();
    assert_eq!(h.rows(ALL), ["8|after|NULL"]);
}

#[test]
fn a_key_of_several_columns() {
    let Some(mut h) = Harness::new("a_key_of_several_columns") else { return };
    let kinds = [("a", ValueKind::Int), ("b", ValueKind::Text), ("v", ValueKind::Int)];
    let pairs = table("pairs", &kinds, &[1, 0]);
    h.route(&[&pairs]);
    let row = |a, b, v| [Value::Int(a), Value::Text(b), Value::Int(v)];
    // Case and blanks at the end tell keys apart.
    for (at, text) in ["x", "X", "x ", "é", "e"].into_iter().enumerate() {
        h.feed.insert(&pairs, &row(1, text, at as i64));
    }
    h.deliver();
    assert_eq!(h.rows("SELECT count(*) FROM pairs"), ["5"]);
    h.feed.delete(&pairs, &[Value::Text("X"), Value::Int(1)]).update(&pairs, &row(1, "x ", 20));
    h.feed.relocate(&pairs, &[Value::Text("é"), Value::Int(1)], &row(2, "é", 30));
    h.deliver();
    assert_eq!(
        h.rows("SELECT a, concat('[', b, ']'), v FROM pairs ORDER BY v"),
        ["1|[x]|0", "1|[e]|4", "1|[x ]|20", "2|[é]|30"]
    );
}

#[test]
fn a_table_of_key_columns_only() {
    let Some(mut h) = Harness::new("a_table_of_key_columns_only") else { return };
    let tags = table("tags", &[("a", ValueKind::Int), ("b", ValueKind::Int)], &[0, 1]);
    h.route(&[&tags]);
    let row = |a, b| [Value::Int(a), Value::Int(b)];
    h.feed.insert(&tags, &row(1, 1)).insert(&tags, &row(1, 2)).update(&tags, &row(1, 1));
    h.deliver();
    h.feed.update(&tags, &row(1, 1)).relocate(&tags, &row(1, 2), &row(3, 3));
    h.deliver();
    assert_eq!(h.rows("SELECT * FROM tags ORDER BY a"), ["1|1", "3|3"]);
}

#[test]
fn tables_without_a_key_change_one_row_each_time() {
    let Some(mut h) = Harness::new("tables_without_a_key_change_one_row_each_time") else { return };
    let kinds = [("a", ValueKind::Int), ("b", ValueKind::Text), ("c", ValueKind::Float)];
    let log = table("log", &kinds, &[]);
    h.route(&[&log]);
    let row = |a, b| [Value::Int(a), b, Value::Float(0.1)];
    let (x, x_blank, null) = (Value::Text("x"), Value::Text("x "), Value::Null);
    h.feed.insert(&log, &row(1, x)).insert(&log, &row(1, x)).insert(&log, &row(1, x_blank));
    h.feed.insert(&log, &row(2, null)).insert(&log, &row(2, null)).insert(&log, &row(3, Value::Text(r"\'")));
    h.deliver();
    for (op, old, new) in [
        (Op::Delete, row(1, x), None),
        (Op::Delete, row(2, null), None),
        (Op::Update, row(3, Value::Text(r"\'")), Some(row(3, Value::Text("\0")))),
        (Op::Delete, row(9, x), None),
        (Op::Update, row(8, x), Some(row(8, Value::Text("new")))),
    ] {
        h.feed.change(&log, op, Some((Image::OldRow, &old)), new.as_ref().map(|new| &new[..]));
    }
    h.deliver();
    let found = h.rows("SELECT a, hex(b) FROM log ORDER BY a, b");
    assert_eq!(found, ["1|78", "1|7820", "2|NULL", "3|00", "8|6E6577"]);
}

#[test]
fn many_rows_go_through_many_statements() {
    let Some((mut h, users)) = harness("many_rows_go_through_many_statements") else { return };
    let text = "x'\\".repeat(300);
    for id in 0..3_000 {
        h.feed.insert(&users, &user(id, &text));
    }
    h.deliver();
    for id in 0..3_000 {
        match id % 3 {
            0 => h.feed.delete(&users, &[Value::Int(id)]),
            1 => h.feed.update(&users, &user(id, "short")),
            _ => h.feed.update(&users, &[Value::Int(id), Value::Unchanged, Value::Text("note")]),
        };
    }
    h.deliver();
    let found =
        h.rows("SELECT id % 3, count(*), min(length(name)), max(note) FROM users GROUP BY 1 ORDER BY 1");
    assert_eq!(found, ["1|1000|5|NULL", "2|1000|900|note"]);
}

#[test]
fn parents_come_before_children_and_go_after_them() {
    let sql =
        "CREATE TABLE users (id bigint PRIMARY KEY, name longtext, note longtext) CHARACTER SET utf8mb4;
        CREATE TABLE orders (id bigint PRIMARY KEY, user bigint, FOREIGN KEY (user) REFERENCES users (id))";
    let Some(mut h) = Harness::on("parents_come_before_children_and_go_after_them", sql) else { return };
    let (users, orders) =
        (users(), table("orders", &[("id", ValueKind::Int), ("user", ValueKind::Int)], &[0]));
    h.route(&[&users, &orders]);
    h.feed.insert(&orders, &[Value::Int(1), Value::Int(7)]).insert(&users, &user(7, "late"));
    h.deliver();
    h.feed.delete(&users, &[Value::Int(7)]).delete(&orders, &[Value::Int(1)]);
    h.deliver();
    assert_eq!(h.rows("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM orders)"), ["0|0"]);
    // A child without its parent is refused.
    h.feed.insert(&orders, &[Value::Int(2), Value::Int(404)]).insert(&users, &user(8, "other"));
    let refused = h.deliver_some();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].error.to_string().contains("foreign key"), "{refused:?}");
    assert_eq!(h.rows("SELECT id FROM users"), ["8"]);
}
