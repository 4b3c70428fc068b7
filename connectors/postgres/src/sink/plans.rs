//! The plans of one session's tables.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::HashMap;
use std::sync::Arc;

use connector_api::{Result, Target};
use connector_sql::names::check_target;

use super::catalog::References;
use super::evolve::{Basis, evolve};
use super::plan::Plan;
use super::session::Session;

/// More targets than this are worked out anew when they are met again.
const PLANS_MAX: usize = 10_000;

/// Plans by the addresses of their targets. The plans hold them, so that no address can come to mean another.
#[derive(Debug, Default)]
pub(super) struct Plans {
    list: Vec<Plan>,
    index: HashMap<usize, usize>,
    /// How many of the list a commit has made permanent: a rollback takes the tables of the others away.
    settled: usize,
    references: References,
}

fn address(target: &Arc<Target>) -> usize {
    Arc::as_ptr(target) as usize
}

impl Plans {
    /// The number of a target's plan, if it has one.
    #[inline]
    pub(super) fn find(&self, target: &Arc<Target>) -> Option<usize> {
        self.index.get(&address(target)).copied()
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Plan> {
        self.list.get_mut(at)
    }

    pub(super) fn get(&self, at: usize) -> Option<&Plan> {
        self.list.get(at)
    }

    /// Works a plan out, creating or extending the table inside the open transaction.
    pub(super) async fn add(
        &mut self,
        session: &mut Session,
        basis: Basis<'_>,
        target: &Arc<Target>,
        notices: &mut Vec<String>,
    ) -> Result<()> {
        check_target(basis.sql, target)?;
        let (table, changed) = evolve(session, basis, target, notices).await?;
        if changed {
            // What was prepared may be about columns of another type.
            session.forget()?;
            let name = target.table.clone();
            self.remove(|plan| plan.target.table == name && plan.target != *target);
        }
        self.references = References::read(session, &basis.sql.schema).await?;
        if self.list.len() >= PLANS_MAX {
            self.remove(|_| true);
        }
        self.list.push(Plan::new(target, basis.sql, &table)?);
        self.index.insert(address(target), self.list.len() - 1);
        Ok(())
    }

    /// Whether the transaction has to put constraints off to its end.
    pub(super) fn defers(&self) -> bool {
        self.references.deferrable
    }

    /// Parents before children.
    pub(super) fn rank(&self, target: &Target) -> u32 {
        self.references.rank(&target.table)
    }

    /// What is planned stands in the target for good.
    pub(super) fn settle(&mut self) {
        self.settled = self.list.len();
    }

    /// The tables that were made since the last commit are gone again.
    pub(super) fn rolled_back(&mut self) {
        self.list.truncate(self.settled);
        self.reindex();
    }

    /// Forgets all: somebody changed the tables.
    pub(super) fn forget(&mut self) {
        self.remove(|_| true);
    }

    fn remove(&mut self, which: impl Fn(&Plan) -> bool) {
        let settled = self.settled;
        let mut at = 0;
        self.list.retain(|plan| {
            let goes = which(plan);
            self.settled -= usize::from(goes && at < settled);
            at += 1;
            !goes
        });
        self.reindex();
    }

    fn reindex(&mut self) {
        self.index.clear();
        let entries = self.list.iter().enumerate();
        self.index.extend(entries.map(|(at, plan)| (address(&plan.target), at)));
    }
}
