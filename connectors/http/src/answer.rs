//! What an answer, or none, means for the events that were sent.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use connector_api::{Error, Kind};
use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use crate::address::shown;
use crate::pace::retry_after;

/// Most of an answer's body that is read, so that its connection can be used again. It is never shown: it may repeat what
/// was sent.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long reading it may take.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// The outcome of one request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The endpoint took everything in it.
    Accepted,
    /// It will never take it.
    Refused(Error),
    /// It may take it later.
    Later(Failure),
    /// Something is wrong that has nothing to do with these events.
    Void(Error),
    /// There was no TLS session, because one side does not trust the other's certificate.
    Untrusted(Error),
}

/// Why a request should be made again.
#[derive(Debug)]
pub(crate) struct Failure {
    pub error: Error,
    /// How long the endpoint wants to be left alone.
    pub after: Option<Duration>,
    pub cause: Cause,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There was no connection: no event is to blame.
    Unreachable,
    /// The request was sent, and no answer came.
    Unanswered,
    /// The endpoint is busy, and said so: no event is to blame.
    Busy,
    /// The endpoint failed, and said so.
    Failed,
}

/// Reads the outcome; the body only so far that the connection can be used again.
pub(crate) async fn read(outcome: reqwest::Result<Response>) -> Answer {
    read_whole(outcome).await.0
}

/// Reads the outcome, the status and the body; of one that is too long, or too slow, only its beginning.
pub(crate) async fn read_whole(outcome: reqwest::Result<Response>) -> (Answer, Option<StatusCode>, Vec<u8>) {
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) => return (unanswered(error), None, Vec::new()),
    };
    let answer = judge(&response);
    let mut body = Vec::new();
    let drain = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            // Dropped unread: the connection is closed.
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                break;
            }
            body.extend_from_slice(&chunk);
        }
    };
    // What is known of the status stays true if the rest never comes.
    let _ = tokio::time::timeout(BODY_PATIENCE, drain).await;
    (answer, Some(response.status()), body)
}

fn unanswered(error: reqwest::Error) -> Answer {
    let place = error.url().map(shown).unwrap_or_default();
    let unreachable = error.is_connect();
    if is_certificate(&error) {
        let error =
            Error::config(format!("send to {place}: open TLS session")).caused_by(error.without_url());
        return Answer::Untrusted(error.with_remedy(
            "ca: the PEM file of the authority that signed the endpoint's certificate; or certificate and key, when it asks for one",
        ));
    }
    if error.is_builder() {
        return Answer::Void(Error::config(format!("send to {place}")).caused_by(error.without_url()));
    }
    let what = match (unreachable, error.is_timeout()) {
        (true, _) => "cannot connect",
        (false, true) => "no answer in time",
        (false, false) => "no answer",
    };
    let cause = if unreachable { Cause::Unreachable } else { Cause::Unanswered };
    let error = Error::transient(format!("send to {place}: {what}")).caused_by(error.without_url());
    Answer::Later(Failure { error, after: None, cause })
}

/// The peer's certificate is not to be trusted, or it does not trust ours: no matter of time.
fn is_certificate(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return matches!(tls, rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_));
        }
        // An I/O error hides the one that it was made of from `source`.
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

fn judge(response: &Response) -> Answer {
    let (status, place) = (response.status(), shown(response.url()));
    let context = format!("send to {place}: answered {status}");
    match status.as_u16() {
        200..=299 => Answer::Accepted,
        300..=399 => Answer::Void(moved(response, context)),
        401 | 403 | 407 => {
            let error = Error::new(Kind::Auth, context);
            Answer::Void(
                error.with_remedy("correct headers or secret of this sink; the events wait in the log"),
            )
        }
        // These speak of the address, which all events share.
        404 | 405 | 410 => {
            let error = Error::config(context);
            Answer::Void(error.with_remedy("correct url or method of this sink; the events wait in the log"))
        }
        408 | 425 | 429 | 500.. => Answer::Later(Failure {
            error: Error::transient(context),
            after: asked(response),
            cause: match status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::TOO_EARLY => Cause::Busy,
                _ => Cause::Failed,
            },
        }),
        _ => Answer::Refused(Error::data(context)),
    }
}

fn asked(response: &Response) -> Option<Duration> {
    let header = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    retry_after(header, SystemTime::now())
}

/// Redirects that the client did not follow: to another host, or of a kind that turns a request into a GET.
fn moved(response: &Response, context: String) -> Error {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let to = location.and_then(|location| response.url().join(location).ok());
    let to = to.as_ref().map_or_else(|| "nowhere".to_owned(), shown);
    Error::config(format!(
        "{context}, and points to {to}; that was not followed, because requests carry secrets and rows"
    ))
    .with_remedy("if you trust the new address, make it the url of this sink")
}
