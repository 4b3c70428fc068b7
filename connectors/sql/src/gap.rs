//! What lies between a target table as it is and as a topic needs it, in words for `check` and for errors alike.

use connector_api::{Error, Finding, Severity};

use crate::catalog::{Object, Table};
use crate::ddl::Wanted;
use crate::dialect::Dialect;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// There is no such table.
    NoTable,
    /// The name belongs to something that is not a table.
    NotATable(String),
    /// A target column (by index) is missing.
    NoColumn(usize),
    /// A target column (by index) is computed by the system.
    Generated(usize),
    /// A target column (by index) of a declared type that does not keep the values.
    Changes(usize, String),
    /// A column that the topic does not fill, and that may not stay empty.
    Required(String),
    /// A column that the topic does not fill.
    Extra(String),
    /// Rows are not unique by the key.
    NotUnique,
    /// What only one system has.
    Own(Flaw),
}

/// A difference that only one system has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Its code, with the system's prefix.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, one sentence.
    pub what: String,
    /// What a person can do.
    pub remedy: Option<String>,
    /// The statements that mend it, and what a person reads then.
    pub repair: Option<(Vec<String>, String)>,
    /// The statements may be run only in tables that a sink created.
    pub ours_only: bool,
}

/// Who may change the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// `create_tables`: create, and add columns.
    pub create: bool,
    /// The table was created by a sink: its columns may be rebuilt.
    pub ours: bool,
}

/// The codes of the differences that every system has.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Codes {
    pub table_missing: &'static str,
    pub not_a_table: &'static str,
    pub column_missing: &'static str,
    pub column_generated: &'static str,
    pub type_converts: &'static str,
    pub column_required: &'static str,
    pub column_extra: &'static str,
    pub key_not_unique: &'static str,
}

/// The [`Codes`] with a system's prefix.
#[macro_export]
macro_rules! codes {
    ($prefix:literal) => {
        $crate::Codes {
            table_missing: concat!($prefix, "-table-missing"),
            not_a_table: concat!($prefix, "-not-a-table"),
            column_missing: concat!($prefix, "-column-missing"),
            column_generated: concat!($prefix, "-column-generated"),
            type_converts: concat!($prefix, "-type-converts"),
            column_required: concat!($prefix, "-column-required"),
            column_extra: concat!($prefix, "-column-extra"),
            key_not_unique: concat!($prefix, "-key-not-unique"),
        }
    };
}

/// The differences, worst first where one implies others.
pub fn gaps<D: Dialect>(wanted: &Wanted<'_, D>, object: &Object<D>) -> Vec<Gap> {
    match object {
        Object::Missing => vec![Gap::NoTable],
        Object::Other(kind) => vec![Gap::NotATable(kind.clone())],
        Object::Table(table) => table_gaps(wanted, table),
    }
}

fn table_gaps<D: Dialect>(wanted: &Wanted<'_, D>, table: &Table<D>) -> Vec<Gap> {
    let Wanted { target, dialect } = *wanted;
    let mut gaps = Vec::new();
    for at in 0..target.columns.len() {
        let keeps = |found| {
            let column = target.column(at);
            column.is_none_or(|column| dialect.keeps(found, column, target.key.contains(&at)))
        };
        gaps.extend(match table.column(dialect, wanted.name(at)) {
            None => Some(Gap::NoColumn(at)),
            Some(found) if found.generated => Some(Gap::Generated(at)),
            Some(found) if !keeps(found) => Some(Gap::Changes(at, found.declared.clone())),
            Some(found) => dialect.column_gap(wanted, at, found),
        });
    }
    let filled = |name: &str| target.columns.iter().any(|(_, other)| dialect.same_column(other, name));
    for column in table.columns.iter().filter(|column| !column.generated && !filled(&column.name)) {
        gaps.push(match column.required {
            true => Gap::Required(column.name.clone()),
            false => Gap::Extra(column.name.clone()),
        });
    }
    gaps.extend(dialect.table_gaps(wanted, table));
    let key = wanted.key();
    if !key.is_empty() && !table.is_unique_by(dialect, &key) {
        gaps.push(Gap::NotUnique);
    }
    gaps
}

impl Gap {
    /// The statements that close the gap, where the sink may run them.
    pub fn repair<D: Dialect>(&self, wanted: &Wanted<'_, D>, rights: Rights) -> Option<Vec<String>> {
        let of_key = |at: &usize| wanted.target.key.contains(at);
        match self {
            _ if !rights.create => None,
            Gap::NoTable => Some(vec![wanted.dialect.create_table(wanted)]),
            Gap::NoColumn(at) if !of_key(at) => Some(vec![wanted.dialect.add_column(wanted, *at)]),
            Gap::Changes(at, _) if rights.ours && !of_key(at) => wanted.dialect.retype(wanted, *at),
            Gap::Own(flaw) if rights.ours || !flaw.ours_only => {
                flaw.repair.as_ref().map(|(statements, _)| statements.clone())
            }
            _ => None,
        }
    }

