//! Copy, then stream: every operation, without a gap or an overlap.

use crate::support::capture::Capture;
use crate::support::server::Server;
use connector_api::options::Span;
use connector_postgres::Options;
use std::time::Duration;

#[tokio::test]
async fn rows_before_and_after_the_start_come_once() {
    let server = Server::start(&[], "");
    server
        .sql(
            "CREATE TABLE users (id int PRIMARY KEY, name text); CREATE SCHEMA shop;
             CREATE TABLE shop.\"Order Items\" (\"Größe\" text, n int, note text, PRIMARY KEY (n, \"Größe\"));
             INSERT INTO users VALUES (1, 'a\tb\\c'), (2, NULL);
             INSERT INTO shop.\"Order Items\" VALUES ('XL', 1, 'x');
             CREATE TABLE other (id int PRIMARY KEY)",
        )
        .await;
    let options = Options::new(server.url(), &["users", "shop.*"]);
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until(3).await;
    let mut copied = capture.drain();
    copied.sort();
    assert_eq!(
        copied,
        [
            r#"public.users r key=[Int(1)] after=[Int(1), Text("a\tb\\c")]"#,
            r#"public.users r key=[Int(2)] after=[Int(2), Null]"#,
            r#"shop.Order Items r key=[Text("XL"), Int(1)] after=[Text("XL"), Int(1), Text("x")]"#,
        ]
    );
    capture.until_streaming().await;
    server
        .sql(
            "BEGIN; INSERT INTO users VALUES (3, 'c'); UPDATE shop.\"Order Items\" SET note = 'y'; DELETE FROM users WHERE id = 1; COMMIT;
             INSERT INTO other VALUES (1);
             UPDATE users SET id = 20 WHERE id = 2;
             TRUNCATE users, shop.\"Order Items\"",
        )
        .await;
    capture.until(7).await;
    assert_eq!(
        capture.drain(),
        [
            r#"public.users c key=[Int(3)] after=[Int(3), Text("c")]"#,
            r#"shop.Order Items u key=[Text("XL"), Int(1)] after=[Text("XL"), Int(1), Text("y")]"#,
            r#"public.users d tombstone key=[Int(1)]"#,
            r#"public.users u key=[Int(20)] old=[Int(2)] after=[Int(20), Null]"#,
            r#"public.users d tombstone key=[Int(2)]"#,
            r#"public.users t"#,
            r#"shop.Order Items t"#,
        ]
    );
    capture.stop().await;
}

#[tokio::test]
async fn large_tables_are_copied_in_pieces_while_they_change() {
    let server = Server::start(&[], "");
    // About 100 MiB: two ranges of pages.
    server
        .sql(
            "CREATE TABLE big (id int PRIMARY KEY, pad text);
             INSERT INTO big SELECT g, repeat('x', 900) FROM generate_series(1, 100000) g; ANALYZE big",
        )
        .await;
    let options = Options::new(server.url(), &["big"]);
    let mut capture = Capture::start_with(&options, None, 1 << 20).await.unwrap();
    capture.step().await.unwrap();
    capture.step().await.unwrap();
    server.sql("UPDATE big SET pad = 'new' WHERE id % 1000 = 0; INSERT INTO big VALUES (0, 'last')").await;
    let progress = capture.source.status().snapshot.unwrap();
    assert_eq!((progress.tables_total, progress.rows_estimated), (1, 100_000));
    capture.until(100_101).await;
    let reads: std::collections::HashSet<_> =
        capture.changes.iter().filter(|line| line.contains(" r ")).map(|line| &line[..30]).collect();
    let read_rows = capture.changes.iter().filter(|line| line.contains(" r ")).count();
    assert_eq!((read_rows, reads.len() > 50_000), (100_000, true));
    assert!(capture.changes.iter().all(|line| !(line.contains(" r ") && line.contains("new"))));
    assert_eq!(capture.changes.iter().filter(|line| line.contains(" u ")).count(), 100);
    capture.stop().await;
}

#[tokio::test]
async fn a_huge_transaction_passes_in_chunks() {
    let server = Server::start(&[], "");
    server.sql("CREATE TABLE t (id int PRIMARY KEY, pad text)").await;
    let options = Options::new(server.url(), &["t"]);
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until_streaming().await;
    let before = capture.batches.len();
    server.sql("INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g").await;
    capture.until(50_000).await;
    let chunks = &capture.batches[before..];
    let chunks: Vec<_> = chunks.iter().filter(|batch| batch.records() > 0).collect();
    // A chunk is four times as large as a batch of whole transactions.
    assert!(chunks.len() > 20, "{}", chunks.len());
    assert!(chunks.iter().all(|batch| batch.len() < 280 << 10));
    // No position inside a transaction (I2); the last chunk has one.
    let (last, inner) = chunks.split_last().unwrap();
    assert!(inner.iter().all(|batch| batch.position.is_none() && batch.continues));
    assert!(last.position.is_some() && last.continued && !last.continues);
    capture.stop().await;
}

