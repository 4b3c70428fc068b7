//! What a sink takes from one topic, and what becomes of it.

use connector_api::ValueKind;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

use super::pairs::{Read, SET, WordOrSet, pairs, serialize_pairs, serialize_set};
use crate::pipeline::mapping::{self, Mark, Rule};

/// What a sink takes from one topic, or from those that match a pattern.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkTable {
    /// A topic, `source.schema.table`; `*` stands for any run of characters, as in `shop.public.*`.
    pub topic: String,
    /// The target table. Without it: the source table's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The columns to take, as `source: target`; without `key`, every column of the source's key must be among them. Without
    /// it: all, under the same names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// Columns of the source that are not taken; all others are, under the same names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Columns that are worked out: the target column, and an expression over the row, as in `total: row.price * row.count`;
    /// or `{value: <expression>, type: <type>}` to give the column another type. See MAPPING.md.
    #[serde(default, skip_serializing_if = "Computed::is_empty")]
    pub computed: Computed,
    /// The target columns that form the key in the target. Without it: those of the source's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<String>>,
    /// Which rows the target has: an expression over the row, as in `row.plan != 'free'`. A row that stops matching leaves
    /// the target. See MAPPING.md.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Whether a delete in the source deletes the row (`delete`), leaves it (`ignore`), or sets columns of it
    /// (`{set: {deleted_at: now}}`; `now` is the time at which the source committed).
    #[serde(default)]
    pub on_delete: OnDelete,
}

impl SinkTable {
    /// As the pipeline has it.
    pub(super) fn rule(&self) -> Rule {
        let computed = |(name, column): &(String, ComputedColumn)| mapping::Computed {
            name: name.clone(),
            value: column.value.clone(),
            kind: column.kind.map(Kind::kind),
        };
        Rule {
            topic: self.topic.clone(),
            table: self.table.clone(),
            columns: self.columns.as_ref().map(|columns| columns.0.clone()),
            exclude: self.exclude.clone(),
            computed: self.computed.0.iter().map(computed).collect(),
            key: self.key.clone(),
            condition: self.condition.clone(),
            on_delete: match &self.on_delete {
                OnDelete::Delete => mapping::OnDelete::Delete,
                OnDelete::Ignore => mapping::OnDelete::Ignore,
                OnDelete::Set(marks) => mapping::OnDelete::Set(marks.clone()),
            },
        }
    }
}

/// Source column to target column, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(pub Vec<(String, String)>);

/// Target column to expression, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Computed(pub Vec<(String, ComputedColumn)>);

impl Computed {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A column that is worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputedColumn {
    /// The expression.
    pub value: String,
    /// The type of the column.
    pub kind: Option<Kind>,
}

/// The types that a column can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number of 64 bits.
    Int,
    /// A binary float.
    Float,
    /// A decimal of any size.
    Decimal,
    /// Text.
    Text,
    /// A UUID.
    Uuid,
    /// A date.
    Date,
    /// A time of day.
    Time,
    /// A timestamp without zone.
    Timestamp,
    /// A timestamp with zone.
    TimestampTz,
    /// JSON.
    Json,
}

impl Kind {
    const NAMES: [&'static str; 11] = [
        "bool",
        "int",
        "float",
        "decimal",
        "text",
        "uuid",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "json",
    ];

    fn kind(self) -> ValueKind {
        match self {
            Kind::Bool => ValueKind::Bool,
            Kind::Int => ValueKind::Int,
            Kind::Float => ValueKind::Float,
            Kind::Decimal => ValueKind::Decimal,
            Kind::Text => ValueKind::Text,
            Kind::Uuid => ValueKind::Uuid,
            Kind::Date => ValueKind::Date,
            Kind::Time => ValueKind::Time,
            Kind::Timestamp => ValueKind::Timestamp,
            Kind::TimestampTz => ValueKind::TimestampTz,
            Kind::Json => ValueKind::Json,
        }
    }
}

/// What a delete in the source does.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum OnDelete {
    /// The row is deleted.
    #[default]
    Delete,
    /// The row stays.
    Ignore,
    /// The row stays, and these of its columns are set.
    Set(Vec<(String, Mark)>),
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serialize_pairs(&self.0, to)
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(pairs("a mapping of source columns to target columns")).map(Columns)
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

