//! The log as a target of its own: a pass over it takes out the records of many subjects at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connector_api::record::{Attributes, Record};
use connector_api::{Encoding, Result, Schema, TopicPartition, Value};

use super::event::Opened;
use super::matcher::{Fate, Matcher, Place};
use super::rules::Rules;
use super::secret::Secret;
use crate::log::{Judge, Log, Verdict};

/// One subject to be taken out.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its case.
    pub opened: Arc<Opened>,
    /// Where the case stands in the journal.
    pub place: Place,
    /// Its own tombstones go, too: every sink has passed them.
    pub passed: bool,
}

/// Records taken out or rewritten, by case and topic.
pub type Counts = BTreeMap<(Arc<str>, Arc<str>), u64>;

/// Takes the subjects out of the log, and says what that came to.
///
/// # Errors
/// What the log or a key says. What is gone by then stays gone, and another pass goes on.
pub async fn purge(log: &dyn Log, rules: &Arc<Rules>, secret: &Secret, wanted: &[Wanted]) -> Result<Counts> {
    let mut matcher = Matcher::new(rules.clone(), secret.clone());
    for Wanted { opened, place, passed } in wanted {
        let plain = secret.unseal(&opened.case, &opened.sealed)?;
        let key = Value::from_bytes(&plain);
        matcher.want(&opened.case, &opened.subject, key, *place, *passed)?;
    }
    let found = Arc::new(Mutex::new(Found { matcher, counts: Counts::new() }));
    for look in [Look::Learn, Look::Decide] {
        log.purge(Box::new(Pass { found: found.clone(), look })).await?;
    }
    let counts = std::mem::take(&mut lock(&found).counts);
    Ok(counts)
}

struct Found {
    matcher: Matcher,
    counts: Counts,
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Which keys a subject had, and which rows are its.
    Learn,
    /// What goes.
    Decide,
}

struct Pass {
    found: Arc<Mutex<Found>>,
    look: Look,
}

impl Judge for Pass {
    fn wants(&mut self, topic: &TopicPartition) -> bool {
        lock(&self.found).matcher.looks_at(&topic.topic)
    }

    fn judge(
        &mut self,
        topic: &TopicPartition,
        encoding: Encoding,
        schema: Option<&Arc<Schema>>,
        record: &Record<'_>,
        sequence: u64,
    ) -> Result<Verdict> {
        let (Encoding::Changes, Some(schema)) = (encoding, schema) else { return Ok(Verdict::Keep) };
        let mut found = lock(&self.found);
        let place = (sequence, record.order);
        if self.look == Look::Learn {
            found.matcher.learn(topic, schema, *record, place)?;
            return Ok(Verdict::Keep);
        }
        let (case, verdict) = match found.matcher.judge(topic, schema, *record, place)? {
            Fate::Stays => return Ok(Verdict::Keep),
            Fate::Goes { case } => (case, Verdict::Drop),
            Fate::Becomes { case, value } => {
                let partial = !value.is_empty() && record.attributes.has(Attributes::PARTIAL);
                let attributes = match partial {
                    true => record.attributes,
                    // A plain tombstone stands for itself.
                    false => Attributes(record.attributes.0 & !Attributes::PARTIAL),
                };
                let (headers, key) = (record.headers.to_vec(), record.key.map(<[u8]>::to_vec));
                (case, Verdict::Replace { attributes, headers, value, key })
            }
        };
        *found.counts.entry((case, topic.topic.clone())).or_default() += 1;
        Ok(verdict)
    }
}
