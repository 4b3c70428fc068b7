//! The fence (I11): no way leads back for an erased person, except the person's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rusqlite::Connection;

use super::everywhere::{cases, complete, filled, places, shop};
use super::person::{Person, found, insert};
use crate::support::command::{Said, millstream, millstream_fed};
use crate::support::http;
use crate::support::process::Millstream;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

const PEOPLE: i64 = 300;

/// A shop whose copies are there, and a letter that waits for person 9.
struct Stage {
    shop: Shop,
    config: PathBuf,
    running: Millstream,
    billing: PathBuf,
}

impl Stage {
    fn set() -> Stage {
        let (shop, config) = shop("erasure-back", PEOPLE);
        let billing = shop.dir.join("billing.db");
        let mut running = filled(&shop, &config, PEOPLE);
        // A target that refuses one person's row: what happens to it waits as a dead letter.
        Connection::open(&billing)
            .and_then(|target| {
                target.execute_batch(
                    "CREATE TRIGGER picky BEFORE UPDATE ON customers WHEN new.id = 9 AND new.phone = 'refused'
                     BEGIN SELECT RAISE(ABORT, 'refused'); END",
                )
            })
            .expect("make a trigger");
        shop.sql.execute("UPDATE users SET phone = 'refused' WHERE id = 9");
        running.wait_until("a dead letter is there", PATIENCE, || letters(&config) == Some(1.0));
        running.stop(PATIENCE);
        fs::copy(&billing, shop.dir.join("old.db")).expect("keep an old copy");
        let running = shop.run(&config);
        Stage { shop, config, running, billing }
    }

    fn say(&self, args: &[&str]) -> Said {
        let path = self.config.to_str().expect("UTF-8");
        let args: Vec<_> = args.iter().map(|arg| if *arg == "CONFIG" { path } else { arg }).collect();
        millstream(self.shop.dir.path(), &args)
    }

    /// Whether a person is a customer, as text.
    fn customers(&self, id: i64) -> String {
        let sql = format!("SELECT count(*) FROM customers WHERE id = {id}");
        sqlite::value(&self.billing, &sql).unwrap_or_default()
    }

    fn are_gone(&self) {
        let places = places(&self.shop);
        for id in [8, 9] {
            assert_eq!(self.customers(id), "0");
            let orders = format!("SELECT count(*) FROM orders WHERE user_id = {id}");
            assert_eq!(sqlite::value(&self.billing, &orders).as_deref(), Some("0"));
            assert_eq!(found(&places, &Person::new(id)), Vec::<String>::new());
        }
    }

    /// Waits until everything committed so far has come to billing.
    fn catch_up(&mut self, mark: &str) {
        self.shop.sql.execute(&format!("UPDATE users SET phone = '{mark}' WHERE id = 1"));
        let billing = self.billing.clone();
        self.running.wait_until("it has caught up", PATIENCE, || {
            sqlite::value(&billing, "SELECT phone FROM customers WHERE id = 1").as_deref() == Some(mark)
        });
    }
}

fn letters(config: &Path) -> Option<f64> {
    http::metric(config, "millstream_sink_dead_letters{sink=\"billing\"}")
}

