//! Tables that change their shape while they are followed.

use std::thread::sleep;
use std::time::Duration;

use crate::support::command::until_caught_up;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

#[test]
fn columns_come_go_and_change_in_the_middle_of_the_stream() {
    let shop = Shop::new("columns");
    shop.sql.execute(
        "CREATE TABLE t(id int PRIMARY KEY, name text, n int, gone text);
         INSERT INTO t SELECT i, 'name ' || i, i, 'x' FROM generate_series(1, 5) i",
    );
    let config = shop.simple("tables: [public.t]");
    shop.catch_up(&config);
    // Before, within and after one transaction: each row is read with the shape that it was written in.
    shop.sql.execute("INSERT INTO t VALUES (6, 'six', 6, 'x')");
    shop.sql.execute(
        "BEGIN; INSERT INTO t VALUES (7, 'seven', 7, 'x'); ALTER TABLE t ADD COLUMN more jsonb; UPDATE t SET more = '[1]' WHERE id = 1;
         ALTER TABLE t DROP COLUMN gone; INSERT INTO t VALUES (8, 'eight', 8, '{}'); COMMIT",
    );
    shop.sql.execute("INSERT INTO t VALUES (9, 'nine', 9, NULL)");
    shop.catch_up(&config);
    let target = shop.target();
    shop.same(&target, "SELECT id, name, n, more FROM t ORDER BY id");
    let gone = sqlite::rows(&target, "SELECT count(gone), count(*) FROM t");
    assert_eq!(gone, [[Some("7".into()), Some("9".into())]], "a dropped column keeps what it has");

    shop.sql.execute("ALTER TABLE t RENAME name TO title; UPDATE t SET title = title || '!'");
    shop.catch_up(&config);
    shop.same(&target, "SELECT id, title FROM t ORDER BY id");

    // Wider and wider; the rows are written again, because a change of type alone is no change of rows.
    for (of_type, row) in [("bigint", "5000000000"), ("numeric", "1.50"), ("text", "'any'")] {
        shop.sql.execute(&format!(
            "ALTER TABLE t ALTER n TYPE {of_type}; UPDATE t SET n = n; UPDATE t SET n = {row} WHERE id = 2"
        ));
        shop.catch_up(&config);
        shop.same(&target, "SELECT id, n FROM t ORDER BY id");
    }
}

#[test]
fn shapes_change_under_load() {
    let shop = Shop::new("reshape");
    shop.sql.execute("CREATE TABLE t(id serial PRIMARY KEY, a int)");
    let config = shop.simple("tables: [public.t]");
    let mut running = shop.run(&config);
    let writer = shop.server.session("shop");
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            for _ in 0..300 {
                writer.execute("INSERT INTO t(a) VALUES (1); UPDATE t SET a = a + 1 WHERE id % 7 = 0");
            }
        });
        for column in 0..10 {
            shop.sql.execute(&format!("ALTER TABLE t ADD COLUMN c{column} int; UPDATE t SET c{column} = id"));
            sleep(Duration::from_millis(30));
            if column % 3 == 2 {
                shop.sql.execute(&format!("ALTER TABLE t DROP COLUMN c{column}"));
            }
        }
        load.join().expect("the load ran to its end");
    });
    shop.sql.execute("UPDATE t SET a = -a");
    let target = shop.target();
    let wanted = shop.sql.value("SELECT count(*) || ' ' || sum(a) FROM t");
    running.wait_until("all changes", PATIENCE, || {
        sqlite::value(&target, "SELECT count(*) || ' ' || sum(a) FROM t").as_deref() == Some(&*wanted)
    });
    running.stop(PATIENCE);
    shop.same(&target, "SELECT id, a, c0, c1, c3, c4, c6, c7, c9 FROM t ORDER BY id");
}

#[test]
fn a_table_that_appears_is_followed_and_what_it_had_is_said() {
    let shop = Shop::new("appears");
    shop.sql.execute("CREATE TABLE a(id int PRIMARY KEY); INSERT INTO a VALUES (1)");
    let config = shop.simple("tables: [\"public.*\"]");
    shop.catch_up(&config);
    shop.sql.execute("CREATE TABLE b(id int PRIMARY KEY); INSERT INTO b VALUES (1)");
    let said = until_caught_up(shop.dir.path(), &config).expect(0);
    assert!(
        said.stderr
            .lines()
            .any(|line| line.contains("WARN") && line.contains("not copied") && line.contains("\\\"b\\\"")),
        "{}",
        said.stderr
    );
    shop.sql.execute("INSERT INTO b VALUES (2); DROP TABLE a; CREATE TABLE a(id int PRIMARY KEY, x text)");
    shop.catch_up(&config);
    shop.sql.execute("INSERT INTO a VALUES (5, 'of the new table')");
    shop.catch_up(&config);
    assert_eq!(sqlite::rows(&shop.target(), "SELECT id FROM b"), [[Some("2".to_owned())]]);
    assert_eq!(
        sqlite::value(&shop.target(), "SELECT x FROM a WHERE id = 5").as_deref(),
        Some("of the new table")
    );
}
