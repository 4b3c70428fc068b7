//! How the sink's sessions are made: one process, and of it only this start, writes to a target for a sink.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::Duration;

use connector_api::{Error, Kind, Result};

use super::names::{literal, quote};
use super::options::Options;
use super::session::Session;
use crate::catalog::{flag, text};

/// How long a session of an earlier start is waited for. A server notices at once that its client died, but not in the
/// middle of a statement.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_STEP: Duration = Duration::from_millis(50);

/// A session with everything set that the sink relies on.
pub(super) async fn open(options: &Options) -> Result<Session> {
    let mut session = Session::open(&options.target()?).await?;
    let doing = "set up session";
    // A generic plan finds rows by the key's index however many there are, and is made once. Triggers find the schema's
    // tables as they would for an application of it.
    let sql = format!(
        "SET standard_conforming_strings = on; SET search_path = {}; SET plan_cache_mode = force_generic_plan; \
         SET jit = off; SET lock_timeout = {}",
        quote(&options.schema),
        options.lock_timeout.duration().as_millis()
    );
    session.query(doing, &sql).await?;
    if options.replica {
        let set = session.query(doing, "SET session_replication_role = replica").await;
        set.map_err(|error| match crate::error::sqlstate(&error) {
            Some("42501") => Error::config(error.to_string()).with_remedy(format!(
                "as a superuser (PostgreSQL 15 or newer): GRANT SET ON PARAMETER session_replication_role TO {}; or set replica: false for this sink",
                options.target().map(|target| quote(&target.user)).unwrap_or_default()
            )),
            _ => error,
        })?;
    }
    Ok(session)
}

/// The locks of one sink: numbers that its name and schema come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locks {
    process: i64,
    lanes: i64,
}

impl Locks {
    pub(super) fn of(schema: &str, sink: &str) -> Locks {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let bytes = schema.bytes().chain([0]).chain(sink.bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, step);
        Locks { process: hash as i64, lanes: hash.rotate_left(32) as i64 ^ 1 }
    }

    /// Makes sure that no session of an earlier start is still at work: its commit would come after the cursor was read,
    /// and its changes would be applied twice (I3). Held until the session ends.
    ///
    /// # Errors
    /// [`Kind::Transient`], with the session to end.
    pub(super) async fn take_over(self, session: &mut Session) -> Result<()> {
        let sql = |key: i64| format!("SELECT pg_try_advisory_lock({key})");
        self.wait_for(session, self.process, &sql(self.process)).await?;
        self.wait_for(session, self.lanes, &sql(self.lanes)).await?;
        session.query("unlock sink", &format!("SELECT pg_advisory_unlock({})", self.lanes)).await?;
        self.join(session).await
    }

    /// Marks a session as one of this start.
    pub(super) async fn join(self, session: &mut Session) -> Result<()> {
        let sql = format!("SELECT pg_try_advisory_lock_shared({})", self.lanes);
        self.wait_for(session, self.lanes, &sql).await
    }

    async fn wait_for(self, session: &mut Session, key: i64, sql: &str) -> Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            let rows = session.query("lock sink", sql).await?;
            if rows.first().is_some_and(|row| flag(row, 0)) {
                return Ok(());
            }
            if waited >= LOCK_PATIENCE {
                return Err(self.held(session, key).await);
            }
            tokio::time::sleep(LOCK_STEP).await;
            waited += LOCK_STEP;
        }
    }

    async fn held(self, session: &mut Session, key: i64) -> Error {
        let sql = format!(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_backend_pid() \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND (classid::bigint << 32 | objid::bigint) = {key}"
        );
        let rows = session.query("lock sink", &sql).await.unwrap_or_default();
        let pid = rows.first().map_or("?", |row| text(row, 0));
        Error::new(
            Kind::Transient,
            format!("lock sink: session {pid} of the target writes for this sink, from another process or an earlier start"),
        )
        .with_remedy(format!("stop the other process, or: SELECT pg_terminate_backend({pid});"))
    }
}

/// A statement that reads what a sink wrote before: which topics go to which tables.
pub(super) fn known_tables_sql(schema: &str, sink: &str) -> String {
    format!(
        "SELECT topic, name FROM {} WHERE sink = {} ORDER BY topic, name",
        super::names::qualified(schema, "_millstream_tables"),
        literal(sink)
    )
}
