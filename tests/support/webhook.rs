//! A receiver of webhooks: remembers the events that it took, in their order, and can be told to refuse, to dawdle, or
//! to be away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::support::postgres::free_port;

/// How requests are answered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mood {
    /// Instead of 204.
    pub status: Option<u16>,
    /// Before the answer.
    pub delay: Duration,
}

/// One request that was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// `Idempotency-Key`.
    pub key: String,
    /// The event, or all of a batch.
    pub events: Vec<Value>,
}

#[derive(Default)]
struct Book {
    mood: Mood,
    /// Table and key of a row that is refused for good.
    refused: Option<(&'static str, Value)>,
    taken: Vec<Taken>,
}

/// A server on one port for as long as it lives; whether it listens is up to the test.
pub struct Receiver {
    port: u16,
    book: Arc<Mutex<Book>>,
    runtime: Option<Runtime>,
}

impl Receiver {
    /// Takes everything.
    pub fn start() -> Self {
        let mut receiver = Self { port: free_port(), book: Arc::default(), runtime: None };
        receiver.start_again();
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub fn set(&self, mood: Mood) {
        self.book().mood = mood;
    }

    /// Answers 422 to events of one row, by its table and its key.
    pub fn refuse(&self, row: Option<(&'static str, Value)>) {
        self.book().refused = row;
    }

    /// What was taken so far.
    pub fn taken(&self) -> Vec<Taken> {
        self.book().taken.clone()
    }

    /// The rows that a careful receiver has now, of one table: repeats and what comes late are passed over by the offset.
    pub fn rows(&self, topic: &str) -> Vec<BTreeMap<String, Value>> {
        let mut rows: BTreeMap<String, (u64, Option<BTreeMap<String, Value>>)> = BTreeMap::new();
        for event in self.taken().into_iter().flat_map(|taken| taken.events) {
            if event["topic"] != topic {
                continue;
            }
            let offset = event["offset"].as_u64().expect("an offset");
            if event["op"] == "t" {
                rows.values_mut().filter(|(seen, _)| *seen < offset).for_each(|(_, row)| *row = None);
                continue;
            }
            let (seen, row) = rows.entry(event["key"].to_string()).or_insert((0, None));
            if *seen > offset {
                continue;
            }
            *seen = offset;
            match &event["row"] {
                Value::Object(fields) => {
                    let fields = fields.iter().map(|(name, value)| (name.clone(), value.clone()));
                    row.get_or_insert_default().extend(fields);
                }
                _ => *row = None,
            }
        }
        rows.into_values().filter_map(|(_, row)| row).collect()
    }

    /// Nobody listens any more; connections are cut.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    /// Listens again, on the same port.
    pub fn start_again(&mut self) {
        assert!(self.runtime.is_none(), "it listens");
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("start a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(("127.0.0.1", self.port)))
            .expect("listen on the port");
        let app = Router::new().fallback(answer).with_state(self.book.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        self.runtime = Some(runtime);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn answer(State(book): State<Arc<Mutex<Book>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mood = book.lock().unwrap_or_else(PoisonError::into_inner).mood;
    tokio::time::sleep(mood.delay).await;
    if let Some(status) = mood.status {
        return StatusCode::from_u16(status).expect("a status");
    }
    let events = match serde_json::from_slice(&body).expect("JSON") {
        Value::Array(events) => events,
        event => vec![event],
    };
    let key = headers["idempotency-key"].to_str().expect("ASCII").to_owned();
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((table, key)) = &book.refused
        && events.iter().any(|event| event["table"] == *table && event["key"] == *key)
    {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    book.taken.push(Taken { key, events });
    StatusCode::NO_CONTENT
}
