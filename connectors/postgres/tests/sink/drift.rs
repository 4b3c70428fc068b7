//! Somebody changes the target while the sink runs.

use connector_api::{Kind, Value};

use crate::fixture::{Harness, user, users};

fn running(sql: &str) -> (Harness, crate::fixture::Table) {
    let mut harness = Harness::on(sql);
    let users = users();
    harness.feed.insert(&users, &user(1, "ann")).update(&users, &user(2, "bob"));
    harness.deliver();
    (harness, users)
}

#[test]
fn a_column_that_is_dropped_comes_back() {
    let (mut harness, users) = running("");
    harness.session.execute("ALTER TABLE users DROP COLUMN note");
    harness.feed.update(&users, &[Value::Int(1), Value::Text("Ann"), Value::Text("x")]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT id, name, note FROM users ORDER BY id"), ["1|Ann|x", "2|bob|NULL"]);
}

#[test]
fn a_type_that_is_changed_is_followed() {
    let (mut harness, users) = running("CREATE TABLE users (id bigint PRIMARY KEY, name text, note text)");
    harness.session.execute(
        "ALTER TABLE users ALTER COLUMN id TYPE numeric, ALTER COLUMN name TYPE bytea USING name::bytea",
    );
    harness
        .session
        .execute("ALTER TABLE users ALTER COLUMN name TYPE varchar(9) USING encode(name, 'escape')");
    for id in 0..200 {
        harness.feed.insert(&users, &user(id, "new"));
    }
    harness.feed.delete(&users, &[Value::Int(1)]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT count(*), min(name), max(name) FROM users"), ["199|new|new"]);
}

#[test]
fn a_table_that_is_renamed_or_dropped_is_made_again_where_the_sink_may() {
    let (mut harness, users) = running("");
    harness.session.execute("ALTER TABLE users RENAME TO old_users");
    harness.feed.insert(&users, &user(3, "cyd"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT id FROM users"), ["3"]);
    harness.session.execute("DROP TABLE users");
    harness.options.create_tables = false;
    harness.restart().unwrap();
    harness.feed.insert(&users, &user(4, "dan"));
    let error = harness.failed();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.remedy().unwrap().contains("CREATE TABLE"), "{error:?}");
}

#[test]
fn a_lost_key_is_noticed() {
    let (mut harness, users) = running("");
    harness.session.execute("ALTER TABLE users DROP CONSTRAINT users_pkey");
    harness.feed.update(&users, &user(1, "Ann"));
    let error = harness.failed();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.remedy().unwrap().contains("CREATE UNIQUE INDEX"), "{error:?}");
}

#[test]
fn a_grant_that_is_taken_away_is_named() {
    let (mut harness, users) = running("");
    let role = format!("r_{}", harness.database);
    harness.session.execute(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA public TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON _millstream_cursor, _millstream_tables, _millstream_migrations TO {role};
         GRANT SELECT, INSERT ON users TO {role}"
    ));
    let url = harness.options.url.expose().replace("postgres://postgres@", &format!("postgres://{role}@"));
    harness.options.url = connector_api::options::Secret::new(url);
    harness.restart().unwrap();
    harness.feed.update(&users, &user(1, "Ann"));
    let delivery = harness.feed.take();
    let error = harness.try_deliver(&delivery).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    let remedy = error.remedy().unwrap().to_owned();
    assert_eq!(remedy, format!("GRANT UPDATE, DELETE ON \"public\".\"users\" TO \"{role}\";"));
    harness.session.execute(&remedy);
    harness.restart().unwrap();
    harness.try_deliver(&delivery).unwrap();
    assert_eq!(harness.rows("SELECT name FROM users WHERE id = 1"), ["Ann"]);
    // Taken away while it runs.
    harness.session.execute(&format!("REVOKE UPDATE ON users FROM {role}"));
    harness.feed.update(&users, &user(1, "ANN"));
    let error = harness.failed();
    assert_eq!(error.kind(), Kind::Config, "{error:?}");
    assert!(error.remedy().unwrap().contains("GRANT"), "{error:?}");
}
