//! One connection to a server: start-up, simple queries, COPY out, and the way into replication.
//!
//! Replication needs a start-up parameter and a copy mode that the usual clients do not have, so that this is
//! our own; everything else uses it too, and there is one way to connect, to verify and to log in.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::auth::{Login, Step};
use crate::error::{self, ServerError};
use crate::socket::Socket;
use crate::target::{SslMode, Target};
use crate::tls::{self, Connector};
use crate::wire::{self, Fields, Frame, Inbox, unexpected};
use bytes::BytesMut;
use connector_api::{Error, Kind, Result};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Settings that give every value one text form, and nothing that ends a session while we wait.
const SETTINGS: &str = "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c timezone=UTC \
     -c bytea_output=hex -c search_path= -c statement_timeout=0 -c lock_timeout=0 \
     -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0";

/// The rows of a query, as text.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Ordinary SQL.
    Sql,
    /// Replication commands, and SQL by simple query.
    Replication,
}

/// An open session. Dropped in the middle of a query it is of no more use, and says so.
pub(crate) struct Connection {
    socket: Socket,
    inbox: Inbox,
    version: u32,
    busy: bool,
}

impl Connection {
    /// Connects, encrypts as `sslmode` says, and logs in; all within the target's `connect_timeout`.
    ///
    /// # Errors
    /// [`Kind::Transient`] when the server cannot be reached or is starting, [`Kind::Auth`] when it refuses the
    /// role, [`Kind::Config`] otherwise.
    pub(crate) async fn open(target: &Target, purpose: Purpose) -> Result<Connection> {
        match tokio::time::timeout(target.connect_timeout, Self::open_any(target, purpose)).await {
            Ok(result) => result,
            Err(_) => Err(Error::transient(format!(
                "connect to {}: no answer within {} s",
                target.address(),
                target.connect_timeout.as_secs()
            ))),
        }
    }

    /// `allow` and `prefer` have a second choice, taken when the server's rules refuse the first.
    async fn open_any(target: &Target, purpose: Purpose) -> Result<Connection> {
        let tls = Connector::new(target)?;
        let (first, second) = match target.tls.mode {
            SslMode::Allow => (None, tls.as_ref().map(Some)),
            SslMode::Prefer => (tls.as_ref(), tls.as_ref().map(|_| None)),
            _ => (tls.as_ref(), None),
        };
        let result = Self::open_one(target, purpose, first).await;
        match (result, second) {
            (Err(error), Some(second)) if may_try_again(&error) => {
                Self::open_one(target, purpose, second).await.map_err(|_| error)
            }
            (result, _) => result,
        }
    }

    async fn open_one(target: &Target, purpose: Purpose, tls: Option<&Connector>) -> Result<Connection> {
        let mut socket = Socket::connect(target).await?;
        let mut binding = None;
        if let Some(tls) = tls {
            socket = encrypt(socket, target, tls).await?;
            if let Socket::Tls(session) = &socket {
                let chain = session.get_ref().1.peer_certificates();
                binding =
                    chain.and_then(|chain| chain.first()).and_then(|first| tls::server_end_point(first));
            }
        }
        let encrypted = matches!(socket, Socket::Tls(_));
        let mut connection = Connection { socket, inbox: Inbox::default(), version: 0, busy: true };
        connection.start(target, purpose).await?;
        connection.log_in(Login::new(target, encrypted, binding)).await?;
        connection.wait_ready("log in").await?;
        if connection.version < 140_000 {
            return Err(Error::config(format!(
                "use {}: PostgreSQL {} is older than 14, the oldest that is supported",
                target.address(),
                connection.version / 10_000
            )));
        }
        Ok(connection)
    }

    async fn start(&mut self, target: &Target, purpose: Purpose) -> Result<()> {
        let options = match &target.options {
            Some(own) => format!("{own} {SETTINGS}"),
            None => SETTINGS.to_owned(),
        };
        let mut parameters = vec![
            ("user", target.user.as_str()),
            ("database", target.database.as_str()),
            ("client_encoding", "UTF8"),
            ("application_name", target.application_name.as_str()),
            ("options", options.as_str()),
        ];
        if purpose == Purpose::Replication {
            parameters.push(("replication", "database"));
        }
        let mut out = BytesMut::new();
        frontend::startup_message(parameters, &mut out)
            .map_err(|error| Error::config("write start-up message").caused_by(error))?;
        self.send(&out).await
    }

