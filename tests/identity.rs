//! What identifies a row: replica identities, keys of every kind, names of every kind, partitions. In each test rows
//! exist before the first start and change after it.

use crate::support::command::millstream;
use crate::support::shop::Shop;
use crate::support::sqlite;

#[test]
fn default_index_and_full_identities_follow_every_change() {
    let shop = Shop::new("identities");
    shop.sql.execute(
        "CREATE TABLE by_key(id int PRIMARY KEY, code text NOT NULL, big text, n int);
         CREATE TABLE by_index(LIKE by_key INCLUDING ALL); CREATE UNIQUE INDEX by_code ON by_index(code);
         ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_code;
         CREATE TABLE by_row(LIKE by_key INCLUDING ALL); ALTER TABLE by_row REPLICA IDENTITY FULL;
         -- Without a primary key, the index is the key.
         CREATE TABLE keyed_by_index(code text NOT NULL UNIQUE, big text, n int, id int);
         ALTER TABLE keyed_by_index REPLICA IDENTITY USING INDEX keyed_by_index_code_key;",
    );
    let tables = ["by_key", "by_index", "by_row", "keyed_by_index"];
    for table in tables {
        shop.sql.execute(&format!(
            "ALTER TABLE {table} ALTER big SET STORAGE EXTERNAL;
             INSERT INTO {table}(id, code, big, n) SELECT i, 'c' || i, repeat(i::text, 3000), 0 FROM generate_series(1, 20) i"
        ));
    }
    let config = shop.simple("tables: [\"public.*\"]");
    shop.catch_up(&config);
    for table in tables {
        shop.sql.execute(&format!(
            "UPDATE {table} SET n = 1 WHERE id = 1;
             UPDATE {table} SET code = 'other' WHERE id = 2;
             UPDATE {table} SET id = 100 WHERE id = 3;
             UPDATE {table} SET id = 101, code = 'both', n = 7 WHERE id = 4;
             UPDATE {table} SET big = NULL WHERE id = 5;
             UPDATE {table} SET big = 'small' WHERE id = 6;
             DELETE FROM {table} WHERE id IN (7, 8);
             INSERT INTO {table}(id, code) VALUES (7, 'again')"
        ));
    }
    shop.catch_up(&config);
    for table in tables {
        shop.same(&shop.target(), &format!("SELECT id, code, length(big), n FROM {table} ORDER BY code"));
    }
}

#[test]
fn without_an_identity_inserts_arrive_and_postgres_refuses_the_rest() {
    let shop = Shop::new("nothing");
    shop.sql.execute(
        "CREATE TABLE t(id int PRIMARY KEY, x text); ALTER TABLE t REPLICA IDENTITY NOTHING;
         CREATE TABLE keyless(x text); INSERT INTO t VALUES (1, 'a'); INSERT INTO keyless VALUES ('a'), ('a')",
    );
    let config = shop.simple("tables: [\"public.*\"]");
    shop.catch_up(&config);
    shop.sql.execute("INSERT INTO t VALUES (2, 'b'); INSERT INTO keyless VALUES ('a'), (NULL)");
    for refused in
        ["UPDATE t SET x = 'c'", "DELETE FROM t", "UPDATE keyless SET x = 'c'", "DELETE FROM keyless"]
    {
        let error = shop.sql.try_execute(refused).expect_err(refused);
        let error = error.as_db_error().expect("an error of the server").message().to_owned();
        assert!(error.contains("does not have a replica identity"), "{refused}: {error}");
    }
    shop.catch_up(&config);
    shop.same(&shop.target(), "SELECT id, x FROM t ORDER BY id");
    shop.same(&shop.target(), "SELECT x FROM keyless ORDER BY x NULLS LAST");
    // And `check` says so, each with the way out.
    millstream(shop.dir.path(), &["check", "millstream.yaml"]).expect(3).prints(&[
        "public.t",
        r#"ALTER TABLE "public"."t" REPLICA IDENTITY DEFAULT;"#,
        "public.keyless",
        r#"ALTER TABLE "public"."keyless" REPLICA IDENTITY FULL;"#,
    ]);
}

#[test]
fn equal_rows_without_a_key_are_counted_one_by_one() {
    let shop = Shop::new("keyless");
    shop.sql.execute(
        "CREATE TABLE t(x text, n float8, at timestamptz); ALTER TABLE t REPLICA IDENTITY FULL;
         INSERT INTO t SELECT 'same', 1.5, NULL FROM generate_series(1, 5);
         INSERT INTO t VALUES (NULL, 'NaN', '2026-01-01'), (NULL, 'NaN', '2026-01-01'), ('', '-Infinity', 'infinity')",
    );
    let config = shop.simple("tables: [public.t]");
    shop.catch_up(&config);
    let equal = |shop: &Shop| {
        shop.catch_up(&config);
        let wanted = shop.sql.query_text("SELECT x, count(*) FROM t GROUP BY x ORDER BY x NULLS FIRST");
        let found =
            sqlite::rows(&shop.target(), "SELECT x, count(*) FROM t GROUP BY x ORDER BY x NULLS FIRST");
        assert_eq!(found, wanted);
    };
    equal(&shop);
    // One of several equal rows is deleted, another one updated.
    shop.sql.execute(
        "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE x = 'same');
         UPDATE t SET x = 'changed' WHERE ctid = (SELECT min(ctid) FROM t WHERE x = 'same');
         DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE x IS NULL);
         INSERT INTO t VALUES ('same', 1.5, NULL), ('changed', 2, NULL)",
    );
    equal(&shop);
    shop.sql.execute(
        "UPDATE t SET n = n + 1; UPDATE t SET x = coalesce(x, 'was null'); DELETE FROM t WHERE x = 'changed'",
    );
    equal(&shop);
}

