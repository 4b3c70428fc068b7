//! One sink fails in every way it can, and nobody else notices (I10). Records that a target refuses wait as dead
//! letters, each key in order.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::support::command::millstream;
use crate::support::http;
use crate::support::process::Millstream;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

const TWO: &str = "  one: {type: sqlite, path: ./one.db}\n  two: {type: sqlite, path: ./two.db}\n";

fn count(target: &Path) -> Option<String> {
    sqlite::value(target, "SELECT count(*) FROM t")
}

fn wait_for_rows(running: &mut Millstream, target: &Path, wanted: usize) {
    running.wait_until("the rows are there", PATIENCE, || count(target) == Some(wanted.to_string()));
}

/// One sink in `/api/status`.
fn sink(config: &Path, name: &str) -> serde_json::Value {
    let status = http::status(config).expect("the service answers");
    let sinks = status["sinks"].as_array().expect("a list").clone();
    sinks.into_iter().find(|sink| sink["name"] == name).expect("the sink is listed")
}

#[test]
fn a_locked_target_delays_nobody_else() {
    let shop = Shop::new("locked");
    shop.sql.execute("CREATE TABLE t(id int PRIMARY KEY, x text); INSERT INTO t VALUES (0, 'x')");
    let config = shop.config("tables: [public.t]", TWO);
    let (one, two) = (shop.dir.join("one.db"), shop.dir.join("two.db"));
    let mut running = shop.run(&config);
    wait_for_rows(&mut running, &one, 1);
    wait_for_rows(&mut running, &two, 1);
    running.wait_until("it is ready", PATIENCE, || {
        http::get(&config, "/readyz").is_some_and(|(code, _)| code == 200)
    });

    let lock = Connection::open(&two).expect("open the target");
    lock.busy_timeout(Duration::from_secs(5)).expect("set the busy timeout");
    lock.execute_batch("BEGIN EXCLUSIVE").expect("lock the target");
    let started = Instant::now();
    for round in 1..=50 {
        shop.sql.execute(&format!("INSERT INTO t VALUES ({round}, 'x')"));
        wait_for_rows(&mut running, &one, round + 1);
    }
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "fifty commits, one by one: {:?}",
        started.elapsed()
    );
    // The lag shows at once; the failure once SQLite has waited for the lock.
    assert!(sink(&config, "two")["lag"]["records"].as_u64().is_some_and(|records| records > 0));
    running.wait_until("it is seen to fail", PATIENCE, || sink(&config, "two")["state"] == "retrying");
    assert!(started.elapsed() < Duration::from_secs(15), "seen after {:?}", started.elapsed());
    let failed = sink(&config, "two");
    let message = failed["failure"]["message"].as_str().expect("a message");
    assert!(message.contains("locked"), "{failed}");
    let (code, reasons) = http::get(&config, "/readyz").expect("an answer");
    assert_eq!(code, 503, "{reasons}");
    assert!(reasons.contains("sink two is retrying") && !reasons.contains("one"), "{reasons}");
    assert_eq!(http::metric(&config, "millstream_sink_state{sink=\"two\",state=\"retrying\"}"), Some(1.0));
    assert_eq!(http::metric(&config, "millstream_sink_state{sink=\"one\",state=\"running\"}"), Some(1.0));
    assert_eq!(http::metric(&config, "millstream_ready"), Some(0.0));
    millstream(shop.dir.path(), &["status", "millstream.yaml"]).expect(0).prints(&[
        "NOT READY",
        "retrying",
        "fuser -v",
    ]);
    // The slot went on all the while.
    let behind = "SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots";
    running.wait_until("the source is confirmed", PATIENCE, || {
        shop.sql.value(behind).parse::<i64>().expect("a number") < 100_000
    });

    lock.execute_batch("ROLLBACK").expect("unlock the target");
    wait_for_rows(&mut running, &two, 51);
    running.wait_until("it is ready", PATIENCE, || {
        http::get(&config, "/readyz").is_some_and(|(code, _)| code == 200)
    });
    assert!(sink(&config, "two")["failure"].is_null());
    running.stop(PATIENCE);
    for target in [&one, &two] {
        shop.same(target, "SELECT id, x FROM t ORDER BY id");
    }
}

