//! The fence (I11): an erased subject stays erased, and a row deleted in the source opens a case.
//!
//! It stands where changes enter the log, so that whatever a sink, a replay or a new copy later reads has passed it. After
//! a case opened, changes of the subject are dropped (an update, a row that a copy read again) until a new row of the
//! subject itself is inserted; a delete always passes. What was captured before the case stands before it in the log, where
//! every reader meets the case behind it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use connector_api::erasure::Step;
use connector_api::{Change, Cursor, Error, Notice, Op, Result, Schema, Seen, Value, Watch};
use uuid::Uuid;

use super::cascade::wanted;
use super::event::{CASES, Event, Lifted, Opened, Trigger};
use super::field;
use super::rules::{Rules, Subject};
use super::secret::{KeyHash, Secret, key_text};
use crate::log::{Log, Subscription};
use crate::pipeline::shape::address;
use crate::pipeline::status::now_us;

/// What the fence knows of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Erased {
    case: String,
    /// A new row came since: its changes pass.
    lifted: bool,
}

/// Names a subject: its kind, a form (see [`Subject::forms`]), and the keyed hash of what names it in that form.
type At = (usize, usize, KeyHash);
type Known = HashMap<At, Erased>;

/// How much of the log is read at a time.
const CATCH_UP_BYTES: usize = 1 << 20;

/// What is durable in the log's topic of erasures. Shared by all sources.
#[derive(Debug, Default)]
pub struct Fence {
    state: Mutex<State>,
    /// How far the log was followed.
    followed: tokio::sync::Mutex<Option<Cursor>>,
}

#[derive(Debug, Default)]
struct State {
    /// What stands in the log.
    known: Known,
    /// By source: what its capture loop decided since it started, and is not seen in the log yet.
    fresh: HashMap<Arc<str>, Known>,
    /// Changes that were dropped.
    dropped: u64,
}

impl State {
    fn find(&self, source: &str, at: &At) -> Option<&Erased> {
        self.fresh.get(source).and_then(|fresh| fresh.get(at)).or_else(|| self.known.get(at))
    }

    /// Names a subject in each of its forms.
    fn decide(&mut self, source: &Arc<str>, subject: usize, hashes: Vec<(usize, KeyHash)>, erased: &Erased) {
        let fresh = self.fresh.entry(source.clone()).or_default();
        fresh.extend(hashes.into_iter().map(|(form, hash)| ((subject, form, hash), erased.clone())));
    }

    /// Takes over what stands in the log; that needs no second memory.
    fn settle(&mut self, at: At, erased: &Erased) {
        self.known.insert(at, erased.clone());
        for fresh in self.fresh.values_mut() {
            if fresh.get(&at) == Some(erased) {
                fresh.remove(&at);
            }
        }
    }
}

impl Fence {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over an event of the log. A kind of subject that is configured no more has no fence.
    ///
    /// # Errors
    /// When the case was sealed with another key.
    fn follow(&self, rules: &Rules, secret: &Secret, event: &Event) -> Result<()> {
        let Some((at, subject)) = rules.find(event.subject()) else { return Ok(()) };
        let mut state = self.lock();
        match event {
            Event::Opened(opened) => {
                let plain = secret.unseal(&opened.case, &opened.sealed)?;
                let value = Value::from_bytes(&plain);
                let erased = Erased { case: opened.case.clone(), lifted: false };
                for (form, hash) in hashes(secret, subject, value)? {
                    state.settle((at, form, hash), &erased);
                }
            }
            Event::Lifted(lifted) => {
                let erased = Erased { case: lifted.case.clone(), lifted: true };
                let of_case = state.known.iter().filter(|(_, known)| known.case == lifted.case);
                for at in of_case.map(|(at, _)| *at).collect::<Vec<_>>() {
                    state.settle(at, &erased);
                }
            }
        }
        Ok(())
    }

    /// How many changes were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }
}

/// What every watch needs.
#[derive(Clone)]
pub struct Gate {
    /// Who is a subject.
    pub rules: Arc<Rules>,
    /// Names subjects without saying who they are.
    pub secret: Secret,
    /// What is durable.
    pub fence: Arc<Fence>,
}

/// A case that somebody asked for, and the record that opens it.
pub struct Asked {
    /// Its id: of the case that is open already, when there is one.
    pub case: String,
    /// The record; none when the case is open already.
    pub notice: Option<Notice>,
}

impl Gate {
    /// Brings the fence to the end of the log: everything durable is known then.
    ///
    /// # Errors
    /// When the log cannot be read, or holds a case that was sealed with another key.
    pub async fn catch_up(&self, log: &dyn Log) -> Result<()> {
        // One at a time, and in the log's order: a case that is met again would close a fence that was lifted behind it.
        let mut followed = self.fence.followed.lock().await;
        let cursor = followed.get_or_insert_with(|| Cursor::start(log.id()));
        let subscription = Subscription { patterns: vec![CASES.to_owned()] };
        let mut reader = log.subscribe(subscription, cursor.clone())?;
        while !reader.at_tail() {
            for delivery in reader.next(CATCH_UP_BYTES).await? {
                for delivered in delivery.records() {
                    let event = Event::decode(delivered?.record.value)?;
                    self.fence.follow(&self.rules, &self.secret, &event)?;
                }
                delivery.advance(cursor);
            }
        }
        Ok(())
    }

