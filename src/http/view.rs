//! Makes the [`views`](super::views) from what the loops wrote down.

use std::collections::BTreeMap;

use connector_api::{Cursor, Result};

use crate::erasure::Erasures;
use crate::http::views::{
    DeadLetterView, ErasuresView, FailureView, Lag, LogView, OffsetView, SinkView, SnapshotView, SourceView,
    Status, TopicView,
};
use crate::log::{Log, Subscription, TopicStatus};
use crate::pipeline::dead_letter::DeadLetter;
use crate::pipeline::status::{Applied, Captured, Failure, State, now_us};
use crate::render;
use crate::service::Service;

/// The whole service.
pub fn status(service: &Service) -> Status {
    let topics = service.log.topics();
    let not_ready = service.not_ready();
    let sources = service.sources.iter().map(|(name, source)| source_view(name, &source.status.lock()));
    let sinks = service
        .sinks
        .iter()
        .map(|(name, sink)| sink_view(name, &sink.status.lock(), &sink.subscription, &topics));
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_s: Some(service.started.elapsed().as_secs()),
        ready: not_ready.is_empty(),
        not_ready,
        log: log_view(&*service.log),
        sources: sources.collect(),
        sinks: sinks.collect(),
        erasures: service.erasures.as_ref().and_then(erasures),
    }
}

/// `None` when the state database cannot be read: then the service is not ready, and says why.
fn erasures(erasures: &Erasures) -> Option<ErasuresView> {
    let cases = erasures.ledger.counts(now_us()).ok()?.into();
    Some(ErasuresView { cases, kept_out: erasures.gate.fence.dropped() })
}

/// The log in numbers.
pub fn log_view(log: &dyn Log) -> LogView {
    let status = log.status();
    LogView {
        id: log.id().to_string(),
        engine: status.engine.into(),
        segments: status.segments,
        bytes: status.bytes,
        appends: status.appends,
        fsyncs: status.fsyncs,
        append_us_mean: status.append_us_sum.checked_div(status.append_count).unwrap_or(0),
        poisoned: status.poisoned,
    }
}

fn failure_view(failure: &Option<Failure>) -> Option<FailureView> {
    failure.as_ref().map(|failure| FailureView {
        message: failure.message.clone(),
        kind: failure.kind.into(),
        remedy: failure.remedy.clone(),
        at_us: failure.at_us,
    })
}

/// One source.
pub fn source_view(name: &str, captured: &Captured) -> SourceView {
    let source = &captured.source;
    let behind = source.lag_bytes.is_some_and(|bytes| bytes > 0) && captured.newest_us > 0;
    SourceView {
        name: name.to_owned(),
        state: captured.state.as_str().into(),
        phase: source.phase.into(),
        position: source.position.clone(),
        lag_bytes: source.lag_bytes,
        lag_s: source.lag_bytes.map(|_| if behind { age_s(captured.newest_us) } else { 0.0 }),
        retained_bytes: source.retained_bytes,
        caught_up: captured.caught_up,
        changes: captured.changes,
        transactions: captured.transactions,
        bytes: captured.bytes,
        errors: captured.errors,
        snapshot: source.snapshot.map(|snapshot| SnapshotView {
            tables_done: snapshot.tables_done,
            tables_total: snapshot.tables_total,
            rows_done: snapshot.rows_done,
            rows_estimated: snapshot.rows_estimated,
        }),
        failure: failure_view(&captured.failure),
    }
}

fn age_s(since_us: i64) -> f64 {
    (now_us() - since_us).max(0) as f64 / 1e6
}

/// One sink.
pub fn sink_view(name: &str, applied: &Applied, wants: &Subscription, topics: &[TopicStatus]) -> SinkView {
    SinkView {
        name: name.to_owned(),
        state: applied.state.as_str().into(),
        offsets: offsets(applied.cursor.as_ref()),
        lag: lag(applied.cursor.as_ref(), wants, topics, applied.newest_us),
        records: applied.records,
        transactions: applied.transactions,
        commits: applied.commits,
        errors: applied.errors,
        dead_letters: applied.dead_letters,
        failure: failure_view(&applied.failure),
        notices: applied.notices.clone(),
    }
}

