//! Postgres text forms to canonical values. The hot path: no allocation for a value, digits read by hand.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod array;
mod number;
mod time;

use connector_api::{Error, Result, Value, ValueKind};

/// How the text of a type is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    Bool,
    Int,
    Float,
    Decimal,
    Text,
    Bytes,
    Uuid,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Json,
    Array { element: Box<Reading>, delimiter: u8 },
}

impl Reading {
    /// Of the types that the server is built with; `None` for the others, which the catalog knows.
    pub(crate) fn built_in(oid: u32) -> Option<Reading> {
        Some(match oid {
            16 => Reading::Bool,
            20 | 21 | 23 | 26 => Reading::Int,
            700 | 701 => Reading::Float,
            1700 => Reading::Decimal,
            // "char", name, text, bpchar, varchar; timetz, interval; inet, cidr, macaddr, macaddr8; int2vector, oidvector.
            18 | 19 | 25 | 1042 | 1043 | 1266 | 1186 | 869 | 650 | 829 | 774 | 22 | 30 => Reading::Text,
            17 => Reading::Bytes,
            2950 => Reading::Uuid,
            1082 => Reading::Date,
            1083 => Reading::Time,
            1114 => Reading::Timestamp,
            1184 => Reading::TimestampTz,
            114 | 3802 => Reading::Json,
            _ => return None,
        })
    }

    pub(crate) fn kind(&self) -> ValueKind {
        match self {
            Reading::Bool => ValueKind::Bool,
            Reading::Int => ValueKind::Int,
            Reading::Float => ValueKind::Float,
            Reading::Decimal => ValueKind::Decimal,
            Reading::Text => ValueKind::Text,
            Reading::Bytes => ValueKind::Bytes,
            Reading::Uuid => ValueKind::Uuid,
            Reading::Date => ValueKind::Date,
            Reading::Time => ValueKind::Time,
            Reading::Timestamp => ValueKind::Timestamp,
            Reading::TimestampTz => ValueKind::TimestampTz,
            Reading::Json => ValueKind::Json,
            Reading::Array { .. } => ValueKind::Array,
        }
    }

    /// The kind of the elements of an array.
    pub(crate) fn element(&self) -> Option<ValueKind> {
        match self {
            Reading::Array { element, .. } => Some(element.kind()),
            _ => None,
        }
    }

    /// Reads one value. `scratch` holds what cannot be borrowed from `text` (bytes, arrays) until the next call.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] for text that the type does not have; the value itself is not in the message.
    #[inline]
    pub(crate) fn read<'a>(&self, text: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Value<'a>> {
        let value = match self {
            Reading::Int => number::int(text).map(Value::Int),
            Reading::Text => utf8(text).map(Value::Text),
            Reading::Decimal => number::decimal(text).map(Value::Decimal),
            Reading::TimestampTz => time::timestamp(text, true).map(Value::TimestampTz),
            Reading::Timestamp => time::timestamp(text, false).map(Value::Timestamp),
            Reading::Bool => match text {
                b"t" | b"true" => Some(Value::Bool(true)),
                b"f" | b"false" => Some(Value::Bool(false)),
                _ => None,
            },
            Reading::Json => utf8(text).map(Value::Json),
            Reading::Date => time::date(text).map(Value::Date),
            Reading::Time => time::time(text).map(Value::Time),
            Reading::Float => number::float(text).map(Value::Float),
            Reading::Uuid => number::uuid(text).map(Value::Uuid),
            Reading::Bytes => number::bytes(text, scratch).map(Value::Bytes),
            Reading::Array { element, delimiter } => {
                array::read(text, element, *delimiter, scratch).map(Value::Array)
            }
        };
        value.ok_or_else(|| self.unreadable())
    }

    #[cold]
    fn unreadable(&self) -> Error {
        Error::data(format!("read value: its text is no {}", self.kind().as_str()))
    }
}

#[inline]
fn utf8(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests;
