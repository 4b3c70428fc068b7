//! The handlers, one small function each.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, extract::DefaultBodyLimit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connector_api::{BatchBuilder, Error, Event, Headers, Kind, Result};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use crate::erasure::event::{CASES, RECEIPTS};
use crate::http::views::{DeadLetterView, Done, OffsetView, Status, TopicView};
use crate::http::{Admin, Refused, erasures, metrics, refresh, view};
use crate::log::Log;
use crate::pipeline::dead_letter::Selection;
use crate::pipeline::deliver::Command;
use crate::pipeline::status::now_us;
use crate::render::Format;
use crate::reset::{self, Target};
use crate::tail::{Start, Tail};

/// Largest event that `POST /api/topics/{topic}` takes.
const EVENT_BYTES_MAX: usize = 16 << 20;
/// How long a sink may take to answer a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
/// Letters that one answer lists.
const LETTERS_MAX: usize = 1_000;
/// Lines of a tail that wait for a slow client.
const TAIL_LINES: usize = 256;

pub(super) type Answer<T> = std::result::Result<Json<T>, Refused>;

pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/api/status", get(status))
        .route("/api/topics", get(topics))
        .route("/api/topics/{topic}/records", get(tail))
        .route("/api/topics/{topic}", post(produce))
        .route("/api/offsets", get(offsets))
        .route("/api/offsets/{sink}/reset", post(reset_offsets))
        .route("/api/sources/{source}/refresh", post(refresh::refresh))
        .route("/api/dead-letters/{sink}", get(dead_letters))
        .route("/api/dead-letters/{sink}/{id}", get(dead_letter))
        .route("/api/dead-letters/{sink}/retry", post(retry))
        .route("/api/dead-letters/{sink}/drop", post(drop_letters))
        .route("/api/erasures", get(erasures::list).post(erasures::erase))
        .route("/api/erasures/{case}", get(erasures::show))
        .route("/api/erasures/{case}/certificate", get(erasures::certificate))
        .route("/api/erasures/{case}/receipts/{sink}", post(erasures::confirm))
        .route("/api/subjects", post(erasures::subject))
        .layer(DefaultBodyLimit::max(EVENT_BYTES_MAX))
}

async fn readyz(State(admin): State<Admin>) -> Response {
    match admin.service.not_ready().as_slice() {
        [] => "ready\n".into_response(),
        reasons => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response(),
    }
}

