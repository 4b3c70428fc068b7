//! Purging in the model: rows with everything that was ever said of them, and events. Afterwards nothing of them is in any file,
//! and everything else is as it was.

use std::path::Path;

use connector_api::record::{Attributes, Record};
use connector_api::{Encoding, Row, Schema, TopicPartition, Value, put_row};

use super::*;
use crate::log::{Judge, Verdict};
use format::{COMPRESSION_NONE, EntryKind, HEADER_LEN};
use segment::{Segment, parse_name};

/// What is purged.
#[derive(Debug, Clone)]
pub struct Purging {
    /// Rows of `shop`, together with all that they were renamed from and to.
    rows: Vec<(usize, u64)>,
    /// Rows of `web`, and whether they get another text instead.
    web: Vec<u64>,
    replace: bool,
    /// Events whose number divided by 4 leaves this rest; none above 3.
    events: u64,
    /// The open transaction of `shop` goes on afterwards.
    inside: bool,
    /// Power fails right afterwards.
    crash: bool,
}

pub fn purging() -> impl Strategy<Value = Purging> {
    let (rows, web) =
        (prop::collection::vec((0..2usize, 0..6u64), 0..3), prop::collection::vec(0..6u64, 0..3));
    (rows, web, any::<bool>(), 0..8u64, any::<bool>(), any::<bool>()).prop_map(
        |(rows, web, replace, events, inside, crash)| Purging { rows, web, replace, events, inside, crash },
    )
}

/// All that was ever written, of transactions that never ended, too.
#[derive(Debug, Default)]
pub struct Written {
    texts: BTreeMap<(String, i64), Vec<String>>,
    renames: Vec<(String, u64, u64)>,
}

impl Written {
    pub fn text(&mut self, table: &str, key: u64, text: &str) {
        self.texts.entry((table.to_owned(), key as i64)).or_default().push(text.to_owned());
    }

    pub fn rename(&mut self, table: &str, from: u64, to: u64) {
        self.renames.push((table.to_owned(), from, to));
    }

    /// A row and all that it ever was: purging one of them only would leave records without what they build on.
    fn family(&self, table: &str, key: u64) -> BTreeSet<u64> {
        let mut family = BTreeSet::from([key]);
        loop {
            let before = family.len();
            for (_, from, to) in self.renames.iter().filter(|(known, ..)| known == table) {
                if family.contains(from) || family.contains(to) {
                    family.extend([*from, *to]);
                }
            }
            if family.len() == before {
                return family;
            }
        }
    }
}

/// The rows and events that go.
#[derive(Debug, Clone)]
struct Picked {
    rows: BTreeSet<(String, i64)>,
    events: u64,
    /// The rows of `web` get another text, with this number.
    replace: Option<u64>,
}

impl Picked {
    /// The text that a row gets.
    fn text(&self, table: &str, key: i64) -> Option<String> {
        self.replace.filter(|_| table == WEB).map(|number| format!("erased <{number}.{key}>"))
    }

    fn event(&self, number: u64) -> bool {
        self.events < 4 && number % 4 == self.events
    }
}

impl Judge for Picked {
    fn wants(&mut self, topic: &TopicPartition) -> bool {
        let events = &*topic.topic == EVENTS && self.events < 4;
        events || self.rows.iter().any(|(table, _)| **table == *topic.topic)
    }

    fn judge(
        &mut self,
        topic: &TopicPartition,
        encoding: Encoding,
        _: Option<&Arc<Schema>>,
        record: &Record<'_>,
        _: u64,
    ) -> Result<Verdict> {
        let Some(key) = record.key else { return Ok(Verdict::Keep) };
        let values = Row::from_bytes(key).to_vec()?;
        let Some(Value::Int(key)) = values.first().copied() else { panic!("key {values:?}") };
        if encoding == Encoding::Events {
            return Ok(if self.event(key as u64) { Verdict::Drop } else { Verdict::Keep });
        }
        if !self.rows.contains(&(topic.topic.to_string(), key)) {
            return Ok(Verdict::Keep);
        }
        let Some(text) = self.text(&topic.topic, key) else { return Ok(Verdict::Drop) };
        let mut value = vec![Op::Update as u8, 4];
        put_row(&mut value, [Value::Int(key), Value::Text(&text)].into_iter());
        let (attributes, key) = (Attributes(Attributes::KEY), record.key.map(<[u8]>::to_vec));
        Ok(Verdict::Replace { attributes, headers: Vec::new(), value, key })
    }
}

