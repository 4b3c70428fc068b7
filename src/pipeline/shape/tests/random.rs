//! Random histories: what the changes make of the target equals the rule applied to the rows that remain in the source.

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Source, Table, User};
use super::{OnDelete, Rule, computed, deleted_at, mapping, rule};
use connector_api::Op;

/// What happens to a row; which one, and to what, is decided by what is there.
#[derive(Debug, Clone)]
enum Event {
    Insert { kind: u8, n: Option<i64>, read: bool },
    Update { row: usize, kind: Option<u8>, n: Option<Option<i64>>, move_key: bool, email: bool, big: bool },
    Delete { row: usize },
    Truncate,
}

fn event() -> impl Strategy<Value = Event> {
    let n = || proptest::option::of(0i64..6);
    prop_oneof![
        4 => (0u8..3, n(), any::<bool>()).prop_map(|(kind, n, read)| Event::Insert { kind, n, read }),
        8 => (any::<usize>(), proptest::option::of(0u8..3), proptest::option::of(n()), any::<[bool; 4]>()).prop_map(
            |(row, kind, n, [one, two, email, big])| Event::Update { row, kind, n, move_key: one && two, email, big }
        ),
        3 => any::<usize>().prop_map(|row| Event::Delete { row }),
        1 => Just(Event::Truncate),
    ]
}

fn kind(number: u8) -> String {
    ["a", "b", "c"][usize::from(number) % 3].to_owned()
}

/// The history of a table. Ids and emails come back after they were free.
fn history(events: &[Event], full: bool) -> Source {
    let mut source = Source::new(full);
    let mut emails = 0;
    for (step, event) in events.iter().enumerate() {
        let free = (1..).find(|id| !source.rows.contains_key(id)).unwrap();
        let taken: Vec<String> = source.rows.values().map(|row| row.email.clone()).collect();
        let email = (0..)
            .map(|number| format!("e{}", (number + emails) % 12))
            .find(|email| !taken.contains(email))
            .unwrap();
        emails += 5;
        let some = |row: &usize| source.rows.keys().nth(row % source.rows.len().max(1)).copied();
        match event {
            Event::Insert { kind: number, n, read } if source.rows.len() < 8 => {
                let op = if *read { Op::Read } else { Op::Insert };
                source.put_user(
                    op,
                    User { id: free, kind: kind(*number), n: *n, email, big: format!("big{step}") },
                );
            }
            Event::Update { row, kind: number, n, move_key, email: new_email, big } => {
                let Some(id) = some(row) else { continue };
                source.update(id, |row| {
                    if let Some(number) = number {
                        row.kind = kind(*number);
                    }
                    row.n = n.unwrap_or(row.n);
                    row.id = if *move_key { free } else { row.id };
                    if *new_email {
                        row.email.clone_from(&email);
                    }
                    if *big {
                        row.big = format!("big{step}");
                    }
                });
            }
            Event::Delete { row } => {
                let Some(id) = some(row) else { continue };
                source.delete(id);
            }
            Event::Truncate if step % 4 == 0 => source.truncate(),
            Event::Insert { .. } | Event::Truncate => {}
        }
    }
    source
}

type Matches = fn(&User) -> bool;

fn condition() -> impl Strategy<Value = (Option<String>, Matches)> {
    let some = |text: &str, matches: Matches| Just((Some(text.to_owned()), matches));
    prop_oneof![
        Just((None, (|_| true) as Matches)),
        some("row.kind == 'a'", |row| row.kind == "a"),
        some("row.n > 2", |row| row.n.is_some_and(|n| n > 2)),
        some("row.n == null || row.kind != 'b'", |row| row.n.is_none() || row.kind != "b"),
        some("!(row.kind in ['a', 'b']) && row.n != 3", |row| row.kind == "c" && row.n != Some(3)),
    ]
}

/// What the rule makes of a row, as text.
fn wanted(row: &User) -> String {
    let n = row.n.map_or("NULL".to_owned(), |n| n.to_string());
    let twice = row.n.map_or("NULL".to_owned(), |n| (n * 2).to_string());
    format!("{} {} {n} {} {} eu {twice}", row.id, row.kind, row.email, row.big)
}

