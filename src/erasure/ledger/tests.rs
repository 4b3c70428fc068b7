//! The ledger against a crash at any point, and against somebody who writes into its tables.

mod recovery;
mod speed;
mod tamper;

use std::time::Duration;

use connector_api::Kind;

use super::*;
use crate::erasure::event::{Lifted, Opened, Trigger};
use crate::erasure::receipt::{Done, Receipt};

const HOUR: i64 = 3_600_000_000;

fn opened(number: u64) -> Opened {
    Opened {
        case: format!("case-{number}"),
        subject: "users".into(),
        key_hash: format!("{number:032x}"),
        sealed: "sealed".into(),
        trigger: Trigger::Deleted,
        opened_us: number as i64,
        deadline_us: number as i64 + HOUR,
        sinks: vec!["billing".into(), "news".into()],
    }
}

fn due() -> Vec<String> {
    ["billing", "news", "log"].map(str::to_owned).to_vec()
}

fn receipt(number: u64, target: &str) -> Receipt {
    Receipt {
        case: format!("case-{number}"),
        target: target.into(),
        kind: "sqlite".into(),
        steps: vec![Done {
            table: "customers".into(),
            action: "delete".into(),
            columns: Vec::new(),
            rows: 1,
            left: 0,
            reason: None,
        }],
        verified: true,
        offset: number,
        at_us: 10,
        remains: None,
        confirmed_by: None,
    }
}

fn ledger() -> Ledger {
    let secret = Secret::open(None).expect("a secret");
    Ledger::on(State::open(None).expect("a database"), &secret).expect("a ledger")
}

/// A case from its opening to its completion.
fn complete(ledger: &Ledger, number: u64) {
    let case = format!("case-{number}");
    assert!(ledger.opened(number, &opened(number), &due()).expect("opens"));
    for target in ["billing", "news"] {
        assert!(ledger.prepare(&receipt(number, target)).expect("prepares"));
        assert!(ledger.finish(&case, target, 20).expect("finishes"));
    }
    assert!(ledger.receive(&receipt(number, "log")).expect("receives"));
    assert_eq!(ledger.complete(&case, 30).expect("completes"), Completion::Now);
}

fn entries(ledger: &Ledger, case: &str) -> Vec<Entry> {
    let proof = ledger.proof(case).expect("reads").expect("a proof");
    proof.entries(case).expect("holds").into_iter().map(|(_, entry)| entry).collect()
}

#[test]
fn a_case_is_complete_when_every_due_receipt_is_final() {
    let ledger = ledger();
    assert_eq!(ledger.followed().unwrap(), 0);
    assert!(ledger.opened(4, &opened(4), &due()).unwrap());
    assert_eq!(ledger.followed().unwrap(), 5);
    assert_eq!(ledger.complete("case-4", 9).unwrap(), Completion::Waits(due_sorted()));
    assert!(ledger.prepare(&receipt(4, "billing")).unwrap());
    assert_eq!(ledger.prepared("billing").unwrap(), [("case-4".to_owned(), 4)]);
    assert_eq!(
        ledger.complete("case-4", 9).unwrap(),
        Completion::Waits(due_sorted()),
        "prepared is not final"
    );
    assert!(ledger.finish("case-4", "billing", 20).unwrap());
    assert!(!ledger.finish("case-4", "billing", 21).unwrap(), "it is final");
    assert!(!ledger.prepare(&receipt(4, "billing")).unwrap(), "it is final");
    assert!(!ledger.receive(&receipt(4, "billing")).unwrap(), "it is final");
    assert!(!ledger.discard("case-4", "billing").unwrap(), "it is final");
    assert!(ledger.prepare(&receipt(4, "news")).unwrap());
    assert!(ledger.discard("case-4", "news").unwrap());
    assert!(!ledger.finish("case-4", "news", 20).unwrap(), "nothing is prepared");
    assert_eq!(ledger.waiting_for("news", 9).unwrap().len(), 1);
    assert!(ledger.complete_ready(30, 9).unwrap().is_empty());
    assert!(ledger.receive(&receipt(4, "news")).unwrap());
    assert!(ledger.receive(&receipt(4, "log")).unwrap());
    assert!(ledger.note_scrub("case-4", "log", 25).unwrap());
    assert!(!ledger.note_scrub("case-4", "log", 26).unwrap());
    assert_eq!(ledger.complete_ready(30, 9).unwrap(), ["case-4"]);
    assert_eq!(ledger.complete("case-4", 31).unwrap(), Completion::Before);
    let case = ledger.case("case-4").unwrap().expect("the case");
    assert_eq!((case.completed_us, case.missing().count(), case.receipts().count()), (Some(30), 0, 3));
    assert_eq!(entries(&ledger, "case-4").len(), 6);
    assert_eq!(ledger.chain_ok().unwrap(), Ok(()));
}

