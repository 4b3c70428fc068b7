//! From the parsed tree to nodes: types are worked out on the way up, constants are folded, and what is outside the
//! subset is refused where it stands.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use connector_api::Schema;
use regex::RegexBuilder;

use super::compare::Order;
use super::datum::Datum;
use super::decimal;
use super::fault::{Failure, Fault};
use super::functions::{self, Body, Function};
use super::node::{self, Node, Part};
use super::number;
use super::parse::Parsed;
use super::types::Type;

/// Chains count, too: `a + b + c` is two deep.
const DEPTH_MAX: usize = 200;
/// What a compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

/// A lowered part, and what is known of it.
pub(super) struct Typed {
    pub(super) kind: Type,
    pub(super) node: Part,
    /// Its value, when it is the same for every row.
    pub(super) constant: Option<Datum<'static>>,
    /// Its column, when it is nothing else.
    pub(super) column: Option<usize>,
}

impl Typed {
    pub(super) fn new(kind: Type, node: impl Node + 'static) -> Typed {
        Typed { kind, node: Box::new(node), constant: None, column: None }
    }

    fn constant(kind: Type, value: Datum<'static>) -> Typed {
        Typed { constant: Some(value.clone()), ..Typed::new(kind, node::Constant(value)) }
    }
}

/// Lowers one expression.
pub(super) struct Lowering<'s> {
    parsed: &'s Parsed,
    /// `None`: nothing is known of the columns.
    pub(super) schema: Option<&'s Schema>,
    /// The columns that are read.
    pub(super) columns: BTreeSet<usize>,
    depth: usize,
}

impl<'s> Lowering<'s> {
    pub(super) fn new(parsed: &'s Parsed, schema: Option<&'s Schema>) -> Self {
        Lowering { parsed, schema, columns: BTreeSet::new(), depth: 0 }
    }

    pub(super) fn place(&self, id: u64) -> Range<usize> {
        self.parsed.place(id)
    }

    pub(super) fn outside(&self, id: u64, what: &str) -> Fault {
        let fault = Fault::new(self.place(id), format!("{what} is not in the language of mappings"));
        fault.help("docs/MAPPING.md lists what is")
    }

