//! What `millstream check` says, and that it sends no event.

use std::sync::Arc;

use connector_api::options::Secret;
use connector_api::{Severity, Target};
use connector_http::{Options, check};

use crate::endpoint::{Endpoint, Reaction};
use crate::feed::schema;

async fn codes(options: &Options, targets: &[Arc<Target>]) -> Vec<(&'static str, Severity)> {
    let findings = check("hook", options, targets).await.expect("findings");
    findings.iter().map(|finding| (finding.code, finding.severity)).collect()
}

fn signed(url: &str) -> Options {
    Options { secret: Some(Secret::new("0123456789abcdef")), ..Options::new(url) }
}

#[tokio::test]
async fn it_looks_and_sends_nothing() {
    let endpoint =
        Endpoint::start(|seen, _| Reaction::status(if seen.method == "HEAD" { 405 } else { 200 })).await;
    assert_eq!(codes(&signed(&endpoint.url), &[]).await, [("http-head", Severity::Note)]);
    let seen = endpoint.seen();
    assert_eq!((seen.len(), seen[0].method.as_str(), seen[0].body.len()), (1, "HEAD", 0));
    assert_eq!(codes(&Options::new(&endpoint.url), &[]).await[0], ("http-not-signed", Severity::Note));
    let willing = Endpoint::willing().await;
    assert_eq!(codes(&signed(&willing.url), &[]).await, []);
}

#[tokio::test]
async fn what_is_wrong_is_an_error_with_a_remedy() {
    let gone = Endpoint::willing().await;
    let url = gone.url.clone();
    drop(gone);
    let findings = check("hook", &signed(&url), &[]).await.expect("findings");
    assert_eq!((findings[0].code, findings[0].severity), ("http-unreachable", Severity::Error));
    assert!(findings[0].remedy.as_deref().is_some_and(|remedy| remedy.starts_with("curl")), "{findings:?}");
    let nowhere = signed("https://no-such-host.invalid/hook");
    assert_eq!(codes(&nowhere, &[]).await, [("http-unreachable", Severity::Error)]);
    assert_eq!(codes(&signed("nonsense"), &[]).await, [("http-options", Severity::Error)]);
    let files = Options { ca: Some("missing.pem".into()), ..signed(&url) };
    assert_eq!(codes(&files, &[]).await, [("http-client", Severity::Error)]);
}

#[tokio::test]
async fn plain_http_to_another_machine_is_a_warning() {
    let codes = codes(&signed("http://user:pass@no-such-host.invalid/"), &[]).await;
    assert!(codes.contains(&("http-not-encrypted", Severity::Warning)), "{codes:?}");
    assert!(codes.contains(&("http-credentials-in-url", Severity::Warning)), "{codes:?}");
}

#[tokio::test]
async fn names_that_cannot_stand_in_the_url_are_found() {
    let endpoint = Endpoint::willing().await;
    let whole = Target::whole(&"shop.public.users".into(), &schema(vec![0]));
    let bad = Arc::new(Target { table: "..".to_owned(), ..whole.clone() });
    let options = signed(&format!("{}/{{table}}", endpoint.url));
    assert_eq!(codes(&options, &[Arc::new(whole), bad]).await, [("http-mapping", Severity::Error)]);
    assert_eq!(endpoint.seen()[0].uri.path(), "/hook/users");
}
