//! What is sent, to the byte.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connector_api::options::Secret;
use connector_api::{Image, Op, Target, Value};
use connector_http::{Batch, Format, Method, Options};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};

use crate::endpoint::{Endpoint, Seen};
use crate::feed::{Feed, options, schema};

/// Every kind of change, in this order: insert, update, delete, truncate, read.
fn all_kinds(feed: &mut Feed) {
    feed.insert(1, "Ann \"A\" Ω");
    feed.update(1, "Bo");
    feed.delete(1);
    feed.push(Op::Truncate, &[]);
    feed.push(Op::Read, &[(Image::NewRow, &[Value::Int(2), Value::Null])]);
}

async fn sent(change: impl FnOnce(&mut Options)) -> Vec<Seen> {
    let endpoint = Endpoint::willing().await;
    let mut options = options(&endpoint.url);
    // One after the other, so that the order of arrival is the order of the log.
    options.concurrency = 1;
    change(&mut options);
    let mut feed = Feed::new(options).await;
    all_kinds(&mut feed);
    feed.deliver().await;
    endpoint.seen()
}

const ID: &str = "000000000000000000000000000000a1:shop.public.users:0:";

#[tokio::test]
async fn plain_json() {
    let seen = sent(|_| {}).await;
    let bodies: Vec<&str> = seen.iter().map(|seen| std::str::from_utf8(&seen.body).expect("UTF-8")).collect();
    let place = |offset: u64| {
        format!(
            r#"{{"id":"{ID}{offset}","topic":"shop.public.users","partition":0,"offset":{offset},"table":"users","time_us":1700000000000000,"#
        )
    };
    let rests = [
        r#""op":"c","key":{"id":1},"row":{"id":1,"name":"Ann \"A\" Ω"}}"#,
        r#""op":"u","key":{"id":1},"row":{"id":1,"name":"Bo"}}"#,
        r#""op":"d","key":{"id":1}}"#,
        r#""op":"t"}"#,
        r#""op":"r","key":{"id":2},"row":{"id":2,"name":null}}"#,
    ];
    let wanted: Vec<String> = rests.iter().zip(0..).map(|(rest, at)| place(at) + rest).collect();
    assert_eq!(bodies, wanted);
    for (seen, offset) in seen.iter().zip(0..) {
        assert_eq!(seen.header("idempotency-key"), format!("{ID}{offset}"));
        assert_eq!(seen.header("content-type"), "application/json");
        assert!(seen.header("user-agent").starts_with("millstream/"));
        assert_eq!((seen.method.as_str(), seen.uri.path()), ("POST", "/hook"));
    }
}

#[tokio::test]
async fn a_batch_is_an_array_that_a_truncate_cuts() {
    let seen = sent(|options| options.batch = Some(Batch::default())).await;
    let offsets = |seen: &Seen| -> Vec<u64> {
        let events = seen.json();
        events
            .as_array()
            .expect("an array")
            .iter()
            .map(|event| event["offset"].as_u64().expect("one"))
            .collect()
    };
    assert_eq!(seen.iter().map(offsets).collect::<Vec<_>>(), [vec![0, 1, 2], vec![3], vec![4]]);
    assert_eq!(seen[0].json()[0]["id"], format!("{ID}0"));
    let again = sent(|options| options.batch = Some(Batch::default())).await;
    let keys = |seen: &[Seen]| -> Vec<String> {
        seen.iter().map(|seen| seen.header("idempotency-key").to_owned()).collect()
    };
    assert_eq!(keys(&seen), keys(&again));
    assert!(keys(&seen)[0].starts_with("000000000000000000000000000000a1:batch:"));
    assert_ne!(keys(&seen)[0], keys(&seen)[1]);
}

/// The times of rendering are the only thing that no test can know.
fn without_times(mut envelope: Json) -> Json {
    let object = envelope.as_object_mut().expect("an object");
    for time in ["ts_ms", "ts_us", "ts_ns"] {
        assert!(object.remove(time).is_some_and(|time| time.as_i64() > Some(1_700_000_000_000)));
    }
    envelope
}

fn source() -> Json {
    json!({
        "version": env!("CARGO_PKG_VERSION"), "connector": "test", "name": "shop",
        "ts_ms": 1_700_000_000_000_i64, "ts_us": 1_700_000_000_000_000_i64, "ts_ns": 1_700_000_000_000_000_000_i64,
        "snapshot": "false", "db": "shop", "schema": "public", "table": "users", "txId": 7
    })
}

