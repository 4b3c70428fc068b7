//! Foreign keys of the target: parents first, deferred where they may be, and off where it is asked for.

use connector_api::{Kind, Value, ValueKind};

use crate::fixture::{Harness, Table, table, user, users};

fn orders() -> Table {
    table("orders", &[("id", ValueKind::Int), ("owner", ValueKind::Int)], &[0])
}

fn schema(constraint: &str) -> String {
    format!(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, note text);
         CREATE TABLE orders (id bigint PRIMARY KEY, owner bigint REFERENCES users {constraint})"
    )
}

fn order(id: i64, owner: i64) -> [Value<'static>; 2] {
    [Value::Int(id), Value::Int(owner)]
}

#[test]
fn parents_come_first_and_go_last() {
    let mut harness = Harness::on(&schema(""));
    let (users, orders) = (users(), orders());
    // The child's first change stands before the parent's; the net effect is legal.
    harness.feed.insert(&users, &user(1, "ann")).insert(&orders, &order(10, 1));
    harness.feed.update(&orders, &order(10, 1)).update(&users, &user(1, "Ann"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT owner FROM orders"), ["1"]);
    harness.feed.delete(&orders, &[Value::Int(10)]).delete(&users, &[Value::Int(1)]);
    harness.feed.insert(&users, &user(2, "bob")).insert(&orders, &order(11, 2));
    harness.deliver();
    assert_eq!(harness.rows("SELECT id, owner FROM orders"), ["11|2"]);
    assert_eq!(harness.rows("SELECT id FROM users"), ["2"]);
}

#[test]
fn deferrable_constraints_wait_for_the_end_of_the_transaction() {
    let mut harness = Harness::on(&schema("DEFERRABLE"));
    let (users, orders) = (users(), orders());
    harness.feed.insert(&orders, &order(10, 1));
    let first = harness.feed.take();
    assert!(harness.apply(&first).unwrap().is_empty());
    harness.feed.insert(&users, &user(1, "ann"));
    let second = harness.feed.take();
    assert!(harness.apply(&second).unwrap().is_empty());
    first.advance(&mut harness.cursor);
    harness.commit(&second).unwrap();
    assert_eq!(harness.rows("SELECT owner FROM orders"), ["1"]);
    // A violation that is left is nobody's in particular.
    harness.feed.insert(&orders, &order(11, 99));
    let error = harness.failed();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("23503") && error.remedy().is_some(), "{error:?}");
}

#[test]
fn a_child_without_its_parent_is_refused_alone() {
    let mut harness = Harness::on(&schema(""));
    let (users, orders) = (users(), orders());
    harness
        .feed
        .insert(&orders, &order(10, 1))
        .insert(&users, &user(2, "bob"))
        .insert(&orders, &order(11, 2));
    let refused = harness.refused();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].1.to_string().contains("orders_owner_fkey"), "{refused:?}");
    assert_eq!(harness.rows("SELECT id FROM orders"), ["11"]);
}

#[test]
fn as_a_replica_foreign_keys_and_triggers_do_not_run() {
    let mut harness = Harness::with(|options| options.replica = true, &schema(""));
    harness.feed.insert(&orders(), &order(10, 1));
    harness.deliver();
    assert_eq!(harness.rows("SELECT owner FROM orders"), ["1"]);
}

#[test]
fn a_role_that_may_not_be_a_replica_is_told_the_grant() {
    let mut harness = Harness::new();
    let role = format!("r_{}", harness.database);
    harness.session.execute(&format!("CREATE ROLE {role} LOGIN"));
    let url = harness.options.url.expose().replace("postgres://postgres@", &format!("postgres://{role}@"));
    harness.options.url = connector_api::options::Secret::new(url);
    harness.options.replica = true;
    let error = harness.restart().unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(
        error
            .remedy()
            .unwrap()
            .contains(&format!("GRANT SET ON PARAMETER session_replication_role TO \"{role}\"")),
        "{error:?}"
    );
}
