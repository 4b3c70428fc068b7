//! Which server certificates are accepted, by `sslmode`.

use super::{algorithms, certificates};
use crate::target::{SslMode, Tls};
use connector_api::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::client::{WebPkiServerVerifier, danger};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// The verifier that `tls.mode` asks for. As in libpq, `require` with a root file verifies the chain.
pub(super) fn verifier(tls: &Tls, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    match (tls.mode, &tls.root) {
        (SslMode::VerifyFull, _) => {
            let roots = Arc::new(roots(tls)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            Ok(verifier.map_err(|error| Error::config("set up TLS").caused_by(error))?)
        }
        (SslMode::VerifyCa, _) | (SslMode::Require, Some(_)) => {
            Ok(Arc::new(Chain { roots: Some(roots(tls)?), provider }))
        }
        _ => Ok(Arc::new(Chain { roots: None, provider })),
    }
}

fn roots(tls: &Tls) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match &tls.root {
        Some(path) => {
            for certificate in certificates(path)? {
                store.add(certificate).map_err(|error| {
                    Error::config(format!("use root of {}", path.display())).caused_by(error)
                })?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        return Err(Error::config("verify server certificate: this machine has no trusted roots")
            .with_remedy("add sslrootcert=/path/to/ca.pem to the url"));
    }
    Ok(store)
}

/// A chain to a trusted root without the host's name (`verify-ca`), or encryption alone (`require`).
#[derive(Debug)]
struct Chain {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Chain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let all = algorithms(&self.provider).all;
            verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, all)?;
        }
        Ok(danger::ServerCertVerified::assertion())
    }

    // The signature is checked in every mode: without it the channel is not bound to the certificate.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &algorithms(&self.provider))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &algorithms(&self.provider))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms(&self.provider).supported_schemes()
    }
}
