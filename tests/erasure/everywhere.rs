//! One person of many is deleted in the source, and leaves every copy, the log and every file.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value as Json;

use super::person::{Person, found, insert, settle};
use crate::support::command::{millstream, until_caught_up};
use crate::support::process::Millstream;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

const PEOPLE: i64 = 2_000;

const SINKS: &str = r#"  billing:
    type: sqlite
    path: ./billing.db
    tables:
      - {topic: shop.public.users, table: customers}
      - {topic: shop.public.orders}
      - {topic: shop.public.invoices}
  search:
    type: sqlite
    path: ./search.db
    tables: [{topic: shop.public.users, table: people, columns: {id: id, email: email}}]
erasure:
  users:
    subject: {topic: shop.public.users, key: id}
    sinks:
      billing:
        - {table: invoices, match: user_id, action: {set: {name: null, email: {hash: key}}}, reason: "tax law, 10 years"}
        - {table: orders, match: user_id, action: delete}
        - {table: customers, match: id, action: delete}
      search:
        - {table: people, match: id, action: delete}
"#;

pub fn shop(name: &str, people: i64) -> (Shop, PathBuf) {
    let shop = Shop::new(name);
    settle(&shop.sql, people);
    let config = shop.config("tables: [\"public.*\"]", SINKS);
    (shop, config)
}

/// Runs until every table of every copy has these many people's rows.
pub fn filled(shop: &Shop, config: &Path, people: i64) -> Millstream {
    let mut running = shop.run(config);
    let all = |file: &str, table: &str, rows: i64| {
        sqlite::value(&shop.dir.join(file), &format!("SELECT count(*) FROM {table}"))
            == Some(rows.to_string())
    };
    running.wait_until("the copies are there", PATIENCE, || {
        all("billing.db", "customers", people)
            && all("billing.db", "orders", 2 * people)
            && all("billing.db", "invoices", people)
            && all("search.db", "people", people)
    });
    running
}

/// Everything that may hold bytes of a person, beside the source.
pub fn places(shop: &Shop) -> Vec<PathBuf> {
    let names = ["data", "billing.db", "billing.db-wal", "search.db", "search.db-wal"];
    names.iter().map(|name| shop.dir.join(name)).collect()
}

/// Asks until a case is as wanted.
pub fn cases(shop: &Shop, config: &Path, wanted: impl Fn(&[Json]) -> bool) -> Vec<Json> {
    let begun = std::time::Instant::now();
    loop {
        let said =
            millstream(shop.dir.path(), &["erasures", config.to_str().expect("UTF-8"), "list", "--json"]);
        let cases = if said.code == Some(0) {
            serde_json::from_str::<Vec<Json>>(&said.stdout).expect("a list")
        } else {
            Vec::new()
        };
        if wanted(&cases) {
            return cases;
        }
        assert!(begun.elapsed() < PATIENCE, "{said:?}");
        sleep(Duration::from_millis(100));
    }
}

pub fn complete(count: usize) -> impl Fn(&[Json]) -> bool {
    move |cases| cases.len() == count && cases.iter().all(|case| case["state"] == "completed")
}

/// Panics unless the query gives the same of `table` in the target as of `users` in the source.
pub fn equal(shop: &Shop, sql: &str, target: &Path, table: &str) {
    let there = sqlite::rows(target, &sql.replace("users", table));
    assert_eq!(shop.sql.query_text(sql), there);
}

#[test]
fn a_deleted_person_leaves_every_copy_and_the_log() {
    let (shop, config) = shop("erasure", PEOPLE);
    let mut running = filled(&shop, &config, PEOPLE);
    let count = |file: &str, sql: &str| sqlite::value(&shop.dir.join(file), sql);
    let places = places(&shop);
    let person = Person::new(777);
    assert!(found(&places, &person).len() >= 6, "the search finds what is there");

    // An earlier state of the row leaves bytes too.
    shop.sql.execute("UPDATE users SET phone = '+1' WHERE id = 777");
    shop.sql.execute("DELETE FROM users WHERE id = 777");
    let cases = cases(&shop, &config, complete(1));
    assert_eq!(cases[0]["subject"], "users");
    assert_eq!(cases[0]["trigger"], "deleted");

    let billing = shop.dir.join("billing.db");
    assert_eq!(
        sqlite::value(&billing, "SELECT count(*) FROM customers WHERE id = 777").as_deref(),
        Some("0")
    );
    assert_eq!(
        sqlite::value(&billing, "SELECT count(*) FROM orders WHERE user_id = 777").as_deref(),
        Some("0")
    );
    // Kept for the tax office, without the person.
    let invoice = sqlite::rows(&billing, "SELECT name, email, total FROM invoices WHERE user_id = 777");
    assert_eq!(invoice[0][0], None);
    assert_eq!(invoice[0][1].as_deref(), cases[0]["key_hash"].as_str());
    assert_eq!(invoice[0][2].as_deref(), Some("1165.5"));
    assert_eq!(found(&places, &person), Vec::<String>::new());
    // Others are as they were.
    equal(&shop, "SELECT id, email, name, phone FROM users ORDER BY id", &billing, "customers");
    assert!(!found(&places, &Person::new(776)).is_empty() && !found(&places, &Person::new(778)).is_empty());

    // The certificate is signed, whole, and says nothing personal.
    let (id, path) = (cases[0]["id"].as_str().expect("an id"), config.to_str().expect("UTF-8"));
    let certificate = millstream(shop.dir.path(), &["erasures", path, "certificate", id]).expect(0).stdout;
    let file = shop.dir.write("certificate.json", &certificate);
    millstream(shop.dir.path(), &["erasures", "verify", file.to_str().expect("UTF-8")]).expect(0);
    assert_eq!(found(&[file], &person), Vec::<String>::new());
    let page = millstream(shop.dir.path(), &["erasures", path, "certificate", id, "--html"]).expect(0).stdout;
    assert!(page.contains("tax law, 10 years"), "{page}");

    // A person who comes back is a new one.
    insert(&shop.sql, 777);
    running.wait_until("the new row is there", PATIENCE, || {
        count("billing.db", "SELECT count(*) FROM customers WHERE id = 777").as_deref() == Some("1")
    });
    running.stop(PATIENCE);
    // What happened while nothing ran, and a sink that begins anew, end the same.
    shop.sql.execute("DELETE FROM users WHERE id = 5");
    std::fs::remove_file(shop.dir.join("search.db")).expect("remove a copy");
    until_caught_up(shop.dir.path(), &config).expect(0);
    // Such a run ends with the log purged.
    assert_eq!(found(&places, &Person::new(5)), Vec::<String>::new());
    self::cases(&shop, &config, complete(2));
    let search = shop.dir.join("search.db");
    assert_eq!(sqlite::value(&search, "SELECT count(*) FROM people WHERE id = 5").as_deref(), Some("0"));
    assert_eq!(sqlite::value(&search, "SELECT count(*) FROM people WHERE id = 777").as_deref(), Some("1"));
    equal(&shop, "SELECT id, email FROM users ORDER BY id", &search, "people");
}
