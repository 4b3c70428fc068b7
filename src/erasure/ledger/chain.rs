//! The chain: entries, and how each is bound to all before it.
//!
//! ```text
//! body(n) = SHA-256("millstream ledger entry 1" · u64 n · i64 at_us · len(case) · case · len(text) · text)
//! hash(n) = SHA-256("millstream ledger link 1"  · u64 n · hash(n - 1) · hash(skip(n)) · body(n))
//! skip(n) = n without its lowest set bit;  hash(0) = 32 zero bytes
//! ```
//!
//! Numbers are big-endian, lengths are u64. Each entry is bound to the one before it, so it is a chain; the second link
//! makes the way from any entry to any older one short, so that a certificate stays small in a ledger of millions.

use ring::digest::{Context, SHA256};
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::erasure::event::Trigger;
use crate::erasure::receipt::Receipt;

/// A SHA-256; hex in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

/// What stands before the first entry.
pub const GENESIS: Digest = Digest([0; 32]);

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(&text, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Digest(bytes))
    }
}

/// One entry of the chain, as JSON text in the database and in certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// A case opened.
    Opened {
        /// The case.
        case: String,
        /// The kind of subject.
        subject: String,
        /// The keyed hash of its key.
        key_hash: String,
        /// What opened it.
        trigger: Trigger,
        /// When, Unix microseconds.
        opened_us: i64,
        /// Until when it is due.
        deadline_us: i64,
        /// Its offset in the log's topic of erasures.
        offset: u64,
        /// The targets whose receipts are due.
        due: Vec<String>,
    },
    /// A receipt became final.
    Receipt(Receipt),
    /// No bytes are left under the rows of a receipt, as far as the target knows.
    Scrubbed {
        /// The case.
        case: String,
        /// The target.
        target: String,
    },
    /// Every due receipt is there.
    Completed {
        /// The case.
        case: String,
    },
    /// It was looked again whether absence holds.
    Verified {
        /// The case.
        case: String,
        /// What each target still had.
        left: Vec<Left>,
    },
    /// A new row of the subject came: from here on its changes pass.
    Lifted {
        /// The case.
        case: String,
        /// The offset of the event.
        offset: u64,
    },
}

/// What a target had at a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// The target.
    pub target: String,
    /// Rows of the subject: 0 when absence holds.
    pub left: u64,
}

impl Entry {
    /// The case that it is about.
    pub fn case(&self) -> &str {
        match self {
            Entry::Receipt(receipt) => &receipt.case,
            Entry::Opened { case, .. }
            | Entry::Scrubbed { case, .. }
            | Entry::Completed { case }
            | Entry::Verified { case, .. }
            | Entry::Lifted { case, .. } => case,
        }
    }
}

/// The newest entry of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its number; 0 when there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
}

impl Head {
    /// What the mark on the head is over.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.seq.to_be_bytes().as_slice(), &self.hash.0].concat()
    }
}

/// The older entry that an entry is bound to besides the one before it.
pub fn skip(seq: u64) -> u64 {
    seq & seq.saturating_sub(1)
}

/// The hash of what an entry says.
pub fn body_hash(seq: u64, at_us: i64, case: &str, text: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(b"millstream ledger entry 1");
    context.update(&seq.to_be_bytes());
    context.update(&at_us.to_be_bytes());
    for part in [case, text] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    finish(context)
}

/// The hash that binds an entry to those before it.
pub fn link_hash(seq: u64, prev: Digest, skip: Digest, body: Digest) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(b"millstream ledger link 1");
    context.update(&seq.to_be_bytes());
    for part in [prev, skip, body] {
        context.update(&part.0);
    }
    finish(context)
}

fn finish(context: Context) -> Digest {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Digest(bytes)
}

pub(super) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let newest = connection
        .prepare_cached("SELECT seq, hash FROM erasure_ledger ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok(Head { seq: row.get::<_, i64>(0)? as u64, hash: Digest(row.get(1)?) }))
        .optional()?;
    Ok(newest.unwrap_or(Head { seq: 0, hash: GENESIS }))
}

pub(super) fn hash_at(connection: &Connection, seq: u64) -> rusqlite::Result<Option<Digest>> {
    if seq == 0 {
        return Ok(Some(GENESIS));
    }
    connection
        .prepare_cached("SELECT hash FROM erasure_ledger WHERE seq = ?1")?
        .query_row([seq as i64], |row| row.get(0).map(Digest))
        .optional()
}
