//! A server on a bare socket: it reads whole requests, and may close instead of answering.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// A request: its head, lower-cased, and its body.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: Vec<String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> String {
        let start = format!("{name}: ");
        self.head.iter().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
    }
}

/// Reads one request; `None` at the end.
pub async fn read<S: AsyncRead + Unpin>(from: &mut BufReader<S>) -> Option<Request> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            text => head.push(text.to_ascii_lowercase()),
        }
    }
    let request = Request { head, body: Vec::new() };
    let mut body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    from.read_exact(&mut body).await.ok()?;
    Some(Request { body, ..request })
}

/// Serves one connection: notes every request, and writes what `react` gives; nothing closes the connection.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    seen: Arc<Mutex<Vec<Request>>>,
    react: impl Fn(usize) -> Option<&'static str>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let count = {
            let mut all = seen.lock().expect("no panic before");
            all.push(request);
            all.len() - 1
        };
        let Some(answer) = react(count) else { return };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
