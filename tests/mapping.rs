//! Mapping from end to end, on a real server into a real SQLite file: the same rules in the copy and in the stream, through
//! stops and kills, against what the source itself says they should give.

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::support::command::millstream;
use crate::support::http;
use crate::support::postgres::Options;
use crate::support::seed::Rng;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

const TABLES: &str = "
    CREATE TABLE users(id bigint PRIMARY KEY, email text NOT NULL, name text, plan text NOT NULL, age int,
        balance numeric(12,2) NOT NULL, profile jsonb, bio text, created timestamptz NOT NULL);
    ALTER TABLE users ALTER bio SET STORAGE EXTERNAL;
    CREATE TABLE partners(LIKE users INCLUDING ALL);
    CREATE TABLE logins(id bigint PRIMARY KEY, name text NOT NULL, hits int NOT NULL);
    ALTER TABLE logins REPLICA IDENTITY FULL;";

const SINKS: &str = r#"
  one:
    type: sqlite
    path: ./one.db
    tables:
      - topic: shop.public.users
        table: customers
        where: row.plan != 'free' && (row.age == null || row.age >= 18)
        exclude: [profile, bio]
        computed:
          shop: "'main'"
          label: row.name + ' <' + row.email.lowerAscii() + '>'
          twice: row.balance * 2
          city: row.profile.address.city
          score: {value: row.profile.score, type: int}
          year: row.created.getFullYear()
        key: [shop, id]
      - topic: shop.public.partners
        table: customers
        exclude: [profile, bio]
        computed:
          shop: "'partner'"
          label: row.name
          twice: row.balance * 2
          city: row.profile.address.city
          score: {value: row.profile.score, type: int}
          year: row.created.getFullYear()
        key: [shop, id]
      - topic: shop.public.users
        table: kept
        columns: {id: id, plan: plan, email: email}
        on_delete: {set: {deleted: true, email: null}}
      - topic: shop.public.logins
        columns: {name: login, hits: hits}
        key: [login]
    apply: APPLY
"#;

/// What the source says the table of customers is.
const CUSTOMERS: &str = "SELECT * FROM (
    SELECT 'main' AS shop, id, email, name, plan, age, balance, name || ' <' || lower(email) || '>' AS label,
        balance * 2 AS twice, profile -> 'address' ->> 'city' AS city, (profile ->> 'score')::int AS score,
        extract(year FROM created AT TIME ZONE 'UTC')::int AS year
    FROM users WHERE plan <> 'free' AND (age IS NULL OR age >= 18)
    UNION ALL
    SELECT 'partner', id, email, name, plan, age, balance, name, balance * 2, profile -> 'address' ->> 'city',
        (profile ->> 'score')::int, extract(year FROM created AT TIME ZONE 'UTC')::int
    FROM partners) all_rows ORDER BY shop, id";

const CUSTOMERS_THERE: &str = "SELECT shop, id, email, name, plan, age, balance, label, twice, city, score, year FROM customers ORDER BY shop, id";

fn shop(name: &str) -> (Shop, PathBuf) {
    let shop = Shop::on(name, Options::new());
    shop.sql.execute(TABLES);
    for table in ["users", "partners"] {
        shop.sql.execute(&format!(
            "INSERT INTO {table} SELECT i, 'User' || i || '@Example.org', CASE WHEN i % 7 > 0 THEN 'User ' || i END,
                 (ARRAY['free', 'pro', 'team'])[1 + i % 3], CASE WHEN i % 5 > 0 THEN i % 60 END, i * 1.25,
                 CASE WHEN i % 4 > 0 THEN jsonb_build_object('score', i, 'address', jsonb_build_object('city', 'City ' || i % 9)) END,
                 repeat('x' || i, 3000), '2019-12-31 23:30:00+00'::timestamptz + i * interval '1 hour'
             FROM generate_series(1, 400) i"
        ));
    }
    shop.sql.execute("INSERT INTO logins SELECT i, 'login' || i, i FROM generate_series(1, 100) i");
    let config = shop.config("tables: [\"public.*\"]", &SINKS.replace("APPLY", "transactional"));
    (shop, config)
}

