//! Target tables follow the source, as far as they may.

use connector_api::{Kind, Sink, Value, ValueKind};

use crate::fixture::{Harness, now, table, user, users};

#[test]
fn a_new_column_is_added_and_a_dropped_one_stays() {
    let mut harness = Harness::new();
    harness.feed.insert(&users(), &user(1, "ann"));
    harness.deliver();
    let then =
        table("users", &[("id", ValueKind::Int), ("name", ValueKind::Text), ("age", ValueKind::Int)], &[0]);
    harness.feed.insert(&then, &[Value::Int(2), Value::Text("bob"), Value::Int(30)]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT id, name, note, age FROM users"), ["1|ann|NULL|NULL", "2|bob|NULL|30"]);
    let notices = harness.sink.notices();
    assert!(notices[0].starts_with("created table \"users\""), "{notices:?}");
    assert_eq!(notices[1], "added column \"age\" INTEGER to table \"users\"");
    assert!(notices[2].contains("column \"note\" is not filled"), "{notices:?}");
    assert!(harness.sink.notices().is_empty());
}

#[test]
fn both_shapes_may_alternate_in_one_transaction() {
    let mut harness = Harness::new();
    let before = users();
    let then = table("users", &[("id", ValueKind::Int), ("age", ValueKind::Int)], &[0]);
    for id in 0..10 {
        harness.feed.insert(&before, &user(id, "x")).update(&then, &[Value::Int(id), Value::Int(id * 2)]);
    }
    harness.deliver();
    assert_eq!(harness.rows("SELECT sum(age), count(name) FROM users"), ["90|10"]);
}

#[test]
fn a_column_whose_kind_changed_is_rebuilt_in_a_table_of_ours() {
    let mut harness = Harness::new();
    let before = table("t", &[("id", ValueKind::Int), ("n", ValueKind::Int)], &[0]);
    harness.feed.insert(&before, &[Value::Int(1), Value::Int(7)]);
    harness.deliver();
    harness.sink.notices();
    let then = table("t", &[("id", ValueKind::Int), ("n", ValueKind::Text)], &[0]);
    harness.feed.insert(&then, &[Value::Int(2), Value::Text("007")]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT id, n, typeof(n) FROM t"), ["1|7|text", "2|007|text"]);
    assert!(harness.sink.notices()[0].contains("was INTEGER and is TEXT now"));
}

#[test]
fn what_a_rollback_undid_is_done_again() {
    let mut harness = Harness::new();
    let before = table("t", &[("id", ValueKind::Int), ("n", ValueKind::Int)], &[0]);
    harness.feed.insert(&before, &[Value::Int(1), Value::Int(7)]);
    harness.deliver();
    let then = table("t", &[("id", ValueKind::Int), ("n", ValueKind::Text)], &[0]);
    harness.feed.insert(&then, &[Value::Int(2), Value::Text("007")]);
    let delivery = harness.feed.take();
    for _ in 0..2 {
        harness.apply(&delivery).remove(0).unwrap();
        now(harness.sink.rollback()).unwrap();
        assert_eq!(harness.rows("SELECT n, typeof(n) FROM t"), ["7|integer"]);
    }
    harness.apply(&delivery).remove(0).unwrap();
    now(harness.sink.commit(&harness.cursor)).unwrap();
    assert_eq!(harness.rows("SELECT n, typeof(n) FROM t"), ["7|text", "007|text"]);
}

#[test]
fn a_column_that_cannot_be_rebuilt_stops_the_sink_with_the_statements() {
    let mut harness = Harness::new();
    let before = table("t", &[("id", ValueKind::Int), ("n", ValueKind::Int)], &[0]);
    harness.feed.insert(&before, &[Value::Int(1), Value::Int(7)]);
    harness.deliver();
    harness.open().execute_batch("CREATE INDEX i ON t (n)").unwrap();
    let then = table("t", &[("id", ValueKind::Int), ("n", ValueKind::Text)], &[0]);
    harness.feed.insert(&then, &[Value::Int(2), Value::Text("007")]);
    let error = harness.refused();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("DROP COLUMN \"n\"")), "{error:?}");
    now(harness.sink.rollback()).unwrap();
    assert_eq!(harness.rows("SELECT * FROM t"), ["1|7"]);
}

