//! The server, or the way to it, dies at any moment: nothing twice, nothing lost (I3).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connector_api::{Kind, Sink, Value, ValueKind};
use throwaway_servers::postgres::{Options as ServerOptions, Postgres as Server};

use crate::fixture::{Feed, Harness, LOG, server, table, user, users};

/// Every insert, update and delete that the target ever committed.
const AUDIT: &str = "CREATE TABLE notes (id bigint, text text); CREATE TABLE audit (op text, id bigint);
     CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       INSERT INTO audit VALUES (tg_op, coalesce(new.id, old.id)); RETURN coalesce(new, old); END $$;
     CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON notes FOR EACH ROW EXECUTE FUNCTION audit();";

fn notes() -> crate::fixture::Table {
    table("notes", &[("id", ValueKind::Int), ("text", ValueKind::Text)], &[])
}

/// Applies deliveries until all are committed, starting over after every failure as the deliver loop does.
fn through(harness: &mut Harness, deliveries: &[connector_api::Delivery]) -> usize {
    let (mut at, mut failures) = (0, 0);
    while at < deliveries.len() {
        match harness.try_deliver(&deliveries[at]) {
            Ok(()) => at += 1,
            Err(error) => {
                assert_eq!(error.kind(), Kind::Transient, "{error:?}");
                failures += 1;
                assert!(failures < 2_000, "{error:?}");
                loop {
                    std::thread::sleep(Duration::from_millis(20));
                    match harness.restart() {
                        Ok(_) => break,
                        Err(error) => assert_eq!(error.kind(), Kind::Transient, "{error:?}"),
                    }
                }
                // Each delivery is of one topic, from offset 0 on.
                let next: u64 = harness.cursor.next.values().sum();
                at = deliveries.iter().take_while(|delivery| delivery.sections[0].end() <= next).count();
            }
        }
    }
    failures
}

fn deliveries(count: i64, rows: i64) -> (Feed, Vec<connector_api::Delivery>) {
    let (mut feed, notes) = (Feed::new(), notes());
    let take = |delivery: i64| {
        for row in 0..rows {
            feed.insert(&notes, &[Value::Int(delivery * rows + row), Value::Text("text")]);
        }
        feed.take()
    };
    let all = (0..count).map(take).collect();
    (feed, all)
}

#[test]
fn a_server_that_dies_again_and_again() {
    let server = Server::start(ServerOptions::new());
    let url = server.url("postgres");
    let mut harness = Harness::at(url, "postgres".into(), server.session("postgres"), |_| {}, AUDIT);
    let (feed, deliveries) = deliveries(60, 100);
    harness.feed = feed;
    let over = Arc::new(AtomicBool::new(false));
    let (stop, mut server) = (over.clone(), server);
    let killer = std::thread::spawn(move || {
        let mut crashes = 0;
        while !stop.load(Ordering::Relaxed) && crashes < 5 {
            std::thread::sleep(Duration::from_millis(60 * (crashes + 1)));
            server.crash();
            server.start_again();
            crashes += 1;
        }
        (server, crashes)
    });
    through(&mut harness, &deliveries);
    over.store(true, Ordering::Relaxed);
    let (server, crashes) = killer.join().unwrap();
    assert!(crashes > 0);
    harness.restart().unwrap();
    let session = server.session("postgres");
    let counts = "SELECT count(*), count(DISTINCT id) FROM notes";
    assert_eq!(crate::fixture::rows(&session, counts), ["6000|6000"]);
    assert_eq!(crate::fixture::rows(&session, &counts.replace("notes", "audit")), ["6000|6000"]);
}

#[test]
fn sessions_that_are_killed_at_any_moment() {
    let mut harness = Harness::on(AUDIT);
    let (feed, deliveries) = deliveries(150, 20);
    harness.feed = feed;
    let over = Arc::new(AtomicBool::new(false));
    let (stop, database) = (over.clone(), harness.database.clone());
    let killer = std::thread::spawn(move || {
        let session = server().session("postgres");
        let mut killed = 0;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(7));
            killed += session
                .query_text(&format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'millstream' AND random() < 0.3"
                ))
                .len();
        }
        killed
    });
    through(&mut harness, &deliveries);
    over.store(true, Ordering::Relaxed);
    assert!(killer.join().unwrap() > 0);
    assert_eq!(harness.rows("SELECT count(*), count(DISTINCT id) FROM notes"), ["3000|3000"]);
    assert_eq!(harness.rows("SELECT count(*), count(DISTINCT id) FROM audit"), ["3000|3000"]);
}

/// A way to the server that can swallow its answers.
struct Proxy {
    port: u16,
    /// Answers are dropped from the moment that a COMMIT passes.
    swallow: Arc<AtomicBool>,
}

impl Proxy {
    fn before(port: u16) -> Proxy {
        use std::io::{Read, Write};
        use std::net::{TcpListener, TcpStream};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), swallow: Arc::default() };
        let swallow = proxy.swallow.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, mut server) =
                    (client.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
                let dropping = Arc::new(AtomicBool::new(false));
                let (mut from_server, mut to_client) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                let (swallow, dropped) = (swallow.clone(), dropping.clone());
                std::thread::spawn(move || {
                    let mut bytes = [0; 16 << 10];
                    while let Ok(count) = from_server.read(&mut bytes) {
                        if count == 0 || dropping.load(Ordering::SeqCst) {
                            break;
                        }
                        if to_client.write_all(&bytes[..count]).is_err() {
                            break;
                        }
                    }
                    to_client.shutdown(std::net::Shutdown::Both).ok();
                });
                std::thread::spawn(move || {
                    let mut bytes = [0; 16 << 10];
                    while let Ok(count) = client.read(&mut bytes) {
                        // The first commit prepares the statement, and later ones execute it: the cursor is in both.
                        let cursor = bytes[..count].windows(7).any(|part| part == b"billing");
                        if count > 0 && cursor && swallow.swap(false, Ordering::SeqCst) {
                            dropped.store(true, Ordering::SeqCst);
                        }
                        if count == 0 || server.write_all(&bytes[..count]).is_err() {
                            break;
                        }
                    }
                    server.shutdown(std::net::Shutdown::Write).ok();
                });
            }
        });
        proxy
    }
}

