//! What a target must hold, worked out in memory, and histories that are drawn by a seed.

use std::collections::BTreeMap;

use super::feed::{Feed, Table};
use crate::value::put_row;
use crate::{Error, Result, Row, Rows, Value};

/// Numbers from a seed (xorshift64*): the same history every time.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Chance(seed | 1)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// The rows of a table `(id int, name text, note text)` by their key: a name, and a note that may be null.
pub type People = BTreeMap<i64, (String, Option<String>)>;

/// Adds one random change to the feed and to the model: inserts, updates that leave the note out, key changes, deletes,
/// snapshot reads over what is there, and seldom a truncate.
pub fn step(chance: &mut Chance, feed: &mut Feed, table: &Table, people: &mut People) {
    let id = chance.below(12) as i64;
    let name = format!("name {}", chance.below(1_000));
    let note = (chance.below(3) > 0).then(|| "n".repeat(chance.below(40) as usize));
    let told = note.as_deref().map_or(Value::Null, Value::Text);
    let row = [Value::Int(id), Value::Text(&name), told];
    match (chance.below(40), people.contains_key(&id)) {
        (0, _) => {
            feed.truncate(table);
            people.clear();
        }
        (1..8, true) => {
            feed.delete(table, &[Value::Int(id)]);
            people.remove(&id);
        }
        (8..16, true) => {
            feed.update(table, &[Value::Int(id), Value::Text(&name), Value::Unchanged]);
            people.entry(id).and_modify(|person| person.0.clone_from(&name));
        }
        (16..22, true) => {
            let new = (0..100).find(|new| !people.contains_key(new)).expect("a free key");
            let whole = chance.below(2) == 0;
            let moved = [Value::Int(new), Value::Text(&name), if whole { told } else { Value::Unchanged }];
            feed.relocate(table, &[Value::Int(id)], &moved);
            let old = people.remove(&id).expect("the row");
            people.insert(new, (name, if whole { note } else { old.1 }));
        }
        (22..25, _) => {
            feed.change(table, crate::Op::Read, None, Some(&row));
            people.insert(id, (name, note));
        }
        (_, true) => {
            feed.update(table, &row);
            people.insert(id, (name, note));
        }
        (_, false) => {
            feed.insert(table, &row);
            people.insert(id, (name, note));
        }
    }
}

/// The rows that the model has, encoded as [`Rows::scan`] gives them.
pub fn encoded(people: &People) -> Vec<Vec<u8>> {
    let row = |(id, (name, note)): (&i64, &(String, Option<String>))| {
        let mut out = Vec::new();
        let note = note.as_deref().map_or(Value::Null, Value::Text);
        put_row(&mut out, [Value::Int(*id), Value::Text(name), note].into_iter());
        out
    };
    people.iter().map(row).collect()
}

/// Every row that the target holds, in the order of their bytes, after what it does not keep was taken from it.
pub async fn held(rows: &mut dyn Rows, table: &Table) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    rows.scan(&table.target, &mut |row: Row<'_>| {
        found.push(row.as_bytes().to_vec());
        Ok(())
    })
    .await?;
    let mut kept = found.iter().map(|row| keep(rows, table, row)).collect::<Result<Vec<_>>>()?;
    kept.sort();
    Ok(kept)
}

/// A row as the system keeps it, each value in turn.
///
/// # Errors
/// What [`Rows::keep`] returns.
pub fn keep(rows: &dyn Rows, table: &Table, row: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for (at, value) in Row::from_bytes(row).values().enumerate() {
        let column = table.target.column(at).ok_or_else(|| Error::corrupt("a row longer than its table"))?;
        rows.keep(column, value?, &mut out)?;
    }
    Ok(out)
}
