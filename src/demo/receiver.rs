//! A fourth service, behind a webhook: it knows who can be notified, in memory, and forgets whom it is told to forget.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connector_api::{Error, Result};
use serde_json::Value as Json;

/// More than any request of the demo has.
const BODY_MAX: usize = 8 << 20;

/// What the service knows.
#[derive(Default)]
pub struct Known {
    /// Names and phones, by the user's id.
    pub people: BTreeMap<i64, (String, String)>,
    /// The cases that it was told of, in order, repeats too.
    pub cases: Vec<String>,
}

/// The service; its thread ends with the program.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub port: u16,
    known: Arc<Mutex<Known>>,
}

impl Receiver {
    /// Starts it on a port of its own.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start() -> Result<Receiver> {
        let failed = |error| Error::io("listen on 127.0.0.1 for webhooks", error);
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let receiver = Receiver { port, known: Arc::default() };
        let known = receiver.known.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let known = known.clone();
                std::thread::spawn(move || serve(connection, &known));
            }
        });
        Ok(receiver)
    }

    /// What it knows now.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers requests until the other side closes, or sends what is no request.
fn serve(connection: TcpStream, known: &Mutex<Known>) -> Option<()> {
    connection.set_nodelay(true).ok()?;
    let mut answers = connection.try_clone().ok()?;
    let mut requests = BufReader::new(connection);
    loop {
        let body = request(&mut requests)?;
        let answer = match serde_json::from_slice(&body) {
            Ok(Json::Array(events)) => {
                let mut known = lock(known);
                events.iter().fold(0, |rows, event| rows + take(&mut known, event))
            }
            Ok(event) => take(&mut lock(known), &event),
            Err(_) => return None,
        };
        let body = format!("{{\"rows\": {answer}}}");
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        answers.write_all((head + &body).as_bytes()).ok()?;
    }
}

/// The body of the next request.
fn request(requests: &mut impl BufRead) -> Option<Vec<u8>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if requests.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(':') {
            None if line.trim_end().is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().ok()?;
            }
            _ => {}
        }
    }
    let mut body = vec![0; Some(length).filter(|length| *length <= BODY_MAX)?];
    requests.read_exact(&mut body).ok()?;
    Some(body)
}

/// Takes up an event. Returns how many people it forgot because it was told to.
fn take(known: &mut Known, event: &Json) -> usize {
    if event["type"] == "millstream.erasure" {
        known.cases.extend(event["case"].as_str().map(str::to_owned));
        return event["key"].as_i64().map_or(0, |id| usize::from(known.people.remove(&id).is_some()));
    }
    let Some(id) = event["key"]["id"].as_i64() else { return 0 };
    if event["op"] == "d" {
        known.people.remove(&id);
    } else {
        let text = |name: &str| event["row"][name].as_str().unwrap_or_default().to_owned();
        let (name, phone) = (text("name"), text("phone"));
        // A column that an update did not touch may be left out.
        let person = known.people.entry(id).or_default();
        if !name.is_empty() {
            *person = (name, phone);
        }
    }
    0
}
