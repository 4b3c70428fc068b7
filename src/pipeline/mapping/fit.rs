//! A rule worked out for one shape of a topic: which columns its target has, where their values come from, and what forms
//! the key there.

use std::sync::Arc;

use connector_api::{Column, Error, Schema, Target, ValueKind};

use super::{Mapping, Mark, Misfit, OnDelete, Rule};
use crate::expression::{Datum, Expression, Type, cast};

/// A rule for one shape.
#[derive(Debug)]
pub struct Fit {
    /// What the sink gets with every change.
    pub target: Target,
    /// How rows are made; `None` when the source's rows pass as they are.
    pub plan: Option<Plan>,
}

/// How the rows of a target are made.
#[derive(Debug)]
pub struct Plan {
    /// The target's columns.
    pub outputs: Vec<Output>,
    /// Which rows the target has.
    pub condition: Option<Expression>,
    /// The key in the target is not the source's.
    pub rekeyed: bool,
    /// Every column of the target's key is made of columns of the source's key.
    pub key_from_key: bool,
    /// Deletes set columns.
    pub soft: bool,
}

/// Where the value of a target column comes from.
#[derive(Debug)]
pub struct Output {
    /// Where a row has it from.
    pub from: From,
    /// What a deleted row has.
    pub dead: Option<Mark>,
    /// The kind of the column.
    pub kind: ValueKind,
    /// Its name, for messages.
    pub name: String,
}

/// Where a row has a value from.
#[derive(Debug)]
pub enum From {
    /// A column of the source.
    Column(usize),
    /// An expression.
    Expression(Expression),
    /// It is the mark of a row that is not deleted.
    Mark(Mark),
}

/// Works one rule out.
struct Fitting<'f> {
    rule: &'f Rule,
    at: usize,
    schema: &'f Schema,
}

/// A column of the target while it is worked out: what it replaces, and all that a schema says.
struct Draft {
    from: From,
    /// The source's column that has this place without the rule.
    original: Option<usize>,
    dead: Option<Mark>,
    column: Column,
}

/// Works a rule, the `at`th of a mapping, out for one shape of a topic.
///
/// # Errors
/// What does not fit, and where it stands in the configuration.
pub fn fit(mapping: &Mapping, at: usize, topic: &Arc<str>, schema: &Arc<Schema>) -> Result<Fit, Misfit> {
    let Some(rule) = mapping.rules.get(at) else {
        return Err(Misfit::new(at, &[], Error::config(format!("map topic {topic}: no such rule"))));
    };
    let fitting = Fitting { rule, at, schema };
    let drafts = fitting.columns()?;
    let key = fitting.key(&drafts)?;
    let table = rule.table.clone().unwrap_or_else(|| schema.table.clone());
    let named = rule.table.is_some();
    let plain = rule.computed.is_empty()
        && rule.key.is_none()
        && rule.condition.is_none()
        && !matches!(rule.on_delete, OnDelete::Set(_));
    if plain {
        let columns = drafts.into_iter().filter_map(|draft| Some((draft.original?, draft.column.name)));
        let columns = columns.collect();
        let target = Target { topic: topic.clone(), schema: schema.clone(), table, named, columns, key };
        return Ok(Fit { target, plan: None });
    }
    let plan = fitting.plan(&drafts, &key)?;
    let names = drafts.iter().enumerate().map(|(at, draft)| (at, draft.column.name.clone())).collect();
    let (mut outputs, mut columns) = (Vec::new(), Vec::new());
    for (at, Draft { from, dead, mut column, .. }) in drafts.into_iter().enumerate() {
        column.nullable &= !key.contains(&at);
        outputs.push(Output { from, dead, kind: column.kind, name: column.name.clone() });
        columns.push(column);
    }
    let shaped = Schema {
        namespace: schema.namespace.clone(),
        table: schema.table.clone(),
        columns,
        key: key.clone(),
    };
    let target = Target { topic: topic.clone(), schema: Arc::new(shaped), table, named, columns: names, key };
    Ok(Fit { target, plan: Some(Plan { outputs, ..plan }) })
}

