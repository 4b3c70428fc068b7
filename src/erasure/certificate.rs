//! A certificate: what the ledger says of one complete case, signed, to be checked by anyone, without this service.
//!
//! What it tells comes out of the chain's entries and nowhere else; [`verify`] makes the same of the entries that the
//! certificate carries, and compares.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

mod canonical;
mod story;
#[cfg(test)]
mod tests;
mod verify;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connector_api::civil::{MICROS_1970_TO_2000, put_timestamp};
use connector_api::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::erasure::event::Trigger;
use crate::erasure::ledger::{Ledger, Left, Proof};
use crate::erasure::receipt::Done;
use crate::erasure::rules::{Coverage, LogRule, Subject};
use crate::erasure::secret::Secret;
use story::Story;

pub use verify::{Check, Report, Verdict, verify};

/// What a certificate calls itself.
pub const FORM: &str = "millstream erasure certificate";
/// The version of the form. One that is not known is not guessed at (I9).
pub const VERSION: u32 = 1;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`FORM`].
    pub certificate: String,
    /// [`VERSION`].
    pub version: u32,
    /// Who made it.
    pub issuer: Issuer,
    /// When, RFC 3339.
    pub issued_at: String,
    /// The case.
    pub case: About,
    /// What each target did, in the order in which it was recorded.
    pub receipts: Vec<Certified>,
    /// Sinks that hold the subject's data and were not asked, by the configuration when this was made.
    pub exempt: Vec<Exempt>,
    /// What the log itself does, by the configuration when this was made; absent when it no longer has this kind of subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogPolicy>,
    /// When it was looked again whether absence holds.
    pub verifications: Vec<Looked>,
    /// That the entries of all this are in the ledger.
    pub proof: Proof,
    /// The Ed25519 key that it is signed with, base64.
    pub public_key: String,
    /// The key's SHA-256, hex: compare it with the one that the operator publishes.
    pub fingerprint: String,
    /// Ed25519 over the canonical bytes of all the rest, base64.
    pub signature: String,
}

/// Who made a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The program.
    pub program: String,
    /// Its version.
    pub version: String,
    /// Which service: the id of its log.
    pub service: String,
}

/// The case of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Its id.
    pub id: String,
    /// The kind of subject.
    pub subject: String,
    /// The keyed hash of the subject's key.
    pub key_hash: String,
    /// What opened it.
    pub trigger: Trigger,
    /// Its offset in the log's topic of erasures.
    pub offset: u64,
    /// The targets whose receipts were due.
    pub due: Vec<String>,
    /// When it opened.
    pub opened_at: String,
    /// Until when it was due.
    pub deadline_at: String,
    /// When every due receipt was there.
    pub completed_at: String,
    /// When the subject came back by itself: a new row with its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned_at: Option<String>,
}

/// A receipt in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certified {
    /// The sink, or `log`.
    pub target: String,
    /// Its type.
    pub kind: String,
    /// When it was committed.
    pub committed_at: String,
    /// What stands before this offset of the log's topic of erasures had been applied before.
    pub offset: u64,
    /// Asked again in the same transaction, nothing was left.
    pub verified: bool,
    /// What was done, table by table.
    pub steps: Vec<Done>,
    /// When no bytes were left under the rows, as far as the target knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrubbed_at: Option<String>,
    /// What such a deletion leaves there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remains: Option<String>,
    /// Who confirmed it, where the target cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
}

/// A sink that was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exempt {
    /// The sink.
    pub sink: String,
    /// Why.
    pub reason: String,
}

/// What the log does about a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPolicy {
    /// `purge`, or `keep` until retention removes it.
    pub policy: String,
    /// Why it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A look at whether absence holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Looked {
    /// When.
    pub at: String,
    /// What each target had.
    pub left: Vec<Left>,
}

/// What a certificate is made from.
#[derive(Clone, Copy)]
pub struct Issue<'a> {
    /// The ledger.
    pub ledger: &'a Ledger,
    /// What signs.
    pub secret: &'a Secret,
    /// The rules of the case's kind of subject, if the configuration still has it.
    pub rules: Option<&'a Subject>,
    /// Which service: the id of its log.
    pub service: &'a str,
    /// Now, Unix microseconds.
    pub at_us: i64,
}

impl Issue<'_> {
    /// The certificate of a complete case.
    ///
    /// # Errors
    /// [`connector_api::Kind::Data`] for a case that is not known or not complete; [`connector_api::Kind::Corrupt`] when
    /// the ledger's tables do not agree with its chain.
    pub fn certificate(&self, case: &str) -> Result<Certificate> {
        let unknown = || {
            Error::data(format!("certify case {case}: there is none"))
                .with_remedy("millstream erasures CONFIG list")
        };
        let found = self.ledger.case(case)?.ok_or_else(unknown)?;
        let proof = self.ledger.proof(case)?.ok_or_else(unknown)?;
        if found.completed_us.is_none() {
            let missing: Vec<&str> = found.missing().collect();
            return Err(Error::data(format!(
                "certify case {case}: it waits for the receipts of {}",
                missing.join(", ")
            ))
            .with_remedy("millstream status CONFIG"));
        }
        let disagree = |why: String| {
            Error::corrupt(format!("certify case {case}: {why}")).with_remedy(
                "keep state.db as evidence, and put the state database (state.db) back from the backup",
            )
        };
        let story = Story::of(&proof.entries(case).map_err(disagree)?).map_err(disagree)?;
        if story.receipts.len() != found.receipts().count() {
            return Err(disagree("the receipts are not those of the ledger's chain".to_owned()));
        }
        let mut certificate = self.unsigned(story, proof);
        certificate.signature = BASE64.encode(self.secret.sign(&certificate.signed_bytes()?));
        Ok(certificate)
    }

    fn unsigned(&self, story: Story, proof: Proof) -> Certificate {
        let exempt = |(sink, coverage): (&String, &Coverage)| {
            let Coverage::Exempt(reason) = coverage else { return None };
            Some(Exempt { sink: sink.clone(), reason: reason.clone() })
        };
        let policy = |rules: &Subject| match &rules.log {
            LogRule::Purge => LogPolicy { policy: "purge".to_owned(), reason: None },
            LogRule::Keep(reason) => LogPolicy { policy: "keep".to_owned(), reason: Some(reason.clone()) },
        };
        Certificate {
            certificate: FORM.to_owned(),
            version: VERSION,
            issuer: Issuer {
                program: "millstream".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                service: self.service.to_owned(),
            },
            issued_at: rfc3339(self.at_us),
            case: story.about,
            receipts: story.receipts,
            exempt: self.rules.iter().flat_map(|rules| rules.sinks.iter().filter_map(exempt)).collect(),
            log: self.rules.map(policy),
            verifications: story.verifications,
            proof,
            public_key: BASE64.encode(self.secret.public_key()),
            fingerprint: self.secret.fingerprint(),
            signature: String::new(),
        }
    }
}

impl Certificate {
    /// As a file: JSON for people to read, too.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|error| Error::corrupt("encode a certificate").caused_by(error))
    }

    /// What the signature is over.
    fn signed_bytes(&self) -> Result<Vec<u8>> {
        let encode = || Error::corrupt("encode a certificate");
        let document = serde_json::to_value(self).map_err(|error| encode().caused_by(error))?;
        canonical::signed_bytes(&document).map_err(|why| encode().caused_by(why))
    }
}

/// Unix microseconds as RFC 3339, in UTC.
pub fn rfc3339(us: i64) -> String {
    let mut text = String::new();
    put_timestamp(&mut text, us.saturating_sub(MICROS_1970_TO_2000), 'T', "Z");
    text
}
