//! How MySQL looks for rows.
//!
//! A literal is written in the type of the column that it is compared with: MySQL would compare a text with a number as
//! floats, in which `7abc` is 7. Texts are compared twice, in the column's collation, which an index serves, and by their
//! bytes. The other tables of a step are joined: to a subquery MySQL gives no index of the table that it changes.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::convert::Infallible;

use connector_api::erasure::Constant;
use connector_api::json::{encode_text, put_string, put_text as put_plain, put_uuid};
use connector_api::{Value, ValueKind};
use connector_sql::erase::{At, Codes, Column, Finder, Link, Set, Sought};
use connector_sql::erasure_codes;
use serde_json::{Number, Value as Json};

use crate::catalog::{TableColumn, same_column};
use crate::form::Form;
use crate::session::Server;
use crate::sql::{literal, put_bytes, quote};

/// The longest text of four bytes a character that an index takes whole.
const INDEXED_CHARS: u64 = 768;

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    put_bytes(&mut out, bytes);
    out
}

/// `char(n)`, which has no blanks at the end.
fn is_padded(facts: &TableColumn) -> bool {
    facts.declared.to_ascii_lowercase().starts_with("char")
}

/// A text that is sought, as a column of this type has it.
fn cut<'t>(facts: &TableColumn, text: &'t str) -> &'t str {
    if is_padded(facts) { text.trim_end_matches(' ') } else { text }
}

fn is_number(form: Form) -> bool {
    matches!(form, Form::Integer { .. } | Form::Bit | Form::Decimal { .. } | Form::Double | Form::Single)
}

/// The bytes of a value's text.
fn bytes(facts: &TableColumn, sql: &str) -> String {
    match facts.form {
        Form::Text { .. } => format!("CAST(CONVERT({sql} USING utf8mb4) AS BINARY)"),
        Form::Bytes { .. } => sql.to_owned(),
        _ => format!("CAST(CAST({sql} AS CHAR) AS BINARY)"),
    }
}

/// A comparison that an index serves, where the column's character set has the text at all.
fn equals_text(facts: &TableColumn, sql: &str, text: &str) -> String {
    let text = cut(facts, text);
    let exact = format!("{} = {}", bytes(facts, sql), hex(text.as_bytes()));
    match facts.charset.starts_with("utf8") || text.is_ascii() {
        true => format!("({sql} = {} AND {exact})", literal(text)),
        false => exact,
    }
}

/// The value as the literal of a column that keeps numbers or moments.
fn literal_of(form: Form, sought: &Sought<'_>) -> Option<String> {
    let number = sought.number.as_deref();
    match form {
        Form::Integer { .. } | Form::Bit => sought.integer().map(str::to_owned),
        Form::Decimal { .. } => number.map(str::to_owned),
        Form::Double | Form::Single => match sought.value {
            Value::Float(float) if float.is_finite() => Some(format!("{float:e}")),
            _ => number.map(|number| format!("{number}e0")),
        },
        Form::Date | Form::Time(_) | Form::DateTime(_) => {
            let mut out = String::new();
            form.put(&mut out, sought.value).is_ok().then_some(out)
        }
        _ => None,
    }
}

/// What a column of bytes may hold for the value: itself, its text, the bytes of a UUID.
fn equals_bytes(sql: &str, len: u64, fixed: bool, sought: &Sought<'_>) -> Vec<String> {
    let texts = sought.texts.iter().map(|text| text.as_bytes());
    let own: Vec<&[u8]> = match sought.bytes() {
        Some(bytes) => vec![bytes],
        None => texts.collect(),
    };
    let fits = |bytes: &&[u8]| bytes.len() as u64 == len || (!fixed && (bytes.len() as u64) < len);
    let uuid = sought.uuid;
    let all = own.into_iter().chain(uuid.as_ref().map(|uuid| uuid.as_slice()));
    all.filter(fits).map(|bytes| format!("{sql} = {}", hex(bytes))).collect()
}

