//! The declared type for each kind of value and each type of the source, and what a declared type keeps.
//!
//! Only columns of the key are NOT NULL: columns that the source drops stay behind without values, and a row of which the
//! source left values out must have a place.

#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::{Column, ValueKind};

use crate::form::Form;
use crate::session::Server;

/// Most bytes of all columns of an index of InnoDB.
const INDEX_BYTES: u64 = 3_072;
/// Bytes that a column of the key may take at most beside others, of a type of fixed size.
const FIXED_BYTES: u64 = 64;
/// Most digits, and most behind the point, that both MySQL and MariaDB take.
const DECIMAL_MAX: (u32, u32) = (65, 30);
/// Most bytes of `longtext` and `longblob`.
const LONG: u64 = u32::MAX as u64;

/// A declared type, and the form of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// As `CREATE TABLE` has it.
    pub sql: String,
    /// What it keeps.
    pub form: Form,
}

/// The type for a column outside the key.
pub fn declared(column: &Column, server: &Server) -> Declared {
    let of = |sql: &str, form| Declared { sql: sql.to_owned(), form };
    match column.kind {
        ValueKind::Bool => of("tinyint(1)", Form::Integer { bytes: 1, unsigned: false }),
        ValueKind::Int => integer(&column.type_name),
        ValueKind::Float => of("double", Form::Double),
        ValueKind::Decimal => match digits(&column.type_name) {
            Some((precision, scale)) => {
                of(&format!("decimal({precision},{scale})"), Form::Decimal { precision, scale })
            }
            None => long_text(server),
        },
        ValueKind::Text => long_text(server),
        ValueKind::Bytes => of("longblob", Form::Bytes { len: LONG, fixed: false }),
        ValueKind::Uuid => {
            of("char(36) CHARACTER SET ascii COLLATE ascii_bin", Form::Text { chars: 36, bytes: 36 })
        }
        ValueKind::Date => of("date", Form::Date),
        ValueKind::Time => of("time(6)", Form::Time(6)),
        ValueKind::Timestamp | ValueKind::TimestampTz => of("datetime(6)", Form::DateTime(6)),
        // MariaDB's json is a longtext with a check.
        ValueKind::Json | ValueKind::Array => match server.mariadb {
            true => of("json", Form::Text { chars: LONG, bytes: LONG }),
            false => of("json", Form::Json),
        },
    }
}

/// The type for a column of a key, of which `others` more share the index.
pub fn declared_key(column: &Column, key: &[&Column], server: &Server) -> Declared {
    let open = |column: &Column| {
        let kind = column.kind;
        matches!(kind, ValueKind::Text | ValueKind::Bytes | ValueKind::Json | ValueKind::Array)
            || (kind == ValueKind::Decimal && digits(&column.type_name).is_none())
    };
    if !open(column) {
        return declared(column, server);
    }
    let shared = key.iter().filter(|column| open(column)).count().max(1) as u64;
    let fixed = (key.len() as u64).saturating_sub(shared) * FIXED_BYTES;
    let room = INDEX_BYTES.saturating_sub(fixed) / shared;
    if column.kind == ValueKind::Bytes {
        return Declared { sql: format!("varbinary({room})"), form: Form::Bytes { len: room, fixed: false } };
    }
    // What the source bounds more tightly is bounded so here.
    let chars = length(&column.type_name).unwrap_or(u64::MAX).clamp(1, room / 4);
    Declared {
        sql: format!("varchar({chars}) {}", charset(server)),
        form: Form::Text { chars, bytes: chars * 4 },
    }
}

fn long_text(server: &Server) -> Declared {
    Declared { sql: format!("longtext {}", charset(server)), form: Form::Text { chars: LONG, bytes: LONG } }
}

/// In which texts are equal only when they are the same.
pub fn charset(server: &Server) -> String {
    format!("CHARACTER SET utf8mb4 COLLATE {}", server.exact)
}

/// Whether a collation takes texts for equal only when they are the same: those of `_bin` alone ignore blanks at the end.
pub fn is_exact(collation: &str) -> bool {
    collation.is_empty()
        || collation == "binary"
        || collation.ends_with("_nopad_bin")
        || collation.ends_with("_0900_bin")
}

fn integer(type_name: &str) -> Declared {
    let (sql, bytes) = match type_name.trim().to_ascii_lowercase().as_str() {
        "smallint" | "int2" => ("smallint", 2),
        "integer" | "int" | "int4" => ("int", 4),
        _ => ("bigint", 8),
    };
    Declared { sql: sql.to_owned(), form: Form::Integer { bytes, unsigned: false } }
}

/// The numbers in the parentheses of a type.
fn modifiers(type_name: &str) -> Option<Vec<&str>> {
    let (_, tail) = type_name.split_once('(')?;
    let (inner, _) = tail.split_once(')')?;
    Some(inner.split(',').map(str::trim).collect())
}

