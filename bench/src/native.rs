//! The reference for latency: PostgreSQL's own logical replication into a second server.

use crate::source::{PUBLICATION, Source};
use crate::workload::TABLE;
use throwaway_servers::postgres::{Options, Postgres, Session};

const SUBSCRIPTION: &str = "bench_subscription";

/// A second server, subscribed.
pub struct Subscriber {
    _server: Postgres,
    session: Session,
}

impl Subscriber {
    /// Subscribes a new server by the Unix socket, without an initial copy.
    pub fn start(source: &Source) -> Self {
        // A worker that starts anew waits this long, 5 s by default: that would not be replication's latency.
        let server = Postgres::start(Options::new().durable().set("wal_retrieve_retry_interval", "50ms"));
        let session = server.create_database("bench");
        session.execute(TABLE);
        let source = &source.server;
        session.execute(&format!(
            "CREATE SUBSCRIPTION {SUBSCRIPTION} CONNECTION 'host={} port={} dbname=bench user=postgres' \
             PUBLICATION {PUBLICATION} WITH (copy_data = false)",
            source.socket().display(),
            source.port()
        ));
        Self { _server: server, session }
    }

    /// The greatest id that is visible; 0 when there is none.
    pub fn newest(&self) -> u64 {
        self.session.value("SELECT coalesce(max(id), 0) FROM bench").parse().unwrap_or(0)
    }

    /// Drops the subscription and, with it, its slot at the source.
    pub fn stop(self) {
        self.session.execute(&format!("DROP SUBSCRIPTION {SUBSCRIPTION}"));
    }
}
