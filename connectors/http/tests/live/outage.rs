//! An endpoint that is not there, is slow, or takes a request and says nothing: nothing is lost, nothing becomes a dead
//! letter, and ids stay.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use connector_api::options::Span;
use connector_api::{Cursor, Kind, Sink};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::endpoint::{Endpoint, Reaction, Seen};
use crate::feed::{Feed, LOG, options};
use crate::raw;

#[tokio::test]
async fn nobody_there_is_transient_at_once_and_the_same_events_come_later() {
    let gone = Endpoint::willing().await;
    let (url, port) = (gone.url.clone(), gone.port);
    drop(gone);
    let mut feed = Feed::new(options(&url)).await;
    (1..=20).for_each(|id| feed.insert(id, "x"));
    let started = Instant::now();
    let error = feed.flush().await.expect_err("nobody is there");
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.to_string().contains("cannot connect") && error.remedy().is_some(), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());

    // The deliver loop makes a new sink, and sends from its cursor on.
    let endpoint = Endpoint::start_at(port, |_, _| Reaction::status(200)).await;
    let mut again = Feed::new(options(&url)).await;
    (1..=20).for_each(|id| again.insert(id, "x"));
    again.deliver().await;
    assert_eq!(endpoint.seen().len(), 20);
}

#[tokio::test]
async fn an_outage_in_the_middle_stops_the_calls_and_becomes_no_dead_letter() {
    let down = Arc::new(AtomicBool::new(false));
    let answers = down.clone();
    let endpoint =
        Endpoint::start(move |_, _| Reaction::status(if answers.load(Ordering::SeqCst) { 500 } else { 200 }))
            .await;
    let mut options = options(&endpoint.url);
    options.concurrency = 4;
    options.breaker = 6;
    let mut feed = Feed::new(options.clone()).await;
    (1..=10).for_each(|id| feed.insert(id, "x"));
    feed.deliver().await;
    down.store(true, Ordering::SeqCst);
    (11..=110).for_each(|id| feed.insert(id, "x"));
    let error = feed.flush().await.expect_err("it is down");
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.to_string().contains("6 times in a row"), "{error}");
    let calls = endpoint.seen().len() - 10;
    assert!((6..=10).contains(&calls), "{calls} calls, of a hundred events");

    // A fresh sink asks with one call at a time.
    let mut second = Feed::new(options.clone()).await;
    second.offset = 10;
    (11..=110).for_each(|id| second.insert(id, "x"));
    assert_eq!(second.flush().await.expect_err("still down").kind(), Kind::Transient);
    assert!(endpoint.seen().len() - 10 - calls <= 6);

    down.store(false, Ordering::SeqCst);
    let mut third = Feed::new(options).await;
    third.offset = 10;
    (11..=110).for_each(|id| third.insert(id, "x"));
    third.deliver().await;
    let mut ids: Vec<String> =
        endpoint.seen().iter().map(|seen| seen.header("idempotency-key").to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 110, "every event has one id, however often it was sent");
}

#[tokio::test]
async fn a_record_alone_is_not_blamed_for_an_endpoint_that_fails() {
    let endpoint = Endpoint::start(|_, _| Reaction::status(500)).await;
    let mut options = options(&endpoint.url);
    options.retry.attempts = 3;
    let mut feed = Feed::new(options).await;
    feed.insert(1, "x");
    assert_eq!(feed.flush().await.expect_err("it fails").kind(), Kind::Transient);
    assert_eq!(endpoint.seen().len(), 3);
}

