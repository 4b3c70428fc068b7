//! Reads a topic for people: from an offset on, rendered as lines.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use connector_api::{Cursor, Error, Result, TopicPartition};

use crate::log::{Log, LogReader, Subscription};
use crate::render::{self, Format, SourceInfo};

const READ_BYTES: usize = 256 << 10;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is kept.
    Earliest,
    /// After the newest.
    Latest,
    /// At this offset.
    Offset(u64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text {
            "earliest" => Ok(Start::Earliest),
            "latest" => Ok(Start::Latest),
            number => {
                number.parse().map(Start::Offset).map_err(|_| "earliest, latest or an offset".to_owned())
            }
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Earliest => f.write_str("earliest"),
            Start::Latest => f.write_str("latest"),
            Start::Offset(offset) => write!(f, "{offset}"),
        }
    }
}

/// A reader of one topic that gives lines.
pub struct Tail {
    reader: Box<dyn LogReader>,
    follow: bool,
    left: u64,
    /// Where the topic ended when reading began: without `follow`, the end.
    end: u64,
    next: u64,
    format: Format,
    info: SourceInfo,
    lines: VecDeque<String>,
}

impl Tail {
    /// Opens a topic. `limit` counts records.
    ///
    /// # Errors
    /// When there is no such topic and `follow` is not set, with the names of those that are.
    pub fn open(
        log: &dyn Log,
        topic: &str,
        from: Start,
        follow: bool,
        limit: Option<u64>,
        format: Format,
        info: SourceInfo,
    ) -> Result<Tail> {
        let of = TopicPartition::first(topic);
        let topics = log.topics();
        let known = topics.iter().find(|known| known.topic == of);
        if known.is_none() && !follow {
            let names: Vec<_> = topics.iter().map(|topic| topic.topic.to_string()).collect();
            let remedy = if names.is_empty() {
                "no topic holds anything yet".into()
            } else {
                format!("topics: {}", names.join(", "))
            };
            return Err(Error::config(format!("no topic {topic:?}")).with_remedy(remedy));
        }
        let (earliest, end) = known.map_or((0, 0), |known| (known.earliest, known.end));
        let next = match from {
            Start::Earliest => earliest,
            Start::Latest => end,
            Start::Offset(offset) => offset.max(earliest),
        };
        let mut cursor = Cursor::start(log.id());
        cursor.advance(&of, next);
        let reader = log.subscribe(Subscription { patterns: vec![topic.to_owned()] }, cursor)?;
        Ok(Tail {
            reader,
            follow,
            left: limit.unwrap_or(u64::MAX),
            end,
            next,
            format,
            info,
            lines: VecDeque::new(),
        })
    }

    /// The next line; `None` at the end, which a tail that follows reaches only by its limit. Cancel-safe.
    ///
    /// # Errors
    /// As the log's reader.
    pub async fn next(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            let done = self.left == 0 || (!self.follow && (self.next >= self.end || self.reader.at_tail()));
            if done {
                return Ok(None);
            }
            for delivery in self.reader.next(READ_BYTES).await? {
                for delivered in delivery.records() {
                    let delivered = delivered?;
                    if self.left > 0 {
                        self.left -= 1;
                        self.lines.extend(render::lines(self.format, &delivered, &self.info)?);
                    }
                }
                self.next = delivery.sections.last().map_or(self.next, |section| section.end());
            }
        }
    }
}