#[test]
fn no_replay_repair_letter_or_old_copy_brings_a_person_back() {
    let mut stage = Stage::set();
    // Person 8 is erased while its row is still in the source: nobody deletes it there.
    let path = stage.config.to_str().expect("UTF-8").to_owned();
    let args = ["erase", &path, "users", "-", "--wait", "--json"];
    let asked = millstream_fed(stage.shop.dir.path(), &args, "8\n").expect(0).json();
    assert_eq!(asked["state"], "completed");
    let again = stage.say(&["erase", "CONFIG", "users", "8", "--json"]).expect(0).json();
    assert_eq!(again["case"], asked["id"], "asking twice is one case");
    stage.shop.sql.execute("DELETE FROM users WHERE id = 9");
    cases(&stage.shop, &stage.config, complete(2));
    assert_eq!(letters(&stage.config), Some(0.0), "the letter went with its person");
    stage.are_gone();

    // An update at the source, and of the person's orders.
    stage.shop.sql.execute(
        "UPDATE users SET phone = '+8' WHERE id = 8; UPDATE orders SET item = 'x' WHERE user_id = 8",
    );
    // A repair reads the source again; a replay gives everything that the log holds.
    stage.say(&["verify", "CONFIG", "billing", "--table", "customers", "--repair"]);
    stage.say(&["offsets", "CONFIG", "reset", "billing", "--to", "earliest"]).expect(0);
    stage.say(&["dead-letters", "CONFIG", "retry", "billing", "--all"]);
    stage.catch_up("replayed");
    stage.are_gone();
    let kept_out = http::metric(&stage.config, "millstream_erasures_kept_out_total");
    assert!(kept_out.is_some_and(|count| count > 0.0), "{kept_out:?}");

    // A copy from before, put back from a backup.
    stage.running.stop(PATIENCE);
    for file in ["billing.db-wal", "billing.db-shm"] {
        let _ = fs::remove_file(stage.shop.dir.join(file));
    }
    fs::copy(stage.shop.dir.join("old.db"), &stage.billing).expect("put the old copy back");
    assert_eq!(stage.customers(8), "1", "the old copy has them");
    stage.running = stage.shop.run(&stage.config);
    stage.catch_up("restored");
    assert_eq!((stage.customers(8), stage.customers(9)), ("0".to_owned(), "0".to_owned()));

    // The person's own way back, and out again.
    insert(&stage.shop.sql, 9);
    stage.catch_up("back");
    assert_eq!((stage.customers(8), stage.customers(9)), ("0".to_owned(), "1".to_owned()));
    stage.shop.sql.execute("DELETE FROM users WHERE id = 9");
    cases(&stage.shop, &stage.config, complete(3));
    assert_eq!(stage.customers(9), "0");
    stage.running.stop(PATIENCE);
}

#[test]
fn a_sink_that_is_down_erases_when_it_is_back_and_the_log_does_not_wait() {
    let (shop, config) = shop("erasure-down", PEOPLE);
    let search = shop.dir.join("search.db");
    let mut running = filled(&shop, &config, PEOPLE);
    let holder = Connection::open(&search).expect("open the target");
    holder.execute_batch("BEGIN IMMEDIATE").expect("hold the target");
    shop.sql.execute("DELETE FROM users WHERE id = 7");
    let open = cases(&shop, &config, |cases| {
        cases.len() == 1 && cases[0]["waits_for"] == serde_json::json!(["log", "search"])
    });
    assert_eq!(open[0]["state"], "open");
    // The log does not wait for the sink with what is personal.
    let data = [shop.dir.join("data")];
    running.wait_until("the log holds nothing", PATIENCE, || found(&data, &Person::new(7)).is_empty());
    let copy = [search.clone(), shop.dir.join("search.db-wal")];
    assert!(!found(&copy, &Person::new(7)).is_empty(), "the sink is still to come");
    sleep(Duration::from_millis(300));
    holder.execute_batch("ROLLBACK").expect("let the target go");
    drop(holder);
    cases(&shop, &config, complete(1));
    let places = [search, shop.dir.join("search.db-wal"), shop.dir.join("data")];
    assert_eq!(found(&places, &Person::new(7)), Vec::<String>::new());
    running.stop(PATIENCE);
}

#[test]
fn a_row_that_somebody_brings_back_is_found_and_goes_again() {
    let (shop, config) = shop("erasure-again", PEOPLE);
    let yaml = fs::read_to_string(&config).expect("read the configuration");
    let kind = "subject: {topic: shop.public.users, key: id}\n";
    let strict = format!("{kind}    verify_every: 1s\n    overdue: not_ready\n");
    fs::write(&config, yaml.replace(kind, &strict)).expect("write it");
    let path = config.to_str().expect("UTF-8");
    let search = shop.dir.join("search.db");
    let mut running = filled(&shop, &config, PEOPLE);
    shop.sql.execute("DELETE FROM users WHERE id = 7");
    cases(&shop, &config, complete(1));
    // Another program writes the person into the target again.
    let other = Connection::open(&search).expect("open the target");
    other.busy_timeout(Duration::from_secs(10)).expect("wait for the sink");
    other.execute("INSERT INTO people(id, email) VALUES (7, 'back@post.example')", []).expect("write a row");
    cases(&shop, &config, |cases| cases[0]["state"] == "violated");
    let (code, why) = http::get(&config, "/readyz").expect("an answer");
    assert!(code == 503 && why.contains("does not hold any more"), "{code} {why}");
    assert_eq!(http::metric(&config, "millstream_erasures_violated"), Some(1.0));
    // Asked for again, it is the same case, and holds again.
    millstream(shop.dir.path(), &["erase", path, "users", "7"]).expect(0);
    cases(&shop, &config, complete(1));
    assert_eq!(sqlite::value(&search, "SELECT count(*) FROM people WHERE id = 7").as_deref(), Some("0"));
    running.stop(PATIENCE);
}
