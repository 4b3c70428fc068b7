//! Erasing on real servers: what is met, what stays, and that the cursor goes with it.

use connector_api::erasure::{Action, Constant, Erased, Erasure, Find, Outcome, Step};
use connector_api::testing::feed::{Feed, LOG, Table, column};
use connector_api::{Cursor, Kind, Rows, Severity, Sink, Value, ValueKind};
use connector_redis::{Form, Mode, Options, Redis};
use redis::aio::MultiplexedConnection;
use throwaway_servers::redis::Redis as Server;

struct Harness {
    _server: Server,
    options: Options,
    sink: Redis,
    cursor: Cursor,
    feed: Feed,
    client: MultiplexedConnection,
}

impl Harness {
    async fn with(adjust: impl FnOnce(&mut Options)) -> Harness {
        let server = Server::start(&[]);
        let mut options = Options::new(server.url());
        options.erases = true;
        adjust(&mut options);
        options.check("cache").unwrap();
        let mut sink = Redis::new("cache", options.clone());
        assert_eq!(sink.start(LOG).await.unwrap(), None);
        let client =
            redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        Harness { _server: server, options, sink, cursor: Cursor::start(LOG), feed: Feed::default(), client }
    }

    /// Applies what was fed, without a commit.
    async fn apply(&mut self) {
        let fed = self.feed.take();
        assert!(fed.apply(&mut self.sink).await.is_empty());
        fed.delivery.advance(&mut self.cursor);
    }

    async fn commit(&mut self) {
        self.sink.commit(&self.cursor).await.unwrap();
    }

    async fn deliver(&mut self) {
        self.apply().await;
        self.commit().await;
    }

    /// A sink that has met nothing yet.
    async fn start_again(&mut self) {
        self.sink = Redis::new("cache", self.options.clone());
        self.sink.start(LOG).await.unwrap();
    }

    async fn erase(&mut self, steps: &[Step]) -> Vec<u64> {
        let erasure = Erasure {
            case: "c".to_owned(),
            subject: "users".to_owned(),
            key: Step::encode(Value::Int(7)),
            steps: steps.to_vec(),
        };
        let Outcome::Done(done) = self.sink.erase(&erasure).await.unwrap() else { panic!("done") };
        assert!(done.iter().all(|erased: &Erased| erased.left == 0));
        done.into_iter().map(|erased| erased.rows).collect()
    }

    async fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut self.client).await.unwrap();
        keys.retain(|key| !key.starts_with("_millstream:"));
        keys.sort();
        keys
    }

    async fn run<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let (name, arguments) = command.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut self.client).await.unwrap()
    }

    fn rows(&self) -> Box<dyn Rows> {
        connector_redis::rows("cache", &self.options).unwrap()
    }

    async fn left(&self, step: &Step) -> u64 {
        self.rows().left(step).await.unwrap()
    }

    async fn held(&self, step: &Step) -> Vec<String> {
        let mut held = Vec::new();
        let mut each = |row: serde_json::Map<String, serde_json::Value>| {
            held.push(serde_json::Value::from(row).to_string());
            Ok(())
        };
        self.rows().held(step, &mut each).await.unwrap();
        held.sort();
        held
    }
}

fn table(name: &str, columns: &[(&str, ValueKind)]) -> Table {
    Table::new(name, columns.iter().map(|(name, kind)| column(name, *kind)).collect(), &[0])
}

fn by(name: &str) -> Find {
    Find::Column(name.to_owned())
}

fn step(table: &str, find: Find, value: Value<'_>, action: Action) -> Step {
    Step { table: table.to_owned(), find, value: Step::encode(value), action }
}

const USERS: &[(&str, ValueKind)] =
    &[("id", ValueKind::Int), ("name", ValueKind::Text), ("doc", ValueKind::Json)];
const ORDERS: &[(&str, ValueKind)] = &[
    ("id", ValueKind::Int),
    ("user_id", ValueKind::Int),
    ("name", ValueKind::Text),
    ("mail", ValueKind::Text),
];

