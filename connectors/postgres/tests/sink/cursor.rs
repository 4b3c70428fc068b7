//! The cursor is in the transaction of the changes it covers (I3).

use connector_api::{Cursor, Kind, LogId, Sink, TopicPartition};
use connector_postgres::sink::Postgres;

use crate::fixture::{Harness, LOG, user, users};

#[test]
fn cursor_and_changes_become_durable_together_or_not_at_all() {
    let mut harness = Harness::new();
    let users = users();
    let topic = TopicPartition::first(users.topic.clone());
    harness.feed.insert(&users, &user(1, "ann"));
    harness.deliver();
    harness.feed.insert(&users, &user(2, "bob"));
    let lost = harness.feed.take();
    harness.apply(&lost).unwrap();
    // The process dies before the commit.
    let cursor = harness.restart().unwrap().unwrap();
    assert_eq!(cursor.get(&topic), 1);
    assert_eq!(harness.rows("SELECT id FROM users"), ["1"]);
    harness.try_deliver(&lost).unwrap();
    assert_eq!(harness.restart().unwrap().unwrap().get(&topic), 2);
    assert_eq!(harness.rows("SELECT id FROM users"), ["1", "2"]);
}

#[test]
fn a_commit_without_changes_moves_the_cursor_and_only_what_moved() {
    let mut harness = Harness::new();
    let [a, b] = ["a", "b"].map(TopicPartition::first);
    let c = TopicPartition { topic: "c".into(), partition: 3 };
    for (of, next) in [(&a, 1), (&b, 1), (&c, 17)] {
        harness.cursor.advance(of, next);
    }
    harness.runtime.block_on(harness.sink.commit(&harness.cursor)).unwrap();
    let versions = "SELECT topic, next_offset, xmin FROM _millstream_cursor ORDER BY topic";
    let before = harness.rows(versions);
    harness.runtime.block_on(harness.sink.commit(&harness.cursor)).unwrap();
    assert_eq!(harness.rows(versions), before);
    harness.cursor.advance(&b, 2);
    harness.runtime.block_on(harness.sink.commit(&harness.cursor)).unwrap();
    let after = harness.rows(versions);
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    assert_ne!(after[1], before[1]);
    assert_eq!(harness.restart().unwrap().unwrap().get(&c), 17);
}

#[test]
fn rollback_forgets_changes_and_tables_and_goes_on() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann"));
    let delivery = harness.feed.take();
    for _ in 0..2 {
        harness.apply(&delivery).unwrap();
        harness.runtime.block_on(harness.sink.rollback()).unwrap();
        assert_eq!(harness.rows("SELECT to_regclass('users')"), ["NULL"]);
    }
    harness.try_deliver(&delivery).unwrap();
    assert_eq!(harness.rows("SELECT id FROM users"), ["1"]);
}

#[test]
fn a_cursor_of_another_log_is_refused_until_it_is_reset() {
    let mut harness = Harness::new();
    harness.feed.insert(&users(), &user(1, "ann"));
    harness.deliver();
    let error = harness.runtime.block_on(harness.sink.start(LogId(8))).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert_eq!(error.remedy(), Some("millstream offsets CONFIG reset billing --to earliest"));
    harness.runtime.block_on(harness.sink.reset(&Cursor::start(LogId(8)))).unwrap();
    assert_eq!(harness.runtime.block_on(harness.sink.start(LogId(8))).unwrap(), None);
}

#[test]
fn reset_overwrites_the_cursor_without_a_start() {
    let mut harness = Harness::new();
    let topic = TopicPartition::first(users().topic);
    harness.feed.insert(&users(), &user(1, "ann")).insert(&users(), &user(2, "bob"));
    harness.deliver();
    let stopped = std::mem::replace(&mut harness.sink, Postgres::new("billing", harness.options.clone()));
    harness.runtime.block_on(Box::new(stopped).stop()).unwrap();
    let mut back = Cursor::start(LOG);
    back.advance(&topic, 1);
    harness.runtime.block_on(harness.sink.reset(&back)).unwrap();
    assert_eq!(harness.runtime.block_on(harness.sink.start(LOG)).unwrap(), Some(back));
}

#[test]
fn two_sinks_in_one_schema_have_a_cursor_each_and_one_sink_runs_once() {
    let mut harness = Harness::new();
    harness.feed.insert(&users(), &user(1, "ann"));
    harness.deliver();
    let mut other = Postgres::new("shipping", harness.options.clone());
    assert_eq!(harness.runtime.block_on(other.start(LOG)).unwrap(), None);
    let mut twin = Postgres::new("billing", harness.options.clone());
    let error = harness.runtime.block_on(twin.start(LOG)).unwrap_err();
    assert_eq!(error.kind(), Kind::Transient);
    assert!(error.remedy().unwrap().contains("pg_terminate_backend("), "{error:?}");
    let pid: String = error.remedy().unwrap().chars().filter(char::is_ascii_digit).collect();
    assert_ne!(pid, "");
    drop(std::mem::replace(&mut harness.sink, other));
    assert!(harness.runtime.block_on(twin.start(LOG)).unwrap().is_some());
}

#[test]
fn bookkeeping_that_another_version_made_is_refused() {
    let mut harness = Harness::new();
    harness
        .session
        .execute("INSERT INTO _millstream_migrations (version, name, checksum) VALUES (99, 'new', '')");
    let error = harness.restart().unwrap_err();
    assert!(error.to_string().contains("has migration 99"), "{error}");
    harness.session.execute("DELETE FROM _millstream_migrations WHERE version = 99; UPDATE _millstream_migrations SET checksum = 'x'");
    let error = harness.restart().unwrap_err();
    assert!(error.to_string().contains("another text"), "{error}");
}