/// Precision and scale of `numeric(12,2)`, when MySQL has them.
fn digits(type_name: &str) -> Option<(u32, u32)> {
    let modifiers = modifiers(type_name)?;
    let mut numbers = modifiers.iter().map(|number| number.parse::<u32>().ok());
    let (precision, scale) = (numbers.next()??, numbers.next().unwrap_or(Some(0))?);
    let fits = precision > 0 && precision <= DECIMAL_MAX.0 && scale <= DECIMAL_MAX.1 && scale <= precision;
    fits.then_some((precision, scale))
}

/// The length of `character varying(20)`.
fn length(type_name: &str) -> Option<u64> {
    let lower = type_name.to_ascii_lowercase();
    if !lower.starts_with("character") && !lower.starts_with("varchar") && !lower.starts_with("char") {
        return None;
    }
    modifiers(type_name)?.first()?.parse().ok()
}

/// What the catalog says about a column's type.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `DATA_TYPE`.
    pub data_type: String,
    /// `COLUMN_TYPE`.
    pub column_type: String,
    /// Most characters of a text.
    pub chars: Option<u64>,
    /// Most bytes of a text or bytes.
    pub octets: Option<u64>,
    /// Digits of a number.
    pub precision: Option<u32>,
    /// Digits behind the point.
    pub scale: Option<u32>,
    /// Digits of a second.
    pub fraction: Option<u32>,
}

/// The form of a column that is there.
pub fn form(facts: &Facts) -> Form {
    let kind = facts.data_type.to_ascii_lowercase();
    let unsigned = facts.column_type.to_ascii_lowercase().contains("unsigned");
    let integer = |bytes| Form::Integer { bytes, unsigned };
    let octets = facts.octets.unwrap_or(LONG);
    match kind.as_str() {
        "tinyint" => integer(1),
        "smallint" => integer(2),
        "mediumint" => integer(3),
        "int" | "integer" => integer(4),
        "bigint" => integer(8),
        "bit" => Form::Bit,
        "decimal" | "numeric" => {
            Form::Decimal { precision: facts.precision.unwrap_or(10), scale: facts.scale.unwrap_or(0) }
        }
        "double" | "real" => Form::Double,
        "float" => Form::Single,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
            Form::Text { chars: facts.chars.unwrap_or(octets), bytes: octets }
        }
        "binary" => Form::Bytes { len: octets, fixed: true },
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            Form::Bytes { len: octets, fixed: false }
        }
        "date" => Form::Date,
        "time" => Form::Time(facts.fraction.unwrap_or(0)),
        "datetime" | "timestamp" => Form::DateTime(facts.fraction.unwrap_or(0)),
        "json" => Form::Json,
        "uuid" => Form::Uuid,
        _ => Form::Other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn server() -> Server {
        Server {
            mariadb: true,
            version: "10.11".to_owned(),
            packet: 1 << 24,
            exact: "utf8mb4_nopad_bin".to_owned(),
            lower_case: 0,
            database: "d".to_owned(),
            statement_log: false,
            connection: 1,
        }
    }

    fn column(kind: ValueKind, type_name: &str) -> Column {
        Column { name: "c".to_owned(), kind, element: None, type_name: type_name.to_owned(), nullable: true }
    }

    fn sql(kind: ValueKind, type_name: &str) -> String {
        declared(&column(kind, type_name), &server()).sql
    }

    #[test]
    fn types_follow_the_source() {
        assert_eq!(sql(ValueKind::Int, "integer"), "int");
        assert_eq!(sql(ValueKind::Int, "bigint"), "bigint");
        assert_eq!(sql(ValueKind::Int, "oid"), "bigint");
        assert_eq!(sql(ValueKind::Decimal, "numeric(12,2)"), "decimal(12,2)");
        assert_eq!(sql(ValueKind::Decimal, "numeric(12)"), "decimal(12,0)");
        for unbounded in
            ["numeric", "numeric(70,2)", "numeric(40,31)", "numeric(3,-2)", "numeric(2,5)", "numeric("]
        {
            assert!(sql(ValueKind::Decimal, unbounded).starts_with("longtext"), "{unbounded}");
        }
    }

    #[test]
    fn keys_share_the_room_of_an_index() {
        let (text, int) = (column(ValueKind::Text, "text"), column(ValueKind::Int, "bigint"));
        let short = column(ValueKind::Text, "character varying(20)");
        let key = |column: &Column, key: &[&Column]| declared_key(column, key, &server()).sql;
        assert_eq!(key(&text, &[&text]), "varchar(768) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin");
        assert_eq!(
            key(&text, &[&text, &int, &short]),
            "varchar(376) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
        );
        assert!(key(&short, &[&short]).starts_with("varchar(20)"));
        assert_eq!(key(&int, &[&text, &int]), "bigint");
        assert_eq!(key(&column(ValueKind::Bytes, "bytea"), &[&text]), "varbinary(3072)");
    }

    #[test]
    fn exact_collations() {
        for exact in ["binary", "utf8mb4_nopad_bin", "utf8mb4_0900_bin", ""] {
            assert!(is_exact(exact));
        }
        for inexact in ["utf8mb4_bin", "utf8mb4_general_ci", "latin1_swedish_ci", "utf8mb4_0900_as_cs"] {
            assert!(!is_exact(inexact), "{inexact}");
        }
    }
}
