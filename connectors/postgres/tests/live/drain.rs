//! How fast a backlog is read, beside `pg_recvlogical` in the same run. Prints; asserts only that all was read.
//!
//! `DRAIN="W1 tcp"` runs that part only.
//! `CARGO_PROFILE_DEV_OPT_LEVEL=3 cargo test -p connector-postgres --test live -- --ignored --nocapture drain`

use crate::support::server::{Server, as_postgres};
use connector_api::{BatchBuilder, Source};
use connector_postgres::{Options, Snapshot};
use std::process::Stdio;
use std::time::{Duration, Instant};

const TABLE: &str =
    "CREATE TABLE bench (id bigserial PRIMARY KEY, name text, email text, amount numeric(12,2), n int,
    created_at timestamptz, active bool)";
const ROW: &str = "'a user''s name', 'user@example.com', 1234.56, 42, now(), true";

/// Reads like the capture loop, confirms at once and throws the batches away.
async fn drain(source: &mut Box<dyn Source>, into: &mut BatchBuilder, mut records: u64) -> (u64, u64) {
    let mut batches = 0;
    while records > 0 {
        let position = source.read(into).await.unwrap();
        let batch = into.take(position);
        records = records.saturating_sub(batch.records());
        batches += u64::from(batch.records() > 0);
        if let Some(position) = &batch.position {
            source.confirm(position).await.unwrap();
        }
    }
    (records, batches)
}

async fn started(options: &Options) -> (Box<dyn Source>, BatchBuilder) {
    let mut source = connector_postgres::source("shop", options).unwrap();
    let mut into = BatchBuilder::new("shop", 1 << 20);
    source.start(None).await.unwrap();
    let intent = source.read(&mut into).await.unwrap().unwrap();
    source.confirm(&intent).await.unwrap();
    (source, into)
}

fn recvlogical(server: &Server, host: &str, end: &str) -> Duration {
    let begun = Instant::now();
    let status = as_postgres("pg_recvlogical")
        .args(["-h", host, "-p", &server.port.to_string(), "-U", "postgres", "-d", "postgres"])
        .args([
            "--slot",
            "reference",
            "--start",
            "-f",
            "/dev/null",
            "-o",
            "proto_version=1",
            "-o",
            "publication_names=p",
        ])
        .args(["--endpos", end])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    begun.elapsed()
}

#[tokio::test]
#[ignore = "prints how fast a backlog is read"]
async fn drain_of_a_backlog() {
    let server =
        Server::start(&["max_wal_size = 8GB", "shared_buffers = 512MB"], "host all all 127.0.0.1/32 trust");
    server.sql(&format!("{TABLE}; CREATE PUBLICATION p FOR TABLE bench")).await;
    let tcp = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", server.port);
    let loads = [
        ("W1", 1_000_000, format!("DO $$ BEGIN FOR i IN 1..1000 LOOP INSERT INTO bench (name, email, amount, n, created_at, active) SELECT {ROW} FROM generate_series(1, 1000); COMMIT; END LOOP; END $$")),
        ("W2", 300_000, "DO $$ BEGIN FOR i IN 1..3000 LOOP FOR j IN 1..100 LOOP UPDATE bench SET n = n + 1 WHERE id = (SELECT 1 + (random() * 999999)::int); END LOOP; COMMIT; END LOOP; END $$".to_owned()),
        ("W3", 200_000, format!("DO $$ BEGIN FOR i IN 1..200000 LOOP INSERT INTO bench (name, email, amount, n, created_at, active) VALUES ({ROW}); COMMIT; END LOOP; END $$")),
    ];
    for (name, count, load) in loads {
        for round in 0..2 {
            for transport in ["unix", "tcp"] {
                if std::env::var("DRAIN").is_ok_and(|only| !only.contains(name) || !only.contains(transport))
                {
                    continue;
                }
                server.sql("SELECT pg_create_logical_replication_slot(s, 'pgoutput') FROM unnest(ARRAY['ours', 'reference']) s").await;
                server.sql(&load).await;
                let end = server.value("SELECT pg_current_wal_flush_lsn()").await;
                let mut options =
                    Options::new(if transport == "unix" { server.url() } else { tcp.clone() }, &["bench"]);
                options.snapshot = Snapshot::Never;
                options.slot = Some("ours".into());
                options.publication = Some("p".into());
                let (mut source, mut into) = started(&options).await;
                let begun = Instant::now();
                let (left, batches) = drain(&mut source, &mut into, count).await;
                let ours = begun.elapsed();
                assert_eq!(left, 0);
                source.stop().await.unwrap();
                let socket = server.directory().display().to_string();
                let host = if transport == "unix" { socket.as_str() } else { "127.0.0.1" };
                let theirs = recvlogical(&server, host, &end);
                let rate = |time: Duration| count as f64 / time.as_secs_f64() / 1000.0;
                println!(
                    "{name} {transport} round {round}: {:.0}k/s in {batches} batches; pg_recvlogical {:.0}k/s; ratio {:.2}",
                    rate(ours),
                    rate(theirs),
                    theirs.as_secs_f64() / ours.as_secs_f64()
                );
                server
                    .sql("SELECT pg_drop_replication_slot(s) FROM unnest(ARRAY['ours', 'reference']) s")
                    .await;
            }
        }
    }
    let (mut source, mut into) = started(&Options::new(server.url(), &["bench"])).await;
    let rows: u64 = server.value("SELECT count(*) FROM bench").await.parse().unwrap();
    let begun = Instant::now();
    drain(&mut source, &mut into, rows).await;
    println!("copy: {:.0}k rows/s", rows as f64 / begun.elapsed().as_secs_f64() / 1000.0);
    source.stop().await.unwrap();
}
