//! Whose records the log holds, and what becomes of them when their subject is erased.
//!
//! Two looks at the log, each from the newest record to the oldest. The first learns which other keys a subject once had,
//! and which rows were its when a newer record does not say so; the second decides. Records behind a case, of a subject
//! that came back, are not touched.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use connector_api::erasure::Step;
use connector_api::record::{Attributes, Record};
use connector_api::{Before, Change, Op, Result, Row, Schema, TopicPartition, Value, put_row};

use super::fence::hashes;
use super::field::{self, Reader};
use super::rules::{Action, Mark, Rules, Subject, TopicRule};
use super::secret::{KeyHash, Secret, key_text};
use crate::pipeline::shape::address;

/// Where a record stands in the journal: number of the batch, and order in the batch.
pub type Place = (u64, u32);

/// A subject to be looked for.
#[derive(Debug, Clone)]
struct Wanted {
    case: Arc<str>,
    /// Records in front of this place are its.
    until: Place,
    /// The keyed hash in hex, for columns that are set to it.
    hash: Arc<str>,
    /// The subject's own tombstones go, too: every sink has passed them.
    passed: bool,
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is not about a wanted subject, or stays by the rules.
    Stays,
    /// It goes.
    Goes {
        /// Of whom it was.
        case: Arc<str>,
    },
    /// Its images go or are rewritten; a key that is a subject's stays until every sink has passed it.
    Becomes {
        /// Of whom it was.
        case: Arc<str>,
        /// The new value; empty for a plain tombstone.
        value: Vec<u8>,
    },
}

/// One rule of one topic, for one shape.
struct Look {
    subject: usize,
    own: bool,
    reader: Reader,
    action: Action,
}

/// By the addresses of topic and shape, which are held, so that no address can come to mean another.
type Looks = HashMap<(usize, usize), (Arc<str>, Arc<Schema>, Vec<Look>)>;

/// Finds the records of a set of subjects.
pub struct Matcher {
    rules: Arc<Rules>,
    secret: Secret,
    wanted: HashMap<(usize, usize, KeyHash), Wanted>,
    /// Rows that a wanted subject's records were about, by topic and record key.
    rows: HashMap<Arc<str>, HashMap<Vec<u8>, Wanted>>,
    looks: Looks,
    topics: HashSet<Arc<str>>,
}

impl Matcher {
    /// A matcher that wants nobody yet.
    pub fn new(rules: Arc<Rules>, secret: Secret) -> Matcher {
        let topics = rules.subjects.iter().flat_map(|subject| &subject.topics).map(|rule| rule.topic.clone());
        Matcher {
            topics: topics.collect(),
            rules,
            secret,
            wanted: HashMap::new(),
            rows: HashMap::new(),
            looks: HashMap::new(),
        }
    }

    /// Wants the subject of a case, in records in front of `until`. Its own tombstones stay until `passed`: a sink that
    /// has not met them yet would keep the row.
    ///
    /// # Errors
    /// When an expression gives nothing for the key.
    pub fn want(
        &mut self,
        case: &str,
        subject: &str,
        key: Value<'_>,
        until: Place,
        passed: bool,
    ) -> Result<()> {
        let rules = self.rules.clone();
        let Some((at, subject)) = rules.find(subject) else { return Ok(()) };
        let hash = self.secret.hash(&subject.name, &key_text(key)?);
        let wanted = Wanted { case: case.into(), until, hash: hash.to_string().into(), passed };
        self.add(at, subject, key, &wanted)
    }

    fn add(&mut self, at: usize, subject: &Subject, key: Value<'_>, wanted: &Wanted) -> Result<()> {
        for (form, hash) in hashes(&self.secret, subject, key)? {
            // Two cases of one subject: what stands before the later one goes.
            let known = self.wanted.entry((at, form, hash)).or_insert_with(|| wanted.clone());
            if known.until < wanted.until {
                *known = wanted.clone();
            }
        }
        Ok(())
    }

    /// Whether records of a topic are looked at.
    pub fn looks_at(&self, topic: &str) -> bool {
        self.topics.contains(topic)
    }

    /// The first look: learns from a record.
    ///
    /// # Errors
    /// When the record does not decode, or a rule does not fit the shape.
    pub fn learn(
        &mut self,
        topic: &TopicPartition,
        schema: &Arc<Schema>,
        record: Record<'_>,
        at: Place,
    ) -> Result<()> {
        let change = Change::decode(record, schema)?;
        let rules = self.rules.clone();
        let mut former = Vec::new();
        for look in looks(&mut self.looks, &rules, &topic.topic, schema) {
            let Some(subject) = rules.subjects.get(look.subject) else { continue };
            let Some(wanted) = find(&self.wanted, &self.secret, look, subject, &change, at)? else {
                continue;
            };
            if look.own
                && let Some(old) = change.old_key()?.and_then(|old| old.first().copied())
            {
                former.push((look.subject, Step::encode(old), Wanted { until: at, ..wanted }));
            } else if let Some(key) = record.key
                && !look.own
            {
                self.rows.entry(topic.topic.clone()).or_default().entry(key.to_vec()).or_insert(wanted);
            }
        }
        for (at, key, wanted) in former {
            let Some(subject) = rules.subjects.get(at) else { continue };
            let old = Value::from_bytes(&key);
            self.add(at, subject, old, &wanted)?;
        }
        Ok(())
    }

