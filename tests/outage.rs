//! The server goes away at bad moments; the service waits for it and goes on by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use crate::support::http;
use crate::support::process::Millstream;
use crate::support::seed::Rng;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

fn follows(running: &mut Millstream, shop: &Shop) {
    let wanted = shop.sql.value("SELECT count(*) || ' ' || sum(n) FROM t");
    let target = shop.target();
    running.wait_until("the copy is equal", PATIENCE, || {
        sqlite::value(&target, "SELECT count(*) || ' ' || sum(n) FROM t").as_deref() == Some(&*wanted)
    });
    shop.same(&target, "SELECT id, n, x FROM t ORDER BY id");
}

#[test]
fn a_crash_of_the_server_in_the_initial_copy() {
    let mut shop = Shop::new("copy-crash");
    shop.sql.execute("CREATE TABLE t(id int PRIMARY KEY, n int, x text); INSERT INTO t SELECT i, 1, repeat('x', 200) FROM generate_series(1, 200000) i");
    let config = shop.simple("tables: [public.t]");
    let mut running = shop.run(&config);
    running.wait_until("a part is copied", PATIENCE, || {
        http::status(&config)
            .is_some_and(|status| status["sources"][0]["snapshot"]["rows_done"].as_u64() > Some(0))
    });
    shop.server.crash();
    running.wait_until("it notices", PATIENCE, || {
        http::status(&config).is_some_and(|status| status["sources"][0]["state"] == "retrying")
    });
    shop.server.start_again();
    shop.sql = shop.server.session("shop");
    // What the first attempt had copied and is gone now must not stay.
    shop.sql.execute("DELETE FROM t WHERE id % 10 = 0; UPDATE t SET n = 2 WHERE id % 3 = 0");
    follows(&mut running, &shop);
    shop.sql.execute("INSERT INTO t VALUES (0, 3, 'in the stream')");
    follows(&mut running, &shop);
    running.stop(PATIENCE);
    assert_eq!(
        shop.sql.value("SELECT count(*) FROM pg_replication_slots"),
        "1",
        "no slot of the first attempt is left"
    );
}

#[test]
fn crashes_and_lost_connections_under_load() {
    let mut rng = Rng::of_test("outage");
    let mut shop = Shop::new("outage");
    shop.sql.execute("CREATE TABLE t(id int PRIMARY KEY, n int, x text); INSERT INTO t SELECT i, 0, 'x' FROM generate_series(1, 1000) i");
    let config = shop.simple("tables: [public.t]");
    let mut running = shop.run(&config);
    follows(&mut running, &shop);
    for round in 0..4 {
        let done = AtomicBool::new(false);
        let writer = shop.server.session("shop");
        scope(|scope| {
            scope.spawn(|| {
                let mut at = 0;
                // The load ends with its server.
                while !done.load(Ordering::Relaxed)
                    && writer
                        .try_execute(&format!(
                            "UPDATE t SET n = n + 1, x = 'r{round}' WHERE id % 100 = {}",
                            at % 100
                        ))
                        .is_ok()
                {
                    at += 1;
                }
            });
            sleep(Duration::from_millis(100 + rng.below(300)));
            match round % 2 {
                0 => shop.sql.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'millstream%'"),
                _ => shop.server.crash(),
            }
            done.store(true, Ordering::Relaxed);
        });
        if round % 2 == 1 {
            shop.server.start_again();
        }
        shop.sql = shop.server.session("shop");
        follows(&mut running, &shop);
    }
    let errors = http::status(&config).expect("status")["sources"][0]["errors"].as_u64();
    assert!(errors >= Some(2), "the source saw the outages: {errors:?}");
    running.stop(PATIENCE);
}