impl Serialize for Computed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serialize_pairs(&self.0, to)
    }
}

impl<'de> Deserialize<'de> for Computed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(pairs("a mapping of target columns to expressions")).map(Computed)
    }
}

impl JsonSchema for Computed {
    fn schema_name() -> Cow<'static, str> {
        "Computed".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let kinds = Kind::NAMES;
        json_schema!({ "type": "object", "additionalProperties": { "anyOf": [
            { "type": ["string", "number", "boolean"] },
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["value"],
                "properties": {
                    "value": { "type": ["string", "number", "boolean"] },
                    "type": { "type": "string", "enum": kinds },
                },
            },
        ]}})
    }
}

/// The long form of a computed column.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    value: Short,
    #[serde(rename = "type")]
    kind: Option<Kind>,
}

/// An expression; numbers and truth values need no quotes.
#[derive(Serialize)]
#[serde(transparent)]
struct Short(String);

impl Serialize for ComputedColumn {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.kind {
            None => to.serialize_str(&self.value),
            kind => Long { value: Short(self.value.clone()), kind }.serialize(to),
        }
    }
}

/// Reads text, numbers and truth values as an expression; a mapping only where the long form may stand.
struct Written {
    long: bool,
}

impl<'de> Visitor<'de> for Written {
    type Value = ComputedColumn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.long {
            "an expression, or a mapping with `value` and `type`"
        } else {
            "an expression"
        })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ComputedColumn, E> {
        Ok(ComputedColumn { value: text.to_owned(), kind: None })
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<ComputedColumn, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ComputedColumn, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ComputedColumn, E> {
        self.visit_str(&format!("{value:?}"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ComputedColumn, A::Error> {
        if !self.long {
            return Err(A::Error::custom("expected an expression, found a mapping"));
        }
        let Long { value: Short(value), kind } = Long::deserialize(MapAccessDeserializer::new(map))?;
        Ok(ComputedColumn { value, kind })
    }
}

impl<'de> Deserialize<'de> for ComputedColumn {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written { long: true })
    }
}

impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written { long: false }).map(|column| Short(column.value))
    }
}

const DELETE: &str = "delete";
const IGNORE: &str = "ignore";

impl Serialize for OnDelete {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            OnDelete::Delete => to.serialize_str(DELETE),
            OnDelete::Ignore => to.serialize_str(IGNORE),
            OnDelete::Set(marks) => serialize_set(marks, to),
        }
    }
}

impl<'de> Deserialize<'de> for OnDelete {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "`delete`, `ignore` or a mapping with `set`";
        Ok(match WordOrSet::read(from, expected, &[DELETE, IGNORE, SET])? {
            Read::Word(IGNORE) => OnDelete::Ignore,
            Read::Word(_) => OnDelete::Delete,
            Read::Set(marks) => OnDelete::Set(marks),
        })
    }
}

impl JsonSchema for OnDelete {
    fn schema_name() -> Cow<'static, str> {
        "OnDelete".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "const": DELETE },
            { "type": "string", "const": IGNORE },
            {
                "type": "object",
                "additionalProperties": false,
                "required": [SET],
                "properties": { SET: {
                    "description": "The columns that a delete sets, each to a value or to `now`.",
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": { "type": ["null", "boolean", "number", "string"] },
                }},
            },
        ]})
    }
}

const NOW: &str = "now";

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Mark::Now => to.serialize_str(NOW),
            Mark::Null => to.serialize_unit(),
            Mark::Bool(value) => to.serialize_bool(*value),
            Mark::Int(value) => to.serialize_i64(*value),
            Mark::Float(value) => to.serialize_f64(*value),
            Mark::Text(text) => to.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl Visitor<'_> for Scalar {
            type Value = Mark;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`now`, text, a number, `true`, `false` or `null`")
            }

            fn visit_unit<E: Error>(self) -> Result<Mark, E> {
                Ok(Mark::Null)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Mark, E> {
                Ok(Mark::Bool(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Mark, E> {
                Ok(Mark::Int(value))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Mark, E> {
                Ok(Mark::Float(value))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Mark, E> {
                Ok(if text == NOW { Mark::Now } else { Mark::Text(text.to_owned()) })
            }
        }

        from.deserialize_any(Scalar)
    }
}
