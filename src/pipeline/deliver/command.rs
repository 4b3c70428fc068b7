//! What an operator may ask of a running sink.

use connector_api::{Cursor, Error, Kind, Result};
use tokio::sync::{mpsc, oneshot};

use super::Session;
use crate::pipeline::dead_letter::{Blocked, Selection};
use crate::pipeline::shape::Captured;

/// What an operator may ask of a running sink. Done between two commits.
#[derive(Debug)]
pub enum Command {
    /// Apply dead letters again, in order; answers how many were applied.
    RetryDeadLetters(Selection, oneshot::Sender<Result<u64>>),
    /// Forget dead letters; answers how many.
    DropDeadLetters(Selection, oneshot::Sender<Result<u64>>),
    /// Move the cursor.
    Reset(Cursor, oneshot::Sender<Result<()>>),
}

/// While the sink is failed, commands are answered with the reason.
pub(super) async fn refuse(commands: &mut mpsc::Receiver<Command>, error: &Error) {
    let Some(command) = commands.recv().await else { return std::future::pending().await };
    let made = || Error::new(error.kind(), format!("the sink is not running: {error}"));
    match command {
        Command::RetryDeadLetters(_, answer) | Command::DropDeadLetters(_, answer) => {
            drop(answer.send(Err(made())))
        }
        Command::Reset(_, answer) => drop(answer.send(Err(made()))),
    }
}

impl Session<'_> {
    pub(super) async fn obey(&mut self, command: Command) -> Result<()> {
        self.commit().await?;
        match command {
            Command::RetryDeadLetters(which, answer) => {
                let retried = self.retry_dead_letters(&which).await;
                tell(answer, retried)
            }
            Command::DropDeadLetters(which, answer) => {
                let dropped = self.drop_dead_letters(&which);
                tell(answer, dropped)
            }
            Command::Reset(cursor, answer) => {
                let moved = self.reset(cursor).await;
                tell(answer, moved)
            }
        }
    }

    /// Applies letters in order, each in a commit of its own. A key with a letter that fails again, or that is not
    /// meant, stays blocked: what came later on that key waits.
    async fn retry_dead_letters(&mut self, which: &Selection) -> Result<u64> {
        let name = self.deliver.name.clone();
        let mut waiting = Blocked::default();
        let mut applied = 0;
        for letter in self.deliver.dead_letters.list(&name, usize::MAX)? {
            let change = letter.change()?;
            let captured = Captured { topic: &letter.topic, transaction: letter.transaction(), change };
            if !which.has(letter.id) || waiting.holds(&captured) {
                waiting.add(&captured);
                continue;
            }
            match self.retry(&captured).await {
                Ok(()) => {
                    // Crash between these two: the letter is applied once more, which changes nothing for a row with a key.
                    self.sink.commit(&self.cursor).await?;
                    self.deliver.dead_letters.remove(&name, &Selection::Ids(vec![letter.id]))?;
                    applied += 1;
                }
                Err(error) if error.kind() == Kind::Data => {
                    // What failed may have begun a transaction, and its lock on the target.
                    self.sink.rollback().await?;
                    self.deliver.dead_letters.put(&name, &captured, &error.to_string())?;
                    waiting.add(&captured);
                }
                Err(error) => return Err(error),
            }
        }
        self.recount()?;
        Ok(applied)
    }

    async fn retry(&mut self, captured: &Captured<'_>) -> Result<()> {
        self.shaper.apply(captured, &mut *self.sink)?;
        match self.sink.flush().await?.into_iter().next() {
            None => Ok(()),
            Some(refused) => Err(refused.error),
        }
    }

    fn drop_dead_letters(&mut self, which: &Selection) -> Result<u64> {
        let dropped = self.deliver.dead_letters.remove(&self.deliver.name, which)?;
        self.recount()?;
        Ok(dropped)
    }

    pub(super) fn recount(&mut self) -> Result<()> {
        self.blocked = self.deliver.dead_letters.blocked(&self.deliver.name)?;
        self.deliver.status.lock().dead_letters = self.deliver.dead_letters.count(&self.deliver.name)?;
        Ok(())
    }

    async fn reset(&mut self, cursor: Cursor) -> Result<()> {
        self.sink.reset(&cursor).await?;
        self.reader = self.deliver.log.subscribe(self.deliver.subscription.clone(), cursor.clone())?;
        self.cursor = cursor;
        self.deliver.log.commit_group(&self.deliver.name, &self.cursor)?;
        self.deliver.status.lock().cursor = Some(self.cursor.clone());
        Ok(())
    }
}

/// Answers the operator; a failure also ends the attempt, because the sink's transaction may be void.
fn tell<T>(answer: oneshot::Sender<Result<T>>, outcome: Result<T>) -> Result<()> {
    match outcome {
        Ok(done) => {
            drop(answer.send(Ok(done)));
            Ok(())
        }
        Err(error) => {
            drop(answer.send(Err(Error::new(error.kind(), error.to_string()))));
            Err(error)
        }
    }
}
