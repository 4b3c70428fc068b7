//! What a role may not do is said with the SQL to run, and `check` finds it beforehand.

use crate::support::capture::Capture;
use crate::support::server::Server;
use connector_api::{Finding, Kind, Severity};
use connector_postgres::Options;

fn as_role(server: &Server, role: &str) -> String {
    server.url().replace("postgres@", &format!("{role}@"))
}

async fn refused(options: &Options) -> connector_api::Error {
    let mut source = connector_postgres::source("shop", options).unwrap();
    source.start(None).await.unwrap_err()
}

fn find<'a>(findings: &'a [Finding], code: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.code == code).unwrap_or_else(|| panic!("no {code}: {findings:#?}"))
}

#[tokio::test]
async fn a_role_is_led_to_what_it_needs() {
    let server = Server::start(&[], "");
    server
        .sql("CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1); CREATE ROLE cdc LOGIN")
        .await;
    let options = Options::new(as_role(&server, "cdc"), &["users"]);

    let error = refused(&options).await;
    assert_eq!((error.kind(), error.remedy()), (Kind::Auth, Some("ALTER ROLE \"cdc\" REPLICATION;")));
    server.sql("ALTER ROLE cdc REPLICATION").await;

    // Each remedy, run as it is printed, brings the role one step further.
    let error = refused(&options).await;
    assert_eq!(error.kind(), Kind::Auth, "{error:?}");
    let sql = error.remedy().unwrap().split_once(": ").unwrap().1.to_owned();
    assert!(
        sql.starts_with("CREATE PUBLICATION \"millstream_shop\" FOR TABLE \"public\".\"users\""),
        "{sql}"
    );
    server.sql(&sql).await;

    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.step().await.unwrap();
    let error = capture.step().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error:?}");
    let position = capture.position.clone();
    drop(capture);
    server.sql(error.remedy().unwrap().split(" --").next().unwrap()).await;

    let mut capture = Capture::start(&options, position.as_ref()).await.unwrap();
    capture.until(1).await;
    capture.until_streaming().await;
    capture.stop().await;
    assert_eq!(connector_postgres::check("shop", &options).await.unwrap(), []);
}

#[tokio::test]
async fn tables_are_added_to_a_publication_where_the_role_may() {
    let server = Server::start(&[], "");
    server.sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE a").await;
    let mut options = Options::new(server.url(), &["a", "b"]);
    options.publication = Some("p".into());
    options.manage_publication = false;
    let error = refused(&options).await;
    assert_eq!(
        (error.kind(), error.remedy()),
        (Kind::Config, Some("ALTER PUBLICATION \"p\" ADD TABLE \"public\".\"b\";"))
    );
    options.manage_publication = true;
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until_streaming().await;
    server.sql("INSERT INTO b VALUES (1)").await;
    capture.until(1).await;
    capture.stop().await;
    server.sql("ALTER PUBLICATION p SET (publish = 'insert')").await;
    let error = refused(&options).await;
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.remedy().unwrap().contains("SET (publish = 'insert, update, delete, truncate')"));
    let missing = Options::new(server.url(), &["nowhere"]);
    assert!(refused(&missing).await.to_string().contains("nowhere"));
}

#[tokio::test]
async fn check_finds_what_is_wrong_and_changes_nothing() {
    let server = Server::start(&["wal_level = replica", "max_replication_slots = 1"], "");
    server
        .sql(
            "CREATE TABLE good (id int PRIMARY KEY); CREATE TABLE bare (id int); CREATE TABLE mute (id int PRIMARY KEY);
             CREATE TABLE loose (id int); ALTER TABLE loose REPLICA IDENTITY FULL; ALTER TABLE mute REPLICA IDENTITY NOTHING;
             SELECT pg_create_physical_replication_slot('only'); CREATE ROLE cdc LOGIN;
             CREATE PUBLICATION p FOR TABLE good WITH (publish = 'insert, update')",
        )
        .await;
    let mut options = Options::new(as_role(&server, "cdc"), &["good", "bare", "mute", "loose", "absent"]);
    let findings = connector_postgres::check("shop", &options).await.unwrap();
    assert!(find(&findings, "postgres-wal-level").remedy.as_ref().unwrap().contains("wal_level = logical"));
    assert!(find(&findings, "postgres-tables").what.contains("absent"));
    assert_eq!(find(&findings, "postgres-identity-missing").place, "public.bare");
    assert_eq!(find(&findings, "postgres-identity-nothing").place, "public.mute");
    assert_eq!(find(&findings, "postgres-identity-keyless").severity, Severity::Warning);
    assert!(find(&findings, "postgres-select").remedy.as_ref().unwrap().contains("GRANT SELECT"));
    assert_eq!(find(&findings, "postgres-publication-missing").severity, Severity::Note);
    assert_eq!(find(&findings, "postgres-slots").severity, Severity::Error);
    assert_eq!(server.value("SELECT count(*) FROM pg_publication").await, "1");

    options.publication = Some("p".into());
    let findings = connector_postgres::check("shop", &options).await.unwrap();
    assert!(find(&findings, "postgres-publication-tables").remedy.as_ref().unwrap().contains("ADD TABLE"));
    assert_eq!(find(&findings, "postgres-publication-operations").severity, Severity::Error);
    options.slot = Some("only".into());
    let findings = connector_postgres::check("shop", &options).await.unwrap();
    assert!(find(&findings, "postgres-slot-foreign").what.contains("pgoutput"));

    let nobody = Options::new("postgres://x@127.0.0.1:1/x?connect_timeout=2", &["a"]);
    let findings = connector_postgres::check("shop", &nobody).await.unwrap();
    assert_eq!(findings.len(), 1);
}
