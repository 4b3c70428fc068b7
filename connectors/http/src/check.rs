//! What `millstream check` says about a webhook sink. It sends no event: at most a HEAD request without a body.

use std::sync::Arc;
use std::time::Duration;

use connector_api::options::Span;
use connector_api::{Error, Finding, LogId, Result, Severity, Target};
use reqwest::Method;

use crate::address::{Address, shown};
use crate::answer::{self, Answer, Cause, Failure};
use crate::client;
use crate::event::Plan;
use crate::options::Options;

/// How long the check waits for the endpoint.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks the options, the names in URLs, and whether the endpoint can be reached.
///
/// # Errors
/// None: whatever is wrong is a finding.
pub async fn check(name: &str, options: &Options, targets: &[Arc<Target>]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let address = options.check(name).and_then(|()| Address::parse(&options.url));
    let address = match address {
        Ok(address) => address,
        Err(error) => return Ok(vec![of_error("http-options", String::new(), &error)]),
    };
    let place = shown(address.sample());
    let find = |severity, code, what: &str| Finding::new(severity, code, place.clone(), what);
    if address.is_open() {
        let what = "plain http: rows, headers and signatures can be read and changed on the way";
        findings.push(find(Severity::Warning, "http-not-encrypted", what).with_remedy("url: https://…"));
    }
    if address.has_credentials() {
        let what = "url holds a user or password; headers are never shown, url is";
        let remedy = "headers: {authorization: \"Basic ${file:./credentials}\"}";
        findings.push(find(Severity::Warning, "http-credentials-in-url", what).with_remedy(remedy));
    }
    if options.secret.is_none() {
        let what = "requests are not signed: the receiver cannot tell who sent them";
        let remedy = "secret: ${HOOK_SECRET}   # echo \"whsec_$(openssl rand -base64 32)\"";
        findings.push(find(Severity::Note, "http-not-signed", what).with_remedy(remedy));
    }
    let mut url = address.sample().clone();
    for (at, target) in targets.iter().enumerate() {
        match Plan::new(target, &address, LogId(0)) {
            Ok(plan) if at == 0 => url = plan.url,
            Ok(_) => {}
            Err(error) => findings.push(of_error("http-mapping", format!("topic {}", target.topic), &error)),
        }
    }
    let brief = Options {
        timeout: options.timeout.min(Span::millis(PATIENCE.as_millis() as u64)),
        ..options.clone()
    };
    let client = match client::build(&brief) {
        Ok(client) => client,
        Err(error) => {
            findings.push(of_error("http-client", place.clone(), &error));
            return Ok(findings);
        }
    };
    let answer = answer::read(client.request(Method::HEAD, url).send().await).await;
    findings.extend(judged(answer, &place));
    Ok(findings)
}

/// An endpoint for events need not answer HEAD as it would POST: that it answers at all is what was asked.
fn judged(answer: Answer, place: &str) -> Option<Finding> {
    let finding = |severity, code, what: String| Some(Finding::new(severity, code, place, what));
    match answer {
        Answer::Accepted => None,
        Answer::Untrusted(error) => Some(of_error("http-certificate", place.to_owned(), &error)),
        Answer::Later(Failure { error, cause: Cause::Unreachable, .. }) => {
            let remedy = format!("curl -I '{place}'");
            Some(of_error("http-unreachable", place.to_owned(), &error).with_remedy(remedy))
        }
        Answer::Later(Failure { error, cause: Cause::Unanswered, .. }) => finding(
            Severity::Warning,
            "http-unanswered",
            format!("it was reached, and left a HEAD alone: {error}"),
        ),
        Answer::Refused(error) | Answer::Later(Failure { error, .. }) | Answer::Void(error) => finding(
            Severity::Note,
            "http-head",
            format!("it was reached; about a HEAD, which is no event: {error}"),
        ),
    }
}

fn of_error(code: &'static str, place: String, error: &Error) -> Finding {
    let finding = Finding::new(Severity::Error, code, place, error.to_string());
    match error.remedy() {
        Some(remedy) => finding.with_remedy(remedy),
        None => finding,
    }
}
