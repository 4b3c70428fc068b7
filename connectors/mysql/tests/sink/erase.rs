//! Erasing in tables that somebody else made: columns of every type, collations, constraints, indexes.

use connector_api::erasure::{Action, Constant, Erased, Erasure, Find, Outcome, Step};
use connector_api::{Kind, Result, Severity, Sink, Value};
use connector_mysql::rows;

use crate::fixture::Harness;

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

#[test]
fn columns_of_every_type_are_compared_as_what_they_are() {
    let Some(mut h) = Harness::on(
        "columns_of_every_type_are_compared",
        "CREATE TABLE t (n int unsigned, d decimal(6,2), f double, ci varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, \
           pad char(36) CHARACTER SET latin1, b16 binary(16), vb varbinary(40), mood enum('sad','hunter'), at datetime(6), \
           KEY (ci), KEY (n)); \
         INSERT INTO t VALUES (7, 7.00, 7, 'abc', '7', UNHEX('abababababababababababababababab'), '7', 'sad', '2000-01-01'), \
           (70, 70, 70, 'ABC', '7abc', UNHEX('acababababababababababababababab'), '70', 'hunter', NULL), \
           (0, 0, 0, 'abc ', '\u{e4}', NULL, NULL, NULL, NULL);",
    ) else {
        return;
    };
    let uuid = Value::Uuid([0xab; 16]);
    for (column, value, wanted) in [
        ("n", Value::Int(7), 1),
        ("n", Value::Text("7abc"), 0),
        ("n", Value::Text("abc"), 0),
        ("n", Value::Decimal("18446744073709551616"), 0),
        ("d", Value::Decimal("7"), 1),
        ("d", Value::Decimal("7.001"), 0),
        ("f", Value::Int(7), 1),
        ("ci", Value::Text("abc"), 1),
        ("ci", Value::Text("aBc"), 0),
        ("ci", Value::Text("abc "), 1),
        ("ci", Value::Int(0), 0),
        ("pad", Value::Int(7), 1),
        ("pad", Value::Text("7  "), 1),
        ("pad", Value::Text("\u{e4}"), 1),
        ("pad", Value::Text("\u{1f600}"), 0),
        ("b16", uuid, 1),
        ("b16", Value::Text("abababab-abab-abab-abab-abababababab"), 1),
        ("vb", Value::Int(7), 1),
        ("mood", Value::Text("sad"), 1),
        ("mood", Value::Int(1), 0),
        ("at", Value::Timestamp(0), 1),
        ("at", Value::Text("yesterday"), 0),
    ] {
        let done = try_erase(&mut h, vec![delete("t", column, value)]).unwrap();
        assert_eq!(done[0], Erased { rows: wanted, left: 0 }, "{column} {value:?}");
        h.runtime.block_on(h.sink.rollback()).unwrap();
    }
    assert_eq!(h.rows("SELECT count(*) FROM t"), ["3"]);
}

#[test]
fn collations_and_types_that_differ_are_linked() {
    let Some(mut h) = Harness::on(
        "collations_and_types_that_differ",
        "CREATE TABLE users (id bigint, u varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci, who int); \
         CREATE TABLE kids (id varchar(20) CHARACTER SET latin1, u varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, \
           b binary(16)); \
         INSERT INTO users VALUES (1, 'Ann', 7); \
         INSERT INTO kids VALUES ('1', 'Ann', NULL), ('01', 'ann', NULL), ('1x', 'Ann ', NULL), (NULL, NULL, NULL);",
    ) else {
        return;
    };
    let link = |column: &str, theirs: &str| Find::Through {
        column: column.to_owned(),
        table: "users".to_owned(),
        theirs: theirs.to_owned(),
        find: Box::new(by("who")),
    };
    for (column, theirs) in [("id", "id"), ("u", "u")] {
        let done = try_erase(&mut h, vec![step("kids", link(column, theirs), Value::Int(7), Action::Delete)]);
        assert_eq!(done.unwrap()[0], Erased { rows: 1, left: 0 }, "{column}");
        h.runtime.block_on(h.sink.rollback()).unwrap();
    }
    let error =
        try_erase(&mut h, vec![step("kids", link("b", "u"), Value::Int(7), Action::Delete)]).unwrap_err();
    assert!(error.kind() == Kind::Config && error.remedy().is_some(), "{error}");
    h.runtime.block_on(h.sink.rollback()).unwrap();
}

#[test]
fn constants_that_do_not_fit_and_constraints_are_told() {
    let Some(mut h) = Harness::on(
        "constants_that_do_not_fit",
        "CREATE TABLE users (id int PRIMARY KEY, v varchar(4), n tinyint, d date, j json); \
         CREATE TABLE orders (id int PRIMARY KEY, user_id int, FOREIGN KEY (user_id) REFERENCES users (id)); \
         INSERT INTO users VALUES (7, 'x', 1, NULL, NULL); INSERT INTO orders VALUES (1, 7);",
    ) else {
        return;
    };
    let set = |column: &str, constant| {
        step("users", by("id"), Value::Int(7), Action::Set(vec![(column.to_owned(), constant)]))
    };
    let text = |text: &str| Constant::Text(text.to_owned());
    let mut reader = rows("billing", &h.options).unwrap();
    for wrong in [
        set("v", text("too long")),
        set("n", Constant::Int(300)),
        set("n", text("x")),
        set("d", text("no date")),
    ] {
        let found = h.runtime.block_on(reader.examine(&wrong)).unwrap();
        assert!(found.len() == 1 && found[0].severity == Severity::Error, "{found:?}");
        assert_eq!(try_erase(&mut h, vec![wrong]).unwrap_err().kind(), Kind::Config);
        h.runtime.block_on(h.sink.rollback()).unwrap();
    }
    for right in [
        set("v", text("gone")),
        set("n", Constant::Bool(false)),
        set("d", text("1970-01-01")),
        set("j", text("{}")),
    ] {
        let done = try_erase(&mut h, vec![right.clone(), right]).unwrap();
        assert_eq!(done.iter().map(|done| (done.rows, done.left)).collect::<Vec<_>>(), [(1, 0), (0, 0)]);
    }
    let error = try_erase(&mut h, vec![delete("users", "id", Value::Int(7))]).unwrap_err();
    assert!(error.kind() == Kind::Config && error.remedy().is_some(), "{error}");
    h.runtime.block_on(h.sink.rollback()).unwrap();
    let steps = vec![delete("orders", "user_id", Value::Int(7)), delete("users", "id", Value::Int(7))];
    assert!(try_erase(&mut h, steps).unwrap().iter().all(|done| done.rows == 1));
}
