//! Erasing on one connection, and letting go of what it holds so that another can.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use connector_api::erasure::{Erased, Erasure};
use connector_api::{LogId, Result, TopicPartition};

use super::{BEGIN, DEFER, Lane, Transaction};
use crate::sink::cursor::CursorStore;
use crate::sink::erase;

impl Lane {
    /// Commits what was applied, with the place in the cursor that it reaches (I3). A record that was refused is behind that
    /// place, too: it was set aside before.
    pub(in crate::sink) async fn commit_applied(
        &mut self,
        store: &CursorStore,
        log: LogId,
    ) -> Result<Vec<(TopicPartition, u64)>> {
        let moved: Vec<_> = std::mem::take(&mut self.applied).into_iter().collect();
        let moved = store.beyond(moved);
        self.commit(store, log, &moved).await.map(|()| moved)
    }

    /// Acts on the steps of an erasure in the open transaction.
    pub(in crate::sink) async fn erase(&mut self, erasure: &Erasure) -> Result<Vec<Erased>> {
        self.usable()?;
        self.connect().await?;
        let result = self.erase_steps(erasure).await;
        if result.is_err() {
            self.fail();
        }
        result
    }

    async fn erase_steps(&mut self, erasure: &Erasure) -> Result<Vec<Erased>> {
        let shared = self.shared.clone();
        let begun = self.is_open();
        let session = self.session()?;
        if !begun {
            session.query("begin transaction", &BEGIN.sql).await?;
        }
        // Constraints that can wait are looked at when all steps are done.
        session.query("begin transaction", &DEFER.sql).await?;
        let mut done = Vec::with_capacity(erasure.steps.len());
        for step in &erasure.steps {
            done.push(erase::act(session, &shared.sql, step).await?);
        }
        self.transaction = Transaction::Dirty;
        Ok(done)
    }
}
