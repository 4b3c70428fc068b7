//! The sink against real servers.

use std::collections::BTreeMap;

use connector_api::options::{Secret, Span};
use connector_api::testing::feed::{Feed, LOG, Table, column};
use connector_api::testing::sinks::people;
use connector_api::{Cursor, Kind, LogId, Op, Sink, Value, ValueKind};
use connector_redis::{Form, Mode, Options, Redis};
use redis::aio::MultiplexedConnection;
use throwaway_servers::redis::Redis as Server;

/// A server, a sink on it, and a client that looks.
struct Harness {
    server: Server,
    options: Options,
    sink: Redis,
    cursor: Cursor,
    feed: Feed,
    client: MultiplexedConnection,
}

impl Harness {
    async fn with(settings: &[&str], adjust: impl FnOnce(&mut Options)) -> Harness {
        let server = Server::start(settings);
        let mut options = Options::new(server.url());
        adjust(&mut options);
        options.check("cache").unwrap();
        let mut sink = Redis::new("cache", options.clone());
        assert_eq!(sink.start(LOG).await.unwrap(), None);
        let client = client(&server).await;
        Harness { server, options, sink, cursor: Cursor::start(LOG), feed: Feed::default(), client }
    }

    async fn new() -> Harness {
        Self::with(&[], |_| {}).await
    }

    async fn deliver(&mut self) {
        let fed = self.feed.take();
        assert!(fed.apply(&mut self.sink).await.is_empty());
        fed.delivery.advance(&mut self.cursor);
        self.sink.commit(&self.cursor).await.unwrap();
    }

    async fn hash(&mut self, key: &str) -> BTreeMap<String, String> {
        redis::cmd("HGETALL").arg(key).query_async(&mut self.client).await.unwrap()
    }

    async fn text(&mut self, key: &str) -> Option<String> {
        redis::cmd("GET").arg(key).query_async(&mut self.client).await.unwrap()
    }

    /// The keys that are not bookkeeping.
    async fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut self.client).await.unwrap();
        keys.retain(|key| !key.starts_with("_millstream:"));
        keys.sort();
        keys
    }

    async fn run(&mut self, command: &[&str]) {
        let (name, arguments) = command.split_first().unwrap();
        redis::cmd(name).arg(arguments).exec_async(&mut self.client).await.unwrap();
    }
}

async fn client(server: &Server) -> MultiplexedConnection {
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

fn person<'v>(id: i64, name: &'v str, note: Value<'v>) -> [Value<'v>; 3] {
    [Value::Int(id), Value::Text(name), note]
}

fn fields<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn rows_become_hashes_and_null_has_no_field() {
    let mut it = Harness::new().await;
    let table = people("users");
    it.feed
        .insert(&table, &person(1, "Ann", Value::Text("x")))
        .insert(&table, &person(2, "Bob", Value::Null));
    it.deliver().await;
    assert_eq!(it.hash("users:1").await, fields([("id", "1"), ("name", "Ann"), ("note", "x")]));
    assert_eq!(it.hash("users:2").await, fields([("id", "2"), ("name", "Bob")]));
    // A null takes the field away; a value that was left out leaves it.
    it.feed.update(&table, &person(1, "Anna", Value::Null));
    it.feed.update(&table, &[Value::Int(2), Value::Unchanged, Value::Text("y")]);
    it.deliver().await;
    assert_eq!(it.hash("users:1").await, fields([("id", "1"), ("name", "Anna")]));
    assert_eq!(it.hash("users:2").await, fields([("id", "2"), ("name", "Bob"), ("note", "y")]));
    it.feed.delete(&table, &[Value::Int(1)]);
    it.feed.relocate(&table, &[Value::Int(2)], &[Value::Int(3), Value::Text("Rob"), Value::Unchanged]);
    it.deliver().await;
    assert_eq!(it.keys().await, ["users:3"]);
    assert_eq!(it.hash("users:3").await, fields([("id", "3"), ("name", "Rob"), ("note", "y")]));
}

