//! What every sink has, whatever its type.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

use crate::pipeline::mapping::{Mapping, Rule};

mod pairs;
mod table;

pub(super) use pairs::{Read, SET, WordOrSet, serialize_set};
pub use table::{Columns, Computed, ComputedColumn, Kind, OnDelete, SinkTable};

/// The keys that every sink has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkRules {
    /// What the sink takes; the first entry that matches a topic decides, together with all others that name the very same
    /// topic for other tables. Without it: every topic of every source.
    pub tables: Vec<SinkTable>,
    /// Whether the sink creates missing target tables and adds missing columns.
    pub create_tables: bool,
    /// `transactional` applies every source transaction whole. `batched` may commit in the middle of one: faster for sinks
    /// that can work on several keys at a time. The changes of one key keep their order either way.
    pub apply: Apply,
    /// What happens when a record cannot be applied.
    pub on_error: OnError,
}

impl Default for SinkRules {
    fn default() -> Self {
        SinkRules {
            tables: Vec::new(),
            create_tables: true,
            apply: Apply::Transactional,
            on_error: OnError::default(),
        }
    }
}

impl SinkRules {
    /// As sinks want it: with `tables` left out, a rule for each of `sources`.
    pub fn mapping<'a>(&self, sources: impl IntoIterator<Item = &'a String>) -> Mapping {
        let every = |source: &String| Rule { topic: format!("{source}.*"), ..Rule::default() };
        match self.tables.as_slice() {
            [] => Mapping { rules: sources.into_iter().map(every).collect() },
            tables => Mapping { rules: tables.iter().map(SinkTable::rule).collect() },
        }
    }
}

/// How transactions are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Apply {
    /// A source transaction is applied whole, in one target transaction.
    Transactional,
    /// A source transaction may be applied in parts.
    Batched,
}

/// What happens when something cannot be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnError {
    /// How often an error that may pass (the target is down, locked, full) is retried, with growing pauses: `forever`,
    /// or a number of times, after which the sink stops as failed.
    pub retry: Retry,
    /// Whether a record that the target refuses is set aside, with the error, and the sink goes on. If `false`,
    /// the sink stops at it.
    pub dead_letter: bool,
}

impl Default for OnError {
    fn default() -> Self {
        OnError { retry: Retry::Forever, dead_letter: true }
    }
}

/// How often something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Without an end.
    Forever,
    /// So many times after the first.
    Times(u32),
}

const FOREVER: &str = "forever";

impl Serialize for Retry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Retry::Forever => to.serialize_str(FOREVER),
            Retry::Times(times) => to.serialize_u32(*times),
        }
    }
}

impl<'de> Deserialize<'de> for Retry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Retry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`forever` or a number of times")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Retry, E> {
                match text.parse() {
                    Ok(times) => Ok(Retry::Times(times)),
                    Err(_) if text == FOREVER => Ok(Retry::Forever),
                    Err(_) => Err(E::unknown_variant(text, &[FOREVER])),
                }
            }

            fn visit_u64<E: Error>(self, times: u64) -> Result<Retry, E> {
                let limit = |_| E::custom("expected a number of times, at most 4294967295");
                u32::try_from(times).map(Retry::Times).map_err(limit)
            }

            fn visit_i64<E: Error>(self, times: i64) -> Result<Retry, E> {
                let negative = |_| E::custom("expected a number of times, 0 or more");
                u64::try_from(times).map_err(negative).and_then(|times| self.visit_u64(times))
            }
        }

        from.deserialize_any(Either)
    }
}

impl JsonSchema for Retry {
    fn schema_name() -> Cow<'static, str> {
        "Retry".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "const": FOREVER },
            { "type": "integer", "minimum": 0, "maximum": u32::MAX },
        ]})
    }
}
