//! What is asked about cases, by the admin API and by the command line alike.

use connector_api::{Error, Result};

use super::Erasures;
use super::certificate::Issue;
use super::ledger::{Case, CaseState, Filter};
use super::view::CaseView;
use crate::pipeline::status::now_us;

impl Erasures {
    /// Cases, newest first.
    ///
    /// # Errors
    /// For a state that there is not; when the state database cannot be read.
    pub fn cases(&self, subject: Option<String>, state: Option<&str>, limit: usize) -> Result<Vec<CaseView>> {
        let now = now_us();
        let state = match state {
            None => None,
            Some("open") => Some(CaseState::Open),
            Some("overdue") => Some(CaseState::Overdue(now)),
            Some("completed") => Some(CaseState::Completed),
            Some("violated") => Some(CaseState::Violated),
            Some(_) => return Err(Error::config("a state is open, overdue, completed or violated")),
        };
        let filter = Filter { subject, state, ..Filter::default() };
        Ok(self.ledger.cases(&filter, limit)?.iter().map(|case| CaseView::of(case, now)).collect())
    }

    /// One case.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn case(&self, id: &str) -> Result<Case> {
        self.ledger.case(id)?.ok_or_else(|| {
            Error::config(format!("no case {id:?}")).with_remedy("millstream erasures CONFIG list")
        })
    }

    /// A case's certificate, as text; `service` is the id of the log.
    ///
    /// # Errors
    /// When the case is not complete.
    pub fn certificate(&self, service: &str, id: &str) -> Result<String> {
        let rules = self.gate.rules.subject(&self.case(id)?.subject);
        let (ledger, secret, at_us) = (&self.ledger, &self.gate.secret, now_us());
        Issue { ledger, secret, rules, service, at_us }.certificate(id)?.to_json()
    }
}
