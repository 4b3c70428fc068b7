//! What keeps a target table from taking a topic, and how it is mended.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_api::{Error, Finding, Severity, Target};

use super::catalog::{Table, TableColumn};
use super::names::{list, qualified, quote};
use super::types::Type;

/// A table that a topic is to be written to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) schema: &'a str,
    pub(super) target: &'a Target,
}

/// What the sink may do about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    /// Tables are created and extended.
    pub(super) create: bool,
    /// The sink made this table: the types of its columns follow the source.
    pub(super) ours: bool,
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gap {
    Missing,
    NoTable,
    Grants(String),
    NoColumn(usize),
    Generated(usize),
    Numbered(usize),
    /// The column's type does not hold every value of the source's; it is to be changed to this one.
    Narrow(usize, String, Type),
    Required(String),
    Extra(String),
    NotUnique,
}

impl Wanted<'_> {
    /// The table's name, quoted.
    pub(super) fn table(&self) -> String {
        qualified(self.schema, &self.target.table)
    }

    fn column_type(&self, at: usize) -> Type {
        self.target.column(at).map_or_else(Type::text, Type::wanted)
    }

    fn key(&self) -> String {
        list(self.target.key_names().into_iter().map(quote))
    }

    /// `CREATE TABLE`. Only columns of the key are NOT NULL: a row of which the source left values out must have a
    /// place, and columns that the source drops stay behind without values.
    pub(super) fn create(&self) -> String {
        let column = |at: usize| {
            let constraint = if self.target.key.contains(&at) { " NOT NULL" } else { "" };
            format!("{} {}{constraint}", quote(self.target.name(at)), self.column_type(at))
        };
        let columns = (0..self.target.columns.len()).map(column);
        let key = (!self.target.key.is_empty()).then(|| format!("PRIMARY KEY ({})", self.key()));
        format!("CREATE TABLE {} ({})", self.table(), list(columns.chain(key)))
    }

    fn add(&self, at: usize) -> String {
        format!(
            "ALTER TABLE {} ADD COLUMN {} {}",
            self.table(),
            quote(self.target.name(at)),
            self.column_type(at)
        )
    }

    fn retype(&self, at: usize, to: &Type) -> String {
        let name = quote(self.target.name(at));
        format!("ALTER TABLE {} ALTER COLUMN {name} TYPE {to} USING {name}::{to}", self.table())
    }

    /// Everything that does not fit.
    pub(super) fn gaps(&self, table: Option<&Table>) -> Vec<Gap> {
        let Some(table) = table else { return vec![Gap::Missing] };
        if !table.is_table() {
            return vec![Gap::NoTable];
        }
        let mut gaps = Vec::new();
        if !table.missing.is_empty() {
            gaps.push(Gap::Grants(list(&table.missing)));
        }
        for at in 0..self.target.columns.len() {
            match table.column(self.target.name(at)) {
                None => gaps.push(Gap::NoColumn(at)),
                Some(column) if column.generated => gaps.push(Gap::Generated(at)),
                Some(column) => gaps.extend(self.column_gap(at, column)),
            }
        }
        let mapped = |name: &str| self.target.columns.iter().any(|(_, own)| own == name);
        for column in table.columns.iter().filter(|column| !mapped(&column.name) && !column.generated) {
            let name = column.name.clone();
            gaps.push(if column.required { Gap::Required(name) } else { Gap::Extra(name) });
        }
        let key = self.target.key_names();
        if !key.is_empty()
            && gaps.iter().all(|gap| !matches!(gap, Gap::NoColumn(_)))
            && !table.is_unique_by(&key)
        {
            gaps.push(Gap::NotUnique);
        }
        gaps
    }

    fn column_gap(&self, at: usize, column: &TableColumn) -> Option<Gap> {
        if column.identity_always && !self.target.key.contains(&at) {
            return Some(Gap::Numbered(at));
        }
        let wanted = self.column_type(at);
        let found = Type::parse(&column.declared);
        match &found {
            Some(found) if found.holds(&wanted) => None,
            // An enum, a domain or an extension's type: somebody chose it, and the server says what does not fit.
            None => None,
            Some(_) => Some(Gap::Narrow(at, column.declared.clone(), wanted.widened(found.as_ref()))),
        }
    }
}

