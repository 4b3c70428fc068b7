//! One PostgreSQL, and a copy of it in every kind of target at once: PostgreSQL, MariaDB, Redis, a webhook's receiver and
//! SQLite. All on real servers, each read by its own client.

mod copies;
pub mod fan;
mod kills;
mod late;
mod load;
mod refused;
mod trouble;

use crate::support::shop::PATIENCE;
use fan::{ALL, Fan};

/// All shapes of change, in transactions over several tables.
const CHANGES: &str = "
    BEGIN; INSERT INTO orders(id, lines) VALUES (900001, 2);
      INSERT INTO \"order lines\"(order_id, line, text) VALUES (900001, 1, 'a ''quoted'' \\ \"text\"'), (900001, 2, NULL);
      UPDATE accounts SET balance = balance - 5, version = nextval('v') WHERE id = 1;
      UPDATE accounts SET balance = balance + 5, version = nextval('v') WHERE id = 2; COMMIT;
    UPDATE products SET price = NULL, active = NOT active, tags = NULL, version = nextval('v') WHERE id % 3 = 0;
    UPDATE products SET photo = '\\x00ff27', seen = '1999-12-31 23:59:59.999999+00', version = nextval('v') WHERE id % 3 = 1;
    BEGIN; UPDATE orders SET id = id + 800000, version = nextval('v') WHERE id BETWEEN 10 AND 19;
      UPDATE \"order lines\" SET order_id = order_id + 800000, version = nextval('v') WHERE order_id BETWEEN 10 AND 19; COMMIT;
    BEGIN; DELETE FROM orders WHERE id BETWEEN 20 AND 29; DELETE FROM \"order lines\" WHERE order_id BETWEEN 20 AND 29; COMMIT;
    BEGIN; INSERT INTO products(id, name) VALUES (5000, 'short-lived'); UPDATE products SET name = 'still' WHERE id = 5000;
      DELETE FROM products WHERE id = 5000; COMMIT;
    BEGIN; DELETE FROM products WHERE id = 7; INSERT INTO products(id, name, made) VALUES (7, 'born again', '2000-02-29'); COMMIT";

#[test]
fn every_kind_of_target_holds_what_the_source_holds() {
    let Some(fan) = Fan::new("every_kind_of_target_holds_what_the_source_holds") else { return };
    fan.fill(300);
    fan.shop.catch_up(&fan.config);
    fan.equal(ALL);
    // While nothing runs, then while it runs.
    fan.shop.sql.execute(CHANGES);
    fan.shop.catch_up(&fan.config);
    fan.equal(ALL);
    let mut running = fan.shop.run(&fan.config);
    fan.shop.sql.execute("UPDATE products SET id = -id, version = nextval('v') WHERE id < 20");
    fan.settle(&mut running, ALL);
    fan.shop.sql.execute(
        "BEGIN; TRUNCATE \"order lines\"; UPDATE orders SET lines = 1, version = nextval('v');
         INSERT INTO \"order lines\"(order_id, line, text) SELECT id, 1, 'after the truncate' FROM orders; COMMIT",
    );
    fan.settle(&mut running, ALL);
    fan.shop.sql.execute(
        "ALTER TABLE products ADD COLUMN note text; UPDATE products SET price = 1, version = nextval('v')",
    );
    fan.settle(&mut running, ALL);
    running.stop(PATIENCE);
}
