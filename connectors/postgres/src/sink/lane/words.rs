//! What a lane says of what went wrong, and of what is worth knowing.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_api::{Error, Kind};

use super::Lane;
use crate::error::ServerError;
use crate::sink::failure::failed;
use crate::sink::plan::Plan;
use crate::sink::session::Answer;
use crate::sink::sql::Verb;
use crate::sink::write::Sent;

impl Lane {
    #[cold]
    pub(super) fn word(&self, sent: Sent, error: &ServerError) -> Error {
        let plan = sent.plan().and_then(|at| self.plans.get(at));
        let context = plan.map_or_else(|| "apply changes".to_owned(), Plan::context);
        if error.code == "23502" && matches!(sent, Sent::Done(_, Verb::Fill | Verb::Move(false))) {
            return failed(
                format!(
                    "{context}: the update leaves values out (unchanged large values), and its row is not in the table"
                ),
                error,
            );
        }
        let made = failed(context, error);
        match (error.code.as_str(), plan) {
            ("42501", Some(plan)) if made.kind() == Kind::Config => made.with_remedy(format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO the role in `url`;",
                crate::sink::names::qualified(&self.shared.options.schema, &plan.target.table)
            )),
            _ => made,
        }
    }

    /// An update that leaves values out, of a row that is not there, is worth knowing.
    pub(super) fn tell_filled(&mut self, sent: &[Sent], answer: &Answer) {
        for (sent, done) in sent.iter().zip(&answer.done) {
            let Sent::Done(at, Verb::Fill | Verb::Move(false)) = *sent else { continue };
            let Some(plan) = self.plans.get_mut(at).filter(|_| done.rows > 0) else { continue };
            if plan.tell_filled() {
                self.notices.push(format!(
                    "table {:?}: an update left values out and its row was not there; it was inserted without them",
                    plan.target.table
                ));
            }
        }
    }
}

/// Foreign keys that are checked at the end: no single change is to blame.
pub(super) fn commit_failed(error: &ServerError) -> Error {
    let made = failed("commit transaction", error);
    match made.kind() {
        Kind::Data => Error::config(made.to_string()).with_remedy(
            "map every table that the target's foreign keys refer to, or drop the constraint, or set replica: true for this sink",
        ),
        _ => made,
    }
}
