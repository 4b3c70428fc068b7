//! From the located tree to types: a serde deserializer whose errors know their place, which collects every
//! unknown key instead of stopping at the first, and which lets two types share one mapping.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use super::files::Place;
use super::node::{Entry, Node, Value};
use super::problem::{self, Problem, quoted};
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use std::cell::RefCell;
use std::fmt;

/// Problems found so far. Reading goes on after those that allow it.
#[derive(Default)]
pub(super) struct Report(RefCell<Vec<Problem>>);

impl Report {
    pub(super) fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// A value that could not be read.
    pub(super) fn failed(&self, failure: Failure) {
        if !failure.told {
            self.add(*failure.problem);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// The keys that the types reading one mapping know, gathered from the types themselves.
#[derive(Default)]
pub(super) struct Keys(RefCell<Vec<&'static str>>);

impl Keys {
    /// Reports the keys of `node` that no type asked for; `also` are those read by hand.
    ///
    /// Returns what those keys were probably meant to be.
    pub(super) fn refuse_others(&self, node: &Node, also: &[&'static str], report: &Report) -> Meant {
        let known: Vec<_> = also.iter().chain(self.0.borrow().iter()).copied().collect();
        refuse(node.entries().iter(), &known, report)
    }
}

/// What misspelt keys were probably meant to be.
pub(super) struct Meant(Vec<&'static str>);

impl Meant {
    /// A key that is missing only because it is misspelt needs no second report.
    pub(super) fn told(&self, mut failure: Failure) -> Failure {
        failure.told |= failure.missing.is_some_and(|field| self.0.contains(&field));
        failure
    }
}

/// Reports the entries that are not `known`.
fn refuse<'a>(entries: impl Iterator<Item = &'a Entry>, known: &[&'static str], report: &Report) -> Meant {
    let unknown = entries.filter(|entry| !known.contains(&entry.name.as_str()));
    let meant = unknown.filter_map(|entry| {
        report.add(problem::unknown("key", &entry.name, known).at(entry.place));
        problem::nearest(&entry.name, known.iter().copied())
    });
    Meant(meant.collect())
}

/// Reads one node.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    node: &'a Node,
    /// The key in front of the node: where a missing key is reported.
    label: Place,
    report: &'a Report,
    /// Set when other types read the same mapping: unknown keys are then judged by [`Keys::refuse_others`].
    shared: Option<&'a Keys>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, label: Place, report: &'a Report) -> Self {
        Reader { node, label, report, shared: None }
    }

    /// Reads a part of a mapping that other types read as well.
    pub(super) fn sharing(mut self, keys: &'a Keys) -> Self {
        self.shared = Some(keys);
        self
    }

    fn unexpected(&self) -> Unexpected<'a> {
        match &self.node.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Int(value) => Unexpected::Signed(i64::try_from(*value).unwrap_or(i64::MAX)),
            Value::Float(value) => Unexpected::Float(*value),
            Value::Text { text, .. } => Unexpected::Str(text),
            Value::List(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        }
    }

    /// Adds the place, unless a deeper value has done so, and takes substituted text out of the message.
    fn place(&self, mut failure: Failure) -> Failure {
        let place = if failure.missing.is_some() { self.label } else { self.node.place };
        failure.problem.place = failure.problem.place.or(Some(place));
        if matches!(self.node.value, Value::Text { .. }) {
            let message = std::mem::take(&mut failure.problem.message);
            failure.problem.message = self.node.scrub(message);
            failure.problem.help = failure.problem.help.map(|help| self.node.scrub(help));
        }
        failure
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => visitor.visit_i128(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text { text, .. } => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter(), reader: self }),
            Value::Map(entries) => visitor.visit_map(self.fields(entries.iter().collect())),
        }
    }

    fn fields(self, entries: Vec<&'a Entry>) -> Fields<'a> {
        Fields { entries: entries.into_iter(), value: None, reader: self }
    }

    /// A number or a truth value that came out of a variable is text: it is read as what is asked for.
    fn substituted<T: std::str::FromStr>(&self) -> Option<T> {
        match &self.node.value {
            Value::Text { text, written: Some(_) } => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// Reads numbers and truth values, also from substituted text.
macro_rules! scalars {
    ($($method:ident, $visit:ident, $type:ty;)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            let read = match self.substituted::<$type>() {
                Some(value) => visitor.$visit(value),
                None => self.any(visitor),
            };
            read.map_err(|failure| self.place(failure))
        })+
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.any(visitor).map_err(|failure| self.place(failure))
    }

    scalars! {
        deserialize_bool, visit_bool, bool;
        deserialize_i8, visit_i64, i64;
        deserialize_i16, visit_i64, i64;
        deserialize_i32, visit_i64, i64;
        deserialize_i64, visit_i64, i64;
        deserialize_u8, visit_u64, u64;
        deserialize_u16, visit_u64, u64;
        deserialize_u32, visit_u64, u64;
        deserialize_u64, visit_u64, u64;
        deserialize_f32, visit_f64, f64;
        deserialize_f64, visit_f64, f64;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            // `log:` with everything under it commented out.
            Value::Null => &[],
            _ => return Err(self.place(Failure::invalid_type(self.unexpected(), &visitor))),
        };
        let known = entries.iter().filter(|entry| fields.contains(&entry.name.as_str())).collect();
        let meant = match self.shared {
            Some(keys) => {
                keys.0.borrow_mut().extend(fields);
                Meant(Vec::new())
            }
            None => refuse(entries.iter(), fields, self.report),
        };
        let read = visitor.visit_map(self.fields(known));
        read.map_err(|failure| meant.told(self.place(failure)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let read = match &self.node.value {
            Value::Text { text, .. } => {
                visitor.visit_enum(IntoDeserializer::<Failure>::into_deserializer(text.as_str()))
            }
            _ => Err(Failure::from(Problem::new(format!(
                "expected one of {}, found {}",
                quoted(variants),
                described(&self.unexpected())
            )))),
        };
        read.map_err(|failure| self.place(failure))
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// The items of a list.
struct Items<'a> {
    items: std::slice::Iter<'a, Node>,
    reader: Reader<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Failure> {
        let Some(node) = self.items.next() else { return Ok(None) };
        seed.deserialize(Reader::new(node, node.place, self.reader.report)).map(Some)
    }
}

/// The entries of a mapping.
struct Fields<'a> {
    entries: std::vec::IntoIter<&'a Entry>,
    value: Option<&'a Entry>,
    reader: Reader<'a>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Failure> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(entry);
        let name: StrDeserializer<'_, Failure> = entry.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|mut failure| {
            failure.problem.place = failure.problem.place.or(Some(entry.place));
            failure
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        let entry = self.value.take().ok_or_else(|| Failure::custom("a value without a key"))?;
        seed.deserialize(Reader::new(&entry.value, entry.place, self.reader.report))
    }
}

/// A problem on its way to the value that knows the place.
#[derive(Debug)]
pub(super) struct Failure {
    problem: Box<Problem>,
    /// The key that is not there: reported where its mapping is named.
    missing: Option<&'static str>,
    /// The same fault is reported in better words: "unknown key `tabels`, did you mean `tables`?"
    told: bool,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Failure { problem: Box::new(problem), missing: None, told: false }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Failure {}

impl Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Problem::new(message.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = wanted(&expected.to_string());
        let problem = Problem::new(format!("expected {wanted}, found {}", described(&found)));
        match found {
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) | Unexpected::Bool(_)
                if wanted == "text" =>
            {
                problem.help("put it in quotes").into()
            }
            _ => problem.into(),
        }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let wanted = wanted(&expected.to_string());
        Problem::new(format!("expected {wanted}, found {}", described(&found))).into()
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        problem::unknown("value", variant, expected).into()
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        problem::unknown("key", field, expected).into()
    }

    fn missing_field(field: &'static str) -> Self {
        Failure { missing: Some(field), ..Problem::new(format!("`{field}` is missing")).into() }
    }
}

/// serde's words for what a type wants, in those of this manual.
fn wanted(expected: &str) -> String {
    match expected {
        "a string" | "string" => "text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "path string" => "a path".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    }
}

/// What was found. Text is not quoted: it may be a secret, and the line is shown anyway.
fn described(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(_) | Unexpected::Char(_) => "text".to_owned(),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        _ => "something else".to_owned(),
    }
}
