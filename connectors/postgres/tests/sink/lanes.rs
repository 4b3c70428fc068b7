//! `apply: batched`: several connections, each with its own topics.

use std::sync::Arc;

use connector_api::{Kind, Sink, Target, TopicPartition, Value, ValueKind};

use crate::fixture::{Harness, Table, table};

fn tables() -> Vec<Table> {
    (0..6)
        .map(|at| table(&format!("t{at}"), &[("id", ValueKind::Int), ("n", ValueKind::Int)], &[0]))
        .collect()
}

fn batched() -> Harness {
    Harness::with(|options| (options.batched, options.connections) = (true, 3), "")
}

#[test]
fn topics_are_spread_over_connections_and_committed_with_their_own_cursor() {
    let mut harness = batched();
    let tables = tables();
    for round in 0..3 {
        for table in &tables {
            for id in 0..100 {
                harness.feed.insert(table, &[Value::Int(id), Value::Int(round)]);
            }
        }
        harness.deliver();
    }
    for table in &tables {
        let sql = format!("SELECT count(*), min(n) FROM {}", table.target.table);
        assert_eq!(harness.rows(&sql), ["100|2"]);
    }
    let transactions = "SELECT count(DISTINCT xmin::text) FROM _millstream_cursor";
    assert_eq!(harness.rows(transactions), ["3"], "one for each connection");
    let cursor = harness.cursor.clone();
    assert_eq!(harness.restart().unwrap(), Some(cursor));
}

#[test]
fn a_connection_that_fails_takes_only_its_own_topics_back() {
    let mut harness = batched();
    let tables = tables();
    for table in &tables {
        harness.feed.insert(table, &[Value::Int(1), Value::Int(1)]);
    }
    harness.deliver();
    for table in &tables {
        harness.feed.insert(table, &[Value::Int(2), Value::Int(2)]);
    }
    let delivery = harness.feed.take();
    assert!(harness.apply(&delivery).unwrap().is_empty());
    // One session dies between its flush and its commit.
    harness.session.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 't4'::regclass AND pid <> pg_backend_pid()",
    );
    let error = harness.commit(&delivery).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    // Nothing is done before a rollback: the cursor must not move past what was lost.
    assert!(harness.commit(&delivery).is_err());
    let cursor = harness.restart().unwrap().unwrap();
    for table in &tables {
        let applied = cursor.get(&TopicPartition::first(table.topic.clone()));
        let rows = harness.rows(&format!("SELECT count(*) FROM {}", table.target.table));
        assert_eq!(rows, [applied.to_string()], "{}", table.topic);
    }
    assert_eq!(cursor.get(&TopicPartition::first(tables[4].topic.clone())), 1);
    assert!(tables.iter().any(|table| cursor.get(&TopicPartition::first(table.topic.clone())) == 2));
}

#[test]
fn topics_that_turn_out_to_share_a_table_are_brought_together() {
    let mut harness = batched();
    let tables = tables();
    let (a, b) = (&tables[0], &tables[1]);
    harness.feed.insert(a, &[Value::Int(1), Value::Int(1)]).insert(b, &[Value::Int(1), Value::Int(1)]);
    harness.deliver();
    let shared =
        Arc::new(Target { table: b.target.table.clone(), named: true, ..Target::whole(&a.topic, &a.schema) });
    harness.feed.route(&shared);
    harness.feed.insert(a, &[Value::Int(2), Value::Int(2)]);
    let delivery = harness.feed.take();
    let error = harness.try_deliver(&delivery).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    harness.restart().unwrap();
    harness.try_deliver(&delivery).unwrap();
    assert_eq!(harness.rows("SELECT id, n FROM t1 ORDER BY id"), ["1|1", "2|2"]);
    assert_eq!(harness.rows("SELECT id, n FROM t0 ORDER BY id"), ["1|1", "2|2"]);
    harness.runtime.block_on(harness.sink.rollback()).unwrap();
}

#[test]
fn a_child_is_on_the_connection_of_its_parent() {
    let mut harness = Harness::with(
        |options| (options.batched, options.connections) = (true, 3),
        "CREATE TABLE t0 (id bigint PRIMARY KEY, n bigint); CREATE TABLE t1 (id bigint PRIMARY KEY, n bigint REFERENCES t0)",
    );
    let tables = tables();
    harness
        .feed
        .insert(&tables[0], &[Value::Int(1), Value::Int(1)])
        .insert(&tables[1], &[Value::Int(7), Value::Int(1)]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT n FROM t1"), ["1"]);
    assert_eq!(harness.rows("SELECT count(DISTINCT xmin::text) FROM _millstream_cursor"), ["1"]);
}
