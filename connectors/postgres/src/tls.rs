//! TLS as libpq's `sslmode` means it, over rustls with the ring provider.

mod binding;
mod verify;

use crate::target::{Host, SslMode, Target};
use connector_api::{Error, Result};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use binding::server_end_point;

/// Makes TLS sessions with the server of one target; reads certificate files once.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Connector {
    /// `None` when TLS has no place: `sslmode=disable`, or a Unix socket.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when a certificate or key file cannot be used.
    pub(crate) fn new(target: &Target) -> Result<Option<Connector>> {
        let Host::Tcp(host) = &target.host else { return Ok(None) };
        if target.tls.mode == SslMode::Disable {
            return Ok(None);
        }
        // Two providers in one process make rustls's default a panic, so that ours is named.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = verify::verifier(&target.tls, provider.clone())?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::config("set up TLS").caused_by(error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match (&target.tls.certificate, &target.tls.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|error| Error::config("use sslcert and sslkey").caused_by(error))?,
            _ => builder.with_no_client_auth(),
        };
        if target.tls.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        let name = ServerName::try_from(host.clone())
            .map_err(|error| Error::config(format!("use {host} as a name for TLS")).caused_by(error))?;
        Ok(Some(Connector { tls: TlsConnector::from(Arc::new(config)), name }))
    }

    /// The handshake.
    pub(crate) async fn connect(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>> {
        self.tls.connect(self.name.clone(), tcp).await.map_err(|error| {
            let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let config =
                matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)));
            let made =
                if config { Error::config("open TLS session") } else { Error::transient("open TLS session") };
            made.caused_by(error)
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let context = || format!("read certificates of {}", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect())
        .map_err(|error| Error::config(context()).caused_by(error))?;
    if found.is_empty() { Err(Error::config(format!("{}: there are none", context()))) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| Error::config(format!("read private key of {}", path.display())).caused_by(error))
}

/// The signature schemes of `provider`, as the verifiers need them.
fn algorithms(provider: &CryptoProvider) -> rustls::crypto::WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}