#[tokio::test]
async fn json_keeps_every_digit_when_a_part_of_a_row_changes() {
    let mut it = Harness::with(&[], |options| options.value = Form::Json).await;
    let columns = vec![
        column("id", ValueKind::Int),
        column("big", ValueKind::Int),
        column("amount", ValueKind::Decimal),
        column("doc", ValueKind::Json),
        column("name \"\\,:{", ValueKind::Text),
    ];
    let table = Table::new("t", columns, &[0]);
    let doc = r#"{"a": [1, "},{", {"b": "\\\""}], "n": 12345678901234567890.123}"#;
    let row = [
        Value::Int(1),
        Value::Int(i64::MAX),
        Value::Decimal("12345678901234567890.10"),
        Value::Json(doc),
        Value::Text("}\"\\,{"),
    ];
    it.feed.insert(&table, &row);
    it.deliver().await;
    let first = it.text("t:1").await.unwrap();
    let whole = format!(
        r#"{{"id":1,"big":{},"amount":"12345678901234567890.10","doc":{doc},"name \"\\,:{{":"}}\"\\,{{"}}"#,
        i64::MAX
    );
    assert_eq!(first, whole);
    let mut part = row;
    (part[1], part[2], part[3], part[4]) =
        (Value::Int(7), Value::Unchanged, Value::Unchanged, Value::Unchanged);
    it.feed.update(&table, &part);
    it.deliver().await;
    assert_eq!(it.text("t:1").await.unwrap(), whole.replace(&i64::MAX.to_string(), "7"));
    // A key of another type makes way.
    it.run(&["DEL", "t:1"]).await;
    it.run(&["LPUSH", "t:1", "x"]).await;
    it.feed.update(&table, &part);
    it.deliver().await;
    assert_eq!(it.text("t:1").await.unwrap(), r#"{"id":1,"big":7}"#);
}

#[tokio::test]
async fn a_truncate_takes_the_keys_of_its_table_and_no_others() {
    let mut it = Harness::with(&[], |options| options.key = "{table}:{key}".to_owned()).await;
    let columns =
        |count: usize| ["a", "b"].iter().take(count).map(|name| column(name, ValueKind::Text)).collect();
    let (one, two) = (Table::new("user*", columns(1), &[0]), Table::new("user*:x", columns(1), &[0]));
    for text in ["1", "*", "a:b", "%", "[x]"] {
        it.feed.insert(&one, &[Value::Text(text)]).insert(&two, &[Value::Text(text)]);
    }
    it.deliver().await;
    it.run(&["SET", "userx:1", "mine"]).await;
    assert_eq!(it.keys().await.len(), 11);
    it.feed.truncate(&one);
    it.deliver().await;
    let left = it.keys().await;
    assert_eq!(left.len(), 6, "{left:?}");
    assert!(left.iter().all(|key| key.starts_with("user*:x:") || key == "userx:1"), "{left:?}");
}

#[tokio::test]
async fn rows_may_live_for_a_time_only() {
    let mut it = Harness::with(&[], |options| options.ttl = Some(Span::secs(100))).await;
    let table = people("users");
    it.feed.insert(&table, &person(1, "Ann", Value::Null));
    it.deliver().await;
    let left: i64 = redis::cmd("PTTL").arg("users:1").query_async(&mut it.client).await.unwrap();
    assert!((90_000..=100_000).contains(&left), "{left}");
}

#[tokio::test]
async fn streams_get_every_change_in_order() {
    let mut it = Harness::with(&[], |options| options.mode = Mode::Stream).await;
    let table = people("users");
    it.feed.insert(&table, &person(1, "Ann", Value::Null));
    it.feed.relocate(&table, &[Value::Int(1)], &[Value::Int(2), Value::Text("Ann"), Value::Unchanged]);
    it.feed.delete(&table, &[Value::Int(2)]).truncate(&table);
    it.deliver().await;
    let entries: Vec<(String, BTreeMap<String, String>)> = redis::cmd("XRANGE")
        .arg("shop.public.users")
        .arg("-")
        .arg("+")
        .query_async(&mut it.client)
        .await
        .unwrap();
    let shown: Vec<_> = entries
        .iter()
        .map(|(_, entry)| {
            let of = |name: &str| entry.get(name).map_or("", String::as_str);
            format!("{} {} {} {} @{}", of("op"), of("old_key"), of("key"), of("row"), of("offset"))
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"c  {"id":1} {"id":1,"name":"Ann","note":null} @0"#,
            r#"u {"id":1} {"id":2} {"id":2,"name":"Ann"} @1"#,
            r#"d  {"id":1}  @2"#,
            r#"d  {"id":2}  @3"#,
            "t    @4",
        ]
    );
}

#[tokio::test]
async fn invalidation_deletes_what_changed_and_says_so() {
    let mut it = Harness::with(&[], |options| {
        options.mode = Mode::Invalidate;
        options.publish = Some("stale".to_owned());
    })
    .await;
    let table = people("users");
    for id in 1..=4 {
        it.run(&["SET", &format!("users:{id}"), "cached"]).await;
    }
    let mut told = redis::Client::open(it.server.url()).unwrap().get_async_pubsub().await.unwrap();
    told.subscribe("stale").await.unwrap();
    // What an initial copy reads is not stale.
    it.feed.change(&table, Op::Read, None, Some(&person(4, "Dan", Value::Null)));
    it.feed.update(&table, &person(1, "Anna", Value::Null)).delete(&table, &[Value::Int(2)]);
    it.deliver().await;
    assert_eq!(it.keys().await, ["users:3", "users:4"]);
    let mut messages = told.on_message();
    for wanted in ["users:1", "users:2"] {
        let message = futures_util::StreamExt::next(&mut messages).await.unwrap();
        assert_eq!(message.get_payload::<String>().unwrap(), wanted);
    }
}

#[tokio::test]
async fn the_cursor_goes_with_the_data_through_a_crash_of_the_server() {
    let mut it = Harness::new().await;
    let table = people("users");
    it.feed.insert(&table, &person(1, "Ann", Value::Null));
    it.deliver().await;
    let committed = it.cursor.clone();
    it.feed.insert(&table, &person(2, "Bob", Value::Null)).delete(&table, &[Value::Int(1)]);
    let fed = it.feed.take();
    assert!(fed.apply(&mut it.sink).await.is_empty());
    it.server.crash();
    fed.delivery.advance(&mut it.cursor);
    let error = it.sink.commit(&it.cursor).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    it.server.start_again();
    it.client = client(&it.server).await;
    let mut again = Redis::new("cache", it.options.clone());
    assert_eq!(again.start(LOG).await.unwrap(), Some(committed));
    assert_eq!(it.keys().await, ["users:1"], "nothing of the open transaction");
    assert!(fed.apply(&mut again).await.is_empty());
    again.commit(&it.cursor).await.unwrap();
    assert_eq!(it.keys().await, ["users:2"]);
    let mut third = Redis::new("cache", it.options.clone());
    assert_eq!(third.start(LOG).await.unwrap(), Some(it.cursor.clone()));
    let error = Redis::new("cache", it.options.clone()).start(LogId(8)).await.unwrap_err();
    assert!(error.remedy().unwrap().contains("offsets CONFIG reset cache"), "{error:?}");
}

#[tokio::test]
async fn a_command_that_fails_inside_of_the_transaction_puts_the_cursor_back() {
    let mut it = Harness::with(&[], |options| options.mode = Mode::Stream).await;
    it.run(&["SET", "shop.public.users", "not a stream"]).await;
    let table = people("users");
    it.feed.insert(&table, &person(1, "Ann", Value::Null));
    let fed = it.feed.take();
    assert!(fed.apply(&mut it.sink).await.is_empty());
    let mut cursor = it.cursor.clone();
    fed.delivery.advance(&mut cursor);
    let error = it.sink.commit(&cursor).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config, "{error}");
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    let mut again = Redis::new("cache", it.options.clone());
    assert_eq!(again.start(LOG).await.unwrap(), None, "nothing is skipped");
    it.run(&["DEL", "shop.public.users"]).await;
    assert!(fed.apply(&mut again).await.is_empty());
    again.commit(&cursor).await.unwrap();
}

