//! Answers, and what each means for the records that were sent.

use std::time::{Duration, Instant};

use connector_api::Kind;
use connector_api::options::Span;
use connector_http::Batch;

use crate::endpoint::{Endpoint, Reaction, Seen};
use crate::feed::{Feed, options, schema};

#[tokio::test]
async fn a_400_takes_only_its_key_along() {
    let endpoint = Endpoint::start(|seen, _| Reaction::status(if seen.key() == 2 { 400 } else { 200 })).await;
    let mut feed = Feed::new(options(&endpoint.url)).await;
    for round in ["a", "b", "c"] {
        (1..=3).for_each(|id| feed.insert(id, round));
    }
    let (refused, reason) = feed.refusals().await;
    assert_eq!(refused, [1, 4, 7]);
    assert!(reason.ends_with("/hook: answered 400 Bad Request"), "{reason}");
    let seen = endpoint.seen();
    assert_eq!(seen.iter().filter(|seen| seen.key() == 2).count(), 1, "it is not sent again");
    assert_eq!(seen.len(), 7);
    // The next flush knows nothing of it: the deliver loop does.
    feed.insert(3, "d");
    feed.deliver().await;
}

#[tokio::test]
async fn a_record_without_a_key_holds_no_other_up() {
    let endpoint = Endpoint::start(|_, count| Reaction::status(if count == 1 { 422 } else { 200 })).await;
    let mut feed = Feed::of(options(&endpoint.url), schema(vec![])).await;
    (0..5).for_each(|id| feed.insert(id, "x"));
    assert_eq!(feed.refusals().await.0, [1]);
    let offsets: Vec<u64> = endpoint.seen().iter().map(Seen::offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4], "in order");
}

#[tokio::test]
async fn a_batch_is_cut_until_the_one_is_found() {
    let bad = |seen: &Seen| {
        let events = seen.json();
        events.as_array().expect("an array").iter().any(|event| event["row"]["name"] == "bad")
    };
    for status in [400, 413, 500] {
        let endpoint =
            Endpoint::start(move |seen, _| Reaction::status(if bad(seen) { status } else { 200 })).await;
        let mut options = options(&endpoint.url);
        options.batch = Some(Batch { max_records: 50, ..Batch::default() });
        options.retry.attempts = 3;
        options.breaker = 100;
        let mut feed = Feed::new(options).await;
        for offset in 0..200 {
            feed.insert(offset % 40, if offset == 77 { "bad" } else { "good" });
        }
        let (refused, reason) = feed.refusals().await;
        // 77, and what came later on key 37.
        assert_eq!(refused, [77, 117, 157, 197], "{status}");
        assert!(reason.contains(&format!("answered {status}")), "{reason}");
        assert!(endpoint.seen().len() < 40, "{}", endpoint.seen().len());
    }
}

#[tokio::test]
async fn one_record_that_fails_while_others_do_not_is_refused_after_its_attempts() {
    let endpoint = Endpoint::start(|seen, _| Reaction::status(if seen.key() == 1 { 503 } else { 200 })).await;
    let mut options = options(&endpoint.url);
    options.concurrency = 2;
    options.retry.attempts = 4;
    let mut feed = Feed::new(options).await;
    // It comes first, when nothing is known yet of the endpoint.
    (1..=30).for_each(|id| feed.insert(id, "x"));
    feed.update(1, "y");
    let (refused, reason) = feed.refusals().await;
    assert_eq!(refused, [0, 30]);
    assert!(reason.contains("4 attempts failed, while others were accepted"), "{reason}");
    let ids: Vec<String> = endpoint
        .seen()
        .iter()
        .filter(|seen| seen.key() == 1)
        .map(|seen| seen.header("idempotency-key").to_owned())
        .collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn answers_about_us_or_the_address_stop_the_sink_and_blame_no_record() {
    let cases =
        [(401, Kind::Auth), (403, Kind::Auth), (404, Kind::Config), (405, Kind::Config), (410, Kind::Config)];
    for (status, kind) in cases {
        let endpoint = Endpoint::start(move |_, _| Reaction::status(status)).await;
        let mut feed = Feed::new(options(&endpoint.url)).await;
        (1..=3).for_each(|id| feed.insert(id, "x"));
        let error = feed.flush().await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("wait in the log")), "{error:?}");
    }
}

#[tokio::test]
async fn retry_after_is_followed_up_to_the_bound() {
    let ask = |status: u16, value: &'static str| {
        Endpoint::start(move |_, count| match count {
            0 => Reaction::status(status).header("retry-after", value),
            _ => Reaction::status(200),
        })
    };
    // A date far away: bounded by `retry.max`.
    for (status, value, least) in
        [(429, "1", 1_000), (503, "1", 1_000), (429, "Fri, 31 Dec 9999 23:59:59 GMT", 1_200)]
    {
        let endpoint = ask(status, value).await;
        let mut options = options(&endpoint.url);
        options.retry.max = Span::millis(1_200);
        let mut feed = Feed::new(options).await;
        (1..=4).for_each(|id| feed.insert(id, "x"));
        let started = Instant::now();
        feed.deliver().await;
        let waited = started.elapsed();
        assert!(waited >= Duration::from_millis(least), "{status} {value}: {waited:?}");
        assert!(waited < Duration::from_millis(least + 2_500), "{status} {value}: {waited:?}");
        // Nobody else was sent meanwhile either.
        assert_eq!(endpoint.seen().len(), 5);
    }
}

#[tokio::test]
async fn a_busy_endpoint_blames_no_record() {
    let endpoint = Endpoint::start(|_, _| Reaction::status(429)).await;
    let mut feed = Feed::new(options(&endpoint.url)).await;
    feed.insert(1, "x");
    let error = feed.flush().await.expect_err("busy");
    assert_eq!(error.kind(), Kind::Transient, "{error}");
}

#[tokio::test]
async fn redirects_stay_on_the_host_and_keep_method_and_body() {
    let other = Endpoint::willing().await;
    let elsewhere = format!("{}?token=s3cret", other.url);
    let same = Endpoint::start(|seen, _| match seen.uri.path() {
        "/hook" => Reaction::status(308).header("location", "/new"),
        _ => Reaction::status(200),
    });
    let same = same.await;
    let mut feed = Feed::new(options(&same.url)).await;
    feed.insert(1, "x");
    feed.deliver().await;
    let seen = same.seen();
    assert_eq!((seen[1].uri.path(), seen[1].method.as_str()), ("/new", "POST"));
    assert_eq!(
        (seen[0].body.clone(), seen[0].header("idempotency-key")),
        (seen[1].body.clone(), seen[1].header("idempotency-key"))
    );

    for status in [301, 302, 303, 307, 308] {
        let location = elsewhere.clone();
        let away =
            Endpoint::start(move |_, _| Reaction::status(status).header("location", location.clone())).await;
        let mut feed = Feed::new(options(&away.url)).await;
        feed.insert(1, "x");
        let error = feed.flush().await.expect_err("not followed");
        let text = error.to_string();
        assert_eq!(error.kind(), Kind::Config);
        assert!(text.contains(&other.url) && !text.contains("s3cret"), "{text}");
    }
    assert!(other.seen().is_empty(), "nothing was sent to the other host");
}

#[tokio::test]
async fn a_redirect_in_a_circle_ends() {
    let endpoint = Endpoint::start(|_, _| Reaction::status(307).header("location", "/hook")).await;
    let mut feed = Feed::new(options(&endpoint.url)).await;
    feed.insert(1, "x");
    assert_eq!(feed.flush().await.expect_err("a circle").kind(), Kind::Config);
    assert!(endpoint.seen().len() <= 4);
}
