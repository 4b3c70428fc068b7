//! `millstream demo`: the main job on real servers, told step by step and checked by itself.
//!
//! A throwaway PostgreSQL with a small shop, the embedded log, three SQLite databases of other services, and a fourth service
//! behind a webhook. Nothing outlives it.

mod copies;
mod erasure;
mod receiver;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use connector_api::{Error, Result};
use throwaway_servers::postgres::{Binaries, Options, Postgres, Session};

use copies::Copy;
use receiver::Receiver;

/// How long any step may take before the demo says that it failed.
const PATIENCE: Duration = Duration::from_secs(30);

const SHOP: &str = "
    CREATE TABLE users(id bigserial PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL, phone text, created_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE orders(id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE, amount numeric(12,2) NOT NULL, paid boolean NOT NULL DEFAULT false);
    CREATE TABLE invoices(id bigserial PRIMARY KEY, user_id bigint NOT NULL, bill_to text, email text, total numeric(12,2) NOT NULL);
    INSERT INTO users(email, name, phone) SELECT 'user' || i || '@example.org', 'User ' || lpad(i::text, 4, '0'), '+49 30 ' || 100000 + i FROM generate_series(1, 2000) i;
    INSERT INTO orders(user_id, amount) SELECT 1 + i % 2000, 5 + (i * 37 % 10000) / 100.0 FROM generate_series(1, 6000) i;
    INSERT INTO invoices(user_id, bill_to, email, total) SELECT id, name, email, id * 1.19 FROM users;";

/// The services downstream: what each keeps, as a query on its own database and the same on the shop.
const COPIES: [Copy; 6] = [
    Copy {
        service: "billing",
        sql: "SELECT id, email, full_name FROM customers",
        shop: "SELECT id, email, name FROM users",
    },
    Copy {
        service: "billing",
        sql: "SELECT id, user_id, amount, paid FROM orders",
        shop: "SELECT id, user_id, amount, paid::int FROM orders",
    },
    Copy {
        service: "billing",
        sql: "SELECT id, total FROM invoices",
        shop: "SELECT id, total FROM invoices",
    },
    Copy {
        service: "newsletter",
        sql: "SELECT id, address FROM recipients",
        shop: "SELECT id, email FROM users",
    },
    Copy {
        service: "analytics",
        sql: "SELECT id, email, name, phone FROM users",
        shop: "SELECT id, email, name, phone FROM users",
    },
    Copy {
        service: "analytics",
        sql: "SELECT id, user_id, amount, paid FROM orders",
        shop: "SELECT id, user_id, amount, paid::int FROM orders",
    },
];

/// Runs the demo. The exit code is 0 only when every copy agreed at every step.
///
/// # Errors
/// When PostgreSQL is not installed, or a copy differs.
pub async fn run() -> Result<ExitCode> {
    let told = tokio::task::spawn_blocking(tell).await;
    told.map_err(|error| Error::transient("run the demo").caused_by(error))??;
    Ok(ExitCode::SUCCESS)
}

/// The story.
fn tell() -> Result<()> {
    if Binaries::look().is_none() {
        return Err(Error::config("find the programs of PostgreSQL (initdb, postgres)")
            .with_remedy("apt-get install postgresql    or set MILLSTREAM_PG_BINDIR"));
    }
    let began = Instant::now();
    let mut demo = Demo::set_up()?;
    demo.first_copy()?;
    demo.live_changes()?;
    demo.cross_table_transaction()?;
    demo.schema_change()?;
    demo.killed()?;
    erasure::user_leaves(&mut demo)?;
    demo.stop()?;
    println!("\nEvery copy agreed at every step, in {:.1} s.", began.elapsed().as_secs_f64());
    Ok(())
}

struct Demo {
    /// Runs for as long as the demo.
    server: Postgres,
    shop: Session,
    directory: tempfile::TempDir,
    config: PathBuf,
    service: Child,
    /// The service behind the webhook.
    notified: Receiver,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}

impl Demo {
    fn set_up() -> Result<Demo> {
        step("A shop on PostgreSQL, and four services: three with copies in SQLite, one behind a webhook");
        let server = Postgres::start(Options::new().durable());
        let shop = server.create_database("shop");
        shop.execute(SHOP);
        let directory = tempfile::tempdir().map_err(|error| Error::io("make a directory", error))?;
        let config = directory.path().join("millstream.yaml");
        let notified = Receiver::start()?;
        let yaml = yaml(&server.socket_url("shop"), free_port()?, notified.port);
        std::fs::write(&config, &yaml).map_err(|error| Error::io("write the configuration", error))?;
        note(&format!("PostgreSQL {} with 2,000 users, 6,000 orders and 2,000 invoices", server.major()));
        note("millstream.yaml, all of it:");
        yaml.lines().for_each(|line| println!("      {line}"));
        let service = start(directory.path(), &config)?;
        Ok(Demo { server, shop, directory, config, service, notified })
    }

    fn first_copy(&mut self) -> Result<()> {
        step("millstream run millstream.yaml: the first copy");
        let took = self.agreed()?;
        note(&format!("10,000 rows in six tables of three services, {took}"));
        Ok(())
    }

    fn live_changes(&mut self) -> Result<()> {
        step("Live: 500 new orders, 300 changed e-mail addresses, 100 payments");
        for batch in 0..10 {
            self.shop.execute(&format!(
                "INSERT INTO orders(user_id, amount) SELECT 1 + (i * 7 + {batch}) % 2000, i FROM generate_series(1, 50) i;
                 UPDATE users SET email = 'moved' || id || '.{batch}@example.org' WHERE id % 67 = {batch};
                 UPDATE orders SET paid = true WHERE id BETWEEN {batch} * 10 + 1 AND {batch} * 10 + 10"
            ));
        }
        let took = self.agreed()?;
        note(&format!("all copies agree, {took} after the last commit"));
        Ok(())
    }

    /// One transaction over two tables: no service ever sees half of it.
    fn cross_table_transaction(&mut self) -> Result<()> {
        step("One transaction: a new user with three orders");
        self.shop.execute(
            "BEGIN; INSERT INTO users(id, email, name) VALUES (5000, 'ada@example.org', 'Ada');
             INSERT INTO orders(user_id, amount) SELECT 5000, i FROM generate_series(1, 3) i; COMMIT",
        );
        let billing = self.directory.path().join("billing.db");
        let both = "SELECT (SELECT count(*) FROM customers WHERE id = 5000), (SELECT count(*) FROM orders WHERE user_id = 5000)";
        let began = Instant::now();
        loop {
            match copies::rows(&billing, both)?.first().map(|row| row.join(" and ")).as_deref() {
                Some("1 and 3") => break,
                Some("0 and 0") if began.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_micros(200))
                }
                seen => return Err(Error::data(format!("billing showed half a transaction: {seen:?}"))),
            }
        }
        note(&format!(
            "billing had nothing of it, then all of it, {} after the commit",
            span(began.elapsed())
        ));
        self.agreed().map(drop)
    }

    fn schema_change(&mut self) -> Result<()> {
        step("ALTER TABLE users ADD COLUMN country");
        self.shop.execute(
            "ALTER TABLE users ADD COLUMN country text; UPDATE users SET country = 'NL' WHERE id <= 100",
        );
        let analytics = self.directory.path().join("analytics.db");
        let took = self.until("the new column is filled", || {
            let count = copies::rows(&analytics, "SELECT count(*) FROM users WHERE country = 'NL'");
            Ok(count.is_ok_and(|rows| rows == [["100"]]))
        })?;
        note(&format!(
            "analytics has the column and its 100 values, {took} later; billing, which did not ask for it, has not"
        ));
        self.agreed().map(drop)
    }

    fn killed(&mut self) -> Result<()> {
        step("kill -9 under load, and start again");
        self.shop.execute("UPDATE orders SET amount = amount + 1");
        let _ = self.service.kill();
        let _ = self.service.wait();
        self.shop.execute("UPDATE orders SET amount = amount + 1; DELETE FROM orders WHERE id % 11 = 0");
        self.service = start(self.directory.path(), &self.config)?;
        let took = self.agreed()?;
        note(&format!("nothing lost, nothing twice: all copies agree {took} after the start"));
        Ok(())
    }

    /// Rows about a user in all copies, invoices apart.
    fn found(&self, id: i64) -> Result<usize> {
        COPIES.iter().filter(|copy| !copy.sql.contains("invoices")).try_fold(0, |count, copy| {
            let column = if copy.sql.contains("user_id") { "user_id" } else { "id" };
            let rows = copies::rows(
                &copy.path(self.directory.path()),
                &format!("{} WHERE {column} = {id}", copy.sql),
            )?;
            Ok(count + rows.len())
        })
    }

    fn stop(&mut self) -> Result<()> {
        step("millstream status");
        let status = command()?.arg("status").arg(&self.config).output();
        let status = status.map_err(|error| Error::io("run millstream status", error))?;
        String::from_utf8_lossy(&status.stdout).lines().for_each(|line| println!("      {line}"));
        let pid = rustix::process::Pid::from_child(&self.service);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let ended = self.service.wait().map_err(|error| Error::io("wait for millstream", error))?;
        if ended.success() { Ok(()) } else { Err(Error::transient(format!("millstream ended with {ended}"))) }
    }

    /// Waits until every copy equals the shop; says how long that took.
    fn agreed(&mut self) -> Result<String> {
        let began = Instant::now();
        let mut differing = None;
        while began.elapsed() < PATIENCE {
            differing = copies::differing(&COPIES, &self.shop, self.directory.path())?;
            if differing.is_none() {
                return Ok(span(began.elapsed()));
            }
            if let Ok(Some(ended)) = self.service.try_wait() {
                return Err(Error::transient(format!("millstream ended with {ended}")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(Error::data(format!(
            "after {PATIENCE:?} a copy still differs: {}",
            differing.unwrap_or_default()
        )))
    }

    fn until(&self, what: &str, done: impl Fn() -> Result<bool>) -> Result<String> {
        let began = Instant::now();
        while !done()? {
            if began.elapsed() > PATIENCE {
                return Err(Error::data(format!("not within {PATIENCE:?}: {what}")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(span(began.elapsed()))
    }
}

fn yaml(url: &str, port: u16, hook: u16) -> String {
    format!(
        "admin: {{listen: \"127.0.0.1:{port}\"}}
sources:
  shop: {{type: postgres, url: \"{url}\", tables: [\"public.*\"]}}
sinks:
  billing:
    type: sqlite
    path: billing.db
    tables:
      - {{topic: shop.public.users, table: customers, columns: {{id: id, email: email, name: full_name}}}}
      - {{topic: shop.public.orders}}
      - {{topic: shop.public.invoices}}
  newsletter:
    type: sqlite
    path: newsletter.db
    tables:
      - {{topic: shop.public.users, table: recipients, columns: {{id: id, email: address}}}}
  analytics: {{type: sqlite, path: analytics.db, tables: [{{topic: shop.public.users}}, {{topic: shop.public.orders}}]}}
  notifications:
    type: http
    url: \"http://127.0.0.1:{hook}/hook\"
    batch: {{max_records: 200}}
    tables: [{{topic: shop.public.users, table: people, columns: {{id: id, name: name, phone: phone}}}}]
{erasure}",
        erasure = erasure::YAML
    )
}

fn command() -> Result<Command> {
    let program = std::env::current_exe().map_err(|error| Error::io("find this program", error))?;
    Ok(Command::new(program))
}

fn start(directory: &Path, config: &Path) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(directory.join("millstream.log"));
    let log = log.map_err(|error| Error::io("open millstream.log", error))?;
    let mut command = command()?;
    command
        .arg("run")
        .arg(config)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.spawn().map_err(|error| Error::io("start millstream", error))
}

fn free_port() -> Result<u16> {
    let bound = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| Error::io("find a free port", error))
}

fn step(what: &str) {
    println!("\n== {what}");
}

fn note(what: &str) {
    println!("   {what}");
}

fn span(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