impl World {
    /// Purges; with `steps`, the machine crashes after so many operations, and it is done again.
    pub(super) fn purge(&mut self, purging: &Purging, steps: Option<u64>) {
        if purging.inside {
            let chunk = self.shop.chunk();
            append(self.log(), chunk).unwrap();
        } else {
            assert!(self.commit(0).0.is_none());
        }
        let picked = self.pick(purging);
        let texts: Vec<String> =
            picked.rows.iter().flat_map(|row| self.written.texts.remove(row)).flatten().collect();
        for (table, key) in &picked.rows {
            if let Some(text) = picked.text(table, *key) {
                self.written.text(table, *key as u64, &text);
            }
        }
        if let Some(steps) = steps {
            self.disk.set(Faults { steps: Some(steps), ..self.faults() });
            let _ = wait(self.log().purge(Box::new(picked.clone())));
            self.crash();
            self.check_rest(&picked);
        }
        wait(self.log().purge(Box::new(picked.clone()))).unwrap();
        self.forget(&picked);
        if purging.crash {
            self.crash();
        }
        assert_nowhere(&self.disk, self.log(), &texts);
    }

    fn pick(&mut self, purging: &Purging) -> Picked {
        let mut rows = BTreeSet::new();
        for (table, key) in &purging.rows {
            let family = self.written.family(TABLES[*table], *key);
            rows.extend(family.into_iter().map(|key| (TABLES[*table].to_owned(), key as i64)));
        }
        rows.extend(purging.web.iter().map(|key| (WEB.to_owned(), *key as i64)));
        self.texts += 1;
        Picked { rows, events: purging.events, replace: purging.replace.then_some(self.texts) }
    }

    /// The sources and the sinks forget what is purged, each by itself.
    fn forget(&mut self, picked: &Picked) {
        let maps = [&mut self.rows, &mut self.committed, &mut self.web_rows, &mut self.web_committed];
        let of_sinks = self.sinks.iter_mut().map(|(sink, _)| &mut sink.rows);
        for rows in maps.into_iter().chain(of_sinks) {
            picked.apply(rows);
        }
        let events = [&mut self.sent, &mut self.web_sent];
        for events in events.into_iter().chain(self.sinks.iter_mut().map(|(sink, _)| &mut sink.events)) {
            events.retain(|number| !picked.event(*number));
        }
    }

    /// After a purge that was interrupted: what is not meant is all there, and no row is back that was gone.
    fn check_rest(&self, picked: &Picked) {
        let committed: Rows = self.committed.clone().into_iter().chain(self.web_committed.clone()).collect();
        let mut fresh = Sink::default();
        wait(read_all(self.log(), &all())).iter().for_each(|delivery| fresh.apply(delivery));
        for row in fresh.rows.keys() {
            assert!(committed.contains_key(row), "{row:?} is back");
        }
        let mut rest = committed;
        rest.retain(|row, _| !picked.rows.contains(row));
        fresh.rows.retain(|row, _| !picked.rows.contains(row));
        assert_eq!(fresh.rows, rest, "rows that were not meant");
        fresh.events.retain(|number| !picked.event(*number));
        let sent: Vec<u64> = self.sent.iter().copied().filter(|number| !picked.event(*number)).collect();
        assert!(sent.ends_with(&fresh.events), "{:?} of {sent:?}", fresh.events);
        assert!(self.settings & 16 != 0 || fresh.events == sent);
    }
}

impl Picked {
    fn apply(&self, rows: &mut Rows) {
        for row in &self.rows {
            match (self.text(&row.0, row.1), rows.get_mut(row)) {
                (Some(text), Some(old)) => *old = text,
                _ => drop(rows.remove(row)),
            }
        }
    }
}

/// The texts are in no file, as it is and decompressed, and not in the tail cache.
fn assert_nowhere(disk: &Faulty, log: &Embedded, texts: &[String]) {
    let check = |bytes: &[u8], place: &dyn std::fmt::Debug| {
        for text in texts {
            // The distinctive part: `<number>`.
            let end = text.find('>').unwrap() + 1;
            let found = bytes.windows(end).any(|window| window == &text.as_bytes()[..end]);
            assert!(!found, "{text:?} is in {place:?}");
        }
    };
    for path in disk.paths() {
        check(&disk.read(&path), &path);
        if path.extension().is_some_and(|extension| extension == "log") {
            unpacked(disk, &path, log.id()).iter().for_each(|payload| check(payload, &path));
        }
    }
    let mut recent = std::collections::VecDeque::new();
    let tail = log.shared.tail();
    tail.from(tail.first().unwrap_or_default(), usize::MAX, &mut recent);
    for section in recent.iter().flat_map(|stored| &stored.sections) {
        check(&section.payload, &"the tail cache");
    }
}

/// The payloads of the compressed sections of a segment.
fn unpacked(disk: &Faulty, path: &Path, log: connector_api::LogId) -> Vec<bytes::Bytes> {
    let first = parse_name(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let mut segment = Segment::open(disk, path, log, first).unwrap();
    let (limit, mut at, mut found) = (segment.len().unwrap(), HEADER_LEN as u64, Vec::new());
    while at < limit {
        let entry = segment.entry(at, limit).unwrap();
        at = entry.payload_at();
        if entry.head.kind == EntryKind::Batch {
            let directory = segment.directory(&entry).unwrap();
            for head in &directory.sections {
                if head.compression != COMPRESSION_NONE {
                    found.push(segment.payload(at, head, limit).unwrap());
                }
                at += head.stored;
            }
        }
        at = entry.end();
    }
    found
}
