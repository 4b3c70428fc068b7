//! Where an operator may move a sink's cursor to.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use connector_api::{Cursor, Error, Result, TopicPartition};

use crate::log::{Log, Subscription};
use crate::tail::Start;

const READ_BYTES: usize = 1 << 20;

/// Where an operator moves a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To a place that needs no search; what lies between is applied again, or passed over.
    Start(Start),
    /// To the first record that was committed at or after this time, Unix microseconds.
    Time(i64),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        if let Ok(start) = text.parse() {
            return Ok(Target::Start(start));
        }
        let wrong = |_| "earliest, latest, an offset, or a time such as 2026-08-01T12:00:00Z".to_owned();
        let time = humantime::parse_rfc3339_weak(text).map_err(wrong)?;
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Ok(Target::Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Start(start) => start.fmt(f),
            Target::Time(time) => {
                let since = Duration::from_micros(u64::try_from(*time).unwrap_or(0));
                humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + since).fmt(f)
            }
        }
    }
}

/// The cursor that a sink gets: `old` with the wanted topics (or the one named) moved to `to`.
///
/// # Errors
/// When `to` is an offset and no topic is named, or there is no such topic.
pub async fn cursor(
    log: &dyn Log,
    subscription: &Subscription,
    old: Option<Cursor>,
    topic: Option<&str>,
    to: Target,
) -> Result<Cursor> {
    if matches!(to, Target::Start(Start::Offset(_))) && topic.is_none() {
        return Err(Error::config("an offset is of one topic").with_remedy("add --topic TOPIC"));
    }
    let mut cursor = old.filter(|old| old.log == log.id()).unwrap_or_else(|| Cursor::start(log.id()));
    let (mut found, mut others) = (false, Vec::new());
    for known in log.topics() {
        if !subscription.wants(&known.topic.topic) {
            continue;
        }
        if topic.is_some_and(|topic| *known.topic.topic != *topic) {
            others.push(known.topic.topic.to_string());
            continue;
        }
        found = true;
        let next = match to {
            Target::Start(Start::Earliest) => known.earliest,
            Target::Start(Start::Latest) => known.end,
            Target::Start(Start::Offset(offset)) => offset.clamp(known.earliest, known.end),
            Target::Time(time) => first_since(log, &known.topic, known.earliest, known.end, time).await?,
        };
        cursor.next.insert(known.topic, next);
    }
    match (found, topic) {
        (false, Some(topic)) => {
            let error = Error::config(format!("the sink takes no topic {topic:?} that holds anything"));
            Err(if others.is_empty() {
                error
            } else {
                error.with_remedy(format!("name one of: {}", others.join(", ")))
            })
        }
        _ => Ok(cursor),
    }
}

/// The offset of the first record whose transaction was committed at or after `time`.
async fn first_since(
    log: &dyn Log,
    topic: &TopicPartition,
    earliest: u64,
    end: u64,
    time: i64,
) -> Result<u64> {
    let mut cursor = Cursor::start(log.id());
    cursor.advance(topic, earliest);
    let mut reader = log.subscribe(Subscription { patterns: vec![topic.topic.to_string()] }, cursor)?;
    let mut next = earliest;
    while next < end && !reader.at_tail() {
        for delivery in reader.next(READ_BYTES).await? {
            for delivered in delivery.records() {
                let delivered = delivered?;
                if delivered.transaction.timestamp_us >= time {
                    return Ok(delivered.record.offset);
                }
            }
            next = delivery.sections.last().map_or(next, |section| section.end());
        }
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_microseconds_of_utc_and_prints_as_it_is_read() {
        assert_eq!("1970-01-01T00:00:01.5Z".parse(), Ok(Target::Time(1_500_000)));
        assert_eq!("2026-08-01 12:00:00".parse(), Ok(Target::Time(1_785_585_600_000_000)));
        assert_eq!("12".parse(), Ok(Target::Start(Start::Offset(12))));
        for target in [
            Target::Time(1_785_585_600_000_000),
            Target::Start(Start::Earliest),
            Target::Start(Start::Offset(7)),
        ] {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
    }
}
