//! That bytes are gone, and not only rows.

use std::path::PathBuf;

use connector_api::erasure::{Action, Constant, Erasure, Find, Outcome, Scrubbed, Step};
use connector_api::{Finding, Severity, Sink, Value, ValueKind};
use connector_sqlite::{Options, check, rows};
use rusqlite::Connection;

use crate::fixture::{Harness, Table, now, table};

/// In every value of the person, and in none of anybody else.
const MARKS: [&str; 5] =
    ["hunter2@example.org", "HUNTER2 NAME", "+43-1-5550199", "older-hunter2", "7770001777"];

fn erases(sql: &str) -> Harness {
    Harness::with(|options| options.erases = true, sql)
}

fn users() -> Table {
    let text = ValueKind::Text;
    table(
        "users",
        &[("id", ValueKind::Int), ("mail", text), ("name", text), ("phone", text), ("note", text)],
        &[0],
    )
}

fn orders() -> Table {
    table("orders", &[("id", ValueKind::Int), ("user_id", ValueKind::Int), ("note", ValueKind::Text)], &[0])
}

fn step(table: &Table, column: &str, id: i64, action: Action) -> Step {
    let find = Find::Column(column.to_owned());
    Step { table: table.target.table.clone(), find, value: Step::encode(Value::Int(id)), action }
}

fn erasure(steps: Vec<Step>) -> Erasure {
    Erasure { case: "c".to_owned(), subject: "user".to_owned(), key: Step::encode(Value::Int(7)), steps }
}

/// Erases, and commits.
fn erase(h: &mut Harness, steps: Vec<Step>) -> Vec<u64> {
    let outcome = now(h.sink.erase(&erasure(steps))).unwrap();
    now(h.sink.commit(&h.cursor)).unwrap();
    let Outcome::Done(done) = outcome else { panic!("{outcome:?}") };
    assert!(done.iter().all(|done| done.left == 0));
    done.into_iter().map(|done| done.rows).collect()
}

/// In which files of the database a mark is found.
fn found(h: &Harness) -> Vec<String> {
    let mut found = Vec::new();
    for suffix in ["", "-wal", "-shm"] {
        let mut path = h.options.path.clone().into_os_string();
        path.push(suffix);
        let bytes = std::fs::read(PathBuf::from(path)).unwrap_or_default();
        for mark in MARKS {
            if bytes.windows(mark.len()).any(|window| window == mark.as_bytes()) {
                found.push(format!("{mark} in {suffix:?}"));
            }
        }
    }
    found
}

fn scrub(h: &mut Harness) -> Scrubbed {
    now(h.sink.scrub()).unwrap()
}

/// The person 7 among thousands: rows of every size, updated before, with indexes, moved between pages.
fn lived(h: &mut Harness) {
    let (users, orders) = (users(), orders());
    let big = |mark: &str, len: usize| format!("{mark} {}", "x".repeat(len));
    for id in 0..3_000i64 {
        let mail = if id == 7 { "older-hunter2".to_owned() } else { format!("user{id}@example.org") };
        let name = if id == 7 { MARKS[1].to_owned() } else { format!("name {id}") };
        let row = [&*mail, &*name, "", ""].map(Value::Text);
        h.feed.insert(&users, &[&[Value::Int(id)][..], &row].concat());
        let (of, note) = match id % 10 {
            0 => (7, big(MARKS[(id % 5) as usize], (id % 6_000) as usize)),
            _ => (id, format!("order {id}")),
        };
        h.feed.insert(&orders, &[Value::Int(id), Value::Int(of), Value::Text(&note)]);
        if id % 500 == 499 {
            h.deliver();
        }
    }
    h.deliver();
    let connection = Connection::open(&h.options.path).unwrap();
    connection
        .execute_batch(
            "CREATE INDEX users_mail ON users (mail); CREATE INDEX users_name ON users (name, phone);
             CREATE INDEX orders_user ON orders (user_id); CREATE INDEX orders_note ON orders (note); ANALYZE;",
        )
        .unwrap();
    drop(connection);
    // Values that were overwritten long ago leave bytes, too; rows that grow and shrink move between pages.
    for round in 0..6usize {
        let note = big(MARKS[4], [10, 9_000, 300, 30_000, 40, 4_000][round]);
        let row = [MARKS[0], MARKS[1], MARKS[2], &note].map(Value::Text);
        h.feed.update(&users, &[&[Value::Int(7)][..], &row].concat());
        for id in (0..3_000i64).filter(|id| id % 7 == round as i64 && id % 10 != 0) {
            let grown = "y".repeat((id as usize * 13) % 2_500);
            h.feed.update(&orders, &[Value::Int(id), Value::Int(id), Value::Text(&grown)]);
        }
        for id in (0..3_000i64).filter(|id| id % 10 == 0) {
            let note = big(MARKS[(id / 10 % 5) as usize], (id as usize * (round + 1)) % 7_000);
            h.feed.update(&orders, &[Value::Int(id), Value::Int(7), Value::Text(&note)]);
        }
        h.deliver();
    }
}

