//! What shaping costs. Prints rows a second; run by hand:
//! `cargo test --release --lib shape::tests::speed -- --ignored --nocapture`.

use std::hint::black_box;
use std::time::Instant;

use connector_api::{BoxFuture, Cursor, Incoming, LogId, Result, Sink};

use super::model::Source;
use super::{Rule, Shaper, computed, mapping, rule};

/// Looks at every byte range that it is given, and keeps nothing.
#[derive(Default)]
struct Nowhere(usize);

impl Sink for Nowhere {
    fn start(&mut self, _: LogId) -> BoxFuture<'_, Result<Option<Cursor>>> {
        Box::pin(async { Ok(None) })
    }

    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        self.0 += black_box(incoming.change.record.value.len());
        Ok(())
    }

    fn commit<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn reset<'a>(&'a mut self, _: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

const ROWS: i64 = 200_000;
const ROUNDS: usize = 5;

#[test]
#[ignore = "a measurement"]
fn rows_a_second() {
    let mut source = Source::new(false);
    (0..ROWS).for_each(|id| source.insert(id, if id % 2 == 0 { "a" } else { "b" }, Some(id)));
    let three = || {
        vec![
            computed("shop", "'eu'"),
            computed("twice", "row.n * 2"),
            computed("who", "row.kind + '-' + row.email"),
        ]
    };
    let rules = [
        ("as it is", rule()),
        (
            "renamed",
            Rule { columns: Some(vec![("id".into(), "key".into()), ("n".into(), "m".into())]), ..rule() },
        ),
        ("where (all match)", Rule { condition: Some("row.n >= 0 && row.kind != 'x'".into()), ..rule() }),
        ("where (half match)", Rule { condition: Some("row.kind == 'a'".into()), ..rule() }),
        ("3 computed", Rule { computed: three(), ..rule() }),
        (
            "where and 3 computed",
            Rule { condition: Some("row.kind == 'a'".into()), computed: three(), ..rule() },
        ),
    ];
    for (name, rule) in rules {
        let mut best = f64::INFINITY;
        for _ in 0..ROUNDS {
            let (mut shaper, mut sink) =
                (Shaper::new(mapping(std::slice::from_ref(&rule))), Nowhere::default());
            let start = Instant::now();
            source.history(|captured| shaper.apply(captured, &mut sink)).unwrap();
            best = best.min(start.elapsed().as_secs_f64());
            assert!(sink.0 > 0);
        }
        println!(
            "{name:24} {:6.2} M rows/s, {:4.0} ns a row",
            ROWS as f64 / best / 1e6,
            best * 1e9 / ROWS as f64
        );
    }
}
