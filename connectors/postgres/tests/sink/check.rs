//! What `check` finds.

use connector_api::{Finding, Severity};
use connector_postgres::sink::check;

use crate::fixture::{Harness, database, runtime, server, user, users};

fn found(options: &connector_postgres::sink::Options) -> Vec<Finding> {
    runtime().block_on(check("billing", options, &[users().target])).unwrap()
}

fn codes(findings: &[Finding], severity: Severity) -> Vec<&str> {
    findings.iter().filter(|finding| finding.severity == severity).map(|finding| finding.code).collect()
}

#[test]
fn a_fresh_schema_and_a_running_sink_are_fine() {
    let mut harness = Harness::new();
    let findings = found(&harness.options);
    assert_eq!(codes(&findings, Severity::Error), [""; 0], "{findings:?}");
    assert!(codes(&findings, Severity::Note).contains(&"postgres-table-missing"));
    harness.feed.insert(&users(), &user(1, "ann"));
    harness.deliver();
    let findings = found(&harness.options);
    assert_eq!(codes(&findings, Severity::Note), ["postgres-server"]);
    // The tests' server runs without fsync.
    assert_eq!(codes(&findings, Severity::Warning), ["postgres-fsync"]);
}

#[test]
fn everything_wrong_comes_with_a_statement_and_the_statements_mend_it() {
    let (name, session) = database();
    let role = format!("r_{name}");
    session.execute(&format!("CREATE ROLE {role} LOGIN; ALTER ROLE {role} SET synchronous_commit = off"));
    let url = server().socket_url(&name).replace("postgres://postgres@", &format!("postgres://{role}@"));
    let mut options = connector_postgres::sink::Options::new(url);
    options.schema = "app".into();
    let run = |findings: &[Finding]| {
        for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
            session.execute(finding.remedy.as_ref().unwrap());
        }
    };
    let findings = found(&options);
    assert_eq!(codes(&findings, Severity::Error), ["postgres-schema-missing"]);
    assert!(codes(&findings, Severity::Warning).contains(&"postgres-synchronous-commit"));
    session.execute("CREATE SCHEMA app");
    let findings = found(&options);
    assert_eq!(codes(&findings, Severity::Error), ["postgres-schema-usage"]);
    run(&findings);
    let findings = found(&options);
    assert_eq!(codes(&findings, Severity::Error), ["postgres-schema-create", "postgres-table-missing"]);
    session.execute("CREATE TABLE app.users (id bigint, name varchar(4), must int NOT NULL)");
    run(&found(&options)[..]
        .iter()
        .filter(|finding| finding.code == "postgres-schema-create")
        .cloned()
        .collect::<Vec<_>>());
    let findings = found(&options);
    assert_eq!(
        codes(&findings, Severity::Error),
        ["postgres-column-missing", "postgres-column-required", "postgres-grant", "postgres-key-not-unique"]
    );
    assert!(codes(&findings, Severity::Warning).contains(&"postgres-type-narrow"));
    // The one remedy that leaves a choice.
    session.execute("ALTER TABLE app.users ALTER COLUMN must SET DEFAULT 0");
    run(&findings
        .into_iter()
        .filter(|finding| finding.code != "postgres-column-required")
        .collect::<Vec<_>>());
    let findings = found(&options);
    assert_eq!(codes(&findings, Severity::Error), [""; 0], "{findings:?}");
}

#[test]
fn a_server_that_is_not_there_is_a_finding() {
    let options = connector_postgres::sink::Options::new("postgres://me@localhost:1/x");
    let findings = found(&options);
    assert_eq!(codes(&findings, Severity::Error), ["postgres-check"]);
    let options = connector_postgres::sink::Options::new("nonsense");
    assert!(runtime().block_on(check("billing", &options, &[])).is_err());
}
