//! The keys of a subject that have more than one form.

use std::borrow::Cow;
use std::fmt;

use connector_api::options::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::Step;

const NEVER: &str = "never";
const NOTIFY: &str = "notify";
const EXEMPT: &str = "exempt";
const PURGE: &str = "purge";
const KEEP: &str = "keep";

/// How often something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// Once in this time.
    Span(Span),
    /// Not at all.
    Never,
}

impl Default for Every {
    fn default() -> Self {
        Every::Span(Span::secs(7 * 86_400))
    }
}

/// What a sink does.
#[derive(Debug, Clone, PartialEq)]
pub enum Coverage {
    /// These steps, in order.
    Steps(Vec<Step>),
    /// It is told, and sees to it itself.
    Notify,
    /// Nothing, for this reason.
    Exempt(String),
}

/// What the log does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogCopy {
    /// The records are removed or rewritten.
    #[default]
    Purge,
    /// They stay, for this reason.
    Keep(String),
}

impl Serialize for Every {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Every::Never => to.serialize_str(NEVER),
            Every::Span(span) => span.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Every;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time span with its unit (ms, s, m, h or d), such as 7d, or `never`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Every, E> {
                match text {
                    NEVER => Ok(Every::Never),
                    span => span.parse().map(Every::Span).map_err(|_| {
                        E::custom(
                            "expected a time span with its unit (ms, s, m, h or d), such as 7d, or `never`",
                        )
                    }),
                }
            }
        }

        from.deserialize_any(Either)
    }
}

impl JsonSchema for Every {
    fn schema_name() -> Cow<'static, str> {
        "Every".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let span = generator.subschema_for::<Span>();
        json_schema!({ "anyOf": [span, { "type": "string", "const": NEVER }] })
    }
}

/// A mapping with one key.
pub(super) fn one_key<S: Serializer>(to: S, key: &str, value: &impl Serialize) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(1))?;
    map.serialize_entry(key, value)?;
    map.end()
}

impl Serialize for Coverage {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Coverage::Steps(steps) => steps.serialize(to),
            Coverage::Notify => to.serialize_str(NOTIFY),
            Coverage::Exempt(reason) => one_key(to, EXEMPT, reason),
        }
    }
}

impl<'de> Deserialize<'de> for Coverage {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            exempt: String,
        }

        impl<'de> Visitor<'de> for Either {
            type Value = Coverage;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of steps, `notify` or a mapping with `exempt`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Coverage, E> {
                match text {
                    NOTIFY => Ok(Coverage::Notify),
                    other => Err(E::unknown_variant(other, &[NOTIFY, EXEMPT])),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Coverage, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Coverage::Steps)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Coverage, A::Error> {
                let Object { exempt } = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Coverage::Exempt(exempt))
            }
        }

        from.deserialize_any(Either)
    }
}

impl JsonSchema for Coverage {
    fn schema_name() -> Cow<'static, str> {
        "Coverage".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let step = generator.subschema_for::<Step>();
        json_schema!({ "anyOf": [
            { "type": "array", "items": step, "minItems": 1 },
            { "type": "string", "const": NOTIFY },
            {
                "type": "object",
                "additionalProperties": false,
                "required": [EXEMPT],
                "properties": { EXEMPT: { "type": "string", "description": "Why nothing is to be done there." } },
            },
        ]})
    }
}

impl Serialize for LogCopy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            LogCopy::Purge => to.serialize_str(PURGE),
            LogCopy::Keep(reason) => one_key(to, KEEP, reason),
        }
    }
}

impl<'de> Deserialize<'de> for LogCopy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            keep: String,
        }

        impl<'de> Visitor<'de> for Either {
            type Value = LogCopy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`purge` or a mapping with `keep`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<LogCopy, E> {
                match text {
                    PURGE => Ok(LogCopy::Purge),
                    other => Err(E::unknown_variant(other, &[PURGE, KEEP])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LogCopy, A::Error> {
                let Object { keep } = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(LogCopy::Keep(keep))
            }
        }

        from.deserialize_any(Either)
    }
}

impl JsonSchema for LogCopy {
    fn schema_name() -> Cow<'static, str> {
        "LogCopy".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "const": PURGE },
            {
                "type": "object",
                "additionalProperties": false,
                "required": [KEEP],
                "properties": { KEEP: { "type": "string", "description": "Why the records may stay." } },
            },
        ]})
    }
}
