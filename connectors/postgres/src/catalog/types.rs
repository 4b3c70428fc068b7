//! Types by oid: how their text is read, and what they are called.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{number, text};
use crate::connection::Rows;
use crate::types::Reading;
use connector_api::Result;
use std::collections::{HashMap, HashSet};

/// A type with its modifier, as in `numeric(12,2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TypeRef {
    pub(crate) oid: u32,
    pub(crate) typmod: i32,
}

/// A row of `pg_type`, as far as it says how to read values.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Domain {
        base: u32,
    },
    Array {
        element: u32,
        delimiter: u8,
    },
    /// Enums, ranges, composites, extensions' types: their text.
    Other,
}

/// What was learned of types so far.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    types: HashMap<u32, Kind>,
    names: HashMap<TypeRef, String>,
}

/// Domains over arrays of domains …: deeper than anybody goes, and an end to any circle.
const DEPTH_MAX: usize = 16;

impl Kinds {
    /// How values of a type are read. Unknown types are text, which every type has.
    pub(crate) fn reading(&self, oid: u32) -> Reading {
        self.reading_at(oid, 0)
    }

    fn reading_at(&self, oid: u32, depth: usize) -> Reading {
        if let Some(reading) = Reading::built_in(oid) {
            return reading;
        }
        match self.types.get(&oid) {
            _ if depth > DEPTH_MAX => Reading::Text,
            Some(Kind::Domain { base }) => self.reading_at(*base, depth + 1),
            Some(Kind::Array { element, delimiter }) => match self.reading_at(*element, depth + 1) {
                // The elements of a domain over an array are written as quoted text.
                Reading::Array { .. } => {
                    Reading::Array { element: Box::new(Reading::Text), delimiter: *delimiter }
                }
                element => Reading::Array { element: Box::new(element), delimiter: *delimiter },
            },
            Some(Kind::Other) | None => Reading::Text,
        }
    }

    pub(crate) fn name(&self, of_type: TypeRef) -> &str {
        self.names.get(&of_type).map_or("unknown", String::as_str)
    }

    /// The query for types that are not known yet, and for those that known ones refer to.
    pub(super) fn missing_types(&self, types: &[TypeRef]) -> Option<String> {
        let mut missing = HashSet::new();
        for of_type in types {
            let mut oid = of_type.oid;
            for _ in 0..DEPTH_MAX {
                if Reading::built_in(oid).is_some() {
                    break;
                }
                match self.types.get(&oid) {
                    Some(Kind::Domain { base }) => oid = *base,
                    Some(Kind::Array { element, .. }) => oid = *element,
                    Some(Kind::Other) => break,
                    None => {
                        missing.insert(oid);
                        break;
                    }
                }
            }
        }
        if missing.is_empty() {
            return None;
        }
        let oids: Vec<_> = missing.iter().map(u32::to_string).collect();
        Some(format!(
            "SELECT v.oid, coalesce(t.typtype = 'd', false), coalesce(t.typbasetype, 0), \
               coalesce(t.typcategory = 'A' AND t.typlen = -1 AND t.typelem <> 0, false), coalesce(t.typelem, 0), e.typdelim \
             FROM unnest('{{{}}}'::oid[]) AS v(oid) \
             LEFT JOIN pg_type t ON t.oid = v.oid LEFT JOIN pg_type e ON e.oid = t.typelem",
            oids.join(",")
        ))
    }

    pub(super) fn add_types(&mut self, rows: &Rows) -> Result<()> {
        for row in rows {
            // A type that was dropped since has no row of its own, and is text.
            let kind = match (text(row, 1), text(row, 3)) {
                ("t", _) => Kind::Domain { base: number(row, 2)? },
                (_, "t") => {
                    let delimiter = text(row, 5).bytes().next().unwrap_or(b',');
                    Kind::Array { element: number(row, 4)?, delimiter }
                }
                _ => Kind::Other,
            };
            self.types.insert(number(row, 0)?, kind);
        }
        Ok(())
    }

    pub(super) fn missing_names(&self, types: &[TypeRef]) -> Option<String> {
        let missing = types.iter().filter(|of_type| !self.names.contains_key(of_type));
        let values: Vec<_> =
            missing.map(|of_type| format!("({}, {})", of_type.oid, of_type.typmod)).collect();
        if values.is_empty() {
            return None;
        }
        let values = values.join(", ");
        Some(format!("SELECT o, m, format_type(o, m) FROM (VALUES {values}) AS v(o, m)"))
    }

    pub(super) fn add_names(&mut self, rows: &Rows) -> Result<()> {
        for row in rows {
            let of_type = TypeRef { oid: number(row, 0)?, typmod: number(row, 1)? };
            // The search path is empty, so that every name is whole; `public` is what people leave out.
            let name = text(row, 2);
            self.names.insert(of_type, name.strip_prefix("public.").unwrap_or(name).to_owned());
        }
        Ok(())
    }
}