impl Fitting<'_> {
    fn misfit(&self, path: &[&str], what: String, remedy: Option<String>) -> Misfit {
        let error = Error::config(format!("map {}: {what}", self.rule.topic));
        let error = match remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        };
        Misfit::new(self.at, path, error)
    }

    /// The columns of the target in order: those of the source, worked out ones in the place of their namesakes or behind,
    /// the marks of deleted rows last.
    fn columns(&self) -> Result<Vec<Draft>, Misfit> {
        let mut drafts = match &self.rule.columns {
            None => self.all_but()?,
            Some(named) => {
                named.iter().map(|(source, target)| self.named(source, target)).collect::<Result<_, _>>()?
            }
        };
        for computed in &self.rule.computed {
            let path = ["computed", computed.name.as_str(), "value"];
            let expression = self.expression(&path, &computed.value)?;
            let column = self.computed(computed, &expression)?;
            let namesake = drafts.iter_mut().find(|draft| draft.column.name == computed.name);
            match namesake {
                Some(draft) => {
                    draft.column = column;
                    draft.from = From::Expression(expression);
                }
                None => {
                    let from = From::Expression(expression);
                    drafts.push(Draft { from, original: None, dead: None, column });
                }
            }
        }
        if let OnDelete::Set(marks) = &self.rule.on_delete {
            for (name, mark) in marks {
                self.mark(&mut drafts, name, mark)?;
            }
        }
        Ok(drafts)
    }

    fn draft(&self, source: usize, target: &str) -> Option<Draft> {
        let column = Column { name: target.to_owned(), ..self.schema.columns.get(source)?.clone() };
        Some(Draft { from: From::Column(source), original: Some(source), dead: None, column })
    }

    fn all_but(&self) -> Result<Vec<Draft>, Misfit> {
        for name in &self.rule.exclude {
            if self.schema.column(name).is_none() {
                return Err(self.no_column(&["exclude"], name));
            }
        }
        let kept = self
            .schema
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !self.rule.exclude.contains(&column.name));
        Ok(kept.filter_map(|(at, column)| self.draft(at, &column.name)).collect())
    }

    fn named(&self, source: &str, target: &str) -> Result<Draft, Misfit> {
        let found = self.schema.column(source).and_then(|at| self.draft(at, target));
        found.ok_or_else(|| self.no_column(&["columns", source], source))
    }

    fn no_column(&self, path: &[&str], name: &str) -> Misfit {
        let names: Vec<_> = self.schema.columns.iter().map(|column| column.name.as_str()).collect();
        let what = format!("no column {name:?} in {}.{}", self.schema.namespace, self.schema.table);
        self.misfit(path, what, Some(format!("name one of: {}", names.join(", "))))
    }

    fn expression(&self, path: &[&str], text: &str) -> Result<Expression, Misfit> {
        let compiled = Expression::compile(text, self.schema);
        compiled.map_err(|fault| Misfit::of_expression(self.at, &self.rule.topic, path, text, fault))
    }

    /// The column that an expression makes.
    fn computed(&self, computed: &super::Computed, expression: &Expression) -> Result<Column, Misfit> {
        let name = computed.name.clone();
        let copied = expression.column().and_then(|at| self.schema.columns.get(at));
        let kind = computed.kind.or(copied.map(|column| column.kind)).or(expression.kind().kind());
        let Some(kind) = kind else {
            let what = format!("computed column {name:?} is always null, and nothing says of which type");
            let remedy = format!("computed: {{{name}: {{value: \"null\", type: text}}}}");
            return Err(self.misfit(&["computed", &name], what, Some(remedy)));
        };
        if let Some(column) = copied.filter(|column| column.kind == kind) {
            return Ok(Column { name, ..column.clone() });
        }
        if !expression.kind().becomes(kind) {
            let what =
                format!("computed column {name:?} gives {}, and no {}", expression.kind(), kind.as_str());
            let remedy = "convert it in the expression, as with int(…), or leave `type` out".to_owned();
            return Err(self.misfit(&["computed", &name, "type"], what, Some(remedy)));
        }
        let element = match expression.kind() {
            Type::Array(element) => element,
            _ => None,
        };
        Ok(Column { name, kind, element, type_name: type_name(kind).to_owned(), nullable: true })
    }

    /// A column that a delete sets: one that is there, or one of its own.
    fn mark(&self, drafts: &mut Vec<Draft>, name: &str, mark: &Mark) -> Result<(), Misfit> {
        let path = ["on_delete", "set", name];
        if let Some(draft) = drafts.iter_mut().find(|draft| draft.column.name == name) {
            if mark.datum(0).is_none_or(|datum| cast(datum, draft.column.kind).is_err()) {
                let what = format!(
                    "on_delete sets {name:?} to what its type, {}, cannot hold",
                    draft.column.kind.as_str()
                );
                return Err(self.misfit(&path, what, None));
            }
            draft.dead = Some(mark.clone());
            return Ok(());
        }
        let kind = match mark {
            Mark::Now => ValueKind::TimestampTz,
            Mark::Bool(_) => ValueKind::Bool,
            Mark::Int(_) => ValueKind::Int,
            Mark::Float(_) => ValueKind::Float,
            Mark::Text(_) => ValueKind::Text,
            Mark::Null => {
                let what = format!("on_delete sets {name:?} to null, and the target has no such column");
                return Err(self.misfit(
                    &path,
                    what,
                    Some("name a column of the target, or set `now`".to_owned()),
                ));
            }
        };
        let alive = match mark {
            Mark::Bool(value) => Mark::Bool(!value),
            _ => Mark::Null,
        };
        let column = Column {
            name: name.to_owned(),
            kind,
            element: None,
            type_name: type_name(kind).to_owned(),
            nullable: true,
        };
        drafts.push(Draft { from: From::Mark(alive), original: None, dead: Some(mark.clone()), column });
        Ok(())
    }

    /// The target's key, as places in its columns.
    fn key(&self, drafts: &[Draft]) -> Result<Vec<usize>, Misfit> {
        let named = |name: &String| drafts.iter().position(|draft| draft.column.name == *name);
        if let Some(names) = &self.rule.key {
            let find = |name: &String| {
                named(name).ok_or_else(|| {
                    let columns: Vec<_> = drafts.iter().map(|draft| draft.column.name.as_str()).collect();
                    let what = format!("key names {name:?}, which is no column of the target");
                    self.misfit(&["key"], what, Some(format!("name some of: {}", columns.join(", "))))
                })
            };
            return names.iter().map(find).collect();
        }
        let place = |key: &usize| drafts.iter().position(|draft| draft.original == Some(*key));
        let key: Option<Vec<usize>> = self.schema.key.iter().map(place).collect();
        key.ok_or_else(|| {
            let names: Vec<_> = self.schema.key_columns().map(|column| column.name.as_str()).collect();
            let (left_out, path) = match self.rule.columns {
                Some(_) => ("columns leaves part of it out", "columns"),
                None => ("exclude takes part of it out", "exclude"),
            };
            let what = format!("the key is ({}), and {left_out}", names.join(", "));
            let remedy = format!(
                "keep every column of the key in the rule for topic {}, or name another key with `key`",
                self.rule.topic
            );
            self.misfit(&[path], what, Some(remedy))
        })
    }

    /// Everything but the outputs.
    fn plan(&self, drafts: &[Draft], key: &[usize]) -> Result<Plan, Misfit> {
        let condition = match &self.rule.condition {
            None => None,
            Some(text) => {
                let condition = self.expression(&["where"], text)?;
                let fault = |fault| Misfit::of_expression(self.at, &self.rule.topic, &["where"], text, fault);
                condition.must_be_condition().map_err(fault)?;
                Some(condition)
            }
        };
        let keys = || key.iter().filter_map(|at| drafts.get(*at));
        if let Some(draft) = keys().find(|draft| draft.dead.is_some()) {
            let name = &draft.column.name;
            let what = format!("on_delete sets {name:?}, which is part of the key");
            return Err(self.misfit(&["on_delete", "set", name], what, None));
        }
        let soft = matches!(self.rule.on_delete, OnDelete::Set(_));
        if soft && key.is_empty() {
            let what = "the topic has no key, so no row can be found to be marked as deleted".to_owned();
            return Err(self.misfit(
                &["on_delete"],
                what,
                Some("name a `key`, or use on_delete: delete".to_owned()),
            ));
        }
        let source: Vec<_> =
            keys().map(|draft| if let From::Column(at) = draft.from { Some(at) } else { None }).collect();
        let same = source.iter().copied().eq(self.schema.key.iter().map(|at| Some(*at)));
        let from_key = |draft: &Draft| match &draft.from {
            From::Column(at) => self.schema.key.contains(at),
            From::Expression(expression) => {
                expression.columns().iter().all(|at| self.schema.key.contains(at))
            }
            From::Mark(_) => true,
        };
        let key_from_key = keys().all(from_key) && !self.schema.key.is_empty();
        Ok(Plan { outputs: Vec::new(), condition, rekeyed: !same, key_from_key, soft })
    }
}

impl Mark {
    /// The value, for a transaction that was committed at this time (Unix microseconds); `None` beyond all times.
    pub fn datum(&self, committed_us: i64) -> Option<Datum<'_>> {
        Some(match self {
            Mark::Now => {
                Datum::TimestampTz(committed_us.checked_sub(connector_api::civil::MICROS_1970_TO_2000)?)
            }
            Mark::Null => Datum::Null,
            Mark::Bool(value) => Datum::Bool(*value),
            Mark::Int(value) => Datum::Int(*value),
            Mark::Float(value) => Datum::Float(*value),
            Mark::Text(text) => Datum::Text(text.as_str().into()),
        })
    }
}

/// What a source would call the type of a column that it does not have.
fn type_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Bool => "boolean",
        ValueKind::Int => "bigint",
        ValueKind::Float => "double precision",
        ValueKind::Decimal => "numeric",
        ValueKind::Text | ValueKind::Array => "text",
        ValueKind::Bytes => "bytea",
        ValueKind::Uuid => "uuid",
        ValueKind::Date => "date",
        ValueKind::Time => "time without time zone",
        ValueKind::Timestamp => "timestamp without time zone",
        ValueKind::TimestampTz => "timestamp with time zone",
        ValueKind::Json => "json",
    }
}
