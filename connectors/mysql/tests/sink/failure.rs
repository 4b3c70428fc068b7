//! Crashes, lost answers, deadlocks, and two sinks of one name.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use connector_api::{Cursor, Delivery, Kind, Sink, Value, ValueKind};
use connector_mysql::{Mysql, Options};
use throwaway_servers::mariadb::{self, MariaDb};

use crate::fixture::{Harness, LOG, Table, installed, table, user, users};

/// Every effect on `users` leaves a line, in the same transaction.
const AUDIT: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name longtext, note longtext) CHARACTER SET utf8mb4;
    CREATE TABLE audit (n bigint AUTO_INCREMENT PRIMARY KEY, id bigint, name longtext) CHARACTER SET utf8mb4;
    CREATE TRIGGER i AFTER INSERT ON users FOR EACH ROW INSERT INTO audit (id, name) VALUES (NEW.id, NEW.name);
    CREATE TRIGGER u AFTER UPDATE ON users FOR EACH ROW INSERT INTO audit (id, name) VALUES (NEW.id, NEW.name)";

/// Keeps applying until the cursor has passed the delivery, starting over as the deliver loop does.
fn persist(h: &mut Harness, delivery: &Delivery) {
    let mut wanted = h.cursor.clone();
    delivery.advance(&mut wanted);
    for _ in 0..200 {
        let stored = match h.restart() {
            Ok(stored) => stored.unwrap_or(Cursor::start(LOG)),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Transient, "{error:?}");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if stored == wanted {
            return;
        }
        match h.apply(delivery).and_then(|refused| {
            assert!(refused.is_empty(), "{refused:?}");
            h.commit(delivery)
        }) {
            Ok(()) => return,
            Err(error) => assert_eq!(error.kind(), Kind::Transient, "{error:?}"),
        }
    }
    panic!("the sink never came through");
}

#[test]
fn a_server_that_is_killed_loses_and_doubles_nothing() {
    if !installed("a_server_that_is_killed_loses_and_doubles_nothing") {
        return;
    }
    let mut server = MariaDb::start(mariadb::Options::new().durable());
    let mut h = Harness::at(&server, |_| {}, AUDIT);
    let users = users();
    h.route(&[&users]);
    const ROUNDS: i64 = 6;
    for round in 0..ROUNDS {
        for id in 0..200 {
            h.feed.update(&users, &user(id, &format!("round {round}")));
        }
        let delivery = h.feed.take();
        match round % 3 {
            // Between flush and commit.
            0 => {
                h.apply(&delivery).unwrap();
                server.crash();
                let mut moved = h.cursor.clone();
                delivery.advance(&mut moved);
                assert!(h.runtime.block_on(h.sink.commit(&moved)).is_err());
                server.start_again();
            }
            // At any moment.
            1 => thread::scope(|scope| {
                let killer = scope.spawn(|| {
                    thread::sleep(Duration::from_millis(3 + 4 * round as u64));
                    server.crash();
                    thread::sleep(Duration::from_millis(100));
                    server.start_again();
                });
                persist(&mut h, &delivery);
                killer.join().unwrap();
            }),
            _ => {}
        }
        // After a restart the truth is what the target says.
        persist(&mut h, &delivery);
        delivery.advance(&mut h.cursor);
    }
    h.session = server.session(&h.database);
    let counted = h.rows("SELECT count(*), count(DISTINCT id, name) FROM audit");
    assert_eq!(counted, [format!("{0}|{0}", ROUNDS * 200)]);
}

/// Passes bytes on, until it is told to swallow the server's answer to a COMMIT: then the client's connection breaks.
fn proxy(port: u16, swallow: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let swallow = swallow.clone();
            let cut = Arc::new(AtomicBool::new(false));
            let cutting = cut.clone();
            thread::spawn(move || {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = from.read(&mut bytes) {
                    let commits = bytes[..count].windows(8).any(|window| window == b"; COMMIT");
                    if commits && swallow.swap(false, Ordering::SeqCst) {
                        cutting.store(true, Ordering::SeqCst);
                    }
                    if to.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
            });
            let (mut from, mut to) = (server, client);
            thread::spawn(move || {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = from.read(&mut bytes) {
                    if cut.load(Ordering::SeqCst) || to.write_all(&bytes[..count]).is_err() {
                        let _ = to.shutdown(std::net::Shutdown::Both);
                        break;
                    }
                }
            });
        }
    });
    own
}

#[test]
fn an_answer_that_is_lost_after_a_commit_leaves_no_doubt() {
    if !installed("an_answer_that_is_lost_after_a_commit_leaves_no_doubt") {
        return;
    }
    let server = MariaDb::start(mariadb::Options::new());
    let swallow = Arc::new(AtomicBool::new(false));
    let port = proxy(server.port(), swallow.clone());
    let direct = format!(":{}/", server.port());
    // A table without a key: what came twice would be there twice.
    let kinds = [("n", ValueKind::Int)];
    let log = table("log", &kinds, &[]);
    let mut h = Harness::at(
        &server,
        |options| *options = Options::new(options.url.expose().replace(&direct, &format!(":{port}/"))),
        "",
    );
    h.route(&[&log]);
    for round in 0..5 {
        h.feed.insert(&log, &[Value::Int(round)]);
        let delivery = h.feed.take();
        h.apply(&delivery).unwrap();
        swallow.store(true, Ordering::SeqCst);
        let before = h.cursor.clone();
        let error = h.commit(&delivery).unwrap_err();
        assert_eq!(error.kind(), Kind::Transient, "{error:?}");
        h.cursor = before;
        persist(&mut h, &delivery);
        let mut moved = h.cursor.clone();
        delivery.advance(&mut moved);
        h.cursor = moved;
    }
    assert_eq!(h.rows("SELECT count(*), count(DISTINCT n) FROM log"), ["5|5"]);
}

