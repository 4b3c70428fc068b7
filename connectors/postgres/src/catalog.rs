//! What the server's catalog says about tables, columns, keys and types.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod types;

use crate::connection::{Connection, Purpose, Rows, literal};
use crate::error::malformed;
use crate::options::Checked;
use crate::pgoutput::Relation;
use connector_api::{Column, Result, Schema};
use std::collections::HashSet;
use std::sync::Arc;

pub(crate) use types::{Kinds, TypeRef};

/// A table as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    /// `pg_class.relkind`: `r`, or `p` for a partitioned table.
    pub(crate) kind: u8,
    /// `pg_class.relreplident`: d, n, f or i.
    pub(crate) identity: u8,
    /// Estimate of its rows, partitions included.
    pub(crate) rows: u64,
    /// Names of the partitioned tables that it is a part of.
    pub(crate) ancestors: Vec<(String, String)>,
    pub(crate) columns: Vec<TableColumn>,
    /// The publication's row filter.
    pub(crate) filter: Option<String>,
    /// Whether the role may read it.
    pub(crate) readable: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    pub(crate) of_type: TypeRef,
    pub(crate) not_null: bool,
    pub(crate) primary: bool,
    /// Part of the index of `REPLICA IDENTITY USING INDEX`.
    pub(crate) identity: bool,
    pub(crate) generated: bool,
}

impl Table {
    /// Quoted, for SQL.
    pub(crate) fn sql_name(&self) -> String {
        use crate::connection::identifier;
        format!("{}.{}", identifier(&self.schema), identifier(&self.name))
    }

    /// For people.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    pub(crate) fn has_primary_key(&self) -> bool {
        self.columns.iter().any(|column| column.primary)
    }

    /// True when a pattern names the table or a partitioned table above it.
    pub(crate) fn is_wanted(&self, options: &Checked) -> bool {
        let wanted =
            |schema: &str, name: &str| options.patterns.iter().any(|pattern| pattern.matches(schema, name));
        wanted(&self.schema, &self.name) || self.ancestors.iter().any(|(schema, name)| wanted(schema, name))
    }

    /// Indexes of the columns that identify a row, as the stream will have them: of the replica identity's index, else
    /// of the primary key.
    pub(crate) fn key(&self) -> Vec<usize> {
        let by_index = self.identity == b'i';
        let keyed = self.columns.iter().enumerate();
        keyed
            .filter(|(_, column)| if by_index { column.identity } else { column.primary })
            .map(|(at, _)| at)
            .collect()
    }
}

/// The catalog of one database, over a connection that is made again when it was left in the middle of a query.
pub(crate) struct Catalog {
    options: Arc<Checked>,
    connection: Option<Connection>,
    pub(crate) kinds: Kinds,
}

impl Catalog {
    pub(crate) async fn open(options: Arc<Checked>) -> Result<Catalog> {
        let connection = Connection::open(&options.target, Purpose::Sql).await?;
        Ok(Catalog { options, connection: Some(connection), kinds: Kinds::default() })
    }

