//! The `log` section.

use crate::erasure::event::{CASES, RECEIPTS};
use crate::log::{self, embedded};
use connector_api::options::{Size, Span};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// The unified log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `embedded` keeps the log in files of this process; `memory` forgets everything when the process ends and is for trials.
    pub engine: Engine,
    /// The directory of the embedded log. One process at a time may use it.
    pub path: PathBuf,
    /// How often the log is forced to disk: `always`, as soon as something waits, or once in an `interval`, which saves fsyncs
    /// and costs up to `sync_interval` of latency. Either way a batch is acknowledged and seen only once it is on the
    /// disk; a crash loses at most what was not acknowledged yet, and sources send that again.
    pub sync: Sync,
    /// With `sync: interval`, the shortest time between two syncs. From 1ms to 60s.
    pub sync_interval: Span,
    /// The size at which a segment file is sealed and the next one begins. From 64KiB to 4GiB.
    pub segment_size: Size,
    /// Memory that keeps the newest batches for readers at the end of the log. At most 4GiB.
    pub tail_cache: Size,
    /// What is kept, and for how long.
    pub retention: Retention,
}

impl Log {
    /// What the embedded engine is opened with.
    pub fn embedded(&self) -> embedded::Options {
        let tables = match &self.retention.tables {
            TableRetention::Compact => log::Retention::Compact,
            TableRetention::Limits(limits) => limits.retention(),
        };
        let keyless = match &self.retention.tables {
            // Without a key nothing can be compacted: such tables are kept as long as the others.
            TableRetention::Compact => Limits::default().retention(),
            TableRetention::Limits(limits) => limits.retention(),
        };
        let events = self.retention.events.retention();
        // The cases are what keeps erased subjects out, for ever (I11).
        let forever = Limits::default().retention();
        let rules = [CASES, RECEIPTS].map(|topic| (topic.to_owned(), forever.clone()));
        embedded::Options {
            sync: match self.sync {
                Sync::Always => embedded::Sync::Always,
                Sync::Interval => embedded::Sync::Interval(self.sync_interval.duration()),
            },
            segment_size: self.segment_size.bytes(),
            tail_bytes: usize::try_from(self.tail_cache.bytes()).unwrap_or(usize::MAX),
            retention: embedded::Retentions { tables, keyless, events, rules: rules.to_vec() },
            ..embedded::Options::new(&self.path)
        }
    }
}

impl Limits {
    fn retention(&self) -> log::Retention {
        let age_s = self.age.map(|age| age.duration().as_secs());
        log::Retention::Limits { age_s, bytes: self.size.map(|size| size.bytes()) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log {
            engine: Engine::Embedded,
            path: PathBuf::from("./data"),
            sync: Sync::Always,
            sync_interval: Span::millis(100),
            segment_size: Size::mib(128),
            tail_cache: Size::mib(4),
            retention: Retention::default(),
        }
    }
}

/// Where the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Engine {
    /// Files of this process.
    Embedded,
    /// Memory; gone when the process ends.
    Memory,
}

/// When a batch is forced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Sync {
    /// As soon as something waits.
    Always,
    /// At most once in `sync_interval`.
    Interval,
}

/// What is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Topics of tables: `compact` keeps the newest record of every key, for ever, so that a new sink is filled from the
    /// log alone; or limits of age and size.
    pub tables: TableRetention,
    /// Topics of application events. Without this key: an age of 7d, and no limit of size.
    pub events: Limits,
}

impl Default for Retention {
    fn default() -> Self {
        let week = Limits { age: Some(Span::secs(7 * 86_400)), size: None };
        Retention { tables: TableRetention::Compact, events: week }
    }
}

/// Retention of the topics of tables.
#[derive(Debug, Clone, PartialEq)]
pub enum TableRetention {
    /// The newest record of every key is kept.
    Compact,
    /// By age and size.
    Limits(Limits),
}

/// Records beyond either limit may be deleted, once every sink has passed them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Records older than this may go. Without it: no limit of age.
    pub age: Option<Span>,
    /// The oldest records of a topic beyond this many bytes may go. Without it: no limit of size.
    pub size: Option<Size>,
}

const COMPACT: &str = "compact";

impl Serialize for TableRetention {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            TableRetention::Compact => to.serialize_str(COMPACT),
            TableRetention::Limits(limits) => limits.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for TableRetention {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = TableRetention;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`compact` or {age, size}")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TableRetention, E> {
                match text {
                    COMPACT => Ok(TableRetention::Compact),
                    other => Err(E::unknown_variant(other, &[COMPACT])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TableRetention, A::Error> {
                Limits::deserialize(MapAccessDeserializer::new(map)).map(TableRetention::Limits)
            }
        }

        from.deserialize_any(Either)
    }
}

impl JsonSchema for TableRetention {
    fn schema_name() -> Cow<'static, str> {
        "TableRetention".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let limits = generator.subschema_for::<Limits>();
        json_schema!({ "anyOf": [{ "type": "string", "const": COMPACT }, limits] })
    }
}
