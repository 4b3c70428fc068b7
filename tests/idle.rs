//! A quiet captured table beside a busy one that is not captured: the slot goes on, and nothing is recorded for it.

use std::time::Duration;

use crate::support::command::millstream;
use crate::support::http;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

const SLOT: &str = "FROM pg_replication_slots WHERE slot_name = 'millstream_shop'";

#[test]
fn a_quiet_table_does_not_keep_wal() {
    let shop = Shop::new("idle");
    shop.sql.execute(
        "CREATE TABLE quiet(id int PRIMARY KEY); CREATE TABLE busy(x text); INSERT INTO quiet VALUES (1)",
    );
    let config = shop.simple("tables: [public.quiet], heartbeat: 200ms");
    let mut running = shop.run(&config);
    let target = shop.target();
    running.wait_until("the copy", PATIENCE, || {
        sqlite::value(&target, "SELECT count(*) FROM quiet").as_deref() == Some("1")
    });
    // Megabytes of WAL that have nothing for us, twice; both places of the slot have to pass them. Restarting needs a
    // snapshot of running transactions in the WAL, which a checkpoint writes.
    for _ in 0..2 {
        shop.sql
            .execute("INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 20000); CHECKPOINT");
        let end = shop.sql.value("SELECT pg_current_wal_lsn()");
        for place in ["confirmed_flush_lsn", "restart_lsn"] {
            let passed = format!("SELECT {place} >= '{end}' {SLOT}");
            running.wait_until(&format!("{place} passes {end}"), PATIENCE, || {
                shop.sql.execute("CHECKPOINT");
                shop.sql.value(&passed) == "t"
            });
        }
    }
    // The figure that operators watch follows.
    running.wait_until("little WAL is retained", PATIENCE, || {
        let status = http::status(&config).expect("the service answers");
        status["sources"][0]["retained_bytes"].as_u64().is_some_and(|bytes| bytes < 1 << 20)
    });
    let status = http::status(&config).expect("the service answers");
    assert_eq!(status["sources"][0]["changes"], 1, "nothing of the busy table: {status}");
    // Heartbeats come and go without a trace in the topics.
    let before = http::get(&config, "/api/topics").expect("topics").1;
    std::thread::sleep(Duration::from_millis(700));
    let topics = http::get(&config, "/api/topics").expect("topics").1;
    assert_eq!(before, topics);
    let topics: serde_json::Value = serde_json::from_str(&topics).expect("JSON");
    let names: Vec<_> = topics.as_array().expect("a list").iter().map(|topic| &topic["topic"]).collect();
    assert_eq!(names, ["shop.public.quiet"]);
    // And the log does not grow by them either, beyond a few bytes each.
    let bytes = |status: serde_json::Value| status["log"]["bytes"].as_u64().expect("bytes");
    let before = bytes(http::status(&config).expect("status"));
    std::thread::sleep(Duration::from_millis(1000));
    let grown = bytes(http::status(&config).expect("status")) - before;
    assert!(grown < 4096, "{grown} bytes for five heartbeats");
    running.stop(PATIENCE);

    // What was confirmed while idle is where it goes on.
    shop.sql.execute("INSERT INTO quiet VALUES (2)");
    shop.catch_up(&config);
    shop.same(&target, "SELECT id FROM quiet ORDER BY id");
    millstream(shop.dir.path(), &["topics", "millstream.yaml"]).expect(0).prints(&["shop.public.quiet"]);
}
