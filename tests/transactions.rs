//! Transactions that are open, prepared, nested or interleaved: each arrives once, whole, at its commit.

use std::time::Duration;

use crate::support::http;
use crate::support::postgres::Options;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

const ROWS: &str = "SELECT id, x FROM t ORDER BY id";

fn shop(name: &str) -> Shop {
    let shop = Shop::on(name, Options::new().set("max_prepared_transactions", "10"));
    shop.sql.execute("CREATE TABLE t(id int PRIMARY KEY, x text); INSERT INTO t VALUES (1, 'there')");
    shop
}

#[test]
fn transactions_that_are_open_at_the_first_start_are_neither_lost_nor_doubled() {
    let shop = shop("open");
    let config = shop.simple("tables: [public.t]");
    let [committed, undone] = [shop.server.session("shop"), shop.server.session("shop")];
    committed.execute("BEGIN; INSERT INTO t VALUES (2, 'open'); UPDATE t SET x = 'changed' WHERE id = 1");
    undone.execute("BEGIN; INSERT INTO t VALUES (3, 'undone')");
    shop.sql.execute("BEGIN; INSERT INTO t VALUES (4, 'prepared'); PREPARE TRANSACTION 'p'");

    // The slot waits for them. Meanwhile the service answers, and stops when it is asked to.
    let mut running = shop.run(&config);
    running.wait_until("it answers", PATIENCE, || http::get(&config, "/healthz").is_some());
    std::thread::sleep(Duration::from_millis(500));
    running.stop(Duration::from_secs(5));

    let mut running = shop.run(&config);
    committed.execute("INSERT INTO t VALUES (5, 'later'); COMMIT");
    undone.execute("ROLLBACK");
    shop.sql.execute("COMMIT PREPARED 'p'");
    let target = shop.target();
    running.wait_until("all rows", PATIENCE, || {
        sqlite::value(&target, "SELECT count(*) FROM t").as_deref() == Some("4")
    });
    shop.sql.execute("INSERT INTO t VALUES (6, 'after')");
    running.wait_until("the last row", PATIENCE, || {
        sqlite::value(&target, "SELECT count(*) FROM t").as_deref() == Some("5")
    });
    running.stop(PATIENCE);
    shop.same(&target, ROWS);
    let slots = shop.sql.query_text("SELECT slot_name FROM pg_replication_slots");
    assert_eq!(slots, [[Some("millstream_shop".to_owned())]], "the first attempt left nothing else");
}

#[test]
fn prepared_nested_and_interleaved_transactions_arrive_at_their_commit() {
    let shop = shop("nested");
    let config = shop.simple("tables: [public.t]");
    shop.catch_up(&config);
    let other = shop.server.session("shop");
    shop.sql.execute("BEGIN; INSERT INTO t VALUES (2, 'prepared'); PREPARE TRANSACTION 'p'");
    shop.sql.execute("BEGIN; INSERT INTO t VALUES (3, 'never'); PREPARE TRANSACTION 'q'");
    other.execute("BEGIN; INSERT INTO t VALUES (10, 'first to begin')");
    shop.sql.execute("INSERT INTO t VALUES (11, 'first to commit')");
    shop.sql.execute(
        "BEGIN; INSERT INTO t VALUES (20, 'kept'); SAVEPOINT a; INSERT INTO t VALUES (21, 'undone'); UPDATE t SET x = 'undone' WHERE id = 1;
         ROLLBACK TO a; SAVEPOINT b; INSERT INTO t VALUES (22, 'kept'); RELEASE b; DO $$ BEGIN
           BEGIN INSERT INTO t VALUES (23, 'undone'); INSERT INTO t VALUES (20, 'twice'); EXCEPTION WHEN unique_violation THEN NULL; END;
         END $$; COMMIT",
    );
    shop.catch_up(&config);
    shop.same(&shop.target(), ROWS);
    other.execute("UPDATE t SET x = 'last writer' WHERE id = 11; COMMIT");
    shop.sql.execute("COMMIT PREPARED 'p'");
    shop.sql.execute("ROLLBACK PREPARED 'q'");
    shop.catch_up(&config);
    shop.same(&shop.target(), ROWS);
    assert_eq!(sqlite::value(&shop.target(), "SELECT count(*) FROM t").as_deref(), Some("6"));
}
