//! What lies between a target table as it is and as a topic needs it, in words for `check` and for errors alike.

use connector_api::{Error, Finding, Severity};

use crate::catalog::{Object, Table};
use crate::ddl::{Wanted, declared};
use crate::sql::quote;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// There is no such table.
    NoTable,
    /// The name belongs to something that is not a table.
    NotATable(String),
    /// A target column (by index) is missing.
    NoColumn(usize),
    /// A target column (by index) is computed by the database.
    Generated(usize),
    /// A target column (by index) of a declared type that would change the values.
    Changes(usize, String),
    /// A column that the topic does not fill, and that may not stay empty.
    Required(String),
    /// A column that the topic does not fill.
    Extra(String),
    /// Rows are not unique by the key.
    NotUnique,
    /// A table whose topic has no key needs row numbers.
    NoRowNumbers,
}

/// Who may change the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// `create_tables`: create, and add columns.
    pub create: bool,
    /// The table was created by a sink: its columns may be rebuilt.
    pub ours: bool,
}

/// The differences, worst first where one implies others.
pub fn gaps(wanted: &Wanted<'_>, object: &Object) -> Vec<Gap> {
    match object {
        Object::Missing => vec![Gap::NoTable],
        Object::Other(kind) => vec![Gap::NotATable(kind.clone())],
        Object::Table(table) => table_gaps(wanted, table),
    }
}

fn table_gaps(wanted: &Wanted<'_>, table: &Table) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for at in 0..wanted.target.columns.len() {
        match table.column(wanted.name(at)) {
            None => gaps.push(Gap::NoColumn(at)),
            Some(column) if column.generated => gaps.push(Gap::Generated(at)),
            Some(column) if !column.keeps(wanted.kind(at)) => {
                gaps.push(Gap::Changes(at, column.declared.clone()));
            }
            Some(_) => {}
        }
    }
    let filled = |name: &str| wanted.target.columns.iter().any(|(_, other)| other.eq_ignore_ascii_case(name));
    for column in table.columns.iter().filter(|column| !column.generated && !filled(&column.name)) {
        // The row number fills itself.
        let numbered = column.primary == 1 && column.declared.eq_ignore_ascii_case("INTEGER");
        gaps.push(match column.required && !numbered {
            true => Gap::Required(column.name.clone()),
            false => Gap::Extra(column.name.clone()),
        });
    }
    let key = wanted.key();
    if key.is_empty() && table.rowid().is_none() {
        gaps.push(Gap::NoRowNumbers);
    }
    if !key.is_empty() && !table.is_unique_by(&key) {
        gaps.push(Gap::NotUnique);
    }
    gaps
}

impl Gap {
    /// The statements that close the gap, where the sink may run them.
    pub fn repair(&self, wanted: &Wanted<'_>, rights: Rights) -> Option<Vec<String>> {
        match self {
            Gap::NoTable if rights.create => Some(vec![wanted.create_table()]),
            Gap::NoColumn(at) if rights.create && !wanted.target.key.contains(at) => {
                Some(vec![wanted.add_column(*at)])
            }
            Gap::Changes(at, _) if rights.create && rights.ours && !wanted.target.key.contains(at) => {
                Some(wanted.retype(*at))
            }
            _ => None,
        }
    }

    /// What a person reads when the sink closed the gap.
    pub fn repaired(&self, wanted: &Wanted<'_>) -> String {
        let table = &wanted.target.table;
        match self {
            Gap::NoColumn(at) => {
                let kind = declared(wanted.kind(*at));
                format!("added column {:?} {kind} to table {table:?}", wanted.name(*at))
            }
            Gap::Changes(at, was) => format!(
                "column {:?} of table {table:?} was {was} and is {} now; rows from before keep their values until they \
                 change in the source",
                wanted.name(*at),
                declared(wanted.kind(*at)),
            ),
            _ => format!("created table {table:?} for topic {}", wanted.target.topic),
        }
    }

