//! A receiver of webhooks: remembers what it saw, and answers as the test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value as Json;
use tokio::net::TcpListener;

/// One request.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// `row.id` or `key.id` of a single plain event.
    pub fn key(&self) -> i64 {
        self.json()["key"]["id"].as_i64().expect("a key")
    }

    pub fn offset(&self) -> u64 {
        self.json()["offset"].as_u64().expect("an offset")
    }
}

/// What to answer.
#[derive(Debug, Clone, Default)]
pub struct Reaction {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub delay: Duration,
    pub body: Option<&'static str>,
}

impl Reaction {
    pub fn status(status: u16) -> Reaction {
        Reaction { status, ..Reaction::default() }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Reaction {
        self.headers.push((name, value.into()));
        self
    }

    pub fn saying(mut self, body: &'static str) -> Reaction {
        self.body = Some(body);
        self
    }

    pub fn after(mut self, delay: Duration) -> Reaction {
        self.delay = delay;
        self
    }
}

type React = dyn Fn(&Seen, usize) -> Reaction + Send + Sync;

/// What the handler knows.
#[derive(Clone)]
struct Script {
    seen: Arc<Mutex<Vec<Seen>>>,
    react: Arc<React>,
}

/// A server that runs until it is dropped.
pub struct Endpoint {
    pub url: String,
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Endpoint {
    /// `react` is told the request and how many came before it.
    pub async fn start(react: impl Fn(&Seen, usize) -> Reaction + Send + Sync + 'static) -> Endpoint {
        Endpoint::start_at(0, react).await
    }

    pub async fn start_at(
        port: u16,
        react: impl Fn(&Seen, usize) -> Reaction + Send + Sync + 'static,
    ) -> Endpoint {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let script = Script { seen: seen.clone(), react: Arc::new(react) };
        let app = Router::new().fallback(answer).with_state(script);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
        Endpoint { url: format!("http://127.0.0.1:{port}/hook"), port, seen, server }
    }

    /// Takes everything.
    pub async fn willing() -> Endpoint {
        Endpoint::start(|_, _| Reaction::status(204)).await
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic before").clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let seen = Seen { method, uri, headers, body };
    let reaction = {
        let mut all = script.seen.lock().expect("no panic before");
        let reaction = (script.react)(&seen, all.len());
        all.push(seen);
        reaction
    };
    tokio::time::sleep(reaction.delay).await;
    let mut response = Response::builder().status(StatusCode::from_u16(reaction.status).expect("a status"));
    for (name, value) in reaction.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(reaction.body.unwrap_or("body"))).expect("a response")
}
