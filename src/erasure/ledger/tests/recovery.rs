//! A crash at any point, and everything is said again: the ledger ends the same, with each thing recorded once.

use proptest::prelude::*;

use super::*;

/// What a call says of whether it is news does not matter here.
fn said(_: bool) {}

/// One call that a loop makes of the ledger.
#[derive(Debug, Clone)]
enum Call {
    Opened(u64),
    Prepare(u64, &'static str),
    Finish(u64, &'static str),
    Discard(u64, &'static str),
    Receive(u64, &'static str),
    Scrub(u64, &'static str),
    Complete(u64),
    Verified(u64),
    Lifted(u64),
}

fn make(ledger: &Ledger, call: &Call) {
    let case = |number: &u64| format!("case-{number}");
    match call {
        Call::Opened(number) => said(ledger.opened(*number, &opened(*number), &due()).unwrap()),
        Call::Prepare(number, target) => said(ledger.prepare(&receipt(*number, target)).unwrap()),
        Call::Finish(number, target) => said(ledger.finish(&case(number), target, 20).unwrap()),
        Call::Discard(number, target) => said(ledger.discard(&case(number), target).unwrap()),
        Call::Receive(number, target) => said(ledger.receive(&receipt(*number, target)).unwrap()),
        Call::Scrub(number, target) => said(ledger.note_scrub(&case(number), target, 25).unwrap()),
        // A case that is not known yet is refused; that is no harm here.
        Call::Complete(number) => said(ledger.complete(&case(number), 30).is_ok()),
        Call::Verified(number) => said(ledger.verified(&case(number), 40, &[("news".into(), 1)]).unwrap()),
        Call::Lifted(number) => {
            let Opened { case, subject, key_hash, .. } = opened(*number);
            said(ledger.lifted(100 + number, &Lifted { case, subject, key_hash }, 50).unwrap());
        }
    }
}

/// What two cases take, in the order of an ordinary run.
fn ordinary() -> Vec<Call> {
    let mut calls = Vec::new();
    for number in [0, 1] {
        calls.push(Call::Opened(number));
        for target in ["billing", "news"] {
            calls.extend([
                Call::Prepare(number, target),
                Call::Finish(number, target),
                Call::Scrub(number, target),
            ]);
        }
        calls.extend([
            Call::Receive(number, "log"),
            Call::Complete(number),
            Call::Verified(number),
            Call::Lifted(number),
        ]);
    }
    calls
}

fn told(ledger: &Ledger) -> Vec<(Case, Vec<Entry>)> {
    let cases = ledger.cases(&Filter::default(), 9).unwrap();
    cases.into_iter().map(|case| (case.clone(), entries(ledger, &case.id))).collect()
}

#[test]
fn every_prefix_said_again_changes_nothing() {
    let calls = ordinary();
    let straight = ledger();
    calls.iter().for_each(|call| make(&straight, call));
    assert_eq!(straight.head().unwrap().seq, 2 * 9);
    for crash in 0..=calls.len() {
        // Said up to the crash, then again from every point before it.
        for from in 0..=crash {
            let ledger = ledger();
            calls[..crash].iter().for_each(|call| make(&ledger, call));
            calls[from..].iter().for_each(|call| make(&ledger, call));
            assert_eq!(told(&ledger), told(&straight), "crash after {crash}, again from {from}");
            assert_eq!(ledger.followed().unwrap(), straight.followed().unwrap());
        }
    }
}

#[test]
fn a_database_that_is_opened_again_at_every_point_ends_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (database, key) = (folder.path().join("state.db"), folder.path().join("erasure.key"));
    let straight = ledger();
    for call in ordinary() {
        make(&straight, &call);
        let (ledger, _) = Ledger::open(State::open(Some(&database)).unwrap(), Some(&key)).unwrap();
        make(&ledger, &call);
    }
    let (ledger, _) = Ledger::open(State::open(Some(&database)).unwrap(), Some(&key)).unwrap();
    assert_eq!(told(&ledger), told(&straight));
    assert_eq!(ledger.chain_ok().unwrap(), Ok(()));
}

fn calls() -> impl Strategy<Value = Call> {
    let number = 0..3u64;
    let target = prop::sample::select(vec!["billing", "news", "log", "not due"]);
    (0..9u8, number, target).prop_map(|(kind, number, target)| match kind {
        0 => Call::Opened(number),
        1 => Call::Prepare(number, target),
        2 => Call::Finish(number, target),
        3 => Call::Discard(number, target),
        4 => Call::Receive(number, target),
        5 => Call::Scrub(number, target),
        6 => Call::Complete(number),
        7 => Call::Verified(number),
        _ => Call::Lifted(number),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_is_said_in_whatever_order_is_recorded_once_and_agrees(calls in prop::collection::vec(calls(), 0..60)) {
        let ledger = ledger();
        for call in &calls {
            make(&ledger, call);
        }
        prop_assert_eq!(ledger.chain_ok().unwrap(), Ok(()));
        for (case, entries) in told(&ledger) {
            let count = |is: fn(&Entry) -> bool| entries.iter().filter(|entry| is(entry)).count();
            let finals = case.slots.iter().filter(|slot| slot.state == SlotState::Final).count();
            prop_assert_eq!(count(|entry| matches!(entry, Entry::Opened { .. })), 1);
            prop_assert_eq!(count(|entry| matches!(entry, Entry::Receipt(_))), finals);
            prop_assert_eq!(count(|entry| matches!(entry, Entry::Completed { .. })), usize::from(case.completed_us.is_some()));
            prop_assert_eq!(count(|entry| matches!(entry, Entry::Lifted { .. })), usize::from(case.lifted.is_some()));
            prop_assert!(case.completed_us.is_none() || case.missing().count() == 0);
        }
    }
}
