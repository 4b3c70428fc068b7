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

    /// Whether the topic stands in it.
    pub fn has_topic(&self) -> bool {
        self.parts.contains(&Part::Topic)
    }

    /// The text for a table and a topic, of a template without values.
    pub fn text(&self, table: &str, topic: &str) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Table => table.to_owned(),
            Part::Topic => topic.to_owned(),
            Part::Key | Part::Column(_) => String::new(),
        };
        self.parts.iter().map(part).collect()
    }

    /// The key of a row of a table whose topic and shape are not known, when this column is all that it is made of.
    ///
    /// # Errors
    /// As [`KeyName::of`].
    pub fn only(&self, table: &str, column: &str, value: Value<'_>) -> Result<Option<String>> {
        let mut pieces = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => put(&mut pieces, text),
                Part::Table => put(&mut pieces, table),
                Part::Column(name) if name == column => pieces.push(Piece::Value(0)),
                Part::Column(_) | Part::Key | Part::Topic => return Ok(None),
            }
        }
        let holds = pieces.contains(&Piece::Value(0));
        holds.then(|| KeyName { pieces }.of(&[value])).transpose()
    }

    /// The key of the one row that is meant, taking the key to be one column; for caches, in which a key too many does no
    /// harm.
    ///
    /// # Errors
    /// As [`KeyName::of`].
    pub fn assumed(&self, table: &str, topic: &str, value: Value<'_>) -> Result<String> {
        let mut pieces = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => put(&mut pieces, text),
                Part::Table => put(&mut pieces, table),
                Part::Topic => put(&mut pieces, topic),
                Part::Column(_) | Part::Key => pieces.push(Piece::Value(0)),
            }
        }
        KeyName { pieces }.of(&[value])
    }

    /// What keys the rows of a table have whose shape is not known: more than its own, where the template leaves that open,
    /// so that a row's fields must decide. `topics` are those that are known to go into it.
    pub fn loose(&self, table: &str, topics: &[String]) -> Vec<Names> {
        let any = [String::new()];
        let (topics, known) = if topics.is_empty() { (&any[..], false) } else { (topics, true) };
        let one = |topic: &String| {
            let mut names = Names { glob: String::new(), pattern: "^".to_owned() };
            for part in &self.parts {
                match part {
                    Part::Text(text) => names.put(text),
                    Part::Table => names.put(table),
                    Part::Topic if known => names.put(topic),
                    // A topic ends in the name of the table that the source has.
                    Part::Topic => {
                        names.any("[^:]*");
                        names.put(&format!(".{table}"));
                    }
                    Part::Key => names.any(".*"),
                    Part::Column(_) => names.any("[^:]*"),
                }
            }
            names.pattern.push('$');
            names
        };
        topics.iter().map(one).collect()
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

/// What the names of keys look like: for `SCAN … MATCH`, which takes too many, and for a pattern of Lua.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// What `SCAN … MATCH` takes.
    pub glob: String,
    /// A pattern of Lua.
    pub pattern: String,
}

impl Names {
    fn put(&mut self, text: &str) {
        put_glob(&mut self.glob, text);
        put_pattern(&mut self.pattern, text);
    }

    fn any(&mut self, pattern: &str) {
        self.glob.push('*');
        self.pattern.push_str(pattern);
    }
}

fn put_glob(glob: &mut String, text: &str) {
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            glob.push('\\');
        }
        glob.push(character);
    }
}

fn put_pattern(pattern: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_ascii_punctuation() {
            pattern.push('%');
        }
        pattern.push(character);
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
                Piece::Text(text) => put_glob(&mut glob, text),
            }
        }
        glob
    }

    /// Both.
    pub fn names(&self) -> Names {
        Names { glob: self.glob(), pattern: self.pattern() }
    }

    /// Whether a name is one of this target's rows.
    pub fn matches(&self, name: &str) -> bool {
        fits(&self.pieces, name)
    }

    /// A pattern of Lua that takes the names of this target and no others.
    pub fn pattern(&self) -> String {
        let mut pattern = "^".to_owned();
        for piece in &self.pieces {
            match piece {
                Piece::Value(_) => pattern.push_str("[^:]*"),
                Piece::Text(text) => put_pattern(&mut pattern, text),
            }
        }
        pattern.push('$');
        pattern
    }
}

/// A value is any run without separators.
fn fits(pieces: &[Piece], name: &str) -> bool {
    match pieces.split_first() {
        None => name.is_empty(),
        Some((Piece::Text(text), rest)) => {
            name.strip_prefix(text.as_str()).is_some_and(|name| fits(rest, name))
        }
        Some((Piece::Value(_), rest)) => {
            let run = name.find(':').unwrap_or(name.len());
            (0..=run).rev().filter_map(|at| name.get(at..)).any(|name| fits(rest, name))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
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
            prop_assert_eq!(left == right, (&a, &b) == (&c, &d));
            let named = Template::parse("{table}:{key}").unwrap().resolve(&target(&["x", "y"])).unwrap();
            prop_assert!(named.matches(&left));
            let longer = format!("{left}:z");
            prop_assert!(!named.matches(&longer));
        }
    }
}
