//! The suite that every sink passes that holds rows: what is applied is there once, whatever stops in between.

use super::feed::{Fed, Feed, LOG, Table, column};
use super::model::{Chance, People, encoded, held, keep, step};
use crate::{Cursor, Op, Rows, Sink, Value, ValueKind};

/// A target that a sink under test writes to.
pub trait Subject: Send {
    /// A sink that has not started, always of the same name and on the same target.
    fn sink(&self) -> Box<dyn Sink>;
    /// What reads the target back.
    fn rows(&self) -> Box<dyn Rows>;
    /// Whether numbers in its JSON have to fit a float.
    fn is_small(&self) -> bool {
        false
    }
}

/// Runs every case, each on tables of its own.
pub async fn suite(subject: &mut dyn Subject) {
    first_start(subject).await;
    operations(subject).await;
    nothing_before_commit(subject).await;
    two_tables_together(subject).await;
    soft_deletes(subject).await;
    hostile(subject).await;
    reset(subject).await;
    for seed in 1..=12 {
        crashes(subject, seed).await;
    }
}

/// The table `(id int, name text, note text)` under a name of its own.
pub fn people(name: &str) -> Table {
    let columns =
        vec![column("id", ValueKind::Int), column("name", ValueKind::Text), column("note", ValueKind::Text)];
    Table::new(name, columns, &[0])
}

/// Starts a sink; where it stands.
pub async fn started(subject: &dyn Subject) -> (Box<dyn Sink>, Cursor) {
    let mut sink = subject.sink();
    let cursor = sink.start(LOG).await.expect("start");
    (sink, cursor.unwrap_or(Cursor::start(LOG)))
}

/// Applies a delivery whole and commits it.
pub async fn deliver(sink: &mut dyn Sink, cursor: &mut Cursor, fed: &Fed) {
    let refused = fed.apply(sink).await;
    assert!(refused.is_empty(), "{refused:?}");
    fed.delivery.advance(cursor);
    sink.commit(cursor).await.expect("commit");
}

/// Asserts that a table holds what the model has.
pub async fn holds(subject: &dyn Subject, table: &Table, wanted: &[Vec<u8>], when: &str) {
    let mut rows = subject.rows();
    let found = held(&mut *rows, table).await.expect("read rows back");
    let mut kept: Vec<_> = wanted.iter().map(|row| keep(&*rows, table, row).expect("keep")).collect();
    kept.sort();
    assert_eq!(found.len(), kept.len(), "{when}: number of rows of {}", table.schema.table);
    assert!(found == kept, "{when}: rows of {} differ:\n{found:?}\n{kept:?}", table.schema.table);
}

async fn first_start(subject: &dyn Subject) {
    let mut sink = subject.sink();
    assert_eq!(sink.start(LOG).await.expect("start"), None, "a new target holds no cursor");
    sink.commit(&Cursor::start(LOG)).await.expect("an empty commit");
    sink.stop().await.expect("stop");
}

async fn operations(subject: &dyn Subject) {
    let (mut sink, mut cursor) = started(subject).await;
    let (table, mut feed, mut model) = (people("s_operations"), Feed::default(), People::new());
    let mut chance = Chance::new(42);
    for round in 0..40 {
        for _ in 0..=chance.below(8) {
            step(&mut chance, &mut feed, &table, &mut model);
        }
        deliver(&mut *sink, &mut cursor, &feed.take()).await;
        holds(subject, &table, &encoded(&model), &format!("round {round}")).await;
    }
    sink.stop().await.expect("stop");
}

async fn nothing_before_commit(subject: &dyn Subject) {
    let (mut sink, mut cursor) = started(subject).await;
    let (table, mut feed) = (people("s_rollback"), Feed::default());
    feed.insert(&table, &[Value::Int(1), Value::Text("kept"), Value::Null]);
    deliver(&mut *sink, &mut cursor, &feed.take()).await;
    feed.insert(&table, &[Value::Int(2), Value::Text("rolled back"), Value::Null]);
    feed.delete(&table, &[Value::Int(1)]);
    let fed = feed.take();
    assert!(fed.apply(&mut *sink).await.is_empty());
    let model = People::from([(1, ("kept".to_owned(), None))]);
    sink.rollback().await.expect("rollback");
    holds(subject, &table, &encoded(&model), "after a rollback").await;
    deliver(&mut *sink, &mut cursor, &fed).await;
    let model = People::from([(2, ("rolled back".to_owned(), None))]);
    holds(subject, &table, &encoded(&model), "delivered again").await;
    sink.stop().await.expect("stop");
}

async fn two_tables_together(subject: &dyn Subject) {
    let (mut sink, mut cursor) = started(subject).await;
    let (left, right, mut feed) = (people("s_left"), people("s_right"), Feed::default());
    for id in 0..50 {
        feed.insert(&left, &[Value::Int(id), Value::Text("l"), Value::Null]);
        feed.insert(&right, &[Value::Int(id), Value::Text("r"), Value::Null]);
        feed.delete(&left, &[Value::Int(id - 1)]);
    }
    deliver(&mut *sink, &mut cursor, &feed.take()).await;
    holds(subject, &left, &encoded(&People::from([(49, ("l".to_owned(), None))])), "left").await;
    let all: People = (0..50).map(|id| (id, ("r".to_owned(), None))).collect();
    holds(subject, &right, &encoded(&all), "right").await;
    sink.stop().await.expect("stop");
}

