#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn items(chains: &[(usize, usize)]) -> Vec<Item> {
    let item = |(chain, place): &(usize, usize)| Item {
        chain: *chain,
        place: *place,
        bytes: 10,
        keyed: true,
        limit: 0,
    };
    chains.iter().map(item).collect()
}

fn schedule(chains: &[(usize, usize)], records: usize) -> Schedule {
    let mut schedule = Schedule::new(items(chains), 8, 4, Limits { records, bytes: 1_000 });
    assert_eq!(schedule.begin(0..chains.len()), Vec::<usize>::new());
    schedule
}

#[test]
fn one_key_waits_for_itself_and_for_nobody_else() {
    let mut schedule = schedule(&[(0, 0), (0, 0), (1, 0)], 1);
    let first = schedule.next().unwrap();
    let second = schedule.next().unwrap();
    assert_eq!((&first.events, &second.events), (&vec![0], &vec![2]));
    assert!(schedule.next().is_none() && !schedule.has_next());
    schedule.accepted(&second);
    assert!(schedule.next().is_none());
    schedule.accepted(&first);
    assert_eq!(schedule.next().unwrap().events, [1]);
}

#[test]
fn a_batch_takes_what_fits_in_order_and_goes_to_one_place() {
    let mut schedule = schedule(&[(0, 0), (1, 1), (0, 0), (2, 0), (0, 1)], 10);
    let call = schedule.next().unwrap();
    assert_eq!((call.place, call.events.clone()), (0, vec![0, 2, 3]));
    // The key's event for the other place waits for the call.
    let other = schedule.next().unwrap();
    assert_eq!((other.place, other.events.clone()), (1, vec![1]));
    assert!(schedule.next().is_none());
    schedule.accepted(&call);
    assert_eq!(schedule.next().unwrap().events, [4]);
}

#[test]
fn halves_find_the_one_and_it_takes_its_key_along() {
    let mut schedule = schedule(&[(0, 0), (1, 0), (2, 0), (3, 0), (2, 0)], 10);
    let call = schedule.next().unwrap();
    assert_eq!(call.events, [0, 1, 2, 3, 4]);
    schedule.halve(&call);
    let half = schedule.next().unwrap();
    assert!(half.suspect);
    assert_eq!(half.events, [0, 1]);
    let other = schedule.next().unwrap();
    assert_eq!(other.events, [2, 3]);
    schedule.accepted(&half);
    // Behind the call that holds its key.
    assert!(schedule.next().is_none());
    schedule.halve(&other);
    let single = schedule.next().unwrap();
    assert_eq!(single.events, [2]);
    assert_eq!(schedule.refused(&single), [4]);
    assert_eq!(schedule.next().unwrap().events, [3]);
    assert!(schedule.next().is_none());
    // What comes later of the key, after a truncate, goes the same way.
    assert_eq!(schedule.begin(4..5), [4]);
}

#[test]
fn one_event_larger_than_a_call_goes_alone() {
    let mut schedule = schedule(&[(0, 0), (1, 0), (2, 0)], 10);
    schedule.items[1].bytes = 5_000;
    let sizes: Vec<_> = std::iter::from_fn(|| schedule.next()).map(|call| call.events).collect();
    assert_eq!(sizes, [vec![0], vec![1], vec![2]]);
}

proptest! {
    /// Whatever happens to calls, and in whatever order they end: events of a key are done in order, each once.
    #[test]
    fn order_per_key_holds(
        events in prop::collection::vec((0usize..6, 0usize..3), 1..60),
        records in 1usize..8,
        fates in prop::collection::vec((0u8..4, any::<prop::sample::Index>()), 400),
    ) {
        let mut schedule = schedule(&events, records);
        let mut flying: Vec<Call> = Vec::new();
        let mut done: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut fates = fates.into_iter().cycle();
        let mut budget = 300;
        loop {
            while flying.len() < 4 && let Some(call) = schedule.next() {
                let clash = |event: &usize| flying.iter().flat_map(|call| &call.events).any(|other| events[*other].0 == events[*event].0);
                prop_assert!(!call.events.iter().any(clash), "a key is in two calls");
                prop_assert!(call.events.iter().all(|event| events[*event].1 == call.place));
                prop_assert!(call.events.is_sorted() && call.events.len() <= records);
                flying.push(call);
            }
            if flying.is_empty() {
                break;
            }
            let (fate, which) = fates.next().unwrap();
            let call = flying.swap_remove(which.index(flying.len()));
            budget -= 1;
            let mut finish = |event: usize| done.entry(events[event].0).or_default().push(event);
            match fate {
                0 if call.events.len() > 1 && budget > 0 => schedule.halve(&call),
                1 if call.events.len() == 1 => {
                    finish(call.events[0]);
                    schedule.refused(&call).into_iter().for_each(finish);
                }
                _ => {
                    call.events.iter().copied().for_each(&mut finish);
                    schedule.accepted(&call);
                }
            }
        }
        prop_assert!(done.values().all(|events| events.is_sorted()));
        prop_assert_eq!(done.values().map(Vec::len).sum::<usize>(), events.len());
    }
}
