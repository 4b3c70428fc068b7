//! One transaction of the ledger: what changes in the tables, and the entries that say so.

use connector_api::{Error, Result};
use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::chain::{self, Entry, Head};
use super::{GENESIS, Ledger};
use crate::erasure::secret::Secret;

/// Why a transaction was given up.
pub(super) enum Fault {
    Database(rusqlite::Error),
    Told(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Database(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Told(error)
    }
}

/// An open transaction.
pub(super) struct Writer<'c> {
    pub transaction: Transaction<'c>,
    secret: &'c Secret,
    /// The newest entry; read, and its mark checked, at the first append.
    head: Option<Head>,
}

impl Ledger {
    /// Runs `act` in one transaction, durable when this returns.
    pub(super) fn write<T>(&self, act: impl FnOnce(&mut Writer<'_>) -> Result<T, Fault>) -> Result<T> {
        let run = || {
            let mut connection = self.state.lock();
            // Immediate: another process that holds the database is waited for here, and not half-way.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut writer = Writer { transaction, secret: &self.secret, head: None };
            let done = act(&mut writer)?;
            writer.mark()?;
            writer.transaction.commit()?;
            Ok(done)
        };
        run().map_err(|fault| match fault {
            Fault::Database(error) => Error::transient("write the ledger of erasures").caused_by(error),
            Fault::Told(error) => error,
        })
    }
}

impl Writer<'_> {
    /// Appends an entry to the chain.
    pub fn append(&mut self, at_us: i64, entry: &Entry) -> Result<(), Fault> {
        let head = match self.head {
            Some(head) => head,
            None => self.checked_head()?,
        };
        let text = serde_json::to_string(entry)
            .map_err(|error| Error::corrupt("encode an entry of the ledger of erasures").caused_by(error))?;
        let seq = head.seq + 1;
        let skipped =
            chain::hash_at(&self.transaction, chain::skip(seq))?.ok_or_else(|| broken(chain::skip(seq)))?;
        let body = chain::body_hash(seq, at_us, entry.case(), &text);
        let hash = chain::link_hash(seq, head.hash, skipped, body);
        self.transaction
            .prepare_cached("INSERT INTO erasure_ledger VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![seq as i64, at_us, entry.case(), text, head.hash.0, hash.0])?;
        self.head = Some(Head { seq, hash });
        Ok(())
    }

    /// The newest entry, if it is the one that was marked: a chain that somebody cut or wrote anew is not gone on with,
    /// for a new mark would make it look right.
    fn checked_head(&self) -> Result<Head, Fault> {
        let head = chain::head(&self.transaction)?;
        let mark: Option<Vec<u8>> = self
            .transaction
            .query_row("SELECT head_mac FROM erasure_state", [], |row| row.get(0))
            .optional()?
            .flatten();
        let right = match mark {
            Some(mark) => self.secret.marked(&head.bytes(), &mark),
            None => head == Head { seq: 0, hash: GENESIS },
        };
        if right { Ok(head) } else { Err(broken(head.seq).into()) }
    }

    fn mark(&self) -> rusqlite::Result<()> {
        if let Some(head) = self.head {
            let mark = self.secret.mark(&head.bytes());
            self.transaction.execute("UPDATE erasure_state SET head_mac = ?1", [mark])?;
        }
        Ok(())
    }
}

fn broken(seq: u64) -> Error {
    Error::corrupt(format!(
        "append to the ledger of erasures: entry {seq} is not what this service wrote last"
    ))
    .with_remedy("keep state.db as evidence, and put the state database (state.db) back from the backup")
}