    /// What a person reads when the sink closed the gap.
    pub fn repaired<D: Dialect>(&self, wanted: &Wanted<'_, D>) -> String {
        let table = &wanted.target.table;
        match self {
            Gap::NoColumn(at) => {
                format!("added column {:?} {} to table {table:?}", wanted.name(*at), wanted.declared(*at))
            }
            Gap::Changes(at, was) => format!(
                "column {:?} of table {table:?} was {was} and is {} now; rows from before keep their values until they \
                 change in the source",
                wanted.name(*at),
                wanted.declared(*at),
            ),
            Gap::Own(Flaw { repair: Some((_, done)), .. }) => done.clone(),
            _ => format!("created table {table:?} for topic {}", wanted.target.topic),
        }
    }

    fn code<D: Dialect>(&self) -> &'static str {
        match self {
            Gap::NoTable => D::CODES.table_missing,
            Gap::NotATable(_) => D::CODES.not_a_table,
            Gap::NoColumn(_) => D::CODES.column_missing,
            Gap::Generated(_) => D::CODES.column_generated,
            Gap::Changes(..) => D::CODES.type_converts,
            Gap::Required(_) => D::CODES.column_required,
            Gap::Extra(_) => D::CODES.column_extra,
            Gap::NotUnique => D::CODES.key_not_unique,
            Gap::Own(flaw) => flaw.code,
        }
    }

    fn severity<D: Dialect>(&self, wanted: &Wanted<'_, D>, rights: Rights) -> Severity {
        match self {
            // Somebody else's table may well want the conversion; our own would hold what the source does not.
            Gap::Changes(at, _) if D::CONVERTS && !rights.ours && !wanted.target.key.contains(at) => {
                Severity::Warning
            }
            Gap::Extra(_) if rights.ours => Severity::Warning,
            Gap::Extra(_) => Severity::Note,
            Gap::Own(flaw) => flaw.severity,
            _ => Severity::Error,
        }
    }

    fn what<D: Dialect>(&self, wanted: &Wanted<'_, D>) -> String {
        let topic = &wanted.target.topic;
        match self {
            Gap::NoTable => "the table does not exist".to_owned(),
            Gap::NotATable(kind) => format!("the name belongs to a {kind}, which cannot be upserted into"),
            Gap::NoColumn(at) => format!("column {:?} does not exist", wanted.name(*at)),
            Gap::Generated(at) => format!("column {:?} is computed and cannot be written", wanted.name(*at)),
            Gap::Changes(at, was) => format!(
                "column {:?} is declared {was}, which does not keep {} values as they are",
                wanted.name(*at),
                wanted.kind(*at).as_str()
            ),
            Gap::Required(name) => {
                format!("column {name:?} is NOT NULL without a default, and topic {topic} does not fill it")
            }
            Gap::Extra(name) => format!("column {name:?} is not filled by topic {topic}; it stays as it is"),
            Gap::NotUnique => {
                format!("rows are not unique by the key of topic {topic} ({})", wanted.key().join(", "))
            }
            Gap::Own(flaw) => flaw.what.clone(),
        }
    }

    fn remedy<D: Dialect>(&self, wanted: &Wanted<'_, D>) -> Option<String> {
        let Wanted { target, dialect } = *wanted;
        let topic = &target.topic;
        Some(match self {
            Gap::NoTable => format!("{};", dialect.create_table(wanted)),
            Gap::NotATable(_) => format!("give the rule for topic {topic} another `table`"),
            Gap::NoColumn(at) => format!("{};", dialect.add_column(wanted, *at)),
            Gap::Generated(_) => format!("leave it out of `columns` of the rule for topic {topic}"),
            Gap::Changes(at, _) => match dialect.retype(wanted, *at) {
                Some(statements) => format!("{};", statements.join("; ")),
                None => format!(
                    "ALTER TABLE {} RENAME TO {}; and fill the table again: millstream offsets CONFIG reset SINK --topic \
                     {topic} --to earliest",
                    wanted.table(),
                    dialect.quote(&format!("{}_old", target.table)),
                ),
            },
            Gap::Required(name) => {
                let name = dialect.quote(name);
                format!(
                    "give {name} a default, or map a source column to it in `columns` of the rule for topic {topic}"
                )
            }
            Gap::Extra(_) => return None,
            Gap::NotUnique => format!("{};", dialect.unique_index(wanted)),
            Gap::Own(flaw) => return flaw.remedy.clone(),
        })
    }

    /// What a person reads when the gap stays. A gap of [`Severity::Error`] stops the sink.
    pub fn finding<D: Dialect>(&self, wanted: &Wanted<'_, D>, rights: Rights) -> Finding {
        let place = format!("table {:?}", wanted.target.table);
        let what = self.what(wanted);
        let finding = Finding::new(self.severity(wanted, rights), self.code::<D>(), place, what);
        match self.remedy(wanted) {
            Some(remedy) => finding.with_remedy(remedy),
            None => finding,
        }
    }

    /// The gap as an error that stops the sink.
    pub fn error<D: Dialect>(&self, wanted: &Wanted<'_, D>, rights: Rights) -> Error {
        let Finding { place, what, remedy, .. } = self.finding(wanted, rights);
        let error = Error::config(format!("map topic {} to {place}: {what}", wanted.target.topic));
        match remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        }
    }
}
