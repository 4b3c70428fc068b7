//! How PostgreSQL looks for rows.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_api::Value;
use connector_api::erasure::Constant;
use connector_sql::erase::{At, Codes, Finder, Link, Set, Sought};
use connector_sql::erasure_codes;
use serde_json::{Number, Value as Json};

use crate::sink::dialect::{ColumnFacts, Sql};
use crate::sink::form::{Form, oid};
use crate::sink::names::{literal, qualified, quote};

/// The type `name`, which has no length and a collation of bytes.
const NAME: u32 = 19;

/// What is known of a column.
#[derive(Debug, Clone)]
pub(in crate::sink) struct Facts {
    pub(super) of: ColumnFacts,
    pub(super) declared: String,
}

/// A parameter: its type, and its bytes with the length in front.
#[derive(Debug)]
pub(in crate::sink) struct Param {
    pub(super) oid: u32,
    pub(super) bytes: Vec<u8>,
}

impl Facts {
    fn is_number(&self) -> bool {
        matches!(
            self.of.base,
            oid::INT2 | oid::INT4 | oid::INT8 | oid::OID | oid::NUMERIC | oid::FLOAT4 | oid::FLOAT8
        )
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.of.base, oid::TEXT | oid::VARCHAR | oid::BPCHAR | NAME) || self.of.citext
    }

    /// Equality is of bytes.
    fn is_exact(&self) -> bool {
        self.of.deterministic && !self.of.citext
    }

    /// What the server shows of a value, for people to read: numbers that JSON keeps exactly, JSON and truth values as such,
    /// everything else as text.
    pub(in crate::sink) fn json(&self, shown: Option<String>) -> Json {
        let Some(shown) = shown else { return Json::Null };
        let read = match self.of.base {
            oid::BOOL => Some(Json::Bool(shown == "t")),
            oid::INT2 | oid::INT4 | oid::INT8 | oid::OID => shown.parse::<i64>().ok().map(Json::from),
            oid::FLOAT4 | oid::FLOAT8 => shown.parse().ok().and_then(Number::from_f64).map(Json::Number),
            oid::JSON | oid::JSONB => serde_json::from_str(&shown).ok(),
            _ => None,
        };
        read.unwrap_or(Json::String(shown))
    }

    /// The type in which texts are compared with a column of texts.
    fn compared(&self) -> &str {
        match self.of.base {
            oid::BPCHAR => "pg_catalog.bpchar",
            _ if self.of.citext => &self.of.base_sql,
            _ => "pg_catalog.text",
        }
    }
}

/// Binds a value; `None` when the form does not have it.
fn put(values: &mut Vec<Param>, form: &Form, value: Value<'_>) -> Option<String> {
    let (oid, _) = form.parameter()?;
    let mut bytes = Vec::new();
    form.put(&mut bytes, value).ok()?;
    values.push(Param { oid, bytes });
    Some(format!("${}", values.len()))
}

/// What the server shows of a value, as a text that is compared by its bytes.
pub(super) fn shown(facts: &Facts, sql: &str) -> String {
    match facts.is_text() {
        true => format!("CAST({sql} AS pg_catalog.text) COLLATE \"C\""),
        // A cast shows some types otherwise than the server does (inet, bool).
        false => {
            format!("(CASE WHEN {sql} IS NOT NULL THEN pg_catalog.format('%s', {sql}) END) COLLATE \"C\"")
        }
    }
}

/// A text that is sought, as a column of this type would show it.
fn cut<'t>(facts: &Facts, text: &'t str) -> &'t str {
    match facts.of.base {
        // Blanks at the end are the column's.
        oid::BPCHAR => text.trim_end_matches(' '),
        _ => text,
    }
}

