//! Static types: what a part of an expression gives, as far as it is known before there is a row.

use std::fmt;

use connector_api::{Column, ValueKind};

/// The type of a part of an expression. Every type has null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Not known, because the shape of the table is not: fits everything.
    Any,
    /// Only ever null.
    Null,
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
    /// Bytes.
    Bytes,
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
    /// A JSON value: what it is shows in each row.
    Json,
    /// An array with elements of this kind.
    Array(Option<ValueKind>),
}

impl Type {
    /// The type of a column.
    pub fn of(column: &Column) -> Type {
        match column.kind {
            ValueKind::Array => Type::Array(column.element),
            kind => Type::of_kind(kind),
        }
    }

    /// The type of a kind.
    pub fn of_kind(kind: ValueKind) -> Type {
        match kind {
            ValueKind::Bool => Type::Bool,
            ValueKind::Int => Type::Int,
            ValueKind::Float => Type::Float,
            ValueKind::Decimal => Type::Decimal,
            ValueKind::Text => Type::Text,
            ValueKind::Bytes => Type::Bytes,
            ValueKind::Uuid => Type::Uuid,
            ValueKind::Date => Type::Date,
            ValueKind::Time => Type::Time,
            ValueKind::Timestamp => Type::Timestamp,
            ValueKind::TimestampTz => Type::TimestampTz,
            ValueKind::Json => Type::Json,
            ValueKind::Array => Type::Array(None),
        }
    }

    /// The kind of a column that holds it. What is read out of JSON is held as text, as a person would write it.
    pub fn kind(self) -> Option<ValueKind> {
        Some(match self {
            Type::Any | Type::Null => return None,
            Type::Bool => ValueKind::Bool,
            Type::Int => ValueKind::Int,
            Type::Float => ValueKind::Float,
            Type::Decimal => ValueKind::Decimal,
            Type::Text | Type::Json => ValueKind::Text,
            Type::Bytes => ValueKind::Bytes,
            Type::Uuid => ValueKind::Uuid,
            Type::Date => ValueKind::Date,
            Type::Time => ValueKind::Time,
            Type::Timestamp => ValueKind::Timestamp,
            Type::TimestampTz => ValueKind::TimestampTz,
            Type::Array(_) => ValueKind::Array,
        })
    }

    /// Whether it is a number, or may be one.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Type::Int | Type::Float | Type::Decimal)
    }

    /// Whether nothing is known before there is a row.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Type::Any | Type::Null)
    }

    /// Whether it has a calendar day.
    pub(super) fn has_day(self) -> bool {
        matches!(self, Type::Date | Type::Timestamp | Type::TimestampTz)
    }

    /// Whether values of both can be compared.
    pub(super) fn compares(self, other: Type) -> bool {
        let dynamic = |kind: Type| kind.is_number() || matches!(kind, Type::Bool | Type::Text | Type::Json);
        match (self, other) {
            (one, two) if one.is_open() || two.is_open() => true,
            (Type::Array(_), _) | (_, Type::Array(_)) => false,
            (one, two) if one == two => true,
            (one, two) if one.is_number() && two.is_number() => true,
            (Type::Json, other) | (other, Type::Json) => dynamic(other),
            _ => false,
        }
    }

    /// The type of a value that is one or the other.
    pub(super) fn either(self, other: Type) -> Option<Type> {
        Some(match (self, other) {
            (one, two) if one == two => one,
            (Type::Any, _) | (_, Type::Any) => Type::Any,
            (Type::Null, other) | (other, Type::Null) => other,
            (Type::Int, Type::Float) | (Type::Float, Type::Int) => Type::Float,
            (Type::Int, Type::Decimal) | (Type::Decimal, Type::Int) => Type::Decimal,
            (Type::Json, Type::Text | Type::Bool | Type::Int | Type::Decimal)
            | (Type::Text | Type::Bool | Type::Int | Type::Decimal, Type::Json) => Type::Json,
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Any => "a value",
            Type::Null => "null",
            Type::Bool => "a bool",
            Type::Int => "an int",
            Type::Float => "a float",
            Type::Decimal => "a decimal",
            Type::Text => "text",
            Type::Bytes => "bytes",
            Type::Uuid => "a uuid",
            Type::Date => "a date",
            Type::Time => "a time",
            Type::Timestamp => "a timestamp without zone",
            Type::TimestampTz => "a timestamp",
            Type::Json => "a JSON value",
            Type::Array(_) => "an array",
        })
    }
}

impl Type {
    /// Whether values of it can be put into a column of a kind; some of them may still not fit.
    pub fn becomes(self, kind: ValueKind) -> bool {
        super::convert::converts(self, kind)
    }
}
