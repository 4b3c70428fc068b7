//! The surroundings: the source, a server for each kind of target, and one configuration for all of them.

use std::path::PathBuf;
use std::thread::{scope, sleep};
use std::time::Duration;

use serde_json::Value;
use throwaway_servers::mariadb::{self, MariaDb};
use throwaway_servers::redis::Redis;

use crate::fanout::copies::{self, Rows, TABLES, Table};
use crate::support::command::{Said, millstream};
use crate::support::http;
use crate::support::postgres::{Options, Postgres};
use crate::support::process::Millstream;
use crate::support::shop::{PATIENCE, Shop};
use crate::support::skip::skip;
use crate::support::webhook::Receiver;

/// A kind of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Postgres,
    MariaDb,
    Redis,
    Webhook,
    Sqlite,
}

pub const ALL: &[Kind] = &[Kind::Postgres, Kind::MariaDb, Kind::Redis, Kind::Webhook, Kind::Sqlite];

impl Kind {
    /// The name of its sink.
    pub fn sink(self) -> &'static str {
        match self {
            Kind::Postgres => "billing",
            Kind::MariaDb => "warehouse",
            Kind::Redis => "cache",
            Kind::Webhook => "hook",
            Kind::Sqlite => "file",
        }
    }
}

/// Every kind but one.
pub fn others(kind: Kind) -> Vec<Kind> {
    ALL.iter().copied().filter(|other| *other != kind).collect()
}

/// The tables of the shop. Every write takes a new `version`, so that an audit can tell a change applied twice.
const SCHEMA: &str = "
    CREATE SEQUENCE v;
    CREATE TABLE accounts(id bigint PRIMARY KEY, balance bigint NOT NULL, version bigint NOT NULL DEFAULT nextval('v'));
    CREATE TABLE orders(id bigint PRIMARY KEY, lines int NOT NULL, version bigint NOT NULL DEFAULT nextval('v'));
    CREATE TABLE \"order lines\"(order_id bigint, line int, text text, version bigint NOT NULL DEFAULT nextval('v'),
        PRIMARY KEY (order_id, line));
    CREATE TABLE products(id int PRIMARY KEY, name varchar(80) NOT NULL, price numeric(10,2), active boolean, made date,
        seen timestamptz, uid uuid, tags jsonb, photo bytea, version bigint NOT NULL DEFAULT nextval('v'));";

/// What all accounts hold together, for each of them: transfers never change it.
pub const BALANCE: u64 = 1_000;

/// One source and five targets.
pub struct Fan {
    pub shop: Shop,
    pub postgres: Postgres,
    pub mariadb: MariaDb,
    pub redis: Redis,
    pub hook: Receiver,
    pub config: PathBuf,
}

impl Fan {
    /// `None`, and the test counts as skipped, where a server is not installed.
    pub fn new(test: &str) -> Option<Self> {
        let full = format!("fanout::{test}");
        if !MariaDb::is_installed() {
            skip(&full, "MariaDB is not installed: apt-get install mariadb-server-core");
            return None;
        }
        if !Redis::is_installed() {
            skip(&full, "Redis is not installed: apt-get install redis-server");
            return None;
        }
        let (shop, postgres, mariadb, redis) = scope(|scope| {
            let postgres = scope.spawn(|| {
                let server = Postgres::start(Options::new());
                server.create_database("billing");
                server
            });
            let mariadb = scope.spawn(mariadb);
            let redis = scope.spawn(|| Redis::start(&[]));
            let shop = Shop::new("fan");
            shop.sql.execute(SCHEMA);
            let join = "the server started";
            (shop, postgres.join().expect(join), mariadb.join().expect(join), redis.join().expect(join))
        });
        let mut fan =
            Self { shop, postgres, mariadb, redis, hook: Receiver::start(), config: PathBuf::new() };
        let sinks: String = ALL.iter().map(|kind| fan.sink(*kind, "")).collect();
        fan.config = fan.shop.config("tables: [\"public.*\"]", &sinks);
        Some(fan)
    }

    /// A sink of the configuration, with more options (`, key: value`).
    pub fn sink(&self, kind: Kind, more: &str) -> String {
        let options = match kind {
            Kind::Postgres => format!("type: postgres, url: \"{}\"", self.postgres.socket_url("billing")),
            Kind::MariaDb => {
                let url = self.mariadb.socket_url("warehouse").replace("root@", "millstream@");
                format!("type: mysql, url: \"{url}\"")
            }
            Kind::Redis => format!("type: redis, url: \"{}\"", self.redis.url()),
            Kind::Webhook => format!(
                "type: http, url: \"{}\", batch: {{max_records: 50}}, retry: {{first: 20ms, max: 500ms}}",
                self.hook.url()
            ),
            Kind::Sqlite => "type: sqlite, path: ./file.db".to_owned(),
        };
        format!("  {}: {{{options}{more}}}\n", kind.sink())
    }