/// Everything that changes: values, conditions, keys, and rows.
fn change(shop: &Shop, rng: &mut Rng, next: &mut u64) {
    let table = if rng.below(3) == 0 { "partners" } else { "users" };
    let id = 1 + rng.below(400);
    *next += 1;
    let sql = match rng.below(12) {
        0 => format!(
            "INSERT INTO {table} VALUES ({next}, 'New', 'New {next}', 'pro', NULL, 1.5, '{{\"score\": 3}}', NULL, now())"
        ),
        1 => format!("DELETE FROM {table} WHERE id = {id}"),
        2 => format!("UPDATE {table} SET id = {next} WHERE id = {id}"),
        3 => format!("UPDATE {table} SET id = {next}, plan = 'free', age = 20 WHERE id = {id}"),
        4 => format!("UPDATE {table} SET id = {next}, plan = 'pro', age = 20 WHERE id = {id}"),
        5 => format!("UPDATE {table} SET plan = 'free' WHERE id % 37 = {}", rng.below(37)),
        6 => format!("UPDATE {table} SET plan = 'team', age = age + 1 WHERE id % 37 = {}", rng.below(37)),
        7 => format!(
            "UPDATE {table} SET profile = jsonb_set(coalesce(profile, '{{}}'), '{{score}}', '{next}') WHERE id = {id}"
        ),
        8 => format!("UPDATE {table} SET age = NULL, name = NULL WHERE id = {id}"),
        9 => format!("UPDATE logins SET name = 'renamed{next}' WHERE id = {}", 1 + rng.below(100)),
        10 => format!(
            "BEGIN; UPDATE logins SET id = id + 100000 WHERE id = {0}; DELETE FROM logins WHERE id = {1}; COMMIT",
            1 + rng.below(100),
            1 + rng.below(100)
        ),
        _ => {
            format!("UPDATE logins SET hits = hits + 1, name = name || 'x' WHERE id % 11 = {}", rng.below(11))
        }
    };
    shop.sql.execute(&sql);
}

fn equal(shop: &Shop) {
    let target = shop.target();
    let (wanted, found) = (shop.sql.query_text(CUSTOMERS), sqlite::rows(&target, CUSTOMERS_THERE));
    assert!(wanted.len() > 300, "{}", wanted.len());
    assert_eq!(wanted.len(), found.len(), "customers");
    for (wanted, found) in wanted.iter().zip(&found) {
        assert_eq!(wanted, found);
    }
    let logins = "SELECT name, hits FROM logins ORDER BY name COLLATE \"C\"";
    let there = "SELECT login, hits FROM logins ORDER BY login";
    assert_eq!(shop.sql.query_text(logins), sqlite::rows(&target, there));
    let kept = "SELECT id, plan, email FROM users ORDER BY id";
    let alive = "SELECT id, plan, email FROM kept WHERE NOT deleted ORDER BY id";
    assert_eq!(shop.sql.query_text(kept), sqlite::rows(&target, alive));
    let half = "SELECT count(*) FROM kept WHERE deleted AND email IS NOT NULL";
    assert_eq!(sqlite::value(&target, half).as_deref(), Some("0"));
}

#[test]
fn rules_give_in_copy_and_stream_what_the_source_says() {
    let (shop, config) = shop("mapping");
    shop.catch_up(&config);
    equal(&shop);
    let mut rng = Rng::of_test("mapping");
    let mut next = 10_000;
    for _ in 0..3 {
        (0..120).for_each(|_| change(&shop, &mut rng, &mut next));
        shop.catch_up(&config);
        equal(&shop);
    }
    let dead = sqlite::value(&shop.target(), "SELECT count(*) FROM kept WHERE deleted").unwrap();
    assert!(dead.parse::<u64>().unwrap() > 0, "some rows were deleted, and stay");
    // A truncate of the topic that has its tables for itself; the rows that were kept are marked.
    shop.sql.execute("TRUNCATE logins");
    shop.catch_up(&config);
    assert_eq!(sqlite::value(&shop.target(), "SELECT count(*) FROM logins").as_deref(), Some("0"));
    // Every rule fits, and whole old rows are asked for where they are needed.
    let said = millstream(shop.dir.path(), &["check", "millstream.yaml"]);
    said.prints(&[
        "note[mapping-old-rows]",
        r#"ALTER TABLE "public"."logins" REPLICA IDENTITY FULL;"#,
        "0 errors",
    ]);
}