    /// What a person reads when the gap stays. A gap of [`Severity::Error`] stops the sink.
    pub fn finding(&self, wanted: &Wanted<'_>, rights: Rights) -> Finding {
        let table = &wanted.target.table;
        let place = format!("table {table:?}");
        let found = |severity, code, what: String| Finding::new(severity, code, &place, what);
        let error = |code, what| found(Severity::Error, code, what);
        match self {
            Gap::NoTable => error("sqlite-table-missing", "the table does not exist".to_owned())
                .with_remedy(format!("{};", wanted.create_table())),
            Gap::NotATable(kind) => error(
                "sqlite-not-a-table",
                format!("the name belongs to a {kind}, which cannot be upserted into"),
            )
            .with_remedy(format!("give the rule for topic {} another `table`", wanted.target.topic)),
            Gap::NoColumn(at) => {
                error("sqlite-column-missing", format!("column {:?} does not exist", wanted.name(*at)))
                    .with_remedy(format!("{};", wanted.add_column(*at)))
            }
            Gap::Generated(at) => error(
                "sqlite-column-generated",
                format!("column {:?} is computed and cannot be written", wanted.name(*at)),
            )
            .with_remedy(format!("leave it out of `columns` of the rule for topic {}", wanted.target.topic)),
            Gap::Changes(at, was) => self.changes(wanted, rights, *at, was, &place),
            Gap::Required(name) => error(
                "sqlite-column-required",
                format!(
                    "column {name:?} is NOT NULL without a default, and topic {} does not fill it",
                    wanted.target.topic
                ),
            )
            .with_remedy(format!(
                "rebuild the table with a default for {}, or map a source column to it",
                quote(name)
            )),
            Gap::Extra(name) => {
                let what = format!(
                    "column {name:?} is not filled by topic {}; it stays as it is",
                    wanted.target.topic
                );
                found(
                    if rights.ours { Severity::Warning } else { Severity::Note },
                    "sqlite-column-extra",
                    what,
                )
            }
            Gap::NotUnique => error(
                "sqlite-key-not-unique",
                format!(
                    "rows are not unique by the key of topic {} ({})",
                    wanted.target.topic,
                    wanted.key().join(", ")
                ),
            )
            .with_remedy(format!("{};", wanted.unique_index())),
            Gap::NoRowNumbers => error(
                "sqlite-without-rowid",
                format!(
                    "topic {} has no key, and the table has no row numbers to tell equal rows apart",
                    wanted.target.topic
                ),
            )
            .with_remedy("rebuild the table without WITHOUT ROWID"),
        }
    }

    fn changes(&self, wanted: &Wanted<'_>, rights: Rights, at: usize, was: &str, place: &str) -> Finding {
        let kind = wanted.kind(at);
        let what = format!(
            "column {:?} is declared {was}, and SQLite converts {} values that are written to it",
            wanted.name(at),
            kind.as_str()
        );
        let of_key = wanted.target.key.contains(&at);
        // Somebody else's table may well want the conversion; our own would hold what the source does not.
        let severity = if rights.ours || of_key { Severity::Error } else { Severity::Warning };
        let finding = Finding::new(severity, "sqlite-type-converts", place, what);
        match of_key {
            true => finding.with_remedy(format!(
                "ALTER TABLE {} RENAME TO {}; and fill the table again: millstream offsets CONFIG reset SINK --topic {} \
                 --to earliest",
                wanted.table(),
                quote(&format!("{}_old", wanted.target.table)),
                wanted.target.topic
            )),
            false => finding.with_remedy(format!("{};", wanted.retype(at).join("; "))),
        }
    }

    /// The gap as an error that stops the sink.
    pub fn error(&self, wanted: &Wanted<'_>, rights: Rights) -> Error {
        let finding = self.finding(wanted, rights);
        let error = Error::config(format!(
            "map topic {} to {}: {}",
            wanted.target.topic, finding.place, finding.what
        ));
        match finding.remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        }
    }
}
