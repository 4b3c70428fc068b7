//! The sink beside a raw loop of rusqlite with the same pragmas and transaction size, in turn:
//! `cargo test --release -p connector-sqlite -- --ignored --nocapture`

use std::time::{Duration, Instant};

use connector_api::{Sink, Value, ValueKind};
use rusqlite::{Connection, params};

use crate::fixture::{Fed, Feed, Harness, Table, apply, now, table};

const ROWS: i64 = 300_000;
const UPDATES: u64 = 100_000;
const ROUNDS: usize = 3;

fn bench() -> Table {
    let columns = [
        ("id", ValueKind::Int),
        ("name", ValueKind::Text),
        ("email", ValueKind::Text),
        ("amount", ValueKind::Decimal),
        ("n", ValueKind::Int),
        ("created_at", ValueKind::TimestampTz),
        ("active", ValueKind::Bool),
    ];
    table("bench", &columns, &[0])
}

/// A row of the workloads: about 120 bytes.
struct Row {
    id: i64,
    name: String,
    email: String,
    amount: String,
    n: i64,
    created_at: i64,
}

impl Row {
    fn new(id: i64, salt: u64) -> Row {
        let mixed = mix(id as u64 ^ salt.rotate_left(32));
        Row {
            id,
            name: format!("name {id:020}"),
            email: format!("user{mixed:016x}@example.com"),
            amount: format!("{}.{:02}", mixed % 100_000, mixed % 97),
            n: (mixed % 1_000_000) as i64,
            created_at: 800_000_000_000_000 + id * 1_000_003,
        }
    }

    fn values(&self) -> [Value<'_>; 7] {
        [
            Value::Int(self.id),
            Value::Text(&self.name),
            Value::Text(&self.email),
            Value::Decimal(&self.amount),
            Value::Int(self.n),
            Value::TimestampTz(self.created_at),
            Value::Bool(self.n & 1 == 1),
        ]
    }
}

fn mix(seed: u64) -> u64 {
    let seed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let seed = (seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed ^ seed >> 31
}

fn random_ids(salt: u64) -> impl Iterator<Item = i64> {
    (0..UPDATES).map(move |at| (mix(at ^ salt << 40) % ROWS as u64) as i64)
}

fn deliveries(ids: impl Iterator<Item = i64>, salt: u64, size: usize, update: bool) -> Vec<Fed> {
    let (mut feed, bench) = (Feed::new(), bench());
    let ids: Vec<i64> = ids.collect();
    let chunk = |ids: &[i64]| {
        for id in ids {
            let row = Row::new(*id, salt);
            match update {
                true => feed.update(&bench, &row.values()),
                false => feed.insert(&bench, &row.values()),
            };
        }
        feed.take()
    };
    ids.chunks(size).map(chunk).collect()
}

/// Elapsed time, and the processor time of this thread, which a busy machine changes less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Took {
    elapsed: Duration,
    processor: Duration,
}

fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn time(run: impl FnOnce()) -> Took {
    let (start, used) = (Instant::now(), processor());
    run();
    Took { elapsed: start.elapsed(), processor: processor() - used }
}

fn through_the_sink(harness: &mut Harness, deliveries: &[Fed]) {
    for delivery in deliveries {
        apply(&mut harness.sink, delivery).into_iter().for_each(|result| result.unwrap());
        delivery.advance(&mut harness.cursor);
        now(harness.sink.commit(&harness.cursor)).unwrap();
    }
}

fn raw() -> (tempfile::TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join("raw.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
             PRAGMA wal_autocheckpoint = 20000; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;
             CREATE TABLE bench (id INTEGER PRIMARY KEY NOT NULL, name TEXT, email TEXT, amount TEXT, n INTEGER, created_at TEXT, active BOOLEAN)",
        )
        .unwrap();
    (folder, connection)
}

/// What one would write by hand, values at hand as SQLite wants them.
fn by_hand(connection: &Connection, rows: &[(Row, String)], size: usize) {
    let mut upsert = connection
        .prepare(
            "INSERT INTO bench VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, \
             email = excluded.email, amount = excluded.amount, n = excluded.n, created_at = excluded.created_at, \
             active = excluded.active",
        )
        .unwrap();
    for chunk in rows.chunks(size) {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for (row, created_at) in chunk {
            upsert
                .execute(params![row.id, row.name, row.email, row.amount, row.n, created_at, row.n & 1 == 1])
                .unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
}

fn prepared_rows(ids: impl Iterator<Item = i64>, salt: u64) -> Vec<(Row, String)> {
    let prepare = |id| {
        let row = Row::new(id, salt);
        let mut text = String::new();
        connector_api::civil::put_timestamp(&mut text, row.created_at, ' ', "+00:00");
        (row, text)
    };
    ids.map(prepare).collect()
}

fn report(what: &str, count: f64, sink: &mut [Took], raw: &mut [Took]) {
    sink.sort_unstable();
    raw.sort_unstable();
    let (sink, middle) = (&*sink, sink.len() / 2);
    let rate = |took: &Took| count / took.elapsed.as_secs_f64() / 1000.0;
    let micros = |all: &[Took]| {
        let mut used: Vec<_> = all.iter().map(|took| took.processor).collect();
        used.sort_unstable();
        used[middle].as_secs_f64() * 1e6 / count
    };
    let show = |all: &[Took]| {
        let (fast, slow) = (rate(&all[0]), rate(&all[all.len() - 1]));
        format!(
            "{:.0}k rows/s ({slow:.0}-{fast:.0}), {:.2} us of processor a row",
            rate(&all[middle]),
            micros(all)
        )
    };
    println!("{what}: sink {}", show(sink));
    println!("{what}: by hand {}", show(raw));
    println!(
        "{what}: ratio {:.2} elapsed, {:.2} processor",
        rate(&sink[middle]) / rate(&raw[middle]),
        micros(raw) / micros(sink)
    );
}

#[test]
#[ignore = "a benchmark"]
fn sink_beside_a_raw_loop() {
    let inserts = deliveries(0..ROWS, 0, 1_000, false);
    let inserted = prepared_rows(0..ROWS, 0);
    let [mut insert_sink, mut insert_raw, mut update_sink, mut update_raw] = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        let salt = round as u64 + 1;
        let updates = deliveries(random_ids(salt), salt, 100, true);
        let updated = prepared_rows(random_ids(salt), salt);
        let mut harness = Harness::new();
        insert_sink.push(time(|| through_the_sink(&mut harness, &inserts)));
        update_sink.push(time(|| through_the_sink(&mut harness, &updates)));
        let (_folder, connection) = raw();
        insert_raw.push(time(|| by_hand(&connection, &inserted, 1_000)));
        update_raw.push(time(|| by_hand(&connection, &updated, 100)));
        let check = "SELECT count(*), sum(n), max(email), max(amount) FROM bench";
        assert_eq!(harness.rows(check), crate::fixture::rows(&connection, check));
    }
    report("insert by 1,000", ROWS as f64, &mut insert_sink, &mut insert_raw);
    report("random update by 100", UPDATES as f64, &mut update_sink, &mut update_raw);
}