/// A number in JSON, however it is written: without a conversion, which would be an error for one that is too large.
fn written(number: &str) -> String {
    let digits = number.replace('.', "[.]");
    let zeros = if number.contains('.') { "0*" } else { "([.]0*)?" };
    format!("'^{digits}{zeros}([eE][-+]?0+)?$'")
}

/// The name of a character set or collation, which goes into a statement as it is.
fn plain(name: &str) -> Result<&str, String> {
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_plain.then_some(name).ok_or_else(|| format!("its character set or collation {name:?} is not known"))
}

impl Finder for Server {
    type Facts = TableColumn;
    type Value = Infallible;

    const CODES: &'static Codes = &erasure_codes!("mysql");
    const JOINS: bool = true;

    fn quote(&self, name: &str) -> String {
        quote(name)
    }

    fn same_column(&self, one: &str, other: &str) -> bool {
        same_column(one, other)
    }

    fn equals(
        &self,
        at: &At<'_, TableColumn>,
        sought: &Sought<'_>,
        _values: &mut Vec<Infallible>,
    ) -> Option<String> {
        let (facts, sql) = (&at.column.facts, &at.sql);
        let terms: Vec<String> = match facts.form {
            Form::Text { .. } => sought.texts.iter().map(|text| equals_text(facts, sql, text)).collect(),
            Form::Bytes { len, fixed } => equals_bytes(sql, len, fixed, sought),
            Form::Uuid => {
                let uuid = sought.uuid.map(|uuid| {
                    let mut text = String::new();
                    put_uuid(&mut text, uuid);
                    format!("{sql} = {}", literal(&text))
                });
                uuid.into_iter().collect()
            }
            Form::Json | Form::Other => {
                let exact = |text: &String| format!("{} = {}", bytes(facts, sql), hex(text.as_bytes()));
                sought.texts.iter().map(exact).collect()
            }
            form => {
                literal_of(form, sought).map(|literal| format!("{sql} = {literal}")).into_iter().collect()
            }
        };
        (!terms.is_empty()).then(|| format!("({})", terms.join(" OR ")))
    }

    fn holds(
        &self,
        at: &At<'_, TableColumn>,
        path: &[String],
        sought: &Sought<'_>,
        _values: &mut Vec<Infallible>,
    ) -> Result<String, String> {
        if path.is_empty() {
            return Err("the path has no key".to_owned());
        }
        let document = match at.column.facts.form {
            Form::Json => at.sql.clone(),
            Form::Text { .. } => format!("(CASE WHEN JSON_VALID({0}) THEN {0} END)", at.sql),
            _ => return Err(format!("it is {}, and neither json nor text", at.column.facts.declared)),
        };
        let mut steps = "$".to_owned();
        for key in path {
            steps.push('.');
            put_string(&mut steps, key);
        }
        let found = format!("JSON_EXTRACT({document}, {})", literal(&steps));
        let text = format!("JSON_UNQUOTE({found})");
        let mut terms = Vec::new();
        for sought in &sought.texts {
            let exact = format!("CAST(CONVERT({text} USING utf8mb4) AS BINARY) = {}", hex(sought.as_bytes()));
            terms.push(format!("(JSON_TYPE({found}) = 'STRING' AND {exact})"));
        }
        if let Some(number) = sought.number.as_deref() {
            terms.push(format!(
                "(JSON_TYPE({found}) IN ('INTEGER', 'UNSIGNED INTEGER', 'DOUBLE', 'DECIMAL') AND {text} REGEXP {})",
                written(number)
            ));
        }
        Ok(format!("({})", terms.join(" OR ")))
    }

