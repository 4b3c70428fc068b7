//! One target has trouble: the others stay current (I10), everybody can see it, and it ends by itself when the target
//! is well again.

use std::time::{Duration, Instant};

use crate::fanout::fan::{ALL, Fan, Kind, others};
use crate::support::command::millstream;
use crate::support::http;
use crate::support::process::Millstream;
use crate::support::shop::PATIENCE;
use crate::support::webhook::Mood;
use crate::support::workdir::Workdir;
use crate::support::{postgres, redis};

/// Within a second, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(5);

const CHANGE: &str = "BEGIN; UPDATE accounts SET balance = balance - 1, version = nextval('v') WHERE id = 1;
    UPDATE accounts SET balance = balance + 1, version = nextval('v') WHERE id = 2;
    UPDATE products SET price = price + 1, version = nextval('v') WHERE id < 30;
    DELETE FROM orders WHERE id = (SELECT min(id) FROM orders);
    INSERT INTO orders(id, lines) SELECT max(id) + 1, 0 FROM orders; COMMIT";

fn filled(test: &str) -> Option<(Fan, Millstream)> {
    let fan = Fan::new(test)?;
    fan.fill(100);
    let mut running = fan.shop.run(&fan.config);
    fan.settle(&mut running, ALL);
    fan.ready(&mut running);
    Some((fan, running))
}

/// The one sink is shown as failing everywhere, with `part` in the reason, and the others as running.
fn shown(fan: &Fan, running: &mut Millstream, kind: Kind, part: &str) {
    let (config, name) = (&fan.config, kind.sink());
    let since = Instant::now();
    running.wait_until("it is seen to fail", PATIENCE, || fan.status(kind)["state"] != "running");
    assert!(since.elapsed() < SOON, "{kind:?}: seen after {:?}", since.elapsed());
    running.wait_until("the reason is named", PATIENCE, || {
        let failed = fan.status(kind);
        failed["state"] == "retrying"
            && failed["failure"]["message"].as_str().is_some_and(|message| message.contains(part))
    });
    let (code, reasons) = http::get(config, "/readyz").expect("an answer");
    assert!(code == 503 && reasons.contains(&format!("sink {name} is retrying")), "{reasons}");
    let metric = |sink: &str, state: &str| {
        http::metric(config, &format!("millstream_sink_state{{sink=\"{sink}\",state=\"{state}\"}}"))
    };
    assert_eq!(metric(name, "retrying"), Some(1.0));
    for other in others(kind) {
        assert_eq!(metric(other.sink(), "running"), Some(1.0), "{other:?}");
        assert!(!reasons.contains(&format!("sink {} is", other.sink())), "{reasons}");
    }
    millstream(fan.shop.dir.path(), &["status", "millstream.yaml"])
        .expect(0)
        .prints(&["NOT READY", "retrying"]);
    assert_eq!(fan.status(kind)["dead_letters"], 0, "an outage is no record's fault");
}

/// Changes come while one target is away; then it is back.
fn without(fan: &mut Fan, running: &mut Millstream, kind: Kind, part: &str, back: impl FnOnce(&mut Fan)) {
    fan.shop.sql.execute(CHANGE);
    shown(fan, running, kind, part);
    for _ in 0..3 {
        fan.shop.sql.execute(CHANGE);
        fan.settle(running, &others(kind));
    }
    assert!(fan.status(kind)["lag"]["records"].as_u64() > Some(0), "{}", fan.status(kind));
    back(fan);
    fan.settle(running, ALL);
    fan.ready(running);
    assert!(fan.status(kind)["failure"].is_null());
}

#[test]
fn a_target_that_is_down_delays_nobody_else_and_comes_back() {
    let test = "a_target_that_is_down_delays_nobody_else_and_comes_back";
    let Some((mut fan, mut running)) = filled(test) else { return };
    fan.postgres.crash();
    without(&mut fan, &mut running, Kind::Postgres, "connect", |fan| fan.postgres.start_again());
    fan.mariadb.crash();
    without(&mut fan, &mut running, Kind::MariaDb, "connect", |fan| fan.mariadb.start_again());
    fan.redis.crash();
    without(&mut fan, &mut running, Kind::Redis, "connect", |fan| fan.redis.start_again());
    fan.hook.stop();
    without(&mut fan, &mut running, Kind::Webhook, "", |fan| fan.hook.start_again());
    fan.hook.set(Mood { status: Some(503), ..Mood::default() });
    without(&mut fan, &mut running, Kind::Webhook, "503", |fan| fan.hook.set(Mood::default()));
    running.stop(PATIENCE);
}

#[test]
fn a_target_that_takes_no_writes_is_waited_for() {
    let test = "a_target_that_takes_no_writes_is_waited_for";
    let Some((mut fan, mut running)) = filled(test) else { return };
    let read_only = |fan: &Fan, on: bool| {
        let onoff = if on { "on" } else { "off" };
        fan.postgres.execute(&format!("ALTER DATABASE billing SET default_transaction_read_only = {onoff}"));
        // It holds for new sessions.
        fan.postgres
            .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'billing'");
    };
    read_only(&fan, true);
    without(&mut fan, &mut running, Kind::Postgres, "read-only", |fan| read_only(fan, false));
    fan.mariadb.session("").execute("SET GLOBAL read_only = 1");
    without(&mut fan, &mut running, Kind::MariaDb, "read-only", |fan| {
        fan.mariadb.session("").execute("SET GLOBAL read_only = 0");
    });
    // Redis without memory for more: as a database on a full disk.
    let memory = |fan: &Fan, bytes: &str| {
        redis::Session::connect(&fan.redis.url()).run(&["CONFIG", "SET", "maxmemory", bytes]);
    };
    memory(&fan, "1");
    without(&mut fan, &mut running, Kind::Redis, "memory", |fan| memory(fan, "0"));
    running.stop(PATIENCE);
}

