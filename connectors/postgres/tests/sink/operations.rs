//! Every operation, one at a time and many in one flush.

use connector_api::{Image, Op, Value, ValueKind};

use crate::fixture::{Harness, table, user, users};

const ALL: &str = "SELECT id, name, note FROM users ORDER BY id";

#[test]
fn inserts_updates_and_deletes() {
    let mut harness = Harness::new();
    let users = users();
    harness
        .feed
        .insert(&users, &user(1, "ann"))
        .insert(&users, &user(2, "bob"))
        .insert(&users, &user(3, "cyd"));
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["1|ann|NULL", "2|bob|NULL", "3|cyd|NULL"]);
    harness
        .feed
        .update(&users, &user(1, "Ann"))
        .delete(&users, &[Value::Int(2)])
        .insert(&users, &user(4, "dan"));
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["1|Ann|NULL", "3|cyd|NULL", "4|dan|NULL"]);
    // An update of a row that is not there, and a delete of one.
    harness.feed.update(&users, &user(9, "eve")).delete(&users, &[Value::Int(77)]);
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["1|Ann|NULL", "3|cyd|NULL", "4|dan|NULL", "9|eve|NULL"]);
}

#[test]
fn many_rows_go_by_copy_and_come_again_as_updates() {
    let mut harness = Harness::new();
    let users = users();
    for round in ["a", "b"] {
        for id in 0..5_000 {
            harness.feed.insert(&users, &user(id, &format!("{round}{id}")));
        }
        harness.deliver();
        let check = "SELECT count(*), count(DISTINCT id), min(name), max(left(name, 1)) FROM users";
        assert_eq!(harness.rows(check), [format!("5000|5000|{round}0|{round}")]);
    }
}

#[test]
fn a_key_that_occurs_often_in_one_flush_ends_at_its_last_change() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "a")).update(&users, &user(1, "b")).delete(&users, &[Value::Int(1)]);
    harness.feed.insert(&users, &user(1, "c")).insert(&users, &user(2, "x")).delete(&users, &[Value::Int(2)]);
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["1|c|NULL"]);
}

#[test]
fn values_that_were_left_out_stay() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &[Value::Int(1), Value::Text("ann"), Value::Text("large")]);
    harness.deliver();
    harness.feed.update(&users, &[Value::Int(1), Value::Text("Ann"), Value::Unchanged]);
    harness.feed.update(&users, &[Value::Int(2), Value::Text("new"), Value::Unchanged]);
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["1|Ann|large", "2|new|NULL"]);
    use connector_api::Sink;
    let notices = harness.sink.notices();
    assert!(notices.iter().any(|notice| notice.contains("inserted without")), "{notices:?}");
}

#[test]
fn a_row_moves_to_another_key() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &[Value::Int(1), Value::Text("ann"), Value::Text("large")]);
    harness.feed.insert(&users, &user(5, "stale"));
    harness.deliver();
    harness.feed.relocate(&users, &[Value::Int(1)], &[Value::Int(2), Value::Text("Ann"), Value::Unchanged]);
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["2|Ann|large", "5|stale|NULL"]);
    // A row that stands in the way is out of date; one that is not there is written when it is whole.
    harness.feed.relocate(&users, &[Value::Int(2)], &[Value::Int(5), Value::Text("Ann"), Value::Unchanged]);
    harness.feed.relocate(&users, &[Value::Int(70)], &user(71, "new"));
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["5|Ann|large", "71|new|NULL"]);
    harness.feed.relocate(&users, &[Value::Int(80)], &[Value::Int(5), Value::Text("x"), Value::Unchanged]);
    harness.feed.relocate(&users, &[Value::Int(81)], &[Value::Int(82), Value::Text("y"), Value::Unchanged]);
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["5|x|large", "71|new|NULL", "82|y|NULL"]);
}

#[test]
fn truncate_ends_what_came_before() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann"));
    harness.deliver();
    harness.feed.insert(&users, &user(2, "bob")).truncate(&users).insert(&users, &user(3, "cyd"));
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["3|cyd|NULL"]);
}

#[test]
fn soft_deletes_set_columns_of_rows_that_are_there() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob"));
    harness.deliver();
    for id in [1, 7] {
        let gone = [Value::Int(id), Value::Unchanged, Value::Text("gone")];
        harness.feed.change(&users, Op::Delete, Some((Image::OldKey, &[Value::Int(id)])), Some(&gone));
    }
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["1|ann|gone", "2|bob|NULL"]);
    harness.feed.change(
        &users,
        Op::Truncate,
        None,
        Some(&[Value::Int(0), Value::Unchanged, Value::Text("all")]),
    );
    harness.feed.insert(&users, &user(3, "cyd"));
    harness.deliver();
    assert_eq!(harness.rows(ALL), ["1|ann|all", "2|bob|all", "3|cyd|NULL"]);
}

