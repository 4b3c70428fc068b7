//! The commands as a user runs them, with the service up and down.

use std::time::Duration;

use serde_json::{Value, json};

use crate::pipeline::config;
use crate::support::command::{Said, millstream, millstream_fed, until_it_prints};
use crate::support::http;
use crate::support::postgres::Options;
use crate::support::process::Millstream;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::sqlite;

const PASSWORD: &str = "pa55-w0rd-of-the-role";
const TOKEN: &str = "t0ken-of-the-admin";

/// A shop whose configuration holds two secrets, and which no output may show.
struct Desk {
    shop: Shop,
    config: std::path::PathBuf,
}

impl Desk {
    fn new(name: &str) -> Self {
        let shop = Shop::on(name, Options::new().scram(PASSWORD));
        shop.sql.execute(
            "CREATE TABLE users(id int PRIMARY KEY, email text, born date); ALTER TABLE users REPLICA IDENTITY FULL;
             CREATE TABLE orders(id int PRIMARY KEY, total numeric(10,2));
             INSERT INTO users VALUES (1, 'a@example.org', '1990-02-03'), (2, 'b@example.org', NULL);
             INSERT INTO orders SELECT i, i * 1.5 FROM generate_series(1, 10) i",
        );
        let url = shop.server.socket_url("shop");
        let config = config(
            &shop.dir,
            &format!(
                "sources:\n  shop: {{type: postgres, url: \"{url}\", tables: [public.users, public.orders]}}\n\
                 sinks:\n  billing: {{type: sqlite, path: ./one.db}}\n  mail:\n    type: sqlite\n    path: ./mail.db\n\
                 \x20   tables: [{{topic: shop.public.users, table: people}}]\n"
            ),
        );
        let text = std::fs::read_to_string(&config).expect("read the configuration");
        let text = text.replace("\"}\nsources", &format!("\", token: {TOKEN}}}\nsources"));
        assert!(text.contains(TOKEN) && text.contains(PASSWORD), "{text}");
        std::fs::write(&config, text).expect("write the configuration");
        Self { shop, config }
    }

    /// The service, with the first copy in its targets.
    fn running(&self) -> Millstream {
        let mut running = self.shop.run(&self.config);
        let target = self.shop.target();
        running.wait_until("the copy", PATIENCE, || {
            sqlite::value(&target, "SELECT count(*) FROM orders").as_deref() == Some("10")
                && sqlite::value(&target, "SELECT count(*) FROM users").as_deref() == Some("2")
        });
        running.wait_until("it is ready", PATIENCE, || {
            self.say("status {} --json").expect(0).json()["ready"] == true
        });
        running
    }

    fn say(&self, line: &str) -> Said {
        self.say_fed(line, "")
    }

    /// `{}` in a line is the configuration.
    fn say_fed(&self, line: &str, stdin: &str) -> Said {
        let words: Vec<_> =
            line.split(' ').map(|word| if word == "{}" { "millstream.yaml" } else { word }).collect();
        let said = millstream_fed(self.shop.dir.path(), &words, stdin);
        for output in [&said.stdout, &said.stderr] {
            assert!(!output.contains(PASSWORD) && !output.contains(TOKEN), "{line} shows a secret: {output}");
        }
        said
    }

    fn json(&self, line: &str) -> Value {
        self.say(line).expect(0).json()
    }
}

#[test]
fn without_a_log_commands_say_how_to_begin() {
    let desk = Desk::new("nothing-yet");
    for line in ["status {}", "topics {}", "offsets {} list", "tail {} shop.public.users"] {
        desk.say(line).expect(2).complains(&["mend it with", "millstream run"]);
    }
    desk.say("offsets {} reset billing --to earliest").expect(2).complains(&["no service answers"]);
    let findings = desk.json("check {} --json");
    let severe: Vec<_> =
        findings.as_array().expect("a list").iter().filter(|finding| finding["severity"] != "note").collect();
    // A small disk of the machine is worth a warning, and then `check` would have ended with 3.
    assert!(severe.is_empty(), "{findings}");
    assert!(findings.to_string().contains("postgres-publication-missing"), "{findings}");
}

