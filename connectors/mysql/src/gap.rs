//! What lies between a target table as it is and as a topic needs it, in words for `check` and for errors alike.

use connector_api::{Error, Finding, Severity, ValueKind};

use crate::catalog::{Object, Table, TableColumn, same_column};
use crate::ddl::Wanted;
use crate::sql::quote;
use crate::types::{charset, is_exact};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// There is no such table.
    NoTable,
    /// The name belongs to something that is not a table.
    NotATable(String),
    /// An engine without transactions.
    Engine(String),
    /// A target column (by index) is missing.
    NoColumn(usize),
    /// A target column (by index) is computed by the database.
    Generated(usize),
    /// A target column (by index) of a declared type that cannot keep values of its kind.
    Changes(usize, String),
    /// A target column (by index) of a declared type with less room than the source's.
    Narrow(usize, String),
    /// A column of the key (by index) that may be NULL, and what mends it.
    Nullable(usize, String),
    /// A column of the key (by index) whose collation takes different texts for one, and what mends it.
    Inexact(usize, String, String),
    /// A text column (by index) with a character set that has not all characters, and what mends it.
    Charset(usize, String, String),
    /// A column that the topic does not fill, and that may not stay empty.
    Required(String),
    /// A column that the topic does not fill.
    Extra(String),
    /// Rows are not unique by the key.
    NotUnique,
}

/// Who may change the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// `create_tables`: create, and add columns.
    pub create: bool,
    /// The table was created by a sink: its columns may be changed.
    pub ours: bool,
}

/// The differences, worst first where one implies others.
pub fn gaps(wanted: &Wanted<'_>, object: &Object) -> Vec<Gap> {
    match object {
        Object::Missing => vec![Gap::NoTable],
        Object::Other(kind) => vec![Gap::NotATable(kind.clone())],
        // Without transactions the cursor would not follow the data (I3).
        Object::Table(table) if !table.engine.eq_ignore_ascii_case("InnoDB") => {
            vec![Gap::Engine(table.engine.clone())]
        }
        Object::Table(table) => table_gaps(wanted, table),
    }
}

fn table_gaps(wanted: &Wanted<'_>, table: &Table) -> Vec<Gap> {
    let mut gaps = Vec::new();
    for at in 0..wanted.target.columns.len() {
        match table.column(wanted.name(at)) {
            None => gaps.push(Gap::NoColumn(at)),
            Some(column) => gaps.extend(column_gap(wanted, at, column)),
        }
    }
    let filled = |name: &str| wanted.target.columns.iter().any(|(_, other)| same_column(other, name));
    for column in table.columns.iter().filter(|column| !column.generated && !filled(&column.name)) {
        gaps.push(match column.required {
            true => Gap::Required(column.name.clone()),
            false => Gap::Extra(column.name.clone()),
        });
    }
    if !wanted.target.key.is_empty() && !table.is_unique_by(&wanted.key()) {
        gaps.push(Gap::NotUnique);
    }
    gaps
}

fn column_gap(wanted: &Wanted<'_>, at: usize, column: &TableColumn) -> Option<Gap> {
    let kind = wanted.target.column(at).map_or(ValueKind::Text, |column| column.kind);
    let of_key = wanted.target.key.contains(&at);
    // Values of other kinds have one form each, so that no two of them are equal without case.
    let free = matches!(kind, ValueKind::Text | ValueKind::Json | ValueKind::Array);
    let declared = || column.declared.clone();
    // The type stays the owner's.
    let alter = |charset: &str| {
        let null = if of_key || !column.nullable { "NOT NULL" } else { "NULL" };
        format!(
            "ALTER TABLE {} MODIFY COLUMN {} {}{charset} {null}",
            wanted.table(),
            quote(&column.name),
            column.declared
        )
    };
    let exact = || alter(&format!(" {}", charset(wanted.server)));
    Some(match () {
        () if column.generated => Gap::Generated(at),
        () if !column.form.takes(kind) => Gap::Changes(at, declared()),
        () if of_key && column.nullable => Gap::Nullable(at, if free { exact() } else { alter("") }),
        () if of_key && free && !is_exact(&column.collation) => {
            Gap::Inexact(at, column.collation.clone(), exact())
        }
        () if (!of_key || !free) && !column.form.covers(wanted.declared(at).form) => {
            Gap::Narrow(at, declared())
        }
        () if free && !matches!(column.charset.as_str(), "" | "utf8mb4" | "binary") => {
            Gap::Charset(at, column.charset.clone(), exact())
        }
        () => return None,
    })
}

impl Gap {
    /// The statement that closes the gap, where the sink may run it.
    pub fn repair(&self, wanted: &Wanted<'_>, rights: Rights) -> Option<String> {
        let of_key = |at: &usize| wanted.target.key.contains(at);
        match self {
            Gap::NoTable if rights.create => Some(wanted.create_table()),
            Gap::NoColumn(at) if rights.create && !of_key(at) => Some(wanted.add_column(*at)),
            Gap::Changes(at, _) if rights.create && rights.ours && !of_key(at) => Some(wanted.retype(*at)),
            Gap::Narrow(at, _) if rights.create && rights.ours => Some(wanted.retype(*at)),
            _ => None,
        }
    }