#[test]
fn a_target_that_cannot_be_opened_fails_alone_and_recovers_by_itself() {
    let shop = Shop::new("missing");
    shop.sql.execute("CREATE TABLE t(id int PRIMARY KEY, x text); INSERT INTO t VALUES (0, 'x')");
    let sinks = "  one: {type: sqlite, path: ./one.db}\n  two: {type: sqlite, path: ./gone/two.db}\n";
    let config = shop.config("tables: [public.t]", sinks);
    let (one, two) = (shop.dir.join("one.db"), shop.dir.join("gone/two.db"));
    let mut running = shop.run(&config);
    wait_for_rows(&mut running, &one, 1);
    shop.sql.execute("INSERT INTO t VALUES (1, 'y')");
    wait_for_rows(&mut running, &one, 2);
    let (code, reasons) = http::get(&config, "/readyz").expect("an answer");
    assert!(code == 503 && reasons.contains("sink two is failed"), "{reasons}");
    let failed = sink(&config, "two");
    assert_eq!(failed["failure"]["kind"], "config", "{failed}");
    assert_eq!(failed["failure"]["remedy"], "mkdir -p './gone'", "{failed}");
    std::fs::create_dir(shop.dir.join("gone")).expect("make the directory");
    wait_for_rows(&mut running, &two, 2);
    running.stop(PATIENCE);
    // A run that is to end does not wait for a person.
    std::fs::rename(shop.dir.join("gone"), shop.dir.join("away")).expect("move the directory");
    let ended = crate::support::command::until_caught_up(shop.dir.path(), &config);
    ended.expect(1).complains(&["sink two failed", "mkdir -p './gone'"]);
}

/// A target with a rule of its own, which a later version of it drops.
const CHECKED: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY NOT NULL, x TEXT CHECK (x <> 'bad'), n INTEGER)";
const UNCHECKED: &str =
    "BEGIN IMMEDIATE; CREATE TABLE new(id INTEGER PRIMARY KEY NOT NULL, x TEXT, n INTEGER);
    INSERT INTO new SELECT * FROM t; DROP TABLE t; ALTER TABLE new RENAME TO t; COMMIT";
const ROWS: &str = "SELECT id, x, n FROM t ORDER BY id";

struct Letters<'a> {
    shop: &'a Shop,
}

impl Letters<'_> {
    fn say(&self, args: &[&str]) -> crate::support::command::Said {
        let mut words = vec!["dead-letters", "millstream.yaml"];
        words.extend(args);
        millstream(self.shop.dir.path(), &words).expect(0)
    }

    fn list(&self) -> Vec<serde_json::Value> {
        self.say(&["list", "--json"]).json().as_array().expect("a list").clone()
    }

    fn apply_all(&self) -> String {
        self.say(&["retry", "one", "--all"]).stderr
    }
}

fn checked_target(name: &str) -> (Shop, std::path::PathBuf, Connection) {
    let shop = Shop::new(name);
    shop.sql.execute(
        "CREATE TABLE t(id int PRIMARY KEY, x text, n int); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
    );
    let target = Connection::open(shop.target()).expect("make the target");
    target.busy_timeout(Duration::from_secs(5)).expect("set the busy timeout");
    target.execute_batch(CHECKED).expect("make the table");
    let config = shop.simple("tables: [public.t]");
    (shop, config, target)
}

