//! The proof that a case's entries are in the chain: the way from the newest entry down to the case's first.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use connector_api::{Error, Result};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::chain::{self, Digest, Entry, GENESIS, Head, body_hash, link_hash, skip};
use super::{Ledger, unreadable};

/// The way from the newest entry to the first of a case, through all of the case's entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The newest entry when the proof was made.
    pub head: Head,
    /// Downwards; the first is the head's own.
    pub links: Vec<Link>,
}

/// One entry on the way: the case's own whole, others as the hash of what they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its number.
    pub seq: u64,
    /// The hash of the entry before it.
    pub prev: Digest,
    /// The hash of the entry that it skips to; the same as `prev` where it is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<Digest>,
    /// Of another case's entry, the hash of what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Digest>,
    /// Of the case's own entry, all that it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Whole>,
}

/// An entry, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// When it was written, Unix microseconds.
    pub at_us: i64,
    /// The JSON text, byte by byte as it was hashed.
    pub text: String,
}

impl Ledger {
    /// The proof of a case's entries, at this moment; `None` for a case without entries.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] when the chain does not bind them.
    pub fn proof(&self, case: &str) -> Result<Option<Proof>> {
        let proof = walk(&self.state.lock(), case).map_err(unreadable)?;
        if let Some(Err(why)) = proof.as_ref().map(|proof| proof.entries(case)) {
            return Err(Error::corrupt(format!("prove case {case} by the ledger of erasures: {why}"))
                .with_remedy(
                    "keep state.db as evidence, and put the state database (state.db) back from the backup",
                ));
        }
        Ok(proof)
    }
}

fn walk(connection: &Connection, case: &str) -> rusqlite::Result<Option<Proof>> {
    let mut own = connection
        .prepare_cached("SELECT seq FROM erasure_ledger WHERE case_id = ?1 ORDER BY seq")?
        .query_map([case], |row| row.get::<_, i64>(0).map(|seq| seq as u64))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    if own.is_empty() {
        return Ok(None);
    }
    let head = chain::head(connection)?;
    let (mut links, mut seq) = (Vec::new(), head.seq);
    while let Some(next) = own.last().copied() {
        links.push(link(connection, seq, seq == next)?);
        if seq == next {
            own.pop();
        }
        let Some(next) = own.last().copied() else { break };
        // As far as the second link goes without passing the next one.
        seq = if skip(seq) >= next { skip(seq) } else { seq - 1 };
    }
    Ok(Some(Proof { head, links }))
}

fn link(connection: &Connection, seq: u64, whole: bool) -> rusqlite::Result<Link> {
    let mut statement = connection
        .prepare_cached("SELECT at_us, case_id, entry, prev_hash FROM erasure_ledger WHERE seq = ?1")?;
    let (at_us, case, text, prev) = statement.query_row([seq as i64], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, Digest(row.get(3)?)))
    })?;
    let far = if skip(seq) == seq - 1 { None } else { chain::hash_at(connection, skip(seq))? };
    let body = (!whole).then(|| body_hash(seq, at_us, &case, &text));
    Ok(Link { seq, prev, skip: far, body, entry: whole.then_some(Whole { at_us, text }) })
}

impl Proof {
    /// The case's entries, oldest first, with their times, if the chain binds them; else why it does not.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn entries(&self, case: &str) -> Result<Vec<(i64, Entry)>, String> {
        let mut entries = Vec::new();
        // What the next link must be: one of these numbers, with its hash.
        let mut next = [(self.head.seq, self.head.hash), (self.head.seq, self.head.hash)];
        for link in &self.links {
            let seq = link.seq;
            let wanted = next.iter().find(|(at, _)| *at == seq && seq > 0);
            let Some((_, wanted)) = wanted else {
                return Err(format!("entry {seq} does not follow the one before it in the proof"));
            };
            let far = link.skip.unwrap_or(link.prev);
            if link.skip.is_none() && skip(seq) != seq - 1 {
                return Err(format!("entry {seq} does not say what it skips to"));
            }
            let body = match (&link.entry, link.body) {
                (Some(whole), None) => {
                    entries
                        .push((whole.at_us, read(case, whole).map_err(|why| format!("entry {seq}: {why}"))?));
                    body_hash(seq, whole.at_us, case, &whole.text)
                }
                (None, Some(body)) => body,
                _ => return Err(format!("entry {seq} is neither whole nor hashed")),
            };
            if link_hash(seq, link.prev, far, body) != *wanted {
                return Err(format!("entry {seq} does not have the hash that the chain gives it"));
            }
            next = [(seq - 1, link.prev), (skip(seq), far)];
            if next.iter().any(|(at, hash)| *at == 0 && *hash != GENESIS) {
                return Err(format!("entry {seq} follows something that is not the beginning"));
            }
        }
        if self.links.is_empty() {
            return Err("it holds no entry".to_owned());
        }
        entries.reverse();
        Ok(entries)
    }
}

fn read(case: &str, whole: &Whole) -> Result<Entry, String> {
    let entry: Entry =
        serde_json::from_str(&whole.text).map_err(|error| format!("it cannot be read ({error})"))?;
    if entry.case() == case { Ok(entry) } else { Err("it is about another case".to_owned()) }
}