    /// What a person reads when the sink closed the gap.
    pub fn repaired(&self, wanted: &Wanted<'_>) -> String {
        let table = &wanted.target.table;
        match self {
            Gap::NoColumn(at) => {
                format!("added column {:?} {} to table {table:?}", wanted.name(*at), wanted.declared(*at).sql)
            }
            Gap::Changes(at, was) | Gap::Narrow(at, was) => format!(
                "column {:?} of table {table:?} was {was} and is {} now",
                wanted.name(*at),
                wanted.declared(*at).sql
            ),
            _ => format!("created table {table:?} for topic {}", wanted.target.topic),
        }
    }

    fn severity(&self, rights: Rights) -> Severity {
        match self {
            Gap::Extra(_) if !rights.ours => Severity::Note,
            // What does not fit is refused, row by row.
            Gap::Extra(_) | Gap::Narrow(..) | Gap::Charset(..) => Severity::Warning,
            _ => Severity::Error,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Gap::NoTable => "mysql-table-missing",
            Gap::NotATable(_) => "mysql-not-a-table",
            Gap::Engine(_) => "mysql-engine",
            Gap::NoColumn(_) => "mysql-column-missing",
            Gap::Generated(_) => "mysql-column-generated",
            Gap::Changes(..) => "mysql-type-converts",
            Gap::Narrow(..) => "mysql-type-narrow",
            Gap::Nullable(..) => "mysql-key-nullable",
            Gap::Inexact(..) => "mysql-key-collation",
            Gap::Charset(..) => "mysql-charset",
            Gap::Required(_) => "mysql-column-required",
            Gap::Extra(_) => "mysql-column-extra",
            Gap::NotUnique => "mysql-key-not-unique",
        }
    }

    fn what(&self, wanted: &Wanted<'_>) -> String {
        let topic = &wanted.target.topic;
        let kind = |at: &usize| wanted.target.column(*at).map_or("text", |column| column.kind.as_str());
        match self {
            Gap::NoTable => "the table does not exist".to_owned(),
            Gap::NotATable(kind) => format!("the name belongs to a {kind}, which cannot be upserted into"),
            Gap::Engine(engine) => {
                format!(
                    "its engine is {engine}, which has no transactions: the cursor would not follow the data"
                )
            }
            Gap::NoColumn(at) => format!("column {:?} does not exist", wanted.name(*at)),
            Gap::Generated(at) => format!("column {:?} is computed and cannot be written", wanted.name(*at)),
            Gap::Changes(at, was) => format!(
                "column {:?} is declared {was}, which cannot keep {} values as they are",
                wanted.name(*at),
                kind(at)
            ),
            Gap::Narrow(at, was) => format!(
                "column {:?} is declared {was}, which has less room than the source's type; what does not fit is refused",
                wanted.name(*at)
            ),
            Gap::Nullable(at, _) => format!("column {:?} is of the key and may be NULL", wanted.name(*at)),
            Gap::Inexact(at, collation, _) => format!(
                "column {:?} is of the key, and collation {collation} takes different texts for one (case, or blanks at \
                 the end): two rows would become one",
                wanted.name(*at)
            ),
            Gap::Charset(at, charset, _) => format!(
                "column {:?} has character set {charset}; texts with other characters are refused",
                wanted.name(*at)
            ),
            Gap::Required(name) => {
                format!("column {name:?} is NOT NULL without a default, and topic {topic} does not fill it")
            }
            Gap::Extra(name) => format!("column {name:?} is not filled by topic {topic}; it stays as it is"),
            Gap::NotUnique => {
                format!("rows are not unique by the key of topic {topic} ({})", wanted.key().join(", "))
            }
        }
    }

    fn remedy(&self, wanted: &Wanted<'_>) -> Option<String> {
        let rule = |what: &str| Some(format!("{what} in the rule for topic {}", wanted.target.topic));
        match self {
            Gap::NoTable => Some(format!("{};", wanted.create_table())),
            Gap::NotATable(_) => rule("give another `table`"),
            Gap::Engine(_) => Some(format!("ALTER TABLE {} ENGINE = InnoDB;", wanted.table())),
            Gap::NoColumn(at) => Some(format!("{};", wanted.add_column(*at))),
            Gap::Generated(_) => rule("leave the column out of `columns`"),
            Gap::Changes(at, _) | Gap::Narrow(at, _) => Some(format!("{};", wanted.retype(*at))),
            Gap::Nullable(_, mend) | Gap::Inexact(_, _, mend) | Gap::Charset(_, _, mend) => {
                Some(format!("{mend};"))
            }
            Gap::Required(name) => Some(format!(
                "ALTER TABLE {} ALTER COLUMN {} SET DEFAULT VALUE; or map a source column to it",
                wanted.table(),
                quote(name)
            )),
            Gap::Extra(_) => None,
            Gap::NotUnique => Some(format!("{};", wanted.unique_index())),
        }
    }

    /// What a person reads when the gap stays. A gap of [`Severity::Error`] stops the sink.
    pub fn finding(&self, wanted: &Wanted<'_>, rights: Rights) -> Finding {
        let place = format!("table {:?}", wanted.target.table);
        let finding = Finding::new(self.severity(rights), self.code(), place, self.what(wanted));
        match self.remedy(wanted) {
            Some(remedy) => finding.with_remedy(remedy),
            None => finding,
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
