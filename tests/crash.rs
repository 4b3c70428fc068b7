//! SIGKILL at random moments, during the initial copy and during the stream, under a mixed load. The upstream is a real
//! slot: what was confirmed is gone. Afterwards source and targets are equal row for row, no transaction was half
//! visible at any time, and nothing was applied twice.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use crate::pipeline::{config, until_caught_up};
use crate::support::postgres::{Options, Postgres, Session};
use crate::support::process::Millstream;
use crate::support::seed::Rng;
use crate::support::sqlite;
use crate::support::workdir::Workdir;

const KILLS_IN_COPY: u32 = 15;
const KILLS_IN_STREAM: u32 = 45;
const ACCOUNTS: u64 = 200;
/// What all accounts hold together: transfers never change it.
const TOTAL: u64 = ACCOUNTS * 1_000;

/// Every write takes a new `version`, so that the targets' audit can tell a change applied twice.
const TABLES: &str = "
    CREATE SEQUENCE v;
    CREATE TABLE accounts(id bigint PRIMARY KEY, balance bigint NOT NULL, version bigint NOT NULL DEFAULT nextval('v'));
    CREATE TABLE orders(id bigint PRIMARY KEY, lines int NOT NULL, version bigint NOT NULL DEFAULT nextval('v'));
    CREATE TABLE \"order lines\"(order_id bigint, line int, text text, version bigint NOT NULL DEFAULT nextval('v'),
        PRIMARY KEY (order_id, line));";

#[test]
fn kills_lose_nothing_double_nothing_and_show_nothing_half() {
    let mut rng = Rng::of_test("crash");
    let server = Postgres::start(Options::new());
    let shop = server.create_database("shop");
    shop.execute(TABLES);
    shop.execute(&format!(
        "INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, {ACCOUNTS}) i;
         INSERT INTO orders SELECT i, 3 FROM generate_series(1, 20000) i;
         INSERT INTO \"order lines\" SELECT i, j, repeat('text ', 10) FROM generate_series(1, 20000) i, generate_series(1, 3) j"
    ));
    let dir = Workdir::new("crash");
    let config = config(
        &dir,
        &format!(
            "sources:\n  shop: {{type: postgres, url: \"{}\", tables: [\"public.*\"]}}\n\
             sinks:\n  one: {{type: sqlite, path: ./one.db}}\n  two: {{type: sqlite, path: ./two.db}}\n",
            server.socket_url("shop")
        ),
    );
    let targets = [dir.join("one.db"), dir.join("two.db")];
    let done = AtomicBool::new(false);
    let load = server.session("shop");
    let mut load_rng = rng.fork();
    scope(|scope| {
        let writer = scope.spawn(|| {
            let mut next = 100_000;
            while !done.load(Ordering::Relaxed) {
                load.execute(&transaction(&mut load_rng, &mut next));
                sleep(Duration::from_millis(load_rng.below(4)));
            }
        });
        kill_again_and_again(&dir, &config, &mut rng, KILLS_IN_COPY, 350);
        until_caught_up(&dir, &config);
        targets.iter().for_each(audit);
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                targets.iter().for_each(|target| nothing_is_half_visible(target));
                sleep(Duration::from_millis(5));
            }
        });
        kill_again_and_again(&dir, &config, &mut rng, KILLS_IN_STREAM, 500);
        done.store(true, Ordering::Relaxed);
        writer.join().expect("the load ran to its end");
        watcher.join().expect("nothing was half visible");
    });
    until_caught_up(&dir, &config);
    for target in &targets {
        equal(&shop, target);
        let twice = "SELECT version, count(*) FROM audit GROUP BY version HAVING count(*) > 1";
        assert_eq!(sqlite::rows(target, twice), Vec::<Vec<Option<String>>>::new(), "applied twice");
        let audited = sqlite::value(target, "SELECT count(*) FROM audit").expect("an audit");
        assert!(audited.parse::<u64>().expect("a number") > 100, "the audit saw the load: {audited}");
    }
}