    /// Whether a record is about a wanted subject.
    ///
    /// # Errors
    /// As [`Matcher::learn`].
    pub fn is_about(
        &mut self,
        topic: &TopicPartition,
        schema: &Arc<Schema>,
        record: Record<'_>,
        at: Place,
    ) -> Result<bool> {
        let change = Change::decode(record, schema)?;
        let rules = self.rules.clone();
        for look in looks(&mut self.looks, &rules, &topic.topic, schema) {
            let Some(subject) = rules.subjects.get(look.subject) else { continue };
            if find(&self.wanted, &self.secret, look, subject, &change, at)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The second look: what becomes of a record.
    ///
    /// # Errors
    /// As [`Matcher::learn`].
    pub fn judge(
        &mut self,
        topic: &TopicPartition,
        schema: &Arc<Schema>,
        record: Record<'_>,
        at: Place,
    ) -> Result<Fate> {
        let change = Change::decode(record, schema)?;
        let rules = self.rules.clone();
        let mut fate = Fate::Stays;
        for look in looks(&mut self.looks, &rules, &topic.topic, schema) {
            let Some(subject) = rules.subjects.get(look.subject) else { continue };
            let found = find(&self.wanted, &self.secret, look, subject, &change, at)?;
            let silent = || is_silent(look, &change).then(|| row(&self.rows, topic, &record, at)).flatten();
            let Some(wanted) = found.or_else(silent) else { continue };
            let this = decide(look, &change, schema, &wanted)?;
            // A record of two subjects goes when one of them wants it gone.
            if fate == Fate::Stays || matches!(this, Fate::Goes { .. }) {
                fate = this;
            }
        }
        Ok(fate)
    }
}

/// Whether a record says nothing of whose it is, because the source did not send a large value that did not change.
fn is_silent(look: &Look, change: &Change<'_>) -> bool {
    !look.own && change.record.attributes.has(Attributes::PARTIAL)
}

fn row(
    rows: &HashMap<Arc<str>, HashMap<Vec<u8>, Wanted>>,
    topic: &TopicPartition,
    record: &Record<'_>,
    at: Place,
) -> Option<Wanted> {
    let wanted = rows.get(&topic.topic)?.get(record.key?)?;
    (at < wanted.until).then(|| wanted.clone())
}

fn find(
    wanted: &HashMap<(usize, usize, KeyHash), Wanted>,
    secret: &Secret,
    look: &Look,
    subject: &Subject,
    change: &Change<'_>,
    at: Place,
) -> Result<Option<Wanted>> {
    let texts: Vec<_> = match look.own {
        true => field::own_keys(change)?.into_iter().map(key_text).collect::<Result<_>>()?,
        false => look.reader.texts(change)?,
    };
    let found = texts
        .into_iter()
        .find_map(|text| wanted.get(&(look.subject, look.reader.form, secret.hash(&subject.name, &text))));
    // The delete that opened a case stands right behind it, and is the end of what is its.
    let last = |until: Place| (until.0, until.1.saturating_add(1));
    let is_its = |wanted: &&Wanted| match look.own && change.op == Op::Delete {
        true => at <= last(wanted.until),
        false => at < wanted.until,
    };
    Ok(found.filter(is_its).cloned())
}

fn decide(look: &Look, change: &Change<'_>, schema: &Schema, wanted: &Wanted) -> Result<Fate> {
    let case = wanted.case.clone();
    let tombstone = change.record.attributes.has(Attributes::TOMBSTONE);
    Ok(match &look.action {
        Action::Keep => Fate::Stays,
        Action::Delete if tombstone && !(look.own && wanted.passed) => match change.record.value {
            [] => Fate::Stays,
            _ => Fate::Becomes { case, value: Vec::new() },
        },
        Action::Delete => Fate::Goes { case },
        Action::Set(_) if change.record.value.is_empty() => Fate::Stays,
        Action::Set(marks) => {
            let value = with_marks(change, schema, marks, &wanted.hash)?;
            match value == change.record.value {
                true => Fate::Stays,
                false => Fate::Becomes { case, value },
            }
        }
    })
}

/// The value of a change whose images have these columns set.
fn with_marks(change: &Change<'_>, schema: &Schema, marks: &[(String, Mark)], hash: &str) -> Result<Vec<u8>> {
    let set: HashMap<usize, Value<'_>> = marks
        .iter()
        .filter_map(|(name, mark)| {
            let value = match mark {
                Mark::Constant(constant) => constant.value(),
                Mark::Hash => Value::Text(hash),
            };
            Some((schema.column(name)?, value))
        })
        .collect();
    let image = |row: Row<'_>| {
        let mut out = Vec::new();
        let values = row.to_vec()?.into_iter().enumerate();
        put_row(&mut out, values.map(|(at, value)| set.get(&at).copied().unwrap_or(value)));
        Ok::<_, connector_api::Error>(out)
    };
    let full = match change.before {
        Some(Before::Full(row)) => Some(image(row)?),
        _ => None,
    };
    let after = change.after.map(image).transpose()?;
    let before = match (&full, change.before) {
        (Some(row), _) => Some(Before::Full(Row::from_bytes(row))),
        (None, before) => before,
    };
    let mut value = Vec::new();
    Change::put(&mut value, change.op, before, after.as_deref().map(Row::from_bytes));
    Ok(value)
}

fn looks<'l>(known: &'l mut Looks, rules: &Rules, topic: &Arc<str>, schema: &Arc<Schema>) -> &'l [Look] {
    let made = known.entry(address(topic, schema)).or_insert_with(|| {
        let look = |(at, subject, rule): (usize, &Subject, &TopicRule)| {
            // A shape from before the column was there holds nothing that could name a subject.
            let reader = Reader::new(subject, rule, schema).ok()?;
            Some(Look { subject: at, own: rule.topic == subject.topic, reader, action: rule.action.clone() })
        };
        let looks = rules.about(topic).filter_map(look).collect();
        (topic.clone(), schema.clone(), looks)
    });
    &made.2
}