    async fn log_in(&mut self, mut login: Login<'_>) -> Result<()> {
        loop {
            let mut out = BytesMut::new();
            let frame = self.next().await?;
            let step = match frame.tag {
                b'R' => login.step(frame.body, &mut out)?,
                b'E' => return Err(error::server("log in", wire::server_error(frame.body))),
                // A server that knows no newer protocol; we ask for 3.0, so that it has nothing to negotiate.
                b'v' => continue,
                _ => return Err(unexpected(frame, "log in")),
            };
            match step {
                Step::Send => self.send(&out).await?,
                Step::Wait => {}
                Step::Done => return Ok(()),
            }
        }
    }

    /// The server's version as a number: 150018 for 15.18.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// True after a query was dropped half-way: the connection is of no more use.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Runs `sql` by simple query. The rows of its last statement that returns any.
    ///
    /// # Errors
    /// Of the kind of the server's SQLSTATE, with `doing` as the context; [`Kind::Transient`] when the
    /// connection fails.
    pub(crate) async fn query(&mut self, doing: &str, sql: &str) -> Result<Rows> {
        self.begin(doing, sql).await?;
        let mut rows = Rows::new();
        let mut failed: Option<ServerError> = None;
        loop {
            let frame = match self.next().await {
                Ok(frame) => frame,
                // After a fatal error the server only closes: what it said is worth more than that.
                Err(error) => return Err(failed.map_or(error, |failed| error::server(doing, failed))),
            };
            match frame.tag {
                b'T' => rows.clear(),
                b'D' => rows.push(wire::data_row(frame.body)?),
                b'E' => failed = Some(wire::server_error(frame.body)),
                b'C' | b'I' => {}
                b'Z' => break,
                _ => return Err(unexpected(frame, doing)),
            }
        }
        self.busy = false;
        failed.map_or(Ok(rows), |failed| Err(error::server(doing, failed)))
    }

    /// Begins `COPY … TO STDOUT`; the data comes by [`Connection::copied`].
    pub(crate) async fn copy_out(&mut self, doing: &str, sql: &str) -> Result<()> {
        self.begin(doing, sql).await?;
        self.expect(b'H', doing).await
    }

    /// The next row of a COPY, without its line end; `None` after the last one. Cancel-safe.
    pub(crate) async fn copied(&mut self, doing: &str) -> Result<Option<&[u8]>> {
        while !self.inbox.is_ready()? {
            self.fill().await?;
        }
        // The usual message first and without a detour: one is read for each row of a table.
        if self.inbox.held().first() == Some(&b'd') {
            let body = self.inbox.next()?.map(|frame| frame.body).unwrap_or_default();
            return Ok(Some(body.strip_suffix(b"\n").unwrap_or(body)));
        }
        let frame = self.next().await?;
        match frame.tag {
            b'c' => {
                self.wait_ready(doing).await?;
                Ok(None)
            }
            b'E' => {
                let failed = wire::server_error(frame.body);
                self.wait_ready(doing).await.ok();
                Err(error::server(doing, failed))
            }
            _ => Err(unexpected(frame, doing)),
        }
    }

    /// Sends START_REPLICATION and waits for the server to switch to the copy-both mode.
    pub(crate) async fn copy_both(mut self, doing: &str, sql: &str) -> Result<(Socket, Inbox)> {
        self.begin(doing, sql).await?;
        self.expect(b'W', doing).await?;
        Ok((self.socket, self.inbox))
    }

    /// Gives up what it is made of, for a client that speaks the rest of the protocol.
    pub(crate) fn into_parts(self) -> (Socket, Inbox) {
        (self.socket, self.inbox)
    }

    /// Says good-bye; the server ends the session at once instead of at the next write.
    pub(crate) async fn close(mut self) {
        let mut out = BytesMut::new();
        frontend::terminate(&mut out);
        if self.send(&out).await.is_ok() {
            self.socket.shutdown().await.ok();
        }
    }