#[tokio::test]
async fn debezium_alone_and_in_a_batch() {
    let seen = sent(|options| options.format = Format::Debezium).await;
    let transaction = json!({"id": "7", "total_order": 1});
    assert_eq!(
        without_times(seen[1].json()),
        json!({"before": null, "after": {"id": 1, "name": "Bo"}, "source": source(), "op": "u", "transaction": transaction})
    );
    assert_eq!(
        without_times(seen[2].json()),
        json!({"before": {"id": 1, "name": null}, "after": null, "source": source(), "op": "d", "transaction": transaction})
    );
    let batch = sent(|options| {
        options.format = Format::Debezium;
        options.batch = Some(Batch::default());
    });
    let events = batch.await[0].json();
    assert_eq!(events[1]["id"], format!("{ID}1"));
    assert_eq!(events[1]["key"], json!({"id": 1}));
    assert_eq!(without_times(events[1]["value"].clone()), without_times(seen[1].json()));
}

fn cloud_event(offset: u64, kind: &str, data: Json) -> Json {
    json!({
        "specversion": "1.0", "id": format!("{ID}{offset}"), "source": "/millstream/shop",
        "type": format!("millstream.change.{kind}"), "subject": "users", "time": "2023-11-14T22:13:20Z",
        "topic": "shop.public.users", "sequence": format!("{offset:020}"), "transaction": "7",
        "datacontenttype": "application/json", "data": data
    })
}

#[tokio::test]
async fn cloudevents_structured_alone_and_in_a_batch() {
    let wanted = [
        cloud_event(
            0,
            "insert",
            json!({"op": "c", "key": {"id": 1}, "row": {"id": 1, "name": "Ann \"A\" Ω"}}),
        ),
        cloud_event(1, "update", json!({"op": "u", "key": {"id": 1}, "row": {"id": 1, "name": "Bo"}})),
        cloud_event(2, "delete", json!({"op": "d", "key": {"id": 1}})),
        cloud_event(3, "truncate", json!({"op": "t"})),
        cloud_event(4, "read", json!({"op": "r", "key": {"id": 2}, "row": {"id": 2, "name": null}})),
    ];
    let seen = sent(|options| options.format = Format::CloudEvents).await;
    assert_eq!(seen.iter().map(Seen::json).collect::<Vec<_>>(), wanted);
    assert_eq!(seen[0].header("content-type"), "application/cloudevents+json");
    let batch = sent(|options| {
        options.format = Format::CloudEvents;
        options.batch = Some(Batch::default());
    });
    let batch = batch.await;
    assert_eq!(batch[0].json(), json!(wanted[..3]));
    assert_eq!(batch[0].header("content-type"), "application/cloudevents-batch+json");
}