    fn link(&self, ours: &At<'_, TableColumn>, theirs: &At<'_, TableColumn>) -> Result<Link, String> {
        let (mine, other) = (&ours.column.facts, &theirs.column.facts);
        let alike = std::mem::discriminant(&mine.form) == std::mem::discriminant(&other.form);
        let exact = || (bytes(mine, &ours.sql), bytes(other, &theirs.sql));
        let of_uuid = |form| matches!(form, Form::Bytes { len: 16, fixed: true });
        match (mine.form, other.form) {
            (one, another) if is_number(one) && is_number(another) => Ok(Link::plain(&ours.sql, &theirs.sql)),
            (one, another)
                if of_uuid(one) != of_uuid(another)
                    && !matches!((one, another), (Form::Bytes { .. }, Form::Bytes { .. })) =>
            {
                Err(format!("one is {} and the other is {}", mine.declared, other.declared))
            }
            (Form::Text { .. }, Form::Bytes { .. }) => Ok(Link::plain(exact().0, exact().1)),
            // The other side becomes what an index of ours has: its character set, and its collation.
            (Form::Text { .. }, _) => {
                let (charset, collation) = (plain(&mine.charset)?, plain(&mine.collation)?);
                let text = match other.form {
                    Form::Text { .. } => theirs.sql.clone(),
                    _ => format!("CAST({} AS CHAR)", theirs.sql),
                };
                let first = format!("CONVERT({text} USING {charset}) COLLATE {collation}");
                Ok(Link::plain(&ours.sql, first).and(exact().0, exact().1))
            }
            (Form::Integer { .. }, Form::Text { .. }) => {
                let theirs = &theirs.sql;
                let number = format!(
                    "CASE WHEN {theirs} REGEXP '^(0|-?[1-9][0-9]{{0,17}})$' THEN CAST({theirs} AS SIGNED) END"
                );
                Ok(Link::plain(&ours.sql, number))
            }
            (Form::Bytes { .. } | Form::Date | Form::Time(_) | Form::DateTime(_) | Form::Uuid, _)
                if alike =>
            {
                Ok(Link::plain(&ours.sql, &theirs.sql))
            }
            _ => Ok(Link::plain(exact().0, exact().1)),
        }
    }

    fn set(
        &self,
        at: &At<'_, TableColumn>,
        constant: &Constant,
        _values: &mut Vec<Infallible>,
    ) -> Result<Set, String> {
        let (facts, sql) = (&at.column.facts, &at.sql);
        if *constant == Constant::Null {
            return Ok(Set { value: "NULL".to_owned(), differs: format!("{sql} IS NOT NULL") });
        }
        let mut text = String::new();
        put_plain(&mut text, constant.value()).map_err(|error| error.to_string())?;
        let value = constant_literal(facts, constant, &text)?;
        let differs = match facts.form {
            Form::Text { .. } | Form::Other => {
                format!("NOT ({} <=> {})", bytes(facts, sql), hex(cut(facts, &text).as_bytes()))
            }
            Form::Json => format!("NOT (CAST({sql} AS CHAR) <=> CAST(CAST({value} AS JSON) AS CHAR))"),
            _ => format!("NOT ({sql} <=> {value})"),
        };
        Ok(Set { value, differs })
    }

    fn shown(&self, at: &At<'_, TableColumn>) -> String {
        let sql = &at.sql;
        match at.column.facts.form {
            // The server shows six digits of a float, and all of a double.
            Form::Single => format!("{sql} + 0e0"),
            Form::Bit => format!("{sql} + 0"),
            Form::Bytes { .. } => sql.clone(),
            _ => format!("CAST({sql} AS CHAR)"),
        }
    }

    fn index(&self, table: &str, column: &Column<TableColumn>) -> String {
        let part = match column.facts.form {
            Form::Text { chars, .. } if chars > INDEXED_CHARS => "(191)",
            Form::Bytes { len, .. } if len > 4 * INDEXED_CHARS => "(191)",
            _ => "",
        };
        let name = quote(&format!("{table}_{}", column.name).chars().take(64).collect::<String>());
        format!("CREATE INDEX {name} ON {} ({}{part});", quote(table), quote(&column.name))
    }

    fn grant(&self, table: &str, right: &str) -> String {
        format!("GRANT {right} ON {}.{} TO 'USER'@'HOST';", quote(&self.database), quote(table))
    }
}