fn due_sorted() -> Vec<String> {
    let mut due = due();
    due.sort();
    due
}

#[test]
fn a_receipt_that_says_rows_are_left_is_none() {
    let ledger = ledger();
    ledger.opened(0, &opened(0), &due()).unwrap();
    let mut wrong = receipt(0, "billing");
    wrong.steps[0].left = 2;
    for refused in [ledger.prepare(&wrong), ledger.receive(&wrong)] {
        let error = refused.expect_err("refused");
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("2 rows of table customers are left"), "{error}");
    }
    assert!(ledger.prepared("billing").unwrap().is_empty());
    assert_eq!(ledger.complete("no such case", 1).expect_err("refused").kind(), Kind::Data);
}

#[test]
fn a_sink_that_meets_the_event_before_the_service_loses_nothing() {
    let ledger = ledger();
    assert!(ledger.receive(&receipt(7, "billing")).unwrap());
    assert!(ledger.prepare(&receipt(7, "news")).unwrap());
    assert!(ledger.opened(7, &opened(7), &due()).unwrap());
    assert_eq!(ledger.complete("case-7", 1).unwrap(), Completion::Waits(vec!["log".into(), "news".into()]));
    assert!(ledger.finish("case-7", "news", 3).unwrap());
    assert!(ledger.receive(&receipt(7, "log")).unwrap());
    assert_eq!(ledger.complete("case-7", 4).unwrap(), Completion::Now);
    assert_eq!(ledger.chain_ok().unwrap(), Ok(()));
}

#[test]
fn questions_about_cases_are_answered() {
    let ledger = ledger();
    complete(&ledger, 0);
    ledger.opened(1, &opened(1), &due()).unwrap();
    let again = Opened { case: "again".into(), ..opened(0) };
    ledger.opened(2, &again, &due()).unwrap();
    ledger.passed(5).unwrap();
    ledger.passed(4).unwrap();
    assert_eq!(ledger.followed().unwrap(), 6);
    assert_eq!(ledger.find("users", &opened(0).key_hash).unwrap().expect("a case").id, "again");
    assert!(ledger.find("people", &opened(0).key_hash).unwrap().is_none());
    let ids = |filter: Filter| -> Vec<String> {
        ledger.cases(&filter, 9).unwrap().into_iter().map(|case| case.id).collect()
    };
    let state = |state| Filter { state: Some(state), ..Filter::default() };
    assert_eq!(ids(Filter::default()), ["again", "case-1", "case-0"]);
    assert_eq!(ids(Filter { before: Some(2), ..Filter::default() }), ["case-1", "case-0"]);
    assert_eq!(ids(Filter { subject: Some("people".into()), ..Filter::default() }), [""; 0]);
    assert_eq!(ids(state(CaseState::Open)), ["again", "case-1"]);
    assert_eq!(ids(state(CaseState::Overdue(HOUR + 1))), ["again"]);
    assert_eq!(ids(state(CaseState::Completed)), ["case-0"]);
    assert_eq!(ledger.open_cases(9).unwrap().len(), 2);
    assert_eq!(ledger.counts(HOUR + 1).unwrap(), Counts { open: 2, overdue: 1, completed: 1, violated: 0 });
}

