//! How the changes of one topic, in one shape, become statements: worked out once, then used for every change.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use connector_api::{Error, Result, Target, ValueKind};

use super::catalog::{Table, TableColumn};
use super::dialect::Sql;
use super::form::Form;
use super::names::{qualified, quote};
use super::sql::{Param, Shape, ShapeColumn, Verb};
use super::statements::Statement;

/// Most statements kept for rows with values left out, a set of columns each; beyond it they are worked out anew.
const VARIANTS_MAX: usize = 64;
/// After rows that should have been new were there already, this long no COPY is tried: a topic that is read again from
/// its start meets its rows one after the other.
const CONFLICT_REST: Duration = Duration::from_secs(60);

/// The statements for one topic in one shape.
#[derive(Debug)]
pub(super) struct Plan {
    /// Where its rows go; held so that its address stays its own.
    pub(super) target: Arc<Target>,
    shape: Shape,
    /// The columns outside the key.
    rest: Vec<usize>,
    /// Keys are the same to the target when, and only when, their values are: many rows may be updated by one statement.
    exact: bool,
    copy: Option<Copying>,
    truncate: Statement,
    variants: Vec<Variant>,
    conflicted: Option<Instant>,
    told_filled: bool,
}

/// A COPY into the table.
#[derive(Debug, Clone)]
pub(super) struct Copying {
    pub(super) statement: Statement,
    /// The form of each column.
    pub(super) forms: Vec<Form>,
}

/// A statement with what it binds.
#[derive(Debug)]
struct Variant {
    verb: Verb,
    columns: Vec<usize>,
    bound: Arc<Bound>,
}

/// A statement, and where its parameters come from.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) statement: Statement,
    pub(super) params: Vec<BoundParam>,
    /// True when it looks at the old row or key.
    pub(super) old: bool,
    /// True when it looks at the new row.
    pub(super) new: bool,
}

/// One parameter: an array of one column's values.
#[derive(Debug)]
pub(super) struct BoundParam {
    pub(super) from: Param,
    pub(super) form: Form,
    /// The type of the array's elements.
    pub(super) element: u32,
    /// NULL has no place in it.
    pub(super) key: bool,
}

impl Plan {
    /// For a table that fits the target.
    pub(super) fn new(target: &Arc<Target>, sql: &Sql, table: &Table) -> Result<Plan> {
        let column = |at: usize| {
            let found = table.column(sql, target.name(at)).ok_or_else(|| missing(target, at))?;
            Ok(shape_column(target, at, found))
        };
        let columns = (0..target.columns.len()).map(column).collect::<Result<Vec<_>>>()?;
        let shape = Shape {
            table: qualified(&sql.schema, &target.table),
            columns,
            key: target.key.clone(),
            partitioned: table.facts.partitioned,
        };
        let rest = (0..target.columns.len()).filter(|at| !target.key.contains(at)).collect();
        let copy = match table.facts.secured {
            true => None,
            false => shape.copy().map(|copy| Copying {
                statement: Statement::plain(copy),
                forms: shape.columns.iter().filter_map(|column| column.copied.clone()).collect(),
            }),
        };
        let truncate = match table.facts.truncatable {
            true => format!("TRUNCATE {}", shape.table),
            false => format!("DELETE FROM {}", shape.table),
        };
        let truncate = Statement::plain(truncate);
        let exact = target.key.iter().all(|at| {
            let plain =
                shape.columns.get(*at).is_some_and(|column| column.cast.is_none() && is_exact(&column.form));
            plain && table.column(sql, target.name(*at)).is_some_and(|column| column.facts.deterministic)
        });
        Ok(Plan {
            target: target.clone(),
            shape,
            rest,
            exact,
            copy,
            truncate,
            variants: Vec::new(),
            conflicted: None,
            told_filled: false,
        })
    }

    /// What is being done, for errors.
    pub(super) fn context(&self) -> String {
        match self.target.key.is_empty() {
            true => format!("apply change to table {:?} (no key)", self.target.table),
            false => {
                let key = super::names::list(self.target.key_names());
                format!("apply change to table {:?} (key {key})", self.target.table)
            }
        }
    }

    /// The statement that does `verb` with `columns`.
    pub(super) fn bound(&mut self, verb: Verb, columns: &[usize]) -> Arc<Bound> {
        let known = self.variants.iter().find(|known| known.verb == verb && known.columns == columns);
        if let Some(known) = known {
            return known.bound.clone();
        }
        if self.variants.len() >= VARIANTS_MAX {
            self.variants.clear();
        }
        let bound = Arc::new(self.bind(verb, columns));
        self.variants.push(Variant { verb, columns: columns.to_vec(), bound: bound.clone() });
        bound
    }

