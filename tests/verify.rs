//! `millstream verify` on real servers: what differs is found and named, nothing else is, and a repair is never stale.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::postgres::Session;
use crate::support::process::Millstream;
use crate::support::seed::Rng;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

struct Outcome {
    code: i32,
    report: serde_json::Value,
    stderr: String,
}

fn verify(shop: &Shop, config: &Path, more: &[&str]) -> Outcome {
    let path = config.to_string_lossy().into_owned();
    let mut arguments = vec!["verify", path.as_str(), "one", "--json"];
    arguments.extend(more);
    let mut process = Millstream::spawn(shop.dir.path(), &format!("verify-{}", unique()), &arguments);
    let code = process.wait(Duration::from_secs(300)).code().expect("an exit code");
    let report = serde_json::from_str(&process.stdout()).unwrap_or_default();
    Outcome { code, report, stderr: process.stderr() }
}

fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Outcome {
    #[track_caller]
    fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}\n{:#}", self.stderr, self.report);
        self
    }

    /// `table key what columns`, sorted.
    fn rows(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for table in self.report["tables"].as_array().expect("tables") {
            for row in table["rows"].as_array().expect("rows") {
                let columns: Vec<_> = row["columns"]
                    .as_array()
                    .expect("columns")
                    .iter()
                    .filter_map(|name| name.as_str())
                    .collect();
                let key = &row["key"];
                lines.push(format!(
                    "{} {key} {} {}",
                    table["table"].as_str().expect("a name"),
                    row["what"].as_str().expect("what"),
                    columns.join(",")
                ));
            }
        }
        lines.sort();
        lines
    }
}

/// Changes the target behind the sink's back.
fn damage(shop: &Shop, sql: &str) {
    let target = rusqlite::Connection::open(shop.target()).expect("open the target");
    target.busy_timeout(Duration::from_secs(30)).expect("set the busy timeout");
    target.execute_batch(sql).expect("damage the target");
}

fn caught_up(shop: &Shop, running: &mut Millstream, count: &str, table: &str) {
    let target = shop.target();
    running.wait_until("the rows", PATIENCE, || {
        sqlite::value(&target, &format!("SELECT count(*) FROM {table}")).as_deref() == Some(count)
    });
}

