//! The socket below a connection: TCP, Unix or TLS, and what the kernel is told about it.

use crate::error::connection;
use crate::target::{Host, Target};
use connector_api::Result;
use rustix::net::sockopt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// A connected socket. Everything above reads and writes it alike.
pub(crate) enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Connects and sets the options; TLS comes after, by [`crate::tls`].
    pub(crate) async fn connect(target: &Target) -> Result<Socket> {
        let context = || format!("connect to {}", target.address());
        match &target.host {
            Host::Unix(directory) => {
                let path = target.socket_path(directory);
                Ok(Socket::Unix(
                    UnixStream::connect(path).await.map_err(|error| connection(context(), error))?,
                ))
            }
            Host::Tcp(host) => {
                let tcp = TcpStream::connect((host.as_str(), target.port)).await;
                let tcp = tcp.map_err(|error| connection(context(), error))?;
                prepare(&tcp, target).map_err(|error| connection(context(), error))?;
                Ok(Socket::Tcp(tcp))
            }
        }
    }

    /// A second handle on a socket without TLS, for reads that leave the runtime out.
    pub(crate) fn raw(&self) -> io::Result<Option<Raw>> {
        let (fd, kind) = match self {
            Socket::Unix(unix) => (unix.as_fd(), RawKind::Unix),
            Socket::Tcp(tcp) => (tcp.as_fd(), RawKind::Far),
            Socket::Tls(_) => return Ok(None),
        };
        Ok(Some(Raw { fd: fd.try_clone_to_owned()?, kind, low_water: 1 }))
    }
}

/// Nagle off (feedback is small and must go at once); a dead peer is noticed within the target's limits.
fn prepare(tcp: &TcpStream, target: &Target) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, Duration::from_secs(10))?;
    sockopt::set_tcp_keepintvl(tcp, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(tcp, 4)?;
    sockopt::set_tcp_user_timeout(
        tcp,
        u32::try_from(target.tcp_user_timeout.as_millis()).unwrap_or(u32::MAX),
    )?;
    Ok(())
}

/// Reads of a socket by system calls on the calling thread. The server sends each message by a system call of
/// its own, and the cheapest reader is one that is not woken for each of them.
pub(crate) struct Raw {
    fd: OwnedFd,
    pub(crate) kind: RawKind,
    low_water: i32,
}

/// What the server is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RawKind {
    Unix,
    /// TCP, with a round trip so short that a small window holds nothing up.
    Near,
    /// TCP of any other kind, or not known to be near.
    Far,
}

impl Raw {
    /// What has arrived, without waiting; `None` when nothing has. `Some(0)` is the end of the stream.
    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::io::read(&self.fd, &mut *into) {
                Ok(count) => return Ok(Some(count)),
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives TCP a small window when the server is near. While nobody reads, such a window is soon full, and from then on the
    /// server's kernel merges its small messages into large packets: each packet costs more than what is in it.
    pub(crate) fn narrow(&mut self, near: Duration, window: usize) -> io::Result<()> {
        if self.kind == RawKind::Far && round_trip(self.fd.as_fd())? <= near {
            sockopt::set_socket_recv_buffer_size(&self.fd, window)?;
            self.kind = RawKind::Near;
        }
        Ok(())
    }

    /// Blocks the thread for `limit`; with a far server, until there is as much to read as `wake_at` said, and then true.
    pub(crate) fn rest(&self, limit: Duration) -> io::Result<bool> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        if self.kind != RawKind::Far {
            std::thread::sleep(limit);
            return Ok(false);
        }
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(limit.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        match poll(&mut fds, Some(&limit)) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets the kernel report a TCP socket as readable only when `bytes` have arrived.
    pub(crate) fn wake_at(&mut self, bytes: i32) -> io::Result<()> {
        if self.kind == RawKind::Unix || self.low_water == bytes {
            return Ok(());
        }
        set_low_water(self.fd.as_fd(), bytes)?;
        self.low_water = bytes;
        Ok(())
    }
}

/// The shortest round trip that TCP has seen on this connection (`TCP_INFO`, which the safe wrappers do not have).
fn round_trip(fd: BorrowedFd<'_>) -> io::Result<Duration> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open for the length of the borrow; the kernel writes at most `len` bytes into `info`, all of
    // them plain numbers, and those that it does not write are zero.
    let (result, info) = unsafe {
        let result = libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        );
        (result, info.assume_init())
    };
    match result {
        0 if info.tcpi_min_rtt > 0 => Ok(Duration::from_micros(info.tcpi_min_rtt.into())),
        // An older kernel does not say.
        0 => Ok(Duration::MAX),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `SO_RCVLOWAT`, which the safe wrappers do not have.
fn set_low_water(fd: BorrowedFd<'_>, bytes: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for the length of the borrow, and the option's value is one c_int that
    // lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Calls a poll method of whichever socket it is.
macro_rules! each {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self.get_mut() {
            Socket::Unix($socket) => {
                let $socket = Pin::new($socket);
                $call
            }
            Socket::Tcp($socket) => {
                let $socket = Pin::new($socket);
                $call
            }
            Socket::Tls($socket) => {
                let $socket = Pin::new($socket.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => socket.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, socket => socket.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, socket => socket.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn only_a_near_server_gets_a_small_window() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = Socket::Tcp(TcpStream::connect(server.local_addr().unwrap()).await.unwrap());
        let mut raw = socket.raw().unwrap().unwrap();
        let before = sockopt::socket_recv_buffer_size(&raw.fd).unwrap();
        raw.narrow(Duration::ZERO, 32 << 10).unwrap();
        assert_eq!(raw.kind, RawKind::Far);
        assert_eq!(sockopt::socket_recv_buffer_size(&raw.fd).unwrap(), before);
        raw.narrow(Duration::from_secs(10), 32 << 10).unwrap();
        assert_eq!(raw.kind, RawKind::Near);
        // The kernel doubles what it is told.
        assert_eq!(sockopt::socket_recv_buffer_size(&raw.fd).unwrap(), 64 << 10);
    }
}