    /// The statement that upserts whole rows; `there` when they are expected to be there.
    pub(super) fn upsert(&mut self, there: bool) -> Arc<Bound> {
        let verb = if there && self.exact && !self.rest.is_empty() { Verb::Renew } else { Verb::Upsert };
        let rest = std::mem::take(&mut self.rest);
        let bound = self.bound(verb, &rest);
        self.rest = rest;
        bound
    }

    /// How many rows one statement may update by key. Two rows of one key would end in any order.
    pub(super) fn updates_max(&self) -> usize {
        if self.exact || self.target.key.is_empty() { usize::MAX } else { 1 }
    }

    /// Rows that should be new may be there already.
    pub(super) fn is_conflicted(&self) -> bool {
        self.conflicted.is_some_and(|since| since.elapsed() < CONFLICT_REST)
    }

    fn bind(&self, verb: Verb, columns: &[usize]) -> Bound {
        let (params, sql) = self.shape.statement(verb, columns);
        let bind = |from: &Param| {
            let at = match *from {
                Param::New(at) | Param::OldRow(at) => at,
                Param::OldKey(place) => self.shape.key.get(place).copied().unwrap_or_default(),
            };
            let form = self.shape.columns.get(at).map_or(Form::Text, |column| column.form.clone());
            let (element, list) = form.parameter().unwrap_or((25, 1009));
            (BoundParam { from: *from, form, element, key: self.shape.key.contains(&at) }, list)
        };
        let (bound, types): (Vec<_>, Vec<_>) = params.iter().map(bind).unzip();
        Bound {
            statement: Statement::new(sql, types),
            old: params.iter().any(|param| !matches!(param, Param::New(_))),
            new: params.iter().any(|param| matches!(param, Param::New(_))),
            params: bound,
        }
    }

    /// `SELECT` of all rows.
    pub(super) fn select(&self) -> String {
        self.shape.select()
    }

    /// The columns outside the key.
    pub(super) fn rest(&self) -> &[usize] {
        &self.rest
    }

    /// The statement that removes all rows.
    pub(super) fn truncate(&self) -> &Statement {
        &self.truncate
    }

    /// The COPY for rows that should be new, unless they were not lately.
    pub(super) fn copying(&self) -> Option<&Copying> {
        if self.is_conflicted() { None } else { self.copy.as_ref() }
    }

    /// True once: rows were inserted without all their values.
    pub(super) fn tell_filled(&mut self) -> bool {
        !std::mem::replace(&mut self.told_filled, true)
    }

    /// Rows that should have been new were there already.
    pub(super) fn conflicted(&mut self) {
        self.conflicted = Some(Instant::now());
    }
}

/// 1.0 and 1.00 are one number, 0.0 and -0.0, too; of these forms no two values are one.
fn is_exact(form: &Form) -> bool {
    use Form::{Bool, Bytes, Date, Int2, Int4, Int8, Oid, Text, Time, Timestamp, TimestampTz, Uuid};
    matches!(
        form,
        Bool | Int2 | Int4 | Int8 | Oid | Text | Bytes | Uuid | Date | Time | Timestamp | TimestampTz
    )
}

fn shape_column(target: &Target, at: usize, found: &TableColumn) -> ShapeColumn {
    let (kind, element) =
        target.column(at).map_or((ValueKind::Text, None), |column| (column.kind, column.element));
    let native = Form::of(kind, found.facts.base);
    let delimiter = found.facts.element.map_or(',', |(_, delimiter)| delimiter);
    let copied = native.clone().or_else(|| {
        let (oid, _) = found.facts.element?;
        let element = element.filter(|_| kind == ValueKind::Array)?;
        Some(Form::Array { element: Box::new(Form::of(element, oid)?), oid })
    });
    // The type of bpchar is compared without its blanks, and has to be itself for that.
    let cast = match native {
        Some(_) if found.facts.base != super::form::oid::BPCHAR => None,
        _ if found.facts.base == super::form::oid::TEXT => None,
        _ => Some(found.facts.base_sql.clone()),
    };
    let comparable = native.as_ref().is_some_and(|form| !matches!(form, Form::Json));
    let form = native.unwrap_or(Form::Written { delimiter });
    ShapeColumn { name: quote(&found.name), form, copied, cast, comparable }
}

#[cold]
fn missing(target: &Target, at: usize) -> Error {
    Error::config(format!(
        "map topic {}: table {:?} has no column {:?}",
        target.topic,
        target.table,
        target.name(at)
    ))
}
