//! A sink of the model.

use std::collections::BTreeMap;

use connector_api::{Change, Delivery, Encoding, Op, Value};

/// Rows by table and key: the text of each.
pub type Rows = BTreeMap<(String, i64), String>;

/// A sink: applies what it reads as a database would.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Sink {
    pub rows: Rows,
    /// Numbers of events.
    pub events: Vec<u64>,
    /// Some of a transaction was applied, and not its end.
    pub inside: bool,
}

impl Sink {
    pub fn apply(&mut self, delivery: &Delivery) {
        assert_eq!(delivery.continued, self.inside, "half a transaction was delivered");
        self.inside = delivery.continues;
        for delivered in delivery.records() {
            let delivered = delivered.unwrap();
            if delivered.section.encoding == Encoding::Events {
                let key = connector_api::Row::from_bytes(delivered.record.key.unwrap()).to_vec().unwrap();
                let Value::Int(number) = key[0] else { panic!("key {key:?}") };
                self.events.push(number as u64);
                continue;
            }
            let schema = delivered.section.schema.as_ref().unwrap();
            let change = Change::decode(delivered.record, schema).unwrap();
            self.change(&delivered.section.topic.topic, &change);
        }
    }

    fn change(&mut self, table: &str, change: &Change<'_>) {
        let place = |values: Vec<Value<'_>>| match values.as_slice() {
            [Value::Int(key), ..] => (table.to_owned(), *key),
            other => panic!("key {other:?}"),
        };
        match change.op {
            Op::Truncate => self.rows.retain(|(other, _), _| other != table),
            Op::Delete if change.follows_move() => {}
            Op::Delete => drop(self.rows.remove(&place(change.key().unwrap().to_vec().unwrap()))),
            _ => {
                let row = change.after.unwrap().to_vec().unwrap();
                let old = change.old_key().unwrap().map(place).and_then(|old| self.rows.remove(&old));
                let text = match row[1] {
                    Value::Text(text) => text.to_owned(),
                    _ => old
                        .or_else(|| self.rows.get(&place(row.clone())).cloned())
                        .expect("a row to build on"),
                };
                self.rows.insert(place(row), text);
            }
        }
    }
}