    /// The watch of one source, for one attempt. What an earlier attempt decided and did not get into the log is forgotten: the
    /// source gives its changes again. The fence must have followed the log to its end.
    pub fn watch(&self, source: &Arc<str>) -> Box<dyn Watch> {
        self.fence.lock().fresh.remove(source);
        Box::new(Guard { gate: self.clone(), source: source.clone(), topics: HashMap::new() })
    }

    /// Opens a case.
    fn open(&self, subject: &Subject, value: Value<'_>, hash: KeyHash, trigger: Trigger) -> Result<Opened> {
        self.open_as(format!("er-{}", Uuid::now_v7().simple()), subject, value, hash, trigger)
    }

    /// Opens a case under an id.
    fn open_as(
        &self,
        case: String,
        subject: &Subject,
        value: Value<'_>,
        hash: KeyHash,
        trigger: Trigger,
    ) -> Result<Opened> {
        let plain = Step::encode(value);
        let (opened_us, deadline) = (now_us(), i64::try_from(subject.deadline.as_micros()));
        Ok(Opened {
            sealed: self.secret.seal(&case, &plain)?,
            subject: subject.name.clone(),
            key_hash: hash.to_string(),
            trigger,
            opened_us,
            deadline_us: opened_us.saturating_add(deadline.unwrap_or(i64::MAX)),
            sinks: subject.due(),
            case,
        })
    }
}

/// What is looked for in the changes of one topic, about one kind of subject.
struct Look {
    subject: usize,
    /// The subject's own topic: deletes open cases, inserts lift the fence.
    own: bool,
    reader: field::Reader,
}

/// Watches the changes of one source.
struct Guard {
    gate: Gate,
    source: Arc<str>,
    /// By the addresses of topic and shape.
    topics: HashMap<(usize, usize), Watched>,
}