    pub(super) fn lower(&mut self, expr: &IdedExpr) -> Result<Typed, Fault> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Fault::whole(
                self.parsed.text(),
                format!("an expression is at most {DEPTH_MAX} parts deep"),
            ));
        }
        let lowered = match &expr.expr {
            Expr::Literal(value) => self.literal(expr.id, value),
            Expr::Ident(name) => Err(self.unknown_name(expr.id, name)),
            Expr::Select(select) => self.select(expr, select.test),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(_) => Err(self.outside(expr.id, "a list that does not stand behind `in`")),
            Expr::Map(_) | Expr::Struct(_) => Err(self.outside(expr.id, "a map")),
            Expr::Comprehension(_) => Err(self.outside(expr.id, "a loop (all, exists, map, filter)")),
            Expr::Unspecified => Err(self.outside(expr.id, "this")),
        };
        self.depth -= 1;
        lowered
    }

    fn literal(&self, id: u64, value: &LiteralValue) -> Result<Typed, Fault> {
        Ok(match value {
            LiteralValue::Null => Typed::constant(Type::Null, Datum::Null),
            LiteralValue::Boolean(value) => Typed::constant(Type::Bool, Datum::Bool(*value.inner())),
            LiteralValue::Int(value) => Typed::constant(Type::Int, Datum::Int(*value.inner())),
            LiteralValue::Double(value) => Typed::constant(Type::Float, Datum::Float(*value.inner())),
            LiteralValue::String(value) => {
                Typed::constant(Type::Text, Datum::Text(Cow::Owned(value.inner().to_owned())))
            }
            LiteralValue::UInt(_) => return Err(self.outside(id, "an unsigned number")),
            LiteralValue::Bytes(_) => return Err(self.outside(id, "a literal of bytes")),
        })
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<Typed, Fault> {
        match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
            (operators::INDEX, None, _) => self.select(expr, false),
            (operators::LOGICAL_AND, None, [left, right]) => self.logic(false, left, right),
            (operators::LOGICAL_OR, None, [left, right]) => self.logic(true, left, right),
            (operators::LOGICAL_NOT, None, [of]) => {
                let of = self.condition(of)?;
                Ok(Typed::new(Type::Bool, node::Not(of.node)))
            }
            (operators::CONDITIONAL, None, [condition, yes, no]) => self.choice(expr, condition, yes, no),
            (operators::IN, None, [value, within]) => self.within(value, within),
            (operators::NEGATE, None, [of]) => self.negate(expr, of),
            ("matches", Some(text), [pattern]) | ("matches", None, [text, pattern]) => {
                self.matches(text, pattern)
            }
            (name, None, [left, right]) if order(name).is_some() => {
                self.compare(expr, order(name), left, right)
            }
            (name, None, [left, right]) if arithmetic(name).is_some() => {
                self.arithmetic(expr, name, arithmetic(name), left, right)
            }
            (name, Some(target), args) => {
                let all: Vec<_> = std::iter::once(target).chain(args).collect();
                self.function(expr, name, true, &all)
            }
            (name, None, args) => self.function(expr, name, false, &args.iter().collect::<Vec<_>>()),
        }
    }

    fn condition(&mut self, expr: &IdedExpr) -> Result<Typed, Fault> {
        let typed = self.lower(expr)?;
        match typed.kind {
            Type::Bool | Type::Json | Type::Any | Type::Null => Ok(typed),
            kind => Err(Fault::new(
                self.place(expr.id),
                format!("a condition is true or false, and this is {kind}"),
            )),
        }
    }

    fn logic(&mut self, decides: bool, left: &IdedExpr, right: &IdedExpr) -> Result<Typed, Fault> {
        let (left, right) = (self.condition(left)?.node, self.condition(right)?.node);
        Ok(Typed::new(Type::Bool, node::Logic { decides, left, right }))
    }

    fn choice(
        &mut self,
        expr: &IdedExpr,
        condition: &IdedExpr,
        yes: &IdedExpr,
        no: &IdedExpr,
    ) -> Result<Typed, Fault> {
        let (condition, yes, no) = (self.condition(condition)?, self.lower(yes)?, self.lower(no)?);
        let Some(kind) = yes.kind.either(no.kind) else {
            let message = format!("this gives {} or {}: one column holds one type", yes.kind, no.kind);
            return Err(
                Fault::new(self.place(expr.id), message).help("convert one of them, as with string()")
            );
        };
        Ok(Typed::new(kind, node::Choice { condition: condition.node, yes: yes.node, no: no.node }))
    }

    fn compare(
        &mut self,
        expr: &IdedExpr,
        order: Option<Order>,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Typed, Fault> {
        let order = order.unwrap_or(Order::Equal);
        let (mut one, mut two) = (self.lower(left)?, self.lower(right)?);
        self.adapt(&mut one, two.kind, left)?;
        self.adapt(&mut two, one.kind, right)?;
        self.comparable(expr, one.kind, two.kind)?;
        if !order.is_equality() && (one.kind == Type::Null || two.kind == Type::Null) {
            let fault = Fault::new(self.place(expr.id), "null has no order: this would always be false");
            return Err(fault.help("write == null or != null"));
        }
        Ok(match (one.column, one.constant, two.column, two.constant) {
            (Some(column), _, _, Some(right)) => {
                Typed::new(Type::Bool, node::CompareColumn { order, column, right })
            }
            (_, Some(left), Some(column), _) => {
                Typed::new(Type::Bool, node::CompareColumn { order: order.reversed(), column, right: left })
            }
            _ => Typed::new(Type::Bool, node::Compare { order, left: one.node, right: two.node }),
        })
    }

    fn comparable(&self, expr: &IdedExpr, one: Type, two: Type) -> Result<(), Fault> {
        if one.compares(two) {
            return Ok(());
        }
        let fault = Fault::new(self.place(expr.id), format!("{one} cannot be compared with {two}"));
        Err(match (one, two) {
            (Type::Timestamp, Type::TimestampTz) | (Type::TimestampTz, Type::Timestamp) => {
                fault.help("timestamp(row.column) takes one without zone as UTC")
            }
            (Type::Text, _) | (_, Type::Text) => fault.help("convert one side: int(…), double(…), string(…)"),
            _ => fault,
        })
    }

    /// Makes a constant one of the type that it meets: `'2026-01-01'` beside a date, `0.5` beside a decimal.
    fn adapt(&self, typed: &mut Typed, to: Type, expr: &IdedExpr) -> Result<(), Fault> {
        let Some(constant) = &typed.constant else { return Ok(()) };
        let adapted = match (constant, to) {
            (Datum::Float(value), Type::Decimal) => Datum::Decimal(Cow::Owned(decimal::of_float(*value))),
            (Datum::Int(value), Type::Decimal) => Datum::Decimal(Cow::Owned(value.to_string())),
            (
                Datum::Text(text),
                Type::Uuid | Type::Date | Type::Time | Type::Timestamp | Type::TimestampTz,
            ) => {
                let read = to.kind().and_then(|kind| super::convert::read(text, kind));
                read.ok_or_else(|| {
                    let fault = Fault::new(self.place(expr.id), format!("this text is not {to}"));
                    fault
                        .help("dates are written 2026-11-23, times 09:30:00, timestamps 2026-11-23T09:30:00Z")
                })?
            }
            _ => return Ok(()),
        };
        *typed = Typed::constant(to, adapted);
        Ok(())
    }

    fn within(&mut self, value: &IdedExpr, within: &IdedExpr) -> Result<Typed, Fault> {
        let one = self.lower(value)?;
        let Expr::List(list) = &within.expr else {
            let array = self.lower(within)?;
            return match array.kind {
                Type::Any | Type::Json | Type::Array(_) => {
                    Ok(Typed::new(Type::Bool, node::Within { value: one.node, array: array.node }))
                }
                kind => Err(Fault::new(
                    self.place(within.id),
                    format!("`in` needs a list or an array, and this is {kind}"),
                )),
            };
        };
        let mut items = Vec::with_capacity(list.elements.len());
        for element in &list.elements {
            let mut item = self.lower(element)?;
            self.adapt(&mut item, one.kind, element)?;
            self.comparable(element, one.kind, item.kind)?;
            items.push(item.node);
        }
        Ok(Typed::new(Type::Bool, node::OneOf { value: one.node, list: items }))
    }

    fn matches(&mut self, text: &IdedExpr, pattern: &IdedExpr) -> Result<Typed, Fault> {
        let text_place = self.place(text.id);
        let text = self.lower(text)?;
        if !matches!(text.kind, Type::Text | Type::Json | Type::Any | Type::Null) {
            return Err(Fault::new(text_place, format!("matches() is of text, and this is {}", text.kind)));
        }
        let place = self.place(pattern.id);
        let Some(Datum::Text(pattern)) = self.lower(pattern)?.constant else {
            return Err(Fault::new(place, "a pattern is text that stands in the expression"));
        };
        let built =
            RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
        let pattern = built.map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Fault::new(place, format!("not a pattern: {last}"))
        })?;
        Ok(Typed::new(Type::Bool, node::Matches { text: text.node, pattern }))
    }

    fn negate(&mut self, expr: &IdedExpr, of: &IdedExpr) -> Result<Typed, Fault> {
        let of = self.lower(of)?;
        if !of.kind.is_number() && !of.kind.is_open() {
            return Err(Fault::new(
                self.place(expr.id),
                format!("`-` is of numbers, and this is {}", of.kind),
            ));
        }
        let (kind, constant) = (of.kind, of.constant.is_some());
        self.folded(expr, Typed::new(kind, node::One { of: of.node, apply: number::negate }), constant)
    }

    fn arithmetic(
        &mut self,
        expr: &IdedExpr,
        name: &str,
        apply: Option<TwoOf>,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Typed, Fault> {
        let apply = apply.unwrap_or(number::add);
        let (mut one, mut two) = (self.lower(left)?, self.lower(right)?);
        self.adapt_number(&mut one, two.kind);
        self.adapt_number(&mut two, one.kind);
        let constant = one.constant.is_some() && two.constant.is_some();
        let textual = |kind: Type| matches!(kind, Type::Text);
        let may_join = |kind: Type| textual(kind) || matches!(kind, Type::Json | Type::Any | Type::Null);
        let plus = name == operators::ADD;
        let joins =
            plus && (textual(one.kind) || textual(two.kind)) && may_join(one.kind) && may_join(two.kind);
        if joins {
            let node = node::Two { left: one.node, right: two.node, apply: number::concatenate };
            return self.folded(expr, Typed::new(Type::Text, node), constant);
        }
        let exact = matches!(name, operators::ADD | operators::SUBSTRACT | operators::MULTIPLY);
        let kind = match (one.kind, two.kind) {
            (Type::Decimal, Type::Decimal | Type::Int) | (Type::Int, Type::Decimal) if exact => Type::Decimal,
            (one, two) if one.is_open() || two.is_open() => {
                let known = if one.is_open() { two } else { one };
                if !known.is_open() && !known.is_number() {
                    return Err(self.no_arithmetic(expr, one, two));
                }
                if known == Type::Null { Type::Null } else { Type::Any }
            }
            (Type::Decimal, _) | (_, Type::Decimal) => {
                return Err(self.no_arithmetic(expr, one.kind, two.kind));
            }
            (one, two) if one.is_number() && two.is_number() => one.either(two).unwrap_or(Type::Float),
            (one, two) => return Err(self.no_arithmetic(expr, one, two)),
        };
        self.folded(expr, Typed::new(kind, node::Two { left: one.node, right: two.node, apply }), constant)
    }

    /// A constant beside a decimal is one, exactly.
    fn adapt_number(&self, typed: &mut Typed, to: Type) {
        if let (Some(Datum::Float(value)), Type::Decimal) = (&typed.constant, to) {
            *typed = Typed::constant(to, Datum::Decimal(Cow::Owned(decimal::of_float(*value))));
        }
    }

    fn no_arithmetic(&self, expr: &IdedExpr, one: Type, two: Type) -> Fault {
        let fault =
            Fault::new(self.place(expr.id), format!("there is no such arithmetic with {one} and {two}"));
        match (one, two) {
            (Type::Json, _) | (_, Type::Json) => {
                fault.help("say what the JSON value is: int(…), double(…), string(…)")
            }
            (Type::Decimal, _) | (_, Type::Decimal) => {
                fault.help("decimals are added, subtracted and multiplied; for the rest there is double(…)")
            }
            (Type::Text, _) | (_, Type::Text) => fault.help("string(…) makes text of the other side"),
            _ => fault,
        }
    }

    fn function(
        &mut self,
        expr: &IdedExpr,
        name: &str,
        method: bool,
        args: &[&IdedExpr],
    ) -> Result<Typed, Fault> {
        if functions::named(name, method).next().is_none() {
            let place = self.parsed.name_before(expr.id, name);
            let other = functions::named(name, !method).next().is_some();
            let shown: String = name.chars().take(40).collect();
            return Err(match (other, method) {
                (true, true) => Fault::new(place, format!("`{shown}` is written {shown}(…)")),
                (true, false) => Fault::new(place, format!("`{shown}` is written row.column.{shown}(…)")),
                _ => Fault::new(place, format!("there is no function `{shown}`"))
                    .help(format!("the functions are {}", functions::names())),
            });
        }
        let parts: Vec<Typed> = args.iter().map(|arg| self.lower(arg)).collect::<Result<_, _>>()?;
        let fits = |function: &Cow<'_, Function>| function.others.len() + 1 == parts.len();
        let Some(function) = functions::named(name, method).find(fits) else {
            let counts: Vec<_> =
                functions::named(name, method).map(|function| function.others.len().to_string()).collect();
            let message = format!("`{name}` has another number of arguments: {}", counts.join(" or "));
            return Err(Fault::new(self.parsed.name_before(expr.id, name), message));
        };
        let takes = |at: usize, kind: Type| match at.checked_sub(1).and_then(|at| function.others.get(at)) {
            _ if kind.is_open() => true,
            Some(wanted) => kind == *wanted || kind == Type::Json && *wanted == Type::Text,
            None => (function.takes)(kind),
        };
        for (at, (part, arg)) in parts.iter().zip(args).enumerate() {
            if !takes(at, part.kind) {
                let message = format!("`{name}` does not take {}", part.kind);
                return Err(Fault::new(self.place(arg.id), message));
            }
        }
        let constant = parts.iter().all(|part| part.constant.is_some());
        let gives = function.gives;
        let mut nodes = parts.into_iter().map(|part| part.node);
        let mut next = || nodes.next().unwrap_or_else(|| Box::new(node::Constant(Datum::Null)));
        let typed = match function.body {
            Body::One(apply) => Typed::new(gives, node::One { of: next(), apply }),
            Body::Two(apply) => Typed::new(gives, node::Two { left: next(), right: next(), apply }),
            Body::Three(apply) => Typed::new(gives, node::Three { parts: [next(), next(), next()], apply }),
        };
        self.folded(expr, typed, constant)
    }

    /// Works constants out once, and finds there what would fail for every row.
    fn folded(&self, expr: &IdedExpr, typed: Typed, constant: bool) -> Result<Typed, Fault> {
        if !constant {
            return Ok(typed);
        }
        let value = match typed.node.run(&[]) {
            Ok(value) => value.constant(),
            Err(Failure::Bad(what)) => return Err(Fault::new(self.place(expr.id), what)),
            Err(Failure::Unknown(_)) => None,
        };
        Ok(match value {
            Some(value) => Typed::constant(typed.kind, value),
            None => typed,
        })
    }
}

type TwoOf = for<'r> fn(Datum<'r>, Datum<'r>) -> super::Answer<'r>;

fn arithmetic(name: &str) -> Option<TwoOf> {
    Some(match name {
        operators::ADD => number::add,
        operators::SUBSTRACT => number::subtract,
        operators::MULTIPLY => number::multiply,
        operators::DIVIDE => number::divide,
        operators::MODULO => number::remainder,
        _ => return None,
    })
}

fn order(name: &str) -> Option<Order> {
    Some(match name {
        operators::EQUALS => Order::Equal,
        operators::NOT_EQUALS => Order::NotEqual,
        operators::LESS => Order::Less,
        operators::LESS_EQUALS => Order::LessOrEqual,
        operators::GREATER => Order::Greater,
        operators::GREATER_EQUALS => Order::GreaterOrEqual,
        _ => return None,
    })
}
