//! Erasing in tables that somebody else made: columns of every type, collations, constraints, indexes.

use connector_api::erasure::{Action, Constant, Erased, Erasure, Find, Outcome, Step};
use connector_api::options::Secret;
use connector_api::{Cursor, Delivery, Kind, Result, Severity, Sink, TopicPartition, Value, ValueKind};
use connector_postgres::sink::{Options, rows};

use crate::fixture::{Harness, Table, table};

fn by(column: &str) -> Find {
    Find::Column(column.to_owned())
}

fn step(table: &str, find: Find, value: Value<'_>, action: Action) -> Step {
    Step { table: table.to_owned(), find, value: Step::encode(value), action }
}

fn delete(table: &str, column: &str, value: Value<'_>) -> Step {
    step(table, by(column), value, Action::Delete)
}

fn try_erase(h: &mut Harness, steps: Vec<Step>) -> Result<Vec<Erased>> {
    let erasure =
        Erasure { case: "c".to_owned(), subject: "user".to_owned(), key: Step::encode(Value::Int(7)), steps };
    match h.runtime.block_on(h.sink.erase(&erasure))? {
        Outcome::Done(done) => Ok(done),
        Outcome::Awaited => panic!("a table is not waited for"),
    }
}

/// Erases by one step and commits; how many rows.
#[track_caller]
fn erase(h: &mut Harness, step: Step) -> u64 {
    let done = try_erase(h, vec![step]).unwrap();
    h.runtime.block_on(h.sink.commit(&h.cursor)).unwrap();
    assert_eq!(done[0].left, 0);
    done[0].rows
}

