//! The main job from end to end: PostgreSQL, the log, SQLite.

use std::path::PathBuf;
use std::time::Duration;

use crate::support::postgres::{Options, Postgres, free_port};
use crate::support::process::Millstream;
use crate::support::sqlite;
use crate::support::workdir::Workdir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration with the sources and sinks given, on a free admin port.
pub fn config(dir: &Workdir, rest: &str) -> PathBuf {
    config_named(dir, "millstream.yaml", rest)
}

pub fn config_named(dir: &Workdir, name: &str, rest: &str) -> PathBuf {
    let port = free_port();
    dir.write(name, format!("log: {{path: ./data}}\nadmin: {{listen: \"127.0.0.1:{port}\"}}\n{rest}"))
}

pub fn until_caught_up(dir: &Workdir, config: &std::path::Path) {
    let config = config.to_str().expect("UTF-8");
    Millstream::spawn(dir.path(), "run", &["run", config, "--until-caught-up"]).expect_exit(0, PATIENCE);
}

#[test]
fn rows_that_were_there_and_changes_that_come_reach_the_target() {
    let server = Postgres::start(Options::new());
    let shop = server.create_database("shop");
    shop.execute(
        "CREATE TABLE users(id bigint PRIMARY KEY, email text NOT NULL, name text);
         CREATE TABLE orders(user_id bigint, line int, item text, PRIMARY KEY (user_id, line));
         INSERT INTO users SELECT i, 'user' || i || '@example.org', 'User ' || i FROM generate_series(1, 1000) i;
         INSERT INTO orders SELECT i, j, 'item ' || j FROM generate_series(1, 500) i, generate_series(1, 3) j",
    );
    let dir = Workdir::new("pipeline");
    let config = config(
        &dir,
        &format!(
            "sources:\n  shop: {{type: postgres, url: \"{}\", tables: [public.users, \"public.order*\"]}}\n\
             sinks:\n  billing:\n    type: sqlite\n    path: ./billing.db\n    tables:\n\
             \x20     - {{topic: shop.public.users, table: customers, columns: {{id: id, email: mail}}}}\n\
             \x20     - {{topic: shop.public.orders}}\n",
            server.socket_url("shop")
        ),
    );
    until_caught_up(&dir, &config);
    let target = dir.join("billing.db");
    assert_eq!(sqlite::value(&target, "SELECT count(*) FROM customers").as_deref(), Some("1000"));
    assert_eq!(sqlite::value(&target, "SELECT count(*) FROM orders").as_deref(), Some("1500"));

    // Everything that happened while nothing ran comes next, the transaction whole.
    shop.execute(
        "BEGIN; INSERT INTO users VALUES (2000, 'new@example.org', 'New');
         UPDATE users SET email = 'changed@example.org' WHERE id = 1;
         UPDATE users SET id = 3000 WHERE id = 2;
         DELETE FROM users WHERE id = 3;
         DELETE FROM orders WHERE user_id = 7;
         UPDATE orders SET user_id = 9000 WHERE user_id = 8; COMMIT",
    );
    until_caught_up(&dir, &config);
    let wanted = shop.query_text("SELECT id, email FROM users ORDER BY id");
    assert_eq!(sqlite::rows(&target, "SELECT id, mail FROM customers ORDER BY id"), wanted);
    let wanted = shop.query_text("SELECT user_id, line, item FROM orders ORDER BY 1, 2");
    assert_eq!(sqlite::rows(&target, "SELECT user_id, line, item FROM orders ORDER BY 1, 2"), wanted);

    shop.execute("TRUNCATE orders; INSERT INTO orders VALUES (1, 1, 'after the truncate')");
    until_caught_up(&dir, &config);
    let wanted = shop.query_text("SELECT user_id, line, item FROM orders ORDER BY 1, 2");
    assert_eq!(sqlite::rows(&target, "SELECT user_id, line, item FROM orders ORDER BY 1, 2"), wanted);
}

#[test]
fn a_running_service_follows_and_stops_cleanly() {
    let server = Postgres::start(Options::new());
    let shop = server.create_database("shop");
    shop.execute("CREATE TABLE t(id int PRIMARY KEY, x text)");
    let dir = Workdir::new("follow");
    let config = config(
        &dir,
        &format!(
            "sources:\n  shop: {{type: postgres, url: \"{}\", tables: [public.t]}}\n\
             sinks:\n  one: {{type: sqlite, path: ./one.db}}\n  two: {{type: sqlite, path: ./two.db}}\n",
            server.url("shop")
        ),
    );
    let mut running = Millstream::run(dir.path(), &config);
    let (one, two) = (dir.join("one.db"), dir.join("two.db"));
    for round in 1..=20 {
        shop.execute(&format!("INSERT INTO t VALUES ({round}, 'x{round}')"));
        let count = round.to_string();
        for target in [&one, &two] {
            running.wait_until("the row is visible", PATIENCE, || {
                sqlite::value(target, "SELECT count(*) FROM t") == Some(count.clone())
            });
        }
    }
    running.stop(PATIENCE);
    let slot = "SELECT active FROM pg_replication_slots WHERE slot_name = 'millstream_shop'";
    assert_eq!(shop.value(slot), "f");
}

#[test]
fn a_schema_change_reaches_the_target() {
    let server = Postgres::start(Options::new());
    let shop = server.create_database("shop");
    shop.execute("CREATE TABLE t(id int PRIMARY KEY, x text); INSERT INTO t VALUES (1, 'a')");
    let dir = Workdir::new("evolve");
    let config = config(
        &dir,
        &format!(
            "sources:\n  shop: {{type: postgres, url: \"{}\", tables: [public.t]}}\n\
             sinks:\n  one: {{type: sqlite, path: ./one.db}}\n",
            server.socket_url("shop")
        ),
    );
    until_caught_up(&dir, &config);
    shop.execute(
        "INSERT INTO t VALUES (2, 'b'); ALTER TABLE t ADD COLUMN y int; INSERT INTO t VALUES (3, 'c', 7)",
    );
    until_caught_up(&dir, &config);
    let wanted = shop.query_text("SELECT id, x, y FROM t ORDER BY id");
    assert_eq!(sqlite::rows(&dir.join("one.db"), "SELECT id, x, y FROM t ORDER BY id"), wanted);
}

#[test]
fn an_unchanged_toast_value_never_overwrites_a_good_one() {
    let server = Postgres::start(Options::new());
    let shop = server.create_database("shop");
    shop.execute(
        "CREATE TABLE t(id int PRIMARY KEY, big text, n int);
         ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
         INSERT INTO t VALUES (1, repeat('x', 20000), 0)",
    );
    let dir = Workdir::new("toast");
    let config = config(
        &dir,
        &format!(
            "sources:\n  shop: {{type: postgres, url: \"{}\", tables: [public.t]}}\n\
             sinks:\n  one: {{type: sqlite, path: ./one.db}}\n",
            server.socket_url("shop")
        ),
    );
    until_caught_up(&dir, &config);
    shop.execute("UPDATE t SET n = 1; UPDATE t SET id = 2; UPDATE t SET n = n + 1");
    until_caught_up(&dir, &config);
    let rows = sqlite::rows(&dir.join("one.db"), "SELECT id, length(big), n FROM t");
    assert_eq!(rows, [[Some("2".into()), Some("20000".into()), Some("2".into())]]);
}
