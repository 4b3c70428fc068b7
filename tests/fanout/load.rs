//! A load whose transactions go over several tables and keep two rules that no copy may show broken: transfers do not
//! change what all accounts hold, and an order has as many lines as it says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::support::postgres::Session;
use crate::support::seed::Rng;

/// Runs until `done`, with pauses below `pause_ms`. `rows` is what the tables were filled with.
pub fn run(session: &Session, rng: &mut Rng, rows: u64, pause_ms: u64, done: &AtomicBool) {
    let mut next = 100_000;
    while !done.load(Ordering::Relaxed) {
        session.execute(&transaction(rng, rows, &mut next));
        sleep(Duration::from_millis(rng.below(pause_ms)));
    }
}

/// One transaction.
pub fn transaction(rng: &mut Rng, rows: u64, next: &mut u64) -> String {
    let order = 1 + rng.below(rows);
    *next += 1;
    match rng.below(8) {
        0 => {
            let lines = 1 + rng.below(5);
            format!(
                "BEGIN; INSERT INTO orders(id, lines) VALUES ({next}, {lines});
                 INSERT INTO \"order lines\"(order_id, line, text) SELECT {next}, j, 'new' FROM generate_series(1, {lines}) j; COMMIT"
            )
        }
        1 => format!(
            "BEGIN; DELETE FROM orders WHERE id = {order}; DELETE FROM \"order lines\" WHERE order_id = {order}; COMMIT"
        ),
        2 => format!(
            "BEGIN; UPDATE orders SET id = {next}, version = nextval('v') WHERE id = {order};
             UPDATE \"order lines\" SET order_id = {next}, version = nextval('v') WHERE order_id = {order}; COMMIT"
        ),
        3 => format!(
            "BEGIN; INSERT INTO \"order lines\"(order_id, line, text) SELECT id, 100 + lines, 'more' FROM orders WHERE id = {order};
             UPDATE orders SET lines = lines + 1, version = nextval('v') WHERE id = {order}; COMMIT"
        ),
        4 => {
            let part = rng.below(20);
            format!("UPDATE \"order lines\" SET text = 'changed', version = nextval('v') WHERE order_id % 20 = {part}")
        }
        5 => format!(
            "BEGIN; UPDATE products SET price = price + 0.01, active = NOT active, version = nextval('v') WHERE id = {order};
             DELETE FROM products WHERE id = {order} - 1; INSERT INTO products(id, name, uid) VALUES ({next}, 'new', md5('{next}')::uuid); COMMIT"
        ),
        _ => {
            let (from, to, amount) = (1 + rng.below(rows), 1 + rng.below(rows), rng.below(100));
            format!(
                "BEGIN; UPDATE accounts SET balance = balance - {amount}, version = nextval('v') WHERE id = {from};
                 UPDATE accounts SET balance = balance + {amount}, version = nextval('v') WHERE id = {to}; COMMIT"
            )
        }
    }
}

/// What all accounts hold together.
pub const TOTAL: &str = "SELECT sum(balance) FROM accounts";

/// Orders that have not the lines that they say, and lines without an order. `quote` is the target's.
pub fn broken(quote: char) -> String {
    let lines = format!("{quote}order lines{quote}");
    let name = |name: &str| format!("{quote}{name}{quote}");
    format!(
        "SELECT o.id FROM orders o LEFT JOIN {lines} l ON l.order_id = o.id GROUP BY o.id, o.{of} HAVING count(l.{line}) <> o.{of}
         UNION ALL SELECT order_id FROM {lines} WHERE order_id NOT IN (SELECT id FROM orders)",
        of = name("lines"),
        line = name("line")
    )
}