/// A sink of which only the log's copy of its cursor is known, because nothing runs.
pub fn idle_sink(
    name: &str,
    cursor: Option<&Cursor>,
    wants: &Subscription,
    topics: &[TopicStatus],
) -> SinkView {
    let applied = Applied { state: State::Stopped, cursor: cursor.cloned(), ..Applied::default() };
    sink_view(name, &applied, wants, topics)
}

fn offsets(cursor: Option<&Cursor>) -> BTreeMap<String, u64> {
    let next = cursor.into_iter().flat_map(|cursor| &cursor.next);
    next.map(|(topic, next)| (topic.to_string(), *next)).collect()
}

/// How far a cursor is behind the topics it wants.
pub fn lag(cursor: Option<&Cursor>, wants: &Subscription, topics: &[TopicStatus], newest_us: i64) -> Lag {
    let mut lag = Lag::default();
    for topic in topics.iter().filter(|topic| wants.wants(&topic.topic.topic)) {
        let next = cursor.map_or(0, |cursor| cursor.get(&topic.topic)).max(topic.earliest);
        let behind = topic.end.saturating_sub(next);
        let kept = topic.end.saturating_sub(topic.earliest).max(1);
        lag.records += behind;
        lag.bytes += (u128::from(topic.bytes) * u128::from(behind) / u128::from(kept)) as u64;
    }
    if lag.records > 0 && newest_us > 0 {
        lag.seconds = age_s(newest_us);
    }
    lag
}

/// The topics.
pub fn topics(topics: &[TopicStatus]) -> Vec<TopicView> {
    let columns = |topic: &TopicStatus| match &topic.schema {
        None => Vec::new(),
        Some(schema) => {
            let shown = schema.columns.iter().enumerate().map(|(at, column)| {
                let mark = if schema.key.contains(&at) { "*" } else { "" };
                format!("{}{mark} {}", column.name, column.type_name)
            });
            shown.collect()
        }
    };
    let view = |topic: &TopicStatus| TopicView {
        topic: topic.topic.topic.to_string(),
        partition: topic.topic.partition,
        earliest: topic.earliest,
        end: topic.end,
        bytes: topic.bytes,
        columns: columns(topic),
    };
    topics.iter().map(view).collect()
}

/// The offsets of every group.
pub fn group_offsets(groups: &BTreeMap<String, Cursor>, topics: &[TopicStatus]) -> Vec<OffsetView> {
    let mut views = Vec::new();
    for (group, cursor) in groups {
        for (topic, next) in &cursor.next {
            let end = topics.iter().find(|known| known.topic == *topic).map_or(*next, |known| known.end);
            let lag = end.saturating_sub(*next);
            views.push(OffsetView { group: group.clone(), topic: topic.to_string(), next: *next, end, lag });
        }
    }
    views
}

/// One dead letter, without its record.
///
/// # Errors
/// When the stored record does not decode.
pub fn dead_letter(letter: &DeadLetter) -> Result<DeadLetterView> {
    Ok(DeadLetterView {
        id: letter.id,
        topic: letter.topic.to_string(),
        offset: letter.offset,
        op: letter.change()?.op.letter().into(),
        error: letter.error.clone(),
        failed_us: letter.failed_us,
        attempts: letter.attempts,
        record: None,
    })
}

/// One dead letter with its record.
///
/// # Errors
/// When the stored record does not decode.
pub fn whole_dead_letter(letter: &DeadLetter) -> Result<DeadLetterView> {
    Ok(DeadLetterView { record: Some(render::letter(letter)?), ..dead_letter(letter)? })
}
