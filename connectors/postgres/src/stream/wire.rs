//! The socket of a replication stream: three ways to read it, one way to write status.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::error::connection;
use crate::lsn::Lsn;
use crate::socket::{Raw, Socket};
use crate::wire::Inbox;
use connector_api::civil::MICROS_1970_TO_2000;
use connector_api::{Error, Result};
use futures_util::FutureExt;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A read that gives less than this was early: the server is still sending.
const SHORT: usize = 32 << 10;
/// How long messages gather in a Unix socket. The kernel has no low-water mark there.
const GATHER: Duration = Duration::from_micros(200);
/// How many bytes gather in a TCP socket, and for how long at most: a step at a time.
const GATHER_BYTES: i32 = 64 << 10;
const GATHER_STEP: Duration = Duration::from_micros(800);
const GATHER_STEPS: usize = 4;

pub(crate) struct Wire {
    socket: Socket,
    /// For reads that leave the runtime out; not with TLS.
    raw: Option<Raw>,
    pub(crate) inbox: Inbox,
    /// Bytes to be written, kept here so that a dropped write goes on where it stopped.
    outbox: Vec<u8>,
    last_read: usize,
}

impl Wire {
    pub(crate) fn new(socket: Socket, inbox: Inbox) -> Result<Wire> {
        let raw = socket.raw().map_err(|error| connection("prepare the stream's socket", error))?;
        Ok(Wire { socket, raw, inbox, outbox: Vec::new(), last_read: 0 })
    }

    /// Lets messages gather, then reads them: fewer system calls on both sides. Blocks the thread for about 200 us
    /// (Unix), or until 64 KiB are there, in steps of under a millisecond (TCP). False when nothing came.
    pub(crate) async fn read_gathered(&mut self) -> Result<bool> {
        if self.last_read < SHORT {
            self.gather().await?;
        }
        self.take().await
    }

    async fn gather(&mut self) -> Result<()> {
        let Some(raw) = &mut self.raw else { return Ok(()) };
        if !raw.tcp {
            std::thread::sleep(GATHER);
            return Ok(());
        }
        raw.wake_at(GATHER_BYTES).map_err(lost)?;
        for _ in 0..GATHER_STEPS {
            if raw.wait(GATHER_STEP).map_err(lost)? {
                return Ok(());
            }
            // The monitor and the caller's own timers live on this thread, too.
            tokio::task::yield_now().await;
        }
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
