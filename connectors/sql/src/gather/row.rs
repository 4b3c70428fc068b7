//! What a gathered change says about its row.

use connector_api::record::Attributes;
use connector_api::{Before, Change, Error, Result, Row, Schema, Target, Value, put_row};

use super::Entry;
use super::step::{Absent, Work, short};

/// What a change does, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Upsert,
    Update,
    Mark,
    MarkAll,
    Delete,
    Move,
    Truncate,
    Insert,
    ReplaceRow(Absent),
    DeleteRow,
}

/// The bytes of one change; those it does not have are empty.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Images<'a> {
    pub(super) key: &'a [u8],
    pub(super) row: &'a [u8],
    /// The old key, or for tables without a key the old row.
    pub(super) old: &'a [u8],
}

impl<'a> Images<'a> {
    /// Those of an entry.
    #[inline]
    pub(super) fn of(arena: &'a [u8], entry: &Entry) -> Images<'a> {
        let rest = arena.get(entry.start..).unwrap_or_default();
        let (key, rest) = rest.split_at_checked(entry.key as usize).unwrap_or_default();
        let (row, rest) = rest.split_at_checked(entry.row as usize).unwrap_or_default();
        Images { key, row, old: rest.get(..entry.old as usize).unwrap_or_default() }
    }
}

/// An entry by itself.
pub(super) fn work<'g>(entry: &Entry, images: Images<'g>, columns: &[usize]) -> Work<'g> {
    let columns = || columns.to_vec();
    let row = Row::from_bytes(images.row);
    let old = Row::from_bytes(images.old);
    match entry.what {
        What::Upsert => Work::Upsert { rows: vec![row], fresh: entry.fresh },
        What::Update => Work::Update { columns: columns(), rows: vec![row] },
        What::Mark => Work::Mark { columns: columns(), rows: vec![row] },
        What::MarkAll => Work::MarkAll { columns: columns(), row },
        What::Delete => Work::Delete { keys: vec![Row::from_bytes(images.key)] },
        What::Move => Work::Move { old, columns: columns(), row },
        What::Truncate => Work::Truncate,
        What::Insert => Work::Insert { rows: vec![row] },
        What::ReplaceRow(absent) => Work::ReplaceRow { old, columns: columns(), row, absent },
        What::DeleteRow => Work::DeleteRow { old },
    }
}

/// A change and where it belongs.
pub(super) struct Place<'a> {
    pub(super) number: u32,
    pub(super) topic: u32,
    pub(super) target: &'a Target,
    pub(super) change: &'a Change<'a>,
}

impl<'a> Place<'a> {
    /// The key, which a target with a key always needs.
    #[inline]
    pub(super) fn key(&self) -> Result<&'a [u8]> {
        let key = self.change.key().ok_or_else(|| self.lacks("its key"))?;
        check_key(key, self.target.key.len())?;
        Ok(key.as_bytes())
    }

    /// The whole old row, which a target without a key needs.
    pub(super) fn old_row(&self) -> Result<&'a [u8]> {
        match self.change.before {
            Some(Before::Full(row)) => Ok(row.as_bytes()),
            _ => Err(Error::data(format!(
                "the table has no key, and the change at offset {} lacks its old row",
                self.change.record.offset
            ))
            .with_remedy("give the source table a key, or let the source send whole old rows")),
        }
    }

    /// Values may be left out.
    #[inline]
    pub(super) fn is_partial(&self) -> bool {
        self.change.record.attributes.has(Attributes::PARTIAL)
    }

    #[cold]
    pub(super) fn lacks(&self, what: &str) -> Error {
        Error::corrupt(format!("the change at offset {} lacks {what}", self.change.record.offset))
    }
}

