//! How a value is written for a column of the target: the server's binary forms where both sides agree on the type,
//! and text, which every type reads, where they do not.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod literal;
mod number;

use connector_api::array::Array;
use connector_api::{Error, Result, Value, ValueKind};

use super::session::framed;

/// The form of a value on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytes,
    Uuid,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Json,
    Jsonb,
    /// An array in binary, with the oid of its elements.
    Array {
        element: Box<Form>,
        oid: u32,
    },
    /// The text of whatever it is; the server reads it as the column's type. Elements of an array stand between
    /// `delimiter`s.
    Written {
        delimiter: char,
    },
}

/// Oids of the server's built-in types.
pub(super) mod oid {
    pub(crate) const BOOL: u32 = 16;
    pub(crate) const BYTEA: u32 = 17;
    pub(crate) const INT8: u32 = 20;
    pub(crate) const INT2: u32 = 21;
    pub(crate) const INT4: u32 = 23;
    pub(crate) const TEXT: u32 = 25;
    pub(crate) const OID: u32 = 26;
    pub(crate) const JSON: u32 = 114;
    pub(crate) const FLOAT4: u32 = 700;
    pub(crate) const FLOAT8: u32 = 701;
    pub(crate) const BPCHAR: u32 = 1042;
    pub(crate) const VARCHAR: u32 = 1043;
    pub(crate) const DATE: u32 = 1082;
    pub(crate) const TIME: u32 = 1083;
    pub(crate) const TIMESTAMP: u32 = 1114;
    pub(crate) const TIMESTAMPTZ: u32 = 1184;
    pub(crate) const NUMERIC: u32 = 1700;
    pub(crate) const UUID: u32 = 2950;
    pub(crate) const JSONB: u32 = 3802;
}

impl Form {
    /// The binary form of values of `kind` for a built-in type, if the two go together without a conversion.
    pub(super) fn of(kind: ValueKind, type_oid: u32) -> Option<Form> {
        Some(match (kind, type_oid) {
            (ValueKind::Bool, oid::BOOL) => Form::Bool,
            (ValueKind::Int, oid::INT2) => Form::Int2,
            (ValueKind::Int, oid::INT4) => Form::Int4,
            (ValueKind::Int, oid::INT8) => Form::Int8,
            (ValueKind::Int, oid::OID) => Form::Oid,
            (ValueKind::Float, oid::FLOAT4) => Form::Float4,
            (ValueKind::Float, oid::FLOAT8) => Form::Float8,
            (ValueKind::Decimal, oid::NUMERIC) => Form::Numeric,
            (ValueKind::Text, oid::TEXT | oid::VARCHAR | oid::BPCHAR) => Form::Text,
            (ValueKind::Bytes, oid::BYTEA) => Form::Bytes,
            (ValueKind::Uuid, oid::UUID) => Form::Uuid,
            (ValueKind::Date, oid::DATE) => Form::Date,
            (ValueKind::Time, oid::TIME) => Form::Time,
            (ValueKind::Timestamp, oid::TIMESTAMP) => Form::Timestamp,
            (ValueKind::TimestampTz, oid::TIMESTAMPTZ) => Form::TimestampTz,
            (ValueKind::Json, oid::JSON) => Form::Json,
            (ValueKind::Json, oid::JSONB) => Form::Jsonb,
            _ => return None,
        })
    }

    /// The type of a parameter in this form, and of an array of them. `None` for arrays: an array of arrays is no
    /// list of them for the server.
    pub(super) fn parameter(&self) -> Option<(u32, u32)> {
        Some(match self {
            Form::Bool => (oid::BOOL, 1000),
            Form::Int2 => (oid::INT2, 1005),
            Form::Int4 => (oid::INT4, 1007),
            Form::Int8 => (oid::INT8, 1016),
            Form::Oid => (oid::OID, 1028),
            Form::Float4 => (oid::FLOAT4, 1021),
            Form::Float8 => (oid::FLOAT8, 1022),
            Form::Numeric => (oid::NUMERIC, 1231),
            Form::Text | Form::Written { .. } => (oid::TEXT, 1009),
            Form::Bytes => (oid::BYTEA, 1001),
            Form::Uuid => (oid::UUID, 2951),
            Form::Date => (oid::DATE, 1182),
            Form::Time => (oid::TIME, 1183),
            Form::Timestamp => (oid::TIMESTAMP, 1115),
            Form::TimestampTz => (oid::TIMESTAMPTZ, 1185),
            Form::Json => (oid::JSON, 199),
            Form::Jsonb => (oid::JSONB, 3807),
            Form::Array { .. } => return None,
        })
    }

