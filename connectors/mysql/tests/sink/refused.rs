//! Rows that the target refuses: only they are left out, and what must not overtake them.

use connector_api::{Kind, Value};

use crate::fixture::{Harness, Table, user, users};

const ALL: &str = "SELECT id, name FROM users ORDER BY id";
const UNIQUE: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name varchar(20), note longtext, UNIQUE KEY by_name (name)) \
                      CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin";

fn on(test: &str, sql: &str) -> Option<(Harness, Table)> {
    let (mut harness, users) = (Harness::on(test, sql)?, users());
    harness.route(&[&users]);
    Some((harness, users))
}

#[test]
fn a_row_that_has_anothers_unique_value_is_refused_and_never_merged() {
    let Some((mut h, users)) = on("a_row_that_has_anothers_unique_value", UNIQUE) else { return };
    h.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob"));
    h.deliver();
    h.feed.insert(&users, &user(3, "ann")).insert(&users, &user(4, "dan")).update(&users, &user(2, "ann"));
    let refused = h.deliver_some();
    assert_eq!(refused.iter().map(|refused| refused.offset).collect::<Vec<_>>(), [2, 4]);
    for refused in &refused {
        let shown = format!("{:?}", refused.error);
        assert_eq!(refused.error.kind(), Kind::Data);
        assert!(shown.contains("unique") && !shown.contains("ann"), "{shown}");
    }
    assert!(refused[1].error.to_string().contains("by_name"), "{:?}", refused[1].error);
    assert_eq!(h.rows(ALL), ["1|ann", "2|bob", "4|dan"]);
}

#[test]
fn unique_values_that_change_places_pass() {
    let Some((mut h, users)) = on("unique_values_that_change_places_pass", UNIQUE) else { return };
    h.feed.insert(&users, &user(1, "ann")).insert(&users, &user(2, "bob"));
    h.deliver();
    // As the source had it: never two of one at the same time.
    h.feed.update(&users, &user(2, "tmp")).update(&users, &user(1, "bob")).update(&users, &user(2, "ann"));
    h.deliver();
    assert_eq!(h.rows(ALL), ["1|bob", "2|ann"]);
    // A value that a deleted row gives free.
    h.feed.delete(&users, &[Value::Int(1)]).insert(&users, &user(9, "bob"));
    h.deliver();
    assert_eq!(h.rows(ALL), ["2|ann", "9|bob"]);
}

#[test]
fn a_unique_index_that_comes_later_merges_nothing_either() {
    let Some((mut h, users)) = on("a_unique_index_that_comes_later", "") else { return };
    h.feed.insert(&users, &user(1, "ann"));
    h.deliver();
    h.session.execute("ALTER TABLE users MODIFY name varchar(20), ADD UNIQUE KEY late (name)");
    h.feed.insert(&users, &user(2, "ann")).insert(&users, &user(3, "cid"));
    assert_eq!(h.deliver_some().len(), 1);
    assert_eq!(h.rows(ALL), ["1|ann", "3|cid"]);
}

#[test]
fn later_records_of_a_refused_key_wait_and_all_others_pass() {
    let sql =
        "CREATE TABLE users (id bigint PRIMARY KEY, name varchar(5), note longtext) CHARACTER SET utf8mb4";
    let Some((mut h, users)) = on("later_records_of_a_refused_key_wait", sql) else { return };
    h.feed
        .insert(&users, &user(1, "fine"))
        .insert(&users, &user(2, "much too long"))
        .insert(&users, &user(3, "ok"));
    h.feed.relocate(&users, &[Value::Int(2)], &[Value::Int(4), Value::Unchanged, Value::Null]);
    h.feed
        .delete(&users, &[Value::Int(1)])
        .update(&users, &user(4, "short"))
        .insert(&users, &user(5, "five"));
    let refused = h.deliver_some();
    // The tombstone behind the move is no change of its own.
    assert_eq!(refused.iter().map(|refused| refused.offset).collect::<Vec<_>>(), [1, 3, 6], "{refused:?}");
    assert!(refused[1].error.to_string().contains("waits behind"));
    assert_eq!(h.rows(ALL), ["3|ok", "5|five"]);
    // The next delivery has another chance.
    h.feed.insert(&users, &user(2, "two"));
    h.deliver();
    assert_eq!(h.rows(ALL), ["2|two", "3|ok", "5|five"]);
}

#[test]
fn checks_triggers_and_packets_refuse_rows() {
    let sql = "CREATE TABLE users (id bigint PRIMARY KEY, name longtext, note longtext, CHECK (id <> 13)) CHARACTER SET utf8mb4;
        CREATE TRIGGER no BEFORE INSERT ON users FOR EACH ROW
            IF NEW.name = 'no' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'secret'; END IF";
    let test = "checks_triggers_and_packets_refuse_rows";
    if !crate::fixture::installed(test) {
        return;
    }
    let options = throwaway_servers::mariadb::Options::new().setting("--max-allowed-packet=1M");
    let server = throwaway_servers::mariadb::MariaDb::start(options);
    let mut h = Harness::at(&server, |_| {}, sql);
    let users = users();
    h.route(&[&users]);
    let large = "x".repeat(1_200_000);
    h.feed.insert(&users, &user(13, "x")).insert(&users, &user(2, "no")).insert(&users, &user(3, &large));
    let half = "y".repeat(900_000);
    h.feed.insert(&users, &user(4, &half)).insert(&users, &user(5, &half)).insert(&users, &user(6, "yes"));
    let refused = h.deliver_some();
    assert_eq!(refused.iter().map(|refused| refused.offset).collect::<Vec<_>>(), [0, 1, 2], "{refused:?}");
    assert!(refused[2].error.remedy().unwrap().contains("max_allowed_packet"));
    assert!(!format!("{refused:?}").contains("secret"));
    assert_eq!(h.rows("SELECT id FROM users ORDER BY id"), ["4", "5", "6"]);
}

#[test]
fn zero_is_a_value_and_not_a_wish_for_a_number() {
    let sql = "CREATE TABLE users (id bigint AUTO_INCREMENT PRIMARY KEY, name longtext, note longtext) CHARACTER SET utf8mb4";
    let Some((mut h, users)) = on("zero_is_a_value_and_not_a_wish_for_a_number", sql) else { return };
    h.feed.insert(&users, &user(0, "zero")).insert(&users, &user(-1, "minus"));
    h.deliver();
    assert_eq!(h.rows(ALL), ["-1|minus", "0|zero"]);
}
