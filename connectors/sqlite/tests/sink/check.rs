//! `check` finds beforehand what would stop the sink.

use std::sync::Arc;

use connector_api::{Finding, Severity, Target, ValueKind};
use connector_sqlite::{Options, check};
use rusqlite::Connection;

use crate::fixture::{table, users};

/// Findings but for those about free disk space, which depend on the machine.
fn found(options: &Options, targets: &[Arc<Target>]) -> Vec<Finding> {
    let findings = check(options, targets);
    findings.into_iter().filter(|finding| finding.code != "sqlite-disk-low").collect()
}

fn codes(findings: &[Finding]) -> Vec<(&'static str, Severity)> {
    findings.iter().map(|finding| (finding.code, finding.severity)).collect()
}

#[test]
fn the_file_and_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target.db");
    let missing = found(&Options::new(folder.path().join("no/target.db")), &[]);
    assert_eq!(codes(&missing), [("sqlite-folder-missing", Severity::Error)]);
    assert_eq!(found(&Options::new(&path), &[]), []);
    assert!(!path.exists(), "check makes nothing");
    assert_eq!(codes(&found(&Options::new(folder.path()), &[])), [("sqlite-not-a-file", Severity::Error)]);
    std::fs::write(&path, "no database at all ".repeat(100)).unwrap();
    assert_eq!(codes(&found(&Options::new(&path), &[])), [("sqlite-unreadable", Severity::Error)]);
    std::fs::remove_file(&path).unwrap();
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a); BEGIN IMMEDIATE").unwrap();
    assert_eq!(codes(&found(&Options::new(&path), &[])), [("sqlite-locked", Severity::Warning)]);
}

#[test]
fn the_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target.db");
    let users = users();
    let target = users.target.clone();
    let mut options = Options::new(&path);
    assert_eq!(
        codes(&found(&options, std::slice::from_ref(&target))),
        [("sqlite-table-missing", Severity::Note)]
    );
    options.create_tables = false;
    let strict = found(&options, std::slice::from_ref(&target));
    assert_eq!(codes(&strict), [("sqlite-table-missing", Severity::Error)]);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(strict[0].remedy.as_deref().unwrap()).unwrap();
    assert_eq!(found(&options, std::slice::from_ref(&target)), []);
    connection.execute_batch("DROP TABLE users; CREATE TABLE users (id, name INTEGER)").unwrap();
    let findings = found(&options, std::slice::from_ref(&target));
    let mut seen = codes(&findings);
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ("sqlite-column-missing", Severity::Error),
            ("sqlite-key-not-unique", Severity::Error),
            ("sqlite-type-converts", Severity::Warning),
        ]
    );
    for finding in findings {
        connection.execute_batch(finding.remedy.as_deref().unwrap()).unwrap();
    }
    assert_eq!(found(&options, std::slice::from_ref(&target)), [], "the remedies mend it");
}

#[test]
fn impossible_names() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("target.db"));
    let names = ["sqlite_x", "SQLite_x", "_millstream_cursor", "_MILLSTREAM_x", "a\0b"];
    for name in names {
        let bad = table(name, &[("id", ValueKind::Int)], &[0]);
        let findings = found(&options, std::slice::from_ref(&bad.target));
        assert_eq!(codes(&findings), [("sqlite-mapping", Severity::Error)], "{name:?}");
        assert!(findings[0].remedy.is_some());
    }
    for name in ["", "sqlit", "é_millstream"] {
        let good = table(name, &[("id", ValueKind::Int)], &[0]);
        let findings = found(&options, std::slice::from_ref(&good.target));
        assert_eq!(codes(&findings), [("sqlite-table-missing", Severity::Note)], "{name:?}");
    }
}
