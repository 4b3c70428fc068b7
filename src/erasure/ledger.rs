//! The ledger: what is known of every case, and an append-only, hash-chained record of how it came to be known.
//!
//! Cases are followed from the log's topic, receipts come from the sinks and the log. Every call may be repeated after a
//! crash at any point: what was recorded once is not recorded again. Each is one transaction of the state database, with
//! its entries of the chain.

mod audit;
mod case;
mod chain;
mod follow;
mod proof;
mod receipts;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;

use connector_api::{Error, Result};
use rusqlite::{Connection, OptionalExtension as _};

use crate::erasure::secret::Secret;
use crate::state::State;

pub use audit::Broken;
pub use case::{Case, CaseState, Counts, Filter, Slot, SlotState};
pub use chain::{Digest, Entry, GENESIS, Head, Left, body_hash, link_hash, skip};
pub use follow::Arrival;
pub use proof::{Link, Proof, Whole};
pub use receipts::Completion;

/// The ledger, in the service's state database. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    state: State,
    secret: Secret,
}

impl Ledger {
    /// Opens the ledger and the key that belongs to it: a key file is made where there is none and nothing was recorded yet.
    ///
    /// # Errors
    /// When erasures were recorded and the key file is missing or another one; as [`Secret::open`].
    pub fn open(state: State, key_file: Option<&Path>) -> Result<(Ledger, Secret)> {
        let recorded = recorded(&state.lock()).map_err(unreadable)?;
        let secret = match key_file {
            Some(path) if recorded => Secret::existing(path)?,
            path => Secret::open(path)?,
        };
        Ok((Ledger::on(state, &secret)?, secret))
    }

    /// The ledger of a state database, with the secret that it was begun with.
    ///
    /// # Errors
    /// [`connector_api::Kind::Config`] when erasures were recorded with another key.
    pub fn on(state: State, secret: &Secret) -> Result<Ledger> {
        let fingerprint = secret.fingerprint();
        {
            let connection = state.lock();
            let kept: Option<String> = connection
                .query_row("SELECT key_id FROM erasure_state", [], |row| row.get(0))
                .map_err(unreadable)?;
            if kept.as_deref() != Some(&fingerprint) {
                if recorded(&connection).map_err(unreadable)? {
                    return Err(another_key(kept.as_deref(), &fingerprint));
                }
                connection
                    .execute("UPDATE erasure_state SET key_id = ?1", [&fingerprint])
                    .map_err(|error| Error::transient("write the ledger of erasures").caused_by(error))?;
            }
        }
        Ok(Ledger { state, secret: secret.clone() })
    }

    /// The offset of the log's topic of erasures that is to be read next.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn followed(&self) -> Result<u64> {
        self.state
            .lock()
            .query_row("SELECT followed FROM erasure_state", [], |row| row.get::<_, i64>(0))
            .map(|offset| offset as u64)
            .map_err(unreadable)
    }

    /// The newest entry of the chain.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn head(&self) -> Result<Head> {
        chain::head(&self.state.lock()).map_err(unreadable)
    }

    /// Whether the chain has this entry: a certificate's head must be in the ledger that it came from, for ever.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn holds(&self, head: &Head) -> Result<bool> {
        let found = chain::hash_at(&self.state.lock(), head.seq).map_err(unreadable)?;
        Ok(found == Some(head.hash))
    }

    /// Writes into the tables with the triggers out of the way, as somebody does who has the file.
    #[cfg(test)]
    pub(crate) fn tamper(&self, sql: &str) -> usize {
        let connection = self.state.lock();
        let run = |sql: &str| connection.execute(sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
        for trigger in ["no_update", "no_delete", "in_order"] {
            run(&format!("DROP TRIGGER IF EXISTS erasure_ledger_{trigger}"));
        }
        run(sql)
    }
}

fn recorded(connection: &Connection) -> rusqlite::Result<bool> {
    let found = connection.query_row("SELECT 1 FROM erasure_ledger LIMIT 1", [], |_| Ok(())).optional()?;
    Ok(found.is_some())
}

fn another_key(kept: Option<&str>, found: &str) -> Error {
    Error::config(format!(
        "open the ledger of erasures: it was begun with key {}, and the key file holds {found}",
        kept.unwrap_or("(none)")
    ))
    .with_remedy("put the key file (erasure.key, beside the state database) back from the backup; a new one cannot replace it")
}

fn unreadable(error: rusqlite::Error) -> Error {
    Error::transient("read the ledger of erasures").caused_by(error)
}
