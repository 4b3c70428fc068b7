//! The JSON Schema of a configuration: the connectors' own schemas, put into one.

use super::connectors::{SinkConnector, SourceConnector};
use super::erasure::Subject;
use super::sink::SinkRules;
use super::{Admin, Log, check};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The JSON Schema (draft 2020-12) of a configuration, for editors and for `millstream schema`.
pub fn schema() -> Value {
    let mut generator =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    let sources = SourceConnector::schemas(&mut generator);
    let sources =
        sources.into_iter().map(|(name, options)| with_type(name, options.to_value(), None)).collect();
    let rules = SinkRules::json_schema(&mut generator).to_value();
    let sinks = SinkConnector::schemas(&mut generator);
    let sinks =
        sinks.into_iter().map(|(name, options)| with_type(name, options.to_value(), Some(&rules))).collect();
    let subjects = vec![part::<Subject>(&mut generator).to_value()];
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "millstream configuration",
        "type": "object",
        "additionalProperties": false,
        "required": ["sources"],
        "properties": {
            "log": part::<Log>(&mut generator),
            "admin": part::<Admin>(&mut generator),
            "sources": named("Where changes come from, by name; the name is the prefix of their topics.", sources),
            "sinks": named("Where changes go, by name.", sinks),
            "erasure": named("Kinds of data subjects, by name, and what every place does when one is to be erased.", subjects),
        },
    })
}

fn part<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// A mapping of names to one of the `kinds`.
fn named(description: &str, mut kinds: Vec<Value>) -> Value {
    let one = if kinds.len() == 1 { kinds.swap_remove(0) } else { json!({ "oneOf": kinds }) };
    json!({
        "description": description,
        "type": "object",
        "propertyNames": { "pattern": check::NAME_PATTERN },
        "additionalProperties": one,
    })
}

/// The options of a connector, with its `type` in front and what every sink has behind.
fn with_type(name: &str, mut options: Value, common: Option<&Value>) -> Value {
    let mut properties = Map::new();
    properties.insert("type".to_owned(), json!({ "type": "string", "const": name }));
    let own = options.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let common = common.and_then(|common| common.get("properties")?.as_object().cloned()).unwrap_or_default();
    // A connector may read a common key as well; it is described once, with the common ones.
    let own = own.into_iter().filter(|(key, _)| !common.contains_key(key)).collect::<Vec<_>>();
    properties.extend(own.into_iter().chain(common));
    let mut required = vec![json!("type")];
    required.extend(options.get("required").and_then(Value::as_array).cloned().unwrap_or_default());
    if let Some(options) = options.as_object_mut() {
        options.insert("properties".to_owned(), Value::Object(properties));
        options.insert("required".to_owned(), Value::Array(required));
    }
    options
}
