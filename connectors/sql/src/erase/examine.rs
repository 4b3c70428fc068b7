//! What `millstream check` says about one step, asked of the tables themselves.

use connector_api::erasure::{Action, Constant, Find, Step};
use connector_api::{Finding, Severity};

use super::{Finder, Place, Search, Table, Tables, names};

/// The codes of what is wrong with a step.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Codes {
    pub table_missing: &'static str,
    pub not_a_table: &'static str,
    pub invalid: &'static str,
    pub no_index: &'static str,
    pub set_null: &'static str,
    pub set_key: &'static str,
    pub set_unique: &'static str,
    pub rights: &'static str,
}

/// The [`Codes`] with a system's prefix.
#[macro_export]
macro_rules! erasure_codes {
    ($prefix:literal) => {
        $crate::erase::Codes {
            table_missing: concat!($prefix, "-erasure-table-missing"),
            not_a_table: concat!($prefix, "-erasure-not-a-table"),
            invalid: concat!($prefix, "-erasure-invalid"),
            no_index: concat!($prefix, "-erasure-no-index"),
            set_null: concat!($prefix, "-erasure-set-null"),
            set_key: concat!($prefix, "-erasure-set-key"),
            set_unique: concat!($prefix, "-erasure-set-unique"),
            rights: concat!($prefix, "-erasure-rights"),
        }
    };
}

/// What is wrong with a step.
pub fn examine<F: Finder>(finder: &F, step: &Step, tables: &Tables<F::Facts>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in names(step) {
        findings.extend(match tables.get(name) {
            Some(Place::Table(_)) => None,
            Some(Place::Other(kind)) => Some(
                error(F::CODES.not_a_table, name, format!("the name belongs to a {kind}"))
                    .with_remedy("name the table below it in the `erasure` section"),
            ),
            Some(Place::Missing) | None => Some(
                error(F::CODES.table_missing, name, "the table does not exist, so that nothing is erased in it".into())
                    .with_remedy(format!("correct the name {name:?} in the `erasure` section, or start the sink once, which creates its tables")),
            ),
        });
    }
    let search = match Search::new(finder, step, tables) {
        Ok(Some(search)) => search,
        Ok(None) | Err(_) => return findings,
    };
    // The statements themselves say which column is missing, cannot be compared, or does not take what it is set to.
    if let Err(wrong) = search.act().and_then(|_| search.held()) {
        let finding = error(F::CODES.invalid, &step.table, wrong.to_string());
        findings.push(match wrong.remedy() {
            Some(remedy) => finding.with_remedy(remedy),
            None => finding,
        });
        return findings;
    }
    indexes(finder, &step.table, &step.find, tables, &mut findings);
    if let (Action::Set(constants), Some(Place::Table(table))) = (&step.action, tables.get(&step.table)) {
        sets(finder, &step.table, table, constants, &mut findings);
    }
    rights(finder, step, tables, &mut findings);
    findings
}

fn error(code: &'static str, table: &str, what: String) -> Finding {
    Finding::new(Severity::Error, code, format!("table {table:?}"), what)
}

/// Columns that rows are found by and that no index begins with: every erasure reads the whole table.
fn indexes<F: Finder>(
    finder: &F,
    name: &str,
    find: &Find,
    tables: &Tables<F::Facts>,
    findings: &mut Vec<Finding>,
) {
    let Some(Place::Table(table)) = tables.get(name) else { return };
    let mut warn = |what: String, remedy: String| {
        let place = format!("table {name:?}");
        findings.push(Finding::new(Severity::Warning, F::CODES.no_index, place, what).with_remedy(remedy));
    };
    match find {
        Find::Json { column, .. } => warn(
            format!("rows are found by a path in column {column:?}: every erasure reads the whole table"),
            format!(
                "map the value to a column of its own in `columns` of the rule for table {name:?}, index it, and match that"
            ),
        ),
        Find::Column(column) | Find::Through { column, .. } => {
            let same = |other: &String| finder.same_column(other, column);
            if !table.limits.indexed.iter().any(same)
                && let Some(found) = table.columns.iter().find(|found| same(&found.name))
            {
                warn(
                    format!("no index begins with column {column:?}: every erasure reads the whole table"),
                    finder.index(name, found),
                );
            }
        }
    }
    if let Find::Through { table: other, find: inner, .. } = find {
        indexes(finder, other, inner, tables, findings);
    }
}

fn sets<F: Finder>(
    finder: &F,
    name: &str,
    table: &Table<F::Facts>,
    constants: &[(String, Constant)],
    findings: &mut Vec<Finding>,
) {
    let limits = &table.limits;
    let among = |set: &[String], column: &str| set.iter().any(|other| finder.same_column(other, column));
    let remedy =
        |column: &str| format!("take {column:?} out of `set` for table {name:?} in the `erasure` section");
    for (column, constant) in constants {
        if among(&limits.key, column) {
            let what = format!("column {column:?} is of the primary key: rows that are set would be one");
            findings.push(error(F::CODES.set_key, name, what).with_remedy(remedy(column)));
        } else if *constant == Constant::Null && among(&limits.filled, column) {
            let what = format!("column {column:?} is NOT NULL and is set to null");
            findings.push(error(F::CODES.set_null, name, what).with_remedy(format!(
                "set {column:?} to a constant for table {name:?} in the `erasure` section"
            )));
        }
    }
    for set in &limits.unique {
        let given = |column: &&String| {
            let mut given = constants.iter().filter(|(_, constant)| *constant != Constant::Null);
            given.any(|(name, _)| finder.same_column(name, column))
        };
        let Some(column) = set.iter().find(given) else { continue };
        let what =
            format!("column {column:?} is unique ({}): two rows cannot have one constant", set.join(", "));
        let severity =
            if set.iter().all(|column| given(&column)) { Severity::Error } else { Severity::Warning };
        let place = format!("table {name:?}");
        findings.push(
            Finding::new(severity, F::CODES.set_unique, place, what)
                .with_remedy(format!("set {column:?} to null for table {name:?} in the `erasure` section")),
        );
    }
}

fn rights<F: Finder>(finder: &F, step: &Step, tables: &Tables<F::Facts>, findings: &mut Vec<Finding>) {
    for name in names(step) {
        let Some(Place::Table(table)) = tables.get(name) else { continue };
        let changes = match &step.action {
            Action::Delete if name == step.table => Some("DELETE"),
            Action::Set(_) if name == step.table => Some("UPDATE"),
            _ => None,
        };
        for right in ["SELECT"].into_iter().chain(changes) {
            if table.limits.lacking.contains(&right) {
                let what = format!("the sink's role lacks {right}");
                findings.push(error(F::CODES.rights, name, what).with_remedy(finder.grant(name, right)));
            }
        }
    }
}
