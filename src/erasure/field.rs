//! Whose a row is: reading what names a subject out of the images of a change.

use connector_api::{Before, Change, Error, Op, Result, Row, Schema, Value, ValueKind};
use serde_json::Value as Json;

use super::rules::{Field, Subject, TopicRule};
use super::secret::key_text;

/// Where the rows of one topic in one shape hold what names a subject.
#[derive(Debug, Clone)]
pub struct Reader {
    column: usize,
    /// Keys of JSON objects; empty for the column itself.
    path: Vec<String>,
    /// Which of [`Subject::forms`] the rows hold.
    pub form: usize,
}

impl Reader {
    /// Works a rule out for a shape.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when the topic has no such column.
    pub fn new(subject: &Subject, rule: &TopicRule, schema: &Schema) -> Result<Reader> {
        let (name, path) = match &rule.field {
            Field::Column(name) => (name, Vec::new()),
            Field::Json { column, path } => (column, path.clone()),
        };
        let missing = || {
            Error::config(format!("erase {} from {}: there is no column {name:?}", subject.name, rule.topic))
                .with_remedy(format!("mend `match` of topic {} under erasure.{}", rule.topic, subject.name))
        };
        let column = schema.column(name).ok_or_else(missing)?;
        let form = subject.forms().iter().position(|form| *form == rule.is.as_deref()).unwrap_or(0);
        Ok(Reader { column, path, form })
    }

    /// What the images of a change hold, as the text that [`key_text`] makes of it: none, one, or the old and the new one.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] when an image does not decode.
    pub fn texts(&self, change: &Change<'_>) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        let old = match change.before {
            Some(Before::Full(row)) => self.text(row)?,
            Some(Before::Key(row)) => self.key_part(change.schema, row)?,
            None => None,
        };
        let of_key = || change.key().map(|key| self.key_part(change.schema, key)).transpose();
        let new = match change.after {
            Some(row) => self.text(row)?,
            None if change.op == Op::Delete && old.is_none() => of_key()?.flatten(),
            None => None,
        };
        texts.extend(old);
        texts.extend(new.filter(|new| !texts.contains(new)));
        Ok(texts)
    }

    fn text(&self, row: Row<'_>) -> Result<Option<String>> {
        self.of(row.values().nth(self.column).transpose()?)
    }

    /// Of a row that holds the key alone.
    fn key_part(&self, schema: &Schema, key: Row<'_>) -> Result<Option<String>> {
        let Some(at) = schema.key.iter().position(|column| *column == self.column) else { return Ok(None) };
        self.of(key.values().nth(at).transpose()?)
    }

    fn of(&self, value: Option<Value<'_>>) -> Result<Option<String>> {
        let Some(value) = value else { return Ok(None) };
        if !self.path.is_empty() {
            return Ok(json_text(value, &self.path));
        }
        match value {
            Value::Null | Value::Unchanged => Ok(None),
            value => key_text(value).map(Some),
        }
    }
}

/// The subject that a row of its own topic is, and the one that it was before its key changed.
pub fn own_keys<'a>(change: &Change<'a>) -> Result<Vec<Value<'a>>> {
    let new = change.key().and_then(|key| key.values().next()).transpose()?;
    let old = change.old_key()?.and_then(|key| key.first().copied());
    Ok(new.into_iter().chain(old).collect())
}

/// What stands in a JSON text under these keys, when it is text or a number.
fn json_text(value: Value<'_>, path: &[String]) -> Option<String> {
    let (Value::Json(text) | Value::Text(text)) = value else { return None };
    let mut json: &Json = &serde_json::from_str(text).ok()?;
    for key in path {
        json = json.get(key)?;
    }
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The kind that a column of a key has, for a key that comes as text.
///
/// # Errors
/// [`connector_api::Kind::Config`] when the text is none of that kind. The text is personal and not in the error.
pub fn parse_key<'t>(subject: &str, kind: ValueKind, text: &'t str) -> Result<Value<'t>> {
    let wrong = || {
        Error::config(format!("erase a subject of {subject}: its key is no {}", kind.as_str()))
            .with_remedy("give the key as the source shows it")
    };
    Ok(match kind {
        ValueKind::Int => Value::Int(text.parse().map_err(|_| wrong())?),
        ValueKind::Uuid => Value::Uuid(*uuid::Uuid::parse_str(text).map_err(|_| wrong())?.as_bytes()),
        ValueKind::Bool => Value::Bool(text.parse().map_err(|_| wrong())?),
        ValueKind::Decimal => Value::Decimal(text),
        ValueKind::Text => Value::Text(text),
        _ => return Err(wrong()),
    })
}
