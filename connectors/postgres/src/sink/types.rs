//! The types of target columns: what a column of the source becomes, and whether one type holds the values of another.
//!
//! A type's name comes from a peer. It is never passed on: it is looked up here, and what goes into SQL is written anew
//! from what was found (I12).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;

use connector_api::{Column, ValueKind};

/// A built-in type with its modifiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Type {
    name: &'static str,
    /// `(12,2)`, `(20)`, `(3)`.
    modifiers: Vec<i32>,
    array: bool,
}

/// The server's own name of each type, other names that sources use, and the kind of its values. Plain `int` is none of
/// them: it is also what a column of 64 bits is called that was computed.
const TYPES: &[(&str, &[&str], ValueKind)] = &[
    ("boolean", &["bool"], ValueKind::Bool),
    ("smallint", &["int2"], ValueKind::Int),
    ("integer", &["int4"], ValueKind::Int),
    ("bigint", &["int8"], ValueKind::Int),
    ("oid", &[], ValueKind::Int),
    ("real", &["float4"], ValueKind::Float),
    ("double precision", &["float8", "double", "float"], ValueKind::Float),
    ("numeric", &["decimal"], ValueKind::Decimal),
    ("text", &[], ValueKind::Text),
    ("character varying", &["varchar"], ValueKind::Text),
    ("character", &["bpchar"], ValueKind::Text),
    ("\"char\"", &[], ValueKind::Text),
    ("name", &[], ValueKind::Text),
    ("bytea", &[], ValueKind::Bytes),
    ("uuid", &[], ValueKind::Uuid),
    ("date", &[], ValueKind::Date),
    ("time without time zone", &["time"], ValueKind::Time),
    ("time with time zone", &["timetz"], ValueKind::Text),
    ("timestamp without time zone", &["timestamp"], ValueKind::Timestamp),
    ("timestamp with time zone", &["timestamptz"], ValueKind::TimestampTz),
    ("interval", &[], ValueKind::Text),
    ("json", &[], ValueKind::Json),
    ("jsonb", &[], ValueKind::Json),
    ("inet", &[], ValueKind::Text),
    ("cidr", &[], ValueKind::Text),
    ("macaddr", &[], ValueKind::Text),
    ("macaddr8", &[], ValueKind::Text),
    ("money", &[], ValueKind::Text),
    ("bit", &[], ValueKind::Text),
    ("bit varying", &["varbit"], ValueKind::Text),
    ("xml", &[], ValueKind::Text),
    ("tsvector", &[], ValueKind::Text),
    ("tsquery", &[], ValueKind::Text),
    ("pg_lsn", &[], ValueKind::Text),
    ("point", &[], ValueKind::Text),
    ("line", &[], ValueKind::Text),
    ("lseg", &[], ValueKind::Text),
    ("box", &[], ValueKind::Text),
    ("path", &[], ValueKind::Text),
    ("polygon", &[], ValueKind::Text),
    ("circle", &[], ValueKind::Text),
    ("int4range", &[], ValueKind::Text),
    ("int8range", &[], ValueKind::Text),
    ("numrange", &[], ValueKind::Text),
    ("tsrange", &[], ValueKind::Text),
    ("tstzrange", &[], ValueKind::Text),
    ("daterange", &[], ValueKind::Text),
    ("int4multirange", &[], ValueKind::Text),
    ("int8multirange", &[], ValueKind::Text),
    ("nummultirange", &[], ValueKind::Text),
    ("tsmultirange", &[], ValueKind::Text),
    ("tstzmultirange", &[], ValueKind::Text),
    ("datemultirange", &[], ValueKind::Text),
];

impl Type {
    fn plain(name: &'static str) -> Type {
        Type { name, modifiers: Vec::new(), array: false }
    }

    /// `text`, which holds the text of everything.
    pub(super) fn text() -> Type {
        Type::plain("text")
    }

