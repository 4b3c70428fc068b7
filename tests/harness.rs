//! The harness itself: what the other tests take for granted.

use std::process::{Command, Output};
use std::time::Duration;

use crate::support::postgres::{Options, Postgres, Session, certificates};
use crate::support::process::Millstream;
use crate::support::seed::Rng;
use crate::support::skip::skip;
use crate::support::workdir::Workdir;

/// `SELECT 1` by psql, which speaks TLS and knows every `sslmode`.
fn psql(server: &Postgres, url: &str) -> Output {
    Command::new(server.binaries().program("psql"))
        .args(["--no-psqlrc", "-Atqc", "SELECT 1", url])
        .env_remove("PGPASSWORD")
        .output()
        .expect("start psql")
}

fn accepts(server: &Postgres, url: &str) {
    let output = psql(server, url);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == b"1\n", "{url} was refused: {stderr}");
}

fn refuses(server: &Postgres, url: &str, reason: &str) {
    let output = psql(server, url);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains(reason), "{url}: {stderr}");
}

#[test]
fn a_server_starts_by_tcp_and_socket_and_keeps_its_data() {
    let mut server = Postgres::start(Options::new().set("work_mem", "7MB"));
    assert_eq!(server.value("SHOW wal_level"), "logical");
    assert_eq!(server.value("SHOW work_mem"), "7MB");
    let shop = server.create_database("shop");
    shop.execute("CREATE TABLE t(id int PRIMARY KEY, x text); INSERT INTO t VALUES (1, 'a'), (2, NULL)");
    for url in [server.url("shop"), server.socket_url("shop")] {
        let rows = Session::connect(&url).expect("connect").query_text("SELECT id, x FROM t ORDER BY id");
        assert_eq!(rows, [[Some("1".into()), Some("a".into())], [Some("2".into()), None]]);
    }
    server.restart();
    assert!(shop.try_execute("SELECT 1").is_err(), "a stop ends the sessions");
    let shop = server.session("shop");
    shop.execute("INSERT INTO t VALUES (3, 'c')");
    server.crash();
    server.start_again();
    assert_eq!(server.session("shop").value("SELECT count(*) FROM t"), "3");
    assert!(server.log().contains("automatic recovery in progress"), "{}", server.log());
}

#[test]
fn servers_start_side_by_side() {
    let ports: Vec<u16> = std::thread::scope(|scope| {
        let start = || {
            let server = Postgres::start(Options::new());
            assert_eq!(server.value("SELECT 1"), "1");
            (server.port(), server)
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
        let servers: Vec<_> =
            threads.into_iter().map(|thread| thread.join().expect("start a server")).collect();
        servers.iter().map(|(port, _)| *port).collect()
    });
    assert!(ports.iter().all(|port| ports.iter().filter(|other| *other == port).count() == 1), "{ports:?}");
}

#[test]
fn scram_asks_for_the_password() {
    let server = Postgres::start(Options::new().scram("a b/c:d@e"));
    assert_eq!(server.value("SELECT 1"), "1");
    accepts(&server, &server.url("postgres"));
    accepts(&server, &server.socket_url("postgres"));
    refuses(
        &server,
        &format!("postgres://postgres:wrong@localhost:{}/postgres", server.port()),
        "authentication failed",
    );
    refuses(
        &server,
        &format!("postgres://postgres@localhost:{}/postgres?passfile=/", server.port()),
        "no password",
    );
}

#[test]
fn tls_verifies_the_server_and_the_name() {
    let server = Postgres::start(Options::new().scram("secret").require_tls());
    let files = certificates();
    let (good, bad) = (files.authority.display(), files.stranger.display());
    let url = server.url("postgres");
    refuses(&server, &format!("{url}?sslmode=disable"), "no encryption");
    accepts(&server, &format!("{url}?sslmode=require"));
    accepts(&server, &format!("{url}?sslmode=verify-full&sslrootcert={good}"));
    accepts(&server, &format!("{url}?sslmode=require&channel_binding=require"));
    refuses(&server, &format!("{url}?sslmode=verify-full&sslrootcert={bad}"), "certificate verify failed");
    let by_address = url.replace("localhost", "127.0.0.1");
    accepts(&server, &format!("{by_address}?sslmode=verify-ca&sslrootcert={good}"));
    refuses(
        &server,
        &format!("{by_address}?sslmode=verify-full&sslrootcert={good}"),
        "does not match host name",
    );
}

#[test]
fn tls_verifies_the_client() {
    let server = Postgres::start(Options::new().require_client_certificate());
    let files = certificates();
    let url = format!("{}?sslmode=require", server.url("postgres"));
    refuses(&server, &format!("{url}&sslcert=/none"), "requires a valid client certificate");
    accepts(
        &server,
        &format!("{url}&sslcert={}&sslkey={}", files.client.display(), files.client_key.display()),
    );
}

#[test]
fn other_majors_start() {
    let installed = Postgres::start(Options::new()).major();
    let others: Vec<u32> = Postgres::majors().into_iter().filter(|major| *major != installed).collect();
    if others.is_empty() {
        return skip(
            "harness::other_majors_start",
            "no other major is here; scripts/postgres-versions fetches them",
        );
    }
    for major in others {
        let server = Postgres::start(Options::new().major(major));
        let version: u32 = server.value("SHOW server_version_num").parse().expect("a number");
        assert_eq!(version / 10_000, major);
        server.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
    }
}

#[test]
fn a_seed_repeats_its_choices() {
    let choices = |mut rng: Rng| -> Vec<u64> { (0..100).map(|_| rng.below(1000)).collect() };
    let once = choices(Rng::new(7));
    assert_eq!(once, choices(Rng::new(7)));
    assert_ne!(once, choices(Rng::new(8)));
    assert!(once.iter().any(|n| *n < 200) && once.iter().any(|n| *n >= 800), "{once:?}");
    // The first output of splitmix64 for seed 0, as published.
    assert_eq!(Rng::new(0).next_u64(), 0xE220_A839_7B1D_CDAF);
}

#[test]
fn the_binary_runs_in_its_directory() {
    let directory = Workdir::new("binary");
    let path = directory.path().to_owned();
    let mut process = Millstream::spawn(&path, "version", &["--version"]);
    process.expect_exit(0, Duration::from_secs(10));
    assert!(!process.is_running());
    drop(process);
    assert!(directory.join("version.out").exists() && directory.join("version.err").exists());
    drop(directory);
    assert!(!path.exists(), "a passed test leaves nothing");
}
