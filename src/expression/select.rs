//! What an expression reads of a row: columns, and paths into columns of JSON.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};
use connector_api::Schema;

use super::fault::Fault;
use super::json::Step;
use super::lower::{Lowering, Typed};
use super::node;
use super::types::Type;

/// The name under which an expression knows the row.
const ROW: &str = "row";
/// Columns that a message names.
const NAMES_MAX: usize = 30;

/// `row.column` and the steps behind it.
struct Access<'e> {
    column: &'e str,
    id: u64,
    steps: Vec<Step>,
}

impl Lowering<'_> {
    /// `row.column`, `row["column"]`, `row.column.key[0]`; and `has(…)` of these.
    pub(super) fn select(&mut self, expr: &IdedExpr, test: bool) -> Result<Typed, Fault> {
        let access = self.access(expr)?;
        let place = self.place(access.id);
        let (column, kind) = match self.schema {
            None => (0, Type::Any),
            Some(schema) => match schema.column(access.column) {
                Some(at) => (at, schema.columns.get(at).map_or(Type::Any, Type::of)),
                None => return Err(self.no_column(schema, &access)),
            },
        };
        self.columns.insert(column);
        if access.steps.is_empty() {
            return Ok(match test {
                true => Typed::new(Type::Bool, node::NotNull(column)),
                false => Typed { column: Some(column), ..Typed::new(kind, node::Column(column)) },
            });
        }
        if !matches!(kind, Type::Json | Type::Any) {
            let message = format!("column `{}` is {kind}, and only JSON has something inside", access.column);
            return Err(Fault::new(place, message));
        }
        let path = node::Path { column, steps: access.steps };
        Ok(match test {
            true => Typed::new(Type::Bool, node::Has(path)),
            false if kind == Type::Any => Typed::new(Type::Any, path),
            false => Typed::new(Type::Json, path),
        })
    }

    /// Walks from the end of a path to its column.
    fn access<'e>(&self, expr: &'e IdedExpr) -> Result<Access<'e>, Fault> {
        let mut steps = Vec::new();
        let mut at = expr;
        loop {
            let (inner, name, step) = match &at.expr {
                Expr::Select(select) => {
                    (&*select.operand, Some(select.field.as_str()), Step::Key(select.field.clone()))
                }
                Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                    [inner, index] => match &index.expr {
                        Expr::Literal(LiteralValue::String(name)) => {
                            (inner, Some(name.inner()), Step::Key(name.inner().to_owned()))
                        }
                        Expr::Literal(LiteralValue::Int(number)) => {
                            let item = usize::try_from(*number.inner())
                                .map_err(|_| Fault::new(self.place(index.id), "items count from 0"))?;
                            (inner, None, Step::Item(item))
                        }
                        _ => {
                            let message = "an index is a number or a text that stands in the expression";
                            return Err(Fault::new(self.place(index.id), message));
                        }
                    },
                    _ => return Err(self.outside(at.id, "this index")),
                },
                _ => return Err(self.outside(at.id, "selecting from anything but a column")),
            };
            if let (Expr::Ident(root), Some(column)) = (&inner.expr, name) {
                if root != ROW {
                    return Err(self.unknown_name(inner.id, root));
                }
                steps.reverse();
                return Ok(Access { column, id: at.id, steps });
            }
            steps.push(step);
            at = inner;
        }
    }

    /// A name that stands alone.
    pub(super) fn unknown_name(&self, id: u64, name: &str) -> Fault {
        let place = self.place(id);
        if name == ROW {
            return Fault::new(place, "`row` is the whole row").help("name a column of it: row.id");
        }
        let fault = Fault::new(place, format!("there is no `{name}`"));
        fault.help(format!("a column is written row.{name}, and text stands in quotes: '{name}'"))
    }

    fn no_column(&self, schema: &Schema, access: &Access<'_>) -> Fault {
        let names: Vec<&str> =
            schema.columns.iter().take(NAMES_MAX).map(|column| column.name.as_str()).collect();
        let message = format!("no column `{}` in {}.{}", access.column, schema.namespace, schema.table);
        Fault::new(self.place(access.id), message).help(format!("its columns are {}", names.join(", ")))
    }
}
