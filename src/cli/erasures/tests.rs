use std::fs;

use super::*;
use crate::erasure::event::{Opened, Trigger};
use crate::erasure::ledger::Ledger;
use crate::erasure::receipt::Receipt;
use crate::erasure::secret::Secret;
use crate::state::State;

const FINGERPRINT: &str = "26844dc0896a59d8e85b841bf74c0fc7ddd6dd49433574c0a38851cfabe9ad28";

fn ledger() -> Ledger {
    let secret = Secret::open(None).expect("a secret");
    let ledger = Ledger::on(State::open(None).expect("a database"), &secret).expect("a ledger");
    for number in 0..2u64 {
        let opened = Opened {
            case: format!("case-{number}"),
            subject: "users".into(),
            key_hash: "00ff".into(),
            sealed: "SEALED".into(),
            trigger: Trigger::Asked,
            opened_us: 1_795_539_600_250_000,
            deadline_us: 1_795_539_700_000_000,
            sinks: vec!["billing".into(), "news".into()],
        };
        ledger.opened(number, &opened, &opened.sinks).expect("opens");
    }
    let step = |table: &str, action: &str, columns: &[&str], reason: Option<&str>| Done {
        table: table.into(),
        action: action.into(),
        columns: columns.iter().map(|&name| name.into()).collect(),
        rows: 3,
        left: 0,
        reason: reason.map(str::to_owned),
    };
    let receipt = |case: &str, target: &str| Receipt {
        case: case.into(),
        target: target.into(),
        kind: "sqlite".into(),
        steps: vec![
            step("invoices", "set", &["name", "email"], Some("tax law")),
            step("customers", "delete", &[], None),
        ],
        verified: true,
        offset: 0,
        at_us: 1_795_539_601_000_000,
        remains: Some("backups".into()),
        confirmed_by: None,
    };
    for (case, target) in [("case-0", "billing"), ("case-0", "news"), ("case-1", "billing")] {
        ledger.receive(&receipt(case, target)).expect("receives");
    }
    ledger.complete("case-0", 1_795_539_602_000_000).expect("completes");
    ledger
}

fn views(now_us: i64) -> Vec<CaseView> {
    let cases = ledger().cases(&Default::default(), 9).expect("cases");
    cases.iter().map(|case| CaseView::of(case, now_us)).collect()
}

#[test]
fn a_list_says_what_is_waited_for() {
    let text = list_text(&views(1_795_539_800_000_000));
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "CASE STATE SUBJECT KEY HASH OPENED DEADLINE COMPLETED RECEIPTS WAITS FOR",
            "case-1 overdue users 00ff 2026-11-24T17:00:00Z 2026-11-24T17:01:40Z - 1/2 news",
            "case-0 completed users 00ff 2026-11-24T17:00:00Z 2026-11-24T17:01:40Z 2026-11-24T17:00:02Z 2/2 -",
        ]
    );
    assert_eq!(list_text(&[]), "no erasures");
}

#[test]
fn a_case_is_shown_with_what_was_done() {
    let views = views(0);
    assert_eq!(views.iter().map(|view| &*view.state).collect::<Vec<_>>(), ["open", "completed"]);
    let text = show_text(&views[0]);
    for part in [
        "case case-1 · open",
        "(asked for) · due 2026-11-24T17:01:40Z · not complete",
        "billing · final · sqlite · 2026-11-24T17:00:01Z",
        "set name, email",
        "tax law",
        "remains: backups",
        "news · awaited",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn the_json_has_no_sealed_key_and_comes_back() {
    let views = views(0);
    let json = super::super::pretty(&views).expect("json");
    assert!(!json.contains("SEALED") && json.contains("\"waits_for\""), "{json}");
    assert_eq!(serde_json::from_str::<Vec<CaseView>>(&json).expect("views"), views);
}

#[test]
fn a_file_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("certificate.json");
    assert!(verify_file(&path, None, false).is_err(), "there is no such file");
    let text = include_str!("../../../docs/erasure/certificate.json");
    fs::write(&path, text).expect("written");
    for json in [false, true] {
        assert!(verify_file(&path, Some(FINGERPRINT), json).expect("reads"));
        assert!(!verify_file(&path, Some("00"), json).expect("reads"));
    }
    fs::write(&path, text.replace("tax law", "tax low")).expect("written");
    assert!(!verify_file(&path, Some(FINGERPRINT), false).expect("reads"));
    let report = verify(text.as_bytes(), None);
    let shown = report_text(&report);
    assert!(shown.contains("valid, if the fingerprint is the operator's"), "{shown}");
    let shown = report_text(&verify(text.replace("tax law", "tax low").as_bytes(), Some(FINGERPRINT)));
    assert!(shown.contains("NOT VALID") && shown.contains("WRONG"), "{shown}");
}
