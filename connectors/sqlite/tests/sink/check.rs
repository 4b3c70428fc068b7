//! `check` finds beforehand what would stop the sink.

use connector_api::{Finding, Severity, ValueKind};
use connector_sqlite::{Options, TopicSchema, check};
use rusqlite::Connection;

use crate::fixture::{everything, table, users};

/// Findings but for those about free disk space, which depend on the machine.
fn found(options: &Options, schemas: &[TopicSchema<'_>]) -> Vec<Finding> {
    let findings = check(options, &everything(), schemas);
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
    let schema = TopicSchema { topic: &users.topic, schema: &users.schema };
    let mut options = Options::new(&path);
    assert_eq!(codes(&found(&options, &[schema])), [("sqlite-table-missing", Severity::Note)]);
    options.create_tables = false;
    let strict = found(&options, &[schema]);
    assert_eq!(codes(&strict), [("sqlite-table-missing", Severity::Error)]);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(strict[0].remedy.as_deref().unwrap()).unwrap();
    assert_eq!(found(&options, &[schema]), []);
    connection.execute_batch("DROP TABLE users; CREATE TABLE users (id, name INTEGER)").unwrap();
    let findings = found(&options, &[schema]);
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
    assert_eq!(found(&options, &[schema]), [], "the remedies mend it");
}

#[test]
fn two_topics_in_one_table_and_impossible_names() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("target.db"));
    let (one, bad) = (users(), table("sqlite_x", &[("id", ValueKind::Int)], &[0]));
    let schemas = [
        TopicSchema { topic: &one.topic, schema: &one.schema },
        TopicSchema { topic: "other.public.users", schema: &one.schema },
        TopicSchema { topic: &bad.topic, schema: &bad.schema },
    ];
    let errors = found(&options, &schemas).into_iter().filter(|finding| finding.severity == Severity::Error);
    let errors: Vec<_> = errors.map(|finding| finding.code).collect();
    assert_eq!(errors, ["sqlite-table-shared", "sqlite-mapping"]);
}
