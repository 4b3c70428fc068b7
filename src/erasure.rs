//! Erasure: a person who is deleted in one place is provably deleted in all.
//!
//! - [`rules`]: who is a data subject, and what each sink and the log do about one: the configuration worked out.
//! - [`event`]: what stands in the log's own topic, in order with the data: a case opened, a fence lifted.
//! - [`fence`]: opens cases where changes enter the log, and keeps erased subjects out.
//! - [`cascade`]: what the rules mean for one person at one sink. The deliver loop carries it out.
//! - [`matcher`], [`purge`]: whose records the log holds, and taking them out.
//! - [`receipt`]: what one target did for one case.
//! - [`secret`]: the key file, and what is hashed, sealed and signed with it.
//! - [`ledger`]: the cases and receipts, and the hash chain over all that happened to them.
//! - [`certificate`], [`page`]: what the ledger says of one case, signed; and the same for people to read.
//! - [`view`]: a case as the admin API and the command line show it.
//! - [`desk`]: follows cases, has the log purged, closes cases.
//! - [`recheck`]: looks again whether absence holds.
//! - [`export`]: what is held of a person: access, the twin of erasure.

pub mod cascade;
pub mod certificate;
pub mod desk;
pub mod event;
pub mod export;
pub mod fence;
mod field;
mod inquiry;
pub mod ledger;
pub mod matcher;
pub mod page;
pub mod purge;
pub mod receipt;
pub mod recheck;
pub mod rules;
pub mod secret;
pub mod view;

use std::path::Path;
use std::sync::Arc;

use connector_api::erasure::Step;
use connector_api::{Error, Result, Value, ValueKind};
use tokio::sync::Notify;

use crate::config::Config;
use crate::log::Log;
use crate::state::State;

use desk::Desk;
use fence::{Fence, Gate};
use ledger::Ledger;
use rules::{Rules, Subject};

/// The key file's name, beside the state database.
pub const KEY_FILE: &str = "erasure.key";

/// Everything about erasures that a running service has.
#[derive(Clone)]
pub struct Erasures {
    /// Who is a subject, and what keeps the erased out.
    pub gate: Gate,
    /// What is known of cases and receipts.
    pub ledger: Ledger,
    /// Rung when a receipt is final.
    pub bell: Arc<Notify>,
}

impl Erasures {
    /// Opens the ledger and its key. `directory` is that of the log; `None` keeps both in memory.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open(rules: Rules, state: State, directory: Option<&Path>) -> Result<Erasures> {
        let key_file = directory.map(|directory| directory.join(KEY_FILE));
        let (ledger, secret) = Ledger::open(state, key_file.as_deref())?;
        let gate = Gate { rules: Arc::new(rules), secret, fence: Arc::new(Fence::default()) };
        Ok(Erasures { gate, ledger, bell: Arc::new(Notify::new()) })
    }

    /// Follows and closes cases.
    pub fn desk(&self, log: Arc<dyn Log>, config: Arc<Config>) -> Desk {
        let Erasures { gate, ledger, bell } = self.clone();
        Desk { gate, ledger, log, config, bell }
    }

    /// A subject's key, given as text, as an encoded value of the kind that its topic has; with the source of the topic.
    ///
    /// # Errors
    /// When there is no such kind of subject, nothing of its topic was captured yet, or the text is no such key.
    pub fn key(&self, log: &dyn Log, subject: &str, text: &str) -> Result<(String, Vec<u8>)> {
        let subject = fence::known(&self.gate.rules, subject)?;
        let value = field::parse_key(&subject.name, kind(log, subject)?, text)?;
        let key = Step::encode(value);
        let source = subject.topic.split('.').next().unwrap_or_default();
        Ok((source.to_owned(), key))
    }

    /// The newest case of a subject, by its encoded key.
    ///
    /// # Errors
    /// When the state database cannot be read.
    pub fn known(&self, subject: &str, key: &[u8]) -> Result<Option<ledger::Case>> {
        let value = Value::from_bytes(key);
        let hash = self.gate.secret.hash(subject, &secret::key_text(value)?);
        self.ledger.find(subject, &hash.to_string())
    }

    /// Why the service is not ready: overdue cases of subjects whose policy says so, and cases that no longer hold.
    ///
    /// # Errors
    /// When the state database cannot be read.
    pub fn not_ready(&self, now_us: i64) -> Result<Vec<String>> {
        let strict = self.gate.rules.subjects.iter().filter(|subject| subject.overdue_not_ready);
        let mut reasons = Vec::new();
        for subject in strict {
            let filter = |state| ledger::Filter {
                subject: Some(subject.name.clone()),
                state: Some(state),
                ..ledger::Filter::default()
            };
            for case in self.ledger.cases(&filter(ledger::CaseState::Overdue(now_us)), 10)? {
                let missing: Vec<_> = case.missing().collect();
                reasons.push(format!("erasure {} is overdue: it waits for {}", case.id, missing.join(", ")));
            }
            for case in self.ledger.cases(&filter(ledger::CaseState::Violated), 10)? {
                reasons.push(format!(
                    "erasure {} does not hold any more: rows of the subject are back",
                    case.id
                ));
            }
        }
        Ok(reasons)
    }
}

/// The kind of a subject's key, as the log knows it.
fn kind(log: &dyn Log, subject: &Subject) -> Result<ValueKind> {
    let topics = log.topics();
    let schema = topics
        .iter()
        .filter(|status| status.topic.topic == subject.topic)
        .find_map(|status| status.schema.as_ref());
    let column = schema.and_then(|schema| schema.columns.get(schema.column(&subject.key)?));
    column.map(|column| column.kind).ok_or_else(|| {
        let topic = &subject.topic;
        Error::config(format!("the log knows no column {:?} of topic {topic} yet", subject.key)).with_remedy(
            "wait until the source has captured the table, or mend `subject` in the `erasure` section",
        )
    })
}
