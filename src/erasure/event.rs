//! What the log's topic of erasures holds, in order with the data.

use connector_api::{Error, Result};
use serde::{Deserialize, Serialize};

/// The topic of cases. Kept for ever: it is what a sink that was restored from an old copy meets again (I11).
pub const CASES: &str = "millstream.erasures";
/// The topic that final receipts are published to, for whoever wants to follow.
pub const RECEIPTS: &str = "millstream.receipts";

/// One record of [`CASES`]. Its key is the case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A case opened. What stands before it in the log is older than the erasure.
    Opened(Opened),
    /// A new row of an erased subject came: from here on its changes pass.
    Lifted(Lifted),
}

/// A case opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// Its id.
    pub case: String,
    /// The kind of subject, as the configuration names it.
    pub subject: String,
    /// The keyed hash of the subject's key, in hex: names the subject without saying who it is.
    pub key_hash: String,
    /// The subject's key, sealed: only this service can carry the case out again.
    pub sealed: String,
    /// What opened it.
    pub trigger: Trigger,
    /// When, Unix microseconds.
    pub opened_us: i64,
    /// Until when every receipt is due, Unix microseconds.
    pub deadline_us: i64,
    /// The sinks whose receipts are due.
    pub sinks: Vec<String>,
}

/// What opened a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The subject's row was deleted in the source.
    Deleted,
    /// Somebody asked for it: `millstream erase`.
    Asked,
}

/// A new row of an erased subject came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifted {
    /// The case that had erased the subject.
    pub case: String,
    /// As in [`Opened`].
    pub subject: String,
    /// As in [`Opened`].
    pub key_hash: String,
}

impl Event {
    /// The case that it is about.
    pub fn case(&self) -> &str {
        match self {
            Event::Opened(opened) => &opened.case,
            Event::Lifted(lifted) => &lifted.case,
        }
    }

    /// The kind of subject.
    pub fn subject(&self) -> &str {
        match self {
            Event::Opened(opened) => &opened.subject,
            Event::Lifted(lifted) => &lifted.subject,
        }
    }

    /// As a record's value.
    ///
    /// # Errors
    /// None in practice.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::corrupt("encode erasure event").caused_by(error))
    }

    /// Reads a record's value.
    ///
    /// # Errors
    /// [`connector_api::Kind::Corrupt`] for anything that this program did not write: a form that a newer one wrote is not
    /// guessed at (I9).
    pub fn decode(value: &[u8]) -> Result<Event> {
        serde_json::from_slice(value).map_err(|error| {
            Error::corrupt(format!("read topic {CASES}")).caused_by(error).with_remedy(
                "use the program that wrote it, or a newer one; nobody else may write to this topic",
            )
        })
    }
}
