//! The functions that an expression may call: their names, the types that they take, and what they do.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::borrow::Cow;

use super::calendar::ACCESSORS;
use super::datum::Datum;
use super::fault::Failure;
use super::types::Type;
use super::{Answer, convert, json};

type OneOf = for<'r> fn(Datum<'r>) -> Answer<'r>;
type TwoOf = for<'r> fn(Datum<'r>, Datum<'r>) -> Answer<'r>;
type ThreeOf = for<'r> fn(Datum<'r>, Datum<'r>, Datum<'r>) -> Answer<'r>;

/// What a function does.
#[derive(Clone, Copy)]
pub(super) enum Body {
    One(OneOf),
    Two(TwoOf),
    Three(ThreeOf),
}

/// One function, for values of one type.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// Written `value.name(…)`; else `name(value)`.
    pub(super) method: bool,
    /// Whether it takes a value of this type, as its first.
    pub(super) takes: fn(Type) -> bool,
    /// The types of the other arguments.
    pub(super) others: &'static [Type],
    pub(super) gives: Type,
    pub(super) body: Body,
}

fn text(kind: Type) -> bool {
    matches!(kind, Type::Text | Type::Json)
}

const fn method(name: &'static str, others: &'static [Type], gives: Type, body: Body) -> Function {
    Function { name, method: true, takes: text, others, gives, body }
}

const fn conversion(name: &'static str, takes: fn(Type) -> bool, gives: Type, apply: OneOf) -> Function {
    Function { name, method: false, takes, others: &[], gives, body: Body::One(apply) }
}

const ONE_TEXT: &[Type] = &[Type::Text];

static FUNCTIONS: [Function; 16] = [
    method(
        "contains",
        ONE_TEXT,
        Type::Bool,
        Body::Two(|text, part| of_texts(&text, &part, |text, part| text.contains(part))),
    ),
    method(
        "startsWith",
        ONE_TEXT,
        Type::Bool,
        Body::Two(|text, part| of_texts(&text, &part, |text, part| text.starts_with(part))),
    ),
    method(
        "endsWith",
        ONE_TEXT,
        Type::Bool,
        Body::Two(|text, part| of_texts(&text, &part, |text, part| text.ends_with(part))),
    ),
    method("lowerAscii", &[], Type::Text, Body::One(|text| mapped(text, |text| text.to_ascii_lowercase()))),
    method("upperAscii", &[], Type::Text, Body::One(|text| mapped(text, |text| text.to_ascii_uppercase()))),
    method("trim", &[], Type::Text, Body::One(|text| mapped(text, |text| text.trim().to_owned()))),
    method("replace", &[Type::Text, Type::Text], Type::Text, Body::Three(replace)),
    method("substring", &[Type::Int], Type::Text, Body::Two(|text, from| substring(&text, &from, None))),
    method(
        "substring",
        &[Type::Int, Type::Int],
        Type::Text,
        Body::Three(|text, from, to| substring(&text, &from, Some(&to))),
    ),
    Function {
        name: "size",
        method: true,
        takes: sized,
        others: &[],
        gives: Type::Int,
        body: Body::One(size),
    },
    Function {
        name: "size",
        method: false,
        takes: sized,
        others: &[],
        gives: Type::Int,
        body: Body::One(size),
    },
    conversion("string", |_| true, Type::Text, convert::string),
    conversion(
        "int",
        |kind| kind.is_number() || text(kind) || kind == Type::TimestampTz,
        Type::Int,
        convert::int,
    ),
    conversion("double", |kind| kind.is_number() || text(kind), Type::Float, convert::double),
    conversion("bool", |kind| kind == Type::Bool || text(kind), Type::Bool, convert::bool),
    conversion(
        "timestamp",
        |kind| kind.has_day() || kind == Type::Int || text(kind),
        Type::TimestampTz,
        convert::timestamp,
    ),
];