    /// Reads a type's name as the server writes it: `numeric(12,2)`, `timestamp(3) with time zone`, `integer[]`.
    pub(super) fn parse(text: &str) -> Option<Type> {
        let (text, array) = match text.strip_suffix("[]") {
            Some(element) => (element, true),
            None => (text, false),
        };
        let (name, modifiers) = match text.split_once('(') {
            None => (text.to_owned(), Vec::new()),
            Some((head, rest)) => {
                let (inside, tail) = rest.split_once(')')?;
                let modifiers = inside.split(',').map(|part| part.trim().parse().ok());
                (format!("{head}{tail}"), modifiers.collect::<Option<Vec<i32>>>()?)
            }
        };
        let found = TYPES.iter().find(|(own, others, _)| *own == name || others.contains(&name.as_str()));
        let (name, ..) = found?;
        Some(Type { name, modifiers, array })
    }

    fn kind(&self) -> ValueKind {
        TYPES.iter().find(|(name, ..)| *name == self.name).map_or(ValueKind::Text, |(_, _, kind)| *kind)
    }

    /// The type that holds every value of a kind.
    fn of_kind(kind: ValueKind) -> Type {
        Type::plain(match kind {
            ValueKind::Bool => "boolean",
            ValueKind::Int => "bigint",
            ValueKind::Float => "double precision",
            ValueKind::Decimal => "numeric",
            ValueKind::Text | ValueKind::Array => "text",
            ValueKind::Bytes => "bytea",
            ValueKind::Uuid => "uuid",
            ValueKind::Date => "date",
            ValueKind::Time => "time without time zone",
            ValueKind::Timestamp => "timestamp without time zone",
            ValueKind::TimestampTz => "timestamp with time zone",
            ValueKind::Json => "json",
        })
    }

    /// What a column of the source becomes: its own type when PostgreSQL has it; else, as for the source's own enums,
    /// domains and composites, the type that holds the values as they come.
    pub(super) fn wanted(column: &Column) -> Type {
        let named = Type::parse(&column.type_name);
        match (column.kind, column.element) {
            (ValueKind::Array, element) => {
                let element = element.unwrap_or(ValueKind::Text);
                match named {
                    Some(named) if named.array && named.kind() == element => named,
                    _ => Type { array: true, ..Type::of_kind(element) },
                }
            }
            (kind, _) => match named {
                Some(named) if !named.array && named.kind() == kind => named,
                _ => Type::of_kind(kind),
            },
        }
    }

    /// Whether every value of `other` has a place in this type, and comes back from it as it was.
    pub(super) fn holds(&self, other: &Type) -> bool {
        if self.array != other.array {
            return !self.array && self.name == "text";
        }
        let wider: &[&str] = match other.name {
            "smallint" => &["integer", "bigint", "numeric"],
            "integer" => &["bigint", "numeric"],
            "bigint" | "oid" => &["numeric"],
            "real" => &["double precision"],
            "character varying" | "name" | "\"char\"" => &["character varying", "text"],
            "character" => &["character varying", "text", "character"],
            "text" => &["character varying"],
            "jsonb" => &["json"],
            "cidr" => &["inet"],
            "bit" => &["bit varying"],
            _ => &[],
        };
        let unlimited = self.modifiers.is_empty();
        match self.name == other.name {
            true => unlimited || self.fits(other),
            false => self.name == "text" || (wider.contains(&self.name) && (unlimited || self.fits(other))),
        }
    }

    /// Compares modifiers; the names go together.
    fn fits(&self, other: &Type) -> bool {
        match (self.modifiers.as_slice(), other.modifiers.as_slice()) {
            ([precision, scale], [others, other_scale]) => {
                scale >= other_scale && precision - scale >= others - other_scale
            }
            ([precision, scale], [others]) => *scale >= 0 && precision - scale >= *others,
            ([precision], [others, other_scale]) => *other_scale <= 0 && precision >= &(others - other_scale),
            ([length], [others]) => length >= others,
            // No modifier: the widest, but for a plain `character`, which is one, and `bit`, too.
            ([_], []) => false,
            (own, others) => own == others,
        }
    }