#[test]
fn the_answer_to_a_commit_is_lost() {
    let mut harness = Harness::on(AUDIT);
    let proxy = Proxy::before(server().port());
    let direct = harness.options.clone();
    harness.options = connector_postgres::sink::Options::new(format!(
        "postgres://postgres@127.0.0.1:{}/{}?sslmode=disable",
        proxy.port, harness.database
    ));
    harness.restart().unwrap();
    let (feed, deliveries) = deliveries(6, 10);
    harness.feed = feed;
    let mut lost = 0;
    for (at, delivery) in deliveries.iter().enumerate() {
        harness.apply(delivery).unwrap();
        proxy.swallow.store(at % 2 == 1, Ordering::SeqCst);
        let committed = harness.commit(delivery);
        if at % 2 == 1 {
            assert_eq!(committed.unwrap_err().kind(), Kind::Transient);
            lost += 1;
            // The target has the last word: it did commit.
            let cursor = harness.restart().unwrap().unwrap();
            assert_eq!(cursor.next.values().sum::<u64>(), (at as u64 + 1) * 10);
        } else {
            committed.unwrap();
        }
    }
    assert_eq!(lost, 3);
    harness.options = direct;
    assert_eq!(harness.rows("SELECT count(*), count(DISTINCT id) FROM audit"), ["60|60"]);
}

#[test]
fn a_deadlock_and_a_lock_that_is_not_given_up_are_transient() {
    let mut harness = Harness::with(
        |options| options.lock_timeout = connector_api::options::Span::millis(300),
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, note text); INSERT INTO users VALUES (1, 'a'), (2, 'b');",
    );
    let users = users();
    let other = server().session(&harness.database);
    other.execute("BEGIN; UPDATE users SET name = 'theirs' WHERE id = 1");
    harness.feed.update(&users, &user(1, "ours"));
    let delivery = harness.feed.take();
    let error = harness.try_deliver(&delivery).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.to_string().contains("55P03") && error.remedy().is_some(), "{error:?}");
    other.execute("ROLLBACK");

    harness.options.lock_timeout = connector_api::options::Span::secs(30);
    harness.restart().unwrap();
    harness.feed.update(&users, &user(2, "ours"));
    let first = harness.feed.take();
    assert!(harness.apply(&first).unwrap().is_empty());
    other.execute("SET deadlock_timeout = '30s'; BEGIN; UPDATE users SET name = 'theirs' WHERE id = 1");
    let waiting = std::thread::spawn(move || {
        other.execute("UPDATE users SET name = 'theirs' WHERE id = 2; COMMIT");
    });
    std::thread::sleep(Duration::from_millis(300));
    let error = harness.apply(&delivery).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.to_string().contains("40P01"), "{error:?}");
    waiting.join().unwrap();
    harness.restart().unwrap();
    harness.try_deliver(&delivery).unwrap();
    assert_eq!(harness.rows("SELECT id, name FROM users ORDER BY id"), ["1|ours", "2|theirs"]);
}

#[test]
fn a_server_that_is_down_or_takes_no_writes() {
    let mut server = Server::start(ServerOptions::new());
    let session = server.session("postgres");
    let mut harness = Harness::at(server.url("postgres"), "postgres".into(), session, |_| {}, "");
    harness.feed.insert(&users(), &user(1, "ann"));
    let delivery = harness.feed.take();
    server.stop();
    assert_eq!(harness.try_deliver(&delivery).unwrap_err().kind(), Kind::Transient);
    let error = harness.restart().unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    server.start_again();
    server.execute("ALTER ROLE postgres SET default_transaction_read_only = on");
    let error = harness.restart().and_then(|_| harness.try_deliver(&delivery)).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.remedy().unwrap().contains("primary"), "{error:?}");
    let session = server.session("postgres");
    session.execute("SET default_transaction_read_only = off");
    session.execute("ALTER ROLE postgres RESET default_transaction_read_only");
    harness.restart().unwrap();
    harness.try_deliver(&delivery).unwrap();
    assert_eq!(harness.runtime.block_on(harness.sink.start(LOG)).unwrap().unwrap().next.len(), 1);
}

#[test]
fn by_tls_and_with_a_password() {
    let server = Server::start(ServerOptions::new().scram("secret").require_tls());
    let root = throwaway_servers::postgres::certificates().authority.display().to_string();
    let url =
        format!("{}?sslmode=verify-full&sslrootcert={root}&channel_binding=require", server.url("postgres"));
    let mut harness = Harness::at(url, "postgres".into(), server.session("postgres"), |_| {}, "");
    harness.feed.insert(&users(), &user(1, "ann"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT name FROM users"), ["ann"]);
    harness.options =
        connector_postgres::sink::Options::new(server.url("postgres").replace("secret", "wrong"));
    let error = harness.restart().unwrap_err();
    assert_eq!(error.kind(), Kind::Auth);
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
}
