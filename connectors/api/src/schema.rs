//! The shape of a table at one moment: what the values of a row mean.

use crate::error::{Error, Result};
use crate::reader::{Reader, put_bytes, put_varint};
use crate::value::ValueKind;

/// Columns of one version of a table. A section of the log refers to exactly one schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The namespace in the source: a Postgres schema, a MySQL database.
    pub namespace: String,
    /// The table's name in the source.
    pub table: String,
    /// Columns in row order.
    pub columns: Vec<Column>,
    /// Indexes into `columns` that form the key, in key order; empty for a table without a key, whose records have
    /// no key and are matched by whole rows.
    pub key: Vec<usize>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name in the source, unquoted.
    pub name: String,
    /// Canonical kind of its values.
    pub kind: ValueKind,
    /// For [`ValueKind::Array`], the kind of the elements.
    pub element: Option<ValueKind>,
    /// The source's own name for the type, with modifiers: `numeric(12,2)`, `mood`, `timestamp(3) with time zone`.
    pub type_name: String,
    /// False when the source declares it NOT NULL.
    pub nullable: bool,
}

/// No table has more columns (Postgres stops at 1,600, MySQL at 4,096).
const COLUMNS_MAX: u64 = 65_536;

impl Schema {
    /// Index of a column by its name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The key's columns in key order.
    pub fn key_columns(&self) -> impl ExactSizeIterator<Item = &Column> {
        self.key.iter().map(|index| &self.columns[*index])
    }

    /// Appends the encoding that the log stores.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.namespace.as_bytes());
        put_bytes(out, self.table.as_bytes());
        put_varint(out, self.columns.len() as u64);
        for column in &self.columns {
            put_bytes(out, column.name.as_bytes());
            out.push(column.kind as u8);
            out.push(column.element.map_or(0, |kind| kind as u8));
            put_bytes(out, column.type_name.as_bytes());
            out.push(u8::from(column.nullable));
        }
        put_varint(out, self.key.len() as u64);
        for index in &self.key {
            put_varint(out, *index as u64);
        }
    }

    /// Reads what [`Schema::encode`] wrote.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Schema> {
        let mut reader = Reader::new(bytes);
        let namespace = reader.text().to_owned();
        let table = reader.text().to_owned();
        let columns = decode_columns(&mut reader)?;
        let key = decode_key(&mut reader, columns.len())?;
        reader.finish("schema")?;
        Ok(Schema { namespace, table, columns, key })
    }
}

fn decode_columns(reader: &mut Reader<'_>) -> Result<Vec<Column>> {
    let count = reader.varint();
    if count > COLUMNS_MAX || count > reader.rest().len() as u64 {
        return Err(Error::corrupt(format!("decode schema: {count} columns")));
    }
    let mut columns = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let name = reader.text().to_owned();
        let (kind, element) = (reader.u8(), reader.u8());
        let type_name = reader.text().to_owned();
        let nullable = reader.u8() != 0;
        let unknown = || Error::corrupt(format!("decode schema: column {name:?} has kind {kind}/{element}"));
        let kind = ValueKind::from_byte(kind).ok_or_else(unknown)?;
        let element = match element {
            0 => None,
            byte => Some(ValueKind::from_byte(byte).ok_or_else(unknown)?),
        };
        columns.push(Column { name, kind, element, type_name, nullable });
    }
    Ok(columns)
}

fn decode_key(reader: &mut Reader<'_>, columns: usize) -> Result<Vec<usize>> {
    let count = reader.varint() as usize;
    if count > columns {
        return Err(Error::corrupt(format!("decode schema: key of {count} columns")));
    }
    let key: Vec<usize> = (0..count).map(|_| reader.varint() as usize).collect();
    match key.iter().find(|index| **index >= columns) {
        Some(index) => Err(Error::corrupt(format!("decode schema: key column {index} of {columns}"))),
        None => Ok(key),
    }
}