#[inline]
fn check_key(key: Row<'_>, columns: usize) -> Result<()> {
    let mut count = 0;
    for value in key.values() {
        match value? {
            Value::Null => return Err(Error::data("gather change: a column of the key is NULL")),
            Value::Unchanged => return Err(Error::corrupt("gather change: the key is not known")),
            _ => count += 1,
        }
    }
    match count == columns {
        true => Ok(()),
        false => {
            Err(Error::corrupt(format!("gather change: a key of {count} columns where {columns} were due")))
        }
    }
}

/// The key under which the row stood before an update, encoded, when the update changed it.
#[inline]
pub(super) fn old_key(change: &Change<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let new = Row::from_bytes(key);
    let schema = change.schema;
    let old = match change.before {
        None => return Ok(None),
        Some(Before::Key(old)) if old.as_bytes() == key => return Ok(None),
        Some(Before::Key(old)) => old.as_bytes().to_vec(),
        Some(Before::Full(row)) => {
            let mut same = true;
            for (index, new) in schema.key.iter().zip(new.values()) {
                let old = row.values().nth(*index).ok_or_else(short)??;
                same &= is_same(old, new?);
            }
            if same {
                return Ok(None);
            }
            let values: Vec<Value<'_>> = row.to_vec()?;
            let picked = schema.key.iter().map(|index| values.get(*index).copied());
            let picked: Vec<_> = picked.collect::<Option<_>>().ok_or_else(short)?;
            let mut old = Vec::new();
            put_row(&mut old, picked.into_iter());
            old
        }
    };
    check_key(Row::from_bytes(&old), schema.key.len())?;
    let same = old == key;
    Ok((!same).then_some(old))
}

/// NaN is NaN: an update of such a row does not move it.
fn is_same(old: Value<'_>, new: Value<'_>) -> bool {
    match (old, new) {
        (Value::Float(old), Value::Float(new)) => old.to_bits() == new.to_bits(),
        (old, new) => old == new,
    }
}

/// Notes for each column of the schema whether its value is known. True when one of the key is not.
pub(super) fn known(row: Row<'_>, schema: &Schema, known: &mut Vec<bool>) -> Result<bool> {
    known.clear();
    for value in row.values() {
        known.push(!value?.is_unchanged());
    }
    if known.len() != schema.columns.len() {
        return Err(short());
    }
    Ok(schema.key.iter().any(|index| known.get(*index) == Some(&false)))
}

/// Notes that these columns are known.
pub(super) fn set_all(known: &mut [bool], columns: &[usize]) {
    for column in columns {
        if let Some(known) = known.get_mut(*column) {
            *known = true;
        }
    }
}

/// The row with the values of its key, which it leaves out itself (a key of large values that did not change).
#[cold]
pub(super) fn complete(row: Row<'_>, schema: &Schema, key: Row<'_>) -> Result<Vec<u8>> {
    let mut values = row.to_vec()?;
    for (index, of_key) in schema.key.iter().zip(key.values()) {
        let of_key = of_key?;
        match values.get_mut(*index) {
            Some(value) if value.is_unchanged() => *value = of_key,
            _ => {}
        }
    }
    let mut out = Vec::with_capacity(row.as_bytes().len() + key.as_bytes().len());
    put_row(&mut out, values.into_iter());
    Ok(out)
}

/// Writes the row that several changes of one key make together: for each column the newest value that is known.
pub(super) fn merge<'a>(
    rows: impl Iterator<Item = Row<'a>>,
    values: &mut Vec<Value<'a>>,
    out: &mut Vec<u8>,
) -> Result<()> {
    values.clear();
    for (at, row) in rows.enumerate() {
        let mut known = 0;
        for (column, value) in row.values().enumerate() {
            let value = value?;
            known = column + 1;
            match values.get_mut(column) {
                _ if at == 0 => values.push(value),
                Some(_) if value.is_unchanged() => {}
                Some(older) => *older = value,
                None => return Err(short()),
            }
        }
        if known != values.len() {
            return Err(short());
        }
    }
    put_row(out, values.iter().copied());
    Ok(())
}
