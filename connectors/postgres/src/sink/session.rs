//! A connection that takes statements in volleys: many statements are written one behind the other, and one answer
//! says how far the server came. A transaction of any size costs as many waits as it has volleys.
//!
//! After a failure the server passes over the rest of the volley, so that a volley has one error at most.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use connector_api::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::{lost, words};
use super::statements::{Statement, Statements};
use crate::connection::{Connection, Purpose, Rows};
use crate::error::{ServerError, connection, malformed, server};
use crate::socket::Socket;
use crate::target::Target;
use crate::wire::{Frame, Inbox, data_row, server_error, unexpected};

/// Messages wait in memory up to this size, then they are written while more are made: the server begins early.
const WRITE_BYTES: usize = 64 << 10;
/// A buffer that grew larger than this for one row is given back.
const KEEP_BYTES: usize = 1 << 20;
/// The most that a server may say before a volley is whole: it answers our statements with a few bytes each.
const UNREAD_BYTES: usize = 64 << 20;

/// An open session. After an error of its own (not of a statement) it is of no more use.
pub(super) struct Session {
    socket: Socket,
    inbox: Inbox,
    out: Vec<u8>,
    written: usize,
    statements: Statements,
}

/// What the server answered to one statement of a volley.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    /// Rows that it inserted, updated, deleted or gave.
    pub(super) rows: u64,
    /// A COMMIT that the server answered with ROLLBACK, because a statement before it had failed.
    pub(super) rolled_back: bool,
}

/// What the server answered to a volley.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The statements that were done, in order.
    pub(super) done: Vec<Done>,
    /// Rows that statements gave, as text.
    pub(super) rows: Rows,
    /// Why the statement after the last of `done` failed; the rest was passed over.
    pub(super) failed: Option<ServerError>,
}

impl Session {
    pub(super) async fn open(target: &Target) -> Result<Session> {
        let connection = Connection::open(target, Purpose::Sql).await?;
        let (socket, inbox) = connection.into_parts();
        let statements = Statements::default();
        Ok(Session { socket, inbox, out: Vec::new(), written: 0, statements })
    }

