//! Findings of a whole configuration, with topics as a log would know them.

use std::io::Write as _;

use connector_api::{Column, TopicPartition};

use super::*;
use crate::config::Settings;

const SHOP: &str = "\
sources: {shop: {type: postgres, url: 'postgres://me@127.0.0.1:1/shop', tables: ['public.*']}}
sinks:
  billing:
    type: sqlite
    path: /nowhere/b.db
    tables:
      - {topic: shop.public.users, table: customers}
      - {topic: shop.public.orders}
      - {topic: shop.public.products}
  all: {type: sqlite, path: /nowhere/a.db}
erasure:
  users:
    subject: {topic: shop.public.users, key: id}
    sinks:
      billing:
        - {table: customers, match: id, action: {set: {email: null}}, reason: r}
        - {table: orders, match: user_id, is: row.key + 1, action: delete}
      all:
        - {table: users, match: id, action: {set: {id: {hash: key}, email: null}}}
        - {table: carts, match: user_id, action: delete}
        - {table: own, match: user_id, action: delete}
";

fn config(text: &str) -> Config {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(file.path(), &Settings::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn topic(table: &str, key: &[usize], columns: &[(&str, ValueKind)]) -> TopicStatus {
    let column = |(name, kind): &(&str, ValueKind)| Column {
        name: (*name).to_owned(),
        kind: *kind,
        element: None,
        type_name: kind.as_str().to_owned(),
        nullable: *name != "email",
    };
    let schema = Schema {
        namespace: "public".to_owned(),
        table: table.to_owned(),
        columns: columns.iter().map(column).collect(),
        key: key.to_vec(),
    };
    TopicStatus {
        topic: TopicPartition { topic: format!("shop.public.{table}").into(), partition: 0 },
        earliest: 0,
        end: 1,
        bytes: 1,
        schema: Some(Arc::new(schema)),
    }
}

/// Code, place without the file's name, what and remedy of each finding but those of sinks that cannot be asked.
async fn found(text: &str, topics: &[TopicStatus]) -> Vec<[String; 4]> {
    let config = config(text);
    let mut tables = Tables::new();
    for (name, sink) in &config.sinks {
        let targets = super::super::targets(&config, name, registry::mapping(&config, sink), topics).0;
        tables.insert(name, targets);
    }
    let findings = check(&config, topics, &tables).await;
    let kept = findings
        .into_iter()
        .filter(|finding| finding.code.starts_with("erasure-") && finding.code != "erasure-not-examined");
    let line = |place: &str| {
        let (before, rest) = place.split_once(" (").unwrap_or((place, ""));
        let (at, after) = rest.split_once(')').unwrap_or_default();
        let line = at.rsplit(':').nth(1).unwrap_or_default();
        format!("{before} :{line}{after}")
    };
    kept.map(|finding| {
        [finding.code.to_owned(), line(&finding.place), finding.what, finding.remedy.unwrap_or_default()]
    })
    .collect()
}

fn codes(found: &[[String; 4]]) -> Vec<&str> {
    found.iter().map(|finding| finding[0].as_str()).collect()
}

#[tokio::test]
async fn what_does_not_fit_the_topics_is_found_at_its_line() {
    let users = [
        ("id", ValueKind::Text),
        ("email", ValueKind::Text),
        ("home_phone", ValueKind::Text),
        ("age", ValueKind::Int),
    ];
    let topics = [
        topic("users", &[0], &users),
        topic(
            "orders",
            &[0],
            &[("id", ValueKind::Int), ("user_id", ValueKind::Int), ("street", ValueKind::Text)],
        ),
        topic("carts", &[0], &[("id", ValueKind::Int), ("user_id", ValueKind::Int)]),
        topic("products", &[0], &[("id", ValueKind::Int), ("name", ValueKind::Text)]),
        topic(
            "couriers",
            &[0],
            &[("id", ValueKind::Int), ("Nachname", ValueKind::Text), ("ort", ValueKind::Text)],
        ),
    ];
    let found = found(SHOP, &topics).await;
    let place = |code: &str| {
        found.iter().find(|finding| finding[0] == code).unwrap_or_else(|| panic!("{code}: {found:#?}"))
    };
    assert_eq!(place("erasure-deleted-anyway")[1], "erasure users :19, sink all, table users");
    let unknown = place("erasure-topic-unknown");
    assert_eq!(unknown[1], "erasure users :20, sink all, table carts");
    let line =
        r#"erasure: {users: {topics: [{"topic":"shop.public.carts","match":"user_id","action":"delete"}]}}"#;
    assert_eq!(unknown[3], line);
    // The key is text, and one cannot be added to it.
    let expression = place("erasure-expression");
    assert_eq!(expression[1], "erasure users :17, sink billing, table orders");
    assert!(expression[2].contains(":17:"), "{expression:?}");
    assert!(place("erasure-set-not-null")[2].contains("\"email\""));
    let personal: Vec<&str> = found
        .iter()
        .filter(|finding| finding[0] == "erasure-personal-column")
        .map(|finding| finding[2].split(" looks").next().unwrap_or_default())
        .collect();
    let expected = [
        "column \"home_phone\" of table \"users\" (topic shop.public.users)",
        "column \"street\" of table \"orders\" (topic shop.public.orders)",
        "column \"Nachname\" of table \"couriers\" (topic shop.public.couriers)",
        "column \"ort\" of table \"couriers\" (topic shop.public.couriers)",
        "column \"home_phone\" of table \"customers\" (topic shop.public.users)",
    ];
    assert_eq!(personal, expected);
    let remedies: Vec<&str> = found
        .iter()
        .filter(|finding| finding[0] == "erasure-personal-column")
        .map(|finding| finding[3].as_str())
        .collect();
    assert_eq!(remedies[0], "add home_phone: null to the `set` of step 1 of all");
    assert_eq!(
        remedies[1],
        "- {table: orders, match: user_id, action: {set: {\"street\":null}}}  # in erasure.users.sinks.all"
    );
}

#[tokio::test]
async fn a_key_that_is_none_is_an_error() {
    let columns = [("id", ValueKind::Int), ("email", ValueKind::Text), ("shop", ValueKind::Int)];
    for (key, expected) in [(&[0, 2][..], "it is (id, shop)"), (&[], "it has none"), (&[1], "it is (email)")]
    {
        let found = found(SHOP, &[topic("users", key, &columns)]).await;
        let finding = found.iter().find(|finding| finding[0] == "erasure-subject-key");
        let finding = finding.unwrap_or_else(|| panic!("{:?}", codes(&found)));
        assert!(finding[2].ends_with(expected) && !finding[3].is_empty(), "{finding:?}");
        assert_eq!(finding[1], "erasure users :13");
    }
    let found = found(SHOP, &[topic("users", &[0], &columns)]).await;
    assert!(!codes(&found).contains(&"erasure-subject-key"), "{found:#?}");
    // `all` wants another key in the log, too; but `billing` does not, so it stays.
    assert!(!codes(&found).contains(&"erasure-set-key"), "{found:#?}");
}

#[tokio::test]
async fn what_is_stated_of_topics_is_held_against_their_columns() {
    let text = format!(
        "{SHOP}    topics: [{{topic: shop.public.orders, match: usr, action: {{set: {{id: 0, nme: null}}}}}}]\n"
    );
    let topics = [topic("orders", &[0], &[("id", ValueKind::Int), ("user_id", ValueKind::Int)])];
    let found = found(&text, &topics).await;
    let of_topics: Vec<_> =
        found.iter().filter(|finding| finding[1] == "erasure users :22, topic shop.public.orders").collect();
    let expected = ["erasure-topic-column", "erasure-topic-column", "erasure-set-key"];
    assert_eq!(
        of_topics.iter().map(|finding| finding[0].as_str()).collect::<Vec<_>>(),
        expected,
        "{found:#?}"
    );
    assert!(of_topics[0][2].contains("\"usr\"") && of_topics[1][2].contains("\"nme\""));
}