#[test]
fn a_refused_row_waits_with_its_key_and_is_applied_in_order_later() {
    let (shop, config, target) = checked_target("letters");
    let mut running = shop.run(&config);
    wait_for_rows(&mut running, &shop.target(), 3);
    shop.sql.execute(
        "UPDATE t SET x = 'bad' WHERE id = 1; UPDATE t SET x = 'fine', n = 10 WHERE id = 1;
         DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'reborn', 11);
         BEGIN; INSERT INTO t VALUES (4, 'bad', 4); UPDATE t SET n = 20 WHERE id = 2; COMMIT;
         DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (5, 'e', 5)",
    );
    let path = shop.target();
    // Other rows go on; the two keys stay as they were.
    running.wait_until("the other rows", PATIENCE, || {
        sqlite::value(&path, "SELECT x FROM t WHERE id = 5").is_some()
    });
    assert_eq!(
        sqlite::rows(&path, "SELECT id || ' ' || x || ' ' || n FROM t ORDER BY id").concat(),
        ["1 a 1", "2 b 20", "5 e 5"].map(|row| Some(row.to_owned()))
    );
    let letters = Letters { shop: &shop };
    let listed = letters.list();
    let short: Vec<_> = listed
        .iter()
        .map(|letter| (letter["op"].as_str().expect("an op"), letter["attempts"].as_u64()))
        .collect();
    assert_eq!(
        short,
        [("u", Some(1)), ("u", Some(1)), ("d", Some(1)), ("c", Some(1)), ("c", Some(1))],
        "{listed:?}"
    );
    let errors: Vec<_> = listed.iter().map(|letter| letter["error"].as_str().expect("an error")).collect();
    assert!(
        errors[0].contains("CHECK constraint failed") && errors[4].contains("CHECK constraint failed"),
        "{errors:?}"
    );
    assert!(errors[1..4].iter().all(|error| error.contains("waits behind")), "{errors:?}");
    // Row data is for the one who asks for one letter.
    let text = letters.say(&["list", "one"]).stdout;
    assert!(text.contains("shop.public.t") && !text.contains("reborn"), "{text}");
    assert!(!running.stderr().contains("reborn"), "{}", running.stderr());
    let id = listed[3]["id"].to_string();
    letters.say(&["show", "one", &id]).prints(&["\"reborn\"", "\"n\": 11"]);
    assert_eq!(http::metric(&config, "millstream_sink_dead_letters{sink=\"one\"}"), Some(5.0));
    assert_eq!(sink(&config, "one")["state"], "running", "dead letters are no failure of the sink");

    // In vain while the rule stands; then in order.
    assert!(letters.apply_all().contains("0 applied"), "the rule stands");
    assert_eq!(letters.list()[0]["attempts"], 2);
    target.execute_batch(UNCHECKED).expect("drop the rule");
    assert!(letters.apply_all().contains("5 applied"), "all of them");
    assert!(letters.list().is_empty());
    shop.same(&path, ROWS);
    shop.sql.execute("UPDATE t SET x = 'bad', n = 100 WHERE id = 1; INSERT INTO t VALUES (6, 'f', 6)");
    wait_for_rows(&mut running, &path, 5);
    shop.same(&path, ROWS);
    running.stop(PATIENCE);
}

#[test]
fn a_key_that_moves_while_it_waits_is_not_left_behind() {
    let (shop, config, target) = checked_target("moved");
    let mut running = shop.run(&config);
    wait_for_rows(&mut running, &shop.target(), 3);
    shop.sql.execute(
        "UPDATE t SET x = 'bad' WHERE id = 1; UPDATE t SET id = 10, x = 'moved' WHERE id = 1;
         UPDATE t SET n = 100 WHERE id = 10; INSERT INTO t VALUES (4, 'd', 4)",
    );
    let path = shop.target();
    running.wait_until("the other rows", PATIENCE, || {
        sqlite::value(&path, "SELECT x FROM t WHERE id = 4").is_some()
    });
    target.execute_batch(UNCHECKED).expect("drop the rule");
    let letters = Letters { shop: &shop };
    letters.apply_all();
    assert!(letters.list().is_empty());
    shop.same(&path, ROWS);
    running.stop(PATIENCE);
}

