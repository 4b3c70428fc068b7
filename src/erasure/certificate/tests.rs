#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod example;
mod tamper;

use connector_api::Kind;

use super::*;
use crate::erasure::page::page;
use example::Example;

/// Compares with a file that `MILLSTREAM_BLESS=1` writes.
fn compare(path: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("MILLSTREAM_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "{} is stale: run MILLSTREAM_BLESS=1 cargo test --lib certificate",
        path.display()
    );
}

#[test]
fn the_example_of_the_documents_is_what_a_case_gives() {
    let example = Example::new();
    let certificate = example.certificate();
    let json = certificate.to_json().unwrap();
    compare("docs/erasure/certificate.json", &json);
    compare("docs/erasure/certificate.html", &page(&certificate));
    let report = verify(json.as_bytes(), Some(&example.secret.fingerprint()));
    assert!(report.valid, "{report:?}");
    assert!(report.checks.iter().all(|check| check.verdict == Verdict::Holds), "{report:?}");
}

/// What the document for people quotes of the example stands in the example.
#[test]
fn what_the_document_quotes_is_in_the_example() {
    let json = Example::new().certificate().to_json().unwrap();
    let lines: Vec<&str> = json.lines().map(|line| line.trim().trim_end_matches(',')).collect();
    let document = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ERASURE.md");
    let document = std::fs::read_to_string(document).expect("the document");
    let mut quoted = 0;
    for block in document.split("```json\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let wanted: Vec<&str> = block.lines().map(|line| line.trim().trim_end_matches(',')).collect();
        assert!(
            lines.windows(wanted.len()).any(|window| window == wanted),
            "not in docs/erasure/certificate.json:\n{block}"
        );
        quoted += 1;
    }
    assert!(quoted >= 5, "{quoted} quotations");
}

#[test]
fn without_a_fingerprint_it_is_left_to_the_reader_who_signed() {
    let example = Example::new();
    let json = example.certificate().to_json().unwrap();
    let report = verify(json.as_bytes(), None);
    let open: Vec<_> = report.checks.iter().filter(|check| check.verdict == Verdict::Open).collect();
    assert!(report.valid && open.len() == 1 && open[0].what == "signer", "{report:?}");
    assert!(open[0].why.contains(&example.secret.fingerprint()));
    // As people type it.
    let typed = example.secret.fingerprint().to_uppercase();
    let typed = format!("{}:{} {}", &typed[..2], &typed[2..9], &typed[9..]);
    assert!(verify(json.as_bytes(), Some(&typed)).checks.iter().all(|check| check.verdict == Verdict::Holds));
}

#[test]
fn a_case_that_is_not_complete_gets_none() {
    let example = Example::new();
    let error = example.issue().certificate(example::OTHER).expect_err("it is open");
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.to_string().contains("it waits for the receipts of"), "{error}");
    let error = example.issue().certificate("no such case").expect_err("there is none");
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("erasures CONFIG list")), "{error}");
}

#[test]
fn a_case_that_was_violated_says_so() {
    let example = Example::new();
    example.ledger.verified(example::CASE, example::at(12, 0), &[("billing".into(), 2)]).unwrap();
    let certificate = example.certificate();
    let report = verify(certificate.to_json().unwrap().as_bytes(), Some(&example.secret.fingerprint()));
    assert!(!report.valid);
    let absence = report.checks.iter().find(|check| check.what == "absence").expect("the check");
    assert!(absence.verdict == Verdict::Fails && absence.why.contains("2 rows"), "{absence:?}");
    assert!(page(&certificate).contains("does not hold any more"));
}

#[test]
fn times_are_rfc_3339() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    assert_eq!(rfc3339(1_795_539_600_500_000), "2026-11-24T17:00:00.5Z");
    // Whatever a file says, it is shown.
    for us in [i64::MIN, -1, i64::MAX] {
        assert!(!rfc3339(us).is_empty());
    }
}