#[tokio::test]
async fn cloudevents_binary_has_its_attributes_in_headers() {
    let endpoint = Endpoint::willing().await;
    let mut options = options(&endpoint.url);
    options.format = Format::CloudEventsBinary;
    let mut feed = Feed::new(options).await;
    feed.target =
        Arc::new(Target { table: "käse \"x\" %".to_owned(), named: true, ..(*feed.target).clone() });
    feed.insert(1, "Ann");
    feed.deliver().await;
    let seen = &endpoint.seen()[0];
    assert_eq!(seen.json(), json!({"op": "c", "key": {"id": 1}, "row": {"id": 1, "name": "Ann"}}));
    let wanted = [
        ("ce-specversion", "1.0"),
        (
            "ce-id",
            "000000000000000000000000000000a1:shop.public.users:0:0:k%25C3%25A4se%2520%2522x%2522%2520%2525",
        ),
        ("ce-source", "/millstream/shop"),
        ("ce-type", "millstream.change.insert"),
        ("ce-subject", "k%C3%A4se%20%22x%22%20%25"),
        ("ce-time", "2023-11-14T22:13:20Z"),
        ("ce-topic", "shop.public.users"),
        ("ce-sequence", "00000000000000000000"),
        ("ce-transaction", "7"),
        ("content-type", "application/json"),
    ];
    for (name, value) in wanted {
        assert_eq!(seen.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn the_target_s_shape_is_what_is_sent() {
    let endpoint = Endpoint::willing().await;
    let mut feed = Feed::new(options(&format!("{}/{{topic}}/{{table}}?t={{table}}", endpoint.url))).await;
    feed.target = Arc::new(Target {
        table: "a/b".to_owned(),
        named: true,
        columns: vec![(1, "full_name".to_owned()), (0, "user".to_owned())],
        key: vec![1],
        ..(*feed.target).clone()
    });
    feed.insert(1, "Ann");
    // A soft delete: the row stays, with a column set.
    feed.push(
        Op::Delete,
        &[(Image::OldKey, &[Value::Int(1)]), (Image::NewRow, &[Value::Unchanged, Value::Text("gone")])],
    );
    feed.deliver().await;
    let seen = endpoint.seen();
    let json = seen[0].json();
    assert_eq!(json["row"], json!({"full_name": "Ann", "user": 1}));
    assert_eq!((&json["key"], &json["table"]), (&json!({"user": 1}), &json!("a/b")));
    assert_eq!(json["id"], format!("{ID}0:a%2Fb"));
    assert_eq!(seen[0].uri.to_string(), "/hook/shop.public.users/a%2Fb?t=a%2Fb");
    let soft = seen[1].json();
    assert_eq!((&soft["op"], &soft["row"]), (&json!("u"), &json!({"full_name": "gone"})));
}

#[tokio::test]
async fn a_changed_key_comes_with_the_delete_of_the_old_one_behind_it() {
    let endpoint = Endpoint::willing().await;
    let mut feed = Feed::new(options(&endpoint.url)).await;
    feed.insert(1, "Ann");
    feed.push(
        Op::Update,
        &[
            (Image::OldRow, &[Value::Int(1), Value::Text("Ann")]),
            (Image::NewRow, &[Value::Int(2), Value::Text("Ann")]),
        ],
    );
    feed.insert(1, "another");
    feed.deliver().await;
    let shown: Vec<(String, i64)> = endpoint
        .seen()
        .iter()
        .map(|seen| (seen.json()["op"].as_str().expect("one").to_owned(), seen.key()))
        .collect();
    let wanted = [("c", 1), ("u", 2), ("d", 1), ("c", 1)].map(|(op, key)| (op.to_owned(), key));
    assert_eq!(shown, wanted);
    assert_eq!(endpoint.seen()[1].json()["before"], json!({"id": 1, "name": "Ann"}));
}

#[tokio::test]
async fn method_and_headers_are_the_configuration_s() {
    let endpoint = Endpoint::willing().await;
    let mut options = options(&endpoint.url);
    options.method = Method::Put;
    options.headers.insert("Authorization".to_owned(), Secret::new("Bearer t0ken"));
    let mut feed = Feed::of(options, schema(vec![])).await;
    feed.insert(1, "no key");
    feed.deliver().await;
    let seen = &endpoint.seen()[0];
    assert_eq!((seen.method.as_str(), seen.header("authorization")), ("PUT", "Bearer t0ken"));
    assert!(seen.json().get("key").is_none());
    assert_eq!(seen.header("webhook-signature"), "");
}

/// What a receiver does, as the manual says.
fn is_genuine(secret: &[u8], seen: &Seen) -> bool {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).expect("a key");
    mac.update(format!("{}.{}.", seen.header("webhook-id"), seen.header("webhook-timestamp")).as_bytes());
    mac.update(&seen.body);
    seen.header("webhook-signature").split(' ').any(|signature| {
        let given = signature.strip_prefix("v1,").and_then(|given| STANDARD.decode(given).ok());
        given.is_some_and(|given| mac.clone().verify_slice(&given).is_ok())
    })
}

#[tokio::test]
async fn signatures_verify_and_cover_id_time_and_body() {
    let secret = b"0123456789abcdef0123456789abcdef";
    for batch in [None, Some(Batch::default())] {
        let seen = sent(|options| {
            options.secret = Some(Secret::new(format!("whsec_{}", STANDARD.encode(secret))));
            options.batch = batch;
        });
        for seen in seen.await {
            assert!(is_genuine(secret, &seen));
            assert_eq!(seen.header("webhook-id"), seen.header("idempotency-key"));
            let mut other = seen.clone();
            other.body = [&seen.body[..], b" "].concat().into();
            assert!(!is_genuine(secret, &other));
            for name in ["webhook-id", "webhook-timestamp"] {
                let mut other = seen.clone();
                other.headers.insert(name, "1".parse().expect("a value"));
                assert!(!is_genuine(secret, &other));
            }
            assert!(!is_genuine(b"another secret of some length", &seen));
        }
    }
}