    /// Whether what is traded with the server is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.socket, Socket::Tls(_))
    }

    /// Adds a statement to the volley, with its parameters in binary as `put` appends them, each with its length.
    #[inline]
    pub(super) fn execute(
        &mut self,
        statement: &Statement,
        put: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let name = self.statements.name(statement, &mut self.out)?;
        let start = self.out.len();
        let bound = message(&mut self.out, b'B', |out| {
            out.push(0);
            name.put(out);
            // One format for all parameters: binary. Results, if any, as text.
            out.extend_from_slice(&[0, 1, 0, 1]);
            let count = u16::try_from(statement.types.len()).map_err(|_| too_large())?;
            out.extend_from_slice(&count.to_be_bytes());
            put(out)?;
            out.extend_from_slice(&[0, 0]);
            Ok(())
        });
        if bound.is_err() {
            self.out.truncate(start);
            return bound;
        }
        message(&mut self.out, b'E', |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0]);
            Ok(())
        })
    }

    /// Adds a statement without parameters.
    pub(super) fn run(&mut self, statement: &Statement) -> Result<()> {
        self.execute(statement, |_| Ok(()))
    }

    /// Adds data to the COPY that was executed last, as one message.
    pub(super) fn copy_data(&mut self, put: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let start = self.out.len();
        let result = message(&mut self.out, b'd', put);
        if result.is_err() {
            self.out.truncate(start);
        }
        result
    }

    /// Ends the COPY that was executed last. On `false` the server refuses it: the volley fails there.
    pub(super) fn end_copy(&mut self, whole: bool) -> Result<()> {
        match whole {
            true => message(&mut self.out, b'c', |_| Ok(())),
            false => message(&mut self.out, b'f', |out| {
                out.extend_from_slice(b"given up\0");
                Ok(())
            }),
        }
    }

    /// Whether enough waits to be worth writing.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.out.len() - self.written >= WRITE_BYTES
    }

    /// Ends the volley and waits for its answer.
    ///
    /// # Errors
    /// When the connection is lost; what a statement failed with is in the answer.
    pub(super) async fn answer(&mut self) -> Result<Answer> {
        message(&mut self.out, b'S', |_| Ok(()))?;
        self.write().await?;
        self.read_answer().await
    }

    /// Runs statements by simple query: rows of all of them, as text.
    ///
    /// # Errors
    /// Of the kind of the SQLSTATE, with `doing` as the context; when the connection is lost.
    pub(super) async fn query(&mut self, doing: &str, sql: &str) -> Result<Rows> {
        let answer = self.simple(sql).await?;
        match answer.failed {
            None => Ok(answer.rows),
            Some(failed) => Err(server(doing, failed)),
        }
    }

    /// Runs statements by simple query.
    pub(super) async fn simple(&mut self, sql: &str) -> Result<Answer> {
        if sql.contains('\0') {
            return Err(Error::config("write statement: a name holds a zero byte"));
        }
        message(&mut self.out, b'Q', |out| {
            out.extend_from_slice(sql.as_bytes());
            out.push(0);
            Ok(())
        })?;
        self.write().await?;
        self.read_answer().await
    }

    /// Begins to read a table; its rows come by [`Session::copied`].
    pub(super) async fn copy_out(&mut self, doing: &str, sql: &str) -> Result<()> {
        message(&mut self.out, b'Q', |out| {
            out.extend_from_slice(sql.as_bytes());
            out.push(0);
            Ok(())
        })?;
        self.write().await?;
        match self.next().await? {
            Frame { tag: b'H', .. } => Ok(()),
            Frame { tag: b'E', body } => {
                let failed = server_error(body);
                self.read_answer().await.ok();
                Err(server(doing, failed))
            }
            frame => Err(unexpected(frame, doing)),
        }
    }

    /// The next row of a COPY in text, without its line end; `None` after the last one.
    pub(super) async fn copied(&mut self, doing: &str) -> Result<Option<&[u8]>> {
        while !self.inbox.is_ready()? {
            self.fill().await?;
        }
        if self.inbox.held().first() == Some(&b'd') {
            let body = self.inbox.next()?.map(|frame| frame.body).unwrap_or_default();
            return Ok(Some(body.strip_suffix(b"\n").unwrap_or(body)));
        }
        let answer = self.read_answer().await?;
        match answer.failed {
            None => Ok(None),
            Some(failed) => Err(server(doing, failed)),
        }
    }

    /// Forgets prepared statements: the tables that they are about changed.
    pub(super) fn forget(&mut self) -> Result<()> {
        self.statements.clear(&mut self.out)
    }

    /// Says good-bye.
    pub(super) async fn close(mut self) {
        if message(&mut self.out, b'X', |_| Ok(())).is_ok() {
            self.write().await.ok();
        }
    }

    /// Writes what waits. Reads meanwhile when the server will not take more: it may wait for us to read.
    pub(super) async fn write(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await.map_err(|error| connection("write to the server", error))?;
        self.out.clear();
        self.written = 0;
        if self.out.capacity() > 2 * KEEP_BYTES {
            self.out.shrink_to(KEEP_BYTES);
        }
        Ok(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let rest = self.out.get(self.written..).unwrap_or_default();
            if rest.is_empty() {
                return Pin::new(&mut self.socket).poll_flush(cx);
            }
            match Pin::new(&mut self.socket).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.last_words(error))),
                Poll::Pending => match self.poll_read(cx) {
                    Poll::Ready(Ok(())) => {}
                    other => return other,
                },
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.inbox.held().len() > UNREAD_BYTES {
            return Poll::Ready(Err(io::Error::other("the server says more than was asked for")));
        }
        let mut room = ReadBuf::new(self.inbox.room());
        std::task::ready!(Pin::new(&mut self.socket).poll_read(cx, &mut room))?;
        let count = room.filled().len();
        if count == 0 {
            let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection");
            return Poll::Ready(Err(self.last_words(closed)));
        }
        self.inbox.received(count);
        Poll::Ready(Ok(()))
    }

    /// Why the server ended the session, if it said so before it did: worth more than that the socket is closed.
    fn last_words(&mut self, error: io::Error) -> io::Error {
        let mut said = None;
        while let Ok(Some(frame)) = self.inbox.next() {
            if frame.tag == b'E' {
                said = Some(words(&server_error(frame.body)));
            }
        }
        said.map_or(error, io::Error::other)
    }

    async fn fill(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_read(cx)).await.map_err(|error| connection("read from the server", error))
    }

    async fn next(&mut self) -> Result<Frame<'_>> {
        loop {
            while !self.inbox.is_ready()? {
                self.fill().await?;
            }
            match self.inbox.held().first() {
                // Notices, notifications, changed settings.
                Some(b'N' | b'A' | b'S') => {
                    self.inbox.next()?;
                }
                _ => break,
            }
        }
        self.inbox.next()?.ok_or_else(|| malformed("message"))
    }

    /// Reads to the end of a volley.
    async fn read_answer(&mut self) -> Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let frame = match self.next().await {
                Ok(frame) => frame,
                // After a fatal error the server only closes: what it said is worth more than that.
                Err(error) => return Err(answer.failed.map_or(error, lost)),
            };
            match frame.tag {
                b'C' => answer.done.push(done(frame.body)),
                b'I' => answer.done.push(Done { rows: 0, rolled_back: false }),
                b'D' => answer.rows.push(data_row(frame.body)?),
                b'1' => self.statements.parsed(),
                b'E' => {
                    let failed = server_error(frame.body);
                    answer.failed.get_or_insert(failed);
                }
                b'Z' => break,
                b'2' | b'3' | b'n' | b't' | b'T' | b's' | b'G' | b'H' | b'd' | b'c' => {}
                _ => return Err(unexpected(frame, "read answer")),
            }
        }
        self.statements.settle();
        Ok(answer)
    }
}

/// `INSERT 0 5`, `UPDATE 3`, `COMMIT`.
fn done(body: &[u8]) -> Done {
    let text = body.strip_suffix(b"\0").unwrap_or(body);
    let last = text.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    let rows = std::str::from_utf8(last).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0);
    Done { rows, rolled_back: text == b"ROLLBACK" }
}

/// Appends one message; its length is filled in afterwards. On an error the caller cuts it off.
#[inline]
pub(super) fn message(
    out: &mut Vec<u8>,
    tag: u8,
    put: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    out.push(tag);
    framed(out, 4, put)
}

/// Appends a length and what `put` appends; the length counts `own` bytes of itself.
#[inline]
pub(super) fn framed(
    out: &mut Vec<u8>,
    own: usize,
    put: impl FnOnce(&mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out)?;
    let length = i32::try_from(out.len() - start - 4 + own).map_err(|_| too_large())?;
    match out.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<4>()) {
        Some(place) => *place = length.to_be_bytes(),
        None => return Err(too_large()),
    }
    Ok(())
}

#[cold]
fn too_large() -> Error {
    Error::data("write row: it is larger than PostgreSQL takes")
}