#[test]
fn with_the_service_down_the_log_is_read() {
    let desk = Desk::new("down");
    desk.shop.catch_up(&desk.config);
    desk.say("status {}").expect(0).prints(&["not running", "shop", "stopped", "billing", "mail"]);
    let status = desk.json("status {} --json");
    assert_eq!(status["uptime_s"], Value::Null);
    assert_eq!(status["ready"], false);
    assert_eq!(status["log"]["engine"], "embedded");
    assert_eq!(status["sinks"][0]["offsets"], json!({"shop.public.orders": 10, "shop.public.users": 2}));
    assert_eq!(status["sinks"][0]["lag"]["records"], 0);

    let topics = desk.json("topics {} --json");
    let names: Vec<_> =
        topics.as_array().expect("a list").iter().map(|topic| (&topic["topic"], &topic["end"])).collect();
    assert_eq!(names, [(&json!("shop.public.orders"), &json!(10)), (&json!("shop.public.users"), &json!(2))]);
    assert_eq!(topics[1]["columns"], json!(["id* integer", "email text", "born date"]));
    desk.say("topics {}").expect(0).prints(&["TOPIC", "shop.public.orders", "id* integer"]);
    let offsets = desk.json("offsets {} list --json");
    assert_eq!(offsets.as_array().map(Vec::len), Some(3), "{offsets}");
    desk.say("offsets {} list").expect(0).prints(&["SINK", "mail", "shop.public.users"]);

    let lines =
        desk.say("tail {} shop.public.orders --from earliest --format json --limit 3").expect(0).json_lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["row"], json!({"id": 2, "total": "3.00"}));
    assert_eq!((&lines[1]["op"], &lines[1]["offset"]), (&json!("r"), &json!(1)));
    let raw = desk.say("tail {} shop.public.orders --from 8 --format raw").expect(0).stdout;
    assert_eq!(raw.lines().count(), 2, "{raw}");
    assert!(
        desk.say("tail {} shop.public.orders").expect(0).stdout.is_empty(),
        "latest, and nothing follows"
    );

    desk.say_fed("produce {} paid --key 7", "{\"order\": 7}\n\nnot json\n")
        .expect(0)
        .complains(&["2 appended to paid"]);
    desk.say("produce {} paid --key 7 --tombstone").expect(0);
    let events = desk.say("tail {} paid --from earliest --format json").expect(0).json_lines();
    let values: Vec<_> = events.iter().map(|event| &event["value"]).collect();
    assert_eq!(values, [&json!({"order": 7}), &json!("not json"), &Value::Null]);
    assert!(events.iter().all(|event| event["key"] == 7), "{events:?}");
    assert_eq!(
        desk.say("tail {} paid --from earliest --format raw --limit 1").expect(0).stdout,
        "{\"order\": 7}\n"
    );

    desk.say("log inspect data --verify").expect(0).prints(&[
        "every checksum is right",
        "shop.public.users",
        "paid",
    ]);
    let inspected = desk.json("log inspect data --verify --json");
    assert!(inspected.to_string().contains("shop.public.orders"), "{inspected}");
    desk.say("log inspect nowhere").expect(2).complains(&["nowhere"]);
    // Only a running service moves a sink.
    desk.say("offsets {} reset billing --to earliest")
        .expect(2)
        .complains(&["no service answers", "millstream run"]);
    // What was read did no harm.
    desk.shop.catch_up(&desk.config);
}

#[test]
fn with_the_service_up_it_is_asked() {
    let desk = Desk::new("up");
    let mut running = desk.running();
    let status = desk.json("status {} --json");
    assert!(status["uptime_s"].is_u64(), "{status}");
    assert_eq!(
        (&status["sources"][0]["state"], &status["sources"][0]["phase"]),
        (&json!("running"), &json!("streaming"))
    );
    desk.say("status {}").expect(0).prints(&["ready", "streaming", "running", "SINK"]);
    let watched = until_it_prints(desk.shop.dir.path(), &["status", "millstream.yaml", "--watch"], |text| {
        text.matches("SOURCE").count() >= 2
    });
    assert!(watched.contains("\u{1b}[2J"), "{watched:?}");
    // The API wants the token; health does not.
    assert_eq!(http::get(&desk.config, "/healthz").map(|(code, _)| code), Some(200));
    for path in ["/api/status", "/metrics", "/readyz", "/api/topics"] {
        let (code, body) = http::get(&desk.config, path).expect("an answer");
        assert!(code == 401 && !body.contains(TOKEN), "{path}: {code} {body}");
    }

    running.stop(PATIENCE);
    assert!(running.stdout().is_empty(), "stdout is for data: {}", running.stdout());
}

