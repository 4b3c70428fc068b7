//! What to do to bring a target table to the shape that a topic needs, as far as the sink may.

use connector_api::{Finding, Result, Severity};

use crate::catalog::Object;
use crate::ddl::Wanted;
use crate::dialect::Dialect;
use crate::gap::{Gap, Rights, gaps};

/// One thing to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run these statements, and then tell.
    Run {
        /// What they close. A table that was missing is the sink's own from now on.
        gap: Gap,
        /// The statements.
        statements: Vec<String>,
        /// What a person reads then.
        notice: String,
    },
    /// Tell a person.
    Tell(String),
}

/// What a sink does before it writes to a table.
///
/// # Errors
/// [`connector_api::Kind::Config`] for a difference that the sink may not or cannot close, with the statement that does.
pub fn actions<D: Dialect>(
    wanted: &Wanted<'_, D>,
    object: &Object<D>,
    rights: Rights,
) -> Result<Vec<Action>> {
    let mut actions = Vec::new();
    for gap in gaps(wanted, object) {
        if let Some(statements) = gap.repair(wanted, rights) {
            let notice = gap.repaired(wanted);
            actions.push(Action::Run { gap, statements, notice });
            continue;
        }
        let finding = gap.finding(wanted, rights);
        match finding.severity {
            Severity::Error => return Err(gap.error(wanted, rights)),
            Severity::Warning => actions.push(Action::Tell(format!("{}: {}", finding.place, finding.what))),
            Severity::Note => {}
        }
    }
    Ok(actions)
}

/// What `check` says of a table.
pub fn findings<D: Dialect>(wanted: &Wanted<'_, D>, object: &Object<D>, rights: Rights) -> Vec<Finding> {
    let finding = |gap: Gap| {
        let finding = gap.finding(wanted, rights);
        match gap.repair(wanted, rights) {
            None => finding,
            Some(_) => Finding {
                severity: Severity::Note,
                what: format!("{}; the sink will see to it", finding.what),
                remedy: None,
                ..finding
            },
        }
    };
    gaps(wanted, object).into_iter().map(finding).collect()
}