#[test]
fn a_slow_target_is_slow_alone() {
    let Some((fan, mut running)) = filled("a_slow_target_is_slow_alone") else { return };
    fan.hook.set(Mood { delay: Duration::from_millis(700), ..Mood::default() });
    let blocker = fan.postgres.session("billing");
    blocker.execute("BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE");
    let quick = [Kind::MariaDb, Kind::Redis, Kind::Sqlite];
    let since = Instant::now();
    for _ in 0..5 {
        fan.shop.sql.execute(CHANGE);
        fan.settle(&mut running, &quick);
    }
    let took = since.elapsed();
    assert!(took < Duration::from_secs(15), "five changes, one by one: {took:?}");
    assert!(
        fan.status(Kind::Postgres)["lag"]["records"].as_u64() > Some(0),
        "{}",
        fan.status(Kind::Postgres)
    );
    let confirmed = "SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots";
    running.wait_until("the source is confirmed", PATIENCE, || {
        fan.shop.sql.value(confirmed).parse::<i64>().expect("a number") < 100_000
    });
    blocker.execute("ROLLBACK");
    fan.hook.set(Mood::default());
    fan.settle(&mut running, ALL);
    running.stop(PATIENCE);
}

#[test]
fn drift_at_a_target_is_mended_or_named() {
    let Some((fan, mut running)) = filled("drift_at_a_target_is_mended_or_named") else { return };
    let (billing, warehouse) = (fan.postgres.session("billing"), fan.mariadb.session("warehouse"));
    // A column goes: it comes back, and every row that changes has its value again.
    billing.execute("ALTER TABLE products DROP COLUMN price");
    warehouse.execute("ALTER TABLE products DROP COLUMN price");
    fan.shop.sql.execute("UPDATE products SET price = id, version = nextval('v')");
    fan.settle(&mut running, ALL);
    // A table goes: it is made again, with what comes.
    billing.execute("DROP TABLE orders");
    warehouse.execute("DROP TABLE orders");
    fan.shop.sql.execute("UPDATE orders SET version = nextval('v')");
    fan.settle(&mut running, ALL);
    // A column that nobody can fill is for a person.
    billing.execute("ALTER TABLE accounts ADD COLUMN must int NOT NULL DEFAULT 1; ALTER TABLE accounts ALTER COLUMN must DROP DEFAULT");
    fan.shop.sql.execute("INSERT INTO accounts(id, balance) VALUES (5000, 0)");
    running.wait_until("it is seen to fail", PATIENCE, || fan.status(Kind::Postgres)["state"] == "failed");
    let failed = fan.status(Kind::Postgres);
    assert!(
        failed["failure"]["message"].as_str().is_some_and(|message| message.contains("must")),
        "{failed}"
    );
    assert!(failed["failure"]["remedy"].is_string() && failed["dead_letters"] == 0, "{failed}");
    fan.settle(&mut running, &others(Kind::Postgres));
    billing.execute("ALTER TABLE accounts DROP COLUMN must");
    fan.settle(&mut running, ALL);
    running.stop(PATIENCE);
}

#[test]
fn a_second_instance_does_no_harm() {
    let Some((fan, mut running)) = filled("a_second_instance_does_no_harm") else { return };
    // The same configuration with a log of its own, somewhere else.
    let text = std::fs::read_to_string(&fan.config).expect("read the configuration");
    let text = text.replace(&http::address(&fan.config), &format!("127.0.0.1:{}", postgres::free_port()));
    let own = "tables: [\"public.*\"], slot: second, publication: second";
    let text = text.replace("tables: [\"public.*\"]", own);
    // A receiver has no cursor that could refuse it.
    let text: String = text.split_inclusive('\n').filter(|line| !line.starts_with("  hook:")).collect();
    let text = text.replace("./file.db", &fan.shop.dir.join("file.db").display().to_string());
    let other = Workdir::new("second");
    let config = other.write("millstream.yaml", text);
    let mut second = Millstream::run(other.path(), &config);
    for kind in [Kind::Postgres, Kind::MariaDb, Kind::Redis, Kind::Sqlite] {
        let state = || {
            let status = http::status(&config)?;
            let sinks = status["sinks"].as_array()?.clone();
            sinks.into_iter().find(|sink| sink["name"] == kind.sink())
        };
        second.wait_until("it is refused", PATIENCE, || {
            state().is_some_and(|sink| sink["failure"]["remedy"].is_string())
        });
        let failure = state().expect("the service answers")["failure"].clone();
        // PostgreSQL: the first instance holds the sink's lock. The others: the cursor counts records of another log.
        let message = failure["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains("another process") || message.contains("not this log"), "{failure}");
    }
    fan.shop.sql.execute(CHANGE);
    fan.settle(&mut running, ALL);
    for kind in ALL {
        assert_eq!(fan.status(*kind)["state"], "running", "{kind:?}");
    }
    second.stop(PATIENCE);
    running.stop(PATIENCE);
}
