//! The same end whether changes are applied one by one, or by their net effect.

use std::collections::BTreeMap;

use connector_api::{Before, Change, Image, Incoming, Op, Row, Target, Value};
use proptest::prelude::*;

use super::feed::{Feed, Shape, keyless, users};
use super::*;

/// A value as its bytes: comparable, and owned.
type Cell = Vec<u8>;
type Cells = BTreeMap<String, Cell>;

/// A target: tables with a key by their key, others as bags of rows.
#[derive(Debug, Default, PartialEq, Clone)]
struct World {
    keyed: BTreeMap<String, BTreeMap<Vec<u8>, Cells>>,
    bags: BTreeMap<String, Vec<Cells>>,
}

fn cell(value: Value<'_>) -> Cell {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

/// The values of a row that are known, by the names that they have in the target.
fn known(target: &Target, row: Row<'_>) -> Cells {
    let mut values = Vec::new();
    cells(row, target, &mut values).unwrap();
    let named = target.columns.iter().zip(values).filter(|(_, value)| !value.is_unchanged());
    named.map(|((_, name), value)| (name.clone(), cell(value))).collect()
}

fn key_cells(target: &Target, key: Row<'_>) -> Cells {
    let values = key.to_vec().unwrap();
    target.key_names().into_iter().map(str::to_owned).zip(values.into_iter().map(cell)).collect()
}

impl World {
    fn table(&mut self, target: &Target) -> &mut BTreeMap<Vec<u8>, Cells> {
        self.keyed.entry(target.table.clone()).or_default()
    }

    fn bag(&mut self, target: &Target) -> &mut Vec<Cells> {
        self.bags.entry(target.table.clone()).or_default()
    }

    fn set(&mut self, target: &Target, key: &[u8], values: Cells) {
        let row = self.table(target).entry(key.to_vec()).or_default();
        row.extend(values);
    }

    fn replace(&mut self, target: &Target, old: Row<'_>, new: Option<Cells>, absent: Absent) {
        let old = known(target, old);
        let bag = self.bag(target);
        match (bag.iter().position(|row| *row == old), new) {
            (Some(at), None) => drop(bag.remove(at)),
            (Some(at), Some(new)) => bag[at].extend(new),
            (None, Some(new)) if absent == Absent::Insert => bag.push(new),
            _ => {}
        }
    }

    /// What a change means, in the plainest words.
    fn apply(&mut self, incoming: &Incoming<'_>) {
        let Incoming { change, target, .. } = incoming;
        if target.key.is_empty() {
            self.apply_keyless(target, change)
        } else {
            self.apply_keyed(target, change)
        }
    }

    fn apply_keyed(&mut self, target: &Target, change: &Change<'_>) {
        let key = change.key();
        let after = change.after.map(|row| known(target, row));
        match (change.op, after) {
            (Op::Truncate, None) => self.table(target).clear(),
            (Op::Truncate, Some(mut marks)) => {
                target.key_names().into_iter().for_each(|name| drop(marks.remove(name)));
                self.table(target).values_mut().for_each(|row| row.extend(marks.clone()));
            }
            (Op::Delete, None) => drop(self.table(target).remove(key.unwrap().as_bytes())),
            (Op::Delete, Some(mut marks)) => {
                target.key_names().into_iter().for_each(|name| drop(marks.remove(name)));
                if let Some(row) = self.table(target).get_mut(key.unwrap().as_bytes()) {
                    row.extend(marks);
                }
            }
            (_, after) => {
                let (key, mut values) = (key.unwrap(), after.unwrap());
                if let Some(old) = change.old_key().unwrap() {
                    let mut bytes = Vec::new();
                    connector_api::put_row(&mut bytes, old.into_iter());
                    if let Some(row) = self.table(target).remove(&bytes) {
                        self.table(target).insert(key.as_bytes().to_vec(), row);
                    }
                }
                values.extend(key_cells(target, key));
                self.set(target, key.as_bytes(), values);
            }
        }
    }

    fn apply_keyless(&mut self, target: &Target, change: &Change<'_>) {
        let new = change.after.map(|row| known(target, row));
        let old = match change.before {
            Some(Before::Full(row)) => Some(row),
            _ => None,
        };
        match (change.op, old) {
            (Op::Truncate, _) if new.is_none() => self.bag(target).clear(),
            (Op::Truncate, _) => {
                let marks = new.unwrap();
                self.bag(target).iter_mut().for_each(|row| row.extend(marks.clone()));
            }
            (Op::Insert | Op::Read, _) => self.bag(target).push(new.unwrap()),
            (Op::Delete, Some(old)) => self.replace(target, old, new, Absent::Ignore),
            (_, old) => {
                let whole = new.as_ref().is_some_and(|new| new.len() == target.columns.len());
                let absent = if whole { Absent::Insert } else { Absent::Refuse };
                self.replace(target, old.unwrap(), new, absent);
            }
        }
    }

    /// What a sink does with a step.
    fn step(&mut self, step: &Step<'_>) {
        let target = step.target;
        let only = |columns: &[usize], row: &Row<'_>| {
            let mut cells = known(target, *row);
            cells.retain(|name, _| columns.iter().any(|at| target.name(*at) == name));
            cells
        };
        let key = |row: &Row<'_>| {
            let values = row.to_vec().unwrap();
            let picked: Vec<_> = target.schema.key.iter().map(|index| values[*index]).collect();
            assert!(!picked.iter().any(Value::is_unchanged), "keys are complete");
            let mut bytes = Vec::new();
            connector_api::put_row(&mut bytes, picked.into_iter());
            bytes
        };
        match &step.work {
            Work::Upsert { rows, .. } => {
                for row in rows {
                    let cells = known(target, *row);
                    assert_eq!(cells.len(), target.columns.len(), "whole");
                    self.set(target, &key(row), cells);
                }
            }
            Work::Update { columns, rows } => {
                for row in rows {
                    let mut cells = only(columns, row);
                    assert_eq!(cells.len(), columns.len(), "all are known");
                    cells.extend(key_cells(target, Row::from_bytes(&key(row))));
                    self.set(target, &key(row), cells);
                }
            }
            Work::Mark { columns, rows } => {
                for row in rows {
                    let cells = only(columns, row);
                    if let Some(found) = self.table(target).get_mut(&key(row)) {
                        found.extend(cells);
                    }
                }
            }
            Work::MarkAll { columns, row } => {
                let cells = only(columns, row);
                if target.key.is_empty() {
                    self.bag(target).iter_mut().for_each(|row| row.extend(cells.clone()));
                } else {
                    self.table(target).values_mut().for_each(|row| row.extend(cells.clone()));
                }
            }
            Work::Delete { keys } => {
                keys.iter().for_each(|key| drop(self.table(target).remove(key.as_bytes())));
            }
            Work::Move { old, columns, row } => {
                let moved = self.table(target).remove(old.as_bytes());
                if let Some(moved) = moved {
                    self.table(target).insert(key(row), moved);
                }
                let mut cells = only(columns, row);
                cells.extend(key_cells(target, Row::from_bytes(&key(row))));
                self.set(target, &key(row), cells);
            }
            Work::Truncate if target.key.is_empty() => self.bag(target).clear(),
            Work::Truncate => self.table(target).clear(),
            Work::Insert { rows } => {
                rows.iter().for_each(|row| self.bag(target).push(known(target, *row)));
            }
            Work::ReplaceRow { old, columns, row, absent } => {
                self.replace(target, *old, Some(only(columns, row)), *absent);
            }
            Work::DeleteRow { old } => self.replace(target, *old, None, Absent::Ignore),
        }
    }

    /// Bags have no order.
    fn sorted(mut self) -> World {
        self.bags.values_mut().for_each(|bag| bag.sort());
        self
    }
}