/// The forms that a value has in a column's type.
fn bound(facts: &Facts, sought: &Sought<'_>, values: &mut Vec<Param>) -> Vec<String> {
    let whole = || sought.integer().and_then(|text| text.parse().ok()).map(Value::Int);
    let one = |values: &mut Vec<Param>, form: Form, value: Option<Value<'_>>| {
        value.and_then(|value| put(values, &form, value)).into_iter().collect::<Vec<_>>()
    };
    let float = || match sought.value {
        Value::Float(float) => Some(Value::Float(float)),
        _ => sought.number.as_deref().and_then(|text| text.parse().ok()).map(Value::Float),
    };
    match facts.of.base {
        oid::INT2 => one(values, Form::Int2, whole()),
        oid::INT4 => one(values, Form::Int4, whole()),
        oid::INT8 => one(values, Form::Int8, whole()),
        oid::OID => one(values, Form::Oid, whole()),
        oid::NUMERIC => one(values, Form::Numeric, sought.number.as_deref().map(Value::Decimal)),
        oid::FLOAT4 => one(values, Form::Float4, float()),
        oid::FLOAT8 => one(values, Form::Float8, float()),
        oid::UUID => one(values, Form::Uuid, sought.uuid.map(Value::Uuid)),
        oid::BYTEA => {
            let own = one(values, Form::Bytes, sought.bytes().map(Value::Bytes));
            let uuid = sought.uuid;
            let uuid = uuid.and_then(|uuid| put(values, &Form::Bytes, Value::Bytes(&uuid)));
            own.into_iter().chain(uuid).collect()
        }
        base => {
            let form = sought.value.kind().and_then(|kind| Form::of(kind, base));
            form.map_or_else(Vec::new, |form| one(values, form, Some(sought.value)))
        }
    }
}

/// Types whose values are compared by what they are, or not at all.
fn is_known(base: u32) -> bool {
    matches!(
        base,
        oid::BOOL | oid::BYTEA | oid::UUID | oid::DATE | oid::TIME | oid::TIMESTAMP | oid::TIMESTAMPTZ
    )
}

impl Finder for Sql {
    type Facts = Facts;
    type Value = Param;

    const CODES: &'static Codes = &erasure_codes!("postgres");

    fn quote(&self, name: &str) -> String {
        quote(name)
    }

    fn table(&self, name: &str) -> String {
        qualified(&self.schema, name)
    }

    fn same_column(&self, one: &str, other: &str) -> bool {
        one == other
    }

    fn equals(&self, at: &At<'_, Facts>, sought: &Sought<'_>, values: &mut Vec<Param>) -> Option<String> {
        let (facts, sql) = (&at.column.facts, &at.sql);
        let terms: Vec<String> = if facts.is_text() {
            let mut terms = Vec::new();
            for text in &sought.texts {
                let place = put(values, &Form::Text, Value::Text(cut(facts, text)))?;
                let equal = format!("{sql} = CAST({place} AS {})", facts.compared());
                terms.push(match facts.is_exact() {
                    true => equal,
                    false => format!("({equal} AND {} = {place})", shown(facts, sql)),
                });
            }
            terms
        } else if facts.is_number() || is_known(facts.of.base) {
            let places = bound(facts, sought, values);
            places
                .into_iter()
                .map(|place| format!("{sql} = CAST({place} AS {})", facts.of.base_sql))
                .collect()
        } else {
            let mut terms = Vec::new();
            for text in &sought.texts {
                let place = put(values, &Form::Text, Value::Text(text))?;
                terms.push(format!("{} = {place}", shown(facts, sql)));
            }
            terms
        };
        (!terms.is_empty()).then(|| format!("({})", terms.join(" OR ")))
    }