fn ruled(condition: Option<String>, key: Option<&[&str]>) -> Rule {
    let key = key.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    Rule {
        condition,
        key,
        computed: vec![computed("shop", "'eu'"), computed("twice", "row.n * 2")],
        ..rule()
    }
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_target_holds_what_the_rule_says_of_the_source(
        events in vec(event(), 0..60),
        (condition, matches) in condition(),
        key in prop_oneof![Just(None), Just(Some(&["shop", "id"][..])), Just(Some(&["email"][..]))],
    ) {
        let source = history(&events, true);
        let mut table = Table::new(mapping(&[ruled(condition, key)]));
        table.apply_all(&source).unwrap();
        let wanted: Vec<_> = source.rows.values().filter(|row| matches(row)).map(wanted).collect();
        prop_assert_eq!(sorted(table.rows()), sorted(wanted));
    }

    /// Without whole old rows, a big value that was not sent may be missing in a row that came in, and nothing else.
    #[test]
    fn keys_alone_are_enough_for_all_but_big_values(
        events in vec(event(), 0..60),
        (condition, matches) in condition(),
        key in prop_oneof![Just(None), Just(Some(&["shop", "id"][..]))],
    ) {
        let source = history(&events, false);
        let all = condition.is_none();
        let mut table = Table::new(mapping(&[ruled(condition, key)]));
        table.apply_all(&source).unwrap();
        let without = |row: &String| {
            let mut words: Vec<_> = row.split(' ').collect();
            words[4] = if all { words[4] } else { "" };
            words.join(" ")
        };
        let wanted: Vec<_> = source.rows.values().filter(|row| matches(row)).map(wanted).collect();
        let found: Vec<_> = table.rows().iter().map(without).collect();
        prop_assert_eq!(sorted(found), sorted(wanted.iter().map(without).collect()));
    }

    #[test]
    fn marked_rows_are_all_that_the_source_no_longer_has(
        events in vec(event(), 0..60),
        (condition, matches) in condition(),
        full in any::<bool>(),
    ) {
        let source = history(&events, full);
        let rule = Rule { on_delete: deleted_at(), ..ruled(condition, None) };
        let mut table = Table::new(mapping(&[rule]));
        table.apply_all(&source).unwrap();
        let (dead, alive): (Vec<_>, Vec<_>) = table.rows().into_iter().partition(|row| row.ends_with("true"));
        prop_assert!(dead.iter().all(|row| row.ends_with(" 2000-01-01 00:00:01+00:00 true")), "{:?}", dead);
        let key = |row: &String| row.split(' ').next().unwrap().to_owned();
        let wanted: Vec<_> = source.rows.values().filter(|row| matches(row)).map(|row| row.id.to_string()).collect();
        let found: Vec<_> = alive.iter().map(key).collect();
        prop_assert_eq!(sorted(found), sorted(wanted.clone()));
        prop_assert!(dead.iter().all(|row| !wanted.contains(&key(row))));
        prop_assert!(alive.iter().all(|row| row.ends_with("NULL false")));
    }

    /// A restart between any two records changes nothing: everything comes out of the record itself.
    #[test]
    fn a_restart_between_any_two_records_changes_nothing(
        events in vec(event(), 0..40),
        (condition, matches) in condition(),
        key in prop_oneof![Just(None), Just(Some(&["shop", "id"][..]))],
        ignore in any::<bool>(),
    ) {
        let on_delete = if ignore { OnDelete::Ignore } else { OnDelete::Delete };
        let source = history(&events, true);
        let rule = Rule { on_delete, ..ruled(condition, key) };
        let (mut one, mut two) = (Table::new(mapping(std::slice::from_ref(&rule))), Table::new(mapping(std::slice::from_ref(&rule))));
        one.apply_all(&source).unwrap();
        source.history(|captured| {
            two.restart(mapping(std::slice::from_ref(&rule)));
            two.apply(captured)
        }).unwrap();
        prop_assert_eq!(one.rows(), two.rows());
        prop_assert!(ignore || one.rows().len() == source.rows.values().filter(|row| matches(row)).count());
    }
}