#[test]
fn a_table_of_somebody_else_is_extended_but_never_rebuilt() {
    let mut harness = Harness::on("CREATE TABLE t (id INTEGER PRIMARY KEY, price NUMERIC, own)");
    let priced =
        table("t", &[("id", ValueKind::Int), ("price", ValueKind::Decimal), ("more", ValueKind::Text)], &[0]);
    harness.feed.insert(&priced, &[Value::Int(1), Value::Decimal("12.50"), Value::Text("x")]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT * FROM t"), ["1|12.5|NULL|x"]);
    let notices = harness.sink.notices();
    assert!(notices.iter().any(|notice| notice.contains("NUMERIC")), "{notices:?}");
}

#[test]
fn without_create_tables_the_error_says_what_to_run() {
    let refuse = |sql: &str| {
        let mut harness = Harness::with(|options| options.create_tables = false, sql);
        harness.feed.insert(&users(), &user(1, "ann"));
        let error = harness.refused();
        assert_eq!(error.kind(), Kind::Config);
        now(harness.sink.rollback()).unwrap();
        let remedy = error.remedy().unwrap().to_owned();
        // The remedy is what mends it.
        harness.open().execute_batch(&remedy).unwrap();
        harness.feed.insert(&users(), &user(1, "ann"));
        harness.deliver();
        remedy
    };
    assert_eq!(
        refuse(""),
        r#"CREATE TABLE "users" ("id" INTEGER PRIMARY KEY NOT NULL, "name" TEXT, "note" TEXT);"#
    );
    assert_eq!(
        refuse("CREATE TABLE users (id INTEGER PRIMARY KEY, name)"),
        r#"ALTER TABLE "users" ADD COLUMN "note" TEXT;"#
    );
    assert_eq!(
        refuse("CREATE TABLE users (id INTEGER, name, note)"),
        r#"CREATE UNIQUE INDEX "users_id_key" ON "users" ("id");"#
    );
}

#[test]
fn a_changed_key_is_an_error_with_the_index_that_is_missing() {
    let mut harness = Harness::new();
    let columns = [("id", ValueKind::Int), ("region", ValueKind::Text)];
    harness.feed.insert(&table("t", &columns, &[0]), &[Value::Int(1), Value::Text("eu")]);
    harness.deliver();
    harness.feed.insert(&table("t", &columns, &[1, 0]), &[Value::Int(2), Value::Text("eu")]);
    let error = harness.refused();
    assert_eq!(error.kind(), Kind::Config);
    assert_eq!(error.remedy(), Some(r#"CREATE UNIQUE INDEX "t_region_id_key" ON "t" ("region", "id");"#));
}

#[test]
fn tables_changed_by_others_are_looked_at_again() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann"));
    harness.deliver();
    harness.open().execute_batch("ALTER TABLE users DROP COLUMN note").unwrap();
    harness.feed.insert(&users, &[Value::Int(2), Value::Text("bob"), Value::Text("back")]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT id, note FROM users"), ["1|NULL", "2|back"]);
    harness.open().execute_batch("DROP TABLE users").unwrap();
    harness.feed.update(&users, &user(3, "cy"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT id FROM users"), ["3"]);
}

#[test]
fn views_and_required_columns_are_refused() {
    for sql in [
        "CREATE VIEW users AS SELECT 1 AS id, 2 AS name, 3 AS note",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name, note, must NOT NULL)",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name AS (id), note)",
    ] {
        let mut harness = Harness::on(sql);
        harness.feed.insert(&users(), &user(1, "ann"));
        let error = harness.refused();
        assert_eq!(error.kind(), Kind::Config, "{sql}");
        assert!(error.remedy().is_some(), "{sql}");
    }
}