    async fn begin(&mut self, doing: &str, sql: &str) -> Result<()> {
        if self.busy {
            return Err(Error::transient(format!(
                "{doing}: the connection was left in the middle of a query"
            )));
        }
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out).map_err(|error| Error::config(doing).caused_by(error))?;
        self.busy = true;
        self.send(&out).await
    }

    async fn expect(&mut self, tag: u8, doing: &str) -> Result<()> {
        let frame = self.next().await?;
        match frame.tag {
            found if found == tag => Ok(()),
            b'E' => {
                let failed = wire::server_error(frame.body);
                self.wait_ready(doing).await.ok();
                Err(error::server(doing, failed))
            }
            _ => Err(unexpected(frame, doing)),
        }
    }

    /// Consumes what is left of a command, up to ReadyForQuery.
    async fn wait_ready(&mut self, doing: &str) -> Result<()> {
        loop {
            let frame = self.next().await?;
            match frame.tag {
                b'Z' => {
                    self.busy = false;
                    return Ok(());
                }
                b'E' => return Err(error::server(doing, wire::server_error(frame.body))),
                b'C' | b'c' | b'd' | b'K' | b'T' | b'D' => {}
                _ => return Err(unexpected(frame, doing)),
            }
        }
    }

    /// The next message that is not one of those that may come at any time.
    async fn next(&mut self) -> Result<Frame<'_>> {
        loop {
            while !self.inbox.is_ready()? {
                self.fill().await?;
            }
            match self.inbox.held().first() {
                Some(b'N' | b'A') => {
                    self.inbox.next()?;
                }
                Some(b'S') => {
                    let mut version = self.version;
                    if let Some(frame) = self.inbox.next()? {
                        let mut fields = Fields::new(frame.body);
                        if fields.text() == "server_version" {
                            version = version_number(fields.text());
                        }
                    }
                    self.version = version;
                }
                _ => break,
            }
        }
        self.inbox.next()?.ok_or_else(|| error::malformed("message"))
    }

    async fn fill(&mut self) -> Result<()> {
        let read = self.socket.read(self.inbox.room()).await;
        match read.map_err(|error| error::connection("read from the server", error))? {
            0 => Err(Error::transient("read from the server: it closed the connection")),
            count => {
                self.inbox.received(count);
                Ok(())
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let wrong = |error| error::connection("write to the server", error);
        self.socket.write_all(bytes).await.map_err(wrong)?;
        self.socket.flush().await.map_err(wrong)
    }
}

/// Asks for TLS and makes the session. With `prefer` a server without TLS is taken as it is.
async fn encrypt(socket: Socket, target: &Target, tls: &Connector) -> Result<Socket> {
    let Socket::Tcp(mut tcp) = socket else { return Ok(socket) };
    if !target.tls.direct {
        let mut out = BytesMut::new();
        frontend::ssl_request(&mut out);
        let wrong = |error| error::connection("ask for TLS", error);
        tcp.write_all(&out).await.map_err(wrong)?;
        // One byte and no more: bytes sent in the clear behind it must not pass for encrypted ones.
        match tcp.read_u8().await.map_err(wrong)? {
            b'S' => {}
            b'N' if target.tls.mode == SslMode::Prefer => return Ok(Socket::Tcp(tcp)),
            b'N' => {
                return Err(Error::config(format!("open TLS session: {} has no TLS", target.address()))
                    .with_remedy(
                        "set ssl=on in postgresql.conf, or sslmode=disable in the url on a trusted network",
                    ));
            }
            _ => return Err(Error::transient("ask for TLS: the server answered something else")),
        }
    }
    Ok(Socket::Tls(Box::new(tls.connect(tcp).await?)))
}

/// Refused by pg_hba.conf, or TLS did not come about.
fn may_try_again(error: &Error) -> bool {
    error::sqlstate(error) == Some("28000")
        || (error.kind() != Kind::Auth && error.to_string().contains("TLS"))
}

/// `15.18 (Debian …)`, `17beta1`.
fn version_number(text: &str) -> u32 {
    let mut parts =
        text.split(|char: char| !char.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    parts.next().unwrap_or(0).saturating_mul(10_000).saturating_add(parts.next().unwrap_or(0))
}

/// `text` as a string literal of SQL and of the replication grammar, which has no `E''`.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `name` as a quoted identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_quoting() {
        assert_eq!(version_number("15.18 (Debian 15.18-1)"), 150_018);
        assert_eq!(version_number("17beta1"), 170_000);
        assert_eq!(literal("it's \\"), "'it''s \\'");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }
}