#[test]
fn absence_is_looked_at_again_until_the_subject_is_back() {
    let ledger = ledger();
    complete(&ledger, 0);
    let due = |now| ledger.due_for_verification("users", now, Duration::from_micros(100), 9).unwrap().len();
    assert_eq!((due(129), due(130)), (0, 1));
    assert!(ledger.verified("case-0", 140, &[("billing".into(), 0), ("news".into(), 2)]).unwrap());
    assert!(!ledger.verified("case-0", 140, &[("billing".into(), 0)]).unwrap(), "a repetition");
    assert_eq!((due(239), due(240)), (0, 1));
    assert!(ledger.case("case-0").unwrap().expect("the case").violated);
    assert_eq!(ledger.counts(0).unwrap().violated, 1);
    assert!(ledger.verified("case-0", 250, &[("news".into(), 0)]).unwrap());
    assert_eq!(ledger.counts(0).unwrap().violated, 0);
    let fenced = || {
        let mut found = Vec::new();
        ledger.fenced(|subject, hash, case| found.push(format!("{subject} {hash} {case}"))).unwrap();
        found
    };
    assert_eq!(fenced(), [format!("users {} case-0", opened(0).key_hash)]);
    let lifted = Lifted { case: "case-0".into(), subject: "users".into(), key_hash: opened(0).key_hash };
    assert!(ledger.lifted(8, &lifted, 300).unwrap());
    assert!(!ledger.lifted(8, &lifted, 300).unwrap());
    assert_eq!((due(999_999), fenced().len(), ledger.followed().unwrap()), (0, 0, 9));
    ledger.opened(9, &Opened { case: "again".into(), ..opened(0) }, &[]).unwrap();
    assert_eq!(fenced(), [format!("users {} again", opened(0).key_hash)]);
    assert_eq!(ledger.chain_ok().unwrap(), Ok(()));
}

#[test]
fn a_key_that_is_missing_or_another_is_refused_once_something_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let (database, key) = (folder.path().join("state.db"), folder.path().join("erasure.key"));
    let open = || Ledger::open(State::open(Some(&database)).unwrap(), Some(&key));
    let (_, first) = open().unwrap();
    std::fs::remove_file(&key).unwrap();
    let (ledger, second) = open().expect("nothing was recorded: a new key is as good");
    assert_ne!(first.fingerprint(), second.fingerprint());
    ledger.opened(0, &opened(0), &due()).unwrap();
    drop(ledger);
    let kept = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let error = open().err().expect("refused");
    assert_eq!(error.kind(), Kind::Lost);
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("backup")), "{error}");
    assert!(!key.exists(), "no new key was made");
    Secret::open(Some(&key)).unwrap();
    let error = open().err().expect("refused");
    assert!(error.to_string().contains(&second.fingerprint()), "{error}");
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("backup")));
    std::fs::write(&key, kept).unwrap();
    open().expect("the key is back");
}

#[test]
fn many_cases_stay_fast_and_their_proofs_short() {
    const CASES: u64 = 10_000;
    let ledger = ledger();
    let arrivals: Vec<Arrival> =
        (0..CASES).map(|n| Arrival { offset: n, opened: opened(n), due: due() }).collect();
    assert_eq!(ledger.opened_all(&arrivals).unwrap(), CASES);
    assert_eq!(ledger.opened_all(&arrivals).unwrap(), 0);
    for target in ["billing", "news", "log"] {
        let receipts: Vec<Receipt> = (0..CASES).map(|n| receipt(n, target)).collect();
        assert_eq!(ledger.receive_all(&receipts).unwrap(), CASES);
    }
    assert_eq!(ledger.complete_ready(50, usize::MAX).unwrap().len() as u64, CASES);
    assert_eq!(ledger.counts(0).unwrap(), Counts { completed: CASES, ..Counts::default() });
    assert_eq!(ledger.head().unwrap().seq, 5 * CASES);
    for case in ["case-0", "case-4711", "case-9999"] {
        let proof = ledger.proof(case).unwrap().expect("a proof");
        assert!(proof.links.len() < 500, "{} links of {case}", proof.links.len());
        assert_eq!(proof.entries(case).unwrap().len(), 5);
    }
    assert_eq!(ledger.chain_ok().unwrap(), Ok(()));
}