async fn scrape(State(admin): State<Admin>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics::render(&admin.service) {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn status(State(admin): State<Admin>) -> Json<Status> {
    Json(view::status(&admin.service))
}

async fn topics(State(admin): State<Admin>) -> Json<Vec<TopicView>> {
    Json(view::topics(&admin.service.log.topics()))
}

async fn offsets(State(admin): State<Admin>) -> Json<Vec<OffsetView>> {
    Json(view::group_offsets(&admin.service.log.groups(), &admin.service.log.topics()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TailQuery {
    from: Option<String>,
    #[serde(default)]
    follow: bool,
    format: Option<String>,
    limit: Option<u64>,
}

/// Lines of JSON, as long as the client listens when it follows.
async fn tail(
    State(admin): State<Admin>,
    Path(topic): Path<String>,
    Query(query): Query<TailQuery>,
) -> std::result::Result<Response, Refused> {
    let from: Start = query.from.as_deref().unwrap_or("latest").parse().map_err(Error::config)?;
    let format = match &query.format {
        Some(name) => <Format as clap::ValueEnum>::from_str(name, true).map_err(Error::config)?,
        None => Format::default(),
    };
    let source = topic.split('.').next().and_then(|source| admin.service.sources.get(source));
    let info = source.map(|source| source.info.clone()).unwrap_or_default();
    let mut tail = Tail::open(&*admin.service.log, &topic, from, query.follow, query.limit, format, info)?;
    let (lines, ear) = mpsc::channel(TAIL_LINES);
    tokio::spawn(async move {
        while let Some(line) = tail.next().await.transpose() {
            let line = line.map(|line| Bytes::from(line + "\n")).map_err(std::io::Error::other);
            let last = line.is_err();
            if lines.send(line).await.is_err() || last {
                return;
            }
        }
    });
    let stream = futures_util::stream::unfold(ear, async |mut ear| Some((ear.recv().await?, ear)));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProduceQuery {
    key: Option<String>,
    #[serde(default)]
    tombstone: bool,
    /// Every line of the body is an event.
    #[serde(default)]
    lines: bool,
}

async fn produce(
    State(admin): State<Admin>,
    Path(topic): Path<String>,
    Query(query): Query<ProduceQuery>,
    body: Bytes,
) -> Answer<Done> {
    let whole = [&body[..]];
    let lines: Vec<&[u8]> = match (query.tombstone, query.lines) {
        (true, _) | (_, false) => whole.to_vec(),
        (false, true) => body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect(),
    };
    let values = lines.iter().map(|line| (!query.tombstone).then_some(*line));
    let names: Vec<_> = admin.config.sources.keys().map(String::as_str).collect();
    let count = append_events(&*admin.service.log, &names, &topic, query.key.as_deref(), values).await?;
    Ok(Json(Done { count }))
}

/// Appends events as one batch; durable when it returns.
///
/// # Errors
/// When the topic's name is not one for events, or the log refuses.
pub async fn append_events<'v>(
    log: &dyn Log,
    sources: &[&str],
    topic: &str,
    key: Option<&str>,
    values: impl Iterator<Item = Option<&'v [u8]>>,
) -> Result<u64> {
    let source = topic.split('.').next().unwrap_or_default();
    if sources.contains(&source) && topic.contains('.') {
        return Err(Error::config(format!("topic {topic} belongs to the source {source}"))
            .with_remedy("choose a name that does not begin with the name of a source and a dot"));
    }
    if [CASES, RECEIPTS].contains(&topic) {
        return Err(Error::config(format!("topic {topic} is the service's own"))
            .with_remedy("millstream erase CONFIG SUBJECT KEY  opens an erasure; for events of your own take another topic"));
    }
    let legal = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    if topic.is_empty() || topic.len() > 249 || !topic.chars().all(legal) {
        return Err(Error::config(format!("{topic:?} cannot be the name of a topic"))
            .with_remedy("use 1 to 249 of the characters a-z A-Z 0-9 . _ -"));
    }
    let topic: Arc<str> = topic.into();
    let mut builder = BatchBuilder::new("events", usize::MAX);
    let headers = Headers::default();
    let mut count = 0;
    for value in values {
        builder.event(&topic, now_us(), Event { key: key.map(str::as_bytes), value, headers: &headers })?;
        count += 1;
    }
    if count > 0 {
        log.append(builder.take(None)).await?.await?;
    }
    Ok(count)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetQuery {
    topic: Option<String>,
    to: String,
}

async fn reset_offsets(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Query(query): Query<ResetQuery>,
) -> Answer<Done> {
    let sink = sink(&admin, &name)?;
    let to: Target = query.to.parse().map_err(Error::config)?;
    let old = sink.status.lock().cursor.clone();
    let cursor =
        reset::cursor(&*admin.service.log, &sink.subscription, old, query.topic.as_deref(), to).await?;
    ask(&sink.commands, "sink", |answer| Command::Reset(cursor, answer)).await?;
    Ok(Json(Done { count: 1 }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LetterQuery {
    /// Numbers, with commas between; without it: all.
    ids: Option<String>,
}

impl LetterQuery {
    fn selection(&self) -> Result<Selection> {
        let Some(ids) = &self.ids else { return Ok(Selection::All) };
        let ids: std::result::Result<_, _> = ids.split(',').map(str::parse).collect();
        ids.map(Selection::Ids).map_err(|_| Error::config("ids are whole numbers with commas between"))
    }
}

/// Only the letters of one key of one topic.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyQuery {
    topic: Option<String>,
    /// As the log encodes it, in base64.
    key: Option<String>,
}

async fn dead_letters(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Query(query): Query<KeyQuery>,
) -> Answer<Vec<DeadLetterView>> {
    sink(&admin, &name)?;
    let limit = if query.key.is_some() { usize::MAX } else { LETTERS_MAX };
    let mut letters = admin.service.dead_letters.list(&name, limit)?;
    letters.retain(|letter| {
        let key = || letter.key.as_ref().map(|key| STANDARD.encode(key));
        query.topic.as_ref().is_none_or(|topic| **topic == *letter.topic.topic)
            && query.key.as_ref().is_none_or(|wanted| key().as_ref() == Some(wanted))
    });
    Ok(Json(letters.iter().map(view::dead_letter).collect::<Result<_>>()?))
}

async fn dead_letter(
    State(admin): State<Admin>,
    Path((name, id)): Path<(String, u64)>,
) -> Answer<Option<DeadLetterView>> {
    sink(&admin, &name)?;
    let letter = admin.service.dead_letters.get(&name, id)?;
    Ok(Json(letter.as_ref().map(view::whole_dead_letter).transpose()?))
}

async fn retry(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Query(query): Query<LetterQuery>,
) -> Answer<Done> {
    let which = query.selection()?;
    let count =
        ask(&sink(&admin, &name)?.commands, "sink", |answer| Command::RetryDeadLetters(which, answer))
            .await?;
    Ok(Json(Done { count }))
}

async fn drop_letters(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Query(query): Query<LetterQuery>,
) -> Answer<Done> {
    let which = query.selection()?;
    let count =
        ask(&sink(&admin, &name)?.commands, "sink", |answer| Command::DropDeadLetters(which, answer)).await?;
    Ok(Json(Done { count }))
}

fn sink<'a>(admin: &'a Admin, name: &str) -> Result<&'a crate::service::SinkHandle> {
    admin.service.sinks.get(name).ok_or_else(|| {
        let names: Vec<_> = admin.service.sinks.keys().map(String::as_str).collect();
        Error::config(format!("no sink {name:?}")).with_remedy(format!("name one of: {}", names.join(", ")))
    })
}

/// Sends a command to the loop of a source or a sink and waits for its answer.
pub(super) async fn ask<C, T>(
    commands: &mpsc::Sender<C>,
    whose: &str,
    make: impl FnOnce(oneshot::Sender<Result<T>>) -> C,
) -> Result<T> {
    let (answer, ear) = oneshot::channel();
    let gone = || Error::new(Kind::Transient, format!("the {whose}'s loop has ended, or begins anew"));
    let asked = async {
        commands.send(make(answer)).await.map_err(|_| gone())?;
        ear.await.map_err(|_| gone())?
    };
    tokio::time::timeout(COMMAND_TIMEOUT, asked).await.map_err(|_| {
        Error::transient(format!("the {whose} did not answer in time; it may still do what was asked"))
    })?
}
