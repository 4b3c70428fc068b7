//! Target tables follow the source, as far as they may.

use connector_api::{Kind, Sink, Value, ValueKind};

use crate::fixture::{Harness, column, table_of, user, users};

fn versioned(columns: &[(&str, ValueKind, &str)]) -> crate::fixture::Table {
    table_of("t", columns.iter().map(|(name, kind, of)| column(name, *kind, of)).collect(), &[0])
}

const TYPES: &str = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

#[test]
fn columns_are_added_and_widened_in_a_table_of_ours() {
    let mut harness = Harness::new();
    let id = ("id", ValueKind::Int, "integer");
    let first =
        versioned(&[id, ("name", ValueKind::Text, "character varying(5)"), ("n", ValueKind::Int, "integer")]);
    harness.feed.insert(&first, &[Value::Int(1), Value::Text("ann"), Value::Int(7)]);
    harness.deliver();
    let second = versioned(&[
        ("id", ValueKind::Int, "bigint"),
        ("name", ValueKind::Text, "character varying(50)"),
        ("n", ValueKind::Uuid, "uuid"),
        ("more", ValueKind::Array, "text[]"),
    ]);
    let row = [Value::Int(1 << 40), Value::Text("a long name"), Value::Uuid([7; 16]), Value::Null];
    harness.feed.insert(&second, &row);
    // One row of the old shape behind it: an old delivery that comes again after a crash.
    harness.deliver();
    assert_eq!(harness.rows(TYPES), ["id|bigint", "name|character varying(50)", "n|text", "more|text[]"]);
    assert_eq!(harness.rows("SELECT n FROM t ORDER BY id"), ["7", "07070707-0707-0707-0707-070707070707"]);
    let notices = harness.sink.notices();
    assert!(notices.iter().any(|notice| notice.contains("\"more\"")), "{notices:?}");
    assert!(notices.iter().any(|notice| notice.contains("was integer and is text")), "{notices:?}");
    harness.feed.insert(&first, &[Value::Int(2), Value::Text("bob"), Value::Int(8)]);
    harness.deliver();
    assert_eq!(harness.rows("SELECT n FROM t WHERE id = 2"), ["8"]);
}

#[test]
fn somebody_elses_table_is_extended_but_never_changed() {
    let mut harness = Harness::on("CREATE TABLE users (id int PRIMARY KEY, name varchar(3))");
    let users = users();
    harness.feed.insert(&users, &user(1, "ann"));
    harness.deliver();
    let types = TYPES.replace("'t'", "'users'");
    assert_eq!(harness.rows(&types), ["id|integer", "name|character varying(3)", "note|text"]);
}

#[test]
fn without_create_tables_the_statement_is_given() {
    let mut harness = Harness::with(|options| options.create_tables = false, "");
    harness.feed.insert(&users(), &user(1, "ann"));
    let delivery = harness.feed.take();
    let error = harness.try_deliver(&delivery).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    let remedy = error.remedy().unwrap().to_owned();
    assert!(remedy.starts_with("CREATE TABLE \"public\".\"users\""), "{remedy}");
    harness.session.execute(&remedy);
    harness.restart().unwrap();
    harness.try_deliver(&delivery).unwrap();
    assert_eq!(harness.rows("SELECT id FROM users"), ["1"]);
}

#[test]
fn what_does_not_fit_is_said_with_the_statement_that_mends_it() {
    for (sql, wrong) in [
        (
            "CREATE VIEW users AS SELECT 1::bigint AS id, ''::text AS name, ''::text AS note",
            "belongs to a view",
        ),
        ("CREATE TABLE users (id bigint, name text, note text)", "not unique"),
        (
            "CREATE TABLE users (id bigint PRIMARY KEY, name text, note text, must int NOT NULL)",
            "NOT NULL without a default",
        ),
        (
            "CREATE TABLE users (id bigint PRIMARY KEY, name text, note text GENERATED ALWAYS AS ('x') STORED)",
            "computed",
        ),
        (
            "CREATE TABLE users (id bigint PRIMARY KEY, name text, note text); CREATE UNIQUE INDEX ON users (name) WHERE id > 0; ALTER TABLE users DROP CONSTRAINT users_pkey; CREATE UNIQUE INDEX ON users (id) WHERE name = ''",
            "not unique",
        ),
    ] {
        let mut harness = Harness::on(sql);
        harness.feed.insert(&users(), &user(1, "ann"));
        let error = harness.failed();
        assert_eq!(error.kind(), Kind::Config, "{sql}");
        assert!(error.to_string().contains(wrong) && error.remedy().is_some(), "{error:?}");
    }
}

#[test]
fn identity_columns_take_the_sources_numbers() {
    let mut harness = Harness::on(
        "CREATE TABLE users (id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text, note text)",
    );
    let users = users();
    harness.feed.insert(&users, &user(41, "ann")).insert(&users, &user(42, "bob"));
    harness.deliver();
    for id in 100..300 {
        harness.feed.insert(&users, &user(id, "many"));
    }
    harness.feed.update(&users, &user(41, "Ann"));
    harness.deliver();
    assert_eq!(harness.rows("SELECT count(*), min(name) FROM users"), ["202|Ann"]);
}
