//! What a comparison says: stable JSON, documented in docs/VERIFY.md.

use connector_api::json::put_json;
use connector_api::{Error, Result, Row, Target};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::verify::settle::Difference;

/// The whole comparison.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The sink.
    pub sink: String,
    /// No row differs, or none any more.
    pub equal: bool,
    /// Whether the service runs: else nobody could be asked how far the sink has come.
    pub running: bool,
    /// Without a service: records that wait in the log for the sink.
    pub pending: Option<u64>,
    /// Rows of the source that were compared.
    pub rows: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// The tables.
    pub tables: Vec<TableReport>,
}

/// One table of the sink.
#[derive(Debug, Default, Serialize)]
pub struct TableReport {
    /// Its name.
    pub table: String,
    /// The topics that go into it.
    pub topics: Vec<String>,
    /// Rows that the sink should have.
    pub source_rows: u64,
    /// Rows that it has.
    pub sink_rows: u64,
    /// Rows that differ.
    pub differences: u64,
    /// Of these: missing in the sink.
    pub missing: u64,
    /// Of these: not in the source.
    pub extra: u64,
    /// Of these: in both, with other values.
    pub changed: u64,
    /// Of these: sent again, and equal now.
    pub repaired: u64,
    /// Rows that the source no longer has and the rules leave in the sink: no differences.
    pub kept: u64,
    /// Rows that changed all the time and could not be compared.
    pub unsettled: u64,
    /// Rows that seemed to differ and were not looked at again, because there are so many.
    pub not_followed: u64,
    /// Groups of rows that differ and were not looked into, because there are so many.
    pub buckets_left: u64,
    /// The rows that differ, or the first of them.
    pub rows: Vec<RowReport>,
}

/// A row that differs.
#[derive(Debug, Serialize)]
pub struct RowReport {
    /// Its key, by the sink's names; `null` where the table has none.
    pub key: Option<Map<String, Value>>,
    /// `missing`, `extra` or `changed`.
    pub what: &'static str,
    /// The columns with other values.
    pub columns: Vec<String>,
    /// The dead letter that waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<u64>,
    /// It was sent again, and is equal now.
    pub repaired: bool,
    /// Its values in the source, as the sink would keep them; only with `--values`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Map<String, Value>>,
    /// Its values in the sink; only with `--values`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Map<String, Value>>,
}

impl TableReport {
    /// Counts a row that differs.
    pub fn count(&mut self, what: &str) {
        self.differences += 1;
        match what {
            "missing" => self.missing += 1,
            "extra" => self.extra += 1,
            _ => self.changed += 1,
        }
    }
}

impl Difference {
    /// `missing`, `extra` or `changed`.
    pub fn what(&self) -> &'static str {
        match self.expected.len().cmp(&self.actual.len()) {
            std::cmp::Ordering::Greater => "missing",
            std::cmp::Ordering::Less => "extra",
            std::cmp::Ordering::Equal => "changed",
        }
    }

    /// For people and programs; values only when they are asked for.
    ///
    /// # Errors
    /// When a row does not decode.
    pub fn report(&self, target: &Target, values: bool) -> Result<RowReport> {
        let (expected, actual) = (self.expected.first(), self.actual.first());
        let names: Vec<_> = (0..target.columns.len()).map(|at| target.name(at)).collect();
        let shown = |row: Option<&Vec<u8>>| match (values, row) {
            (true, Some(row)) => object(&names, row).map(Some),
            _ => Ok(None),
        };
        let keyed = !target.key.is_empty();
        Ok(RowReport {
            key: keyed.then(|| object(&target.key_names(), &self.suspect.key)).transpose()?,
            what: self.what(),
            columns: match (expected, actual) {
                (Some(expected), Some(actual)) if keyed => different_columns(&names, expected, actual)?,
                _ => Vec::new(),
            },
            dead_letter: None,
            repaired: false,
            source: shown(expected)?,
            found: shown(actual)?,
        })
    }
}

fn different_columns(names: &[&str], expected: &[u8], actual: &[u8]) -> Result<Vec<String>> {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    let mut different = Vec::new();
    let pairs = Row::from_bytes(expected).values().zip(Row::from_bytes(actual).values());
    for ((expected, actual), name) in pairs.zip(names) {
        one.clear();
        two.clear();
        expected?.encode(&mut one);
        actual?.encode(&mut two);
        // By their bytes, as the checksums compare: NaN is itself.
        if one != two {
            different.push((*name).to_owned());
        }
    }
    Ok(different)
}

fn object(names: &[&str], row: &[u8]) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for (name, value) in names.iter().zip(Row::from_bytes(row).values()) {
        let mut text = String::new();
        put_json(&mut text, value?)?;
        let value = serde_json::from_str(&text);
        let value = value.map_err(|error| Error::data("show value as JSON").caused_by(error));
        object.insert((*name).to_owned(), value.unwrap_or(Value::String(text)));
    }
    Ok(object)
}
