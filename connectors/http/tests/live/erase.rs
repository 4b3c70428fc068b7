//! Erasures: what the endpoint is told, in which order, and how its answer is taken.

use std::time::Duration;

use connector_api::erasure::{Action, Constant, Erased, Erasure, Find, Outcome, Step};
use connector_api::options::Secret;
use connector_api::{Kind, Sink, Value};
use connector_http::{Batch, Format};

use crate::endpoint::{Endpoint, Reaction, Seen};
use crate::feed::{Feed, options};

fn step(table: &str, action: Action) -> Step {
    let value = Step::encode(Value::Text("hunter2"));
    Step { table: table.to_owned(), find: Find::Column("id".to_owned()), value, action }
}

fn erasure(steps: Vec<Step>) -> Erasure {
    Erasure {
        case: "case-1".to_owned(),
        subject: "users".to_owned(),
        key: Step::encode(Value::Text("hunter2")),
        steps,
    }
}

fn steps() -> Vec<Step> {
    let marks = vec![("name".to_owned(), Constant::Null), ("mail \"x\"".to_owned(), Constant::Null)];
    vec![step("letters", Action::Delete), step("invoices", Action::Set(marks)), step("deals", Action::Keep)]
}

#[tokio::test]
async fn the_endpoint_is_told_after_everything_before_and_before_everything_behind() {
    let endpoint = Endpoint::start(|seen, _| match seen.json()["type"].as_str() {
        Some(_) => Reaction::status(200).saying(r#"{"rows": 4}"#),
        None => Reaction::status(204).after(Duration::from_millis(20)),
    })
    .await;
    let mut options = options(&format!("{}/{{table}}?topic={{topic}}", endpoint.url));
    options.secret = Some(Secret::new("0123456789abcdef"));
    let mut feed = Feed::new(options).await;
    (1..=3).for_each(|id| feed.insert(id, "x"));
    let error = feed.sink.erase(&erasure(steps())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "what is not flushed would be overtaken: {error}");
    feed.deliver().await;
    let outcome = feed.sink.erase(&erasure(steps())).await.unwrap();
    let erased = |rows| Erased { rows, left: 0 };
    assert_eq!(outcome, Outcome::Done(vec![erased(4), erased(0), erased(0)]));
    feed.insert(4, "y");
    feed.deliver().await;
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 5);
    let told = &seen[3];
    assert_eq!(told.uri, "/hook/erasure?topic=millstream.erasure");
    let expected = serde_json::json!({
        "id": "case-1", "type": "millstream.erasure", "case": "case-1", "subject": "users", "key": "hunter2",
        "steps": [
            {"table": "letters", "action": "delete"},
            {"table": "invoices", "action": "set", "columns": ["name", "mail \"x\""]},
            {"table": "deals", "action": "keep"},
        ],
    });
    assert_eq!(told.json(), expected);
    assert_eq!((told.header("idempotency-key"), told.header("webhook-id")), ("case-1", "case-1"));
    assert!(told.header("webhook-signature").starts_with("v1,"));
}

#[tokio::test]
async fn every_format_tells_it_in_its_own_way() {
    for (format, batched) in [
        (Format::Json, true),
        (Format::Debezium, false),
        (Format::Debezium, true),
        (Format::CloudEvents, false),
        (Format::CloudEvents, true),
        (Format::CloudEventsBinary, false),
    ] {
        let endpoint = Endpoint::willing().await;
        let mut options = options(&endpoint.url);
        options.format = format;
        options.batch = batched.then(Batch::default);
        let mut feed = Feed::new(options).await;
        // Told without steps, one entry stands for the whole.
        let outcome = feed.sink.erase(&erasure(Vec::new())).await.unwrap();
        assert_eq!(outcome, Outcome::Done(vec![Erased::default()]));
        let seen: Seen = endpoint.seen().remove(0);
        let json = seen.json();
        let event = if batched { &json[0] } else { &json };
        let data = if format == Format::CloudEvents { &event["data"] } else { event };
        assert_eq!((&data["case"], &data["key"]), (&"case-1".into(), &"hunter2".into()), "{format:?}");
        match format {
            Format::CloudEventsBinary => {
                assert_eq!((seen.header("ce-type"), seen.header("ce-id")), ("millstream.erasure", "case-1"));
            }
            _ => assert_eq!(event["type"], "millstream.erasure", "{format:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_may_say_later_and_what_is_left() {
    let endpoint = Endpoint::start(|_, count| match count {
        0 => Reaction::status(202),
        1 => Reaction::status(200).saying(r#"{"steps": [{"rows": 1, "left": 2}, {"rows": 3}]}"#),
        _ => Reaction::status(200).saying(r#"{"steps": [{"rows": 1}, {"rows": 3}]}"#),
    })
    .await;
    let mut feed = Feed::new(options(&endpoint.url)).await;
    assert_eq!(feed.sink.erase(&erasure(steps())).await.unwrap(), Outcome::Awaited);
    let error = feed.sink.erase(&erasure(steps())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("2 rows are left"), "{error}");
    let Outcome::Done(erased) = feed.sink.erase(&erasure(steps())).await.unwrap() else { panic!("done") };
    assert_eq!(erased, [Erased { rows: 1, left: 0 }, Erased { rows: 3, left: 0 }, Erased::default()]);
}

#[tokio::test]
async fn it_is_told_again_as_often_as_events_are_and_no_error_names_the_key() {
    let endpoint = Endpoint::start(|_, count| match count {
        0 | 1 => Reaction::status(503),
        2 => Reaction::status(429).header("retry-after", "0"),
        _ => Reaction::status(204),
    })
    .await;
    let mut feed = Feed::new(options(&endpoint.url)).await;
    feed.sink.erase(&erasure(steps())).await.unwrap();
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 4);
    let first = &seen[0];
    assert!(seen.iter().all(|seen| seen.header("idempotency-key") == "case-1" && seen.body == first.body));

    let endpoint = Endpoint::start(|_, count| {
        let body = r#"{"error": "hunter2 is not known"}"#;
        Reaction::status(if count < 3 { 500 } else { 422 }).saying(body)
    })
    .await;
    let mut options = options(&endpoint.url);
    options.retry.attempts = 3;
    let mut feed = Feed::new(options).await;
    let failed = feed.sink.erase(&erasure(steps())).await.unwrap_err();
    assert_eq!((failed.kind(), endpoint.seen().len()), (Kind::Transient, 3), "{failed}");
    let refused = feed.sink.erase(&erasure(steps())).await.unwrap_err();
    assert_eq!((refused.kind(), endpoint.seen().len()), (Kind::Config, 4), "{refused}");
    for error in [failed, refused] {
        assert!(!format!("{error} {error:?}").contains("hunter2") && error.remedy().is_some(), "{error:?}");
    }
}
