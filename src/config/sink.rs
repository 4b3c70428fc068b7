//! What every sink has, whatever its type.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

use crate::pipeline::mapping::{self, Mapping, Rule};

/// The keys that every sink has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SinkRules {
    /// What the sink takes; the first entry that matches a topic decides. Without it: every topic of every source.
    pub tables: Vec<SinkTable>,
    /// Whether the sink creates missing target tables and adds missing columns.
    pub create_tables: bool,
    /// `transactional` applies every source transaction whole.
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
        let rule = |table: &SinkTable| Rule {
            topic: table.topic.clone(),
            table: table.table.clone(),
            columns: table.columns.as_ref().map(|columns| columns.0.clone()),
            on_delete: match table.on_delete {
                OnDelete::Delete => mapping::OnDelete::Delete,
                OnDelete::Ignore => mapping::OnDelete::Ignore,
            },
        };
        let every = |source: &String| rule(&SinkTable::all(format!("{source}.*")));
        match self.tables.as_slice() {
            [] => Mapping { rules: sources.into_iter().map(every).collect() },
            tables => Mapping { rules: tables.iter().map(rule).collect() },
        }
    }
}

/// What a sink takes from one topic, or from those that match a pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkTable {
    /// A topic, `source.schema.table`; `*` stands for any run of characters, as in `shop.public.*`.
    pub topic: String,
    /// The target table. Without it: the source table's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The columns to take, as `source: target`; every column of the key must be among them. Without it: all, under
    /// the same names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// Whether a delete in the source deletes the row (`delete`) or leaves it (`ignore`).
    #[serde(default)]
    pub on_delete: OnDelete,
}

impl SinkTable {
    /// Everything of `topic`, under the same names.
    pub fn all(topic: impl Into<String>) -> SinkTable {
        SinkTable { topic: topic.into(), table: None, columns: None, on_delete: OnDelete::Delete }
    }
}

/// Source column to target column, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(pub Vec<(String, String)>);

/// What a delete in the source does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum OnDelete {
    /// The row is deleted.
    #[default]
    Delete,
    /// The row stays.
    Ignore,
}

/// How transactions are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Apply {
    /// A source transaction is applied whole, in one target transaction.
    Transactional,
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

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(source, target)| map.serialize_entry(source, target))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of source columns to target columns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Columns(pairs))
            }
        }

        from.deserialize_map(Pairs)
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}