/// The functions of this name, written in this way.
pub(super) fn named(name: &str, method: bool) -> impl Iterator<Item = Cow<'static, Function>> {
    let fixed = FUNCTIONS.iter().filter(move |function| function.name == name && function.method == method);
    let accessor = ACCESSORS.iter().find(|(known, _)| method && *known == name);
    let accessor = accessor.map(|(name, apply)| Function {
        name,
        method: true,
        takes: |kind| kind.has_day() || kind == Type::Time,
        others: &[],
        gives: Type::Int,
        body: Body::One(*apply),
    });
    fixed.map(Cow::Borrowed).chain(accessor.map(Cow::Owned))
}

/// The names of all, for a message.
pub(super) fn names() -> String {
    let mut names: Vec<&str> = FUNCTIONS.iter().map(|function| function.name).collect();
    names.extend(ACCESSORS.iter().map(|(name, _)| *name));
    names.extend(["matches", "has"]);
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

impl Clone for Function {
    fn clone(&self) -> Self {
        Function { ..*self }
    }
}

const NO_TEXT: Failure = Failure::Bad("a function of text, of a JSON value that is no text");

fn of_texts<'r>(text: &Datum<'r>, part: &Datum<'r>, apply: fn(&str, &str) -> bool) -> Answer<'r> {
    match (text, part) {
        (Datum::Text(text), Datum::Text(part)) => Ok(Datum::Bool(apply(text, part))),
        _ => Err(NO_TEXT),
    }
}

fn mapped(text: Datum<'_>, apply: fn(&str) -> String) -> Answer<'_> {
    match text {
        Datum::Text(text) => Ok(Datum::Text(Cow::Owned(apply(&text)))),
        _ => Err(NO_TEXT),
    }
}

/// Text may grow this large by `replace`.
const TEXT_BYTES_MAX: usize = 64 << 20;

fn replace<'r>(text: Datum<'r>, from: Datum<'r>, to: Datum<'r>) -> Answer<'r> {
    let (Datum::Text(text), Datum::Text(from), Datum::Text(to)) = (&text, &from, &to) else {
        return Err(NO_TEXT);
    };
    let places = if from.is_empty() { text.chars().count() + 1 } else { text.matches(&**from).count() };
    if places.saturating_mul(to.len()).saturating_add(text.len()) > TEXT_BYTES_MAX {
        return Err(Failure::Bad("replace() that would give more than 64 MiB"));
    }
    Ok(Datum::Text(Cow::Owned(text.replace(&**from, to))))
}

/// Characters from a place, up to another; places beyond the end are the end.
fn substring<'r>(text: &Datum<'r>, from: &Datum<'r>, to: Option<&Datum<'r>>) -> Answer<'r> {
    let Datum::Text(text) = text else { return Err(NO_TEXT) };
    let place = |datum: &Datum<'r>| match datum {
        Datum::Int(at) => {
            usize::try_from(*at).map_err(|_| Failure::Bad("substring() from before the beginning"))
        }
        _ => Err(Failure::Bad("substring() from a place that is no whole number")),
    };
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
    let start = byte(place(from)?);
    let end = to.map(place).transpose()?.map_or(text.len(), byte);
    Ok(Datum::Text(Cow::Owned(text.get(start..end).unwrap_or_default().to_owned())))
}

fn sized(kind: Type) -> bool {
    text(kind) || matches!(kind, Type::Bytes | Type::Array(_))
}

/// Characters, bytes, or items.
fn size(datum: Datum<'_>) -> Answer<'_> {
    let size = match &datum {
        Datum::Text(text) => text.chars().count(),
        Datum::Bytes(bytes) => bytes.len(),
        Datum::Json(text) if text.starts_with('[') => json::items(text).count(),
        Datum::Array(array) => {
            let (_, elements) = array.open().map_err(|_| Failure::Bad("an array that does not decode"))?;
            elements.count()
        }
        _ => return Err(Failure::Bad("size() of a JSON value that is neither text nor array")),
    };
    Ok(Datum::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}
