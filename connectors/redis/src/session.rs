//! One connection and its open transaction.

use std::collections::HashSet;
use std::time::Duration;

use connector_api::{Cursor, Error, LogId, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, Value};

use crate::cursor::CursorKey;
use crate::error::{failed, first_error, is_aborted, refused_reply};
use crate::options::Options;
use crate::script::Scripts;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Rows of one transaction that are remembered.
const WRITTEN_MAX: usize = 50_000;
/// How long an answer may take: a truncate of a large table looks at every key of the server.
const ANSWER: Duration = Duration::from_secs(120);

/// Connects to the server.
///
/// # Errors
/// [`connector_api::Kind::Transient`] when it cannot be reached, [`connector_api::Kind::Auth`] when it refuses who we are.
pub async fn connect(options: &Options) -> Result<MultiplexedConnection> {
    let client = Client::open(options.url.expose())
        .map_err(|_| Error::config("connect to Redis: the url of this sink is not one of Redis"))?;
    let settings =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
    client
        .get_multiplexed_async_connection_with_config(&settings)
        .await
        .map_err(|error| failed("connect to Redis", error))
}

/// A connection that nobody else uses, so that a transaction may stay open between calls.
pub struct Session {
    connection: MultiplexedConnection,
    /// The scripts that the server has.
    pub scripts: Scripts,
    /// The cursor.
    pub cursor: CursorKey,
    /// Commands that are not sent yet.
    pub pipeline: Pipeline,
    /// The rows that the open transaction wrote.
    pub written: Written,
    /// `MULTI` was put into the pipeline, or sent.
    open: bool,
}

/// The keys of rows that the open transaction wrote: nobody else sees them yet, and an erasure must meet them.
#[derive(Debug, Default)]
pub struct Written {
    names: HashSet<String>,
    /// There were too many, or nobody knows which: every key has to be looked at.
    pub unknown: bool,
}

impl Written {
    /// Remembers one.
    pub fn add(&mut self, name: &str) {
        if self.unknown || self.names.contains(name) {
            return;
        }
        self.unknown = self.names.len() >= WRITTEN_MAX;
        self.names.insert(name.to_owned());
    }

    /// Those that are remembered.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.names.iter()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.unknown
    }
}

impl Session {
    /// Connects, and gives the server the scripts.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn start(sink: &str, options: &Options) -> Result<Session> {
        let mut connection = connect(options).await?;
        let mut pipeline = Pipeline::new();
        for text in Scripts::texts(options.value) {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(text);
        }
        let names: [String; 6] =
            pipeline.query_async(&mut connection).await.map_err(|error| failed("load scripts", error))?;
        let (scripts, cursor) = (Scripts::named(names), CursorKey::new(sink));
        Ok(Session {
            connection,
            scripts,
            cursor,
            pipeline: Pipeline::new(),
            written: Written::default(),
            open: false,
        })
    }

    /// The cursor that the server holds.
    ///
    /// # Errors
    /// When it cannot be read, or belongs to another log.
    pub async fn stored(&mut self, log: LogId) -> Result<Option<Cursor>> {
        let fields: Vec<(String, String)> = redis::cmd("HGETALL")
            .arg(&self.cursor.key)
            .query_async(&mut self.connection)
            .await
            .map_err(|error| failed("read cursor", error))?;
        self.cursor.read(&fields, log)
    }

    /// Opens the transaction with the next command.
    pub fn begin(&mut self) {
        if !self.open {
            self.pipeline.cmd("MULTI");
            self.open = true;
        }
    }

    /// Whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    async fn send(&mut self, what: &str) -> Result<Vec<Value>> {
        let count = self.pipeline.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let sent = self.connection.send_packed_commands(&self.pipeline, 0, count).await;
        self.pipeline.clear();
        sent.map_err(|error| failed(what, error))
    }

    /// Queues what was gathered at the server.
    ///
    /// # Errors
    /// When a command is refused: the transaction is void.
    pub async fn flush(&mut self) -> Result<()> {
        let replies = self.send("queue commands").await?;
        match first_error(&replies) {
            Some(error) => Err(refused_reply("queue commands", error)),
            None => Ok(()),
        }
    }

    /// Runs the transaction, the cursor being its last command (I3).
    ///
    /// # Errors
    /// When the server refused it: then nothing of it took place. When one of its commands failed (Redis runs the others
    /// all the same), the cursor is put back, so that all of it is applied again.
    pub async fn commit(&mut self, cursor: &Cursor) -> Result<()> {
        self.begin();
        self.cursor.write(cursor, &mut self.pipeline);
        self.pipeline.cmd("EXEC");
        let replies = self.send("commit transaction").await?;
        self.open = false;
        self.written = Written::default();
        if let Some(error) = first_error(&replies) {
            let made = refused_reply("commit transaction", error);
            let ran =
                !replies.iter().any(|reply| matches!(reply, Value::ServerError(error) if is_aborted(error)));
            if ran {
                self.cursor.rewind(&mut self.pipeline);
                self.flush().await?;
            }
            return Err(made);
        }
        match replies.last() {
            Some(Value::Array(_)) => {
                self.cursor.committed(cursor);
                Ok(())
            }
            _ => Err(Error::transient("commit transaction: the server did not run it")),
        }
    }

    /// Forgets the open transaction.
    ///
    /// # Errors
    /// When the server does not answer: the session is of no use any more.
    pub async fn rollback(&mut self) -> Result<()> {
        self.pipeline.clear();
        self.written = Written::default();
        if std::mem::replace(&mut self.open, false) {
            self.pipeline.cmd("DISCARD");
            // It says that there is none when MULTI itself was never sent.
            self.send("roll back transaction").await?;
        }
        Ok(())
    }

    /// Writes another cursor in the place of the one that is there.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn reset(&mut self, cursor: &Cursor) -> Result<()> {
        self.rollback().await?;
        self.cursor.clear();
        self.begin();
        self.pipeline.cmd("DEL").arg(&self.cursor.key);
        self.commit(cursor).await
    }
}
