//! The cursor is in the transaction of the changes it covers (I3).

use connector_api::{Cursor, Kind, LogId, Sink, TopicPartition};
use connector_sqlite::Sqlite;

use crate::fixture::{Harness, LOG, apply, now, user, users};

#[test]
fn cursor_and_changes_become_durable_together_or_not_at_all() {
    let mut harness = Harness::new();
    let users = users();
    let topic = TopicPartition::first(users.topic.clone());
    harness.feed.insert(&users, &user(1, "ann"));
    harness.deliver();
    harness.feed.insert(&users, &user(2, "bob"));
    let lost = harness.feed.take();
    harness.apply(&lost).into_iter().for_each(|result| result.unwrap());
    // The process dies before the commit.
    let cursor = harness.restart().unwrap().unwrap();
    assert_eq!(cursor.get(&topic), 1);
    assert_eq!(harness.rows("SELECT id FROM users"), ["1"]);
    harness.apply(&lost).into_iter().for_each(|result| result.unwrap());
    lost.advance(&mut harness.cursor);
    now(harness.sink.commit(&harness.cursor)).unwrap();
    assert_eq!(harness.restart().unwrap().unwrap().get(&topic), 2);
    assert_eq!(harness.rows("SELECT id FROM users"), ["1", "2"]);
}

#[test]
fn a_commit_without_changes_moves_the_cursor() {
    let mut harness = Harness::new();
    let topic = TopicPartition { topic: "shop.other".into(), partition: 3 };
    harness.cursor.advance(&topic, 17);
    now(harness.sink.commit(&harness.cursor)).unwrap();
    let before = harness.rows("PRAGMA data_version");
    now(harness.sink.commit(&harness.cursor)).unwrap();
    assert_eq!(harness.rows("PRAGMA data_version"), before);
    assert_eq!(harness.restart().unwrap().unwrap().get(&topic), 17);
}

#[test]
fn only_what_moved_is_written() {
    let mut harness = Harness::new();
    let [a, b, c] = ["a", "b", "c"].map(TopicPartition::first);
    harness.cursor.advance(&b, 1);
    harness.cursor.advance(&c, 1);
    now(harness.sink.commit(&harness.cursor)).unwrap();
    harness
        .open()
        .execute_batch("CREATE TABLE writes (topic); CREATE TRIGGER w AFTER UPDATE ON _millstream_cursor BEGIN INSERT INTO writes VALUES (new.topic); END; CREATE TRIGGER i AFTER INSERT ON _millstream_cursor BEGIN INSERT INTO writes VALUES (new.topic); END;")
        .unwrap();
    harness.cursor.advance(&a, 1);
    harness.cursor.advance(&c, 2);
    now(harness.sink.commit(&harness.cursor)).unwrap();
    assert_eq!(harness.rows("SELECT topic FROM writes"), ["a", "c"]);
    assert_eq!(harness.rows("SELECT topic, next_offset FROM _millstream_cursor"), ["a|1", "b|1", "c|2"]);
}

#[test]
fn rollback_forgets_changes_and_tables_and_goes_on() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann"));
    let delivery = harness.feed.take();
    for _ in 0..2 {
        harness.apply(&delivery).into_iter().for_each(|result| result.unwrap());
        now(harness.sink.rollback()).unwrap();
        assert!(harness.rows("SELECT name FROM sqlite_schema WHERE name = 'users'").is_empty());
    }
    harness.apply(&delivery).into_iter().for_each(|result| result.unwrap());
    delivery.advance(&mut harness.cursor);
    now(harness.sink.commit(&harness.cursor)).unwrap();
    assert_eq!(harness.rows("SELECT id FROM users"), ["1"]);
}

#[test]
fn a_cursor_of_another_log_is_refused_until_it_is_reset() {
    let mut harness = Harness::new();
    harness.feed.insert(&users(), &user(1, "ann"));
    harness.deliver();
    let error = now(harness.sink.start(LogId(8))).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert_eq!(error.remedy(), Some("millstream offsets CONFIG reset billing --to earliest"));
    now(harness.sink.reset(&Cursor::start(LogId(8)))).unwrap();
    assert_eq!(now(harness.sink.start(LogId(8))).unwrap(), None);
}

#[test]
fn reset_overwrites_the_cursor_without_a_start() {
    let mut harness = Harness::new();
    let topic = TopicPartition::first(users().topic);
    harness.feed.insert(&users(), &user(1, "ann")).insert(&users(), &user(2, "bob"));
    harness.deliver();
    let mut sink = Sqlite::new("billing", harness.options.clone());
    let mut back = Cursor::start(LOG);
    back.advance(&topic, 1);
    now(sink.reset(&back)).unwrap();
    assert_eq!(now(sink.start(LOG)).unwrap(), Some(back));
}

#[test]
fn two_sinks_in_one_file_have_a_cursor_each() {
    let mut harness = Harness::new();
    let users = users();
    harness.feed.insert(&users, &user(1, "ann"));
    let delivery = harness.feed.take();
    let mut other = Sqlite::new("shipping", harness.options.clone());
    assert_eq!(now(other.start(LOG)).unwrap(), None);
    apply(&mut other, &delivery).into_iter().for_each(|result| result.unwrap());
    let mut cursor = Cursor::start(LOG);
    delivery.advance(&mut cursor);
    now(other.commit(&cursor)).unwrap();
    assert_eq!(harness.restart().unwrap(), None, "the other's cursor is not ours");
    harness.apply(&delivery).into_iter().for_each(|result| result.unwrap());
    delivery.advance(&mut harness.cursor);
    now(harness.sink.commit(&harness.cursor)).unwrap();
    now(Box::new(other).stop()).unwrap();
    assert_eq!(
        harness.rows("SELECT sink, next_offset FROM _millstream_cursor ORDER BY sink"),
        ["billing|1", "shipping|1"]
    );
    assert_eq!(harness.rows("SELECT id FROM users"), ["1"]);
}
