//! The sink alone, `SIZES` says how many changes a delivery has: `cargo test --release -p connector-postgres --test sink -- --ignored --nocapture bench`

use std::time::{Duration, Instant};

use connector_api::{Delivery, Value, ValueKind};
use throwaway_servers::postgres::{Options as ServerOptions, Postgres as Server};

use crate::fixture::{Feed, Harness, Table, column, table_of};

const ROWS: i64 = 300_000;
const UPDATES: u64 = 200_000;

fn bench() -> Table {
    let columns = [
        ("id", ValueKind::Int, "bigint"),
        ("name", ValueKind::Text, "text"),
        ("email", ValueKind::Text, "text"),
        ("amount", ValueKind::Decimal, "numeric(12,2)"),
        ("n", ValueKind::Int, "integer"),
        ("created_at", ValueKind::TimestampTz, "timestamp with time zone"),
        ("active", ValueKind::Bool, "boolean"),
    ];
    table_of("bench", columns.iter().map(|(name, kind, of)| column(name, *kind, of)).collect(), &[0])
}

fn mix(seed: u64) -> u64 {
    let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

fn random_ids(salt: u64, count: u64) -> Vec<i64> {
    (0..count).map(|at| (mix(at ^ salt << 40) % ROWS as u64) as i64).collect()
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Insert,
    Update,
    Delete,
}

fn deliveries(table: &Table, ids: &[i64], salt: u64, size: usize, what: What) -> (Feed, Vec<Delivery>) {
    let mut feed = Feed::new();
    let mut all = Vec::new();
    for ids in ids.chunks(size) {
        for id in ids {
            let mixed = mix(*id as u64 ^ salt.rotate_left(32));
            let (name, email) = (format!("name {id:020}"), format!("user{mixed:016x}@example.com"));
            let amount = format!("{}.{:02}", mixed % 100_000, mixed % 97);
            let n = (mixed % 1_000_000) as i64;
            let row = [
                Value::Int(*id),
                Value::Text(&name),
                Value::Text(&email),
                Value::Decimal(&amount),
                Value::Int(n),
                Value::TimestampTz(800_000_000_000_000 + id * 1_000_003),
                Value::Bool(n & 1 == 1),
            ];
            match what {
                What::Insert => feed.insert(table, &row),
                What::Update => feed.update(table, &row),
                What::Delete => feed.delete(table, &row[..1]),
            };
        }
        all.push(feed.take());
    }
    (feed, all)
}

fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default())
}

fn run(harness: &mut Harness, what: &str, size: usize, ids: &[i64], (feed, all): (Feed, Vec<Delivery>)) {
    let targets = std::mem::take(&mut harness.feed.targets);
    harness.feed = feed;
    if !targets.is_empty() {
        harness.feed.targets = targets;
    }
    let (start, used) = (Instant::now(), processor());
    let busy = backend(harness);
    for delivery in &all {
        harness.try_deliver(delivery).unwrap();
    }
    let (took, ours) = (start.elapsed(), processor() - used);
    let busy = backend(harness) - busy;
    let count = ids.len() as f64;
    println!(
        "{what:7} by {size:6}: {:8.0} rows/s; our processor {:.2} us a row, the backend's {:.2} us: {:.0} rows/s if it had a core",
        count / took.as_secs_f64(),
        ours.as_secs_f64() * 1e6 / count,
        busy * 1e6 / count,
        count / busy
    );
}

/// Processor seconds of the sink's backend.
fn backend(harness: &Harness) -> f64 {
    let pid = harness.rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'millstream'");
    let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", pid[0])).unwrap_or_default();
    stat.split(' ').next().and_then(|first| first.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

#[test]
#[ignore = "a benchmark"]
fn the_sink_alone() {
    let server = Server::start(
        ServerOptions::new().durable().set("shared_buffers", "256MB").set("max_wal_size", "4GB"),
    );
    let session = server.session("postgres");
    let mut harness = Harness::at(server.url("postgres"), "postgres".into(), session, |_| {}, "");
    let table = bench();
    harness.feed.route(&table.target);
    let sizes = std::env::var("SIZES").unwrap_or("1,10,100,1000,5000,20000".into());
    for size in sizes.split(',').map(|size| size.parse::<usize>().unwrap()) {
        let count = (ROWS as usize).min(size * 5_000).max(5_000);
        harness.session.execute("DROP TABLE IF EXISTS bench; DELETE FROM _millstream_cursor");
        harness.restart().unwrap();
        let ids: Vec<i64> = (0..count as i64).collect();
        run(&mut harness, "insert", size, &ids, deliveries(&table, &ids, 0, size, What::Insert));
        // The rest, so that updates have the whole table before them.
        let rest: Vec<i64> = (count as i64..ROWS).collect();
        if !rest.is_empty() {
            for delivery in deliveries(&table, &rest, 0, 10_000, What::Insert).1 {
                harness.apply(&delivery).unwrap();
                harness.commit(&delivery).unwrap();
            }
        }
        harness.session.execute("VACUUM ANALYZE bench");
        harness.session.execute("CHECKPOINT");
        let count = UPDATES.min(size as u64 * 5_000).max(5_000);
        let ids = random_ids(size as u64, count);
        run(&mut harness, "update", size, &ids, deliveries(&table, &ids, 9, size, What::Update));
        let mut ids = random_ids(size as u64 + 1, count);
        ids.sort_unstable();
        ids.dedup();
        ids.sort_unstable_by_key(|id| mix(*id as u64));
        run(&mut harness, "delete", size, &ids, deliveries(&table, &ids, 9, size, What::Delete));
    }
}
