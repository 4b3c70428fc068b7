//! The source server of a benchmark: durable, with room for the whole backlog, and quiet apart from the load.

use std::fmt;

use crate::workload::TABLE;
use throwaway_servers::postgres::{Options, Postgres, Session};

/// The publication that everything reads.
pub const PUBLICATION: &str = "bench_publication";

/// How a reader reaches the source.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Socket,
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Socket { "Unix socket" } else { "TCP" })
    }
}

pub struct Source {
    pub server: Postgres,
    pub session: Session,
}

impl Source {
    /// Starts a server with the table `bench` in a database `bench`, and its publication.
    pub fn start() -> Self {
        let options = Options::new()
            .durable()
            .set("shared_buffers", "512MB")
            .set("max_wal_size", "32GB")
            .set("checkpoint_timeout", "1h")
            .set("autovacuum", "off")
            .set("track_commit_timestamp", "on")
            .set("max_replication_slots", "100")
            .set("max_wal_senders", "100");
        let server = Postgres::start(options);
        let session = server.create_database("bench");
        session.execute(TABLE);
        session.execute(&format!("CREATE PUBLICATION {PUBLICATION} FOR TABLE bench"));
        Self { server, session }
    }

    /// Creates a slot behind the publication: in this order, else the publication is not known at the slot's start.
    pub fn create_slot(&self, name: &str) {
        self.session.execute(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"));
    }

    pub fn drop_slot(&self, name: &str) {
        self.session.execute(&format!("SELECT pg_drop_replication_slot('{name}')"));
    }

    /// Moves a slot that nobody reads past a backlog.
    pub fn skip(&self, slot: &str, end: &str) {
        self.session.execute(&format!("SELECT pg_replication_slot_advance('{slot}', '{end}')"));
    }

    /// Whether a reader has confirmed all up to a position.
    pub fn has_confirmed(&self, slot: &str, end: &str) -> bool {
        let query = format!(
            "SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name = '{slot}'"
        );
        self.session.value(&query) == "t"
    }

    /// The walsender that serves a slot.
    pub fn sender(&self, slot: &str) -> Option<u32> {
        let query = format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{slot}'");
        self.session.query_text(&query).into_iter().flatten().next()??.parse().ok()
    }

    pub fn url(&self, transport: Transport) -> String {
        match transport {
            Transport::Socket => self.server.socket_url("bench"),
            // By address: a look-up of `localhost` may try IPv6 first.
            Transport::Tcp => self.server.url("bench").replace("localhost", "127.0.0.1") + "?sslmode=disable",
        }
    }

    /// The transport as libpq wants it, for a subscription.
    pub fn conninfo(&self, transport: Transport) -> String {
        let host = match transport {
            Transport::Socket => self.server.socket().display().to_string(),
            Transport::Tcp => "127.0.0.1".to_owned(),
        };
        format!("host={host} port={} dbname=bench user=postgres", self.server.port())
    }

    /// What the table holds: the number of rows and sums that a missed or doubled change moves.
    pub fn digest(&self) -> String {
        self.session.value("SELECT count(*) || '/' || sum(id) || '/' || sum(n) FROM bench")
    }
}
