//! What a kind of subject's rules mean for one person: the steps of a sink with their values, and what a record must
//! hold to be the person's.
//!
//! Nothing here shows a key: errors name the subject's kind, the table and the expression.

use connector_api::erasure::{Action, Constant, Erasure, Step};
use connector_api::{Column, Error, Result, Schema, Value, ValueKind};

use super::rules::{self, Mark, Rule, Subject};
use crate::expression::{Datum, Expression, Failure, Fault, Type};

/// The name under which an expression knows the subject's key: `row.key`.
const KEY: &str = "key";

/// What one sink is asked to do about one person. `hash` is the keyed hash of the key, as receipts have it.
///
/// # Errors
/// [`connector_api::Kind::Config`] when an `is` gives nothing for this key.
pub fn erasure(subject: &Subject, sink: &str, case: &str, key: Value<'_>, hash: &str) -> Result<Erasure> {
    let step = |rule: &Rule| step(rule, &subject.name, key, hash);
    Ok(Erasure {
        case: case.to_owned(),
        subject: subject.name.clone(),
        key: Step::encode(key),
        steps: subject.steps(sink).iter().map(step).collect::<Result<_>>()?,
    })
}

/// One step for one person.
///
/// # Errors
/// As [`erasure`].
pub fn step(rule: &Rule, subject: &str, key: Value<'_>, hash: &str) -> Result<Step> {
    let value = wanted(rule.is.as_deref(), key)
        .map_err(|error| error.within(format!("erase a subject of {subject} in table {:?}", rule.table)))?;
    let constant = |mark: &Mark| match mark {
        Mark::Constant(constant) => constant.clone(),
        Mark::Hash => Constant::Text(hash.to_owned()),
    };
    let action = match &rule.action {
        rules::Action::Delete => Action::Delete,
        rules::Action::Keep => Action::Keep,
        rules::Action::Set(marks) => {
            Action::Set(marks.iter().map(|(name, mark)| (name.clone(), constant(mark))).collect())
        }
    };
    Ok(Step { table: rule.table.clone(), find: rule.find.clone(), value, action })
}

/// What a row or a record holds when it is this person's, encoded ([`Step::value`] reads it): the key, or what `is` makes of
/// it. Never null: null finds nothing.
///
/// # Errors
/// [`connector_api::Kind::Config`] when `is` gives nothing for this key.
pub fn wanted(is: Option<&str>, key: Value<'_>) -> Result<Vec<u8>> {
    let nothing = || Error::config("find the rows of a subject: its key is null");
    let kind = key.kind().ok_or_else(nothing)?;
    let Some(text) = is else { return Ok(Step::encode(key)) };
    let refuse = |why: String| {
        Error::config(format!("work out `is: {text}`: {why}"))
            .with_remedy("correct it in the `erasure` section; `millstream check` shows the line")
    };
    let expression =
        Expression::compile(text, &shape(kind)).map_err(|fault| refuse(fault.message.clone()))?;
    let row = [key];
    let answer = expression.run(&row).map_err(|failure| match failure {
        Failure::Unknown(_) => refuse("the key is not known".to_owned()),
        Failure::Bad(why) => refuse(why.to_owned()),
    })?;
    match answer {
        Datum::Null => Err(refuse("it gives null, which finds nothing".to_owned())),
        found => Ok(Step::encode(found.value())),
    }
}

/// Finds what can be known to be wrong with an `is` while nobody knows of which kind keys are.
///
/// # Errors
/// What is wrong, and where in the text.
pub fn check(text: &str) -> std::result::Result<(), Fault> {
    let mut faults = ValueKind::ALL.iter().map(|kind| compiled(text, *kind).err());
    // What is good for one kind may be meant for it. Otherwise keys are most likely numbers.
    if faults.any(|fault| fault.is_none()) {
        return Ok(());
    }
    compiled(text, ValueKind::Int).map(drop)
}

/// The type of what an `is` gives for keys of a kind.
///
/// # Errors
/// What is wrong, and where in the text.
pub fn kind_of(is: Option<&str>, key: ValueKind) -> std::result::Result<Type, Fault> {
    match is {
        None => Ok(Type::of_kind(key)),
        Some(text) => compiled(text, key).map(|expression| expression.kind()),
    }
}

fn compiled(text: &str, kind: ValueKind) -> std::result::Result<Expression, Fault> {
    let expression = Expression::compile(text, &shape(kind))?;
    match expression.kind() {
        Type::Null => Err(Fault::whole(text, "this is always null, and null finds nothing")),
        _ => Ok(expression),
    }
}

/// What an expression sees: one column.
fn shape(kind: ValueKind) -> Schema {
    let column = Column {
        name: KEY.to_owned(),
        kind,
        element: None,
        type_name: kind.as_str().to_owned(),
        nullable: false,
    };
    Schema {
        namespace: "erasure".to_owned(),
        table: "subject".to_owned(),
        columns: vec![column],
        key: vec![0],
    }
}

#[cfg(test)]
mod tests;
