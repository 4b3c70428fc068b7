//! Into Postgres: end to end by millstream beside a native subscription into another server of the same settings (P3).

use std::path::Path;
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use throwaway_servers::postgres::{Options as Settings, Postgres, Session};

use crate::contest::{self, Names, Place, Reference, Round};
use crate::measure::{Error, Run, cpu_seconds};
use crate::source::{PUBLICATION, Source, Transport};
use crate::subject::{Target, quote, sink};
use crate::workload::{Backlog, Sizes, TABLE};
use crate::{Options, Part};

/// How long a subscription may take for a backlog.
const LIMIT: Duration = Duration::from_secs(900);

pub fn measure(options: &Options, subject: Option<&Path>) -> Result<(), Error> {
    let ours = Rc::new(server());
    let native = Rc::new(server());
    let names = Names {
        target: "Postgres",
        reference: "native subscription (`wal_retrieve_retry_interval` 50 ms, its own default of asynchronous commits)",
        goal: "P3 ",
    };
    let parts = [Part::W1, Part::W2, Part::W3];
    contest::measure(options, subject, &names, &parts, Sizes::for_sinks(options.quick), |place| {
        Ok(Round {
            pipeline: place.pipeline("into_postgres", || {
                let database = Database::create(&ours, &name("ours", place));
                database.session.execute(TABLE);
                Ok((database.sink(place.transport), database))
            })?,
            reference: Box::new(Subscription::create(place, &native, "native")),
            control: Box::new(Subscription::create(place, &native, "control")),
        })
    })
}

/// A target server: durable, and without a checkpoint within a run, as the source is.
pub fn server() -> Postgres {
    Postgres::start(
        Settings::new()
            .durable()
            .set("shared_buffers", "512MB")
            .set("max_wal_size", "16GB")
            .set("checkpoint_timeout", "1h")
            .set("autovacuum", "off")
            // A subscription's worker that starts anew waits this long, 5 s by default: that is not replication's rate.
            .set("wal_retrieve_retry_interval", "50ms"),
    )
}

fn name(role: &str, place: &Place<'_>) -> String {
    let kind = if place.transport == Transport::Tcp { "tcp" } else { "socket" };
    format!("{role}_{kind}_{}", place.number)
}

/// A database of a target server.
pub struct Database {
    server: Rc<Postgres>,
    pub session: Session,
    name: String,
}

impl Database {
    pub fn create(server: &Rc<Postgres>, name: &str) -> Self {
        let session = server.create_database(name);
        Self { server: server.clone(), session, name: name.to_owned() }
    }

    /// A Postgres sink that fills it.
    pub fn sink(&self, transport: Transport) -> String {
        let url = match transport {
            Transport::Socket => self.server.socket_url(&self.name),
            Transport::Tcp => {
                self.server.url(&self.name).replace("localhost", "127.0.0.1") + "?sslmode=disable"
            }
        };
        sink("out", "postgres", &format!("url: {}", quote(&url)))
    }

    fn sees(&self, id: u64) -> bool {
        // The table may not be there yet.
        self.session
            .try_query_text(&format!("SELECT 1 FROM bench WHERE id = {id}"))
            .is_ok_and(|rows| !rows.is_empty())
    }

    pub fn compare(&self, source: &Source) -> Result<(), Error> {
        // Every value of every row.
        let digest =
            "SELECT count(*) || '/' || coalesce(sum(hashtextextended(b::text, 0)::numeric), 0) FROM bench b";
        let (wanted, found) = (source.session.value(digest), self.session.value(digest));
        if wanted == found {
            return Ok(());
        }
        Err(format!("{}: the copy differs (rows/hash): source {wanted}, target {found}", self.name).into())
    }
}

impl Target for Database {
    fn begin(&mut self) {
        // The pages that another run left dirty are not this one's.
        self.session.execute("CHECKPOINT");
    }

    fn has(&mut self, backlog: &Backlog, _changes: u64) -> bool {
        self.sees(backlog.sentinel)
    }

    fn servants(&mut self) -> Vec<u32> {
        let query =
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let rows = self.session.query_text(query);
        rows.into_iter().flatten().flatten().filter_map(|pid| pid.parse().ok()).collect()
    }

    fn check(&mut self, source: &Source) -> Result<(), Error> {
        self.compare(source)
    }
}

/// A native subscription that works only while it is measured.
struct Subscription {
    database: Database,
    name: String,
}

impl Subscription {
    /// Subscribes a new database; its slot begins here.
    fn create(place: &Place<'_>, server: &Rc<Postgres>, role: &str) -> Self {
        let name = place.slot(role);
        let database = Database::create(server, &name);
        database.session.execute(TABLE);
        database.session.execute(&format!(
            "CREATE SUBSCRIPTION {name} CONNECTION '{}' PUBLICATION {PUBLICATION} WITH (copy_data = false, \
             create_slot = false, slot_name = '{name}', enabled = false)",
            place.source.conninfo(place.transport)
        ));
        Self { database, name }
    }

    fn worker(&self) -> Option<u32> {
        let query = format!("SELECT pid FROM pg_stat_subscription WHERE subname = '{}'", self.name);
        self.database.session.query_text(&query).into_iter().flatten().next()??.parse().ok()
    }

    /// Waits until the apply worker and its walsender are gone.
    fn disable(&self, source: &Source) -> Result<(), Error> {
        self.database.session.execute(&format!("ALTER SUBSCRIPTION {} DISABLE", self.name));
        let asked = Instant::now();
        while source.sender(&self.name).is_some() {
            if asked.elapsed() > Duration::from_secs(60) {
                return Err(format!("the subscription {} does not end", self.name).into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Reference for Subscription {
    fn take(&mut self, source: &Source, _: Part, backlog: &Backlog, changes: u64) -> Result<Run, Error> {
        self.database.begin();
        let start = Instant::now();
        self.database.session.execute(&format!("ALTER SUBSCRIPTION {} ENABLE", self.name));
        while !self.database.sees(backlog.sentinel) {
            if start.elapsed() > LIMIT {
                return Err(format!("the subscription {} has not arrived after {LIMIT:?}", self.name).into());
            }
            sleep(Duration::from_millis(3));
        }
        let seconds = start.elapsed().as_secs_f64();
        let target_cpu = self.worker().and_then(cpu_seconds);
        let sender_cpu = source.sender(&self.name).and_then(cpu_seconds);
        self.disable(source)?;
        Ok(Run { changes, seconds, target_cpu, sender_cpu, ..Run::default() })
    }

    fn check(&mut self, source: &Source) -> Result<(), Error> {
        self.database.compare(source)
    }
}
