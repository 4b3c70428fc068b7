//! Certificates: whom the sink trusts, and who it says it is.

use std::path::Path;
use std::sync::{Arc, Mutex};

use connector_api::{Kind, Severity};
use connector_http::{Options, check};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Certificates;
use crate::feed::{Feed, options};
use crate::raw;

struct Secure {
    url: String,
    seen: Arc<Mutex<Vec<raw::Request>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).expect("a file").collect::<Result<_, _>>().expect("certificates")
}

/// A server with the certificate for `localhost`; with `asks`, it wants to see the client's.
async fn secure(asks: bool) -> Secure {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = if asks {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain(&Certificates::certificate("authority")));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("a verifier"))
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(Certificates::key("server")).expect("a key");
    let config =
        builder.with_single_cert(chain(&Certificates::certificate("server")), key).expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://localhost:{}/hook", listener.local_addr().expect("an address").port());
    let seen: Arc<Mutex<Vec<raw::Request>>> = Arc::default();
    let all = seen.clone();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let (acceptor, all) = (acceptor.clone(), all.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let react = |_| Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    raw::serve(stream, all, react).await;
                }
            });
        }
    });
    Secure { url, seen, server }
}

async fn send(options: Options) -> Result<(), connector_api::Error> {
    let mut feed = Feed::new(options).await;
    feed.insert(1, "x");
    feed.flush().await.map(|refused| assert!(refused.is_empty()))
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named() {
    let server = secure(false).await;
    let trusting = Options { ca: Some(Certificates::certificate("authority")), ..options(&server.url) };
    send(trusting.clone()).await.expect("delivered");
    assert_eq!(server.seen.lock().expect("no panic before").len(), 1);
    let findings = check("hook", &trusting, &[]).await.expect("findings");
    assert!(findings.iter().all(|finding| finding.severity == Severity::Note), "{findings:?}");
}

#[tokio::test]
async fn any_other_certificate_is_refused_and_nothing_is_sent() {
    let server = secure(false).await;
    let stranger = Some(Certificates::certificate("stranger"));
    let numeric = server.url.replace("localhost", "127.0.0.1");
    let cases = [
        options(&server.url),
        Options { ca: stranger, ..options(&server.url) },
        Options { ca: Some(Certificates::certificate("authority")), ..options(&numeric) },
    ];
    for options in cases {
        let error = send(options.clone()).await.expect_err("not trusted");
        assert_eq!(error.kind(), Kind::Config, "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("ca:")), "{error:?}");
        let findings = check("hook", &options, &[]).await.expect("findings");
        assert!(findings.iter().any(|finding| finding.code == "http-certificate"), "{findings:?}");
    }
    assert!(server.seen.lock().expect("no panic before").is_empty());
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_it_is_asked_for() {
    let server = secure(true).await;
    let without = Options { ca: Some(Certificates::certificate("authority")), ..options(&server.url) };
    let error = send(without.clone()).await.expect_err("it must show one");
    assert!(matches!(error.kind(), Kind::Config | Kind::Transient), "{error:?}");
    let (certificate, key) = (Some(Certificates::certificate("client")), Some(Certificates::key("client")));
    send(Options { certificate, key, ..without.clone() }).await.expect("delivered");
    let missing = Some("no such file".into());
    let error = {
        let mut sink = connector_http::Http::new(
            "hook",
            Options { certificate: missing, key: Some("k".into()), ..without },
        );
        connector_api::Sink::start(&mut sink, crate::feed::LOG).await.expect_err("no file")
    };
    assert!(error.to_string().contains("no such file"), "{error}");
}
