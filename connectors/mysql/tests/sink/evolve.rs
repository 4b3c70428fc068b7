//! Tables that the sink makes, extends and refuses, and drift at the target.

use connector_api::{Kind, Value, ValueKind};

use crate::fixture::{Harness, shaped, table, typed, user, users};

fn wider(int: &str) -> crate::fixture::Table {
    let columns = vec![
        typed("id", ValueKind::Int, "integer"),
        typed("n", ValueKind::Int, int),
        typed("new", ValueKind::Text, "text"),
    ];
    shaped("t", columns, &[0])
}

#[test]
fn a_new_column_and_a_wider_type_follow_the_source() {
    let Some(mut h) = Harness::new("a_new_column_and_a_wider_type_follow_the_source") else { return };
    let columns = vec![typed("id", ValueKind::Int, "integer"), typed("n", ValueKind::Int, "smallint")];
    let (old, new) = (shaped("t", columns, &[0]), wider("bigint"));
    h.route(&[&old, &new]);
    h.feed.insert(&old, &[Value::Int(1), Value::Int(1)]);
    h.deliver();
    assert!(h.sink_notices().iter().any(|notice| notice.contains("created table")));
    h.feed.insert(&new, &[Value::Int(2), Value::Int(1 << 40), Value::Text("x")]);
    h.deliver();
    let notices = h.sink_notices();
    assert!(notices.iter().any(|notice| notice.contains("added column \"new\"")), "{notices:?}");
    assert!(notices.iter().any(|notice| notice.contains("is bigint now")), "{notices:?}");
    assert_eq!(h.rows("SELECT * FROM t ORDER BY id"), ["1|1|NULL", "2|1099511627776|x"]);
    // The old shape still applies.
    h.feed.update(&old, &[Value::Int(2), Value::Int(5)]);
    h.deliver();
    assert_eq!(h.rows("SELECT n, new FROM t WHERE id = 2"), ["5|x"]);
}

#[test]
fn a_shape_that_changes_inside_a_transaction_starts_it_over() {
    let Some(mut h) = Harness::new("a_shape_that_changes_inside_a_transaction_starts_it_over") else {
        return;
    };
    let columns = vec![typed("id", ValueKind::Int, "integer"), typed("n", ValueKind::Int, "integer")];
    let (old, new) = (shaped("t", columns, &[0]), wider("integer"));
    h.route(&[&old, &new]);
    h.feed.insert(&old, &[Value::Int(1), Value::Int(1)]);
    h.deliver();
    h.feed.insert(&old, &[Value::Int(2), Value::Int(2)]);
    let first = h.feed.take();
    h.apply(&first).unwrap();
    h.feed.insert(&new, &[Value::Int(3), Value::Int(3), Value::Text("x")]);
    let second = h.feed.take();
    let error = h.apply(&second).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error:?}");
    // Changed, and nothing of the transaction is there.
    assert_eq!(h.rows("SELECT id, new FROM t"), ["1|NULL"]);
    h.restart().unwrap();
    h.apply(&first).unwrap();
    h.apply(&second).unwrap();
    h.commit(&second).unwrap();
    assert_eq!(h.rows("SELECT id, new FROM t ORDER BY id"), ["1|NULL", "2|NULL", "3|x"]);
}

#[test]
fn a_table_that_somebody_changes_is_looked_at_again() {
    let Some(mut h) = Harness::new("a_table_that_somebody_changes_is_looked_at_again") else { return };
    let users = users();
    h.route(&[&users]);
    h.feed.insert(&users, &user(1, "a"));
    h.deliver();
    // A column goes: it comes back. The table goes: it comes back.
    h.session.execute("ALTER TABLE users DROP COLUMN note");
    h.feed.insert(&users, &user(2, "b"));
    h.deliver();
    assert_eq!(h.rows("SELECT * FROM users ORDER BY id"), ["1|a|NULL", "2|b|NULL"]);
    h.session.execute("DROP TABLE users");
    h.feed.insert(&users, &user(3, "c"));
    h.deliver();
    assert_eq!(h.rows("SELECT * FROM users"), ["3|c|NULL"]);
    // A trigger that is broken looks the same from outside, and stays.
    h.session
        .execute("CREATE TRIGGER broken BEFORE INSERT ON users FOR EACH ROW INSERT INTO nowhere VALUES (1)");
    h.feed.insert(&users, &user(9, "x"));
    let error = h.failure();
    assert_eq!(error.kind(), Kind::Config, "{error:?}");
    assert!(error.to_string().contains("triggers"), "{error}");
    h.session.execute("DROP TRIGGER broken");
    // A column that nobody fills: that is for a person, and no row is at fault.
    h.session.execute(
        "ALTER TABLE users ADD COLUMN must int NOT NULL; ALTER TABLE users ALTER COLUMN must DROP DEFAULT",
    );
    h.feed.insert(&users, &user(4, "d"));
    let error = h.failure();
    assert_eq!(error.kind(), Kind::Config, "{error:?}");
    assert!(error.to_string().contains("\"must\" is NOT NULL"), "{error}");
}