    /// Runs a query. Cancel-safe: the connection of a dropped query is replaced at the next one.
    pub(crate) async fn query(&mut self, doing: &str, sql: &str) -> Result<Rows> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.options.target, Purpose::Sql).await?,
        };
        let result = connection.query(doing, sql).await;
        self.connection = (!connection.is_busy()).then_some(connection);
        result
    }

    /// The one value of the one row of `sql`.
    pub(crate) async fn value(&mut self, doing: &str, sql: &str) -> Result<Option<String>> {
        let rows = self.query(doing, sql).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    pub(crate) fn options(&self) -> &Checked {
        &self.options
    }

    pub(crate) fn version(&self) -> u32 {
        self.connection.as_ref().map_or(0, Connection::version)
    }

    /// All tables that the patterns want and that a publication can have. With `via_root` a partitioned table stands
    /// for its partitions.
    pub(crate) async fn wanted(&mut self) -> Result<Vec<Table>> {
        let mut tables = self
            .tables(
                "c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%' \
                 AND n.nspname <> 'information_schema'",
            )
            .await?;
        tables.retain(|table| table.is_wanted(&self.options));
        let names: HashSet<_> =
            tables.iter().map(|table| (table.schema.clone(), table.name.clone())).collect();
        // Publishing the root publishes the partitions, whatever the publication calls their changes.
        tables.retain(|table| !table.ancestors.iter().any(|ancestor| names.contains(ancestor)));
        Ok(tables)
    }

    /// The tables whose changes the publication gives, among those that are wanted, with the columns and the row filter
    /// that it has.
    pub(crate) async fn published(&mut self) -> Result<Vec<Table>> {
        let publication = literal(&self.options.publication);
        let detail = if self.version() >= 150_000 { "attnames::text, rowfilter" } else { "NULL, NULL" };
        let rows = self
            .query(
                "read publication",
                &format!("SELECT schemaname, tablename, {detail} FROM pg_publication_tables WHERE pubname = {publication}"),
            )
            .await?;
        let mut tables = self
            .tables(&format!(
                "(n.nspname, c.relname) IN (SELECT schemaname, tablename FROM pg_publication_tables \
                 WHERE pubname = {publication})"
            ))
            .await?;
        tables.retain(|table| table.is_wanted(&self.options));
        let newest = self.version() >= 180_000;
        for table in &mut tables {
            let mine = rows.iter().find(|row| text(row, 0) == table.schema && text(row, 1) == table.name);
            table.filter = mine.and_then(|row| row.get(3).cloned().flatten());
            let listed =
                mine.and_then(|row| row.get(2).cloned().flatten()).and_then(|names| name_list(&names));
            table.columns.retain(|column| {
                let listed = listed.as_ref().is_none_or(|names| names.contains(&column.name));
                // Before 18 generated columns are never sent; since then the list says.
                listed && (newest || !column.generated)
            });
        }
        Ok(tables)
    }

    /// The table of a relation message, if it still exists.
    pub(crate) async fn table(&mut self, oid: u32) -> Result<Option<Table>> {
        Ok(self.tables(&format!("c.oid = {oid}")).await?.pop())
    }

    async fn tables(&mut self, condition: &str) -> Result<Vec<Table>> {
        let rows = self
            .query(
                "read tables",
                &format!(
                    "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, \
                       CASE WHEN c.relkind = 'p' \
                         THEN (SELECT sum(greatest(l.reltuples, 0)) FROM pg_partition_tree(c.oid) t \
                               JOIN pg_class l ON l.oid = t.relid WHERE t.isleaf) \
                         ELSE greatest(c.reltuples, 0) END::int8, \
                       (SELECT string_agg(an.nspname || E'\\x01' || a.relname, E'\\x02') \
                          FROM pg_partition_ancestors(c.oid) p JOIN pg_class a ON a.oid = p.relid \
                          JOIN pg_namespace an ON an.oid = a.relnamespace WHERE c.relispartition AND a.oid <> c.oid), \
                       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') \
                     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE {condition} ORDER BY n.nspname, c.relname"
                ),
            )
            .await?;
        let mut tables = rows.iter().map(|row| read_table(row)).collect::<Result<Vec<_>>>()?;
        let oids: Vec<_> = tables.iter().map(|table| table.oid.to_string()).collect();
        if oids.is_empty() {
            return Ok(tables);
        }
        let columns = self.query("read columns", &columns_sql(&oids.join(", "))).await?;
        for row in &columns {
            let oid: u32 = number(row, 0)?;
            if let Some(table) = tables.iter_mut().find(|table| table.oid == oid) {
                table.columns.push(read_column(row)?);
            }
        }
        Ok(tables)
    }

    /// The schema of a table as the catalog has it, and how to read each column.
    pub(crate) async fn describe(&mut self, table: &Table) -> Result<Shape> {
        let types: Vec<_> = table.columns.iter().map(|column| column.of_type).collect();
        self.learn(&types).await?;
        let columns =
            table.columns.iter().map(|column| self.column(&column.name, column.of_type, !column.not_null));
        Ok(self.shape(&table.schema, &table.name, columns.collect(), table.key(), &types))
    }

    /// The schema of a relation message. Its columns are of the past, so that the catalog of the present only adds what
    /// the message does not say: types' names, NOT NULL, and the primary key when the replica identity is no key.
    pub(crate) async fn describe_relation(
        &mut self,
        relation: &Relation,
        table: Option<&Table>,
    ) -> Result<Shape> {
        let types: Vec<_> = relation
            .columns
            .iter()
            .map(|column| TypeRef { oid: column.type_oid, typmod: column.typmod })
            .collect();
        self.learn(&types).await?;
        let known =
            |name: &str| table.and_then(|table| table.columns.iter().find(|column| column.name == name));
        let columns = relation.columns.iter().zip(&types).map(|(column, of_type)| {
            let nullable = known(&column.name).is_none_or(|known| !known.not_null);
            self.column(&column.name, *of_type, nullable)
        });
        let columns = columns.collect();
        let flagged = matches!(relation.identity, b'd' | b'i');
        let keyed = relation.columns.iter().enumerate();
        let key = keyed.filter(|(_, column)| match flagged {
            true => column.key,
            false => known(&column.name).is_some_and(|known| known.primary),
        });
        let key = key.map(|(at, _)| at).collect();
        Ok(self.shape(&relation.schema, &relation.name, columns, key, &types))
    }

    fn column(&self, name: &str, of_type: TypeRef, nullable: bool) -> Column {
        let reading = self.kinds.reading(of_type.oid);
        Column {
            name: name.to_owned(),
            kind: reading.kind(),
            element: reading.element(),
            type_name: self.kinds.name(of_type).to_owned(),
            nullable,
        }
    }

    fn shape(
        &self,
        schema: &str,
        table: &str,
        columns: Vec<Column>,
        key: Vec<usize>,
        types: &[TypeRef],
    ) -> Shape {
        Shape {
            topic: format!("{}.{schema}.{table}", self.options.source).into(),
            schema: Arc::new(Schema { namespace: schema.to_owned(), table: table.to_owned(), columns, key }),
            readings: types.iter().map(|of_type| self.kinds.reading(of_type.oid)).collect(),
        }
    }

    async fn learn(&mut self, types: &[TypeRef]) -> Result<()> {
        while let Some(sql) = self.kinds.missing_types(types) {
            let rows = self.query("read types", &sql).await?;
            self.kinds.add_types(&rows)?;
        }
        if let Some(sql) = self.kinds.missing_names(types) {
            let rows = self.query("read type names", &sql).await?;
            self.kinds.add_names(&rows)?;
        }
        Ok(())
    }

    pub(crate) async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }
}

