//! `millstream check`: everything that can be found out without changing anything.

mod erasure;
mod personal;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use connector_api::{Finding, Kind, Result, Schema, Severity, Target};
use serde_json::json;

use crate::config::{Config, Engine};
use crate::log::embedded::Embedded;
use crate::log::{Log as _, TopicStatus};
use crate::pipeline::mapping::{Mapping, Misfit};
use crate::pipeline::shape::{Shaper, whole_old_rows};
use crate::registry;

/// Free space below which an embedded log is warned about.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Prints every finding; true when none is an error or a warning.
///
/// # Errors
/// When stdout cannot be written.
pub async fn check(config: &Config, json: bool) -> Result<bool> {
    let mut findings = log_directory(config);
    for (name, connector) in &config.sources {
        let found = registry::check_source(name, connector).await?;
        findings.extend(found.into_iter().map(|finding| placed(config, ["sources", name], finding)));
    }
    let topics = known_topics(config);
    let mut tables = BTreeMap::new();
    for (name, sink) in &config.sinks {
        let (targets, mut found) = targets(config, name, registry::mapping(config, sink), &topics);
        found.extend(registry::check_sink(name, sink, &targets).await?);
        findings.extend(found.into_iter().map(|finding| placed(config, ["sinks", name], finding)));
        tables.insert(name.as_str(), targets);
    }
    findings.extend(erasure::check(config, &topics, &tables).await);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    print(&findings, json)?;
    Ok(findings.iter().all(|finding| finding.severity == Severity::Note))
}

/// The tables that a sink is to write to, and where its rules do not fit the topics.
fn targets(
    config: &Config,
    sink: &str,
    mapping: Mapping,
    topics: &[TopicStatus],
) -> (Vec<Arc<Target>>, Vec<Finding>) {
    let subscription = mapping.subscription();
    let mut shaper = Shaper::new(mapping);
    let (mut targets, mut findings) = (Vec::new(), Vec::new());
    for status in topics.iter().filter(|status| subscription.wants(&status.topic.topic)) {
        let Some(schema) = &status.schema else { continue };
        match shaper.targets(&status.topic.topic, schema) {
            Ok(found) => {
                findings
                    .extend(shaper.needs_old_rows(&status.topic.topic).map(|table| old_rows(schema, table)));
                targets.extend(found);
            }
            Err(misfit) => findings.push(misfitting(config, sink, &status.topic.topic, &misfit)),
        }
    }
    (targets, findings)
}

/// A rule that does not fit a topic, at the place of the configuration that says so.
fn misfitting(config: &Config, sink: &str, topic: &str, misfit: &Misfit) -> Finding {
    let rule = misfit.rule.to_string();
    let mut path = vec!["sinks", sink, "tables", rule.as_str()];
    path.extend(misfit.path.iter().map(String::as_str));
    let located = match &misfit.place {
        // The short form of a computed column has no `value` below it.
        Some((text, place)) => {
            let path = if config.places.has(&path) { &path[..] } else { &path[..path.len() - 1] };
            config.places.locate_within(path, text, place.clone())
        }
        None => config.places.locate(&path),
    };
    let at = located.map(|location| format!(" ({location})")).unwrap_or_default();
    let place = format!("topic {topic}{at}");
    let finding = Finding::new(Severity::Error, "mapping", place, misfit.error.to_string());
    match misfit.error.remedy() {
        Some(remedy) => finding.with_remedy(remedy),
        None => finding,
    }
}

/// A key that is found only in whole old rows. Whether the source sends them is known with its first update.
fn old_rows(schema: &Schema, table: &str) -> Finding {
    let what = format!(
        "the key of target table {table:?} is not made of the source's key: the source must send whole old rows"
    );
    let place = format!("{}.{}", schema.namespace, schema.table);
    Finding::new(Severity::Note, "mapping-old-rows", place, what).with_remedy(whole_old_rows(schema))
}

/// The topics of the log, as far as there is one.
fn known_topics(config: &Config) -> Vec<TopicStatus> {
    let log = (config.log.engine == Engine::Embedded).then(|| Embedded::open_read_only(&config.log.path));
    log.and_then(Result::ok).map(|log| log.topics()).unwrap_or_default()
}

/// Says first which part of the configuration a finding is about, and where it stands.
fn placed(config: &Config, path: [&str; 2], mut finding: Finding) -> Finding {
    let place = config.places.locate(&path).map(|location| format!(" ({location})")).unwrap_or_default();
    let [section, name] = path;
    let what = section.trim_end_matches('s');
    let inner = if finding.place.is_empty() { String::new() } else { format!(", {}", finding.place) };
    finding.place = format!("{what} {name}{place}{inner}");
    finding
}

fn print(findings: &[Finding], as_json: bool) -> Result<()> {
    if as_json {
        let shown = findings.iter().map(|finding| {
            json!({
                "severity": finding.severity.as_str(),
                "code": finding.code,
                "place": finding.place,
                "what": finding.what,
                "remedy": finding.remedy,
            })
        });
        println!("{}", super::pretty(&shown.collect::<Vec<_>>())?);
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    let written = findings.iter().try_for_each(|finding| writeln!(out, "{finding}"));
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    written
        .and_then(|()| writeln!(out, "{errors} errors, {warnings} warnings, {} notes", count(Severity::Note)))
        .map_err(|error| connector_api::Error::io("write to stdout", error))
}

fn log_directory(config: &Config) -> Vec<Finding> {
    if config.log.engine == Engine::Memory {
        let what = "the memory engine forgets everything when the process ends";
        return vec![Finding::new(Severity::Note, "log-in-memory", "log", what)];
    }
    let path = &config.log.path;
    let shown = format!("log directory {}", path.display());
    // The directory is made at the first start; before that, its nearest ancestor must take it.
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let mut findings = Vec::new();
    if let Err(error) = tempfile_in(existing) {
        let what = format!("cannot be written: {error}");
        let finding = Finding::new(Severity::Error, "log-not-writable", &shown, what);
        findings.push(finding.with_remedy(format!("sudo chown -R \"$(id -un)\" {}", existing.display())));
    }
    if let Ok(space) = rustix::fs::statvfs(existing) {
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        if free < FREE_BYTES_MIN {
            let what = format!("only {} free on its disk", bytesize::ByteSize(free).display().iec());
            let finding = Finding::new(Severity::Warning, "log-disk-low", &shown, what);
            findings.push(finding.with_remedy("free space, or set log.path to a larger disk"));
        }
    }
    if path.join("LOCK").exists() {
        match Embedded::open_read_only(path) {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Config => {}
            Err(error) => {
                let finding = Finding::new(Severity::Error, "log-damaged", &shown, error.to_string());
                findings
                    .push(finding.with_remedy(format!("millstream log inspect {} --verify", path.display())));
            }
        }
    }
    findings
}

/// Writes and removes a file: permissions say less than trying.
fn tempfile_in(directory: &Path) -> std::io::Result<()> {
    let probe = directory.join(format!(".millstream-check-{}", std::process::id()));
    std::fs::File::create_new(&probe)?;
    std::fs::remove_file(&probe)
}
