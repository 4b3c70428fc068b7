//! The fence (I11): no way leads back for an erased person, except the person's own.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use rusqlite::Connection;

use super::everywhere::{cases, complete, shop};
use super::person::{Person, found, insert};
use crate::support::command::{millstream, millstream_fed};
use crate::support::http;
use crate::support::shop::PATIENCE;
use crate::support::sqlite;

const PEOPLE: i64 = 300;

#[test]
fn no_replay_repair_letter_or_old_copy_brings_a_person_back() {
    let (shop, config) = shop("erasure-back", PEOPLE);
    let path = config.to_str().expect("UTF-8");
    let say = |args: &[&str]| {
        let args: Vec<_> = args.iter().map(|arg| if *arg == "CONFIG" { path } else { arg }).collect();
        millstream(shop.dir.path(), &args)
    };
    let (billing, search) = (shop.dir.join("billing.db"), shop.dir.join("search.db"));
    let customers =
        |id: i64| sqlite::value(&billing, &format!("SELECT count(*) FROM customers WHERE id = {id}"));
    let mut running = shop.run(&config);
    running.wait_until("the copies are there", PATIENCE, || {
        sqlite::value(&billing, "SELECT count(*) FROM invoices") == Some(PEOPLE.to_string())
            && sqlite::value(&search, "SELECT count(*) FROM people") == Some(PEOPLE.to_string())
    });
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
    let letters = || http::metric(&config, "millstream_sink_dead_letters{sink=\"billing\"}");
    running.wait_until("a dead letter is there", PATIENCE, || letters() == Some(1.0));
    running.stop(PATIENCE);
    fs::copy(&billing, shop.dir.join("old.db")).expect("keep an old copy");
    running = shop.run(&config);

    // Person 8 is erased while its row is still in the source: nobody deletes it there.
    let asked =
        millstream_fed(shop.dir.path(), &["erase", path, "users", "-", "--wait", "--json"], "8\n").expect(0);
    assert_eq!(asked.json()["state"], "completed");
    let again = say(&["erase", "CONFIG", "users", "8", "--json"]).expect(0).json();
    assert_eq!(again["case"], asked.json()["id"], "asking twice is one case");
    shop.sql.execute("DELETE FROM users WHERE id = 9");
    cases(&shop, &config, complete(2));
    assert_eq!((customers(8).as_deref(), customers(9).as_deref()), (Some("0"), Some("0")));
    assert_eq!(letters(), Some(0.0), "the letter went with its person");
    let places: Vec<_> = ["data", "billing.db", "billing.db-wal", "search.db", "search.db-wal"]
        .iter()
        .map(|place| shop.dir.join(place))
        .collect();
    for id in [8, 9] {
        assert_eq!(found(&places, &Person::new(id)), Vec::<String>::new());
    }

    // An update at the source, and the orders of the person.
    shop.sql.execute(
        "UPDATE users SET phone = '+8' WHERE id = 8; UPDATE orders SET item = 'x' WHERE user_id = 8",
    );
    // A repair reads the source again.
    say(&["verify", "CONFIG", "billing", "--table", "customers", "--repair"]);
    // A replay of everything that the log holds.
    say(&["offsets", "CONFIG", "reset", "billing", "--to", "earliest"]).expect(0);
    say(&["dead-letters", "CONFIG", "retry", "billing", "--all"]);
    shop.sql.execute("UPDATE users SET phone = 'last' WHERE id = 1");
    let last =
        || sqlite::value(&billing, "SELECT phone FROM customers WHERE id = 1").as_deref() == Some("last");
    running.wait_until("the replay is over", PATIENCE, last);
    for id in [8, 9] {
        assert_eq!(customers(id).as_deref(), Some("0"));
        assert_eq!(found(&places, &Person::new(id)), Vec::<String>::new());
        let orders = format!("SELECT count(*) FROM orders WHERE user_id = {id}");
        assert_eq!(sqlite::value(&billing, &orders).as_deref(), Some("0"));
    }
    assert!(http::metric(&config, "millstream_erasures_kept_out_total").is_some_and(|count| count > 0.0));

    // A copy from before, put back from a backup.
    running.stop(PATIENCE);
    for file in ["billing.db-wal", "billing.db-shm"] {
        let _ = fs::remove_file(shop.dir.join(file));
    }
    fs::copy(shop.dir.join("old.db"), &billing).expect("put the old copy back");
    assert_eq!(customers(8).as_deref(), Some("1"), "the old copy has them");
    running = shop.run(&config);
    running.wait_until("the old copy is as it should be", PATIENCE, || {
        last() && customers(8).as_deref() == Some("0")
    });
    assert_eq!(customers(9).as_deref(), Some("0"));

    // A new copy of the source: the slot is gone, and so is what the log knew of the position.
    insert(&shop.sql, 9);
    running.wait_until("the person's own way back", PATIENCE, || customers(9).as_deref() == Some("1"));
    assert_eq!(customers(8).as_deref(), Some("0"));
    shop.sql.execute("DELETE FROM users WHERE id = 9");
    cases(&shop, &config, complete(3));
    assert_eq!(customers(9).as_deref(), Some("0"));
    running.stop(PATIENCE);
}

#[test]
fn a_sink_that_is_down_erases_when_it_is_back_and_the_log_does_not_wait() {
    let (shop, config) = shop("erasure-down", PEOPLE);
    let search = shop.dir.join("search.db");
    let mut running = shop.run(&config);
    running.wait_until("the copies are there", PATIENCE, || {
        sqlite::value(&search, "SELECT count(*) FROM people") == Some(PEOPLE.to_string())
            && sqlite::value(&shop.dir.join("billing.db"), "SELECT count(*) FROM invoices")
                == Some(PEOPLE.to_string())
    });
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
