//! `match` and `action`: which rows, and what becomes of them.

use std::borrow::Cow;
use std::fmt;

use connector_api::erasure::Constant;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::forms::one_key;
use crate::config::sink::{Read, SET, WordOrSet, serialize_set};
use crate::erasure::rules::{Action, Mark};

const DELETE: &str = "delete";
const KEEP: &str = "keep";
const HASH: &str = "hash";
const KEY: &str = "key";

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Those whose column holds the value.
    Column(String),
    /// Those whose JSON column holds it under these keys.
    Json {
        /// The column.
        column: String,
        /// Keys, the outermost first.
        path: Vec<String>,
    },
    /// Those whose column equals a column of another table's rows.
    Through {
        /// The column.
        column: String,
        /// The other table.
        through: Box<Through>,
    },
}

/// Rows of another table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Through {
    /// The table.
    pub table: String,
    /// Its column.
    pub column: String,
    /// Which of its rows.
    pub r#match: Match,
}

impl Serialize for Match {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = match self {
            Match::Column(column) => return to.serialize_str(column),
            _ => to.serialize_map(Some(2))?,
        };
        map.serialize_entry("column", self.column())?;
        match self {
            Match::Column(_) => {}
            Match::Json { path, .. } => map.serialize_entry("path", path)?,
            Match::Through { through, .. } => map.serialize_entry("through", through)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            column: String,
            path: Option<Vec<String>>,
            through: Option<Box<Through>>,
        }

        impl<'de> Visitor<'de> for Either {
            type Value = Match;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column, or a mapping with `column` and `path` or `through`")
            }

            fn visit_str<E: Error>(self, column: &str) -> Result<Match, E> {
                Ok(Match::Column(column.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Match, A::Error> {
                let Object { column, path, through } = Object::deserialize(MapAccessDeserializer::new(map))?;
                match (path, through) {
                    (None, None) => Ok(Match::Column(column)),
                    (Some(path), None) => Ok(Match::Json { column, path }),
                    (None, Some(through)) => Ok(Match::Through { column, through }),
                    (Some(_), Some(_)) => Err(A::Error::custom("`path` and `through` exclude each other")),
                }
            }
        }

        from.deserialize_any(Either)
    }
}

impl JsonSchema for Match {
    fn schema_name() -> Cow<'static, str> {
        "Match".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// Written without a reference to itself, which editors and the manual could not follow: the innermost `match` is open.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let column = |what: &str| serde_json::json!({ "type": "string", "description": what });
        json_schema!({ "anyOf": [
            { "type": "string" },
            {
                "type": "object",
                "additionalProperties": false,
                "required": ["column"],
                "properties": {
                    "column": column("The column of the step's table."),
                    "path": {
                        "type": "array",
                        "items": { "type": "string" },
                        "minItems": 1,
                        "description": "Keys of objects inside of a JSON column, the outermost first.",
                    },
                    "through": {
                        "type": "object",
                        "additionalProperties": false,
                        "required": ["table", "column", "match"],
                        "description": "The rows of another table, whose `column` the step's column equals.",
                        "properties": {
                            "table": column("The other table."),
                            "column": column("Its column."),
                            "match": {
                                "anyOf": [{ "type": "string" }, { "type": "object" }],
                                "description": "Which of its rows: as the `match` of a step.",
                            },
                        },
                    },
                },
            },
        ]})
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Action::Delete => to.serialize_str(DELETE),
            Action::Keep => to.serialize_str(KEEP),
            Action::Set(marks) => serialize_set(marks, to),
        }
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "`delete`, `keep` or a mapping with `set`";
        Ok(match WordOrSet::read(from, expected, &[DELETE, KEEP, SET])? {
            Read::Word(KEEP) => Action::Keep,
            Read::Word(_) => Action::Delete,
            Read::Set(marks) => Action::Set(marks),
        })
    }
}

impl JsonSchema for Action {
    fn schema_name() -> Cow<'static, str> {
        "Action".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "const": DELETE },
            { "type": "string", "const": KEEP },
            {
                "type": "object",
                "additionalProperties": false,
                "required": [SET],
                "properties": { SET: {
                    "description": "The columns that are set, each to null, to a value, or to `{hash: key}`: a keyed hash of the \
                        subject's key, as text.",
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": { "anyOf": [
                        { "type": ["null", "boolean", "number", "string"] },
                        {
                            "type": "object",
                            "additionalProperties": false,
                            "required": [HASH],
                            "properties": { HASH: { "type": "string", "const": KEY } },
                        },
                    ]},
                }},
            },
        ]})
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Mark::Hash => one_key(to, HASH, &KEY),
            Mark::Constant(Constant::Null) => to.serialize_unit(),
            Mark::Constant(Constant::Bool(value)) => to.serialize_bool(*value),
            Mark::Constant(Constant::Int(value)) => to.serialize_i64(*value),
            Mark::Constant(Constant::Float(value)) => to.serialize_f64(*value),
            Mark::Constant(Constant::Text(text)) => to.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Hashed {
            Key,
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object {
            hash: Hashed,
        }

        impl<'de> Visitor<'de> for Either {
            type Value = Mark;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, `true`, `false`, `null` or {hash: key}")
            }

            fn visit_unit<E: Error>(self) -> Result<Mark, E> {
                Ok(Mark::Constant(Constant::Null))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Mark, E> {
                Ok(Mark::Constant(Constant::Bool(value)))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Mark, E> {
                Ok(Mark::Constant(Constant::Int(value)))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Mark, E> {
                Ok(Mark::Constant(Constant::Float(value)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Mark, E> {
                Ok(Mark::Constant(Constant::Text(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Mark, A::Error> {
                let Object { hash: Hashed::Key } = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Mark::Hash)
            }
        }

        from.deserialize_any(Either)
    }
}