impl Gap {
    /// The statement that mends it, when the sink may run it.
    pub(super) fn repair(&self, wanted: &Wanted<'_>, rights: Rights) -> Option<String> {
        match self {
            Gap::Missing if rights.create => Some(wanted.create()),
            Gap::NoColumn(at) if rights.create => Some(wanted.add(*at)),
            Gap::Narrow(at, _, to) if rights.create && rights.ours => Some(wanted.retype(*at, to)),
            _ => None,
        }
    }

    /// What the repair did, for people.
    pub(super) fn notice(&self, wanted: &Wanted<'_>) -> String {
        let table = &wanted.target.table;
        match self {
            Gap::Missing => format!("table {table:?} was created for topic {}", wanted.target.topic),
            Gap::NoColumn(at) => format!("table {table:?} gained column {:?}", wanted.target.name(*at)),
            Gap::Narrow(at, was, to) => {
                format!("table {table:?}: column {:?} was {was} and is {to} now", wanted.target.name(*at))
            }
            _ => String::new(),
        }
    }

    /// As a finding; `role` is who connects.
    pub(super) fn finding(&self, wanted: &Wanted<'_>, rights: Rights, role: &str) -> Finding {
        let Wanted { schema, target } = *wanted;
        let (table, topic) = (wanted.table(), &target.topic);
        let made = |severity, code, what: String| {
            Finding::new(severity, code, format!("{schema}.{}", target.table), what)
        };
        let error = |code, what: String| made(Severity::Error, code, what);
        let leave_out = format!("leave it out of `columns` of the rule for topic {topic}");
        match self {
            Gap::Missing => error("postgres-table-missing", "the table does not exist".into())
                .with_remedy(format!("{};", wanted.create())),
            Gap::NoTable => error("postgres-no-table", "it is not a table".into())
                .with_remedy(format!("give the rule for topic {topic} another `table`")),
            Gap::Grants(missing) => error("postgres-grant", format!("the role lacks {missing}"))
                .with_remedy(format!("GRANT {missing} ON {table} TO {};", quote(role))),
            Gap::NoColumn(at) => error("postgres-column-missing", format!("column {:?} does not exist", target.name(*at)))
                .with_remedy(format!("{};", wanted.add(*at))),
            Gap::Generated(at) => error(
                "postgres-column-generated",
                format!("column {:?} is computed and cannot be written", target.name(*at)),
            )
            .with_remedy(leave_out),
            Gap::Numbered(at) => error(
                "postgres-column-identity",
                format!("column {:?} numbers itself (GENERATED ALWAYS) and cannot be updated", target.name(*at)),
            )
            .with_remedy(format!(
                "ALTER TABLE {table} ALTER COLUMN {} SET GENERATED BY DEFAULT;",
                quote(target.name(*at))
            )),
            Gap::Narrow(at, was, to) => made(
                Severity::Warning,
                "postgres-type-narrow",
                format!(
                    "column {:?} is {was}: values of the source that it does not hold are rounded, cut or refused",
                    target.name(*at)
                ),
            )
            .with_remedy(format!("{};", wanted.retype(*at, to))),
            Gap::Required(name) => error(
                "postgres-column-required",
                format!("column {name:?} is NOT NULL without a default, and topic {topic} does not fill it"),
            )
            .with_remedy(format!("ALTER TABLE {table} ALTER COLUMN {} DROP NOT NULL;", quote(name))),
            Gap::Extra(name) => made(
                if rights.ours { Severity::Warning } else { Severity::Note },
                "postgres-column-extra",
                format!("column {name:?} is not filled by topic {topic}; it stays as it is"),
            ),
            Gap::NotUnique => error(
                "postgres-key-not-unique",
                format!("rows are not unique by the key of topic {topic} ({})", list(target.key_names())),
            )
            .with_remedy(format!("CREATE UNIQUE INDEX ON {table} ({});", wanted.key())),
        }
    }

    /// As an error that stops the sink; `None` for what it can live with.
    pub(super) fn error(&self, wanted: &Wanted<'_>, rights: Rights, role: &str) -> Option<Error> {
        let finding = self.finding(wanted, rights, role);
        if finding.severity != Severity::Error {
            return None;
        }
        let error = Error::config(format!(
            "map topic {} to {}: {}",
            wanted.target.topic, finding.place, finding.what
        ));
        Some(match finding.remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        })
    }
}