#[test]
fn letters_survive_a_stop_and_a_truncate_ends_them() {
    let (shop, config, target) = checked_target("truncated");
    shop.catch_up(&config);
    shop.sql.execute("INSERT INTO t VALUES (4, 'bad', 4)");
    shop.catch_up(&config);
    // Listed and shown without the service, too; only a running service applies.
    let letters = Letters { shop: &shop };
    assert_eq!(letters.list().len(), 1);
    let args = ["dead-letters", "millstream.yaml", "retry", "one", "--all"];
    millstream(shop.dir.path(), &args).expect(2).complains(&["no service answers", "millstream run"]);
    shop.sql.execute("TRUNCATE t; INSERT INTO t VALUES (7, 'g', 7)");
    shop.catch_up(&config);
    target.execute_batch(UNCHECKED).expect("drop the rule");
    let mut running = shop.run(&config);
    let path = shop.target();
    running.wait_until("it is ready", PATIENCE, || {
        http::get(&config, "/readyz").is_some_and(|(code, _)| code == 200)
    });
    letters.apply_all();
    shop.same(&path, ROWS);
    running.stop(PATIENCE);
}

#[test]
fn a_letter_that_is_dropped_is_gone_and_its_key_goes_on() {
    let (shop, config, _target) = checked_target("dropped");
    let mut running = shop.run(&config);
    wait_for_rows(&mut running, &shop.target(), 3);
    shop.sql.execute("UPDATE t SET x = 'bad' WHERE id = 1; UPDATE t SET n = 9 WHERE id = 1; INSERT INTO t VALUES (4, 'd', 4)");
    wait_for_rows(&mut running, &shop.target(), 4);
    let letters = Letters { shop: &shop };
    let ids: Vec<_> = letters.list().iter().map(|letter| letter["id"].to_string()).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    assert!(letters.say(&["drop", "one", &ids[0]]).stderr.contains("1 dropped"));
    assert_eq!(letters.list().len(), 1);
    assert!(letters.say(&["drop", "one", "--all"]).stderr.contains("1 dropped"));
    millstream(shop.dir.path(), &["dead-letters", "millstream.yaml", "show", "one", &ids[0]])
        .expect(2)
        .complains(&["one has no dead letter", "dead-letters CONFIG list one"]);
    // The next change of the row brings it whole.
    shop.sql.execute("UPDATE t SET x = 'good' WHERE id = 1");
    let path = shop.target();
    running.wait_until("the row", PATIENCE, || {
        sqlite::value(&path, "SELECT x FROM t WHERE id = 1").as_deref() == Some("good")
    });
    shop.same(&path, ROWS);
    running.stop(PATIENCE);
}

#[test]
fn a_sink_without_dead_letters_stops_at_the_record() {
    let (shop, _, _target) = checked_target("stops");
    let sinks = "  one: {type: sqlite, path: ./one.db, on_error: {dead_letter: false}}\n  two: {type: sqlite, path: ./two.db}\n";
    let config = shop.config("tables: [public.t]", sinks);
    let mut running = shop.run(&config);
    wait_for_rows(&mut running, &shop.target(), 3);
    shop.sql.execute("UPDATE t SET x = 'bad' WHERE id = 1; INSERT INTO t VALUES (4, 'd', 4)");
    wait_for_rows(&mut running, &shop.dir.join("two.db"), 4);
    running.wait_until("it is seen to fail", PATIENCE, || sink(&config, "one")["state"] == "failed");
    let failed = sink(&config, "one");
    let failure = failed["failure"]["message"].as_str().expect("a message");
    assert!(failure.contains("shop.public.t") && failure.contains("offset 3"), "{failed}");
    assert_eq!(count(&shop.target()).as_deref(), Some("3"), "nothing after it");
    assert_eq!(failed["dead_letters"], 0);
    running.stop(PATIENCE);
}
