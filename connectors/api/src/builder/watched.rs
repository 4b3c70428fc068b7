//! Shows a change to the builder's [`Watch`], after it was written and before anything follows it.

use std::sync::Arc;

use super::{BatchBuilder, Event};
use crate::change::Change;
use crate::error::{Error, Result};
use crate::headers::Headers;
use crate::record::{Attributes, Records};
use crate::schema::Schema;
use crate::watch::Seen;

/// A record taken out again.
struct Taken {
    attributes: Attributes,
    value: Vec<u8>,
    key: Option<Vec<u8>>,
}

impl BatchBuilder {
    /// Shows the newest change, which begins at byte `start` of its section; false when it is gone again. `before` is the
    /// section's order and the builder's bytes as they were before it.
    ///
    /// # Errors
    /// What the watch returned; the change is gone then.
    #[cold]
    pub(super) fn show(&mut self, index: usize, start: usize, before: (u32, usize)) -> Result<bool> {
        let seen = self.seen(index, start);
        if matches!(seen, Ok(Seen::Keep)) {
            return Ok(true);
        }
        let taken = self.take_back(index, start, before)?;
        let notice = match (seen?, taken.key.as_deref()) {
            (Seen::After(notice), _) => notice,
            (Seen::Strip, Some(key)) => {
                let tombstone = Attributes(Attributes::KEY | Attributes::TOMBSTONE);
                self.put(index, tombstone, &[], &[], Some(key));
                return Ok(true);
            }
            // A row without a key is found by its whole old row: nothing less deletes it.
            (Seen::Strip, None) => {
                self.put(index, taken.attributes, &[], &taken.value, None);
                return Ok(true);
            }
            (Seen::Keep | Seen::Drop, _) => return Ok(false),
        };
        let event =
            Event { key: Some(&notice.key), value: Some(&notice.value), headers: &Headers::default() };
        self.put_event(&notice.topic, event);
        // The notice began a section of its own; this one is still the newest of its topic.
        self.put(index, taken.attributes, &[], &taken.value, taken.key.as_deref());
        Ok(true)
    }

    fn seen(&mut self, index: usize, start: usize) -> Result<Seen> {
        let (Some(section), Some(watch)) = (self.sections.get(index), &mut self.watch) else {
            return Ok(Seen::Keep);
        };
        let schema: &Arc<Schema> =
            section.schema.as_ref().ok_or_else(|| Error::corrupt("watch change: no schema"))?;
        let record = Records::new(section.payload.get(start..).unwrap_or_default(), 0).next();
        let record = record.ok_or_else(|| Error::corrupt("watch change: no record"))??;
        watch.see(&section.topic, &Change::decode(record, schema)?)
    }

