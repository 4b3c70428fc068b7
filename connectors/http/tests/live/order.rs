//! Order per key under concurrency, while the endpoint fails at random. A failure prints its seed; `SEED=n` plays it
//! again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use connector_http::Batch;
use serde_json::Value as Json;

use crate::endpoint::{Endpoint, Reaction, Seen};
use crate::feed::{Feed, options};

/// splitmix64.
fn random(state: &AtomicU64) -> u64 {
    let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Keys and offsets of the events in a request.
fn events(seen: &Seen) -> Vec<(i64, u64)> {
    let one = |event: &Json| {
        (event["key"]["id"].as_i64().expect("a key"), event["offset"].as_u64().expect("an offset"))
    };
    match seen.json() {
        Json::Array(events) => events.iter().map(one).collect(),
        event => vec![one(&event)],
    }
}

async fn round(seed: u64) {
    let state = AtomicU64::new(seed);
    let poison = random(&state) % 12;
    let dice = AtomicU64::new(seed ^ 0xd1ce);
    let endpoint = Endpoint::start(move |seen, _| {
        if events(seen).iter().any(|(key, _)| *key == poison as i64) && seed.is_multiple_of(2) {
            return Reaction::status(400);
        }
        let delay = Duration::from_micros(random(&dice) % 3_000);
        match random(&dice) % 10 {
            0 => Reaction::status(500),
            1 => Reaction::status(503).header("retry-after", "0"),
            2 => Reaction::status(429),
            _ => Reaction::status(200),
        }
        .after(delay)
    });
    let endpoint = endpoint.await;
    let mut options = options(&endpoint.url);
    options.concurrency = 1 + (random(&state) % 16) as u32;
    options.batch = (seed % 3 == 1).then(|| Batch { max_records: 7, ..Batch::default() });
    options.retry.attempts = 50;
    options.retry.first = connector_api::options::Span::millis(1);
    options.retry.max = connector_api::options::Span::millis(4);
    options.breaker = 1_000;
    let mut feed = Feed::new(options).await;
    for _ in 0..150 {
        feed.update((random(&state) % 12) as i64, "x");
    }
    let refused: Vec<u64> = feed.refusals().await.0;

    // A key's events, as they were first seen and as they were last seen: never an earlier one after a later one.
    let mut by_key: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (key, offset) in endpoint.seen().iter().flat_map(events) {
        by_key.entry(key).or_default().push(offset);
    }
    let mut sent = 0;
    for (key, offsets) in &by_key {
        if *key == poison as i64 && seed.is_multiple_of(2) {
            assert!(
                offsets.iter().all(|offset| refused.contains(offset) || seed % 3 == 1),
                "seed {seed}: {offsets:?}"
            );
            continue;
        }
        assert!(seed % 3 == 1 || offsets.is_sorted(), "seed {seed}: key {key}: {offsets:?}");
        let mut different = offsets.clone();
        different.sort_unstable();
        different.dedup();
        sent += different.len();
        assert!(different.iter().all(|offset| !refused.contains(offset)), "seed {seed}: key {key}");
    }
    assert_eq!(sent + refused.len(), 150, "seed {seed}: every event is accepted or refused");
}

#[tokio::test]
async fn order_per_key_holds_whatever_fails() {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..18).collect(),
    };
    for seed in seeds {
        round(seed).await;
    }
}
