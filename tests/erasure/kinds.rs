//! One person leaves five kinds of targets at once: each erases in its own way, and each gives its receipt.

use std::fs;

use super::everywhere::cases;
use super::person::settle;
use crate::fanout::fan::{ALL, Fan, Kind};
use crate::support::command::millstream;
use crate::support::http;
use crate::support::shop::PATIENCE;
use crate::support::sqlite;
use crate::support::webhook::Mood;

const PEOPLE: i64 = 200;

/// What the targets that keep rows do.
const STEPS: &str = r#"
        - {table: invoices, match: user_id, action: {set: {name: null, email: {hash: key}}}, reason: "tax law, 10 years"}
        - {table: orders, match: user_id, action: delete}
        - {table: users, match: id, action: delete}
"#;

/// Customers, orders, and names on invoices that are left of a person in a copy.
fn left(fan: &Fan, kind: Kind, id: i64) -> String {
    let sql = format!(
        "SELECT (SELECT count(*) FROM users WHERE id = {id}), (SELECT count(*) FROM orders WHERE user_id = {id}),
         (SELECT count(*) FROM invoices WHERE user_id = {id} AND name IS NOT NULL), (SELECT count(*) FROM invoices WHERE user_id = {id})"
    );
    let text = |row: Vec<Option<String>>| row.into_iter().flatten().collect::<Vec<_>>().join(" ");
    match kind {
        Kind::Postgres => fan.postgres.session("billing").query_text(&sql).into_iter().map(text).collect(),
        Kind::MariaDb => fan.mariadb.session("warehouse").query_text(&sql).into_iter().map(text).collect(),
        Kind::Sqlite => sqlite::rows(&fan.shop.dir.join("file.db"), &sql).into_iter().map(text).collect(),
        Kind::Redis | Kind::Webhook => unreachable!("they are asked in their own way"),
    }
}

/// A system that needs time says so, and confirms later.
fn confirmed_later(fan: &Fan) {
    fan.hook.set(Mood { status: Some(202), ..Mood::default() });
    fan.shop.sql.execute("DELETE FROM users WHERE id = 43");
    let waits = |cases: &[serde_json::Value]| {
        cases.len() == 2 && cases[0]["waits_for"] == serde_json::json!(["hook", "log"])
    };
    let open = cases(&fan.shop, &fan.config, waits);
    let path = format!("/api/erasures/{}/receipts/hook", open[0]["id"].as_str().expect("an id"));
    let wrong = http::post(&fan.config, &path, r#"{"left": 3}"#).expect("an answer");
    assert_eq!(wrong.0, 400, "{wrong:?}");
    let right = http::post(&fan.config, &path, r#"{"rows": 5, "by": "ticket 17"}"#).expect("an answer");
    assert_eq!(right, (200, "{\"count\":1}".to_owned()));
    cases(&fan.shop, &fan.config, |cases| cases.iter().all(|case| case["state"] == "completed"));
}

#[test]
fn a_person_leaves_every_kind_of_target() {
    let Some(fan) = Fan::new("erasure") else { return };
    fan.shop.sql.execute("DROP TABLE accounts, orders, \"order lines\", products");
    settle(&fan.shop.sql, PEOPLE);
    let rules: String = ALL
        .iter()
        .map(|kind| match kind {
            Kind::Webhook => format!("      {}: notify\n", kind.sink()),
            kind => format!("      {}:{STEPS}", kind.sink()),
        })
        .collect();
    let yaml = fs::read_to_string(&fan.config).expect("read the configuration");
    let erasure = format!(
        "erasure:\n  users:\n    subject: {{topic: shop.public.users, key: id}}\n    sinks:\n{rules}"
    );
    fs::write(&fan.config, yaml + &erasure).expect("write the configuration");
    let config = fan.config.to_str().expect("UTF-8");
    let mut running = fan.shop.run(&fan.config);
    running.wait_until("the copies are there", PATIENCE, || {
        let lag = |kind: &Kind| {
            http::metric(&fan.config, &format!("millstream_sink_lag_records{{sink=\"{}\"}}", kind.sink()))
        };
        let end = http::metric(
            &fan.config,
            "millstream_topic_end_records{topic=\"shop.public.invoices\",partition=\"0\"}",
        )
        .or_else(|| {
            http::metric(&fan.config, "millstream_topic_end_records{topic=\"shop.public.invoices\"}")
        });
        end == Some(PEOPLE as f64) && ALL.iter().all(|kind| lag(kind) == Some(0.0))
    });
    for kind in [Kind::Postgres, Kind::MariaDb, Kind::Sqlite] {
        assert_eq!(left(&fan, kind, 42), "1 2 1 1", "{kind:?}");
    }
    let held =
        millstream(fan.shop.dir.path(), &["subject", config, "users", "42", "--export"]).expect(0).json();
    for kind in [Kind::Postgres, Kind::MariaDb, Kind::Redis, Kind::Sqlite] {
        let tables = &held["sinks"][kind.sink()];
        assert_eq!(tables["orders"].as_array().map(Vec::len), Some(2), "{kind:?}: {held}");
        assert!(tables["users"].to_string().contains("mail000042x@post.example"), "{kind:?}: {held}");
    }
    assert!(held["log"].to_string().contains("mail000042x@post.example"));

    fan.shop.sql.execute("DELETE FROM users WHERE id = 42");
    let done = |cases: &[serde_json::Value]| cases.len() == 1 && cases[0]["state"] == "completed";
    let found = cases(&fan.shop, &fan.config, done);
    let targets = found[0]["targets"].as_array().expect("targets");
    assert_eq!(targets.len(), ALL.len() + 1, "{found:?}");
    for kind in [Kind::Postgres, Kind::MariaDb, Kind::Sqlite] {
        assert_eq!(left(&fan, kind, 42), "0 0 0 1", "{kind:?}");
        assert_eq!(left(&fan, kind, 41), "1 2 1 1", "{kind:?}");
    }
    let held = millstream(fan.shop.dir.path(), &["subject", config, "users", "42", "--export"]).expect(0);
    assert!(
        !held.stdout.contains("mail000042x") && !held.stdout.contains("Gertrude000042"),
        "{}",
        held.stdout
    );
    let told: Vec<_> = fan.hook.taken().into_iter().flat_map(|taken| taken.events).collect();
    let told: Vec<_> = told.iter().filter(|event| event["type"] == "millstream.erasure").collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["case"], found[0]["id"]);

    confirmed_later(&fan);
    millstream(fan.shop.dir.path(), &["erasures", config, "audit"]).expect(0).prints(&["whole"]);
    running.stop(PATIENCE);
}
