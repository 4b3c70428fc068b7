//! SIGKILL at any step of a case: of the case itself, a cascade, a receipt, a purge. Every case ends, once and whole.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value as Json;

use super::everywhere::{cases, equal, filled, places, shop};
use super::person::{Person, found};
use crate::support::command::millstream;
use crate::support::seed::Rng;
use crate::support::shop::PATIENCE;
use crate::support::sqlite;

const KILLS: u64 = 60;
const PEOPLE: i64 = 3_000;

/// Every target gave one receipt, which is true.
fn is_whole(case: &Json) {
    let targets = case["targets"].as_array().expect("targets");
    let names: Vec<_> = targets.iter().map(|target| target["target"].as_str().expect("a name")).collect();
    assert_eq!(names, ["billing", "log", "search"], "{case}");
    for target in targets {
        assert_eq!(target["state"], "final", "{case}");
        assert_eq!(target["receipt"]["verified"], true, "{case}");
    }
    // The invoice was set exactly once, and the receipt that says so was not lost to a repetition.
    let steps = targets[0]["receipt"]["steps"].as_array().expect("steps");
    assert_eq!(steps[0]["rows"], 1, "{case}");
}

#[test]
fn killed_at_any_moment_every_case_ends_once_and_whole() {
    let mut rng = Rng::of_test("erasure::kills");
    let (shop, config) = shop("erasure-kills", PEOPLE);
    // Many small segments, so that a purge has many files to be killed in.
    let yaml = fs::read_to_string(&config).expect("read the configuration");
    fs::write(&config, yaml.replace("path: ./data", "path: ./data, segment_size: 64KiB")).expect("write it");
    let mut running = filled(&shop, &config, PEOPLE);
    let mut gone = BTreeSet::new();
    for _ in 0..KILLS {
        for _ in 0..rng.in_range(1..6) {
            let id = rng.in_range(1..PEOPLE as u64) as i64;
            shop.sql.execute(&format!(
                "UPDATE users SET phone = '+9' WHERE id = {id}; DELETE FROM users WHERE id = {id};
                 UPDATE orders SET item = item || '.' WHERE id % 97 = {}",
                id % 97
            ));
            gone.insert(id);
            sleep(Duration::from_millis(rng.below(15)));
        }
        // A purge begins a second or two after the receipts: some lives are long enough for one.
        sleep(Duration::from_millis(if rng.chance(20) { rng.below(1_500) } else { rng.below(250) }));
        running.kill();
        running = shop.run(&config);
    }
    let done =
        |cases: &[Json]| cases.len() == gone.len() && cases.iter().all(|case| case["state"] == "completed");
    let cases = cases(&shop, &config, done);
    let hashes: BTreeSet<_> = cases.iter().map(|case| case["key_hash"].to_string()).collect();
    assert_eq!(hashes.len(), gone.len(), "one case each");
    cases.iter().for_each(is_whole);
    let billing = shop.dir.join("billing.db");
    let places = places(&shop);
    let wanted = "SELECT id, email, name, phone FROM users ORDER BY id";
    running.wait_until("the last changes are there", PATIENCE, || {
        let there = sqlite::rows(&billing, "SELECT count(*), sum(length(item)) FROM orders");
        shop.sql.query_text("SELECT count(*), sum(length(item)) FROM orders") == there
    });
    equal(&shop, wanted, &billing, "customers");
    equal(&shop, "SELECT id, email FROM users ORDER BY id", &shop.dir.join("search.db"), "people");
    for id in gone.iter().take(40) {
        assert_eq!(found(&places, &Person::new(*id)), Vec::<String>::new());
    }
    // The chain of the ledger is whole.
    let path = config.to_str().expect("UTF-8");
    for case in cases.iter().step_by(20) {
        let id = case["id"].as_str().expect("an id");
        let certificate =
            millstream(shop.dir.path(), &["erasures", path, "certificate", id]).expect(0).stdout;
        let file = shop.dir.write("certificate.json", &certificate);
        millstream(shop.dir.path(), &["erasures", "verify", file.to_str().expect("UTF-8")]).expect(0);
    }
    running.stop(PATIENCE);
}
