//! How fast gathering is: `cargo test --release -p connector-sql -- --ignored --nocapture`

use std::time::{Duration, Instant};

use connector_api::Value;

use super::feed::{Feed, Shape};
use super::*;

const ROUNDS: u32 = 30;

fn bench() -> Shape {
    Shape::new("bench", &["id", "name", "email", "amount", "n", "created_at", "active"], &[0])
}

fn measure(what: &str, feed: &Feed, flush: usize) {
    let mut gather = Gather::new(exact);
    let (mut took, mut count, mut rows) = (Duration::ZERO, 0usize, 0usize);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut in_round = Duration::ZERO;
        feed.each(|incoming| {
            let start = Instant::now();
            gather.push(incoming).unwrap();
            count += 1;
            if gather.len() == flush {
                for step in gather.steps(&|_| 0).unwrap() {
                    rows += match step.work {
                        Work::Upsert { rows, .. } | Work::Update { rows, .. } => rows.len(),
                        Work::Delete { keys } => keys.len(),
                        _ => 1,
                    };
                }
                gather.clear();
            }
            in_round += start.elapsed();
        });
        took += in_round;
        best = best.min(in_round);
    }
    let rate = |took: Duration, count: f64| count / took.as_secs_f64() / 1e6;
    println!(
        "{what}, flushed by {flush}: {:.2} M changes/s (best round {:.2}), {count} changes to {rows} rows",
        rate(took, count as f64),
        rate(best, count as f64 / f64::from(ROUNDS)),
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
    let mix = |at: i64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64) >> 20) & 0xffff;
    let (mut inserts, mut updates, mut mixed) = (Feed::new(), Feed::new(), Feed::new());
    for at in 0..40_000 {
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