/// Two persons, 7 and 77, and what belongs to them.
fn fill(feed: &mut Feed) {
    let (users, orders) = (table("users", USERS), table("orders", ORDERS));
    let letters = table("letters", &[("mail", ValueKind::Text), ("text", ValueKind::Text)]);
    for (id, name) in [(7, "Ann"), (77, "Bob")] {
        let doc = format!(r#"{{ "who" : {{"user": {id}, "n\u00e4me":"{name}"}}, "x": [{{"user": 7}}] }}"#);
        feed.insert(&users, &[Value::Int(id), Value::Text(name), Value::Json(&doc)]);
        for order in 0..3 {
            let mail = format!("{name}@x");
            feed.insert(
                &orders,
                &[Value::Int(id * 10 + order), Value::Int(id), Value::Text(name), Value::Text(&mail)],
            );
        }
        feed.insert(&letters, &[Value::Text(&format!("{name}@x")), Value::Text("hello")]);
    }
}

async fn rows_are_met_by_column_path_and_through_another_table(form: Form, met: bool) {
    let mut it = Harness::with(|options| options.value = form).await;
    fill(&mut it.feed);
    it.deliver().await;
    if !met {
        it.start_again().await;
    }
    let through = Find::Through {
        column: "mail".into(),
        table: "orders".into(),
        theirs: "mail".into(),
        find: Box::new(by("user_id")),
    };
    let path = Find::Json { column: "doc".into(), path: vec!["who".into(), "user".into()] };
    let marks =
        vec![("name".to_owned(), Constant::Null), ("mail".to_owned(), Constant::Text("x \"y\"".to_owned()))];
    let steps = [
        step("letters", through, Value::Int(7), Action::Delete),
        step("orders", by("user_id"), Value::Int(7), Action::Set(marks)),
        step("users", by("name"), Value::Text("Ann"), Action::Keep),
        step("users", path, Value::Text("7"), Action::Delete),
        step("nowhere", by("id"), Value::Int(7), Action::Delete),
    ];
    assert_eq!(it.held(&steps[0]).await.len(), 1);
    assert_eq!(it.held(&steps[1]).await.len(), 3);
    for (at, expected) in [1, 3, 0, 1, 0].into_iter().enumerate() {
        assert_eq!(it.left(&steps[at]).await, expected, "step {at}");
    }
    assert_eq!(it.erase(&steps).await, [1, 3, 1, 1, 0]);
    assert_eq!(it.keys().await.len(), 10, "nothing before the commit");
    it.commit().await;
    let left = [
        "letters:Bob@x",
        "orders:70",
        "orders:71",
        "orders:72",
        "orders:770",
        "orders:771",
        "orders:772",
        "users:77",
    ];
    assert_eq!(it.keys().await, left);
    for step in &steps {
        assert_eq!(it.left(step).await, 0, "{step:?}");
    }
    let expected = match form {
        Form::Hash => r#"{"id":"70","mail":"x \"y\"","user_id":"7"}"#,
        Form::Json => r#"{"id":70,"mail":"x \"y\"","name":null,"user_id":7}"#,
    };
    let mut held = it.held(&steps[1]).await;
    held[0] = serde_json::from_str::<std::collections::BTreeMap<String, serde_json::Value>>(&held[0])
        .map(|row| serde_json::to_string(&row).unwrap())
        .unwrap();
    assert_eq!(held[0], expected);
    // Again, there is nothing more to do.
    assert_eq!(it.erase(&steps).await, [0, 0, 0, 0, 0]);
    it.commit().await;
    assert_eq!(it.keys().await, left);
}

#[tokio::test]
async fn rows_kept_as_hashes_are_erased() {
    rows_are_met_by_column_path_and_through_another_table(Form::Hash, true).await;
    rows_are_met_by_column_path_and_through_another_table(Form::Hash, false).await;
}

#[tokio::test]
async fn rows_kept_as_json_are_erased() {
    rows_are_met_by_column_path_and_through_another_table(Form::Json, true).await;
    rows_are_met_by_column_path_and_through_another_table(Form::Json, false).await;
}

#[tokio::test]
async fn a_key_is_worked_out_where_the_column_is_all_of_it() {
    for key in ["{table}:{key}", "u/{id}"] {
        let mut it = Harness::with(|options| options.key = key.to_owned()).await;
        let users = table("users", USERS);
        for id in [7, 77] {
            it.feed.insert(&users, &[Value::Int(id), Value::Text("x"), Value::Null]);
        }
        it.deliver().await;
        // Of another type, as somebody else may have left it: the key decides.
        let name = key.replace("{table}", "users").replace("{key}", "7").replace("{id}", "7");
        let _: i64 = it.run(&["DEL", &name]).await;
        let _: i64 = it.run(&["LPUSH", &name, "x"]).await;
        assert_eq!(it.erase(&[step("users", by("id"), Value::Text("7"), Action::Delete)]).await, [1]);
        it.commit().await;
        assert_eq!(it.keys().await, [name.replace('7', "77")]);
    }
}

#[tokio::test]
async fn what_the_same_transaction_wrote_is_erased_and_what_comes_after_stays() {
    let mut it = Harness::with(|options| options.ttl = Some(connector_api::options::Span::secs(1000))).await;
    let orders = table("orders", ORDERS);
    let row = |id| [Value::Int(id), Value::Int(7), Value::Text("Ann"), Value::Text("a@x")];
    it.feed.insert(&orders, &row(1));
    it.deliver().await;
    it.feed.insert(&orders, &row(2));
    it.apply().await;
    let delete = step("orders", by("user_id"), Value::Int(7), Action::Delete);
    assert_eq!(it.erase(std::slice::from_ref(&delete)).await, [1], "what was there before");
    it.feed.insert(&orders, &row(3));
    it.deliver().await;
    assert_eq!(it.keys().await, ["orders:3"]);
    // A change that leads elsewhere, in the same transaction: every key is looked at again.
    let users = table("users", USERS);
    let letters = table("letters", &[("mail", ValueKind::Text), ("text", ValueKind::Text)]);
    it.feed.insert(&users, &[Value::Int(7), Value::Text("new@x"), Value::Null]);
    it.feed.insert(&letters, &[Value::Text("new@x"), Value::Text("hello")]);
    it.feed.insert(&letters, &[Value::Text("old@x"), Value::Text("hello")]);
    it.apply().await;
    let through = Find::Through {
        column: "mail".into(),
        table: "users".into(),
        theirs: "name".into(),
        find: Box::new(by("id")),
    };
    let steps = [
        step("letters", through, Value::Int(7), Action::Delete),
        step("users", by("id"), Value::Int(7), Action::Delete),
    ];
    it.erase(&steps).await;
    it.commit().await;
    assert_eq!(it.keys().await, ["letters:old@x", "orders:3"]);
    let _: i64 = it.run(&["DEL", "letters:old@x"]).await;
    // Rolled back, it never was.
    assert_eq!(it.erase(std::slice::from_ref(&delete)).await, [1]);
    it.sink.rollback().await.unwrap();
    assert_eq!(it.keys().await, ["orders:3"]);
    // A row that is set lives as long as before.
    let marks = vec![("name".to_owned(), Constant::Null)];
    let set = step("orders", by("user_id"), Value::Int(7), Action::Set(marks));
    let _: i64 = it.run(&["PEXPIRE", "orders:3", "50000"]).await;
    assert_eq!(it.erase(&[set]).await, [1]);
    it.commit().await;
    let lives: i64 = it.run(&["PTTL", "orders:3"]).await;
    assert!((40_000..=50_000).contains(&lives), "{lives}");
}

#[tokio::test]
async fn entries_of_streams_are_deleted() {
    let mut it = Harness::with(|options| options.mode = Mode::Stream).await;
    fill(&mut it.feed);
    it.deliver().await;
    let marks = vec![("name".to_owned(), Constant::Null)];
    let steps = [
        step("orders", by("user_id"), Value::Int(7), Action::Delete),
        step("users", by("id"), Value::Int(7), Action::Set(marks)),
    ];
    // After a restart the topics come from the rules alone.
    it.start_again().await;
    let erasure = Erasure {
        case: "c".into(),
        subject: "users".into(),
        key: Step::encode(Value::Int(7)),
        steps: steps.to_vec(),
    };
    let error = it.sink.erase(&erasure).await.unwrap_err();
    assert!(error.kind() == Kind::Config && error.remedy().is_some(), "{error:?}");
    for name in ["users", "orders"] {
        it.options.topics.insert(name.to_owned(), vec![format!("shop.public.{name}")]);
    }
    it.start_again().await;
    assert_eq!((it.left(&steps[0]).await, it.left(&steps[1]).await), (3, 1));
    assert_eq!(it.held(&steps[0]).await, [r#"{"entries":3}"#]);
    assert_eq!(it.erase(&steps).await, [3, 1]);
    it.commit().await;
    let lengths: (i64, i64) =
        (it.run(&["XLEN", "shop.public.orders"]).await, it.run(&["XLEN", "shop.public.users"]).await);
    assert_eq!(lengths, (3, 1));
    assert_eq!((it.left(&steps[0]).await, it.left(&steps[1]).await), (0, 0));
}

#[tokio::test]
async fn keys_of_a_cache_are_invalidated() {
    let mut it = Harness::with(|options| {
        options.mode = Mode::Invalidate;
        options.publish = Some("stale".to_owned());
    })
    .await;
    for key in ["users:7", "users:77"] {
        let _: () = it.run(&["SET", key, "cached"]).await;
    }
    let delete = step("users", by("id"), Value::Int(7), Action::Delete);
    assert_eq!(it.held(&delete).await, [r#"{"key":"users:7"}"#]);
    assert_eq!(it.erase(std::slice::from_ref(&delete)).await, [1]);
    it.commit().await;
    assert_eq!(it.keys().await, ["users:77"]);
    assert_eq!(it.left(&delete).await, 0);
    let path = Find::Json { column: "doc".into(), path: vec!["id".into()] };
    let blind = step("users", path, Value::Int(7), Action::Delete);
    let found = it.rows().examine(&blind).await.unwrap();
    assert_eq!((found[0].severity, found[0].code), (Severity::Error, "redis-erasure"));
}

#[tokio::test]
async fn values_are_compared_byte_by_byte_and_names_may_be_anything() {
    for form in [Form::Hash, Form::Json] {
        let mut it = Harness::with(|options| options.value = form).await;
        let odd = "co\"l\\:*{";
        let notes = table("no[t]e%s", &[("id", ValueKind::Int), (odd, ValueKind::Text)]);
        let texts = ["Ann", "ann", "Ann ", "Ánn", "%", "\"Ann\"", "A\nnn", "null", "{\"a\":1}", ""];
        for (at, text) in texts.into_iter().enumerate() {
            it.feed.insert(&notes, &[Value::Int(at as i64), Value::Text(text)]);
        }
        it.feed.insert(&notes, &[Value::Int(99), Value::Null]);
        it.deliver().await;
        for text in texts {
            let delete = step("no[t]e%s", by(odd), Value::Text(text), Action::Delete);
            assert_eq!(it.erase(&[delete]).await, [1], "{form:?} {text:?}");
            it.commit().await;
        }
        assert_eq!(it.keys().await, ["no[t]e%s:99"], "{form:?}");
    }
}

/// `cargo test -p connector-redis --test erase -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement"]
async fn how_long_it_takes_among_a_million_keys() {
    let mut it = Harness::with(|_| {}).await;
    let orders = table("orders", ORDERS);
    for chunk in 0..100 {
        for id in chunk * 10_000..(chunk + 1) * 10_000 {
            it.feed.insert(
                &orders,
                &[Value::Int(id), Value::Int(id / 4), Value::Text("Ann"), Value::Text("a@x")],
            );
        }
        it.deliver().await;
    }
    for (column, value, rows) in [("id", 7, 1), ("user_id", 700, 4)] {
        let start = std::time::Instant::now();
        assert_eq!(it.erase(&[step("orders", by(column), Value::Int(value), Action::Delete)]).await, [rows]);
        let looked = start.elapsed();
        it.commit().await;
        println!("by {column}: {looked:?} to count, {:?} in all", start.elapsed());
    }
}