#[tokio::test]
async fn a_full_server_is_transient_and_nothing_is_half_applied() {
    let mut it = Harness::new().await;
    let table = people("users");
    it.feed.insert(&table, &person(1, "Ann", Value::Null));
    it.deliver().await;
    it.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    it.feed.insert(&table, &person(2, "Bob", Value::Null)).delete(&table, &[Value::Int(1)]);
    let fed = it.feed.take();
    fed.apply_some(&mut it.sink, |_, _| true).into_iter().for_each(|result| result.unwrap());
    let error = it.sink.flush().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    assert!(error.remedy().unwrap().contains("maxmemory"), "{error:?}");
    it.run(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(it.keys().await, ["users:1"]);
}

#[tokio::test]
async fn what_has_no_place_is_refused_with_a_remedy() {
    let mut it = Harness::new().await;
    let keyless = Table::new("log", vec![column("line", ValueKind::Text)], &[]);
    it.feed.insert(&keyless, &[Value::Text("x")]);
    let fed = it.feed.take();
    let error = fed.apply_some(&mut it.sink, |_, _| true).remove(0).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.remedy().unwrap().contains("mode: stream"), "{error:?}");

    let mut wrong = it.options.clone();
    wrong.url = Secret::new("redis://:wrong@127.0.0.1:1/0");
    let error = Redis::new("cache", wrong).start(LOG).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Transient, "{error}");
    assert!(!format!("{error:?}").contains("wrong@"), "{error:?}");
}

#[tokio::test]
async fn check_says_what_will_hurt() {
    let it = Harness::with(&["--maxmemory 100mb --maxmemory-policy allkeys-lru"], |_| {}).await;
    let keyless = Table::new("log", vec![column("line", ValueKind::Text)], &[]);
    let found = connector_redis::check("cache", &it.options, &[people("users").target, keyless.target])
        .await
        .unwrap();
    let codes: Vec<_> = found.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["redis-eviction", "redis-mapping"]);
    let nowhere = Options::new("redis://127.0.0.1:1/0");
    let found = connector_redis::check("cache", &nowhere, &[]).await.unwrap();
    assert_eq!(found[0].code, "redis-unreachable");
}
