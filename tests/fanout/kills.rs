//! SIGKILL at random moments with all kinds of targets under load. Where a target has transactions, effects are exactly
//! once and source transactions are seen whole; a webhook's receiver sees repeats under the same ids.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use crate::fanout::copies::TABLES;
use crate::fanout::fan::{ALL, BALANCE, Fan, Kind};
use crate::fanout::load;
use crate::support::process::Millstream;
use crate::support::redis;
use crate::support::seed::Rng;

const KILLS_IN_COPY: u32 = 4;
const KILLS_IN_STREAM: u32 = 16;
const ROWS: u64 = 400;
const TWICE: &str = "SELECT version FROM audit GROUP BY version HAVING count(*) > 1";

#[test]
fn kills_lose_nothing_and_double_nothing_in_any_target() {
    let test = "kills_lose_nothing_and_double_nothing_in_any_target";
    let mut rng = Rng::of_test(test);
    let Some(mut fan) = Fan::new(test) else { return };
    fan.fill(ROWS);
    // Every change once more, as an entry of a stream: nothing can be overwritten there.
    let mut sinks: String = ALL.iter().map(|kind| fan.sink(*kind, "")).collect();
    sinks += &fan.sink(Kind::Redis, ", mode: stream").replace("cache:", "events:");
    fan.config = fan.shop.config("tables: [\"public.*\"]", &sinks);
    let (done, writer, mut load_rng) = (AtomicBool::new(false), fan.shop.server.session("shop"), rng.fork());
    scope(|scope| {
        let load = scope.spawn(|| load::run(&writer, &mut load_rng, ROWS, 12, &done));
        let end = Ends(&done);
        kill_again_and_again(&fan, &mut rng, KILLS_IN_COPY, 700);
        fan.shop.catch_up(&fan.config);
        audit(&fan);
        let watcher = scope.spawn(|| watch(&fan, &done));
        kill_again_and_again(&fan, &mut rng, KILLS_IN_STREAM, 900);
        drop(end);
        load.join().expect("the load ran to its end");
        watcher.join().expect("nothing was half visible");
    });
    fan.shop.catch_up(&fan.config);
    fan.equal(ALL);
    let none = Vec::<Vec<Option<String>>>::new();
    let (billing, warehouse) = (fan.postgres.session("billing"), fan.mariadb.session("warehouse"));
    assert_eq!(billing.query_text(TWICE), none, "applied twice in PostgreSQL");
    assert_eq!(warehouse.query_text(TWICE), none, "applied twice in MariaDB");
    for audited in
        [billing.value("SELECT count(*) FROM audit"), warehouse.value("SELECT count(*) FROM audit")]
    {
        assert!(audited.parse::<u64>().expect("a number") > 100, "the audit saw the load: {audited}");
    }
    stream_has_each_change_once(&fan);
    ids_are_stable(&fan);
}

/// Ends the load and the watcher, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn kill_again_and_again(fan: &Fan, rng: &mut Rng, kills: u32, within_ms: u64) {
    for _ in 0..kills {
        let mut running = Millstream::run(fan.shop.dir.path(), &fan.config);
        sleep(Duration::from_millis(50 + rng.below(within_ms)));
        assert!(running.is_running(), "it ended by itself: {}", running.stderr());
        running.kill();
    }
}

/// From here on the targets themselves write down every row that is written.
fn audit(fan: &Fan) {
    let billing = fan.postgres.session("billing");
    billing.execute(
        "CREATE TABLE audit(version bigint NOT NULL);
         CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN INSERT INTO audit VALUES (NEW.version); RETURN NULL; END $$",
    );
    let warehouse = fan.mariadb.session("warehouse");
    warehouse.execute("CREATE TABLE audit(version bigint NOT NULL)");
    for (number, table) in TABLES.iter().enumerate() {
        let name = table.name;
        billing.execute(&format!(
            "CREATE TRIGGER audit AFTER INSERT OR UPDATE ON \"{name}\" FOR EACH ROW EXECUTE FUNCTION audit()"
        ));
        for event in ["INSERT", "UPDATE"] {
            warehouse.execute(&format!(
                "CREATE TRIGGER {event}_{number} AFTER {event} ON `{name}` FOR EACH ROW INSERT INTO audit VALUES (NEW.version)"
            ));
        }
    }
}

/// Looks at both databases until `done`: each look is one statement, which sees one state.
fn watch(fan: &Fan, done: &AtomicBool) {
    let total = (ROWS * BALANCE).to_string();
    let (billing, warehouse) = (fan.postgres.session("billing"), fan.mariadb.session("warehouse"));
    let none = Vec::<Vec<Option<String>>>::new();
    while !done.load(Ordering::Relaxed) {
        assert_eq!(billing.value(load::TOTAL), total, "a transfer was half visible in PostgreSQL");
        assert_eq!(warehouse.value(load::TOTAL), total, "a transfer was half visible in MariaDB");
        assert_eq!(billing.query_text(&load::broken('"')), none, "an order was half visible in PostgreSQL");
        assert_eq!(warehouse.query_text(&load::broken('`')), none, "an order was half visible in MariaDB");
        sleep(Duration::from_millis(20));
    }
}

fn stream_has_each_change_once(fan: &Fan) {
    let mut session = redis::Session::connect(&fan.redis.url());
    for table in TABLES {
        let entries = session.entries(&format!("shop.public.{}", table.name));
        let offset = |entry: &std::collections::BTreeMap<String, Vec<u8>>| {
            String::from_utf8_lossy(&entry["offset"]).parse::<u64>().expect("an offset")
        };
        let offsets: Vec<u64> = entries.iter().map(offset).collect();
        assert!(offsets.len() as u64 >= ROWS, "{}: {} entries", table.name, offsets.len());
        let order = offsets.windows(2).find(|pair| pair[0] >= pair[1]);
        assert_eq!(order, None, "{}: twice, or out of order", table.name);
    }
}

/// A repeat has the id of the first time, and says the same; no two events share one.
fn ids_are_stable(fan: &Fan) {
    let mut seen = HashMap::new();
    let mut repeats = 0;
    for event in fan.hook.taken().into_iter().flat_map(|taken| taken.events) {
        let id = event["id"].as_str().expect("an id").to_owned();
        match seen.get(&id) {
            None => drop(seen.insert(id, event)),
            Some(first) => {
                assert_eq!(*first, event, "the same id");
                repeats += 1;
            }
        }
    }
    let mut places: Vec<_> =
        seen.values().map(|event| (event["topic"].to_string(), event["offset"].as_u64())).collect();
    let all = places.len();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), all, "an event has one id");
    eprintln!("webhook: {all} events, {repeats} repeats");
}
