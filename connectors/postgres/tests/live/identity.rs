//! What each replica identity makes of updates and deletes, and TOAST values that were not touched.

use crate::support::capture::Capture;
use crate::support::server::Server;
use connector_postgres::Options;

/// The changes that `statements` make to a table made by `table`.
async fn changes(server: &Server, name: &str, table: &str, statements: &str, count: usize) -> Vec<String> {
    server.sql(table).await;
    let mut options = Options::new(server.url(), &[name]);
    options.slot = Some(name.to_owned());
    options.publication = Some(name.to_owned());
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until_streaming().await;
    server.sql(statements).await;
    capture.until(count).await;
    let changes = capture.drain();
    capture.stop().await;
    changes.iter().map(|line| line.trim_start_matches(&format!("public.{name} ")).to_owned()).collect()
}

#[tokio::test]
async fn full_index_keyless_and_nothing() {
    let server = Server::start(&[], "");
    let full = changes(
        &server,
        "a",
        "CREATE TABLE a (id int PRIMARY KEY, t text); ALTER TABLE a REPLICA IDENTITY FULL",
        "INSERT INTO a VALUES (1, 'x'); UPDATE a SET t = 'y'; UPDATE a SET id = 2; DELETE FROM a",
        5,
    )
    .await;
    assert_eq!(
        full,
        [
            r#"c key=[Int(1)] after=[Int(1), Text("x")]"#,
            r#"u key=[Int(1)] before=[Int(1), Text("x")] after=[Int(1), Text("y")]"#,
            r#"u key=[Int(2)] before=[Int(1), Text("y")] after=[Int(2), Text("y")]"#,
            r#"d tombstone key=[Int(1)]"#,
            r#"d key=[Int(2)] before=[Int(2), Text("y")]"#,
        ]
    );
    let index = changes(
        &server,
        "b",
        "CREATE TABLE b (id int PRIMARY KEY, code text NOT NULL); CREATE UNIQUE INDEX bc ON b (code) INCLUDE (id);
         ALTER TABLE b REPLICA IDENTITY USING INDEX bc; INSERT INTO b VALUES (0, 'zero')",
        "INSERT INTO b VALUES (1, 'x'); UPDATE b SET code = 'y' WHERE id = 1; DELETE FROM b WHERE id = 1",
        5,
    )
    .await;
    assert_eq!(
        index,
        [
            r#"r key=[Text("zero")] after=[Int(0), Text("zero")]"#,
            r#"c key=[Text("x")] after=[Int(1), Text("x")]"#,
            r#"u key=[Text("y")] old=[Text("x")] after=[Int(1), Text("y")]"#,
            r#"d tombstone key=[Text("x")]"#,
            r#"d tombstone key=[Text("y")]"#,
        ]
    );
    let keyless = changes(
        &server,
        "c",
        "CREATE TABLE c (n int, t text); ALTER TABLE c REPLICA IDENTITY FULL; INSERT INTO c VALUES (0, NULL)",
        "UPDATE c SET n = 1; DELETE FROM c",
        3,
    )
    .await;
    assert_eq!(
        keyless,
        ["r after=[Int(0), Null]", "u before=[Int(0), Null] after=[Int(1), Null]", "d before=[Int(1), Null]"]
    );
    let nothing = changes(
        &server,
        "d",
        "CREATE TABLE d (id int PRIMARY KEY); ALTER TABLE d REPLICA IDENTITY NOTHING; INSERT INTO d VALUES (1)",
        "INSERT INTO d VALUES (2)",
        2,
    )
    .await;
    assert_eq!(nothing, ["r key=[Int(1)] after=[Int(1)]", "c key=[Int(2)] after=[Int(2)]"]);
}

#[tokio::test]
async fn untouched_toast_values_are_unchanged_or_filled_in() {
    let server = Server::start(&[], "");
    // Out of line and not compressed.
    let table = |name: &str, identity: &str| {
        format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, n int, big text); ALTER TABLE {name} ALTER big SET STORAGE EXTERNAL;
             ALTER TABLE {name} REPLICA IDENTITY {identity}; INSERT INTO {name} VALUES (1, 1, repeat('x', 5000))"
        )
    };
    let default = changes(&server, "e", &table("e", "DEFAULT"), "UPDATE e SET n = 2", 2).await;
    assert_eq!(default[1], "u key=[Int(1)] after=[Int(1), Int(2), Unchanged]");
    let full = changes(&server, "f", &table("f", "FULL"), "UPDATE f SET n = 2", 2).await;
    let big = "x".repeat(5000);
    assert_eq!(
        full[1],
        format!(
            r#"u key=[Int(1)] before=[Int(1), Int(1), Text("{big}")] after=[Int(1), Int(2), Text("{big}")]"#
        )
    );
}
