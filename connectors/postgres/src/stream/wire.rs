//! The socket of a replication stream: three ways to read it, one way to write status.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::error::connection;
use crate::lsn::Lsn;
use crate::socket::{Raw, RawKind, Socket};
use crate::wire::Inbox;
use connector_api::civil::MICROS_1970_TO_2000;
use connector_api::{Error, Result};
use futures_util::FutureExt;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A read that gives less than this was early: the server is still sending.
const SHORT: usize = 32 << 10;
/// How long messages gather in a Unix socket, which holds about 280 of them before the server has to wait.
const GATHER_UNIX: Duration = Duration::from_micros(400);
/// How long they gather at most in a TCP socket. Near: with a small window that fills at once, so that the server's kernel
/// merges what follows. Far: until `GATHER_BYTES` are there, for as long as they may take on the way.
const GATHER_NEAR: Duration = Duration::from_millis(10);
const GATHER_FAR: Duration = Duration::from_millis(3);
const GATHER_BYTES: i32 = 64 << 10;
/// The thread is blocked for this long at a time.
const STEP: Duration = Duration::from_micros(800);
/// A server that answers within this is near.
const NEAR: Duration = Duration::from_micros(200);
/// What a near server may have on its way to us. Less makes many small reads; more takes too long to fill.
const NEAR_WINDOW: usize = 32 << 10;

pub(crate) struct Wire {
    socket: Socket,
    /// For reads that leave the runtime out; not with TLS.
    raw: Option<Raw>,
    pub(crate) inbox: Inbox,
    /// Bytes to be written, kept here so that a dropped write goes on where it stopped.
    outbox: Vec<u8>,
    last_read: usize,
    /// The end of the gathering under way: kept here, so that a dropped read goes on with it.
    until: Option<Instant>,
}

impl Wire {
    pub(crate) fn new(socket: Socket, inbox: Inbox) -> Result<Wire> {
        let prepare = || {
            let mut raw = socket.raw()?;
            if let Some(raw) = &mut raw {
                raw.narrow(NEAR, NEAR_WINDOW)?;
            }
            Ok(raw)
        };
        let raw = prepare().map_err(|error| connection("prepare the stream's socket", error))?;
        Ok(Wire { socket, raw, inbox, outbox: Vec::new(), last_read: 0, until: None })
    }

    /// Lets messages gather, then reads them: fewer system calls and packets on both sides. `lag` is how far the stream is
    /// behind: no wait is longer, so that no lag is more than doubled. Blocks the thread for under a millisecond at a
    /// time. False when nothing more is there. Cancel-safe.
    pub(crate) async fn read_gathered(&mut self, lag: Duration) -> Result<bool> {
        self.gather(lag).await?;
        self.take().await
    }

    async fn gather(&mut self, lag: Duration) -> Result<()> {
        let Some(raw) = &mut self.raw else { return Ok(()) };
        let (limit, enough) = match raw.kind {
            RawKind::Unix => (GATHER_UNIX, SHORT),
            // The window opens while it is read, and the merged rest follows at once.
            RawKind::Near => (GATHER_NEAR, 1),
            RawKind::Far => (GATHER_FAR, SHORT),
        };
        if self.last_read >= enough {
            return Ok(());
        }
        raw.wake_at(GATHER_BYTES).map_err(lost)?;
        let until = *self.until.get_or_insert_with(|| Instant::now() + limit.min(lag));
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || raw.rest(left.min(STEP)).map_err(lost)? {
                break;
            }
            // The monitor, the caller's timers and what became durable live on this thread, too.
            tokio::task::yield_now().await;
        }
        self.until = None;
        Ok(())
    }

    /// Reads what is there, and does not wait.
    pub(crate) async fn read_now(&mut self) -> Result<bool> {
        if let Some(raw) = &mut self.raw {
            raw.wake_at(1).map_err(lost)?;
        }
        self.take().await
    }

    async fn take(&mut self) -> Result<bool> {
        let read = match &self.raw {
            Some(raw) => raw.read(self.inbox.room()),
            None => self.socket.read(self.inbox.room()).now_or_never().transpose(),
        };
        self.last_read = 0;
        match read.map_err(lost)? {
            None => Ok(false),
            Some(count) => self.received(count).map(|()| true),
        }
    }

    /// Waits for something to read, for at most `limit`. Cancel-safe.
    pub(crate) async fn read_within(&mut self, limit: Duration) -> Result<()> {
        match tokio::time::timeout(limit, self.socket.read(self.inbox.room())).await {
            Err(_) => Ok(()),
            Ok(read) => self.received(read.map_err(lost)?),
        }
    }

    fn received(&mut self, count: usize) -> Result<()> {
        if count == 0 {
            return Err(Error::transient("read stream: the server closed the connection"));
        }
        self.inbox.received(count);
        self.last_read = count;
        Ok(())
    }

    /// True when the last read found nothing: the server has told all it knows.
    pub(crate) fn is_idle(&self) -> bool {
        self.last_read == 0
    }

    /// A standby status update: received up to `position`, durable up to `flushed`.
    pub(crate) fn put_status(&mut self, position: Lsn, flushed: Lsn) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        let out = &mut self.outbox;
        // CopyData: the length counts itself and 34 bytes.
        out.extend_from_slice(&[b'd', 0, 0, 0, 38, b'r']);
        for lsn in [position.max(flushed), flushed, flushed] {
            out.extend_from_slice(&lsn.0.to_be_bytes());
        }
        out.extend_from_slice(&(now - MICROS_1970_TO_2000).to_be_bytes());
        out.push(0);
    }

    /// Writes what `put_status` left. Cancel-safe.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        while !self.outbox.is_empty() {
            let count =
                self.socket.write(&self.outbox).await.map_err(|error| connection("write feedback", error))?;
            if count == 0 {
                return Err(Error::transient("write feedback: the server closed the connection"));
            }
            self.outbox.drain(..count);
            if self.outbox.is_empty() {
                self.socket.flush().await.map_err(|error| connection("write feedback", error))?;
            }
        }
        Ok(())
    }

    /// Ends the copy mode and the session, and waits a moment for the server to let go of the slot.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.outbox.extend_from_slice(&[b'c', 0, 0, 0, 4, b'X', 0, 0, 0, 4]);
        self.flush().await?;
        let drained = async {
            let mut sink = vec![0; 64 << 10];
            while self.socket.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        };
        tokio::time::timeout(Duration::from_secs(2), drained).await.ok();
        Ok(())
    }
}

fn lost(error: io::Error) -> Error {
    connection("read stream", error)
}
