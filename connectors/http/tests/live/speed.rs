//! Events per second to a server on this machine, beside the fastest loop over the bare client. Run by hand:
//! `cargo test --release -p connector-http --test live -- --ignored --nocapture speed`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use connector_http::Batch;
use futures_util::StreamExt;
use tokio::net::TcpListener;

use crate::feed::{Feed, options};

/// A server that does as little as it can, on a thread of its own.
fn serve() -> String {
    let (sender, url) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            sender.send(format!("http://{address}/hook")).expect("it waits");
            let app = axum::Router::new().fallback(|_: Bytes| async { axum::http::StatusCode::NO_CONTENT });
            axum::serve(listener, app).await.expect("served");
        });
    });
    url.recv().expect("a server")
}

const EVENTS: usize = 8_000;

async fn sink(url: &str, concurrency: u32, batch: Option<Batch>) -> f64 {
    let mut options = options(url);
    options.concurrency = concurrency;
    options.batch = batch;
    options.secret = Some(connector_api::options::Secret::new("0123456789abcdef0123456789abcdef"));
    let mut feed = Feed::new(options).await;
    feed.insert(0, "warm");
    feed.deliver().await;
    let mut spent = Duration::ZERO;
    for round in 0..EVENTS / 1_000 {
        (0..1_000).for_each(|id| feed.update((round * 1_000 + id) as i64, "a name of some length"));
        let started = Instant::now();
        feed.deliver().await;
        spent += started.elapsed();
    }
    EVENTS as f64 / spent.as_secs_f64()
}

async fn bare(url: &str, concurrency: usize, per_call: usize) -> f64 {
    let client = reqwest::Client::builder().pool_max_idle_per_host(concurrency).build().expect("a client");
    let event = r#"{"id":"000000000000000000000000000000a1:shop.public.users:0:1","topic":"shop.public.users","partition":0,"offset":1,"table":"users","time_us":1700000000000000,"op":"u","key":{"id":1},"row":{"id":1,"name":"a name of some length"}}"#;
    let body: Bytes =
        if per_call == 1 { event.into() } else { format!("[{}]", vec![event; per_call].join(",")).into() };
    let calls = EVENTS / per_call;
    let send = |_| client.post(url).header("content-type", "application/json").body(body.clone()).send();
    drop(send(0).await.expect("warm"));
    let started = Instant::now();
    let mut answers = futures_util::stream::iter(0..calls).map(send).buffer_unordered(concurrency);
    while let Some(answer) = answers.next().await {
        assert!(answer.expect("an answer").status().is_success());
    }
    (calls * per_call) as f64 / started.elapsed().as_secs_f64()
}

#[tokio::test]
#[ignore = "a measurement"]
async fn speed() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = serve();
    for round in 0..2 {
        for concurrency in [1_u32, 16, 64] {
            for per_call in [1_usize, 100] {
                let batch =
                    (per_call > 1).then(|| Batch { max_records: per_call as u32, ..Batch::default() });
                let ours = sink(&url, concurrency, batch).await;
                let theirs = bare(&url, concurrency as usize, per_call).await;
                println!(
                    "round {round} concurrency {concurrency:>2} per call {per_call:>3}: sink {ours:>9.0}/s bare {theirs:>9.0}/s ratio {:.2}",
                    ours / theirs
                );
            }
        }
    }
}