fn kill_again_and_again(dir: &Workdir, config: &Path, rng: &mut Rng, kills: u32, within_ms: u64) {
    for _ in 0..kills {
        let mut running = Millstream::run(dir.path(), config);
        sleep(Duration::from_millis(20 + rng.below(within_ms)));
        assert!(running.is_running(), "it ended by itself: {}", running.stderr());
        running.kill();
    }
}

/// One transaction of the load, usually over several tables.
fn transaction(rng: &mut Rng, next: &mut u64) -> String {
    let order = 1 + rng.below(20_000);
    match rng.below(6) {
        0 => {
            *next += 1;
            let lines = 1 + rng.below(5);
            format!(
                "BEGIN; INSERT INTO orders(id, lines) VALUES ({next}, {lines});
                 INSERT INTO \"order lines\"(order_id, line, text) SELECT {next}, j, 'new' FROM generate_series(1, {lines}) j; COMMIT"
            )
        }
        1 => format!("BEGIN; DELETE FROM orders WHERE id = {order}; DELETE FROM \"order lines\" WHERE order_id = {order}; COMMIT"),
        2 => {
            *next += 1;
            format!(
                "BEGIN; UPDATE orders SET id = {next}, version = nextval('v') WHERE id = {order};
                 UPDATE \"order lines\" SET order_id = {next}, version = nextval('v') WHERE order_id = {order}; COMMIT"
            )
        }
        3 => format!(
            "BEGIN; INSERT INTO \"order lines\"(order_id, line, text) SELECT id, 100 + lines, 'more' FROM orders WHERE id = {order};
             UPDATE orders SET lines = lines + 1, version = nextval('v') WHERE id = {order}; COMMIT"
        ),
        4 => {
            let factor = 1 + rng.below(50);
            format!("UPDATE \"order lines\" SET text = 'changed', version = nextval('v') WHERE order_id % 1000 = {factor}")
        }
        _ => {
            let (from, to, amount) = (1 + rng.below(ACCOUNTS), 1 + rng.below(ACCOUNTS), rng.below(100));
            format!(
                "BEGIN; UPDATE accounts SET balance = balance - {amount}, version = nextval('v') WHERE id = {from};
                 UPDATE accounts SET balance = balance + {amount}, version = nextval('v') WHERE id = {to}; COMMIT"
            )
        }
    }
}

/// From here on the target itself writes down every row that is written.
fn audit(target: &PathBuf) {
    let connection = rusqlite::Connection::open(target).expect("open the target");
    connection.busy_timeout(Duration::from_secs(10)).expect("set the busy timeout");
    let mut sql = String::from("CREATE TABLE audit(version INTEGER NOT NULL);");
    for (name, table) in [("a", "accounts"), ("o", "orders"), ("l", "order lines")] {
        for event in ["INSERT", "UPDATE"] {
            sql += &format!(
                "CREATE TRIGGER {name}_{event} AFTER {event} ON \"{table}\" BEGIN INSERT INTO audit VALUES (NEW.version); END;"
            );
        }
    }
    connection.execute_batch(&sql).expect("make the audit");
}

fn nothing_is_half_visible(target: &Path) {
    let total = sqlite::value(target, "SELECT sum(balance) FROM accounts");
    assert_eq!(total, Some(TOTAL.to_string()), "a transfer was half visible");
    let half = "SELECT o.id, o.lines, count(l.line) FROM orders o LEFT JOIN \"order lines\" l ON l.order_id = o.id
                GROUP BY o.id HAVING count(l.line) <> o.lines
                UNION ALL SELECT order_id, NULL, NULL FROM \"order lines\" WHERE order_id NOT IN (SELECT id FROM orders)";
    assert_eq!(sqlite::rows(target, half), Vec::<Vec<Option<String>>>::new(), "an order was half visible");
}

fn equal(shop: &Session, target: &Path) {
    for (table, key) in [("accounts", "id"), ("orders", "id"), ("order lines", "order_id, line")] {
        let sql = format!("SELECT * FROM \"{table}\" ORDER BY {key}");
        let (wanted, found) = (shop.query_text(&sql), sqlite::rows(target, &sql));
        assert_eq!(wanted.len(), found.len(), "{table}");
        let different = wanted.iter().zip(&found).find(|(wanted, found)| wanted != found);
        assert_eq!(different, None, "{table}");
    }
}
