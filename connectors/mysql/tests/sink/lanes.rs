//! Several connections with `apply: batched`.

use connector_api::{Kind, TopicPartition, Value, ValueKind};

use crate::fixture::{Harness, Table, table};

fn batched(test: &str, sql: &str) -> Option<Harness> {
    Harness::with(test, |options| options.batched = true, sql)
}

fn tables(count: usize) -> Vec<Table> {
    let kinds = [("id", ValueKind::Int), ("v", ValueKind::Int)];
    (0..count).map(|at| table(&format!("t{at}"), &kinds, &[0])).collect()
}

#[test]
fn topics_spread_over_lanes_and_each_commits_its_cursor() {
    let Some(mut h) = batched("topics_spread_over_lanes", "") else { return };
    let tables = tables(7);
    h.route(&tables.iter().collect::<Vec<_>>());
    for round in 0..3 {
        for id in 0..50 {
            for table in &tables {
                h.feed.update(table, &[Value::Int(id), Value::Int(round)]);
            }
        }
        h.deliver();
    }
    for table in &tables {
        let sql = format!("SELECT count(*), min(v), max(v) FROM {}", table.target.table);
        assert_eq!(h.rows(&sql), ["50|2|2"]);
    }
    assert_eq!(h.restart().unwrap().unwrap().next.len(), 7);
}

#[test]
fn a_lane_whose_transaction_is_lost_takes_only_its_topics_back() {
    let Some(mut h) = batched("a_lane_whose_transaction_is_lost", "") else { return };
    let tables = tables(4);
    h.route(&tables.iter().collect::<Vec<_>>());
    let logs: Vec<&Table> = tables.iter().collect();
    for table in &logs {
        h.feed.insert(table, &[Value::Int(1), Value::Int(1)]);
    }
    h.deliver();
    let before = h.cursor.clone();
    for table in &logs {
        h.feed.insert(table, &[Value::Int(2), Value::Int(2)]);
    }
    let delivery = h.feed.take();
    h.apply(&delivery).unwrap();
    // One of the four connections that hold a transaction.
    let open = h.rows(
        "SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX JOIN information_schema.PROCESSLIST \
         ON ID = trx_mysql_thread_id WHERE DB = DATABASE() AND trx_rows_modified > 0 ORDER BY 1",
    );
    assert_eq!(open.len(), 4, "{open:?}");
    h.session.execute(&format!("KILL {}", open[2]));
    assert_eq!(h.commit(&delivery).unwrap_err().kind(), Kind::Transient);
    let stored = h.restart().unwrap().unwrap();
    let behind = |of: &&TopicPartition| stored.get(of) == before.get(of);
    assert_eq!(before.next.keys().filter(behind).count(), 1, "{stored:?}");
    for table in &logs {
        let name = &table.target.table;
        let rows: u64 = h.rows(&format!("SELECT count(*) FROM {name}"))[0].parse().unwrap();
        let of = TopicPartition::first(table.topic.clone());
        assert_eq!(rows, stored.get(&of), "{name}");
    }
}

#[test]
fn topics_that_turn_out_to_share_a_table_move_into_one_lane() {
    let Some(mut h) = batched("topics_that_turn_out_to_share_a_table", "") else { return };
    let tables = tables(2);
    let (a, b) = (tables[0].aliased("a"), tables[1].aliased("b"));
    h.route(&[&a, &b]);
    h.feed.insert(&a, &[Value::Int(1), Value::Int(1)]).insert(&b, &[Value::Int(2), Value::Int(2)]);
    let first = h.feed.take();
    h.apply(&first).unwrap();
    // Topic t1 writes to table a as well, inside the same transaction.
    h.route(&[&tables[1].aliased("a")]);
    h.feed.insert(&b, &[Value::Int(3), Value::Int(3)]);
    let second = h.feed.take();
    let error = h.apply(&second).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error:?}");
    h.restart().unwrap();
    for delivery in [&first, &second] {
        h.apply(delivery).unwrap();
    }
    h.commit(&second).unwrap();
    assert_eq!(h.rows("SELECT id FROM a ORDER BY id"), ["1", "2", "3"]);
    assert_eq!(h.rows("SELECT id FROM b ORDER BY id"), ["2", "3"]);
}
