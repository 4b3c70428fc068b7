//! SQL for tests: a connection without `async`.

use std::sync::{LazyLock, Mutex, PoisonError};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Error, Row};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("start a runtime")
});

/// A connection. Its calls block and must not be made from async code; they use the text protocol, so that one call may
/// hold several statements.
pub struct Session {
    connection: Mutex<MySqlConnection>,
}

impl Session {
    /// Connects by a URL (`mysql://…`).
    pub fn connect(url: &str) -> Result<Self, Error> {
        // The server's own modes, as an ordinary client has them.
        let options: MySqlConnectOptions = url.parse()?;
        let options = options.pipes_as_concat(false).no_engine_substitution(false).timezone(None);
        let connection = RUNTIME.block_on(options.disable_statement_logging().connect())?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// Runs statements. Panics when one fails.
    pub fn execute(&self, sql: &str) {
        self.try_execute(sql).unwrap_or_else(|error| fail(sql, &error));
    }

    pub fn try_execute(&self, sql: &str) -> Result<(), Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        RUNTIME.block_on(sql.execute(&mut *connection)).map(drop)
    }

    /// Every row of a query, each value as the server's text. Panics when it fails.
    pub fn query_text(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_query_text(sql).unwrap_or_else(|error| fail(sql, &error))
    }

    pub fn try_query_text(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let rows = RUNTIME.block_on(statement.fetch_all(&mut *connection))?;
        rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect()
    }

    /// The one value that a query returns. Panics unless it is one row with one value that is not null.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.query_text(sql);
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_else(|| panic!("{sql}: null")),
            _ => panic!("{sql}: not one value but {rows:?}"),
        }
    }

    /// Ends the connection in order.
    pub fn close(self) {
        let connection = self.connection.into_inner().unwrap_or_else(PoisonError::into_inner);
        let _ = RUNTIME.block_on(connection.close());
    }
}

fn text(row: &MySqlRow, at: usize) -> Result<Option<String>, Error> {
    let bytes: Option<&[u8]> = row.try_get_unchecked(at)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

fn fail(sql: &str, error: &Error) -> ! {
    panic!("{sql}: {error}")
}
