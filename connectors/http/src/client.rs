//! The HTTP client: connections, TLS, and which redirects it follows.

use std::fs;
use std::path::Path;
use std::time::Duration;

use connector_api::{Error, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, Identity, StatusCode};

use crate::options::Options;

/// How long a connection may take to be made, handshake included.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Redirects that one request follows.
const REDIRECTS_MAX: usize = 3;

/// A client for the endpoint of one sink.
///
/// # Errors
/// [`connector_api::Kind::Config`] when a file cannot be used.
pub(crate) fn build(options: &Options) -> Result<Client> {
    // Without one the first handshake panics. Another part of the process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let timeout = options.timeout.duration();
    let mut builder = Client::builder()
        .user_agent(concat!("millstream/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers(options)?)
        .timeout(timeout)
        .connect_timeout(timeout.min(CONNECT_PATIENCE))
        .pool_max_idle_per_host(options.concurrency as usize)
        .redirect(Policy::custom(
            |attempt| {
                if is_safe(&attempt) { attempt.follow() } else { attempt.stop() }
            },
        ));
    if let Some(path) = &options.ca {
        let certificates = Certificate::from_pem_bundle(&read(path, "ca")?)
            .map_err(|cause| Error::config(format!("read ca {}", path.display())).caused_by(cause))?;
        if certificates.is_empty() {
            return Err(Error::config(format!("read ca {}: it holds no certificate", path.display())));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let (Some(certificate), Some(key)) = (&options.certificate, &options.key) {
        let mut pem = read(certificate, "certificate")?;
        pem.push(b'\n');
        pem.extend(read(key, "key")?);
        let identity = Identity::from_pem(&pem).map_err(|cause| {
            let files = format!("{} and {}", certificate.display(), key.display());
            Error::config(format!("use certificate and key in {files}")).caused_by(cause)
        })?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|cause| Error::config("set up HTTP client").caused_by(cause))
}

/// Only to the same scheme, host and port, so that neither secrets nor rows go anywhere else; and only the two kinds that
/// keep method and body.
fn is_safe(attempt: &Attempt<'_>) -> bool {
    let keeps = matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    keeps && same && attempt.previous().len() <= REDIRECTS_MAX
}

fn headers(options: &Options) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &options.headers {
        let wrong = || Error::config(format!("use header {name:?}"));
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}

fn read(path: &Path, option: &str) -> Result<Vec<u8>> {
    fs::read(path)
        .map_err(|cause| Error::config(format!("read {option} {}", path.display())).caused_by(cause))
}