    fn holds(
        &self,
        at: &At<'_, Facts>,
        path: &[String],
        sought: &Sought<'_>,
        values: &mut Vec<Param>,
    ) -> Result<String, String> {
        let kind = match at.column.facts.of.base {
            oid::JSON => "pg_catalog.json_typeof",
            oid::JSONB => "pg_catalog.jsonb_typeof",
            _ => return Err(format!("it is {}, and not json or jsonb", at.column.facts.declared)),
        };
        let Some((last, heads)) = path.split_last() else { return Err("the path has no key".to_owned()) };
        if path.iter().any(|key| key.contains('\0')) {
            return Err("a key of the path holds a zero byte".to_owned());
        }
        // To json a document with a zero character is one, and every function over it is an error.
        let mut object = match at.column.facts.of.base {
            oid::JSON => format!("CAST(replace(CAST({} AS text), '\\u0000', '\\ufffd') AS json)", at.sql),
            _ => at.sql.clone(),
        };
        for key in heads {
            object = format!("{object} -> {}::text", literal(key));
        }
        let last = literal(last);
        let (kind, text) =
            (format!("{kind}({object} -> {last}::text)"), format!("({object} ->> {last}::text)"));
        let mut terms = Vec::new();
        for sought in &sought.texts {
            if let Some(place) = put(values, &Form::Text, Value::Text(sought)) {
                terms.push(format!("({kind} = 'string' AND {text} COLLATE \"C\" = {place})"));
            }
        }
        let number = sought.number.as_deref();
        if let Some(place) = number.and_then(|number| put(values, &Form::Numeric, Value::Decimal(number))) {
            // A document of json may hold a number that numeric does not have.
            terms.push(format!(
                "CASE WHEN {kind} = 'number' AND {text} !~ '[eE][-+]?[0-9]{{4}}' THEN CAST({text} AS pg_catalog.numeric) = {place} ELSE false END"
            ));
        }
        Ok(format!("({})", terms.join(" OR ")))
    }

    fn link(&self, ours: &At<'_, Facts>, theirs: &At<'_, Facts>) -> Result<Link, String> {
        let (mine, other) = (&ours.column.facts, &theirs.column.facts);
        let same = mine.of.base == other.of.base && is_known(mine.of.base);
        if same || (mine.is_number() && other.is_number()) {
            return Ok(Link::plain(&ours.sql, &theirs.sql));
        }
        let exact = (shown(mine, &ours.sql), shown(other, &theirs.sql));
        if !mine.is_text() {
            return Ok(Link::plain(exact.0, exact.1));
        }
        // The other side becomes what an index of ours has: its type, and its collation.
        let collate = match mine.of.collation.as_str() {
            "" => String::new(),
            collation => format!(" COLLATE {collation}"),
        };
        let first = Link::plain(&ours.sql, format!("CAST({} AS {}){collate}", exact.1, mine.compared()));
        Ok(if mine.is_exact() { first } else { first.and(exact.0, exact.1) })
    }

    fn set(&self, at: &At<'_, Facts>, constant: &Constant, _values: &mut Vec<Param>) -> Result<Set, String> {
        let facts = &at.column.facts;
        if facts.of.identity_always {
            return Err("it numbers itself (GENERATED ALWAYS)".to_owned());
        }
        let Some(text) = constant_text(constant) else {
            let differs = format!("{} IS DISTINCT FROM NULL", at.sql);
            return Ok(Set { value: "NULL".to_owned(), differs });
        };
        if text.contains('\0') {
            return Err("PostgreSQL has no zero byte in a text".to_owned());
        }
        // The server reads it as the column's type, whatever that is.
        let value = literal(&text);
        let wanted = shown(facts, &format!("CAST({value} AS {})", facts.declared));
        Ok(Set { differs: format!("{} IS DISTINCT FROM {wanted}", shown(facts, &at.sql)), value })
    }
}

/// The text of a constant; `None` for null.
pub(super) fn constant_text(constant: &Constant) -> Option<String> {
    Some(match constant {
        Constant::Null => return None,
        Constant::Bool(bool) => bool.to_string(),
        Constant::Int(int) => int.to_string(),
        Constant::Float(float) => float.to_string(),
        Constant::Text(text) => text.clone(),
    })
}