#[test]
fn columns_of_every_type_are_compared_as_what_they_are() {
    let mut h = Harness::on(
        "CREATE EXTENSION IF NOT EXISTS citext;
         CREATE TYPE mood AS ENUM ('sad', 'hunter');
         CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
         CREATE DOMAIN mail AS varchar(40);
         CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE t (small smallint, dom positive, num numeric(6,2), big bigint, mail mail, pad char(5),
           ci citext, nd text COLLATE nocase, mood mood, ip inet, nm name, uuid uuid, raw bytea, tz timestamptz, iv interval,
           ok boolean, js json, arr int[]);
         INSERT INTO t VALUES (7, 7, 7.00, 7, '7', '7', 'Abc', 'Abc', 'sad', '10.0.0.1', 'n', \
           'abababab-abab-abab-abab-abababababab', '\\x00ff', '2000-01-01 00:00:00.000001+00', '1 day', true, '{\"a\": 1}', '{1,2}'),
          (70, 70, 70, 70, '7 ', '70', 'abc', 'ABC', 'hunter', '10.0.0.2', 'N', null, '\\x00fe', null, '2 days', false, '{}', '{2}');",
    );
    let cases: &[(&str, Value<'_>, u64)] = &[
        ("small", Value::Int(7), 1),
        ("small", Value::Text("7"), 1),
        ("small", Value::Int(70_000), 0),
        ("small", Value::Text("7 "), 0),
        ("dom", Value::Int(7), 1),
        ("dom", Value::Text("x"), 0),
        ("num", Value::Decimal("7"), 1),
        ("num", Value::Decimal("7.001"), 0),
        ("big", Value::Decimal("7.0"), 1),
        ("big", Value::Text("99999999999999999999"), 0),
        ("mail", Value::Int(7), 1),
        ("mail", Value::Text("7 "), 1),
        ("pad", Value::Text("7"), 1),
        ("pad", Value::Text("7    "), 1),
        ("pad", Value::Text("70"), 1),
        ("ci", Value::Text("abc"), 1),
        ("ci", Value::Text("ABC"), 0),
        ("nd", Value::Text("ABC"), 1),
        ("nd", Value::Text("abc"), 0),
        ("mood", Value::Text("sad"), 1),
        ("mood", Value::Text("no mood"), 0),
        ("ip", Value::Text("10.0.0.1"), 1),
        ("ip", Value::Text("not an address"), 0),
        ("nm", Value::Text("n"), 1),
        ("uuid", Value::Text("abababab-abab-abab-abab-abababababab"), 1),
        ("uuid", Value::Text(""), 0),
        ("raw", Value::Bytes(b"\x00\xff"), 1),
        ("tz", Value::TimestampTz(1), 1),
        ("tz", Value::Text("yesterday"), 0),
        ("iv", Value::Text("1 day"), 1),
        ("iv", Value::Text(""), 0),
        ("ok", Value::Bool(true), 1),
        ("ok", Value::Text("x"), 0),
        ("js", Value::Json("{\"a\": 1}"), 1),
        ("arr", Value::Text("{1,2}"), 1),
    ];
    let before = h.rows("SELECT count(*) FROM t");
    for (column, value, wanted) in cases {
        let done = try_erase(&mut h, vec![delete("t", column, *value)]).unwrap();
        assert_eq!(done[0], Erased { rows: *wanted, left: 0 }, "{column} {value:?}");
        h.runtime.block_on(h.sink.rollback()).unwrap();
    }
    assert_eq!(h.rows("SELECT count(*) FROM t"), before);
}

#[test]
fn types_that_differ_are_linked_and_collations_do_not_meet_others() {
    let mut h = Harness::on(
        "CREATE EXTENSION IF NOT EXISTS citext;
         CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE users (id int, u uuid, t text COLLATE nocase, v varchar(9) COLLATE \"C\", n numeric, ip inet, who int);
         CREATE TABLE kids (id bigint, u text, t text, v citext, n text, ip text, pad char(4), no int);
         INSERT INTO users VALUES (1, 'abababab-abab-abab-abab-abababababab', 'Ann', 'Bob', 12.50, '10.0.0.1', 7);
         INSERT INTO kids VALUES (1, 'abababab-abab-abab-abab-abababababab', 'Ann', 'Bob', '12.50', '10.0.0.1', 'Ann', 1),
           (2, 'ABABABAB-abab-abab-abab-abababababab', 'ann', 'bob', '12.5', '10.0.0.1/32', 'ann', 2),
           (null, null, null, null, null, null, null, null);",
    );
    for (ours, theirs, wanted) in [
        ("id", "id", 1),
        ("u", "u", 1),
        ("t", "t", 1),
        ("v", "v", 1),
        ("n", "n", 1),
        ("ip", "ip", 1),
        ("pad", "t", 1),
        ("no", "id", 1),
        ("no", "t", 0),
        ("t", "id", 0),
    ] {
        let find = Find::Through {
            column: ours.to_owned(),
            table: "users".to_owned(),
            theirs: theirs.to_owned(),
            find: Box::new(by("who")),
        };
        let done = try_erase(&mut h, vec![step("kids", find, Value::Int(7), Action::Delete)]).unwrap();
        assert_eq!(done[0], Erased { rows: wanted, left: 0 }, "{ours} = {theirs}");
        h.runtime.block_on(h.sink.rollback()).unwrap();
    }
    // And the other way, from the column that has a collation of its own.
    for (ours, theirs) in [("t", "t"), ("v", "v"), ("t", "pad")] {
        let find = Find::Through {
            column: ours.to_owned(),
            table: "kids".to_owned(),
            theirs: theirs.to_owned(),
            find: Box::new(by("id")),
        };
        let done =
            try_erase(&mut h, vec![step("users", find.clone(), Value::Int(2), Action::Delete)]).unwrap();
        assert_eq!(done[0].rows, 0, "{ours} = {theirs}: another case");
        let done = try_erase(&mut h, vec![step("users", find, Value::Int(1), Action::Delete)]).unwrap();
        assert_eq!(done[0].rows, 1, "{ours} = {theirs}");
        h.runtime.block_on(h.sink.rollback()).unwrap();
    }
}

#[test]
fn columns_are_set_once_whatever_their_type() {
    let mut h = Harness::on(
        "CREATE TABLE t (id int, num numeric(5,1), v varchar(6), pad char(6), js json, jb jsonb, d date, r real, ok boolean, \
           u uuid, arr text[], always int GENERATED ALWAYS AS IDENTITY, c int GENERATED ALWAYS AS (id + 1) STORED);
         INSERT INTO t VALUES (7, 1.5, 'x', 'x', '{\"a\":1}', '{\"a\":1}', '2026-01-01', 0.5, true, null, '{a}');",
    );
    let set = |column: &str, constant: Constant| Action::Set(vec![(column.to_owned(), constant)]);
    let text = |text: &str| Constant::Text(text.to_owned());
    for (column, constant) in [
        ("num", Constant::Float(12.34)),
        ("num", Constant::Int(0)),
        ("v", text("gone")),
        ("pad", text("gone")),
        ("js", text("{ \"a\": 2 }")),
        ("jb", text("{ \"b\": 2,  \"a\":1 }")),
        ("d", text("1970-01-01")),
        ("r", Constant::Float(0.1)),
        ("ok", Constant::Bool(false)),
        ("u", text("ABABABAB-abab-abab-abab-abababababab")),
        ("arr", text("{}")),
        ("v", Constant::Null),
    ] {
        let step = || step("t", by("id"), Value::Int(7), set(column, constant.clone()));
        assert_eq!(erase(&mut h, step()), 1, "{column}");
        assert_eq!(erase(&mut h, step()), 0, "{column}, a second time");
    }
    let mut reader = rows("billing", &h.options).unwrap();
    for (column, constant) in [
        ("v", text("too long for it")),
        ("d", text("no date")),
        ("num", Constant::Int(1_000_000)),
        ("always", Constant::Int(1)),
        ("c", Constant::Int(1)),
        ("u", text("x\0")),
    ] {
        let step = step("t", by("id"), Value::Int(7), set(column, constant));
        let findings = h.runtime.block_on(reader.examine(&step)).unwrap();
        let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{column}: {findings:?}");
        assert_eq!(errors[0].code, "postgres-erasure-invalid");
        let error = try_erase(&mut h, vec![step]).unwrap_err();
        assert_eq!(error.kind(), Kind::Config, "{column}: {error}");
        assert!(error.remedy().is_some(), "{column}: {error}");
        h.runtime.block_on(h.sink.rollback()).unwrap();
    }
}

/// The statements find rows by an index, however many rows there are.
#[test]
fn an_index_is_used() {
    let mut h = Harness::on(
        "CREATE TABLE users (id int PRIMARY KEY, mail text);
         CREATE TABLE orders (id int, user_id text, no int);
         CREATE INDEX ON orders (user_id); CREATE INDEX ON users (mail);
         INSERT INTO users SELECT i, 'm' || i FROM generate_series(1, 20000) i;
         INSERT INTO orders SELECT i, (i % 10000)::text, i FROM generate_series(1, 20000) i; ANALYZE;",
    );
    let scanned = |h: &Harness| {
        h.session.execute("SELECT pg_stat_force_next_flush()");
        h.rows("SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname IN ('users', 'orders')")
    };
    let find = Find::Through {
        column: "user_id".to_owned(),
        table: "users".to_owned(),
        theirs: "id".to_owned(),
        find: Box::new(by("mail")),
    };
    // What a session did is counted when it ends.
    h.restart().unwrap();
    let before = scanned(&h);
    assert_eq!(erase(&mut h, step("orders", find, Value::Text("m77"), Action::Delete)), 2);
    assert_eq!(erase(&mut h, delete("orders", "user_id", Value::Int(5))), 2);
    assert_eq!(erase(&mut h, delete("users", "id", Value::Text("5"))), 1);
    h.restart().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(scanned(&h), before);
    let mut reader = rows("billing", &h.options).unwrap();
    let findings = h.runtime.block_on(reader.examine(&delete("orders", "no", Value::Int(5)))).unwrap();
    let remedy = findings[0].remedy.clone().unwrap();
    assert_eq!(findings[0].code, "postgres-erasure-no-index");
    h.session.execute(&remedy);
    let findings = h.runtime.block_on(reader.examine(&delete("orders", "no", Value::Int(5)))).unwrap();
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn constraints_say_what_is_in_the_way() {
    let mut h = Harness::on(
        "CREATE TABLE users (id int PRIMARY KEY);
         CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users);
         CREATE TABLE later (id int, user_id int REFERENCES users DEFERRABLE);
         CREATE TABLE hidden (id int);
         CREATE VIEW seen AS SELECT * FROM users;
         INSERT INTO users VALUES (7), (8); INSERT INTO orders VALUES (1, 7); INSERT INTO later VALUES (1, 8);",
    );
    let user = |id| delete("users", "id", Value::Int(id));
    let error = try_erase(&mut h, vec![user(7)]).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("foreign key") && error.remedy().is_some(), "{error}");
    h.runtime.block_on(h.sink.rollback()).unwrap();
    let done = try_erase(&mut h, vec![delete("orders", "user_id", Value::Int(7)), user(7)]).unwrap();
    assert_eq!(done.iter().map(|done| done.rows).collect::<Vec<_>>(), [1, 1]);
    // One that can wait is looked at when all steps are done.
    let done = try_erase(&mut h, vec![user(8), delete("later", "user_id", Value::Int(8))]).unwrap();
    assert_eq!(done.iter().map(|done| done.rows).collect::<Vec<_>>(), [1, 1]);
    h.runtime.block_on(h.sink.commit(&h.cursor)).unwrap();
    assert_eq!(h.rows("SELECT count(*) FROM users"), ["0"]);
    let error = try_erase(&mut h, vec![delete("seen", "id", Value::Int(7))]).unwrap_err();
    assert!(error.kind() == Kind::Config && error.to_string().contains("view"), "{error}");
    h.runtime.block_on(h.sink.rollback()).unwrap();
    let mut reader = rows("billing", &h.options).unwrap();
    let findings = h.runtime.block_on(reader.examine(&delete("seen", "id", Value::Int(7)))).unwrap();
    assert_eq!(findings[0].code, "postgres-erasure-not-a-table");
}

#[test]
fn rights_that_are_missing_are_named() {
    let h = Harness::on("CREATE TABLE users (id int PRIMARY KEY)");
    h.session.execute(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'poor') THEN CREATE ROLE poor LOGIN; END IF; END $$; \
         GRANT SELECT ON users TO poor;",
    );
    let url = h.options.url.expose().replacen("://postgres@", "://poor@", 1);
    let options = Options { url: Secret::new(url), ..h.options.clone() };
    let mut reader = rows("billing", &options).unwrap();
    let findings = h.runtime.block_on(reader.examine(&delete("users", "id", Value::Int(7)))).unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].code, "postgres-erasure-rights");
    assert!(findings[0].remedy.as_ref().unwrap().starts_with("GRANT DELETE ON"), "{findings:?}");
}

