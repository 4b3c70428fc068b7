//! What `millstream check` finds.

use std::sync::Arc;

use connector_api::{Finding, Severity, Target};
use connector_mysql::Options;
use throwaway_servers::mariadb::{self, MariaDb};
use throwaway_servers::postgres::certificates;

use crate::fixture::{Harness, installed, runtime, user, users};

fn check(options: &Options, targets: &[Arc<Target>]) -> Vec<Finding> {
    runtime().block_on(connector_mysql::check("billing", options, targets)).unwrap()
}

fn codes(findings: &[Finding], least: Severity) -> Vec<&'static str> {
    findings.iter().filter(|finding| finding.severity >= least).map(|finding| finding.code).collect()
}

#[test]
fn a_sound_database_has_nothing_to_mend() {
    let Some(h) = Harness::new("a_sound_database_has_nothing_to_mend") else { return };
    let findings = check(&h.options, &[users().target]);
    assert_eq!(codes(&findings, Severity::Warning), [""; 0], "{findings:?}");
    assert!(findings.iter().any(|finding| finding.what.contains("the sink will see to it")), "{findings:?}");
    // It only looked.
    assert_eq!(h.rows("SHOW TABLES LIKE 'users'").len(), 0);
}

#[test]
fn every_table_that_does_not_fit_is_found_with_what_mends_it() {
    let sql = "CREATE TABLE users (id bigint PRIMARY KEY, name varchar(9) CHARACTER SET latin1, note int) ENGINE = InnoDB;
               CREATE TABLE old (id bigint PRIMARY KEY, name longtext, note longtext) ENGINE = MyISAM CHARACTER SET utf8mb4;
               CREATE VIEW seen AS SELECT 1";
    let Some(h) = Harness::on("every_table_that_does_not_fit_is_found", sql) else { return };
    let users = users();
    let targets = [users.target.clone(), users.aliased("old").target, users.aliased("seen").target];
    let findings = check(&h.options, &targets);
    let found = codes(&findings, Severity::Warning);
    assert_eq!(found, ["mysql-type-narrow", "mysql-type-converts", "mysql-engine", "mysql-not-a-table"]);
    for finding in findings.iter().filter(|finding| finding.code != "mysql-not-a-table") {
        let remedy = finding.remedy.as_deref().unwrap_or_default();
        if finding.severity >= Severity::Warning {
            h.session.execute(remedy);
        }
    }
    let findings = check(&h.options, &targets[..2]);
    assert_eq!(codes(&findings, Severity::Warning), [""; 0], "{findings:?}");
}

#[test]
fn missing_rights_are_named_with_the_grant() {
    let Some(mut h) = Harness::new("missing_rights_are_named_with_the_grant") else { return };
    let database = h.database.clone();
    h.session.execute(&format!(
        "CREATE USER '{database}'@'%' IDENTIFIED BY 'p@ss''word'; GRANT SELECT, INSERT ON {database}.* TO '{database}'@'%'"
    ));
    let url = h.options.url.expose().replace("root@", &format!("{database}:p%40ss%27word@"));
    let options = Options::new(url);
    let findings = check(&options, &[]);
    assert_eq!(codes(&findings, Severity::Error), ["mysql-rights"], "{findings:?}");
    let remedy =
        findings.iter().find(|finding| finding.code == "mysql-rights").unwrap().remedy.clone().unwrap();
    assert!(remedy.starts_with("GRANT UPDATE, DELETE, CREATE, ALTER ON"), "{remedy}");
    h.session.execute(&remedy);
    assert_eq!(codes(&check(&options, &[]), Severity::Error), [""; 0]);
    // And it is enough.
    h.options = options;
    h.session.execute(&format!("DELETE FROM {database}._millstream_sessions"));
    h.restart().unwrap();
    let users = users();
    h.route(&[&users]);
    h.feed.insert(&users, &user(1, "a"));
    h.deliver();
}

#[test]
fn who_is_not_let_in_is_told_so_without_the_password() {
    let Some(h) = Harness::new("who_is_not_let_in_is_told_so") else { return };
    let url = h.options.url.expose();
    for (url, code) in [
        (url.replace("root@", "root:hunter2@"), "mysql-unreachable"),
        (url.replace(&h.database, "nowhere"), "mysql-unreachable"),
        ("mysql://root:hunter2@127.0.0.1:1/d".to_owned(), "mysql-unreachable"),
        ("mysql://root:hunter2@127.0.0.1/d?ssl=1".to_owned(), "mysql-url"),
    ] {
        let findings = check(&Options::new(url), &[]);
        assert_eq!(codes(&findings, Severity::Error), [code]);
        assert!(!format!("{findings:?}").contains("hunter2"));
    }
}

#[test]
fn a_unix_socket_and_tls() {
    if !installed("a_unix_socket_and_tls") {
        return;
    }
    let server = MariaDb::start(mariadb::Options::new().tls());
    server.create_database("d");
    let files = certificates();
    assert_eq!(codes(&check(&Options::new(server.socket_url("d")), &[]), Severity::Error), [""; 0]);
    let with = |mode: &str, authority: &std::path::Path| {
        let url = format!("{}?ssl-mode={mode}&ssl-ca={}", server.url("d"), authority.display());
        codes(&check(&Options::new(url), &[]), Severity::Error)
    };
    assert_eq!(with("verify_identity", &files.authority), [""; 0]);
    assert_eq!(with("verify_ca", &files.authority), [""; 0]);
    assert_eq!(with("verify_ca", &files.stranger), ["mysql-unreachable"]);
    // What the server sees.
    let url = format!("{}?ssl-mode=required", server.url("d"));
    assert_eq!(codes(&check(&Options::new(url), &[]), Severity::Error), [""; 0]);
    let plain = MariaDb::start(mariadb::Options::new());
    plain.create_database("d");
    let url = format!("{}?ssl-mode=required", plain.url("d"));
    assert_eq!(codes(&check(&Options::new(url), &[]), Severity::Error), ["mysql-unreachable"]);
}
