//! `POST /api/sources/{source}/refresh`: rows read again from the source, through the log.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connector_api::{Error, Refresh, Result};

use crate::http::Admin;
use crate::http::routes::{Answer, ask};
use crate::http::views::{RefreshRequest, RefreshView};
use crate::pipeline::capture::Command;

/// Most keys of one request: it is one transaction in the log.
pub const KEYS_MAX: usize = 10_000;

/// Answers when the rows are durable in the log, with the ends of the source's topics then: a sink that has passed these has
/// applied them.
pub(super) async fn refresh(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Json(request): Json<RefreshRequest>,
) -> Answer<RefreshView> {
    let source = admin.service.sources.get(&name).ok_or_else(|| unknown(&admin, &name))?;
    let wanted = Refresh { topic: Arc::from(request.topic.as_str()), keys: decode(&request)? };
    let refreshed = ask(&source.commands, "source", |answer| Command::Refresh(wanted, answer)).await?;
    let prefix = format!("{name}.");
    let topics = admin.service.log.topics().into_iter();
    let ends = topics
        .filter(|topic| topic.topic.topic.starts_with(&prefix) && topic.end > topic.earliest)
        .map(|topic| (topic.topic.to_string(), topic.end));
    Ok(Json(RefreshView {
        done: refreshed.done as u64,
        rows: refreshed.rows,
        deletes: refreshed.deletes,
        overtaken: refreshed.overtaken,
        ends: ends.collect(),
    }))
}

fn decode(request: &RefreshRequest) -> Result<Vec<Vec<u8>>> {
    if request.keys.len() > KEYS_MAX {
        return Err(Error::config(format!("{} keys in one request, at most {KEYS_MAX}", request.keys.len())));
    }
    let keys = request.keys.iter().map(|key| STANDARD.decode(key));
    keys.collect::<std::result::Result<_, _>>().map_err(|error| Error::config("read keys").caused_by(error))
}

fn unknown(admin: &Admin, name: &str) -> Error {
    let names: Vec<_> = admin.service.sources.keys().map(String::as_str).collect();
    Error::config(format!("no source {name:?}")).with_remedy(format!("name one of: {}", names.join(", ")))
}