    fn take_back(&mut self, index: usize, start: usize, (order, bytes): (u32, usize)) -> Result<Taken> {
        let gone = || Error::corrupt("watch change: no record");
        let section = self.sections.get_mut(index).ok_or_else(gone)?;
        let record = Records::new(section.payload.get(start..).unwrap_or_default(), 0).next();
        let record = record.ok_or_else(gone)??;
        let taken = Taken {
            attributes: record.attributes,
            value: record.value.to_vec(),
            key: record.key.map(<[u8]>::to_vec),
        };
        section.payload.truncate(start);
        section.count -= 1;
        section.order = order;
        self.order -= 1;
        self.bytes = bytes;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{Image, SectionHandle};
    use crate::change::Op;
    use crate::schema::Column;
    use crate::value::{Value, ValueKind};
    use crate::watch::{Notice, Watch};
    use crate::{Delivery, LogId};

    /// Drops key 1, announces deletes, keeps the rest.
    #[derive(Debug)]
    struct Strict;

    impl Watch for Strict {
        fn wants(&mut self, topic: &Arc<str>, _: &Arc<Schema>) -> bool {
            &**topic == "s.p.watched"
        }

        fn see(&mut self, _: &Arc<str>, change: &Change<'_>) -> Result<Seen> {
            let key = change.key().map(|key| key.to_vec()).transpose()?.unwrap_or_default();
            let notice = Notice { topic: "notices".into(), key: b"k".to_vec(), value: b"v".to_vec() };
            Ok(match (change.op, key.as_slice()) {
                (Op::Delete, [Value::Int(9)]) => Seen::Strip,
                (Op::Delete, _) => Seen::After(notice),
                (_, [Value::Int(1)]) => Seen::Drop,
                (_, [Value::Int(2)]) => return Err(Error::data("two")),
                _ => Seen::Keep,
            })
        }
    }

    fn schema() -> Arc<Schema> {
        let column = |name: &str, kind| Column {
            name: name.into(),
            kind,
            element: None,
            type_name: String::new(),
            nullable: true,
        };
        Arc::new(Schema {
            namespace: "p".into(),
            table: "t".into(),
            columns: vec![column("id", ValueKind::Int), column("name", ValueKind::Text)],
            key: vec![0],
        })
    }

    fn put(builder: &mut BatchBuilder, topic: &str, op: Op, id: i64) -> Result<()> {
        let at = builder.section(&mut SectionHandle::default(), &topic.into(), &schema());
        let mut change = builder.change(at, op);
        if op == Op::Delete {
            change.image(Image::OldKey, 1);
            change.push(Value::Int(id));
        } else {
            change.image(Image::NewRow, 2);
            change.push(Value::Int(id));
            change.push(Value::Text("name"));
        }
        change.finish()
    }

    /// Topic, operation and key of every record, in the order of the source, by transaction.
    fn contents(builder: &mut BatchBuilder) -> Vec<(u64, String)> {
        let batch = builder.take(None);
        let delivery = Delivery {
            log: LogId(0),
            sequence: 0,
            producer: batch.producer.clone(),
            continued: batch.continued,
            continues: batch.continues,
            transactions: batch.transactions.clone(),
            sections: batch.sections.clone(),
        };
        let named = delivery.records().map(|delivered| {
            let delivered = delivered.expect("a record");
            let what = match &delivered.section.schema {
                None => "event".to_owned(),
                Some(schema) => {
                    let change = Change::decode(delivered.record, schema).expect("a change");
                    let key = change.key().expect("a key").to_vec().expect("values");
                    format!("{} {key:?} {:?}", change.op.letter(), change.record.offset)
                }
            };
            (delivered.transaction.id, format!("{} {what}", delivered.section.topic.topic))
        });
        named.collect()
    }

    #[test]
    fn a_watch_drops_and_announces_in_the_order_of_the_source() {
        let mut builder = BatchBuilder::new("s", usize::MAX).watched_by(Box::new(Strict));
        builder.begin(7, 0);
        put(&mut builder, "s.p.watched", Op::Insert, 3).expect("kept");
        put(&mut builder, "s.p.watched", Op::Insert, 1).expect("dropped");
        put(&mut builder, "s.p.free", Op::Insert, 1).expect("not watched");
        put(&mut builder, "s.p.watched", Op::Delete, 1).expect("announced");
        assert!(put(&mut builder, "s.p.watched", Op::Insert, 2).is_err());
        put(&mut builder, "s.p.watched", Op::Insert, 4).expect("kept");
        put(&mut builder, "s.p.watched", Op::Delete, 4).expect("announced");
        builder.commit(b"1");
        let expected = [
            "s.p.watched c [Int(3)] 0",
            "s.p.free c [Int(1)] 0",
            "notices event",
            "s.p.watched d [Int(1)] 1",
            "s.p.watched c [Int(4)] 2",
            "notices event",
            "s.p.watched d [Int(4)] 3",
        ];
        let expected: Vec<_> = expected.iter().map(|line| (7, (*line).to_owned())).collect();
        assert_eq!(contents(&mut builder), expected);
    }

    #[test]
    fn a_stripped_delete_is_a_tombstone() {
        let mut builder = BatchBuilder::new("s", usize::MAX).watched_by(Box::new(Strict));
        builder.begin(7, 0);
        let at = builder.section(&mut SectionHandle::default(), &"s.p.watched".into(), &schema());
        let mut change = builder.change(at, Op::Delete);
        change.image(Image::OldRow, 2);
        change.push(Value::Int(9));
        change.push(Value::Text("personal"));
        change.finish().expect("stripped");
        builder.commit(b"1");
        let batch = builder.take(None);
        let record = batch.sections[0].records().next().expect("a record").expect("decodes");
        assert!(record.is_null() && record.key.is_some());
        assert!(!batch.sections[0].payload.windows(8).any(|bytes| bytes == b"personal"));
    }

    #[test]
    fn a_transaction_of_which_nothing_stays_leaves_no_trace() {
        let mut builder = BatchBuilder::new("s", usize::MAX).watched_by(Box::new(Strict));
        builder.begin(7, 0);
        put(&mut builder, "s.p.watched", Op::Insert, 1).expect("dropped");
        builder.commit(b"1");
        assert!(builder.is_empty());
        assert!(builder.take(None).is_empty());
    }
}