/// One topic in one shape.
struct Watched {
    /// Held, so that its address cannot come to mean another.
    _topic: Arc<str>,
    _schema: Arc<Schema>,
    looks: Result<Vec<Look>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Watch for Guard {
    fn wants(&mut self, topic: &Arc<str>, schema: &Arc<Schema>) -> bool {
        let rules = &self.gate.rules;
        let watched = self.topics.entry(address(topic, schema)).or_insert_with(|| Watched {
            _topic: topic.clone(),
            _schema: schema.clone(),
            looks: looks(rules, topic, schema),
        });
        !watched.looks.as_ref().is_ok_and(Vec::is_empty)
    }

    fn see(&mut self, topic: &Arc<str>, change: &Change<'_>) -> Result<Seen> {
        let Some(watched) = self.topics.get(&address(topic, change.schema)) else { return Ok(Seen::Keep) };
        let looks = watched.looks.as_ref().map_err(Error::again)?;
        let mut seen = Seen::Keep;
        for look in looks {
            match judge(&self.gate, &self.source, look, change)? {
                Seen::Keep => {}
                Seen::Strip => return Ok(Seen::Strip),
                Seen::Drop => {
                    self.gate.fence.lock().dropped += 1;
                    return Ok(Seen::Drop);
                }
                // One row is a subject of one kind: a topic has one kind of its own.
                notice => seen = notice,
            }
        }
        Ok(seen)
    }
}

fn looks(rules: &Rules, topic: &str, schema: &Schema) -> Result<Vec<Look>> {
    let mut looks = Vec::new();
    for (at, subject, rule) in rules.about(topic) {
        let own = rule.topic == subject.topic;
        if own {
            is_key(subject, schema)?;
        }
        looks.push(Look { subject: at, own, reader: field::Reader::new(subject, rule, schema)? });
    }
    Ok(looks)
}

/// A delete says no more than the key.
fn is_key(subject: &Subject, schema: &Schema) -> Result<()> {
    let mut key = schema.key_columns().map(|column| column.name.as_str());
    if (key.next(), key.next()) == (Some(subject.key.as_str()), None) {
        return Ok(());
    }
    let names: Vec<_> = schema.key_columns().map(|column| column.name.as_str()).collect();
    Err(Error::config(format!(
        "watch {} for erasures: the key of the table is ({}), not ({})",
        subject.topic,
        names.join(", "),
        subject.key
    ))
    .with_remedy(format!("set erasure.{}.subject.key to the only column of the table's key", subject.name)))
}

/// What names a subject in each of its forms.
pub(super) fn hashes(secret: &Secret, subject: &Subject, key: Value<'_>) -> Result<Vec<(usize, KeyHash)>> {
    let hash = |(form, is): (usize, &Option<&str>)| {
        let value = wanted(*is, key)?;
        let text = key_text(Value::from_bytes(&value))?;
        Ok((form, secret.hash(&subject.name, &text)))
    };
    subject.forms().iter().enumerate().map(hash).collect()
}

fn judge(gate: &Gate, source: &Arc<str>, look: &Look, change: &Change<'_>) -> Result<Seen> {
    let Some(subject) = gate.rules.subjects.get(look.subject) else { return Ok(Seen::Keep) };
    if look.own {
        return judge_own(gate, source, (look.subject, subject), change);
    }
    // What belongs to a subject never opens a case, and a new row of its passes.
    let held = match change.op {
        Op::Update | Op::Read => Seen::Drop,
        Op::Delete => Seen::Strip,
        Op::Insert | Op::Truncate => return Ok(Seen::Keep),
    };
    for text in look.reader.texts(change)? {
        let at = (look.subject, look.reader.form, gate.secret.hash(&subject.name, &text));
        if gate.fence.lock().find(source, &at).is_some_and(|erased| !erased.lifted) {
            return Ok(held);
        }
    }
    Ok(Seen::Keep)
}

fn judge_own(
    gate: &Gate,
    source: &Arc<str>,
    (at, subject): (usize, &Subject),
    change: &Change<'_>,
) -> Result<Seen> {
    let mut seen = Seen::Keep;
    for key in field::own_keys(change)? {
        let hash = gate.secret.hash(&subject.name, &key_text(key)?);
        let erased = gate.fence.lock().find(source, &(at, 0, hash)).cloned();
        let held = erased.filter(|erased| !erased.lifted);
        let decide = |case: &str, lifted: bool| {
            let erased = Erased { case: case.to_owned(), lifted };
            let hashes = hashes(&gate.secret, subject, key)?;
            gate.fence.lock().decide(source, at, hashes, &erased);
            Ok::<_, Error>(())
        };
        match (change.op, held) {
            (Op::Delete, None) => {
                let opened = gate.open(subject, key, hash, Trigger::Deleted)?;
                decide(&opened.case, false)?;
                seen = Seen::After(record(&Event::Opened(opened))?);
            }
            (Op::Insert, Some(Erased { case, .. })) => {
                decide(&case, true)?;
                let (subject, key_hash) = (subject.name.clone(), hash.to_string());
                seen = Seen::After(record(&Event::Lifted(Lifted { case, subject, key_hash }))?);
            }
            (Op::Update | Op::Read, Some(_)) => return Ok(Seen::Drop),
            (Op::Delete, Some(_)) => return Ok(Seen::Strip),
            _ => {}
        }
    }
    Ok(seen)
}

fn record(event: &Event) -> Result<Notice> {
    Ok(Notice { topic: CASES.into(), key: event.case().as_bytes().to_vec(), value: event.encode()? })
}

impl Gate {
    /// Opens a case that somebody asked for, at the capture loop of the subject's source: from now on the fence holds. `value`
    /// is the subject's key, in the kind that its topic has. `again` puts a case that is open or complete into the log once
    /// more: every sink carries it out anew.
    ///
    /// # Errors
    /// When there is no such kind of subject.
    pub fn ask(&self, source: &Arc<str>, subject: &str, value: Value<'_>, again: bool) -> Result<Asked> {
        let (at, rules) = self.rules.find(subject).ok_or_else(|| unknown(&self.rules, subject))?;
        let hash = self.secret.hash(subject, &key_text(value)?);
        // Opening twice is one case.
        let open = self.fence.lock().find(source, &(at, 0, hash)).filter(|erased| !erased.lifted).cloned();
        if let Some(erased) = open {
            if !again {
                return Ok(Asked { case: erased.case, notice: None });
            }
            let repeated = self.open_as(erased.case.clone(), rules, value, hash, Trigger::Asked)?;
            return Ok(Asked { case: erased.case, notice: Some(record(&Event::Opened(repeated))?) });
        }
        let opened = self.open(rules, value, hash, Trigger::Asked)?;
        let case = opened.case.clone();
        let hashes = hashes(&self.secret, rules, value)?;
        self.fence.lock().decide(source, at, hashes, &Erased { case: case.clone(), lifted: false });
        Ok(Asked { case, notice: Some(record(&Event::Opened(opened))?) })
    }
}

/// A kind of subject by its name.
///
/// # Errors
/// [`connector_api::Kind::Config`], which names those that there are.
pub fn known<'r>(rules: &'r Rules, subject: &str) -> Result<&'r Subject> {
    rules.subject(subject).ok_or_else(|| unknown(rules, subject))
}

fn unknown(rules: &Rules, subject: &str) -> Error {
    let names: Vec<_> = rules.subjects.iter().map(|subject| subject.name.as_str()).collect();
    let error = Error::config(format!("no kind of subject {subject:?}"));
    match names.is_empty() {
        true => error.with_remedy("describe it in the `erasure` section of the configuration"),
        false => error.with_remedy(format!("name one of: {}", names.join(", "))),
    }
}