#[test]
fn kills_in_copy_and_stream_change_nothing_of_what_rules_give() {
    for apply in ["transactional", "batched"] {
        let (shop, _) = shop(&format!("mapping-{apply}"));
        let config = shop.config("tables: [\"public.*\"]", &SINKS.replace("APPLY", apply));
        let mut rng = Rng::of_test(apply);
        let mut next = 10_000;
        for _ in 0..12 {
            let mut running = shop.run(&config);
            for _ in 0..10 + rng.below(40) {
                change(&shop, &mut rng, &mut next);
            }
            sleep(Duration::from_millis(rng.below(250)));
            assert!(running.is_running(), "it ended by itself: {}", running.stderr());
            running.kill();
        }
        // One transaction of many deliveries.
        shop.sql.execute("UPDATE users SET bio = bio || 'y'; UPDATE users SET id = id + 1000000, plan = 'pro' WHERE id % 2 = 0");
        let mut running = shop.run(&config);
        sleep(Duration::from_millis(300));
        running.kill();
        shop.catch_up(&config);
        mend_copies(&shop, &config);
        equal(&shop);
        assert_eq!(letters(&shop), [""; 0]);
        // From here on only the stream is interrupted.
        for _ in 0..6 {
            let mut running = shop.run(&config);
            for _ in 0..10 + rng.below(40) {
                change(&shop, &mut rng, &mut next);
            }
            sleep(Duration::from_millis(rng.below(250)));
            running.kill();
        }
        shop.catch_up(&config);
        equal(&shop);
        assert_eq!(letters(&shop), [""; 0]);
    }
}

/// What the dead letters of the sink say.
fn letters(shop: &Shop) -> Vec<String> {
    let args = ["dead-letters", "millstream.yaml", "list", "one", "--json"];
    let said = millstream(shop.dir.path(), &args).expect(0).json();
    said.as_array().expect("a list").iter().map(|letter| letter["error"].to_string()).collect()
}

/// Does what the letter of a copy that began again asks for: several topics share the table, so it was not emptied.
fn mend_copies(shop: &Shop, config: &Path) {
    let said = letters(shop);
    if said.is_empty() {
        return;
    }
    let expected = "its copy was interrupted and began again";
    assert!(said.iter().all(|error| error.contains(expected) && error.contains("customers")), "{said:?}");
    let target = rusqlite::Connection::open(shop.target()).expect("open the target");
    target.busy_timeout(Duration::from_secs(10)).expect("set the busy timeout");
    let keys = |rows: Vec<Vec<Option<String>>>| -> Vec<_> {
        rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
    };
    let wanted = keys(shop.sql.query_text(CUSTOMERS));
    for (origin, id) in keys(sqlite::rows(&shop.target(), CUSTOMERS_THERE)) {
        if !wanted.contains(&(origin.clone(), id.clone())) {
            target.execute("DELETE FROM customers WHERE shop = ? AND id = ?", [origin, id]).expect("delete");
        }
    }
    let mut running = shop.run(config);
    running.wait_until("it is ready", PATIENCE, || {
        http::get(config, "/readyz").is_some_and(|(code, _)| code == 200)
    });
    let args = ["dead-letters", "millstream.yaml", "drop", "one", "--all"];
    millstream(shop.dir.path(), &args).expect(0);
    running.stop(PATIENCE);
}

#[test]
fn what_does_not_fit_a_topic_is_found_with_its_line() {
    let (shop, config) = shop("misfits");
    shop.catch_up(&config);
    let sinks = "
  one:
    type: sqlite
    path: ./two.db
    tables:
      - topic: shop.public.users
        table: customers
        where: >-
          row.plan != 'free'
          && row.ages > 18
        computed:
          broken: \"row.balance + row.name\"
";
    shop.config("tables: [\"public.*\"]", sinks);
    let said = millstream(shop.dir.path(), &["check", "millstream.yaml"]).expect(3);
    said.prints(&[
        "error[mapping]",
        "topic shop.public.users (millstream.yaml:17:",
        "computed.broken column 13",
    ]);
    shop.config("tables: [\"public.*\"]", &sinks.replace("row.balance + row.name", "1"));
    let said = millstream(shop.dir.path(), &["check", "millstream.yaml"]).expect(3);
    said.prints(&[
        "no column `ages` in public.users",
        "millstream.yaml:15:",
        "mend it with: its columns are id, email",
    ]);
}

#[test]
fn a_key_that_needs_whole_old_rows_stops_at_the_first_change_without_them() {
    let (shop, config) = shop("identity");
    shop.sql.execute("ALTER TABLE logins REPLICA IDENTITY DEFAULT");
    shop.catch_up(&config);
    shop.sql.execute("UPDATE logins SET hits = 0 WHERE id = 1");
    let mut running = shop.run(&config);
    let wanted = r#"ALTER TABLE "public"."logins" REPLICA IDENTITY FULL;"#;
    running.wait_until("it says what to do", PATIENCE, || {
        running_stderr(&shop).contains(&wanted.replace('"', "\\\"")) || running_stderr(&shop).contains(wanted)
    });
    running.kill();
}

fn running_stderr(shop: &Shop) -> String {
    std::fs::read_to_string(shop.dir.join("run.err")).unwrap_or_default()
}