#[test]
fn a_deadlock_is_passing() {
    let Some(mut h) = Harness::new("a_deadlock_is_passing") else { return };
    let users = users();
    h.route(&[&users]);
    h.feed.insert(&users, &user(1, "a")).insert(&users, &user(2, "b"));
    h.deliver();
    let other = &h.session;
    other.execute("START TRANSACTION; UPDATE users SET note = 'other' WHERE id = 2");
    // Heavy, so that the server does not choose it as the victim.
    other.execute("CREATE TEMPORARY TABLE many SELECT seq FROM seq_1_to_2000");
    other.execute("CREATE TABLE IF NOT EXISTS heavy (n int) ENGINE = InnoDB");
    other.execute(
        "START TRANSACTION; INSERT INTO heavy SELECT seq FROM many; UPDATE users SET note = 'o' WHERE id = 2",
    );
    h.feed.update(&users, &user(1, "aa"));
    let first = h.feed.take();
    h.apply(&first).unwrap();
    h.feed.update(&users, &user(2, "bb"));
    let second = h.feed.take();
    let error = thread::scope(|scope| {
        let other = &h.session;
        let waiting = scope.spawn(move || {
            thread::sleep(Duration::from_millis(300));
            other.try_execute("UPDATE users SET note = 'o' WHERE id = 1").map_err(|error| error.to_string())
        });
        let result = apply_only(&mut h.sink, &h.runtime, &users, &second);
        waiting.join().unwrap().unwrap();
        result.unwrap_err()
    });
    assert_eq!(error.kind(), Kind::Transient, "{error:?}");
    assert!(error.to_string().contains("deadlock"), "{error}");
    h.session.execute("COMMIT");
    h.runtime.block_on(h.sink.rollback()).unwrap();
    for delivery in [&first, &second] {
        h.apply(delivery).unwrap();
        h.commit(delivery).unwrap();
    }
    assert_eq!(h.rows("SELECT id, name FROM users ORDER BY id"), ["1|aa", "2|bb"]);
}

fn apply_only(
    sink: &mut Mysql,
    runtime: &tokio::runtime::Runtime,
    table: &Table,
    delivery: &Delivery,
) -> connector_api::Result<()> {
    for delivered in delivery.records() {
        let delivered = delivered.unwrap();
        let change = connector_api::Change::decode(delivered.record, &table.schema).unwrap();
        let topic = &delivered.section.topic;
        sink.apply(&connector_api::Incoming {
            topic,
            transaction: delivered.transaction,
            change,
            target: &table.target,
        })?;
    }
    runtime.block_on(sink.flush()).map(drop)
}

#[test]
fn the_newest_of_two_sinks_of_one_name_wins() {
    let Some(mut h) = Harness::new("the_newest_of_two_sinks_of_one_name_wins") else { return };
    let log = table("log", &[("n", ValueKind::Int)], &[]);
    h.route(&[&log]);
    h.feed.insert(&log, &[Value::Int(0)]);
    h.deliver();
    // Another process, while the first is idle.
    let mut second = Mysql::new("billing", h.options.clone());
    assert_eq!(h.runtime.block_on(second.start(LOG)).unwrap(), Some(h.cursor.clone()));
    h.feed.insert(&log, &[Value::Int(1)]);
    let delivery = h.feed.take();
    let error = h.apply(&delivery).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.to_string().contains("taken over"), "{error}");
    // It takes the cursor back; the second holds an open transaction on its connection meanwhile.
    apply_only(&mut second, &h.runtime, &log, &delivery).unwrap();
    h.restart().unwrap();
    h.apply(&delivery).unwrap();
    h.commit(&delivery).unwrap();
    let error = h.runtime.block_on(second.commit(&h.cursor)).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error:?}");
    assert_eq!(h.rows("SELECT count(*) FROM log"), ["2"]);
}

#[test]
fn a_cursor_of_another_log_is_refused_and_reset() {
    let Some(mut h) = Harness::new("a_cursor_of_another_log_is_refused_and_reset") else { return };
    let users = users();
    h.route(&[&users]);
    h.feed.insert(&users, &user(1, "a"));
    h.deliver();
    let other = connector_api::LogId(8);
    let error = h.runtime.block_on(h.sink.start(other)).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.remedy().unwrap().contains("offsets CONFIG reset billing"));
    h.start().unwrap();
    let mut back = Cursor::start(LOG);
    back.next.insert(connector_api::TopicPartition::first("shop.public.users"), 0);
    h.runtime.block_on(h.sink.reset(&back)).unwrap();
    assert_eq!(h.restart().unwrap(), Some(back));
}

#[test]
fn a_connection_that_the_server_ended_is_replaced() {
    let Some(mut h) = Harness::new("a_connection_that_the_server_ended_is_replaced") else { return };
    let users = users();
    h.route(&[&users]);
    h.feed.insert(&users, &user(1, "a"));
    h.deliver();
    let ids = h.rows(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()",
    );
    assert_eq!(ids.len(), 2);
    ids.iter().for_each(|id| h.session.execute(&format!("KILL {id}")));
    thread::sleep(Duration::from_millis(100));
    let more = table("more", &[("n", ValueKind::Int)], &[0]);
    h.route(&[&more]);
    h.feed.insert(&users, &user(2, "b")).insert(&more, &[Value::Int(1)]);
    h.deliver();
    assert_eq!(h.rows("SELECT id FROM users ORDER BY id"), ["1", "2"]);
}
