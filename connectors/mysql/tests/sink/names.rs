//! Hostile names and values: nothing of a peer is ever read as SQL.

use connector_api::{Image, Op, Value, ValueKind};

use crate::fixture::{Harness, table};

const VALUES: &[&str] = &[
    "it's",
    "''",
    "\"",
    "`",
    "\\",
    "\\'",
    "\\\\'; DROP TABLE victim; -- ",
    "'; DROP TABLE victim; -- ",
    "\\'; DROP TABLE victim; #",
    "a\0b",
    "\0",
    "\x1a",
    "\u{1f600}\u{10ffff}",
    "\u{fffd}\u{feff}",
    "%_\n\r\t\u{8}",
    "",
    " ",
    "?",
    ":name @x $1",
    "/* */ -- #",
    "x'00'",
    "NULL",
    "\u{bf}'\u{27}",
    "日本語'\\",
];

#[test]
fn hostile_values_come_through_to_the_byte() {
    let Some(mut h) = Harness::on("hostile_values_come_through_to_the_byte", "CREATE TABLE victim (a int)")
    else {
        return;
    };
    let kinds = [("k", ValueKind::Text), ("t", ValueKind::Text), ("b", ValueKind::Bytes)];
    let (keyed, bare) = (table("keyed", &kinds, &[0]), table("bare", &kinds, &[]));
    h.route(&[&keyed, &bare]);
    let row = |text: &'static str| [Value::Text(text), Value::Text(text), Value::Bytes(text.as_bytes())];
    for value in VALUES {
        h.feed.insert(&keyed, &row(value)).insert(&bare, &row(value));
    }
    h.deliver();
    let read = |h: &Harness, table: &str| {
        let mut rows = h.rows(&format!("SELECT concat(hex(k), hex(t), hex(b)) FROM {table}"));
        rows.sort();
        rows
    };
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
    let mut wanted: Vec<String> = VALUES.iter().map(|text| hex(text).repeat(3)).collect();
    wanted.sort();
    assert_eq!(read(&h, "keyed"), wanted);
    assert_eq!(read(&h, "bare"), wanted);
    // As keys of updates, moves and deletes too.
    for value in VALUES {
        let moved = format!("{value}!");
        h.feed.relocate(
            &keyed,
            &[Value::Text(value)],
            &[Value::Text(&moved), Value::Text(value), Value::Null],
        );
        h.feed.change(&bare, Op::Delete, Some((Image::OldRow, &row(value))), None);
    }
    h.deliver();
    assert_eq!(h.rows("SELECT count(*), count(b) FROM keyed"), [format!("{}|0", VALUES.len())]);
    for value in VALUES {
        h.feed.delete(&keyed, &[Value::Text(&format!("{value}!"))]);
    }
    h.deliver();
    let left =
        "SELECT (SELECT count(*) FROM keyed), (SELECT count(*) FROM bare), (SELECT count(*) FROM victim)";
    assert_eq!(h.rows(left), ["0|0|0"]);
}

#[test]
fn the_servers_own_mode_changes_nothing() {
    let test = "the_servers_own_mode_changes_nothing";
    if !crate::fixture::installed(test) {
        return;
    }
    let modes = ["", "NO_BACKSLASH_ESCAPES", "ANSI", "NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT"];
    for mode in modes {
        let options = throwaway_servers::mariadb::Options::new()
            .setting(&format!("--sql-mode={mode}"))
            .setting("--character-set-server=latin1")
            .setting("--default-time-zone=+07:00");
        let server = throwaway_servers::mariadb::MariaDb::start(options);
        let mut h = Harness::at(&server, |_| {}, "CREATE TABLE victim (a int)");
        let kinds = [("k", ValueKind::Text), ("at", ValueKind::TimestampTz)];
        let keyed = table("keyed", &kinds, &[0]);
        h.route(&[&keyed]);
        for value in VALUES {
            h.feed.insert(&keyed, &[Value::Text(value), Value::TimestampTz(0)]);
        }
        h.deliver();
        let found = h.rows("SELECT hex(k) FROM keyed");
        assert_eq!(found.len(), VALUES.len(), "{mode}");
        for value in VALUES {
            let hex: String = value.bytes().map(|byte| format!("{byte:02X}")).collect();
            assert!(found.contains(&hex), "{mode}: {value:?}");
        }
        let moments = h.rows("SELECT DISTINCT CAST(at AS CHAR) FROM keyed");
        assert_eq!(moments, ["2000-01-01 00:00:00.000000"], "{mode}");
    }
}

#[test]
fn hostile_names_are_names() {
    let Some(mut h) = Harness::on("hostile_names_are_names", "CREATE TABLE victim (a int)") else { return };
    let names = [
        "a`b",
        "x`; DROP TABLE victim; -- -",
        "select",
        "it's \"quoted\"",
        "back\\slash",
        "100%",
        "日本",
        " lead",
        "a.b",
    ];
    for (at, name) in names.into_iter().enumerate() {
        // Another table's name for each, and the same for its columns.
        let hostile = table(name, &[(name, ValueKind::Int), ("v`", ValueKind::Text)], &[0]);
        h.route(&[&hostile]);
        let text = Value::Text("x");
        h.feed.insert(&hostile, &[Value::Int(1), text]).insert(&hostile, &[Value::Int(2), text]);
        h.deliver();
        h.feed.update(&hostile, &[Value::Int(1), Value::Text("y")]).delete(&hostile, &[Value::Int(2)]);
        h.deliver();
        let quoted = format!("`{}`", name.replace('`', "``"));
        assert_eq!(h.rows(&format!("SELECT * FROM {quoted}")), ["1|y"], "{at}: {name}");
    }
    assert_eq!(h.rows("SELECT count(*) FROM victim"), ["0"]);
}

#[test]
fn names_that_cannot_be_are_refused() {
    let Some(mut h) = Harness::new("names_that_cannot_be_are_refused") else { return };
    for name in ["_millstream_cursor", "_MILLSTREAM_x", "nul\0", "", &"x".repeat(65)] {
        let wrong = table(name, &[("id", ValueKind::Int)], &[0]).aliased(name);
        h.route(&[&wrong]);
        h.feed.insert(&wrong, &[Value::Int(1)]);
        let error = h.failure();
        assert_eq!(error.kind(), connector_api::Kind::Config, "{error:?}");
        assert!(error.remedy().is_some());
        h.routes.clear();
        h.restart().unwrap();
    }
}
