//! Into MariaDB: end to end by millstream beside sqlx alone, multi-row upserts by 1,000 over one connection.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions, MySql, QueryBuilder};
use throwaway_servers::mariadb::{MariaDb, Options as Settings, Session};
use tokio::runtime::{Builder, Runtime};

use crate::contest::{self, Names, Reference, Round};
use crate::measure::{Error, Run};
use crate::rows::{self, Row};
use crate::source::Source;
use crate::subject::{Target, quote, sink};
use crate::workload::{Backlog, Sizes};
use crate::{Options, Part};

const TABLE: &str = "CREATE TABLE bench(id bigint PRIMARY KEY, name text, email text, amount decimal(12,2), n int, \
     created_at datetime(6), active bool)";

const GROUP: usize = 1000;

pub fn measure(options: &Options, subject: Option<&Path>) -> Result<(), Error> {
    if !MariaDb::is_installed() {
        return Err("MariaDB is not on this machine: apt-get install mariadb-server-core".into());
    }
    let sizes = Sizes::with_inserts(if options.quick { 20_000 } else { 300_000 });
    let server = Rc::new(MariaDb::start(
        Settings::new()
            .durable()
            .setting("--innodb-buffer-pool-size=512M")
            .setting("--innodb-log-file-size=1G"),
    ));
    let names = Names { target: "MariaDB", reference: "bare sqlx, multi-row upserts by 1,000", goal: "" };
    contest::measure(options, subject, &names, &[Part::W1, Part::W2], sizes, |place| {
        let over = if place.transport == crate::source::Transport::Tcp { "tcp" } else { "socket" };
        let name = |role: &str| format!("{role}_{over}_{}", place.number);
        // The transport is the source's: the target is reached by TCP.
        let url = |name: &str| server.url(name).replace("localhost", "127.0.0.1");
        let pipeline = place.pipeline("into_mariadb", || {
            let name = name("ours");
            let session = server.create_database(&name);
            let sink = sink("out", "mysql", &format!("url: {}", quote(&(url(&name) + "?ssl-mode=disabled"))));
            Ok((sink, Database { _server: server.clone(), session }))
        })?;
        let bare = |role: &str| -> Result<Box<dyn Reference>, Error> {
            let name = name(role);
            server.create_database(&name).execute(TABLE);
            Ok(Box::new(Bare::connect(&(url(&name) + "?ssl-mode=disabled"), sizes)?))
        };
        Ok(Round { pipeline, reference: bare("bare")?, control: bare("control")? })
    })
}

struct Database {
    _server: Rc<MariaDb>,
    session: Session,
}

impl Target for Database {
    fn has(&mut self, backlog: &Backlog, _changes: u64) -> bool {
        let query = format!("SELECT 1 FROM bench WHERE id = {}", backlog.sentinel);
        self.session.try_query_text(&query).is_ok_and(|rows| !rows.is_empty())
    }

    fn check(&mut self, source: &Source) -> Result<(), Error> {
        let digest = "SELECT concat(count(*), '/', sum(id), '/', sum(n)) FROM bench";
        let (wanted, found) = (source.digest(), self.session.value(digest));
        if wanted == found {
            return Ok(());
        }
        Err(format!("the copy in MariaDB differs (rows/ids/n): source {wanted}, target {found}").into())
    }
}

/// What a careful engineer would write against the driver.
struct Bare {
    runtime: Runtime,
    connection: MySqlConnection,
    sizes: Sizes,
}

impl Bare {
    fn connect(url: &str, sizes: Sizes) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let options: MySqlConnectOptions = url.parse()?;
        let connection = runtime.block_on(options.disable_statement_logging().connect())?;
        Ok(Self { runtime, connection, sizes })
    }
}

impl Reference for Bare {
    fn take(&mut self, _: &Source, part: Part, _: &Backlog, changes: u64) -> Result<Run, Error> {
        let rows = rows::upserts(part, changes - 1, self.sizes.inserts);
        let start = Instant::now();
        for group in rows.chunks(GROUP) {
            self.runtime.block_on(upsert(&mut self.connection, group))?;
        }
        Ok(Run { changes: rows.len() as u64, seconds: start.elapsed().as_secs_f64(), ..Run::default() })
    }
}

/// One statement, and by itself one transaction.
async fn upsert(connection: &mut MySqlConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    let mut query: QueryBuilder<MySql> =
        QueryBuilder::new("INSERT INTO bench(id, name, email, amount, n, created_at, active) ");
    query.push_values(rows, |mut values, row| {
        values.push_bind(row.id).push_bind(&row.name).push_bind(&row.email).push_bind(&row.amount);
        values.push_bind(row.n).push_bind(&row.created_at).push_bind(row.active);
    });
    query.push(
        " ON DUPLICATE KEY UPDATE name = VALUES(name), email = VALUES(email), amount = VALUES(amount), \
         n = VALUES(n), created_at = VALUES(created_at), active = VALUES(active)",
    );
    query.build().execute(connection).await.map(drop)
}
