//! How the changes of one topic, in one shape, become statements: worked out once, then reused for every change.

use std::sync::Arc;

use connector_api::record::Attributes;
use connector_api::{Change, Error, Op, Result, Row, Target};
use connector_sql::names::check_target;

use crate::Wanted;
use crate::apply::{Applier, Variant};
use crate::catalog::{Table, rowid};
use crate::dialect::Lite;
use crate::error::Failure;
use crate::evolve::evolve;
use crate::sql::{Shape, ShapeColumn, quote};
use crate::statement::Database;

/// Most statements kept for rows with values left out, a set of columns each; beyond it they are prepared anew.
const VARIANTS_MAX: usize = 64;

/// The statements for one topic in one shape.
#[derive(Debug)]
pub struct Plan {
    /// Where its rows go; held so that its address stays its own.
    pub target: Arc<Target>,
    /// What is being done, for errors: table and key, by name.
    context: String,
    applier: Applier,
    /// Statements for rows with all their values.
    whole: Variant,
    /// Statements for rows with values left out.
    partial: Vec<Variant>,
}

/// What a plan is made of, beside the topic and its shape.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// The sink's name.
    pub sink: &'a str,
    /// Whether tables are created and extended.
    pub create_tables: bool,
}

impl Plan {
    /// Works a plan out, creating or extending the target table inside the open transaction.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when the target cannot take the topic.
    pub fn build(
        database: &Database,
        basis: Basis<'_>,
        target: &Arc<Target>,
        notices: &mut Vec<String>,
    ) -> Result<Plan> {
        check_target(&Lite, target)?;
        let wanted = Wanted { target, dialect: &Lite };
        let table = evolve(database.connection(), &wanted, basis.sink, basis.create_tables, notices)?;
        let shape = shape(target, &table);
        let context = match target.key.is_empty() {
            true => format!("apply change to table {:?} (no key)", target.table),
            false => format!("apply change to table {:?} (key {})", target.table, wanted.key().join(", ")),
        };
        let applier = Applier::new(target.table.clone(), shape);
        Ok(Plan {
            target: target.clone(),
            context,
            whole: applier.variant(Vec::new()),
            partial: Vec::new(),
            applier,
        })
    }

    /// What is being done, for errors.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Gives the plan's statements back.
    pub fn retire(self, database: &mut Database) {
        self.applier.retire(database);
        self.partial.into_iter().chain([self.whole]).for_each(|variant| variant.retire(database));
    }

    /// Applies one change. On a failure it had no effect.
    #[inline]
    pub fn apply(
        &mut self,
        database: &mut Database,
        change: &Change<'_>,
        notices: &mut Vec<String>,
    ) -> Result<(), Failure> {
        match change.op {
            Op::Truncate | Op::Delete if change.after.is_some() => {
                let row = self.applier.after(change)?;
                let variant = variant(&self.applier, &mut self.partial, database, row)?;
                match change.op {
                    Op::Delete => self.applier.mark(database, change, variant),
                    _ => self.applier.mark_all(database, change, variant),
                }
            }
            Op::Truncate => self.applier.truncate(database),
            Op::Delete => self.applier.delete(database, change),
            Op::Insert | Op::Update | Op::Read => {
                let variant = match change.record.attributes.has(Attributes::PARTIAL) {
                    false => &mut self.whole,
                    true => {
                        let row = self.applier.after(change)?;
                        variant(&self.applier, &mut self.partial, database, row)?
                    }
                };
                self.applier.write(database, change, variant, notices)
            }
        }
    }

    /// Forgets what happened in a transaction that was rolled back.
    pub fn rolled_back(&mut self) {
        self.applier.rolled_back();
    }
}

/// The statements for a row with these values left out.
fn variant<'a>(
    applier: &Applier,
    known: &'a mut Vec<Variant>,
    database: &mut Database,
    row: Row<'_>,
) -> Result<&'a mut Variant> {
    let at = match known.iter().position(|variant| same(&variant.unchanged, row)) {
        Some(at) => at,
        None => {
            if known.len() >= VARIANTS_MAX {
                known.drain(..).for_each(|variant| variant.retire(database));
            }
            let unchanged = row.values().map(|value| value.map(|value| value.is_unchanged()));
            known.push(applier.variant(unchanged.collect::<Result<_>>()?));
            known.len() - 1
        }
    };
    known.get_mut(at).ok_or_else(|| Error::corrupt("apply change: no statements"))
}

fn same(unchanged: &[bool], row: Row<'_>) -> bool {
    let mut values = row.values();
    unchanged
        .iter()
        .all(|left_out| matches!(values.next(), Some(Ok(value)) if value.is_unchanged() == *left_out))
        && values.next().is_none()
}

fn shape(target: &Target, table: &Table) -> Shape {
    let column = |(at, (source, name)): (usize, &(usize, String))| ShapeColumn {
        source: *source,
        name: quote(name),
        key: target.key.contains(&at),
    };
    let mut columns: Vec<ShapeColumn> = target.columns.iter().enumerate().map(column).collect();
    columns.sort_by_key(|column| column.source);
    let key =
        target.key.iter().filter_map(|at| target.columns.get(*at)).map(|(_, name)| quote(name)).collect();
    Shape { table: quote(&target.table), columns, key, rowid: rowid(table) }
}