#[test]
fn names_and_composite_keys_of_every_kind() {
    let shop = Shop::new("names");
    shop.sql.execute(
        r#"CREATE SCHEMA "Läger"; CREATE SCHEMA sales;
         CREATE TABLE "Läger"."Größen ""alle""" ("Schlüssel 1" int, "select" text, "Wert;--" text, PRIMARY KEY ("select", "Schlüssel 1"));
         CREATE TABLE sales."Order"(region text, "No" int, line int, "text" text, PRIMARY KEY (region, "No", line));
         CREATE TABLE public."日本"("鍵" text PRIMARY KEY, "値" text);
         INSERT INTO "Läger"."Größen ""alle""" SELECT i, 'k''' || i % 3, 'v' FROM generate_series(1, 9) i;
         INSERT INTO sales."Order" SELECT 'r' || i % 2, i, j, 't' FROM generate_series(1, 10) i, generate_series(1, 3) j;
         INSERT INTO "日本" VALUES ('一', '1'), ('二', '2')"#,
    );
    let config = shop.simple(r#"tables: ["Läger.*", "sales.Order", "public.日本"]"#);
    shop.catch_up(&config);
    shop.sql.execute(
        r#"UPDATE "Läger"."Größen ""alle""" SET "Wert;--" = 'new' WHERE "Schlüssel 1" = 2;
         UPDATE "Läger"."Größen ""alle""" SET "Schlüssel 1" = -1 WHERE "Schlüssel 1" = 3;
         DELETE FROM "Läger"."Größen ""alle""" WHERE "select" = 'k''1';
         UPDATE sales."Order" SET region = 'moved' WHERE "No" < 4;
         UPDATE sales."Order" SET line = line + 10, "text" = NULL WHERE "No" = 7;
         DELETE FROM sales."Order" WHERE "No" = 8 AND line = 2;
         UPDATE "日本" SET "鍵" = '三' WHERE "鍵" = '二'; INSERT INTO "日本" VALUES ('二', '新')"#,
    );
    shop.catch_up(&config);
    let target = shop.target();
    let sizes = |table: &str| {
        format!(r#"SELECT "select", "Schlüssel 1", "Wert;--" FROM {table} ORDER BY "Schlüssel 1""#)
    };
    assert_eq!(
        sqlite::rows(&target, &sizes(r#""Größen ""alle""""#)),
        shop.sql.query_text(&sizes(r#""Läger"."Größen ""alle""""#))
    );
    let orders =
        |table: &str| format!(r#"SELECT region, "No", line, "text" FROM {table} ORDER BY "No", line"#);
    assert_eq!(sqlite::rows(&target, &orders("\"Order\"")), shop.sql.query_text(&orders("sales.\"Order\"")));
    shop.same(&target, r#"SELECT "鍵", "値" FROM "日本" ORDER BY "値""#);
    // A topic's name is what the commands take.
    millstream(
        shop.dir.path(),
        &["tail", "millstream.yaml", "shop.public.日本", "--from", "earliest", "--limit", "1"],
    )
    .expect(0)
    .prints(&["\"鍵\":\"一\""]);
}

#[test]
fn partitions_appear_as_their_root() {
    let shop = Shop::new("partitions");
    shop.sql.execute(
        "CREATE TABLE events(id int, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
         CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
         -- Another order of columns, and a column that was dropped: what arrives has the root's shape.
         CREATE TABLE events_2(gone int, note text, day date NOT NULL, id int NOT NULL, PRIMARY KEY (id, day));
         ALTER TABLE events_2 DROP gone;
         ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
         INSERT INTO events SELECT i, '2026-01-10'::date + i, 'n' || i FROM generate_series(1, 40) i",
    );
    let config = shop.simple("tables: [public.events]");
    shop.catch_up(&config);
    shop.sql.execute(
        "UPDATE events SET note = 'changed' WHERE id % 7 = 0;
         UPDATE events SET day = '2026-02-20' WHERE id = 1;  -- moves to the other partition
         DELETE FROM events WHERE id IN (2, 30);
         CREATE TABLE events_3 PARTITION OF events FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
         INSERT INTO events VALUES (100, '2026-03-05', 'of a partition that is new');
         UPDATE events SET note = 'moved there', day = '2026-03-06' WHERE id = 3",
    );
    shop.catch_up(&config);
    let all = "SELECT id, day, note FROM events ORDER BY id";
    shop.same(&shop.target(), all);
    let tables = sqlite::rows(
        &shop.target(),
        "SELECT name FROM sqlite_schema WHERE name LIKE 'events\\__' ESCAPE '\\'",
    );
    assert!(tables.is_empty(), "{tables:?}");
    shop.sql.execute("TRUNCATE events; INSERT INTO events VALUES (1, '2026-01-01', 'after')");
    shop.catch_up(&config);
    shop.same(&shop.target(), all);
}

#[test]
fn keys_that_move_and_swap_keep_their_rows() {
    let shop = Shop::new("swaps");
    shop.sql.execute(
        "CREATE TABLE t(id int PRIMARY KEY, name text, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
         CREATE TABLE u(a text, b int, name text, PRIMARY KEY (a, b));
         INSERT INTO t SELECT i, 'row ' || i, repeat(chr(64 + i), 5000) FROM generate_series(1, 10) i;
         INSERT INTO u SELECT 'k', i, 'row ' || i FROM generate_series(1, 10) i",
    );
    let config = shop.simple("tables: [public.t, public.u]");
    shop.catch_up(&config);
    shop.sql.execute(
        "BEGIN; UPDATE t SET id = -1 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 2; UPDATE t SET id = 2 WHERE id = -1; COMMIT;
         BEGIN; DELETE FROM t WHERE id = 3; UPDATE t SET id = 3 WHERE id = 4; INSERT INTO t VALUES (4, 'new 4', 'small'); COMMIT;
         BEGIN; UPDATE t SET id = 50 WHERE id = 5; UPDATE t SET id = 5 WHERE id = 50; UPDATE t SET name = 'there and back' WHERE id = 5; COMMIT;
         BEGIN; INSERT INTO t VALUES (60, 'short life'); UPDATE t SET id = 61 WHERE id = 60; DELETE FROM t WHERE id = 61; COMMIT;
         BEGIN; DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (7, 'born again'); UPDATE t SET id = 70 WHERE id = 7; COMMIT;
         UPDATE t SET id = id + 1000 WHERE id BETWEEN 8 AND 10;
         BEGIN; UPDATE u SET b = b + 100; UPDATE u SET b = 111 - b WHERE b < 106; UPDATE u SET b = 211 - b WHERE b > 100; COMMIT;
         UPDATE u SET a = 'other' WHERE name IN ('row 1', 'row 2')",
    );
    shop.catch_up(&config);
    shop.same(&shop.target(), "SELECT id, name, length(big), substr(big, 1, 1) FROM t ORDER BY id");
    shop.same(&shop.target(), "SELECT a, b, name FROM u ORDER BY a, b");
}

#[test]
fn truncates_of_several_tables_take_their_place_in_the_order() {
    let shop = Shop::new("truncate");
    shop.sql.execute(
        "CREATE TABLE a(id int PRIMARY KEY); CREATE TABLE b(id int PRIMARY KEY, a int REFERENCES a);
         CREATE TABLE c(id int PRIMARY KEY); CREATE TABLE not_captured(id int PRIMARY KEY);
         INSERT INTO a SELECT generate_series(1, 9); INSERT INTO b SELECT i, i FROM generate_series(1, 9) i;
         INSERT INTO c SELECT generate_series(1, 9)",
    );
    let config = shop.simple("tables: [public.a, public.b, public.c]");
    shop.catch_up(&config);
    let equal = |shop: &Shop| {
        shop.catch_up(&config);
        for table in ["a", "b", "c"] {
            shop.same(&shop.target(), &format!("SELECT * FROM {table} ORDER BY id"));
        }
    };
    shop.sql.execute("TRUNCATE a, b, not_captured");
    equal(&shop);
    // Before and after it in one transaction, by cascade, and one that is undone.
    shop.sql.execute(
        "BEGIN; INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1); TRUNCATE a CASCADE; INSERT INTO a VALUES (3);
         INSERT INTO b VALUES (3, 3); COMMIT;
         BEGIN; INSERT INTO c VALUES (100); SAVEPOINT s; TRUNCATE c; INSERT INTO c VALUES (200); ROLLBACK TO s; INSERT INTO c VALUES (300); COMMIT;
         BEGIN; TRUNCATE c; ROLLBACK",
    );
    equal(&shop);
}

#[test]
fn generated_columns_are_in_neither_way() {
    let shop = Shop::new("generated");
    shop.sql.execute(
        "CREATE TABLE t(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, double int GENERATED ALWAYS AS (a * 2) STORED, gone int, z text);
         ALTER TABLE t DROP gone; INSERT INTO t(a, z) VALUES (1, 'x')",
    );
    let config = shop.simple("tables: [public.t]");
    shop.catch_up(&config);
    shop.sql.execute("INSERT INTO t(a, z) VALUES (2, 'y'); UPDATE t SET a = 3 WHERE id = 1");
    shop.catch_up(&config);
    shop.same(&shop.target(), "SELECT id, a, z FROM t ORDER BY id");
    let columns = sqlite::rows(&shop.target(), "SELECT name FROM pragma_table_info('t')");
    assert_eq!(columns, [[Some("id".to_owned())], [Some("a".into())], [Some("z".into())]]);
}
