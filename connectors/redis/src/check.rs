//! What `millstream check` says about a Redis sink, without changing anything.

use std::collections::HashMap;
use std::sync::Arc;

use connector_api::{Error, Finding, Result, Severity, Target};

use crate::error::failed;
use crate::options::{Mode, Options};
use crate::plan::Plans;
use crate::session::connect;

/// The oldest version whose commands suffice.
const VERSION_MIN: u32 = 5;

/// Connects, and looks at the server's version, role, memory policy and persistence, and at the targets.
///
/// # Errors
/// Never: what fails is a finding.
pub async fn check(name: &str, options: &Options, targets: &[Arc<Target>]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    match facts(options).await {
        Ok(facts) => server(name, options, &facts, &mut findings),
        Err(error) => findings.push(of_error("redis-unreachable", "server", &error)),
    }
    let mut plans = Plans::default();
    for target in targets {
        if let Err(error) = plans.find(options, target) {
            findings.push(of_error("redis-mapping", &format!("topic {}", target.topic), &error));
        }
    }
    Ok(findings)
}

/// The lines of `INFO`.
async fn facts(options: &Options) -> Result<HashMap<String, String>> {
    let mut connection = connect(options).await?;
    let text: String = redis::cmd("INFO")
        .query_async(&mut connection)
        .await
        .map_err(|error| failed("ask the server for INFO", error))?;
    let pair =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Ok(text.lines().filter_map(pair).collect())
}

fn server(name: &str, options: &Options, facts: &HashMap<String, String>, findings: &mut Vec<Finding>) {
    let fact = |name: &str| facts.get(name).map(String::as_str).unwrap_or_default();
    let mut found = |severity, code, what: &str, remedy: &str| {
        let finding = Finding::new(severity, code, "server", what);
        findings.push(if remedy.is_empty() { finding } else { finding.with_remedy(remedy) });
    };
    let version = fact("redis_version");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < VERSION_MIN) {
        let what = format!("version {version} is too old: {VERSION_MIN} or newer is needed");
        found(Severity::Error, "redis-version", &what, "");
    }
    if fact("cluster_enabled") == "1" {
        let what = "this is a cluster: one transaction cannot span its servers";
        found(
            Severity::Error,
            "redis-cluster",
            what,
            "name a single server, or a primary with replicas, in url",
        );
    }
    if fact("role") == "slave" {
        found(
            Severity::Error,
            "redis-replica",
            "this is a replica, which refuses writes",
            "name its primary in url",
        );
    }
    let policy = fact("maxmemory_policy");
    let limited = !matches!(fact("maxmemory"), "" | "0");
    if limited && policy.starts_with("allkeys") {
        let what = format!(
            "maxmemory-policy is {policy}: rows may vanish, and the cursor _millstream:cursor:{name} with them (the sink \
             then starts again from the earliest records)"
        );
        let severity = if options.mode == Mode::Invalidate { Severity::Note } else { Severity::Warning };
        found(severity, "redis-eviction", &what, "CONFIG SET maxmemory-policy noeviction");
    }
    if fact("aof_enabled") == "0" {
        let what = "appendonly is off: after a crash of the server rows and cursor are those of its last snapshot, and the \
                    sink applies the rest again, as far as the log still has it";
        found(Severity::Note, "redis-persistence", what, "CONFIG SET appendonly yes");
    }
}

fn of_error(code: &'static str, place: &str, error: &Error) -> Finding {
    let finding = Finding::new(Severity::Error, code, place, error.to_string());
    match error.remedy() {
        Some(remedy) => finding.with_remedy(remedy),
        None => finding,
    }
}