#[test]
fn nothing_of_the_person_is_left_in_any_file() {
    let mut h = erases("");
    lived(&mut h);
    assert!(!found(&h).is_empty(), "the search finds what is there");
    let counts = erase(
        &mut h,
        vec![step(&orders(), "user_id", 7, Action::Delete), step(&users(), "id", 7, Action::Delete)],
    );
    assert_eq!(counts, [301, 1]);
    assert_eq!(scrub(&mut h), Scrubbed::Done);
    assert_eq!(found(&h), Vec::<String>::new());
    assert_eq!(scrub(&mut h), Scrubbed::Done, "a second time there is nothing to do");
    let connection = Connection::open(&h.options.path).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let others: i64 = connection.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    assert_eq!(others, 2_699);
}

#[test]
fn nothing_is_left_of_values_that_were_set() {
    let mut h = erases("");
    lived(&mut h);
    let null = |columns: &[&str]| {
        let null = |column: &&str| ((*column).to_owned(), Constant::Null);
        Action::Set(columns.iter().map(null).collect())
    };
    let steps = vec![
        step(&orders(), "user_id", 7, null(&["note"])),
        step(&users(), "id", 7, null(&["mail", "name", "phone", "note"])),
    ];
    erase(&mut h, steps);
    assert_eq!(scrub(&mut h), Scrubbed::Done);
    assert_eq!(found(&h), Vec::<String>::new());
}

#[test]
fn a_reader_that_holds_the_log_is_waited_for() {
    let mut h = erases("");
    lived(&mut h);
    let reader = Connection::open(&h.options.path).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).unwrap();
    erase(
        &mut h,
        vec![step(&users(), "id", 7, Action::Delete), step(&orders(), "user_id", 7, Action::Delete)],
    );
    let started = std::time::Instant::now();
    assert_eq!(scrub(&mut h), Scrubbed::Later("a reader holds the write-ahead log".to_owned()));
    assert!(started.elapsed().as_millis() < 400, "nobody is waited for");
    assert!(!found(&h).is_empty());
    // The sink goes on meanwhile.
    h.feed.insert(&orders(), &[Value::Int(90_000), Value::Int(8), Value::Text("more")]);
    h.deliver();
    assert!(matches!(scrub(&mut h), Scrubbed::Later(_)));
    drop(reader);
    assert_eq!(scrub(&mut h), Scrubbed::Done);
    assert_eq!(found(&h), Vec::<String>::new());
}

#[test]
fn a_crash_before_the_scrub_is_made_up_for() {
    let mut h = erases("");
    lived(&mut h);
    // Held, so that closing does not empty the log.
    let other = Connection::open(&h.options.path).unwrap();
    let _: i64 = other.query_row("SELECT count(*) FROM users", [], |row| row.get(0)).unwrap();
    erase(
        &mut h,
        vec![step(&users(), "id", 7, Action::Delete), step(&orders(), "user_id", 7, Action::Delete)],
    );
    h.restart().unwrap();
    assert!(!found(&h).is_empty());
    assert_eq!(scrub(&mut h), Scrubbed::Done);
    assert_eq!(found(&h), Vec::<String>::new());
}

#[test]
fn an_open_transaction_is_not_disturbed() {
    let mut h = erases("");
    h.feed.insert(&orders(), &[Value::Int(1), Value::Int(7), Value::Text("x")]);
    h.deliver();
    now(h.sink.erase(&erasure(vec![step(&orders(), "user_id", 7, Action::Delete)]))).unwrap();
    assert!(matches!(scrub(&mut h), Scrubbed::Later(_)));
    now(h.sink.commit(&h.cursor)).unwrap();
    assert_eq!(scrub(&mut h), Scrubbed::Done);
}

fn warnings(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.code == "sqlite-erasure-freed-pages").collect()
}

#[test]
fn pages_that_were_freed_before_are_told_of() {
    let mut h = Harness::new();
    for id in 0..2_000 {
        h.feed.insert(&orders(), &[Value::Int(id), Value::Int(7), Value::Text(MARKS[0])]);
    }
    h.deliver();
    h.feed.truncate(&orders());
    h.deliver();
    assert!(warnings(&check(&h.options, &[])).is_empty(), "not part of an erasure");
    let options = Options { erases: true, ..h.options.clone() };
    h.options = options.clone();
    h.restart().unwrap();
    let all = check(&options, &[]);
    let found = warnings(&all);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity, Severity::Warning);
    let remedy = found[0].remedy.as_deref().unwrap();
    assert!(remedy.starts_with(&format!("sqlite3 '{}' 'VACUUM'", options.path.display())), "{remedy}");
    let mut reader = rows("billing", &options).unwrap();
    let examined = now(reader.examine(&step(&orders(), "user_id", 7, Action::Delete))).unwrap();
    assert_eq!(warnings(&examined).len(), 1);
    drop(reader);
    // What the remedy says, as a person would.
    Connection::open(&options.path).unwrap().execute_batch("VACUUM").unwrap();
    assert!(warnings(&check(&options, &[])).is_empty());
    h.restart().unwrap();
    for id in 0..2_000 {
        h.feed.insert(&orders(), &[Value::Int(id), Value::Int(7), Value::Text(MARKS[0])]);
    }
    h.deliver();
    h.feed.truncate(&orders());
    h.deliver();
    assert!(warnings(&check(&options, &[])).is_empty(), "these were overwritten");
}
