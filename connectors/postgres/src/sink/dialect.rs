//! PostgreSQL as `connector_sql` asks about it: names, types, and what may be wrong with a table here and nowhere else.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_api::{Column, Severity};
use connector_sql::names::list;
use connector_sql::{Codes, Dialect, Flaw, Gap, Table, TableColumn, Wanted};

use super::names::{NAME_BYTES_MAX, qualified, quote};
use super::types::Type;

/// The SQL of one schema.
#[derive(Debug, Clone)]
pub(super) struct Sql {
    pub(super) schema: String,
}

/// What PostgreSQL knows of a column.
#[derive(Debug, Clone)]
pub(super) struct ColumnFacts {
    /// The type below all domains.
    pub(super) base: u32,
    /// Its name as SQL, without modifiers: `"pg_catalog"."bpchar"`.
    pub(super) base_sql: String,
    /// For an array: the type of its elements below all domains, and what stands between them in text.
    pub(super) element: Option<(u32, char)>,
    /// `GENERATED ALWAYS AS IDENTITY`: it can be inserted, not updated.
    pub(super) identity_always: bool,
    /// Texts that differ are different to it: no collation that takes some for equal.
    pub(super) deterministic: bool,
    /// Its collation, quoted; empty for a type that has none.
    pub(super) collation: String,
    /// The extension's type of texts without case.
    pub(super) citext: bool,
}

/// What PostgreSQL knows of a table.
#[derive(Debug, Clone)]
pub(super) struct TableFacts {
    pub(super) oid: u32,
    pub(super) partitioned: bool,
    /// Row-level security applies to the role: COPY is not allowed then.
    pub(super) secured: bool,
    /// The role may change the table itself.
    pub(super) owned: bool,
    /// The role may truncate it, and no foreign key refers to it.
    pub(super) truncatable: bool,
    /// Grants that the role lacks, of those that the sink needs.
    pub(super) missing: Vec<&'static str>,
    pub(super) role: String,
}

impl Sql {
    /// A target's table with its schema, quoted.
    fn table(&self, wanted: &Wanted<'_, Self>) -> String {
        qualified(&self.schema, &wanted.target.table)
    }
}

impl Dialect for Sql {
    type ColumnFacts = ColumnFacts;
    type TableFacts = TableFacts;

    const PRODUCT: &'static str = "PostgreSQL";
    const CODES: &'static Codes = &connector_sql::codes!("postgres");
    const COLUMNS_MAX: usize = 1_600;

    /// A longer name would be cut off, and two names would become one.
    fn refuses_name(&self, name: &str) -> Option<String> {
        match name {
            "" => Some("it is empty".to_owned()),
            name if name.contains('\0') => Some("PostgreSQL allows no zero byte in a name".to_owned()),
            name if name.len() > NAME_BYTES_MAX => {
                Some(format!("it has {} bytes, and PostgreSQL keeps {NAME_BYTES_MAX} of a name", name.len()))
            }
            _ => None,
        }
    }

    fn fold(&self, name: &str) -> String {
        name.to_owned()
    }

    fn declared(&self, column: &Column, _key: bool) -> String {
        Type::wanted(column).to_string()
    }

    /// What a narrower column does to values is said by `column_gap`, which knows what to make of it.
    fn keeps(&self, _found: &TableColumn<Self>, _column: &Column, _key: bool) -> bool {
        true
    }

    fn column_gap(&self, wanted: &Wanted<'_, Self>, column: usize, found: &TableColumn<Self>) -> Option<Gap> {
        if found.facts.identity_always && !wanted.target.key.contains(&column) {
            return Some(Gap::Own(self.numbered(wanted, column)));
        }
        let needed = wanted.target.column(column).map_or_else(Type::text, Type::wanted);
        // An enum, a domain or an extension's type: somebody chose it, and the server says what does not fit.
        let known = Type::parse(&found.declared)?;
        let to = needed.widened(Some(&known));
        (!known.holds(&needed)).then(|| Gap::Own(self.narrow(wanted, column, &found.declared, &to)))
    }

    fn table_gaps(&self, wanted: &Wanted<'_, Self>, table: &Table<Self>) -> Vec<Gap> {
        if table.facts.missing.is_empty() {
            return Vec::new();
        }
        let missing = list(table.facts.missing.iter());
        vec![Gap::Own(Flaw {
            code: "postgres-grant",
            severity: Severity::Error,
            what: format!("the role lacks {missing}"),
            remedy: Some(format!(
                "GRANT {missing} ON {} TO {};",
                self.table(wanted),
                quote(&table.facts.role)
            )),
            repair: None,
            ours_only: false,
        })]
    }

    fn add_column(&self, wanted: &Wanted<'_, Self>, column: usize) -> String {
        let name = quote(wanted.name(column));
        format!("ALTER TABLE {} ADD COLUMN {name} {}", self.table(wanted), wanted.declared(column))
    }

    fn retype(&self, _wanted: &Wanted<'_, Self>, _column: usize) -> Option<Vec<String>> {
        None
    }

    fn unique_index(&self, wanted: &Wanted<'_, Self>) -> String {
        format!("CREATE UNIQUE INDEX ON {} ({})", self.table(wanted), wanted.key_list())
    }

    fn create_table(&self, wanted: &Wanted<'_, Self>) -> String {
        let column = |at| format!("{} {}", quote(wanted.name(at)), self.definition(wanted, at));
        let columns = (0..wanted.target.columns.len()).map(column);
        let key = (!wanted.target.key.is_empty()).then(|| format!("PRIMARY KEY ({})", wanted.key_list()));
        format!("CREATE TABLE {} ({})", self.table(wanted), list(columns.chain(key)))
    }
}

impl Sql {
    fn numbered(&self, wanted: &Wanted<'_, Self>, column: usize) -> Flaw {
        let name = wanted.name(column);
        Flaw {
            code: "postgres-column-identity",
            severity: Severity::Error,
            what: format!("column {name:?} numbers itself (GENERATED ALWAYS) and cannot be updated"),
            remedy: Some(format!(
                "ALTER TABLE {} ALTER COLUMN {} SET GENERATED BY DEFAULT;",
                self.table(wanted),
                quote(name)
            )),
            repair: None,
            ours_only: false,
        }
    }

    /// The column's type does not hold every value of the source's. In a table of ours it follows the source.
    fn narrow(&self, wanted: &Wanted<'_, Self>, column: usize, was: &str, to: &Type) -> Flaw {
        let (name, table) = (wanted.name(column), &wanted.target.table);
        let quoted = quote(name);
        let sql = format!(
            "ALTER TABLE {} ALTER COLUMN {quoted} TYPE {to} USING {quoted}::{to}",
            self.table(wanted)
        );
        Flaw {
            code: "postgres-type-narrow",
            severity: Severity::Warning,
            what: format!(
                "column {name:?} is {was}: values of the source that it does not hold are rounded, cut or refused"
            ),
            remedy: Some(format!("{sql};")),
            repair: Some((
                vec![sql],
                format!(
                    "column {name:?} of table {table:?} was {was} and is {to} now; rows from before keep their values until \
                     they change in the source"
                ),
            )),
            ours_only: true,
        }
    }
}