#[test]
fn without_create_tables_the_statement_is_said() {
    let test = "without_create_tables_the_statement_is_said";
    let Some(mut h) = Harness::with(test, |options| options.create_tables = false, "") else { return };
    let users = users();
    h.route(&[&users]);
    h.feed.insert(&users, &user(1, "a"));
    let error = h.failure();
    assert_eq!(error.kind(), Kind::Config);
    let remedy = error.remedy().unwrap().to_owned();
    assert!(remedy.starts_with("CREATE TABLE `users`"), "{remedy}");
    // What it says is what it takes.
    h.session.execute(&remedy);
    h.restart().unwrap();
    h.feed = crate::fixture::Feed::new();
    h.feed.insert(&users, &user(1, "a"));
    h.deliver();
    assert_eq!(h.rows("SELECT * FROM users"), ["1|a|NULL"]);
}

#[test]
fn tables_that_cannot_be_written_right_are_refused_with_the_statement_that_mends_them() {
    let cases = [
        (
            "CREATE TABLE users (id bigint PRIMARY KEY, name longtext, note longtext) ENGINE = MyISAM",
            "ENGINE = InnoDB",
        ),
        (
            "CREATE TABLE users (id bigint PRIMARY KEY, name longtext, note longtext) ENGINE = Aria",
            "ENGINE = InnoDB",
        ),
        ("CREATE TABLE users (id bigint NOT NULL, name longtext, note longtext)", "ADD UNIQUE KEY (`id`)"),
        (
            "CREATE TABLE users (id bigint UNIQUE, name longtext, note longtext)",
            "MODIFY COLUMN `id` bigint(20) NOT NULL",
        ),
        (
            "CREATE TABLE users (id varchar(9) PRIMARY KEY, name int, note longtext)",
            "MODIFY COLUMN `name` longtext",
        ),
    ];
    for (sql, mend) in cases {
        let Some(mut h) = Harness::on("tables_that_cannot_be_written_right", sql) else { return };
        let users = users();
        h.route(&[&users]);
        h.feed.insert(&users, &user(1, "a"));
        let error = h.failure();
        assert_eq!(error.kind(), Kind::Config, "{sql}: {error:?}");
        let remedy = error.remedy().unwrap().to_owned();
        assert!(remedy.contains(mend), "{sql}: {remedy}");
        h.session.execute(&remedy);
        h.restart().unwrap();
        h.feed = crate::fixture::Feed::new();
        h.feed.insert(&users, &user(1, "a"));
        h.deliver();
    }
    // Keys that the collation would merge.
    for collation in ["utf8mb4_general_ci", "utf8mb4_bin"] {
        let sql = format!(
            "CREATE TABLE t (k varchar(20) CHARACTER SET utf8mb4 COLLATE {collation} PRIMARY KEY, v int)"
        );
        let Some(mut h) = Harness::on("keys_that_the_collation_would_merge", &sql) else { return };
        let t = table("t", &[("k", ValueKind::Text), ("v", ValueKind::Int)], &[0]);
        h.route(&[&t]);
        h.feed.insert(&t, &[Value::Text("a"), Value::Int(1)]).insert(&t, &[Value::Text("a "), Value::Int(2)]);
        let error = h.failure();
        assert_eq!(error.kind(), Kind::Config);
        h.session.execute("ALTER TABLE t MODIFY v bigint");
        h.session.execute(error.remedy().unwrap());
        h.restart().unwrap();
        h.feed = crate::fixture::Feed::new();
        h.feed.insert(&t, &[Value::Text("a"), Value::Int(1)]).insert(&t, &[Value::Text("a "), Value::Int(2)]);
        h.deliver();
        assert_eq!(h.rows("SELECT count(*) FROM t"), ["2"], "{collation}");
    }
}
