//! A certificate checked, offline: by its own bytes and, where it is known, the fingerprint of the key that may sign.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::Serialize;
use serde_json::Value;

use super::story::Story;
use super::{Certificate, FORM, VERSION, canonical};
use crate::erasure::secret::fingerprint;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// No check failed.
    pub valid: bool,
    /// The case, if the document could be read.
    pub case: Option<String>,
    /// The fingerprint of the key that it is signed with.
    pub fingerprint: Option<String>,
    /// Each check, in order.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `form`, `signature`, `signer`, `chain`, `agreement`, `completeness`, `absence`.
    pub what: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What holds, or what is wrong; a plain sentence.
    pub why: String,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not hold.
    Fails,
    /// It was not looked at.
    Open,
}

/// Checks a certificate: its form, its signature, who signed, the hashes of its proof, that it says what the ledger's entries say,
/// that these tell of a complete erasure, and that absence was not found broken later.
///
/// `expected` is the fingerprint that the operator publishes. Without one anybody may have signed.
pub fn verify(bytes: &[u8], expected: Option<&str>) -> Report {
    let mut report = Report { valid: true, case: None, fingerprint: None, checks: Vec::new() };
    let (document, certificate) = match read(bytes) {
        Ok(read) => read,
        Err(why) => {
            report.add("form", Err(format!("this is no certificate that this program can read: {why}")));
            return report;
        }
    };
    report.case = Some(certificate.case.id.clone());
    report.add("form", Ok(format!("a certificate of version {VERSION}")));
    report.add("signature", signature(&document, &certificate));
    match signer(&certificate) {
        Ok(signer) => {
            report.compare(&signer, &certificate, expected);
            report.fingerprint = Some(signer);
        }
        Err(why) => report.add("signer", Err(why)),
    }
    match certificate.proof.entries(&certificate.case.id) {
        Ok(entries) => {
            let head = certificate.proof.head.seq;
            report.add(
                "chain",
                Ok(format!("{} entries of the case are bound to entry {head} of the ledger", entries.len())),
            );
            match Story::of(&entries) {
                Ok(story) => report.tell(&story, &certificate),
                Err(why) => {
                    report.add("agreement", Err(format!("the entries tell of no complete case: {why}")))
                }
            }
        }
        Err(why) => report.add("chain", Err(format!("the proof does not hold: {why}"))),
    }
    report
}

impl Report {
    fn add(&mut self, what: &'static str, found: Result<String, String>) {
        let (verdict, why) = match found {
            Ok(why) => (Verdict::Holds, why),
            Err(why) => (Verdict::Fails, why),
        };
        self.valid &= verdict != Verdict::Fails;
        self.checks.push(Check { what, verdict, why });
    }

    fn compare(&mut self, signer: &str, certificate: &Certificate, expected: Option<&str>) {
        if certificate.fingerprint != signer {
            return self.add("signer", Err(format!("it names another key than it is signed with, {signer}")));
        }
        match expected.map(plain) {
            Some(expected) if expected == signer => {
                self.add("signer", Ok("the key is the one that was expected".into()))
            }
            Some(_) => {
                self.add("signer", Err(format!("it is signed with another key than was expected: {signer}")))
            }
            None => self.checks.push(Check {
                what: "signer",
                verdict: Verdict::Open,
                why: format!(
                    "compare the key's fingerprint with the one that the operator publishes: {signer}"
                ),
            }),
        }
    }

    fn tell(&mut self, story: &Story, certificate: &Certificate) {
        let differs = [
            ("case", story.about != certificate.case),
            ("receipts", story.receipts != certificate.receipts),
            ("verifications", story.verifications != certificate.verifications),
        ];
        let differs: Vec<&str> =
            differs.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect();
        self.add(
            "agreement",
            if differs.is_empty() {
                Ok("it says what the ledger's entries say".into())
            } else {
                Err(format!("it does not say what the ledger's entries say: {}", differs.join(", ")))
            },
        );
        let missing = story.missing();
        self.add(
            "completeness",
            if missing.is_empty() {
                Ok(format!("all {} receipts that were due are there", story.about.due.len()))
            } else {
                Err(format!("there is missing: {}", missing.join(", ")))
            },
        );
        let found =
            story.verifications.last().map(|looked| (looked, looked.left.iter().find(|left| left.left > 0)));
        self.add(
            "absence",
            match found {
                Some((looked, Some(left))) => Err(format!(
                    "{} rows of the subject were found again in {} at {}",
                    left.left, left.target, looked.at
                )),
                Some((looked, None)) => Ok(format!("last looked at {}, and nothing was found", looked.at)),
                None => Ok("not looked at again since".into()),
            },
        );
    }
}

fn read(bytes: &[u8]) -> Result<(Value, Certificate), String> {
    // Typed first: it refuses members that are not known or stand there twice, of which two readers could read two things.
    let certificate: Certificate = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if certificate.certificate != FORM || certificate.version != VERSION {
        return Err(format!("it is not a {FORM} of version {VERSION}"));
    }
    let document: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok((document, certificate))
}

fn signature(document: &Value, certificate: &Certificate) -> Result<String, String> {
    let signed = canonical::signed_bytes(document)?;
    let (Ok(key), Ok(signature)) =
        (BASE64.decode(&certificate.public_key), BASE64.decode(&certificate.signature))
    else {
        return Err("its key or its signature is not base64".to_owned());
    };
    match UnparsedPublicKey::new(&ED25519, key).verify(&signed, &signature) {
        Ok(()) => Ok("nothing was changed since it was signed".to_owned()),
        Err(_) => {
            Err("it was changed after it was signed, or is signed with another key than it names".to_owned())
        }
    }
}

fn signer(certificate: &Certificate) -> Result<String, String> {
    let key = BASE64.decode(&certificate.public_key).map_err(|_| "its key is not base64".to_owned())?;
    Ok(fingerprint(&key))
}

/// A fingerprint as people type it: in capitals, in groups.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != ':').collect::<String>().to_lowercase()
}
