//! How fast gathering is: `cargo test --release -p connector-sql -- --ignored --nocapture`

use std::time::{Duration, Instant};

use connector_api::Value;

use super::feed::{Feed, Shape};
use super::*;

const ROUNDS: u32 = 9;

fn bench() -> Shape {
    Shape::new("bench", &["id", "name", "email", "amount", "n", "created_at", "active"], &[0])
}

/// Processor time of this thread, which a busy machine changes less than elapsed time.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn measure(what: &str, feed: &Feed, flush: usize) {
    let changes = feed.list();
    let mut gather = Gather::new(exact);
    let mut rows = 0;
    let mut round = || {
        let (start, used) = (Instant::now(), processor());
        rows = 0;
        for chunk in changes.chunks(flush) {
            chunk.iter().for_each(|incoming| gather.push(incoming).unwrap());
            for step in gather.steps(&|_| 0).unwrap() {
                rows += match step.work {
                    Work::Upsert { rows, .. } | Work::Update { rows, .. } => rows.len(),
                    Work::Delete { keys } => keys.len(),
                    _ => 1,
                };
            }
            gather.clear();
        }
        (processor() - used, start.elapsed())
    };
    let mut took: Vec<_> = (0..ROUNDS).map(|_| round()).collect();
    took.sort_unstable();
    let (middle, elapsed) = took[took.len() / 2];
    let nanos = |took: Duration| took.as_nanos() as f64 / changes.len() as f64;
    println!(
        "{what}, flushed by {flush}: {:.0} ns of processor a change ({:.0}-{:.0}), {:.2} M changes/s elapsed; {} changes to {rows} \
         rows",
        nanos(middle),
        nanos(took[0].0),
        nanos(took[took.len() - 1].0),
        1e3 / nanos(elapsed),
        changes.len(),
    );
}

#[test]
#[ignore = "a benchmark"]
fn changes_a_second() {
    let bench = bench();
    let row = |id: i64| {
        [
            Value::Int(id),
            Value::Text("name 00000000000000000042"),
            Value::Text("user0123456789abcdef@example.com"),
            Value::Decimal("12345.67"),
            Value::Int(id * 7),
            Value::TimestampTz(id),
            Value::Bool(true),
        ]
    };
    let mix = |at: i64| {
        let seed = at as u64 ^ at as u64 >> 30;
        let seed = seed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((seed ^ seed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40) as i64 & 0xffff
    };
    let (mut inserts, mut updates, mut mixed) = (Feed::new(), Feed::new(), Feed::new());
    for at in 0..100_000 {
        inserts.insert(&bench, &row(at));
        updates.update(&bench, &row(mix(at)));
        match at % 10 {
            0..6 => mixed.insert(&bench, &row(at)),
            6..9 => mixed.update(&bench, &row(mix(at))),
            _ => mixed.delete(&bench, mix(at)),
        };
    }
    for flush in [100, 10_000] {
        measure("inserts", &inserts, flush);
        measure("random updates", &updates, flush);
        measure("6 inserts, 3 updates, 1 delete", &mixed, flush);
    }
}