    /// The type that a column gets which held `found` and is to hold this one, too.
    pub(super) fn widened(&self, found: Option<&Type>) -> Type {
        match found {
            Some(found) if self.holds(found) => self.clone(),
            Some(Type { array: true, .. }) if self.array => Type { array: true, ..Type::plain("text") },
            _ => Type::text(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let modifiers = match self.modifiers.as_slice() {
            [] => String::new(),
            some => format!("({})", super::names::join(",", some.iter().map(i32::to_string))),
        };
        // The modifier of a time stands before its zone.
        match self.name.split_once(' ').filter(|(head, _)| head.starts_with("time")) {
            Some((head, zone)) => write!(f, "{head}{modifiers} {zone}")?,
            None => write!(f, "{}{modifiers}", self.name)?,
        }
        if self.array { f.write_str("[]") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(text: &str) -> Type {
        Type::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn names_come_back() {
        for text in [
            "numeric(12,2)",
            "numeric(3,-2)",
            "timestamp(3) with time zone",
            "character varying(20)[]",
            "time with time zone",
            "\"char\"",
            "bit(3)",
        ] {
            assert_eq!(of(text).to_string(), text);
        }
        for text in ["mood", "", "integer; DROP TABLE x", "numeric(1;2)", "integer(", "text[][]"] {
            assert_eq!(Type::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_source_column_keeps_its_type_or_gets_one_that_holds_its_values() {
        let column = |kind, element, type_name: &str| Column {
            name: "c".into(),
            kind,
            element,
            type_name: type_name.into(),
            nullable: true,
        };
        for (kind, element, name, wanted) in [
            (ValueKind::Decimal, None, "numeric(12,2)", "numeric(12,2)"),
            (ValueKind::Text, None, "mood", "text"),
            (ValueKind::Int, None, "positive", "bigint"),
            (ValueKind::Text, None, "inet", "inet"),
            (ValueKind::Array, Some(ValueKind::Int), "integer[]", "integer[]"),
            (ValueKind::Array, Some(ValueKind::Text), "mood[]", "text[]"),
            (ValueKind::Array, Some(ValueKind::Int), "ints", "bigint[]"),
            (ValueKind::TimestampTz, None, "timestamp(3)", "timestamp with time zone"),
            (ValueKind::Bytes, None, "bit(8)", "bytea"),
            (ValueKind::Text, None, "x\"; DROP TABLE y", "text"),
        ] {
            assert_eq!(Type::wanted(&column(kind, element, name)).to_string(), wanted, "{name}");
        }
    }

    #[test]
    fn what_holds_what() {
        for (wide, narrow) in [
            ("bigint", "integer"),
            ("numeric", "bigint"),
            ("text", "character varying(20)"),
            ("text", "uuid"),
            ("character varying(20)", "character varying(10)"),
            ("numeric(12,2)", "numeric(8,2)"),
            ("numeric", "numeric(8,2)"),
            ("numeric(10,2)", "numeric(8)"),
            ("double precision", "real"),
            ("timestamp without time zone", "timestamp(3)"),
            ("json", "jsonb"),
            ("character varying", "text"),
            ("integer[]", "integer[]"),
            ("text", "integer[]"),
            ("character varying(9)", "character(9)"),
        ] {
            assert!(of(wide).holds(&of(narrow)), "{wide} holds {narrow}");
        }
        for (narrow, wide) in [
            ("integer", "bigint"),
            ("character varying(20)", "text"),
            ("numeric(12,2)", "numeric"),
            ("numeric(12,2)", "numeric(12,4)"),
            ("numeric(12,4)", "numeric(12,2)"),
            ("jsonb", "json"),
            ("timestamp(0)", "timestamp"),
            ("integer[]", "integer"),
            ("uuid", "text"),
            ("character varying(8)", "character(9)"),
        ] {
            assert!(!of(narrow).holds(&of(wide)), "{narrow} holds {wide}");
        }
        assert_eq!(of("bigint").widened(Some(&of("integer"))).to_string(), "bigint");
        assert_eq!(of("uuid").widened(Some(&of("integer"))).to_string(), "text");
    }
}