    /// `count` rows in each table, and three lines for each order.
    pub fn fill(&self, count: u64) {
        self.shop.sql.execute(&format!(
            "INSERT INTO accounts SELECT i, {BALANCE} FROM generate_series(1, {count}) i;
             INSERT INTO orders SELECT i, 3 FROM generate_series(1, {count}) i;
             INSERT INTO \"order lines\" SELECT i, j, repeat('text ', j) FROM generate_series(1, {count}) i, generate_series(1, 3) j;
             INSERT INTO products SELECT i, 'Käse №' || i, i * 1.25, i % 2 = 0, date '2020-01-01' + i, timestamptz '2024-03-01 10:00:00+00' + i * interval '1.000001 s',
               md5(i::text)::uuid, jsonb_build_object('n', i, 'of', jsonb_build_array('a', NULL, i)), decode(md5(i::text), 'hex') FROM generate_series(1, {count}) i"
        ));
    }

    /// The rows of a copy now.
    pub fn rows(&self, kind: Kind, table: &Table) -> Rows {
        match kind {
            Kind::Postgres => copies::postgres(&self.postgres.session("billing"), table),
            Kind::MariaDb => copies::mariadb(&self.mariadb.session("warehouse"), table),
            Kind::Redis => copies::redis(&self.redis.url(), table),
            Kind::Webhook => copies::webhook(&self.hook, table),
            Kind::Sqlite => copies::sqlite(&self.shop.dir.join("file.db"), table),
        }
    }

    /// What the source holds, table by table.
    pub fn source(&self) -> Vec<Rows> {
        TABLES.iter().map(|table| copies::postgres(&self.shop.sql, table)).collect()
    }

    fn difference(&self, kind: Kind, source: &[Rows]) -> Option<String> {
        TABLES.iter().zip(source).find_map(|(table, wanted)| {
            let found = self.rows(kind, table);
            let lacks = wanted.iter().find(|row| found.binary_search(row).is_err());
            let extra = found.iter().find(|row| wanted.binary_search(row).is_err());
            let differs = wanted.len() != found.len() || lacks.is_some() || extra.is_some();
            differs.then(|| {
                let (wanted, found) = (wanted.len(), found.len());
                format!("{kind:?} {}: {found} rows of {wanted}; lacks {lacks:?}; has {extra:?}", table.name)
            })
        })
    }

    /// Panics, with a row that differs, unless these copies equal the source.
    pub fn equal(&self, kinds: &[Kind]) {
        let source = self.source();
        for kind in kinds {
            assert_eq!(self.difference(*kind, &source), None);
        }
    }

    /// Waits until these copies equal the source, which nobody changes meanwhile.
    pub fn settle(&self, running: &mut Millstream, kinds: &[Kind]) {
        self.settle_as(running, kinds, &self.source());
    }

    /// The same with what the source held.
    pub fn settle_as(&self, running: &mut Millstream, kinds: &[Kind], source: &[Rows]) {
        for kind in kinds {
            let mut last = None;
            let deadline = std::time::Instant::now() + PATIENCE;
            loop {
                let difference = self.difference(*kind, source);
                if difference.is_none() {
                    break;
                }
                last = difference.or(last);
                assert!(running.is_running(), "it ended: {}", running.stderr());
                let status = http::status(&self.config);
                assert!(std::time::Instant::now() < deadline, "{last:?}\n{status:?}");
                sleep(Duration::from_millis(100));
            }
        }
    }

    /// One sink in `/api/status`.
    pub fn status(&self, kind: Kind) -> Value {
        let status = http::status(&self.config).expect("the service answers");
        let sinks = status["sinks"].as_array().expect("a list").clone();
        sinks.into_iter().find(|sink| sink["name"] == kind.sink()).expect("the sink is listed")
    }

    /// Waits until `/readyz` says that all is well.
    pub fn ready(&self, running: &mut Millstream) {
        running.wait_until("it is ready", PATIENCE, || {
            http::get(&self.config, "/readyz").is_some_and(|(code, _)| code == 200)
        });
    }

    /// `millstream dead-letters millstream.yaml …`.
    pub fn letters(&self, args: &[&str]) -> Said {
        let mut words = vec!["dead-letters", "millstream.yaml"];
        words.extend(args);
        millstream(self.shop.dir.path(), &words).expect(0)
    }
}

fn mariadb() -> MariaDb {
    // Durable: what it has answered survives its SIGKILL.
    let server = MariaDb::start(mariadb::Options::new().durable());
    server.create_database("warehouse");
    // Not root, which may write to a server that is read-only.
    server.session("").execute(
        "CREATE USER millstream@localhost; GRANT ALL ON warehouse.* TO millstream@localhost; GRANT PROCESS ON *.* TO millstream@localhost",
    );
    server
}