#[test]
fn events_are_followed_and_wrong_names_are_answered_with_right_ones() {
    let desk = Desk::new("names");
    let mut running = desk.running();
    // A follower sees what comes.
    let path = desk.shop.dir.path();
    let followed = std::thread::scope(|scope| {
        let args = ["tail", "millstream.yaml", "paid", "--follow", "--format", "raw", "--from", "earliest"];
        let follower = scope.spawn(move || until_it_prints(path, &args, |text| text.lines().count() >= 2));
        std::thread::sleep(Duration::from_millis(300));
        desk.say_fed("produce {} paid", "one\ntwo\n").expect(0).complains(&["2 appended"]);
        follower.join().expect("the follower")
    });
    assert_eq!(followed, "one\ntwo\n");
    let limited =
        desk.say("tail {} shop.public.orders --from earliest --follow --format json --limit 4").expect(0);
    assert_eq!(limited.json_lines().len(), 4);

    // What does not exist is said with what does.
    desk.say("tail {} shop.public.order --from earliest").expect(2).complains(&[
        "no topic",
        "shop.public.orders",
        "shop.public.users",
    ]);
    for line in [
        "offsets {} reset bill --to earliest",
        "dead-letters {} list bill",
        "dead-letters {} retry bill --all",
    ] {
        desk.say(line).expect(2).complains(&["no sink \"bill\"", "billing, mail"]);
    }
    desk.say("offsets {} reset mail --topic shop.public.orders --to earliest")
        .expect(2)
        .complains(&["takes no topic", "name one of: shop.public.users"]);
    desk.say("offsets {} reset mail --to 3").expect(2).complains(&["--topic TOPIC"]);
    desk.say_fed("produce {} shop.public.users", "x").expect(2).complains(&["belongs to the source shop"]);
    desk.say_fed("produce {} bad/name", "x").expect(2).complains(&["name of a topic"]);

    running.stop(PATIENCE);
}

#[test]
fn a_sink_that_is_moved_back_ends_where_it_was() {
    let desk = Desk::new("moved");
    let target = desk.shop.target();
    let mut running = desk.running();
    // Applied again from the beginning: the same result, and an extra row of the target's own is left alone.
    let writer = rusqlite::Connection::open(&target).expect("open the target");
    writer.busy_timeout(Duration::from_secs(5)).expect("set the busy timeout");
    writer.execute_batch("DELETE FROM orders WHERE id = 3; UPDATE users SET email = 'wrong'; INSERT INTO orders VALUES (99, '0')").expect("damage the copy");
    desk.shop
        .sql
        .execute("DELETE FROM users WHERE id = 2; INSERT INTO users VALUES (2, 'c@example.org', NULL)");
    desk.say("offsets {} reset billing --to earliest")
        .expect(0)
        .complains(&["billing goes on from earliest"]);
    let wanted = desk.shop.sql.query_text("SELECT id, email, born FROM users ORDER BY id");
    running.wait_until("it is mended", PATIENCE, || {
        sqlite::rows(&target, "SELECT id, email, born FROM users ORDER BY id") == wanted
            && sqlite::value(&target, "SELECT count(*) FROM orders").as_deref() == Some("11")
    });
    desk.say("offsets {} reset billing --topic shop.public.users --to latest").expect(0);
    desk.say("offsets {} reset mail --to 2020-01-01T00:00:00Z").expect(0);
    let lag = || {
        desk.json("offsets {} list --json")
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| row["lag"].as_u64())
            .sum::<Option<u64>>()
    };
    running.wait_until("no sink is behind", PATIENCE, || lag() == Some(0));
    for secret in [PASSWORD, TOKEN] {
        assert!(
            !running.stderr().contains(secret) && !running.stdout().contains(secret),
            "{}",
            running.stderr()
        );
    }
    running.stop(PATIENCE);
}

