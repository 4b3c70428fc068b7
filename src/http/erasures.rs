//! `/api/erasures` and `/api/subjects`: opening cases, looking at them, certificates, confirmations, and what is held of
//! somebody.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use connector_api::erasure::Erased;
use connector_api::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::erasure::receipt::{Done, Receipt};
use crate::erasure::view::CaseView;
use crate::erasure::{Erasures, export};
use crate::http::routes::{Answer, ask};
use crate::http::{Admin, Refused, views};
use crate::pipeline::capture;
use crate::pipeline::status::now_us;
use crate::registry;

/// Cases that one answer lists.
const CASES_MAX: usize = 1_000;

/// Who is meant. In a body and not in the address: addresses end up in logs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The kind of subject.
    pub subject: String,
    /// Its key, as the source shows it.
    pub key: String,
    /// Also delete the subject's row in the source.
    #[serde(default)]
    pub delete_at_source: bool,
}

/// The case that answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Opened {
    /// Its id.
    pub case: String,
    /// Rows that were deleted in the source.
    pub deleted_at_source: u64,
}

fn erasures(admin: &Admin) -> Result<&Erasures> {
    admin.service.erasures.as_ref().ok_or_else(|| {
        Error::config("no kind of data subject is configured").with_remedy(
            "describe one in the `erasure` section of the configuration, and start the service again",
        )
    })
}

/// Opens a case; durable in the log when it returns. Asking twice gives the same case.
pub(super) async fn erase(State(admin): State<Admin>, Json(asked): Json<Asked>) -> Answer<Opened> {
    let erasures = erasures(&admin)?;
    let (source, key) = erasures.key(&*admin.service.log, &asked.subject, &asked.key)?;
    let handle =
        admin.service.sources.get(&source).ok_or_else(|| Error::config(format!("no source {source}")))?;
    // A case that does not hold any more is carried out again.
    let again = erasures.known(&asked.subject, &key)?.is_some_and(|case| case.violated);
    let wanted = capture::Asked { subject: asked.subject.clone(), key, again };
    let case = ask(&handle.commands, "source", |answer| capture::Command::Erase(wanted, answer)).await?;
    let mut deleted_at_source = 0;
    if asked.delete_at_source {
        let (subject, connector) = (
            crate::erasure::fence::known(&erasures.gate.rules, &asked.subject)?,
            admin.config.sources.get(&source).ok_or_else(|| Error::config(format!("no source {source}")))?,
        );
        deleted_at_source =
            registry::delete_row(&source, connector, &subject.topic, &subject.key, &asked.key).await?;
    }
    Ok(Json(Opened { case, deleted_at_source }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    subject: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Query(query): Query<ListQuery>,
) -> Answer<Vec<CaseView>> {
    let limit = query.limit.unwrap_or(CASES_MAX).min(CASES_MAX);
    Ok(Json(erasures(&admin)?.cases(query.subject, query.state.as_deref(), limit)?))
}

pub(super) async fn show(State(admin): State<Admin>, Path(id): Path<String>) -> Answer<CaseView> {
    Ok(Json(CaseView::of(&erasures(&admin)?.case(&id)?, now_us())))
}

pub(super) async fn certificate(
    State(admin): State<Admin>,
    Path(id): Path<String>,
) -> std::result::Result<Response, Refused> {
    let text = erasures(&admin)?.certificate(&admin.service.log.id().to_string(), &id)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// What another system says it did.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Confirmation {
    #[serde(default)]
    rows: u64,
    #[serde(default)]
    left: u64,
    /// Who says so: a person, a ticket.
    by: Option<String>,
}

/// A webhook's later confirmation.
pub(super) async fn confirm(
    State(admin): State<Admin>,
    Path((id, sink)): Path<(String, String)>,
    Json(word): Json<Confirmation>,
) -> Answer<views::Done> {
    let erasures = erasures(&admin)?;
    let found = erasures.case(&id)?;
    let due = found.slots.iter().any(|slot| slot.due && slot.target == sink);
    let connector = admin.config.sinks.get(&sink).filter(|_| due);
    let Some(connector) = connector.filter(|connector| connector.connector.is_told()) else {
        let error =
            format!("case {id} waits for no word of {sink:?}: what millstream does there it knows itself");
        return Err(Error::config(error).with_remedy("millstream erasures CONFIG show CASE").into());
    };
    if word.left > 0 {
        let error =
            format!("case {id}: {sink} says that {} rows are left, which is no confirmation", word.left);
        return Err(Error::config(error).into());
    }
    let erased = Erased { rows: word.rows, left: 0 };
    let receipt = Receipt {
        case: id,
        kind: connector.connector.type_name().to_owned(),
        steps: vec![Done::told(erased)],
        verified: false,
        offset: found.offset,
        at_us: now_us(),
        remains: Some(registry::remains(&connector.connector).to_owned()),
        confirmed_by: Some(word.by.unwrap_or_else(|| sink.clone())),
        target: sink,
    };
    let count = u64::from(erasures.ledger.receive(&receipt)?);
    erasures.bell.notify_one();
    Ok(Json(views::Done { count }))
}

/// What every sink and the log hold of somebody.
pub(super) async fn subject(State(admin): State<Admin>, Json(asked): Json<Asked>) -> Answer<export::Export> {
    let erasures = erasures(&admin)?;
    let (_, key) = erasures.key(&*admin.service.log, &asked.subject, &asked.key)?;
    let gathered =
        export::gather(&admin.config, &erasures.gate, admin.service.log.clone(), &asked.subject, &key);
    Ok(Json(gathered.await?))
}
