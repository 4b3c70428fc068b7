//! A local HTTP receiver that only counts changes: one for each request, or the elements of an array.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{sleep, spawn};
use std::time::Duration;

use serde::de::IgnoredAny;

use crate::measure::Error;

/// It listens until the program ends; each connection has a thread.
pub struct Receiver {
    address: SocketAddr,
    changes: Arc<AtomicU64>,
}

impl Receiver {
    pub fn start() -> Result<Self, Error> {
        Self::listen(serve)
    }

    /// One that takes requests and never answers.
    pub fn silent() -> Result<Self, Error> {
        Self::listen(|connection, _| {
            // Held open for longer than any run.
            sleep(Duration::from_secs(7200));
            drop(connection);
            None
        })
    }

    fn listen(serve: fn(TcpStream, &AtomicU64) -> Option<()>) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let changes = Arc::new(AtomicU64::new(0));
        let counter = changes.clone();
        spawn(move || {
            for connection in listener.incoming().flatten() {
                let counter = counter.clone();
                spawn(move || serve(connection, &counter));
            }
        });
        Ok(Self { address, changes })
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// How many changes have come so far.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

/// Answers requests until the client closes; none at the end of the connection.
fn serve(connection: TcpStream, changes: &AtomicU64) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let mut answers = connection.try_clone().ok()?;
    let mut requests = BufReader::new(connection);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if requests.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let header = line.trim_end();
            if header.is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
        }
        body.resize(length, 0);
        requests.read_exact(&mut body).ok()?;
        let count = match body.first() {
            Some(b'[') => serde_json::from_slice::<Vec<IgnoredAny>>(&body).ok()?.len() as u64,
            _ => 1,
        };
        changes.fetch_add(count, Ordering::Release);
        answers.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    }
}