#[test]
fn tail_prints_the_envelope_of_debezium() {
    let desk = Desk::new("envelope");
    desk.shop.catch_up(&desk.config);
    desk.shop.sql.execute(
        "INSERT INTO users VALUES (3, 'new@example.org', '2000-01-01'); UPDATE users SET email = NULL WHERE id = 3;
         UPDATE users SET id = 4 WHERE id = 3; DELETE FROM users WHERE id = 4",
    );
    // Statements of one call are one transaction.
    desk.shop.sql.execute("INSERT INTO orders VALUES (11, 5); DELETE FROM orders WHERE id = 1");
    desk.shop.sql.execute("TRUNCATE orders");
    desk.shop.catch_up(&desk.config);
    let lines = desk.say("tail {} shop.public.users --from earliest").expect(0).json_lines();
    let ops: Vec<_> = lines.iter().map(|line| line["value"]["op"].as_str()).collect();
    // Two rows of the copy, insert, update, key change (and the tombstone of the old key), delete and its tombstone.
    assert_eq!(ops[..5], [Some("r"), Some("r"), Some("c"), Some("u"), Some("u")], "{lines:#?}");
    assert_eq!(ops[ops.len() - 2..], [Some("d"), None], "{lines:#?}");

    let read = &lines[0]["value"];
    assert_eq!(read["source"]["snapshot"], "true");
    assert_eq!(read["after"], json!({"id": 1, "email": "a@example.org", "born": 7338}));
    let insert = &lines[2];
    assert_eq!(insert["key"], json!({"id": 3}));
    let value = &insert["value"];
    assert_eq!(value["before"], Value::Null);
    assert_eq!(value["after"], json!({"id": 3, "email": "new@example.org", "born": 10957}));
    let source = &value["source"];
    for (field, wanted) in [
        ("connector", "postgresql"),
        ("name", "shop"),
        ("db", "shop"),
        ("schema", "public"),
        ("table", "users"),
        ("snapshot", "false"),
    ] {
        assert_eq!(source[field], wanted, "{field}: {source}");
    }
    assert!(source["lsn"].is_u64() && source["txId"].is_u64() && source["version"].is_string(), "{source}");
    for block in [value, source] {
        let [ms, us, ns] = ["ts_ms", "ts_us", "ts_ns"].map(|field| block[field].as_i64().expect("a time"));
        assert!(us / 1000 == ms && ns / 1000 == us && ms > 1_600_000_000_000, "{block}");
    }
    assert_eq!(value["transaction"]["id"], source["txId"].to_string());
    let update = &lines[3]["value"];
    assert_eq!(
        update["before"],
        json!({"id": 3, "email": "new@example.org", "born": 10957}),
        "replica identity full"
    );
    assert_eq!(update["after"]["email"], Value::Null);
    let delete = &lines[lines.len() - 2];
    assert_eq!(delete["value"]["after"], Value::Null);
    assert_eq!(delete["value"]["before"], json!({"id": 4, "email": null, "born": 10957}));
    let tombstone = &lines[lines.len() - 1];
    assert_eq!((&tombstone["key"], &tombstone["value"]), (&json!({"id": 4}), &Value::Null));

    // One transaction over the order of its records; and a truncate.
    let orders = desk.say("tail {} shop.public.orders --from 10").expect(0).json_lines();
    let ops: Vec<_> = orders.iter().map(|line| line["value"]["op"].as_str()).collect();
    assert_eq!(ops, [Some("c"), Some("d"), None, Some("t")]);
    assert_eq!(orders[0]["value"]["transaction"]["id"], orders[1]["value"]["transaction"]["id"]);
    assert_eq!(orders[0]["value"]["transaction"]["total_order"], 1);
    assert_eq!(orders[1]["value"]["transaction"]["total_order"], 2);
    assert_eq!(
        orders[1]["value"]["before"],
        json!({"id": 1, "total": null}),
        "the key is all that the source sent"
    );
}

#[test]
fn a_topic_may_have_any_name_that_a_table_has() {
    let shop = Shop::new("odd-topic");
    shop.sql.execute(
        "CREATE TABLE \"a/b?c#d%20 é\"(id int PRIMARY KEY); INSERT INTO \"a/b?c#d%20 é\" VALUES (7)",
    );
    let config = shop.simple("tables: [\"public.*\"]");
    let topic = "shop.public.a/b?c#d%20 é";
    let args = ["tail", "millstream.yaml", topic, "--from", "earliest", "--format", "json"];
    shop.catch_up(&config);
    let down = millstream(shop.dir.path(), &args).expect(0).json_lines();
    let mut running = shop.run(&config);
    running.wait_until("it answers", PATIENCE, || http::get(&config, "/healthz").is_some());
    let up = millstream(shop.dir.path(), &args).expect(0).json_lines();
    assert_eq!(down, up);
    assert_eq!((&up[0]["topic"], &up[0]["row"]), (&json!(topic), &json!({"id": 7})));
    running.stop(PATIENCE);
}

#[test]
fn commands_that_need_nothing_and_wrong_usage() {
    let dir = crate::support::workdir::Workdir::new("usage");
    let say = |line: &str| millstream(dir.path(), &line.split(' ').collect::<Vec<_>>());
    let schema = say("schema").expect(0).json();
    assert!(schema["properties"]["sinks"].is_object(), "{schema}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(say(&format!("completions {shell}")).expect(0).stdout.contains("dead-letters"), "{shell}");
    }
    say("--help").expect(0).prints(&["Exit codes", "status", "docs/CONFIGURATION.md"]);
    say("--version").expect(0).prints(&["millstream"]);
    for line in [
        "frobnicate",
        "run",
        "status",
        "tail a.yaml",
        "tail a.yaml t --from yesterday",
        "completions tcl",
        "status a.yaml --jsn",
    ] {
        let said = say(line).expect(2);
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{line}: {said:?}");
    }
    say("run none.yaml").expect(2).complains(&["none.yaml"]);
    dir.write("bad.yaml", "sources: {shop: {type: postgres, url: \"postgres://u:hidden@h/d\", tabels: [a]}}\nsinks: {a: {type: sqlite, path: a.db}}\n");
    let said = say("check bad.yaml").expect(2).complains(&[
        "bad.yaml:1:",
        "tabels",
        "tables",
        "in the configuration",
    ]);
    assert!(!said.stderr.contains("hidden"), "{}", said.stderr);
    assert!(said.stdout.is_empty());
}
