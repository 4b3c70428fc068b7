//! What each copy holds, read by its own client and brought into one form.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use throwaway_servers::mariadb;

use crate::support::postgres::Session;
use crate::support::webhook::Receiver;
use crate::support::{redis, sqlite};

/// The rows of a table, sorted.
pub type Rows = Vec<Vec<Option<String>>>;

/// What the texts of the clients differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    Bool,
    Stamp,
    Json,
    Bytes,
}

pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Form)],
}

pub const TABLES: &[Table] = &[
    Table {
        name: "accounts",
        columns: &[("id", Form::Plain), ("balance", Form::Plain), ("version", Form::Plain)],
    },
    Table {
        name: "orders",
        columns: &[("id", Form::Plain), ("lines", Form::Plain), ("version", Form::Plain)],
    },
    Table {
        name: "order lines",
        columns: &[
            ("order_id", Form::Plain),
            ("line", Form::Plain),
            ("text", Form::Plain),
            ("version", Form::Plain),
        ],
    },
    Table {
        name: "products",
        columns: &[
            ("id", Form::Plain),
            ("name", Form::Plain),
            ("price", Form::Plain),
            ("active", Form::Bool),
            ("made", Form::Plain),
            ("seen", Form::Stamp),
            ("uid", Form::Plain),
            ("tags", Form::Json),
            ("photo", Form::Bytes),
            ("version", Form::Plain),
        ],
    },
];

/// A value as all copies should have it. What has another form than expected stays as it is, and differs.
fn canonical(form: Form, text: String) -> String {
    match form {
        Form::Plain => text,
        Form::Bool => match text.as_str() {
            "t" | "true" | "1" => "true".to_owned(),
            "f" | "false" | "0" => "false".to_owned(),
            _ => text,
        },
        Form::Stamp => {
            let text = ["+00:00", "+00", "Z"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(&text);
            let text = text.replacen('T', " ", 1);
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            }
        }
        Form::Json => serde_json::from_str::<Value>(&text).map_or(text, |value| value.to_string()),
        Form::Bytes => text.trim_start_matches("\\x").to_ascii_lowercase(),
    }
}

fn sorted(table: &Table, rows: Rows) -> Rows {
    let row = |row: Vec<Option<String>>| {
        let values = row.into_iter().zip(table.columns);
        values.map(|(value, (_, form))| value.map(|text| canonical(*form, text))).collect()
    };
    let mut rows: Rows = rows.into_iter().map(row).collect();
    rows.sort();
    rows
}

fn select(table: &Table, quote: char, expression: impl Fn(String, Form) -> String) -> String {
    let column = |(name, form): &(&str, Form)| expression(format!("{quote}{name}{quote}"), *form);
    let columns: Vec<_> = table.columns.iter().map(column).collect();
    format!("SELECT {} FROM {quote}{}{quote}", columns.join(", "), table.name)
}

/// A table that is not there yet has no rows; so has one of a copy that lacks a column.
pub fn postgres(session: &Session, table: &Table) -> Rows {
    let sql = select(table, '"', |name, form| match form {
        Form::Stamp => format!("{name} AT TIME ZONE 'UTC'"),
        _ => name,
    });
    sorted(table, session.try_query_text(&sql).unwrap_or_default())
}

pub fn mariadb(session: &mariadb::Session, table: &Table) -> Rows {
    let sql = select(table, '`', |name, form| match form {
        Form::Bytes => format!("HEX({name})"),
        _ => name,
    });
    sorted(table, session.try_query_text(&sql).unwrap_or_default())
}

pub fn sqlite(path: &Path, table: &Table) -> Rows {
    sorted(table, sqlite::rows(path, &select(table, '"', |name, _| name)))
}

/// Hashes under `TABLE:KEY`.
pub fn redis(url: &str, table: &Table) -> Rows {
    let hashes = redis::Session::connect(url).hashes(&format!("{}:", table.name));
    let text = |bytes: &Vec<u8>, form| match form {
        Form::Bytes => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        _ => String::from_utf8(bytes.clone()).expect("UTF-8"),
    };
    let row = |hash: BTreeMap<String, Vec<u8>>| {
        table.columns.iter().map(|(name, form)| hash.get(*name).map(|bytes| text(bytes, *form))).collect()
    };
    sorted(table, hashes.into_iter().map(row).collect())
}

pub fn webhook(receiver: &Receiver, table: &Table) -> Rows {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let row = |row: BTreeMap<String, Value>| {
        table.columns.iter().map(|(name, _)| row.get(*name).and_then(text)).collect()
    };
    let rows = receiver.rows(&format!("shop.public.{}", table.name));
    sorted(table, rows.into_iter().map(row).collect())
}
