//! SQL for tests: a connection without `async`.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage};

/// Drives the connections of all tests, so that each takes in notices while no test waits on it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("start a runtime")
});

/// A connection. Its calls block and must not be made from async code; they use the simple protocol, so that one
/// call may hold several statements, and `DO` blocks may commit.
pub struct Session {
    client: Client,
}

impl Session {
    /// Connects by a URL (`postgres://…`, without TLS).
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::open(&url.parse()?)
    }

    pub fn open(config: &Config) -> Result<Self, Error> {
        let (client, connection) = RUNTIME.block_on(config.connect(NoTls))?;
        // The error of a broken connection reaches the test with its next call.
        RUNTIME.spawn(async move { drop(connection.await) });
        Ok(Self { client })
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements. Panics when one fails.
    pub fn execute(&self, sql: &str) {
        self.try_execute(sql).unwrap_or_else(|error| fail(sql, &error));
    }

    pub fn try_execute(&self, sql: &str) -> Result<(), Error> {
        RUNTIME.block_on(self.client.batch_execute(sql))
    }

    /// Every row of a query, each value as PostgreSQL's text. Panics when it fails.
    pub fn query_text(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_query_text(sql).unwrap_or_else(|error| fail(sql, &error))
    }

    pub fn try_query_text(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let messages = RUNTIME.block_on(self.client.simple_query(sql))?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// The one value that a query returns. Panics unless it is one row with one value that is not null.
    pub fn value(&self, sql: &str) -> String {
        let rows = self.query_text(sql);
        match rows.as_slice() {
            [row] if row.len() == 1 => row[0].clone().unwrap_or_else(|| panic!("{sql}: null")),
            _ => panic!("{sql}: not one value but {rows:?}"),
        }
    }
}

fn fail(sql: &str, error: &Error) -> ! {
    let message = error.as_db_error().map_or_else(|| error.to_string(), |error| error.to_string());
    panic!("{sql}: {message}")
}
