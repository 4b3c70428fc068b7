//! A value while an expression is worked out: like [`Value`], but text may be its own.

use std::borrow::Cow;

use connector_api::Value;
use connector_api::array::Array;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum<'r> {
    /// SQL NULL, and the null of JSON.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A binary float.
    Float(f64),
    /// A decimal, as text.
    Decimal(Cow<'r, str>),
    /// Text.
    Text(Cow<'r, str>),
    /// Bytes.
    Bytes(&'r [u8]),
    /// A UUID.
    Uuid([u8; 16]),
    /// Days since 2000-01-01.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 2000-01-01 without a zone.
    Timestamp(i64),
    /// Microseconds since 2000-01-01 UTC.
    TimestampTz(i64),
    /// An object or an array of JSON, as it was written.
    Json(&'r str),
    /// An array.
    Array(Array<'r>),
}

impl<'r> Datum<'r> {
    /// A value of a row; unchanged is for the caller to find.
    #[inline]
    pub fn of(value: Value<'r>) -> Datum<'r> {
        match value {
            Value::Null | Value::Unchanged => Datum::Null,
            Value::Bool(value) => Datum::Bool(value),
            Value::Int(value) => Datum::Int(value),
            Value::Float(value) => Datum::Float(value),
            Value::Decimal(text) => Datum::Decimal(Cow::Borrowed(text)),
            Value::Text(text) => Datum::Text(Cow::Borrowed(text)),
            Value::Bytes(bytes) => Datum::Bytes(bytes),
            Value::Uuid(bytes) => Datum::Uuid(bytes),
            Value::Date(days) => Datum::Date(days),
            Value::Time(micros) => Datum::Time(micros),
            Value::Timestamp(micros) => Datum::Timestamp(micros),
            Value::TimestampTz(micros) => Datum::TimestampTz(micros),
            Value::Json(text) => super::json::scalar(text),
            Value::Array(array) => Datum::Array(array),
        }
    }

    /// The same as a value of a row.
    pub fn value(&self) -> Value<'_> {
        match self {
            Datum::Null => Value::Null,
            Datum::Bool(value) => Value::Bool(*value),
            Datum::Int(value) => Value::Int(*value),
            Datum::Float(value) => Value::Float(*value),
            Datum::Decimal(text) => Value::Decimal(text),
            Datum::Text(text) => Value::Text(text),
            Datum::Bytes(bytes) => Value::Bytes(bytes),
            Datum::Uuid(bytes) => Value::Uuid(*bytes),
            Datum::Date(days) => Value::Date(*days),
            Datum::Time(micros) => Value::Time(*micros),
            Datum::Timestamp(micros) => Value::Timestamp(*micros),
            Datum::TimestampTz(micros) => Value::TimestampTz(*micros),
            Datum::Json(text) => Value::Json(text),
            Datum::Array(array) => Value::Array(*array),
        }
    }

    /// A copy that borrows from this one.
    #[inline]
    pub fn borrowed(&self) -> Datum<'_> {
        match self {
            Datum::Decimal(text) => Datum::Decimal(Cow::Borrowed(text)),
            Datum::Text(text) => Datum::Text(Cow::Borrowed(text)),
            other => other.clone(),
        }
    }

    /// One that borrows from nothing; `None` for what constants cannot be.
    pub(super) fn constant(&self) -> Option<Datum<'static>> {
        Some(match self {
            Datum::Null => Datum::Null,
            Datum::Bool(value) => Datum::Bool(*value),
            Datum::Int(value) => Datum::Int(*value),
            Datum::Float(value) => Datum::Float(*value),
            Datum::Decimal(text) => Datum::Decimal(Cow::Owned(text.clone().into_owned())),
            Datum::Text(text) => Datum::Text(Cow::Owned(text.clone().into_owned())),
            Datum::Uuid(bytes) => Datum::Uuid(*bytes),
            Datum::Date(days) => Datum::Date(*days),
            Datum::Time(micros) => Datum::Time(*micros),
            Datum::Timestamp(micros) => Datum::Timestamp(*micros),
            Datum::TimestampTz(micros) => Datum::TimestampTz(*micros),
            Datum::Bytes(_) | Datum::Json(_) | Datum::Array(_) => return None,
        })
    }
}
