//! The admin API by a plain TCP connection, as a probe or a scraper sees it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// The address that a configuration written by `config` listens on.
pub fn address(config: &Path) -> String {
    let text = fs::read_to_string(config).expect("read the configuration");
    let (_, rest) = text.split_once("listen: \"").expect("an admin address");
    rest.split('"').next().expect("a closing quote").to_owned()
}

/// `GET PATH`: status and body; `None` while nothing answers.
pub fn get(config: &Path, path: &str) -> Option<(u16, String)> {
    let address = address(config);
    let mut stream = TcpStream::connect(&address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The value of one line of `/metrics`, by its whole name with labels.
pub fn metric(config: &Path, name: &str) -> Option<f64> {
    let (_, body) = get(config, "/metrics")?;
    let holds = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with("{} "))
    };
    let line = body.lines().find(holds)?;
    line.rsplit(' ').next()?.parse().ok()
}

/// `GET /api/status` as JSON.
pub fn status(config: &Path) -> Option<serde_json::Value> {
    serde_json::from_str(&get(config, "/api/status")?.1).ok()
}

/// `POST PATH` with a body of JSON: status and body; `None` while nothing answers.
pub fn post(config: &Path, path: &str, json: &str) -> Option<(u16, String)> {
    let address = address(config);
    let mut stream = TcpStream::connect(&address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set a timeout");
    let length = json.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{json}"
    )
    .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