/// Documents that json takes and no function over it does.
#[test]
fn a_zero_character_in_json_is_in_nobodys_way() {
    let mut h = Harness::on(
        r#"CREATE TABLE t (id int, js json);
           INSERT INTO t VALUES (1, '{"u": 7, "x": "\u0000"}'), (2, '{"u": "\u0000"}'), (3, '{"u": 1e999999}'), (4, '{"u": 8}');"#,
    );
    let find = || Find::Json { column: "js".to_owned(), path: vec!["u".to_owned()] };
    assert_eq!(erase(&mut h, step("t", find(), Value::Int(7), Action::Delete)), 1);
    assert_eq!(h.rows("SELECT id FROM t ORDER BY id"), ["2", "3", "4"]);
}

/// Several connections: the erasure sees what each has applied, what comes behind it does not wait for it, and a crash
/// between leaves nothing half.
#[test]
fn lanes_are_joined_and_part_again() {
    let mut h = Harness::with(|options| options.batched = true, "");
    let kinds = [("id", ValueKind::Int), ("a", ValueKind::Int)];
    let tables: Vec<Table> = (0..6).map(|at| table(&format!("t{at}"), &kinds, &[0])).collect();
    let connections = |h: &Harness| {
        h.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
             AND state LIKE 'idle in transaction%'",
        )
    };
    for table in &tables {
        h.feed.insert(table, &[Value::Int(1), Value::Int(7)]).insert(table, &[Value::Int(2), Value::Int(70)]);
    }
    let before = h.feed.take();
    assert!(h.apply(&before).unwrap().is_empty());
    assert_eq!(connections(&h), ["4"]);
    let steps = || (0..6).map(|at| delete(&format!("t{at}"), "a", Value::Int(7))).collect::<Vec<_>>();
    let done = try_erase(&mut h, steps()).unwrap();
    assert!(done.iter().all(|done| *done == Erased { rows: 1, left: 0 }));
    assert_eq!(connections(&h), ["1"], "one transaction");
    for table in &tables {
        h.feed.update(table, &[Value::Int(2), Value::Int(71)]).delete(table, &[Value::Int(1)]);
    }
    let behind = h.feed.take();
    assert!(h.apply(&behind).unwrap().is_empty());
    assert_eq!(connections(&h), ["1"], "what is behind it is with it");
    // A crash here: what came before stays, with its place in the cursor; the erasure does not, nor does its event's place.
    let first = h.restart().unwrap().unwrap();
    let events = TopicPartition::first("millstream.erasures");
    assert_eq!(first.get(&events), 0);
    assert_eq!(first.next.values().copied().filter(|next| *next == 2).count(), first.next.len());
    h.cursor = first.clone();
    let applied = again(&mut h, &before, &first);
    assert_eq!(applied, (6 - first.next.len()) * 2, "only what the first lane held comes again");
    let done = try_erase(&mut h, steps()).unwrap();
    assert!(done.iter().all(|done| *done == Erased { rows: 1, left: 0 }));
    assert!(h.apply(&behind).unwrap().is_empty());
    before.advance(&mut h.cursor);
    behind.advance(&mut h.cursor);
    h.cursor.advance(&events, 1);
    h.runtime.block_on(h.sink.commit(&h.cursor)).unwrap();
    for at in 0..6 {
        assert_eq!(h.rows(&format!("SELECT id, a FROM t{at}")), ["2|71"]);
    }
    // Afterwards topics go to their lanes again.
    for table in &tables {
        h.feed.insert(table, &[Value::Int(3), Value::Int(1)]);
    }
    let delivery = h.feed.take();
    assert!(h.apply(&delivery).unwrap().is_empty());
    assert_eq!(connections(&h), ["4"]);
    h.commit(&delivery).unwrap();
    let stood = h.cursor.clone();
    assert_eq!(h.restart().unwrap(), Some(stood));
}

/// Applies what of a delivery a cursor has not passed; how many records.
fn again(h: &mut Harness, delivery: &Delivery, cursor: &Cursor) -> usize {
    let mut rest = delivery.clone();
    for section in &mut rest.sections {
        section.from = cursor.get(&section.topic);
    }
    let count = rest.records().count();
    assert!(h.apply(&rest).unwrap().is_empty());
    count
}
