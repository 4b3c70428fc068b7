//! Prometheus text, made at each scrape from what the loops wrote down.

use std::fmt::{self, Debug};
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::http::view;
use crate::http::views::{SinkView, Status};
use crate::pipeline::status::{Histogram, LATENCY_BOUNDS_S, State};
use crate::service::Service;

/// Everything, in the OpenMetrics text format that Prometheus reads.
///
/// # Errors
/// Never in practice: formatting into a string.
pub fn render(service: &Arc<Service>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(service.clone())));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

struct Scrape(Arc<Service>);

impl Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Writes families of gauges and counters.
struct Families<'e>(DescriptorEncoder<'e>);

impl Families<'_> {
    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = view::status(&self.0);
        let mut families = Families(encoder);
        families.gauges(
            "millstream_ready",
            "1 when no source or sink is failed or stuck",
            [(vec![], f64::from(status.ready))],
        )?;
        log(&mut families, &status)?;
        erasures(&mut families, &status)?;
        topics(&mut families, &self.0)?;
        sources(&mut families, &status)?;
        sinks(&mut families, &status)?;
        latency(&mut families, &self.0)
    }
}

fn erasures(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let Some(erasures) = &status.erasures else { return Ok(()) };
    let cases = erasures.cases;
    let each = [
        ("millstream_erasures_open", "Erasures that wait for receipts", cases.open),
        ("millstream_erasures_overdue", "Erasures past their deadline", cases.overdue),
        ("millstream_erasures_completed", "Erasures of which every receipt is there", cases.completed),
        ("millstream_erasures_violated", "Erasures whose subject was found again", cases.violated),
    ];
    for (name, help, value) in each {
        families.gauges(name, help, [(vec![], value as f64)])?;
    }
    let name = "millstream_erasures_kept_out";
    families.counters(name, "Changes of erased subjects that were kept out", [(vec![], erasures.kept_out)])
}

fn log(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let log = &status.log;
    families.gauges("millstream_log_segments", "Segment files", [(vec![], log.segments as f64)])?;
    families.gauges("millstream_log_bytes", "Bytes of all segment files", [(vec![], log.bytes as f64)])?;
    families.counters(
        "millstream_log_appends",
        "Batches appended since the start",
        [(vec![], log.appends)],
    )?;
    families.counters("millstream_log_fsyncs", "fsyncs since the start", [(vec![], log.fsyncs)])?;
    let mean = log.append_us_mean as f64 / 1e6;
    families.gauges(
        "millstream_log_append_mean_seconds",
        "Mean time from accept to durable since the start",
        [(vec![], mean)],
    )?;
    families.gauges(
        "millstream_log_poisoned",
        "1 after a failed fsync",
        [(vec![], f64::from(log.poisoned.is_some()))],
    )
}

fn topics(families: &mut Families<'_>, service: &Service) -> fmt::Result {
    let topics = service.log.topics();
    let names: Vec<_> = topics.iter().map(|topic| topic.topic.to_string()).collect();
    let with = |value: fn(&crate::log::TopicStatus) -> f64| {
        let pairs: Vec<_> = topics
            .iter()
            .zip(&names)
            .map(|(topic, name)| (vec![("topic", name.as_str())], value(topic)))
            .collect();
        pairs
    };
    families.gauges(
        "millstream_topic_end_records",
        "Offset after the newest record",
        with(|topic| topic.end as f64),
    )?;
    families.gauges(
        "millstream_topic_earliest_records",
        "First offset that can be read",
        with(|topic| topic.earliest as f64),
    )?;
    families.gauges("millstream_topic_bytes", "Bytes on disk", with(|topic| topic.bytes as f64))
}

fn states<'s>(
    named: impl Iterator<Item = (&'s str, &'s str)>,
    label: &'static str,
) -> Vec<(Labels<'s>, f64)> {
    let each = |(name, is): (&'s str, &'s str)| {
        State::ALL
            .map(|state| (vec![(label, name), ("state", state.as_str())], f64::from(state.as_str() == is)))
    };
    named.flat_map(each).collect()
}

