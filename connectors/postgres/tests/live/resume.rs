//! Starts after crashes at every stage, and what is refused.

use crate::support::capture::Capture;
use crate::support::server::Server;
use connector_api::options::Span;
use connector_api::{BatchBuilder, Error, Kind, Position};
use connector_postgres::{Options, Snapshot};

async fn refused(options: &Options, after: Option<&Position>) -> Error {
    match Capture::start(options, after).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

async fn with_table() -> (Server, Options) {
    let server = Server::start(&[], "");
    server.sql("CREATE TABLE t (id int PRIMARY KEY, pad text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 9) g").await;
    let options = Options::new(server.url(), &["t"]);
    (server, options)
}

#[tokio::test]
async fn a_slot_is_made_only_after_the_log_knows_of_it() {
    let (server, options) = with_table().await;
    let mut source = connector_postgres::source("shop", &options).unwrap();
    source.start(None).await.unwrap();
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    let intent = source.read(&mut builder).await.unwrap().unwrap();
    let _ = builder.take(Some(intent.clone()));
    let waits = tokio::time::timeout(std::time::Duration::from_millis(300), source.read(&mut builder)).await;
    assert!(waits.is_err());
    assert_eq!(server.value("SELECT count(*) FROM pg_replication_slots").await, "0");
    drop(source);

    // A crash right after the slot was made: it is ours, and made again.
    server.sql("SELECT pg_create_logical_replication_slot('millstream_shop', 'pgoutput')").await;
    let mut capture = Capture::start(&options, Some(&intent)).await.unwrap();
    capture.until(9).await;
    assert!(capture.changes.iter().all(|line| line.contains(" r ")), "{:?}", capture.changes);
    capture.stop().await;
}

#[tokio::test]
async fn an_interrupted_copy_begins_anew_with_empty_tables() {
    let (server, options) = with_table().await;
    let mut capture = Capture::start_with(&options, None, 64).await.unwrap();
    capture.until(1).await;
    let position = capture.position.clone();
    // No stop: a crash.
    drop(capture);
    server.sql("DELETE FROM t WHERE id = 1").await;
    let mut capture = retry(&options, position.as_ref()).await;
    capture.until(9).await;
    assert_eq!(capture.changes[0], "public.t t");
    assert_eq!(capture.changes.iter().filter(|line| line.contains(" r ")).count(), 8);
    capture.until_streaming().await;
    server.sql("INSERT INTO t VALUES (10, 'y')").await;
    capture.until(10).await;
    capture.stop().await;
}

/// Starts again while the server may still hold the slot for the connection that died.
async fn retry(options: &Options, after: Option<&Position>) -> Capture {
    for _ in 0..100 {
        match Capture::start(options, after).await {
            Ok(capture) => return capture,
            Err(error) => assert_eq!(error.kind(), Kind::Transient, "{error:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("never started");
}

#[tokio::test]
async fn the_stream_goes_on_after_crashes_and_restarts_without_repeating() {
    let (server, options) = with_table().await;
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until(9).await;
    capture.until_streaming().await;
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for round in 0..6 {
        for id in 0..20 {
            let id = 100 + round * 100 + id;
            server.sql(&format!("INSERT INTO t VALUES ({id}, 'z')")).await;
            expected.push(format!(r#"public.t c key=[Int({id})] after=[Int({id}), Text("z")]"#));
        }
        capture.drain();
        // Read a part, and lose the rest with the connection.
        capture.until(10).await;
        seen.extend(capture.drain());
        let position = capture.position.clone();
        if round == 2 {
            server.restart();
            let error = loop {
                match capture.step().await {
                    Ok(()) => seen.extend(capture.drain()),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), Kind::Transient, "{error:?}");
        }
        let position = capture.position.clone().or(position);
        drop(capture);
        capture = retry(&options, position.as_ref()).await;
    }
    let missing = expected.len() - seen.len();
    capture.until(missing).await;
    seen.extend(capture.drain());
    assert_eq!(seen, expected);
    capture.stop().await;
}

#[tokio::test]
async fn what_could_lose_changes_is_refused() {
    let (server, options) = with_table().await;
    let name = "millstream_shop";
    server.sql(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")).await;
    let error = refused(&options, None).await;
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.remedy().unwrap().contains("SELECT pg_drop_replication_slot('millstream_shop')"));
    server.sql(&format!("SELECT pg_drop_replication_slot('{name}')")).await;

    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until_streaming().await;
    let position = capture.stop().await.unwrap();
    let advance = format!("SELECT pg_replication_slot_advance('{name}', pg_current_wal_lsn())");
    server.sql("INSERT INTO t VALUES (50, 'lost')").await;
    for _ in 0..100 {
        if server.value("SELECT active FROM pg_replication_slots").await == "f" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.sql(&advance).await;
    let error = refused(&options, Some(&position)).await;
    assert_eq!(error.kind(), Kind::Lost, "{error:?}");
    server.sql(&format!("SELECT pg_drop_replication_slot('{name}')")).await;
    assert_eq!(refused(&options, Some(&position)).await.kind(), Kind::Lost);

    let mut bytes = position.as_bytes().to_vec();
    bytes[5] ^= 1;
    let error = refused(&options, Some(&Position::new(bytes))).await;
    assert_eq!(error.kind(), Kind::Lost);
    assert!(error.to_string().contains("cluster"), "{error}");
    assert_eq!(refused(&options, Some(&Position::new(*b"xyz"))).await.kind(), Kind::Corrupt);
}

#[tokio::test]
async fn without_a_copy_only_new_changes_come_and_a_slot_is_used_from_where_it_stands() {
    let (server, mut options) = with_table().await;
    options.snapshot = Snapshot::Never;
    // Without a heartbeat the source is caught up all the same.
    options.heartbeat = Span(0);
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until_streaming().await;
    server.sql("INSERT INTO t VALUES (10, 'y')").await;
    capture.until(1).await;
    assert_eq!(capture.drain(), [r#"public.t c key=[Int(10)] after=[Int(10), Text("y")]"#]);
    capture.stop().await;

    options.slot = Some("theirs".into());
    server.sql("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')").await;
    server.sql("INSERT INTO t VALUES (11, 'y')").await;
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until(1).await;
    assert_eq!(capture.drain(), [r#"public.t c key=[Int(11)] after=[Int(11), Text("y")]"#]);
    capture.stop().await;
}