/// A delete with a new row marks the row that is there, and makes none.
async fn soft_deletes(subject: &dyn Subject) {
    let (mut sink, mut cursor) = started(subject).await;
    let (table, mut feed) = (people("s_soft"), Feed::default());
    for id in [1, 2] {
        feed.insert(&table, &[Value::Int(id), Value::Text("there"), Value::Null]);
    }
    deliver(&mut *sink, &mut cursor, &feed.take()).await;
    for id in [1, 3] {
        let marked = [Value::Int(id), Value::Unchanged, Value::Text("gone")];
        feed.change(&table, Op::Delete, None, Some(&marked));
    }
    deliver(&mut *sink, &mut cursor, &feed.take()).await;
    let there = "there".to_owned();
    let model = People::from([(1, (there.clone(), Some("gone".to_owned()))), (2, (there, None))]);
    holds(subject, &table, &encoded(&model), "soft delete").await;
    sink.stop().await.expect("stop");
}

async fn hostile(subject: &dyn Subject) {
    let (mut sink, mut cursor) = started(subject).await;
    let texts =
        ["'; DROP TABLE x; --", "\"", "`", "\\", "\\'", "%s {} :id ?", "é\u{1f600}", "\u{1}", "", " a "];
    let columns = vec![
        column("id", ValueKind::Int),
        column("a b\"`'\\;--é", ValueKind::Text),
        column("sel%ect", ValueKind::Text),
    ];
    let table = Table::new("s \"h`o's\\t;--é", columns, &[0]);
    let (mut feed, mut model) = (Feed::default(), People::new());
    for (id, text) in texts.iter().enumerate() {
        feed.insert(&table, &[Value::Int(id as i64), Value::Text(text), Value::Text(text)]);
        model.insert(id as i64, ((*text).to_owned(), Some((*text).to_owned())));
    }
    deliver(&mut *sink, &mut cursor, &feed.take()).await;
    holds(subject, &table, &encoded(&model), "hostile names and values").await;
    for (id, text) in texts.iter().enumerate() {
        feed.update(&table, &[Value::Int(id as i64), Value::Unchanged, Value::Text(&text.repeat(2))]);
        model.insert(id as i64, ((*text).to_owned(), Some(text.repeat(2))));
    }
    deliver(&mut *sink, &mut cursor, &feed.take()).await;
    holds(subject, &table, &encoded(&model), "hostile updates").await;
    sink.stop().await.expect("stop");
}

async fn reset(subject: &dyn Subject) {
    let (mut sink, mut cursor) = started(subject).await;
    let (table, mut feed) = (people("s_reset"), Feed::default());
    feed.insert(&table, &[Value::Int(1), Value::Text("a"), Value::Null]);
    let fed = feed.take();
    deliver(&mut *sink, &mut cursor, &fed).await;
    let back = Cursor { log: LOG, next: cursor.next.keys().map(|of| (of.clone(), 0)).collect() };
    sink.reset(&back).await.expect("reset");
    drop(sink);
    let (mut sink, mut cursor) = started(subject).await;
    assert_eq!(cursor, back, "the cursor that an operator set");
    deliver(&mut *sink, &mut cursor, &fed).await;
    holds(subject, &table, &encoded(&People::from([(1, ("a".to_owned(), None))])), "applied again").await;
    sink.stop().await.expect("stop");
}

/// Sinks die between any two steps; the next one goes on from the cursor that the target holds (I3).
async fn crashes(subject: &dyn Subject, seed: u64) {
    let mut chance = Chance::new(seed.wrapping_mul(0x9e37_79b9));
    let (table, mut feed, mut model) = (people(&format!("s_crash_{seed}")), Feed::default(), People::new());
    let history: Vec<Fed> = (0..12)
        .map(|_| {
            (0..=chance.below(6)).for_each(|_| step(&mut chance, &mut feed, &table, &mut model));
            feed.take()
        })
        .collect();
    let mut promised = None;
    for life in 0..100 {
        let (mut sink, mut cursor) = started(subject).await;
        if let Some(promised) = &promised {
            assert_eq!(&cursor, promised, "seed {seed}, life {life}: a commit that was answered holds");
        }
        let at = |cursor: &Cursor| {
            let gone = |fed: &&Fed| {
                fed.delivery.sections.iter().all(|section| cursor.get(&section.topic) >= section.end())
            };
            history.iter().filter(gone).count()
        };
        if at(&cursor) == history.len() {
            holds(subject, &table, &encoded(&model), &format!("seed {seed}")).await;
            return;
        }
        for fed in &history[at(&cursor)..] {
            let some = chance.below(12);
            let mut left = if some == 0 { chance.below(3) } else { u64::MAX };
            let results = fed.apply_some(&mut *sink, |_, _| {
                left = left.saturating_sub(1);
                left > 0
            });
            results.into_iter().for_each(|result| result.expect("apply"));
            if left == 0 || chance.below(10) == 0 {
                break;
            }
            assert!(sink.flush().await.expect("flush").is_empty());
            if chance.below(10) == 0 {
                break;
            }
            fed.delivery.advance(&mut cursor);
            sink.commit(&cursor).await.expect("commit");
            promised = Some(cursor.clone());
            if chance.below(6) == 0 {
                break;
            }
        }
        drop(sink);
    }
    panic!("seed {seed}: a hundred lives were not enough");
}