fn sources(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let all = &status.sources;
    families.gauges(
        "millstream_source_state",
        "1 for the state that it is in",
        states(all.iter().map(|s| (&*s.name, &*s.state)), "source"),
    )?;
    let known = |value: fn(&crate::http::views::SourceView) -> Option<f64>| {
        let some =
            all.iter().filter_map(move |source| Some((vec![("source", &*source.name)], value(source)?)));
        some.collect::<Vec<_>>()
    };
    families.gauges(
        "millstream_source_lag_bytes",
        "Bytes that the upstream is ahead",
        known(|s| s.lag_bytes.map(|v| v as f64)),
    )?;
    families.gauges(
        "millstream_source_lag_seconds",
        "Age of the newest change while behind",
        known(|s| s.lag_s),
    )?;
    families.gauges(
        "millstream_source_retained_bytes",
        "Log that the upstream keeps for us",
        known(|s| s.retained_bytes.map(|v| v as f64)),
    )?;
    let counts = |value: fn(&crate::http::views::SourceView) -> u64| {
        all.iter().map(|source| (vec![("source", &*source.name)], value(source))).collect::<Vec<_>>()
    };
    families.counters(
        "millstream_source_changes",
        "Changes durable in the log since the start",
        counts(|s| s.changes),
    )?;
    families.counters(
        "millstream_source_transactions",
        "Transactions durable in the log since the start",
        counts(|s| s.transactions),
    )?;
    families.counters(
        "millstream_source_bytes",
        "Bytes durable in the log since the start",
        counts(|s| s.bytes),
    )?;
    families.counters("millstream_source_errors", "Failures since the start", counts(|s| s.errors))
}

fn sinks(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let all = &status.sinks;
    families.gauges(
        "millstream_sink_state",
        "1 for the state that it is in",
        states(all.iter().map(|s| (&*s.name, &*s.state)), "sink"),
    )?;
    let gauges = |value: fn(&SinkView) -> f64| {
        all.iter().map(|sink| (vec![("sink", &*sink.name)], value(sink))).collect::<Vec<_>>()
    };
    families.gauges(
        "millstream_sink_lag_records",
        "Records not yet applied",
        gauges(|s| s.lag.records as f64),
    )?;
    families.gauges(
        "millstream_sink_lag_bytes",
        "Bytes not yet applied, estimated",
        gauges(|s| s.lag.bytes as f64),
    )?;
    families.gauges(
        "millstream_sink_lag_seconds",
        "Age of the newest applied transaction while behind",
        gauges(|s| s.lag.seconds),
    )?;
    families.gauges(
        "millstream_sink_dead_letters",
        "Records that wait as dead letters",
        gauges(|s| s.dead_letters as f64),
    )?;
    let counts = |value: fn(&SinkView) -> u64| {
        all.iter().map(|sink| (vec![("sink", &*sink.name)], value(sink))).collect::<Vec<_>>()
    };
    families.counters(
        "millstream_sink_applied_records",
        "Records applied since the start",
        counts(|s| s.records),
    )?;
    families.counters(
        "millstream_sink_applied_transactions",
        "Source transactions applied since the start",
        counts(|s| s.transactions),
    )?;
    families.counters(
        "millstream_sink_commits",
        "Commits in the target since the start",
        counts(|s| s.commits),
    )?;
    families.counters("millstream_sink_errors", "Failures since the start", counts(|s| s.errors))
}

fn latency(families: &mut Families<'_>, service: &Service) -> fmt::Result {
    let help = "From commit at the source to commit in the target, newest record of each commit";
    let mut metric = families.0.encode_descriptor(
        "millstream_sink_apply_latency_seconds",
        help,
        None,
        MetricType::Histogram,
    )?;
    for (name, sink) in &service.sinks {
        let Histogram { counts, sum_s } = sink.status.lock().latency.clone();
        let bounds = LATENCY_BOUNDS_S.into_iter().chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let count = counts.iter().sum();
        metric
            .encode_family(&vec![("sink", name.as_str())])?
            .encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)?;
    }
    Ok(())
}