/// One change, made up: which table, what, which keys, which values.
#[derive(Debug, Clone)]
struct Made {
    table: usize,
    what: u8,
    key: i64,
    other: i64,
    value: i64,
    holes: u8,
}

fn made() -> impl Strategy<Value = Made> {
    (0..4usize, 0..20u8, 0..4i64, 0..4i64, 0..50i64, 0..4u8)
        .prop_map(|(table, what, key, other, value, holes)| Made { table, what, key, other, value, holes })
}

fn shapes() -> [Shape; 4] {
    let mut shared = users("users");
    shared.rename("other.public.users", &["id", "note", "extra"]);
    [users("users"), shared, Shape::new("pairs", &["v", "a", "w", "b"], &[3, 1]), keyless("lines")]
}

fn feed(feed: &mut Feed, shapes: &[Shape; 4], made: &Made) {
    let shape = &shapes[made.table];
    let text = made.value.to_string();
    let hole = |bit: u8, value| if made.holes & bit != 0 { Value::Unchanged } else { value };
    if made.table == 3 {
        let row = |n: i64| [Value::Int(n), Value::Null];
        let (old, new) = (row(made.key), row(made.other));
        match made.what {
            0..8 => feed.insert(shape, &new),
            8..11 => feed.change_full(shape, &old, Some(&[Value::Int(made.other), hole(1, Value::Null)])),
            11..14 => feed.change_full(shape, &old, None),
            14..16 => feed.change_full(shape, &old, None).soften(&[Value::Unchanged, Value::Text("x")]),
            16 => feed.truncate(shape),
            17 => feed.truncate(shape).soften(&[Value::Unchanged, Value::Text("all")]),
            _ => feed.insert(shape, &old),
        };
        return;
    }
    let row = |key: i64, holes: bool| {
        let (first, second) = (Value::Int(made.value), Value::Text(&text));
        let (first, second) = if holes { (hole(1, first), hole(2, second)) } else { (first, second) };
        match made.table {
            2 => vec![first, Value::Text(if key & 1 == 1 { "odd" } else { "even" }), second, Value::Int(key)],
            _ => vec![Value::Int(key), first, second],
        }
    };
    let key = |key: i64| match made.table {
        2 => vec![Value::Int(key), Value::Text(if key & 1 == 1 { "odd" } else { "even" })],
        _ => vec![Value::Int(key)],
    };
    let marks = match made.table {
        2 => vec![hole(1, Value::Text("gone")), Value::Unchanged, Value::Null, Value::Unchanged],
        _ => vec![Value::Unchanged, hole(1, Value::Text("gone")), Value::Null],
    };
    let old = key(made.other);
    match made.what {
        0..4 => feed.insert(shape, &row(made.key, false)),
        4 => feed.change(shape, Op::Read, None, Some(&row(made.key, false))),
        5..7 => feed.update(shape, &row(made.key, false)),
        7..11 => feed.update(shape, &row(made.key, true)),
        11..14 => feed.change(
            shape,
            Op::Update,
            Some((Image::OldKey, &old)),
            Some(&row(made.key, made.value & 1 == 1)),
        ),
        14..17 => feed.change(shape, Op::Delete, Some((Image::OldKey, &old)), None),
        17..19 => feed.change(shape, Op::Delete, Some((Image::OldKey, &old)), None).soften(&marks),
        _ if made.value < 30 => feed.truncate(shape),
        _ => feed.truncate(shape).soften(&marks),
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_net_effect_is_the_effect(
        list in proptest::collection::vec(made(), 0..40),
        ranks in proptest::array::uniform3(0..3u32),
        flush in 1..40usize,
    ) {
        let shapes = shapes();
        let mut made = Feed::new();
        list.iter().for_each(|one| feed(&mut made, &shapes, one));
        let (mut plain, mut net, mut singly) = (World::default(), World::default(), World::default());
        let mut gather = Gather::new(exact);
        let rank = |target: &Target| match &*target.table {
            "users" => ranks[0],
            "pairs" => ranks[1],
            _ => ranks[2],
        };
        let mut apply = |gather: &mut Gather| {
            gather.singles().for_each(|single| singly.step(&single.step));
            gather.steps(&rank).unwrap().iter().for_each(|step| net.step(step));
            gather.clear();
        };
        made.each(|incoming| {
            plain.apply(incoming);
            gather.push(incoming).unwrap();
            if gather.len() >= flush {
                apply(&mut gather);
            }
        });
        apply(&mut gather);
        let plain = plain.sorted();
        prop_assert_eq!(&plain, &singly.sorted());
        prop_assert_eq!(&plain, &net.sorted());
    }

    /// Within one layer every key occurs once; a fresh row is not there, if inserts are inserts.
    #[test]
    fn no_step_has_a_key_twice(list in proptest::collection::vec(made(), 0..60)) {
        let shapes = shapes();
        let mut made = Feed::new();
        list.iter().for_each(|one| feed(&mut made, &shapes, one));
        let mut gather = gathered(&made);
        for step in gather.steps(&|_| 0).unwrap() {
            let rows = match &step.work {
                Work::Upsert { rows, .. } | Work::Update { rows, .. } | Work::Mark { rows, .. } => rows,
                Work::Delete { keys } => keys,
                _ => continue,
            };
            let delete = matches!(step.work, Work::Delete { .. });
            let key = |row: &Row<'_>| {
                let values = row.to_vec().unwrap();
                let picked = step.target.schema.key.iter().map(|index| cell(values[*index]));
                if delete { values.iter().map(|value| cell(*value)).collect() } else { picked.collect::<Vec<_>>() }
            };
            let mut keys: Vec<_> = rows.iter().map(key).collect();
            keys.sort();
            let count = keys.len();
            keys.dedup();
            prop_assert_eq!(keys.len(), count);
            prop_assert!(count > 0);
        }
    }
}