#[tokio::test]
async fn a_changed_table_has_a_new_shape() {
    let server = Server::start(&[], "");
    server.sql("CREATE TABLE t (id int PRIMARY KEY, a text, b int NOT NULL)").await;
    let options = Options::new(server.url(), &["t"]);
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until_streaming().await;
    server
        .sql(
            "INSERT INTO t VALUES (1, 'x', 2);
             ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN c numeric(12, 2) DEFAULT 1.5;
             INSERT INTO t VALUES (2, 3);
             ALTER TABLE t RENAME COLUMN c TO d; ALTER TABLE t ALTER COLUMN b TYPE text;
             INSERT INTO t VALUES (3, 'z', 4)",
        )
        .await;
    capture.until(3).await;
    assert_eq!(
        capture.drain(),
        [
            r#"public.t c key=[Int(1)] after=[Int(1), Text("x"), Int(2)]"#,
            r#"public.t c key=[Int(2)] after=[Int(2), Int(3), Decimal("1.50")]"#,
            r#"public.t c key=[Int(3)] after=[Int(3), Text("z"), Decimal("4.00")]"#,
        ]
    );
    let schema =
        capture.batches.iter().rev().find_map(|batch| batch.sections.last()).unwrap().schema.clone().unwrap();
    let columns: Vec<_> =
        schema.columns.iter().map(|c| (c.name.as_str(), c.type_name.as_str(), c.nullable)).collect();
    assert_eq!(columns, [("id", "integer", false), ("b", "text", false), ("d", "numeric(12,2)", true)]);
    capture.stop().await;
}

#[tokio::test]
async fn partitions_appear_as_their_root() {
    let server = Server::start(&[], "");
    server
        .sql(
            "CREATE TABLE m (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
             CREATE TABLE m1 PARTITION OF m FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
             CREATE TABLE m2 (day date NOT NULL, gone int, id int NOT NULL); ALTER TABLE m2 DROP COLUMN gone;
             ALTER TABLE m ATTACH PARTITION m2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
             INSERT INTO m VALUES (1, '2026-01-05'), (2, '2026-02-05')",
        )
        .await;
    let options = Options::new(server.url(), &["m"]);
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until(2).await;
    capture.until_streaming().await;
    server
        .sql(
            "INSERT INTO m VALUES (3, '2026-01-06'), (4, '2026-02-06');
             CREATE TABLE m3 PARTITION OF m FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');
             INSERT INTO m VALUES (5, '2026-03-06')",
        )
        .await;
    capture.until(5).await;
    let mut changes = capture.drain();
    changes.sort();
    let head: Vec<_> = changes.iter().map(|line| line.split(", ").next().unwrap()).collect();
    assert_eq!(
        head,
        [
            "public.m c key=[Int(3)",
            "public.m c key=[Int(4)",
            "public.m c key=[Int(5)",
            "public.m r key=[Int(1)",
            "public.m r key=[Int(2)"
        ]
    );
    capture.stop().await;

    let leaves = Options {
        slot: Some("leaves".into()),
        publication: Some("leaves".into()),
        publish_via_partition_root: false,
        ..options
    };
    let mut capture = Capture::start(&leaves, None).await.unwrap();
    capture.until(5).await;
    capture.until_streaming().await;
    server.sql("INSERT INTO m VALUES (6, '2026-02-07')").await;
    capture.until(6).await;
    assert!(capture.changes.last().unwrap().starts_with("public.m2 c key="), "{:?}", capture.changes);
    assert_eq!(capture.changes.iter().filter(|line| line.starts_with("public.m1 r")).count(), 2);
    capture.stop().await;
}

#[tokio::test]
async fn an_idle_slot_moves_and_a_blocked_reader_is_kept() {
    let server = Server::start(&["wal_sender_timeout = 1500ms"], "");
    server.sql("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)").await;
    let mut options = Options::new(server.url(), &["t"]);
    options.heartbeat = Span::millis(300);
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until_streaming().await;
    let confirmed = "SELECT confirmed_flush_lsn FROM pg_replication_slots";
    let first = server.value(confirmed).await;
    let until = tokio::time::Instant::now() + Duration::from_secs(4);
    while tokio::time::timeout_at(until, capture.step()).await.is_ok() {}
    let behind = server
        .value("SELECT pg_current_wal_flush_lsn() - confirmed_flush_lsn FROM pg_replication_slots")
        .await;
    assert_ne!(server.value(confirmed).await, first);
    assert!(behind.parse::<i64>().unwrap() < 10_000, "{behind}");
    assert_eq!(capture.changes.len(), 0);
    // The log has no room for three seconds, twice the server's patience.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        capture.source.keep_alive().await.unwrap();
    }
    server.sql("INSERT INTO t VALUES (1)").await;
    capture.until(1).await;
    capture.stop().await;
}

#[tokio::test]
async fn dropped_reads_lose_nothing() {
    let server = Server::start(&[], "");
    server.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 2000)").await;
    let options = Options::new(server.url(), &["t"]);
    let mut capture = Capture::start_with(&options, None, 8 << 10).await.unwrap();
    let writer = {
        let client = server.client().await;
        tokio::spawn(async move {
            for id in 2001..4000 {
                client.batch_execute(&format!("INSERT INTO t VALUES ({id})")).await.unwrap();
            }
        })
    };
    let mut cut = 0u64;
    while capture.changes.len() < 3999 {
        cut += 1;
        let limit = Duration::from_micros(cut * 37 % 2000);
        tokio::time::timeout(limit, capture.step()).await.map_or(Ok(()), |step| step).unwrap();
        assert!(cut < 200_000);
    }
    writer.await.unwrap();
    let ids: std::collections::BTreeSet<_> = capture
        .changes
        .iter()
        .filter_map(|line| line.split("Int(").nth(1)?.split(')').next()?.parse::<u32>().ok())
        .collect();
    assert_eq!((ids.len(), capture.changes.len()), (3999, 3999));
    capture.stop().await;
}
