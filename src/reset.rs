//! Where an operator may move a sink's cursor to.

use std::str::FromStr;

use connector_api::{Cursor, Error, Result, TopicPartition};

use crate::log::{Log, Subscription};

const READ_BYTES: usize = 1 << 20;

/// A place in the topics of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The first records that there are.
    Earliest,
    /// After the last ones: what lies between is passed over.
    Latest,
    /// An offset; the topic must be named then.
    Offset(u64),
    /// The first record committed at or after this time, Unix microseconds.
    Time(i64),
}

impl FromStr for To {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "earliest" => return Ok(To::Earliest),
            "latest" => return Ok(To::Latest),
            _ => {}
        }
        if let Ok(offset) = text.parse() {
            return Ok(To::Offset(offset));
        }
        let time = humantime::parse_rfc3339_weak(text).ok();
        let since = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        since.and_then(|since| i64::try_from(since.as_micros()).ok()).map(To::Time).ok_or_else(|| {
            Error::config(format!("{text:?} is no place in a topic"))
                .with_remedy("use earliest, latest, an offset, or a time in UTC such as 2026-11-23T09:30:00Z")
        })
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
    to: To,
) -> Result<Cursor> {
    if matches!(to, To::Offset(_)) && topic.is_none() {
        return Err(Error::config("an offset is of one topic").with_remedy("add --topic TOPIC"));
    }
    let mut cursor = old.filter(|old| old.log == log.id()).unwrap_or_else(|| Cursor::start(log.id()));
    let mut found = false;
    for known in log.topics() {
        let named = topic.is_none_or(|topic| *known.topic.topic == *topic);
        if !named || !subscription.wants(&known.topic.topic) {
            continue;
        }
        found = true;
        let next = match to {
            To::Earliest => known.earliest,
            To::Latest => known.end,
            To::Offset(offset) => offset.clamp(known.earliest, known.end),
            To::Time(time) => first_since(log, &known.topic, known.earliest, known.end, time).await?,
        };
        cursor.next.insert(known.topic, next);
    }
    match (found, topic) {
        (false, Some(topic)) => Err(Error::config(format!("the sink takes no topic {topic:?} that holds anything"))),
        _ => Ok(cursor),
    }
}

/// The offset of the first record whose transaction was committed at or after `time`.
async fn first_since(log: &dyn Log, topic: &TopicPartition, earliest: u64, end: u64, time: i64) -> Result<u64> {
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
