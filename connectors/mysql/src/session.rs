//! One connection, with everything of a session that could change what a statement means set explicitly.

use std::time::Duration;

use connector_api::{Error, Result};
use futures_util::TryStreamExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlQueryResult, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Either, Row};
use tokio::time::timeout;

use crate::error::Failure;
use crate::options::Options;

/// How long the server may take to let us in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one statement may take: behind it the connection is taken for dead.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(600);

/// Strict, so that a value that does not fit is an error and never cut; without the modes that change what a quote or a
/// backslash means; 0 is a value and not a wish for the next number.
const SQL_MODE: &str = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ERROR_FOR_DIVISION_BY_ZERO,\
                        NO_ZERO_DATE,NO_ZERO_IN_DATE";

/// What the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// MariaDB, and not MySQL.
    pub mariadb: bool,
    /// Its version, as it says it.
    pub version: String,
    /// Most bytes of one statement.
    pub packet: usize,
    /// The collation in which texts are equal only when their bytes are.
    pub exact: String,
    /// `lower_case_table_names`: 0 when names of tables have case.
    pub lower_case: u32,
    /// The connection's database.
    pub database: String,
    /// Statements go to the binary log as text, which READ COMMITTED cannot have.
    pub statement_log: bool,
    /// The server's number for this connection.
    pub connection: u64,
}

impl Server {
    /// The name as the server's catalog has it.
    pub fn table_name(&self, name: &str) -> String {
        match self.lower_case {
            1 => name.to_lowercase(),
            _ => name.to_owned(),
        }
    }
}

/// A connection that speaks the text protocol. Statements stay out of every log: they hold values.
#[derive(Debug)]
pub struct Session {
    connection: MySqlConnection,
    /// What is at the other end.
    pub server: Server,
}

impl Session {
    /// Connects and sets the session up.
    ///
    /// # Errors
    /// [`connector_api::Kind::Auth`] or [`connector_api::Kind::Config`] when a person has to act.
    pub async fn open(options: &Options) -> Result<Session> {
        Self::connect(options).await.map_err(|failure| failure.into_error("connect to the database"))
    }

    async fn connect(options: &Options) -> Result<Session, Failure> {
        let wanted: MySqlConnectOptions = options
            .connect_options()?
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .charset("utf8mb4")
            .disable_statement_logging();
        let slow = || Error::transient(format!("no answer in {} s", CONNECT_TIMEOUT.as_secs()));
        let connection = timeout(CONNECT_TIMEOUT, wanted.connect()).await.map_err(|_| slow())??;
        let server = Server {
            mariadb: false,
            version: String::new(),
            packet: 1 << 20,
            exact: "utf8mb4_bin".to_owned(),
            lower_case: 0,
            database: String::new(),
            statement_log: false,
            connection: 0,
        };
        let mut session = Session { connection, server };
        session.look().await?;
        session.configure().await?;
        Ok(session)
    }

    async fn look(&mut self) -> Result<(), Failure> {
        const LOOK: &str = "SELECT VERSION(), @@max_allowed_packet, @@lower_case_table_names, DATABASE(), CONNECTION_ID(), \
             @@log_bin = 1 AND @@binlog_format = 'STATEMENT', \
             (SELECT collation_name FROM information_schema.collations \
              WHERE collation_name IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin') LIMIT 1)";
        let rows = self.rows(LOOK.to_owned()).await?;
        let row = rows.into_iter().next().unwrap_or_default();
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        let version = next();
        let number = |text: String| text.parse::<u64>().unwrap_or_default();
        self.server = Server {
            mariadb: version.contains("MariaDB"),
            version,
            packet: usize::try_from(number(next())).unwrap_or(1 << 20).max(1 << 10),
            lower_case: u32::try_from(number(next())).unwrap_or_default(),
            database: next(),
            connection: number(next()),
            statement_log: next() == "1",
            exact: match next() {
                exact if exact.is_empty() => "utf8mb4_bin".to_owned(),
                exact => exact,
            },
        };
        Ok(())
    }

    async fn configure(&mut self) -> Result<(), Failure> {
        let isolation = if self.server.statement_log { "REPEATABLE READ" } else { "READ COMMITTED" };
        // A session that lost its other end must not hold locks for ever.
        let idle = if self.server.mariadb {
            ", idle_transaction_timeout = 300, in_predicate_conversion_threshold = 0, max_statement_time = 0"
        } else {
            ""
        };
        self.run(format!(
            "SET SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00', autocommit = 1, sql_auto_is_null = 0, \
             sql_safe_updates = 0, foreign_key_checks = 1, unique_checks = 1, innodb_lock_wait_timeout = 10, \
             lock_wait_timeout = 10{idle}; SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"
        ))
        .await
        .map(drop)
    }

    /// Runs statements; gives for each how many rows it found (for an update, whether it changed them or not).
    pub async fn run(&mut self, sql: String) -> Result<Vec<u64>, Failure> {
        let (counts, _) = self.send(sql).await?;
        Ok(counts)
    }

    /// Runs statements; the values of all rows, as the server's text.
    pub async fn rows(&mut self, sql: String) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let (_, rows) = self.send(sql).await?;
        rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect()
    }

    async fn send(&mut self, sql: String) -> Result<(Vec<u64>, Vec<MySqlRow>), Failure> {
        let connection = &mut self.connection;
        let work = async move {
            let (mut counts, mut rows) = (Vec::new(), Vec::new());
            let mut answers = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(connection);
            while let Some(answer) = answers.try_next().await? {
                match answer {
                    Either::Left(done) => counts.push(MySqlQueryResult::rows_affected(&done)),
                    Either::Right(row) => rows.push(row),
                }
            }
            Ok::<_, sqlx::Error>((counts, rows))
        };
        match timeout(STATEMENT_TIMEOUT, work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Error::transient(format!("no answer in {} s", STATEMENT_TIMEOUT.as_secs())).into()),
        }
    }

    /// Gives every row of a query to `each`, one at a time.
    pub async fn each(
        &mut self,
        sql: String,
        each: &mut (dyn FnMut(&MySqlRow) -> Result<()> + Send + '_),
    ) -> Result<(), Failure> {
        let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await? {
            each(&row)?;
        }
        Ok(())
    }

    /// Ends the session in order.
    pub async fn close(self) -> Result<()> {
        match timeout(CONNECT_TIMEOUT, self.connection.close()).await {
            Ok(closed) => closed.map_err(|error| Failure::from(error).into_error("close connection")),
            Err(_) => Ok(()),
        }
    }
}

/// A value as the server's text.
pub fn text(row: &MySqlRow, at: usize) -> Result<Option<String>, Failure> {
    let bytes: Option<&[u8]> = row.try_get_unchecked(at)?;
    match bytes.map(|bytes| String::from_utf8(bytes.to_vec())) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(Error::corrupt("read answer: it is not UTF-8").into()),
    }
}
