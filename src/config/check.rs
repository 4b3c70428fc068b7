//! What types cannot say: limits, names, and whether the parts fit each other. Every finding has its place, and
//! all of them are reported together.

use super::Config;
use super::log::{Limits, Sync, TableRetention};
use super::problem::{self, Problem};
use super::read::Report;
use connector_api::options::{Size, Span};
use tables::Tables;

mod erasure;
mod tables;

/// What a name of a source, a sink or a kind of subject may be; it becomes part of topics, slots and metrics.
pub(super) const NAME_PATTERN: &str = "^[a-z0-9_-]{1,63}$";

pub(super) fn check(config: &Config, report: &Report) {
    log(config, report);
    admin(config, report);
    names_are_legal(config, report);
    for (name, sink) in &config.sinks {
        Tables { config, rules: &sink.rules, sink: name, report }.check();
    }
    erasure::check(config, report);
}

/// Names of sources, sinks and kinds of subjects.
fn names_are_legal(config: &Config, report: &Report) {
    let names = config.sources.keys().map(|name| ("sources", name));
    let names = names.chain(config.sinks.keys().map(|name| ("sinks", name)));
    for (section, name) in names.chain(config.erasure.keys().map(|name| ("erasure", name))) {
        let legal =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if name.is_empty() || name.len() > 63 || !name.bytes().all(legal) {
            let problem = Problem::new(format!(
                "{} cannot be the name of a {}",
                problem::name(name),
                if section == "erasure" { "kind of subject" } else { section.trim_end_matches('s') }
            ));
            let rule = "a name has 1 to 63 of the characters a-z 0-9 _ -";
            report.add(problem.at(config.places.label(&[section, name])).help(rule));
        }
    }
}

fn log(config: &Config, report: &Report) {
    let log = &config.log;
    let refuse =
        |path: &[&str], message: String| report.add(Problem::new(message).at(config.places.value(path)));
    if !(Size::kib(64)..=Size::gib(4)).contains(&log.segment_size) {
        refuse(&["log", "segment_size"], "`segment_size` is between 64KiB and 4GiB".into());
    }
    if log.tail_cache > Size::gib(4) {
        refuse(&["log", "tail_cache"], "`tail_cache` is at most 4GiB".into());
    }
    if !(Span::millis(1)..=Span::secs(60)).contains(&log.sync_interval) {
        refuse(&["log", "sync_interval"], "`sync_interval` is between 1ms and 60s".into());
    }
    let interval = ["log", "sync_interval"];
    if log.sync == Sync::Always && config.places.has(&interval) {
        let problem = Problem::new("`sync_interval` has no effect with `sync: always`");
        report
            .add(problem.at(config.places.label(&interval)).help("write `sync: interval`, or leave it out"));
    }
    if log.path.as_os_str().is_empty() {
        refuse(&["log", "path"], "`path` is empty".into());
    }
    let mut limits = vec![("events", &log.retention.events)];
    if let TableRetention::Limits(tables) = &log.retention.tables {
        limits.push(("tables", tables));
    }
    for (topics, Limits { age, size }) in limits {
        if *age == Some(Span(0)) {
            refuse(&["log", "retention", topics, "age"], "a retention of no time would keep nothing".into());
        }
        if *size == Some(Size(0)) {
            refuse(
                &["log", "retention", topics, "size"],
                "a retention of no bytes would keep nothing".into(),
            );
        }
    }
}

fn admin(config: &Config, report: &Report) {
    let listen = config.admin.listen;
    match &config.admin.token {
        Some(token) if token.expose().is_empty() => {
            report.add(Problem::new("`token` is empty").at(config.places.label(&["admin", "token"])));
        }
        None if !listen.ip().is_loopback() => {
            let problem = Problem::new(format!(
                "the admin API on {listen} needs a `token`: others can reach that address"
            ));
            let help = "add `token: ${MILLSTREAM_TOKEN}` under `admin`, or listen on 127.0.0.1";
            report.add(problem.at(config.places.value(&["admin", "listen"])).help(help));
        }
        _ => {}
    }
}