#[test]
fn a_table_without_a_key_has_equal_rows_and_loses_one_at_a_time() {
    let mut harness = Harness::new();
    let notes = table(
        "notes",
        &[("at", ValueKind::Float), ("text", ValueKind::Text), ("extra", ValueKind::Json)],
        &[],
    );
    let row = |text| [Value::Float(f64::NAN), Value::Text(text), Value::Json("{\"a\":  1}")];
    let empty = [Value::Null, Value::Null, Value::Null];
    for _ in 0..3 {
        harness.feed.insert(&notes, &row("a")).insert(&notes, &empty);
    }
    harness.deliver();
    harness.feed.remove(&notes, &row("a")).remove(&notes, &empty).replace(&notes, &row("a"), &row("b"));
    harness.deliver();
    let all = "SELECT text, count(*) FROM notes GROUP BY text ORDER BY text";
    assert_eq!(harness.rows(all), ["a|1", "b|1", "NULL|2"]);
    // Not there: a whole row is inserted, a partial one is refused.
    harness.feed.replace(&notes, &row("zz"), &row("c"));
    let partial = [Value::Null, Value::Text("d"), Value::Unchanged];
    harness.feed.replace(&notes, &row("yy"), &partial);
    harness.feed.insert(&notes, &row("e"));
    let refused = harness.refused();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].1.to_string().contains("no row equals"), "{refused:?}");
    assert_eq!(harness.rows(all), ["a|1", "b|1", "c|1", "e|1", "NULL|2"]);
}

#[test]
fn a_key_of_several_columns_in_another_order() {
    let mut harness = Harness::new();
    let lines = table(
        "lines",
        &[("n", ValueKind::Int), ("what", ValueKind::Text), ("owner", ValueKind::Text)],
        &[2, 0],
    );
    let line = |n, what, owner| [Value::Int(n), Value::Text(what), Value::Text(owner)];
    harness
        .feed
        .insert(&lines, &line(1, "a", "x"))
        .insert(&lines, &line(2, "b", "x"))
        .insert(&lines, &line(1, "c", "y"));
    harness.deliver();
    harness.feed.update(&lines, &line(1, "A", "x")).delete(&lines, &[Value::Text("x"), Value::Int(2)]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT n, what, owner FROM lines ORDER BY owner, n"), ["1|A|x", "1|c|y"]);
}

#[test]
fn a_table_of_key_columns_only() {
    let mut harness = Harness::new();
    let pairs = table("pairs", &[("a", ValueKind::Int), ("b", ValueKind::Int)], &[0, 1]);
    let pair = |a, b| [Value::Int(a), Value::Int(b)];
    for _ in 0..2 {
        harness.feed.insert(&pairs, &pair(1, 2)).update(&pairs, &pair(3, 4));
        harness.deliver();
    }
    harness.feed.relocate(&pairs, &pair(1, 2), &pair(5, 6));
    harness.deliver();
    assert_eq!(harness.rows("SELECT a, b FROM pairs ORDER BY a"), ["3|4", "5|6"]);
}

#[test]
fn keys_that_are_one_to_the_target_keep_their_order() {
    let mut harness = Harness::on("CREATE TABLE scores (id numeric PRIMARY KEY, name text, note text)");
    let scores = table(
        "scores",
        &[("id", ValueKind::Decimal), ("name", ValueKind::Text), ("note", ValueKind::Text)],
        &[0],
    );
    let row = |id, name, note| [Value::Decimal(id), Value::Text(name), note];
    harness.feed.insert(&scores, &row("1", "first", Value::Null));
    harness.deliver();
    for (at, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let id = ["1.0", "1.00", "1.000", "1"][at];
        harness.feed.update(&scores, &row(id, name, Value::Null));
    }
    harness.deliver();
    assert_eq!(harness.rows("SELECT name FROM scores"), ["d"]);
    for (at, name) in ["a", "b", "c", "e"].into_iter().enumerate() {
        let id = ["1.0", "1.00", "1.000", "1"][at];
        harness.feed.update(&scores, &row(id, name, Value::Unchanged));
    }
    harness.deliver();
    assert_eq!(harness.rows("SELECT name FROM scores"), ["e"]);
}
