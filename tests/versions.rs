//! The main job on every major that this machine has.

use crate::support::postgres::{Options, Postgres};
use crate::support::shop::{PATIENCE, Shop};
use crate::support::skip::skip;
use crate::support::sqlite;

const ALL: &str = "SELECT id, name, length(big) AS size, n, flags FROM t ORDER BY id";

#[test]
fn the_main_job_on_every_major() {
    let majors = Postgres::majors();
    eprintln!("versions: PostgreSQL {majors:?}");
    if majors.len() < 2 {
        skip(
            "versions::the_main_job_on_every_major",
            "one major only; scripts/postgres-versions fetches the others",
        );
    }
    for major in majors {
        one(major);
    }
}

fn one(major: u32) {
    let mut shop = Shop::on(&format!("pg{major}"), Options::new().major(major));
    shop.sql.execute(
        "CREATE TABLE t(id bigint PRIMARY KEY, name text NOT NULL, big text, n numeric, flags bigint[]);
         ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
         CREATE TABLE parts(id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
         INSERT INTO t SELECT i, 'name ' || i, repeat('x', 4000), i / 7.0, NULL FROM generate_series(1, 500) i;
         INSERT INTO parts SELECT i, 1 + i % 2 FROM generate_series(1, 50) i",
    );
    let config = shop.simple("tables: [public.t, public.parts]");
    shop.catch_up(&config);
    equal(&shop, major);

    // TOAST, key changes, truncates, a column more.
    shop.sql.execute(
        "UPDATE t SET n = n + 1 WHERE id % 3 = 0; UPDATE t SET id = id + 10000 WHERE id % 50 = 0; DELETE FROM t WHERE id % 7 = 0;
         UPDATE parts SET k = 3 - k WHERE id < 10; DELETE FROM parts_2 WHERE id > 40;
         BEGIN; INSERT INTO t VALUES (9000, 'both', NULL, 'NaN', NULL); INSERT INTO parts VALUES (9000, 2); COMMIT;
         ALTER TABLE t ADD COLUMN more jsonb; UPDATE t SET more = '{\"a\": 1}' WHERE id < 10",
    );
    shop.catch_up(&config);
    equal(&shop, major);
    shop.same(&shop.target(), "SELECT id, more FROM t ORDER BY id");

    // Followed while the server goes away and comes back.
    let mut running = shop.run(&config);
    shop.server.restart();
    shop.sql = shop.server.session("shop");
    shop.sql.execute("INSERT INTO t VALUES (9001, 'after the restart', NULL, 0, NULL); TRUNCATE parts");
    let target = shop.target();
    running.wait_until("the row is visible", PATIENCE, || {
        sqlite::value(&target, "SELECT count(*) FROM t WHERE id = 9001").as_deref() == Some("1")
            && sqlite::value(&target, "SELECT count(*) FROM parts").as_deref() == Some("0")
    });
    running.stop(PATIENCE);
    equal(&shop, major);
    eprintln!("versions: PostgreSQL {major} passed");
}

fn equal(shop: &Shop, major: u32) {
    eprintln!("versions: PostgreSQL {major}: compare");
    shop.same(&shop.target(), ALL);
    shop.same(&shop.target(), "SELECT id, k FROM parts ORDER BY id");
}
