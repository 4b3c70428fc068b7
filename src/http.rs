//! The admin API: health, metrics, status, and what an operator may ask for. Documented in docs/API.md.

pub mod erasures;
pub mod metrics;
pub mod refresh;
mod routes;
pub use routes::append_events;
pub mod view;
pub mod views;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use connector_api::{Error, Kind, Result};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::http::views::Problem;
use crate::service::Service;

/// What every handler gets.
#[derive(Clone)]
pub struct Admin {
    service: Arc<Service>,
    config: Arc<Config>,
}

/// Binds the address of the admin API.
///
/// # Errors
/// When the address is taken.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        Error::config(format!("listen on {listen} for the admin API"))
            .caused_by(error)
            .with_remedy("set another address, for example  admin: {listen: \"127.0.0.1:7071\"}")
    })
}

/// Serves until `stop` resolves; requests under way are finished.
///
/// # Errors
/// When accepting connections fails.
pub async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    config: Arc<Config>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let admin = Admin { service, config };
    let app: Router =
        routes::router().layer(middleware::from_fn_with_state(admin.clone(), authorize)).with_state(admin);
    axum::serve(listener, app)
        .with_graceful_shutdown(stop)
        .await
        .map_err(|error| Error::transient("serve the admin API").caused_by(error))
}

/// Everything but `/healthz` wants the token, where one is configured. Compared in constant time. Without a token
/// only a loopback address is allowed (the configuration checks that), and then the `Host` must be one, too, so that a
/// web page cannot reach the API through a name of its own.
async fn authorize(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/healthz" || is_allowed(&admin.config, request.headers()) {
        return next.run(request).await;
    }
    let problem = Problem {
        error: "not allowed".into(),
        kind: Kind::Auth.as_str().into(),
        remedy: Some("send the token of admin.token as  Authorization: Bearer TOKEN".into()),
    };
    (StatusCode::UNAUTHORIZED, Json(problem)).into_response()
}

fn is_allowed(config: &Config, headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match &config.admin.token {
        Some(token) => {
            let given = header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
            given.is_some_and(|given| given.as_bytes().ct_eq(token.expose().as_bytes()).into())
        }
        None => header(header::HOST).is_none_or(is_loopback),
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An [`Error`] as an HTTP answer.
pub(crate) struct Refused(pub Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Refused(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.kind() {
            Kind::Config | Kind::Data => StatusCode::BAD_REQUEST,
            Kind::Auth => StatusCode::FORBIDDEN,
            Kind::Lost => StatusCode::GONE,
            Kind::Transient => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let problem = Problem {
            error: self.0.to_string(),
            kind: self.0.kind().as_str().into(),
            remedy: self.0.remedy().map(str::to_owned),
        };
        (status, Json(problem)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_hosts_pass_without_a_token() {
        for host in ["localhost", "localhost:7070", "127.0.0.1:7070", "[::1]:7070", "127.9.9.9"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["evil.example:7070", "10.0.0.1:7070", "localhost.evil.example", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
