//! What a target table looks like now.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_api::Result;
use connector_sql::Object;

use super::dialect::{ColumnFacts, Sql, TableFacts};
use super::names::{literal, quote};
use super::session::Session;
use crate::catalog::{flag, number, text};

pub(super) type Table = connector_sql::Table<Sql>;
pub(super) type TableColumn = connector_sql::TableColumn<Sql>;

/// Reads what stands under a name.
pub(super) async fn read(session: &mut Session, schema: &str, name: &str) -> Result<Object<Sql>> {
    let doing = format!("read table {name:?}");
    let rows = session.query(&doing, &table_sql(schema, name)).await?;
    let Some(row) = rows.first() else { return Ok(Object::Missing) };
    let kind = text(row, 1);
    if !matches!(kind, "r" | "p") {
        return Ok(Object::Other(kind_name(kind).to_owned()));
    }
    let privileges = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    let missing = privileges.into_iter().zip(4..).filter(|(_, at)| !flag(row, *at)).map(|(name, _)| name);
    let facts = TableFacts {
        oid: number(row, 0)?,
        partitioned: kind == "p",
        secured: flag(row, 2),
        owned: flag(row, 3),
        missing: missing.collect(),
        truncatable: flag(row, 8),
        role: text(row, 9).to_owned(),
    };
    let mut table = Table { columns: Vec::new(), unique: Vec::new(), facts };
    for row in session.query(&doing, &columns_sql(table.facts.oid)).await? {
        table.columns.push(column(&row)?);
    }
    let mut index = String::new();
    for row in session.query(&doing, &indexes_sql(table.facts.oid)).await? {
        if text(&row, 0) != index || table.unique.is_empty() {
            index = text(&row, 0).to_owned();
            table.unique.push(Vec::new());
        }
        if let Some(set) = table.unique.last_mut() {
            set.push(text(&row, 1).to_owned());
        }
    }
    Ok(Object::Table(table))
}

fn kind_name(kind: &str) -> &'static str {
    match kind {
        "v" => "view",
        "m" => "materialized view",
        "f" => "foreign table",
        "S" => "sequence",
        "c" => "composite type",
        _ => "thing that is no table",
    }
}

fn table_sql(schema: &str, name: &str) -> String {
    format!(
        "SELECT c.oid, c.relkind, row_security_active(c.oid), pg_has_role(c.relowner, 'USAGE'), \
           has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'), \
           has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE'), \
           has_table_privilege(c.oid, 'TRUNCATE') \
             AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid), current_user \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {} AND c.relname = {}",
        literal(schema),
        literal(name)
    )
}

fn columns_sql(oid: u32) -> String {
    let base = |of: &str| {
        format!(
            "(WITH RECURSIVE d AS (SELECT t.oid, t.typtype, t.typbasetype FROM pg_type t WHERE t.oid = {of} \
               UNION ALL SELECT t.oid, t.typtype, t.typbasetype FROM d JOIN pg_type t ON t.oid = d.typbasetype \
               WHERE d.typtype = 'd') SELECT d.oid FROM d WHERE d.typtype <> 'd')"
        )
    };
    format!(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), b.oid, n.nspname, b.typname, \
           CASE WHEN b.typcategory = 'A' AND b.typlen = -1 AND b.typelem <> 0 THEN {} END, e.typdelim, \
           a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', a.attgenerated <> '', a.attidentity = 'a', \
           coalesce(k.collisdeterministic, true), k.collname, m.nspname \
         FROM pg_attribute a LEFT JOIN pg_collation k ON k.oid = a.attcollation \
         LEFT JOIN pg_namespace m ON m.oid = k.collnamespace JOIN pg_type b ON b.oid = {} JOIN pg_namespace n ON n.oid = b.typnamespace \
         LEFT JOIN pg_type e ON e.oid = b.typelem \
         WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        base("b.typelem"),
        base("a.atttypid")
    )
}

fn indexes_sql(oid: u32) -> String {
    format!(
        "SELECT i.indexrelid, a.attname FROM pg_index i \
         CROSS JOIN LATERAL unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k(attnum, place) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL \
           AND i.indexprs IS NULL ORDER BY i.indexrelid, k.place"
    )
}

fn column(row: &[Option<String>]) -> Result<TableColumn> {
    let element = match text(row, 5) {
        "" => None,
        _ => Some((number(row, 5)?, text(row, 6).chars().next().unwrap_or(','))),
    };
    let facts = ColumnFacts {
        base: number(row, 2)?,
        base_sql: format!("{}.{}", quote(text(row, 3)), quote(text(row, 4))),
        element,
        identity_always: flag(row, 9),
        deterministic: flag(row, 10),
        collation: match text(row, 11) {
            "" => String::new(),
            collation => format!("{}.{}", quote(text(row, 12)), quote(collation)),
        },
        citext: text(row, 4) == "citext",
    };
    Ok(TableColumn {
        name: text(row, 0).to_owned(),
        declared: text(row, 1).to_owned(),
        required: flag(row, 7),
        generated: flag(row, 8),
        facts,
    })
}

/// The foreign keys among the tables of a schema.
#[derive(Debug, Clone, Default)]
pub(super) struct References {
    /// Child and parent.
    pairs: Vec<(String, String)>,
    /// Some are declared deferrable.
    pub(super) deferrable: bool,
}

impl References {
    pub(super) async fn read(session: &mut Session, schema: &str) -> Result<References> {
        let sql = format!(
            "SELECT c.relname, p.relname, f.condeferrable FROM pg_constraint f \
             JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class p ON p.oid = f.confrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE f.contype = 'f' AND f.conparentid = 0 AND n.nspname = {}",
            literal(schema)
        );
        let mut references = References::default();
        for row in session.query("read foreign keys", &sql).await? {
            references.deferrable |= flag(&row, 2);
            references.pairs.push((text(&row, 0).to_owned(), text(&row, 1).to_owned()));
        }
        Ok(references)
    }

    /// Children with their parents.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(child, parent)| (child.as_str(), parent.as_str()))
    }

    /// How many tables stand above this one, at most: parents come before children. In a circle the order is any.
    pub(super) fn rank(&self, table: &str) -> u32 {
        self.rank_at(table, 0)
    }

    fn rank_at(&self, table: &str, depth: u32) -> u32 {
        // Nobody nests deeper; a circle ends here.
        if depth >= 32 {
            return 0;
        }
        let parents = self.pairs.iter().filter(|(child, parent)| child == table && parent != table);
        parents.map(|(_, parent)| 1 + self.rank_at(parent, depth + 1)).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_rank_below_children() {
        let pair = |child: &str, parent: &str| (child.to_owned(), parent.to_owned());
        let references = References {
            pairs: vec![
                pair("lines", "orders"),
                pair("orders", "users"),
                pair("users", "users"),
                pair("a", "b"),
                pair("b", "a"),
            ],
            deferrable: false,
        };
        assert_eq!(["users", "orders", "lines", "other"].map(|table| references.rank(table)), [0, 1, 2, 0]);
        references.rank("a");
    }
}
