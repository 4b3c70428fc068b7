//! How long the ledger takes, in a file, with more and more cases in it.

use std::time::Instant;

use super::*;

/// Run it alone: `cargo test --lib hundred_thousand -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_cases() {
    const BATCH: u64 = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(Some(&folder.path().join("state.db"))).unwrap();
    let ledger = Ledger::on(state, &Secret::open(None).unwrap()).unwrap();
    for batch in 0..10 {
        let numbers = || (batch * BATCH)..((batch + 1) * BATCH);
        let begun = Instant::now();
        let arrivals: Vec<_> =
            numbers().map(|n| Arrival { offset: n, opened: opened(n), due: due() }).collect();
        ledger.opened_all(&arrivals).unwrap();
        let opened_in = begun.elapsed();
        let begun = Instant::now();
        for target in ["billing", "news", "log"] {
            let receipts: Vec<_> = numbers().map(|n| receipt(n, target)).collect();
            ledger.receive_all(&receipts).unwrap();
        }
        let received_in = begun.elapsed();
        let begun = Instant::now();
        assert_eq!(ledger.complete_ready(50, usize::MAX).unwrap().len() as u64, BATCH);
        println!(
            "{:>7} cases: {opened_in:?} opened, {received_in:?} received, {:?} completed",
            (batch + 1) * BATCH,
            begun.elapsed()
        );
    }
    let timed = |what: &str, act: &dyn Fn()| {
        let begun = Instant::now();
        act();
        println!("{what}: {:?}", begun.elapsed());
    };
    timed("counts", &|| assert_eq!(ledger.counts(0).unwrap().completed, 10 * BATCH));
    timed("find", &|| drop(ledger.find("users", &opened(77).key_hash).unwrap().unwrap()));
    timed("newest 100", &|| assert_eq!(ledger.cases(&Filter::default(), 100).unwrap().len(), 100));
    timed("due for verification, 100", &|| {
        assert_eq!(ledger.due_for_verification("users", i64::MAX, Duration::ZERO, 100).unwrap().len(), 100);
    });
    timed("fenced", &|| ledger.fenced(|_, _, _| {}).unwrap());
    timed("proof", &|| println!("{} links", ledger.proof("case-0").unwrap().unwrap().links.len()));
    timed("whole chain", &|| assert_eq!(ledger.chain_ok().unwrap(), Ok(())));
    ledger.opened(999_999, &opened(999_999), &due()).unwrap();
    timed("one receipt, prepared and final, fsynced", &|| {
        ledger.prepare(&receipt(999_999, "billing")).unwrap();
        ledger.finish("case-999999", "billing", 1).unwrap();
    });
}