    /// Appends a value with its length in front; NULL is the length -1.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] for a value that the form does not have.
    #[inline]
    pub(super) fn put(&self, out: &mut Vec<u8>, value: Value<'_>) -> Result<()> {
        match (self, value) {
            (_, Value::Null) => out.extend_from_slice(&(-1i32).to_be_bytes()),
            (Form::Text, Value::Text(text)) | (Form::Json, Value::Json(text)) => {
                put_bytes(out, text.as_bytes())?
            }
            (Form::Int8, Value::Int(int)) => put_fixed(out, int.to_be_bytes()),
            (Form::Int4, Value::Int(int)) => put_fixed(out, narrow::<i32>(int)?.to_be_bytes()),
            (Form::Int2, Value::Int(int)) => put_fixed(out, narrow::<i16>(int)?.to_be_bytes()),
            (Form::Oid, Value::Int(int)) => put_fixed(out, narrow::<u32>(int)?.to_be_bytes()),
            (Form::Bool, Value::Bool(bool)) => put_fixed(out, [u8::from(bool)]),
            (Form::Numeric, Value::Decimal(text)) => framed(out, 0, |out| number::put(out, text))?,
            (Form::TimestampTz, Value::TimestampTz(micros))
            | (Form::Timestamp, Value::Timestamp(micros))
            | (Form::Time, Value::Time(micros)) => put_fixed(out, micros.to_be_bytes()),
            (Form::Date, Value::Date(days)) => put_fixed(out, days.to_be_bytes()),
            (Form::Uuid, Value::Uuid(bytes)) => put_fixed(out, bytes),
            (Form::Bytes, Value::Bytes(bytes)) => put_bytes(out, bytes)?,
            (Form::Float8, Value::Float(float)) => put_fixed(out, float.to_be_bytes()),
            (Form::Float4, Value::Float(float)) => put_fixed(out, single(float)?.to_be_bytes()),
            (Form::Jsonb, Value::Json(text)) => framed(out, 0, |out| {
                // The version of the format.
                out.push(1);
                out.extend_from_slice(text.as_bytes());
                Ok(())
            })?,
            (Form::Array { element, oid }, Value::Array(array)) => {
                framed(out, 0, |out| put_array(out, element, *oid, array))?
            }
            (_, Value::Unchanged) => {
                return Err(Error::data("write row: a value that the source left out is needed here"));
            }
            (Form::Written { delimiter }, value) => {
                framed(out, 0, |out| literal::put(out, value, *delimiter))?
            }
            (_, value) => return Err(unlike(value)),
        }
        Ok(())
    }
}

/// A value of another kind than its column says.
#[cold]
fn unlike(value: Value<'_>) -> Error {
    let kind = value.kind().map_or("null", ValueKind::as_str);
    Error::data(format!("write row: the {kind} is not of the kind that its column has"))
}

#[inline]
fn put_fixed<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    out.extend_from_slice(&(N as i32).to_be_bytes());
    out.extend_from_slice(&bytes);
}

#[inline]
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    framed(out, 0, |out| {
        out.extend_from_slice(bytes);
        Ok(())
    })
}

#[inline]
fn narrow<T: TryFrom<i64>>(int: i64) -> Result<T> {
    T::try_from(int).map_err(|_| Error::data("write row: a number is out of the range of its column"))
}

/// A float of the source's own four bytes comes back as it was; one that does not fit is refused, not made infinite.
fn single(float: f64) -> Result<f32> {
    let single = float as f32;
    if single.is_infinite() && float.is_finite() {
        return Err(Error::data("write row: a number is out of the range of its column"));
    }
    Ok(single)
}

/// Dimensions, whether there are NULLs, the type of the elements, length and lower bound of each dimension, elements.
fn put_array(out: &mut Vec<u8>, element: &Form, oid: u32, array: Array<'_>) -> Result<()> {
    let (dimensions, elements) = array.open()?;
    let start = out.len();
    out.extend_from_slice(&(dimensions.len() as i32).to_be_bytes());
    out.extend_from_slice(&0i32.to_be_bytes());
    out.extend_from_slice(&oid.to_be_bytes());
    for dimension in &dimensions {
        out.extend_from_slice(&dimension.len.to_be_bytes());
        out.extend_from_slice(&dimension.lower.to_be_bytes());
    }
    let mut nulls = false;
    for value in elements {
        let value = value?;
        nulls |= matches!(value, Value::Null);
        element.put(out, value)?;
    }
    if let (true, Some(flag)) = (nulls, out.get_mut(start + 7)) {
        *flag = 1;
    }
    Ok(())
}

/// The values of one column of many rows, as an array of one dimension.
#[derive(Debug, Default)]
pub(super) struct List {
    bytes: Vec<u8>,
    count: u32,
    nulls: bool,
}

impl List {
    /// Adds a value.
    #[inline]
    pub(super) fn push(&mut self, form: &Form, value: Value<'_>) -> Result<()> {
        self.nulls |= matches!(value, Value::Null);
        self.count += 1;
        form.put(&mut self.bytes, value)
    }

    /// Bytes of the values.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Empties it; the memory is used again.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.count, self.nulls) = (0, false);
    }

    /// Appends the array, whose elements have the type `oid`, with its length in front.
    pub(super) fn put(&self, out: &mut Vec<u8>, oid: u32) -> Result<()> {
        framed(out, 0, |out| {
            let dimensions = u32::from(self.count > 0);
            for word in [dimensions, u32::from(self.nulls), oid] {
                out.extend_from_slice(&word.to_be_bytes());
            }
            if dimensions > 0 {
                out.extend_from_slice(&self.count.to_be_bytes());
                out.extend_from_slice(&1u32.to_be_bytes());
            }
            out.extend_from_slice(&self.bytes);
            Ok(())
        })
    }
}