/// What is needed to turn the text of a row into a change.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) topic: Arc<str>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) readings: Vec<crate::types::Reading>,
}

fn columns_sql(oids: &str) -> String {
    let in_index = |which: &str| {
        // An index may carry columns that are no part of its key.
        format!(
            "EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.{which} \
             AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))"
        )
    };
    format!(
        "SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, a.attnotnull, {}, {}, a.attgenerated <> '' \
         FROM pg_attribute a WHERE a.attrelid IN ({oids}) AND a.attnum > 0 AND NOT a.attisdropped \
         ORDER BY a.attrelid, a.attnum",
        in_index("indisprimary"),
        in_index("indisreplident"),
    )
}

fn read_table(row: &[Option<String>]) -> Result<Table> {
    let ancestors = text(row, 6).split('\u{2}').filter_map(|pair| pair.split_once('\u{1}'));
    Ok(Table {
        oid: number(row, 0)?,
        schema: text(row, 1).to_owned(),
        name: text(row, 2).to_owned(),
        kind: text(row, 3).bytes().next().unwrap_or_default(),
        identity: text(row, 4).bytes().next().unwrap_or_default(),
        rows: text(row, 5).parse().unwrap_or_default(),
        ancestors: ancestors.map(|(schema, name)| (schema.to_owned(), name.to_owned())).collect(),
        columns: Vec::new(),
        filter: None,
        readable: flag(row, 7),
    })
}

fn read_column(row: &[Option<String>]) -> Result<TableColumn> {
    Ok(TableColumn {
        name: text(row, 1).to_owned(),
        of_type: TypeRef { oid: number(row, 2)?, typmod: number(row, 3)? },
        not_null: flag(row, 4),
        primary: flag(row, 5),
        identity: flag(row, 6),
        generated: flag(row, 7),
    })
}

/// A column of a row as text; empty for null.
pub(crate) fn text(row: &[Option<String>], at: usize) -> &str {
    row.get(at).and_then(Option::as_deref).unwrap_or_default()
}

pub(crate) fn flag(row: &[Option<String>], at: usize) -> bool {
    text(row, at) == "t"
}

pub(crate) fn number<T: std::str::FromStr>(row: &[Option<String>], at: usize) -> Result<T> {
    text(row, at).parse().map_err(|_| malformed("number of the catalog"))
}

/// The elements of a `name[]`.
fn name_list(names: &str) -> Option<Vec<String>> {
    let reading =
        crate::types::Reading::Array { element: Box::new(crate::types::Reading::Text), delimiter: b',' };
    let mut scratch = Vec::new();
    let Ok(connector_api::Value::Array(array)) = reading.read(names.as_bytes(), &mut scratch) else {
        return None;
    };
    let (_, elements) = array.open().ok()?;
    let mut list = Vec::new();
    for element in elements {
        match element {
            Ok(connector_api::Value::Text(name)) => list.push(name.to_owned()),
            _ => return None,
        }
    }
    Some(list)
}
