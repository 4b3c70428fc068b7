//! Names of keys, made of text and of the values of a row's key.
//!
//! A value never holds the separator: `:` in it is written `%3A`, and `%` is written `%25`. So different rows have
//! different keys, and the keys of one table are told from those of another.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::json::put_text;
use connector_api::{Error, Result, Target, Value};

/// A template as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Table,
    Topic,
    Key,
    Column(String),
}

impl Template {
    /// Reads a template; what is wrong with it as an error.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some((name, after)) = after.split_once('}') else {
                return Err("a { without its }".to_owned());
            };
            parts.push(match name {
                "" => return Err("{} names nothing".to_owned()),
                "table" => Part::Table,
                "topic" => Part::Topic,
                "key" => Part::Key,
                column => Part::Column(column.to_owned()),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err("a } without its {".to_owned());
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        match parts.is_empty() {
            true => Err("it is empty".to_owned()),
            false => Ok(Template { parts }),
        }
    }

    /// Whether it begins with more than values.
    pub fn has_text(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Text(_) | Part::Table | Part::Topic))
    }

    /// Whether values of the row stand in it.
    pub fn has_columns(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Key | Part::Column(_)))
    }

    /// The template for one target.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when it names no column of the key, or not all of them.
    pub fn resolve(&self, target: &Target) -> Result<KeyName> {
        let names = target.key_names();
        let mut pieces = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => put(&mut pieces, text),
                Part::Table => put(&mut pieces, &target.table),
                Part::Topic => put(&mut pieces, &target.topic),
                Part::Key => (0..names.len()).for_each(|at| {
                    if at > 0 {
                        put(&mut pieces, ":");
                    }
                    pieces.push(Piece::Value(at));
                }),
                Part::Column(name) => match names.iter().position(|other| other == name) {
                    Some(at) => pieces.push(Piece::Value(at)),
                    None => return Err(no_column(target, name, &names)),
                },
            }
        }
        let missing = (0..names.len()).find(|at| !pieces.contains(&Piece::Value(*at)));
        match missing.and_then(|at| names.get(at)) {
            Some(name) if self.has_columns() => Err(Error::config(format!(
                "map topic {}: the key of table {:?} has column {name:?}, and the option key does not",
                target.topic, target.table
            ))
            .with_remedy("write {key} in the option key of this sink, or every column of the key")),
            _ => Ok(KeyName { pieces }),
        }
    }
}

fn no_column(target: &Target, name: &str, names: &[&str]) -> Error {
    Error::config(format!(
        "map topic {}: the option key names {{{name}}}, and the key of table {:?} is ({})",
        target.topic,
        target.table,
        names.join(", ")
    ))
    .with_remedy("write {key} in the option key of this sink, or columns of the key")
}

/// Text after text is one piece.
fn put(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// A template worked out for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The value at this place of the key.
    Value(usize),
}

impl KeyName {
    /// The name for one row.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] when a value of the key is null or was left out.
    pub fn of(&self, key: &[Value<'_>]) -> Result<String> {
        let mut name = String::new();
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Value(at) => {
                    let value = key.get(*at).copied().unwrap_or(Value::Null);
                    if matches!(value, Value::Null | Value::Unchanged) {
                        return Err(Error::data("name row: a column of the key is null"));
                    }
                    text.clear();
                    put_text(&mut text, value)?;
                    text.chars().for_each(|character| match character {
                        ':' => name.push_str("%3A"),
                        '%' => name.push_str("%25"),
                        other => name.push(other),
                    });
                }
            }
        }
        Ok(name)
    }

    /// What `SCAN … MATCH` takes: more than the names of this target, because its `*` passes over separators.
    pub fn glob(&self) -> String {
        let mut glob = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Value(_) => glob.push('*'),
                Piece::Text(text) => text.chars().for_each(|character| {
                    if matches!(character, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
                        glob.push('\\');
                    }
                    glob.push(character);
                }),
            }
        }
        glob
    }

    /// A pattern of Lua that takes the names of this target and no others.
    pub fn pattern(&self) -> String {
        let mut pattern = "^".to_owned();
        for piece in &self.pieces {
            match piece {
                Piece::Value(_) => pattern.push_str("[^:]*"),
                Piece::Text(text) => text.chars().for_each(|character| {
                    if character.is_ascii_punctuation() {
                        pattern.push('%');
                    }
                    pattern.push(character);
                }),
            }
        }
        pattern.push('$');
        pattern
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use connector_api::{Column, Schema, ValueKind};
    use proptest::prelude::*;

    use super::*;

    fn target(key: &[&str]) -> Target {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            kind: ValueKind::Text,
            element: None,
            type_name: "text".to_owned(),
            nullable: false,
        };
        let schema = Schema {
            namespace: "public".to_owned(),
            table: "users".to_owned(),
            columns: key.iter().map(column).collect(),
            key: (0..key.len()).collect(),
        };
        Target::whole(&Arc::from("shop.public.users"), &Arc::new(schema))
    }

    fn name(template: &str, key: &[&str], values: &[&str]) -> Result<String> {
        let values: Vec<_> = values.iter().map(|value| Value::Text(value)).collect();
        Template::parse(template).unwrap().resolve(&target(key))?.of(&values)
    }

    #[test]
    fn names_are_made_of_text_and_of_the_key() {
        assert_eq!(name("{table}:{key}", &["id"], &["7"]).unwrap(), "users:7");
        assert_eq!(name("u/{b}/{a}", &["a", "b"], &["x", "y"]).unwrap(), "u/y/x");
        assert_eq!(
            name("{topic}|{key}", &["a", "b"], &["1:2", "50%"]).unwrap(),
            "shop.public.users|1%3A2:50%25"
        );
        assert!(name("u:{a}", &["a", "b"], &["x", "y"]).unwrap_err().remedy().unwrap().contains("{key}"));
        assert!(name("u:{c}", &["a"], &["x"]).is_err());
        for wrong in ["", "{", "a}", "{}", "a{b{c}"] {
            let parsed = Template::parse(wrong);
            assert!(parsed.is_err() || wrong == "a{b{c}", "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn different_keys_have_different_names(a in "[a:%*]{0,4}", b in "[a:%*]{0,4}", c in "[a:%*]{0,4}", d in "[a:%*]{0,4}") {
            let left = name("{table}:{key}", &["x", "y"], &[&a, &b]).unwrap();
            let right = name("{table}:{key}", &["x", "y"], &[&c, &d]).unwrap();
            prop_assert_eq!(left == right, (a, b) == (c, d));
        }
    }
}