/// A constant as the literal of its column: what the column cannot keep is refused here, and not rounded or cut.
fn constant_literal(facts: &TableColumn, constant: &Constant, text: &str) -> Result<String, String> {
    let kind = match facts.form {
        Form::Integer { .. } | Form::Bit => ValueKind::Int,
        Form::Decimal { .. } => ValueKind::Decimal,
        Form::Double | Form::Single => ValueKind::Float,
        Form::Text { .. } | Form::Bytes { .. } | Form::Other => ValueKind::Text,
        Form::Date => ValueKind::Date,
        Form::Time(_) => ValueKind::Time,
        Form::DateTime(_) => ValueKind::Timestamp,
        Form::Json => ValueKind::Json,
        Form::Uuid => ValueKind::Uuid,
    };
    let text = match (constant, kind) {
        (Constant::Bool(bool), ValueKind::Int | ValueKind::Decimal | ValueKind::Float) => {
            if *bool {
                "1"
            } else {
                "0"
            }
        }
        _ => text,
    };
    let wrong = || format!("its type is {}, which does not take the constant", facts.declared);
    let mut encoded = Vec::new();
    if !encode_text(&mut encoded, kind, text) {
        return Err(wrong());
    }
    let value = Value::from_bytes(&encoded);
    let (form, value) = match (facts.form, value) {
        (Form::Integer { bytes, unsigned }, Value::Int(int)) if !holds(bytes, unsigned, int) => {
            return Err(wrong());
        }
        (Form::Bit, Value::Int(int @ (0 | 1))) => (Form::Bit, Value::Bool(int == 1)),
        other => other,
    };
    let mut out = String::new();
    form.put(&mut out, value).map_err(|error| format!("its type is {}: {error}", facts.declared))?;
    Ok(out)
}

/// Whether an integer type has a number.
fn holds(bytes: u8, unsigned: bool, int: i64) -> bool {
    let bits = u32::from(bytes.clamp(1, 8)) * 8;
    match unsigned {
        true => int >= 0 && (bits == 64 || int < 1 << bits),
        false => bits == 64 || (-(1i64 << (bits - 1))..1i64 << (bits - 1)).contains(&int),
    }
}

/// What the server shows of a value, for people to read: numbers that JSON keeps exactly and JSON as such, bytes as `\x` and
/// hexadecimal digits, everything else as text.
pub fn json(facts: &TableColumn, bytes: Option<&[u8]>) -> Json {
    let Some(bytes) = bytes else { return Json::Null };
    let text = match (facts.form, std::str::from_utf8(bytes)) {
        (Form::Bytes { .. }, _) | (_, Err(_)) => {
            let mut text = String::new();
            // Only an array can fail, and there is none.
            let _ = put_plain(&mut text, Value::Bytes(bytes));
            return Json::String(text);
        }
        (_, Ok(text)) => text,
    };
    let read = match facts.form {
        Form::Integer { .. } | Form::Bit => text.parse::<i64>().ok().map(Json::from),
        Form::Double | Form::Single => text.parse().ok().and_then(Number::from_f64).map(Json::Number),
        Form::Json => serde_json::from_str(text).ok(),
        _ => None,
    };
    read.unwrap_or_else(|| Json::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_json_is_found_however_it_is_written() {
        assert_eq!(written("7"), "'^7([.]0*)?([eE][-+]?0+)?$'");
        assert_eq!(written("-12.5"), "'^-12[.]50*([eE][-+]?0+)?$'");
    }

    #[test]
    fn what_an_integer_type_has() {
        assert!(holds(1, false, -128) && !holds(1, false, 128) && holds(1, true, 255) && !holds(1, true, -1));
        assert!(holds(8, false, i64::MIN) && holds(8, true, i64::MAX) && !holds(4, false, 1 << 31));
    }

    #[test]
    fn names_of_collations_are_plain() {
        assert!(plain("utf8mb4_0900_ai_ci").is_ok());
        assert!(plain("x; DROP TABLE y").is_err() && plain("").is_err());
    }
}