#[tokio::test]
async fn the_first_call_of_a_fresh_sink_is_a_probe() {
    let most = Arc::new((AtomicUsize::new(0), Mutex::new(0_usize)));
    let counted = most.clone();
    let endpoint = Endpoint::start(move |_, count| {
        // Calls arrive while the first one is still unanswered, or they do not.
        if count == 0 {
            return Reaction::status(200).after(Duration::from_millis(200));
        }
        counted.0.fetch_add(1, Ordering::SeqCst);
        Reaction::status(200)
    });
    let endpoint = endpoint.await;
    let mut feed = Feed::new(options(&endpoint.url)).await;
    (1..=50).for_each(|id| feed.insert(id, "x"));
    let flushed = feed.flush();
    tokio::pin!(flushed);
    tokio::select! {
        _ = &mut flushed => panic!("too early"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    assert_eq!((endpoint.seen().len(), most.0.load(Ordering::SeqCst)), (1, 0));
    assert!(flushed.await.expect("delivered").is_empty());
    assert_eq!(endpoint.seen().len(), 50);
}

#[tokio::test]
async fn a_slow_answer_times_out_and_the_event_is_sent_again() {
    let endpoint = Endpoint::start(|_, count| match count {
        1 => Reaction::status(200).after(Duration::from_secs(30)),
        _ => Reaction::status(200).after(Duration::from_millis(20)),
    });
    let endpoint = endpoint.await;
    let mut options = options(&endpoint.url);
    options.timeout = Span::millis(300);
    options.concurrency = 1;
    let mut feed = Feed::new(options).await;
    (0..4).for_each(|id| feed.insert(id % 2, "x"));
    let started = Instant::now();
    feed.deliver().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let sent: Vec<(i64, u64)> = endpoint.seen().iter().map(|seen| (seen.key(), seen.offset())).collect();
    let of = |key| -> Vec<u64> { sent.iter().filter(|sent| sent.0 == key).map(|sent| sent.1).collect() };
    assert_eq!((of(0), of(1)), (vec![0, 2], vec![1, 1, 3]));
}

#[tokio::test]
async fn the_answer_lost_after_the_request_was_read_brings_the_same_id_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let seen: Arc<Mutex<Vec<raw::Request>>> = Arc::default();
    let all = seen.clone();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            // Every third request is read, and never answered.
            let react = |count| (count % 3 != 1).then_some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            tokio::spawn(raw::serve(stream, all.clone(), react));
        }
    });
    let mut options = options(&url);
    options.concurrency = 1;
    let mut feed = Feed::new(options).await;
    (0..6).for_each(|id| feed.insert(id, "x"));
    feed.deliver().await;
    server.abort();
    let seen = seen.lock().expect("no panic before");
    let ids: Vec<String> = seen.iter().map(|request| request.header("idempotency-key")).collect();
    let mut different = ids.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 6, "{ids:?}");
    assert!(ids.len() >= 8, "{ids:?}");
    for id in different {
        let bodies: Vec<&[u8]> = seen
            .iter()
            .filter(|request| request.header("idempotency-key") == id)
            .map(|request| &*request.body)
            .collect();
        assert!(bodies.windows(2).all(|two| two[0] == two[1]), "the same body, too");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = BufReader::new(stream);
        raw::read(&mut stream).await.expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.expect("written");
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        while stream.write_all(&chunk).await.is_ok() {
            count.fetch_add(chunk.len(), Ordering::SeqCst);
        }
    });
    let mut feed = Feed::new(options(&url)).await;
    feed.insert(1, "x");
    let started = Instant::now();
    feed.deliver().await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    // The connection was closed, which ends the server's loop.
    tokio::time::timeout(Duration::from_secs(5), server).await.expect("closed").expect("no panic");
    assert!(written.load(Ordering::SeqCst) < 16 << 20, "{written:?}");
}

#[tokio::test]
async fn what_was_rolled_back_is_not_sent_and_ids_outlive_a_restart() {
    let endpoint = Endpoint::willing().await;
    let mut feed = Feed::new(options(&endpoint.url)).await;
    feed.insert(1, "x");
    feed.sink.rollback().await.expect("rolled back");
    feed.deliver().await;
    feed.insert(1, "y");
    feed.sink.reset(&Cursor::start(LOG)).await.expect("reset");
    feed.deliver().await;
    assert!(endpoint.seen().is_empty());
    let keys = |seen: Vec<Seen>| -> Vec<String> {
        seen.iter().map(|seen| seen.header("idempotency-key").to_owned()).collect()
    };
    for _ in 0..2 {
        let mut feed = Feed::new(options(&endpoint.url)).await;
        feed.offset = 5;
        feed.insert(1, "x");
        feed.deliver().await;
        feed.sink.commit(&Cursor::start(LOG)).await.expect("nothing to do");
    }
    let keys = keys(endpoint.seen());
    assert_eq!(keys, vec!["000000000000000000000000000000a1:shop.public.users:0:5"; 2]);
}