#[test]
fn each_kind_of_difference_is_found_named_and_repaired() {
    let shop = Shop::new("verify-kinds");
    shop.sql.execute(
        "CREATE TABLE t(id int PRIMARY KEY, n numeric, f float8, x text, at timestamptz, u uuid, a int[], j jsonb, big text);
         ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
         INSERT INTO t SELECT i, i + 0.50, i / 3.0, 'x' || i, now(), gen_random_uuid(), ARRAY[i, NULL], '{\"a\": 1}', repeat('y', 5000)
           FROM generate_series(1, 200) i;
         INSERT INTO t VALUES (1001, 'NaN', 'NaN', NULL, 'infinity', NULL, NULL, NULL, ''), (1002, 1.00, '-0', E'a\\tb\\\\c\\n', '0044-03-15 BC', NULL, '{}', '[]', NULL);
         CREATE TABLE words(a text, b int, v text, PRIMARY KEY (b, a));
         INSERT INTO words SELECT w, i, w FROM unnest(ARRAY['a', 'A', 'á', '_', '%', '', ' ', 'a ', E'\\\\', '''', '\"']) w, generate_series(1, 3) i;
         CREATE TABLE loose(x text, n int); ALTER TABLE loose REPLICA IDENTITY FULL;
         INSERT INTO loose VALUES ('a', 1), ('a', 1), ('b', NULL)",
    );
    let config = shop.simple("tables: [public.t, public.words, public.loose]");
    let mut running = shop.run(&config);
    caught_up(&shop, &mut running, "202", "t");
    caught_up(&shop, &mut running, "3", "loose");
    let equal = verify(&shop, &config, &[]);
    assert_eq!(equal.expect(0).report["rows"], 202 + 33 + 3, "{:#}", equal.report);
    assert!(!equal.stderr.contains('\r'), "no bar in a pipe: {}", equal.stderr);

    damage(
        &shop,
        "DELETE FROM t WHERE id = 7; UPDATE t SET n = '8.5', x = NULL WHERE id = 8; UPDATE t SET big = 'z' WHERE id = 9;
         UPDATE t SET f = 0.1 WHERE id = 1001; INSERT INTO t(id, x) VALUES (5000, 'stray');
         UPDATE words SET v = 'B' WHERE a = 'A' AND b = 2; DELETE FROM words WHERE a = 'á' AND b = 1;
         INSERT INTO words VALUES ('Á', 1, 'stray')",
    );
    let wanted = [
        "t {\"id\":1001} changed f",
        "t {\"id\":5000} extra ",
        "t {\"id\":7} missing ",
        "t {\"id\":8} changed n,x",
        "t {\"id\":9} changed big",
        "words {\"a\":\"A\",\"b\":2} changed v",
        "words {\"a\":\"Á\",\"b\":1} extra ",
        "words {\"a\":\"á\",\"b\":1} missing ",
    ];
    let found = verify(&shop, &config, &[]);
    assert_eq!(found.expect(3).rows(), wanted);
    assert!(!found.report.to_string().contains("stray"), "values are not shown unasked");
    let one = verify(&shop, &config, &["--table", "words", "--values"]);
    assert_eq!(one.expect(3).rows(), wanted[5..]);
    assert!(one.report.to_string().contains("stray"));

    let repaired = verify(&shop, &config, &["--repair"]);
    assert_eq!(repaired.expect(0).rows(), wanted);
    assert_eq!(repaired.report["tables"][0]["repaired"], repaired.report["tables"][0]["differences"]);
    verify(&shop, &config, &[]).expect(0);

    // A table without a key: found, and cannot be repaired row by row.
    damage(&shop, "DELETE FROM loose WHERE rowid = (SELECT min(rowid) FROM loose WHERE x = 'a')");
    assert_eq!(verify(&shop, &config, &["--repair"]).expect(3).rows(), ["loose null missing "]);
    running.stop(PATIENCE);

    // Without the service: what is found is said to be maybe late, and nothing can be sent.
    let idle = verify(&shop, &config, &["--table", "loose"]);
    assert_eq!(idle.expect(3).report["running"], false);
    let refused = verify(&shop, &config, &["--repair"]);
    assert!(refused.expect(2).stderr.contains("millstream run CONFIG"), "{}", refused.stderr);
    let unknown = verify(&shop, &config, &["--table", "word"]);
    assert!(unknown.expect(2).stderr.contains("--table words"), "{}", unknown.stderr);
}

#[test]
fn it_compares_through_the_rules() {
    let shop = Shop::new("verify-rules");
    shop.sql.execute(
        "CREATE TABLE users(id int PRIMARY KEY, email text, secret text, name text);
         INSERT INTO users SELECT i, 'u' || i, 's', 'n' || i FROM generate_series(1, 50) i",
    );
    let config = shop.config(
        "tables: [public.users]",
        "  one:\n    type: sqlite\n    path: ./one.db\n    tables:\n    \
         - {topic: shop.public.users, table: people, columns: {name: full_name, email: mail, id: number}, on_delete: ignore}\n",
    );
    let mut running = shop.run(&config);
    caught_up(&shop, &mut running, "50", "people");
    verify(&shop, &config, &[]).expect(0);
    shop.sql.execute("UPDATE users SET secret = 't'; DELETE FROM users WHERE id = 3");
    let kept = verify(&shop, &config, &[]);
    assert_eq!(kept.expect(0).report["tables"][0]["kept"], 1, "{:#}", kept.report);
    damage(&shop, "UPDATE people SET full_name = 'x' WHERE number = 4; DELETE FROM people WHERE number = 10");
    let wanted = ["people {\"number\":10} missing ", "people {\"number\":4} changed full_name"];
    assert_eq!(verify(&shop, &config, &["--repair"]).expect(0).rows(), wanted);
    verify(&shop, &config, &[]).expect(0);
    running.stop(PATIENCE);
}

/// Changes many rows a second until told to end; returns how many changes there were.
fn write(session: &Session, ids: u64, until: &AtomicBool) -> u64 {
    let (mut rng, mut changes) = (Rng::new(7), 0);
    while !until.load(Ordering::Relaxed) {
        let first = rng.below(ids);
        let kind = rng.below(10);
        let sql = match kind {
            0 => format!("DELETE FROM t WHERE id BETWEEN {first} AND {first} + 9"),
            1 | 2 => format!(
                "INSERT INTO t SELECT i, 0, 'new' FROM generate_series({first}, {first} + 19) i ON CONFLICT DO NOTHING"
            ),
            _ => format!("UPDATE t SET n = n + 1, flag = NOT flag WHERE id BETWEEN {first} AND {first} + 39"),
        };
        // Two writers may meet in a deadlock.
        session.try_execute(&sql).ok();
        changes += [10, 20, 20].get(kind as usize).copied().unwrap_or(40);
    }
    changes
}

const TABLE: &str = "CREATE TABLE t(id int PRIMARY KEY, n int, x text, flag bool DEFAULT false);
    INSERT INTO t SELECT i, 0, 'x' || i FROM generate_series(0, 19999) i";

#[test]
fn moving_data_gives_no_false_alarm() {
    let shop = Shop::new("verify-moving");
    shop.sql.execute(TABLE);
    let config = shop.simple("tables: [public.t]");
    let mut running = shop.run(&config);
    caught_up(&shop, &mut running, "20000", "t");
    let end = AtomicBool::new(false);
    let writer = shop.server.session("shop");
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| write(&writer, 20_000, &end));
        let began = Instant::now();
        let mut rounds = 0;
        while began.elapsed() < Duration::from_secs(10) || rounds < 2 {
            let moving = verify(&shop, &config, &[]);
            if moving.code != 0 {
                end.store(true, Ordering::Relaxed);
            }
            moving.expect(0);
            rounds += 1;
        }
        // A difference that is there is found all the same.
        damage(&shop, "INSERT INTO t(id, n) VALUES (900001, 1)");
        let found = verify(&shop, &config, &[]);
        end.store(true, Ordering::Relaxed);
        assert_eq!(found.expect(3).rows(), ["t {\"id\":900001} extra "]);
        let changes = writing.join().expect("the writer ends");
        let rate = changes as f64 / began.elapsed().as_secs_f64();
        eprintln!("{rounds} comparisons during {rate:.0} changes/s");
        assert!(rate > 500.0, "{rate} changes/s is no load");
    });
    running.stop(PATIENCE);
}

#[test]
fn a_repair_during_updates_of_the_same_keys_leaves_no_stale_row() {
    let shop = Shop::new("verify-stale");
    shop.sql.execute(TABLE);
    let config = shop.simple("tables: [public.t]");
    let mut running = shop.run(&config);
    caught_up(&shop, &mut running, "20000", "t");
    let end = AtomicBool::new(false);
    let writers = [shop.server.session("shop"), shop.server.session("shop")];
    std::thread::scope(|scope| {
        for writer in &writers {
            scope.spawn(|| write(writer, 600, &end));
        }
        for _ in 0..4 {
            damage(
                &shop,
                "UPDATE t SET x = 'damaged' WHERE id % 3 = 0 AND id < 700; DELETE FROM t WHERE id % 7 = 0 AND id < 700",
            );
            let code = verify(&shop, &config, &["--repair"]).code;
            if !matches!(code, 0 | 3) {
                end.store(true, Ordering::Relaxed);
                panic!("verify ended with {code}");
            }
        }
        end.store(true, Ordering::Relaxed);
    });
    verify(&shop, &config, &["--repair"]).expect(0);
    let wanted = shop.sql.value("SELECT count(*) FROM t");
    caught_up(&shop, &mut running, &wanted, "t");
    verify(&shop, &config, &[]).expect(0);
    shop.same(&shop.target(), "SELECT id, n, x, CASE WHEN flag THEN 1 ELSE 0 END FROM t ORDER BY id");
    running.stop(PATIENCE);
}

#[test]
fn a_whole_table_is_repaired_in_bounded_memory() {
    let shop = Shop::new("verify-large");
    shop.sql.execute(
        "CREATE TABLE t(id bigint PRIMARY KEY, x text);
         INSERT INTO t SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 200000) i",
    );
    let config = shop.simple("tables: [public.t]");
    let mut running = shop.run(&config);
    caught_up(&shop, &mut running, "200000", "t");
    damage(&shop, "UPDATE t SET x = 'drift' WHERE id % 5 = 0");
    let path = config.to_string_lossy().into_owned();
    let mut process =
        Millstream::spawn(shop.dir.path(), "verify-large", &["verify", &path, "one", "--repair", "--json"]);
    let mut peak = 0;
    while process.is_running() {
        peak = peak.max(resident(process.pid()));
        std::thread::sleep(Duration::from_millis(5));
    }
    process.expect_exit(0, PATIENCE);
    let report: serde_json::Value = serde_json::from_str(&process.stdout()).expect("JSON");
    let table = &report["tables"][0];
    assert_eq!((&table["differences"], &table["repaired"]), (&40_000.into(), &40_000.into()), "{table:#}");
    eprintln!("peak of {} MiB", peak >> 20);
    assert!(peak < 200 << 20, "{} MiB", peak >> 20);
    running.stop(PATIENCE);
}

fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}
