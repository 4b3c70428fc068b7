//! An erasure among changes: in their order, all or nothing.

use super::finding::slices;
use super::{Scene, by, delete, events, step, table, through};
use crate::erasure::{Action, Constant, Erased};
use crate::testing::sinks::{Subject, started};
use crate::{Kind, Value, ValueKind};

const INT: ValueKind = ValueKind::Int;
const TEXT: ValueKind = ValueKind::Text;

pub(super) async fn cases(subject: &dyn Subject) {
    between_changes(subject).await;
    rollback(subject).await;
    crash(subject).await;
    nothing_there(subject).await;
    wrong(subject).await;
    many(subject).await;
}

fn row(id: i64, of: i64) -> [Value<'static>; 2] {
    [Value::Int(id), Value::Int(of)]
}

/// What came before it in the same transaction is met, what comes behind it is not: on tables of several lanes, if there
/// are some.
async fn between_changes(subject: &dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let tables: Vec<_> = (0..5).map(|at| table(&format!("e_between_{at}"), &[INT])).collect();
    let stood = scene.cursor.get(&events());
    for round in 0..3 {
        for table in &tables {
            scene.feed.insert(table, &row(round * 10 + 1, 7)).insert(table, &row(round * 10 + 2, 70));
        }
        let before = scene.feed.take();
        assert!(before.apply(&mut *scene.sink).await.is_empty());
        before.delivery.advance(&mut scene.cursor);
        let steps: Vec<_> = tables.iter().map(|table| delete(table, by("a"), Value::Int(7))).collect();
        let done = scene.try_erase(steps.clone()).await.expect("erase");
        let kept = u64::from(round > 0);
        assert_eq!(done, vec![Erased { rows: 1 + kept, left: 0 }; 5], "round {round}");
        // A new row of the same person, changes of rows that the erasure has locked, and of rows beside them.
        for table in &tables {
            scene.feed.delete(table, &[Value::Int(round * 10 + 1)]).insert(table, &row(round * 10 + 3, 7));
            scene.feed.update(table, &row(round * 10 + 2, 71));
        }
        let behind = scene.feed.take();
        assert!(behind.apply(&mut *scene.sink).await.is_empty());
        // A second one before the commit.
        let later = Value::Int(round * 10 + 2);
        assert_eq!(
            scene.try_erase(vec![delete(&tables[round as usize], by("id"), later)]).await.expect("erase")[0]
                .rows,
            1
        );
        behind.delivery.advance(&mut scene.cursor);
        scene.commit().await;
    }
    for (at, table) in tables.iter().enumerate() {
        let mut wanted = vec![row(23, 7)];
        wanted.extend((0..3).filter(|round| *round != at as i64).map(|round| row(round * 10 + 2, 71)));
        scene.holds(table, &slices(&wanted), "in order").await;
    }
    assert_eq!(scene.cursor.get(&events()), stood + 3);
    let stood = scene.cursor.clone();
    scene.stop().await;
    assert_eq!(started(subject).await.1, stood);
}

async fn rollback(subject: &dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let (orders, users) = (table("e_rollback", &[INT]), table("e_rollback_users", &[TEXT]));
    let rows = [row(1, 7), row(2, 70)];
    scene.fill(&orders, &slices(&rows)).await;
    let user = [[Value::Int(7), Value::Text("x")]];
    scene.fill(&users, &slices(&user)).await;
    let steps = || {
        let null = Action::Set(vec![("a".to_owned(), Constant::Null)]);
        vec![delete(&orders, by("a"), Value::Int(7)), step(&users, by("id"), Value::Int(7), null)]
    };
    assert_eq!(scene.try_erase(steps()).await.expect("erase").iter().map(|done| done.rows).sum::<u64>(), 2);
    scene.sink.rollback().await.expect("rollback");
    scene.holds(&orders, &slices(&rows), "rolled back").await;
    scene.holds(&users, &slices(&user), "rolled back").await;
    assert_eq!(scene.erase(steps()).await, [(1, 0), (1, 0)]);
    scene.holds(&orders, &slices(&rows[1..]), "after all").await;
    scene.stop().await;
}

/// The sink dies between the erasure and its commit: the next one is told again.
async fn crash(subject: &dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let tables: Vec<_> = (0..4).map(|at| table(&format!("e_crash_{at}"), &[INT])).collect();
    for table in &tables {
        scene.feed.insert(table, &row(1, 7)).insert(table, &row(2, 70));
    }
    let first = scene.feed.take();
    assert!(first.apply(&mut *scene.sink).await.is_empty());
    first.delivery.advance(&mut scene.cursor);
    scene.commit().await;
    let stood = scene.cursor.clone();
    for table in &tables {
        scene.feed.insert(table, &row(3, 7));
    }
    let second = scene.feed.take();
    assert!(second.apply(&mut *scene.sink).await.is_empty());
    let steps = || tables.iter().map(|table| delete(table, by("a"), Value::Int(7))).collect::<Vec<_>>();
    assert!(scene.try_erase(steps()).await.expect("erase").iter().all(|done| done.rows == 2));
    drop(scene.sink);
    let (mut sink, cursor) = started(subject).await;
    assert_eq!(cursor.get(&events()), stood.get(&events()), "the event was not passed");
    for result in second.apply_some(&mut *sink, |topic, offset| offset >= cursor.get(topic)) {
        result.expect("apply");
    }
    let mut scene = Scene::over(subject, sink, cursor);
    second.delivery.advance(&mut scene.cursor);
    let done = scene.erase(steps()).await;
    assert_eq!(done, [(2, 0); 4], "erased once, and all of it");
    for table in &tables {
        scene.holds(table, &slices(&[row(2, 70)]), "after the crash").await;
    }
    scene.stop().await;
}

/// A table that does not exist holds nothing; neither does one that is found through it.
async fn nothing_there(subject: &dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let (there, missing) = (table("e_there", &[INT]), table("e_missing", &[INT]));
    scene.fill(&there, &slices(&[row(1, 7)])).await;
    let done = scene
        .erase(vec![
            delete(&missing, by("a"), Value::Int(7)),
            delete(&there, through("id", &missing, "a", by("a")), Value::Int(7)),
            delete(&missing, through("id", &there, "a", by("a")), Value::Int(7)),
            step(&missing, by("a"), Value::Int(7), Action::Keep),
        ])
        .await;
    assert_eq!(done, [(0, 0); 4]);
    assert_eq!(scene.erase(Vec::new()).await, [], "no step at all");
    scene.holds(&there, &slices(&[row(1, 7)]), "nothing was there").await;
    scene.stop().await;
}

/// What is wrong is said, with what to do about it and without the value; nothing of the erasure stays.
async fn wrong(subject: &dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let orders = table("e_wrong", &[TEXT]);
    let rows = [[Value::Int(1), Value::Text("hunter2")]];
    scene.fill(&orders, &slices(&rows)).await;
    let secret = Value::Text("hunter2");
    let good = || delete(&orders, by("a"), secret);
    let set = |name: &str| Action::Set(vec![(name.to_owned(), Constant::Null)]);
    for bad in [
        delete(&orders, by("nothing"), secret),
        delete(&orders, super::at("nothing", &["x"]), secret),
        delete(&orders, through("a", &orders, "nothing", by("a")), secret),
        step(&orders, by("a"), secret, set("nothing")),
        step(&orders, by("a"), secret, Action::Set(Vec::new())),
        // NOT NULL: the column is of the key.
        step(&orders, by("a"), secret, set("id")),
    ] {
        let what = format!("{:?} {:?}", bad.find, bad.action);
        // Before the good step, which would leave nothing to set.
        let error = scene.try_erase(vec![bad, good()]).await.expect_err(&what);
        assert_eq!(error.kind(), Kind::Config, "{what}: {error}");
        assert!(error.remedy().is_some(), "{what}: {error}");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{what}: {error}");
        scene.sink.rollback().await.expect("rollback");
        scene.holds(&orders, &slices(&rows), &what).await;
    }
    assert_eq!(scene.erase(vec![good()]).await, [(1, 0)], "the sink works on");
    scene.stop().await;
}

async fn many(subject: &dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let clicks = table("e_many", &[INT, TEXT]);
    for id in 0..11_000 {
        let of = if id < 10_000 { 7 } else { 70 };
        scene.feed.insert(&clicks, &[Value::Int(id), Value::Int(of), Value::Text("a page somewhere")]);
    }
    let fed = scene.feed.take();
    assert!(fed.apply(&mut *scene.sink).await.is_empty());
    fed.delivery.advance(&mut scene.cursor);
    scene.erases(delete(&clicks, by("a"), Value::Int(7)), 10_000).await;
    scene.erases(delete(&clicks, by("a"), Value::Int(70)), 1_000).await;
    scene.holds(&clicks, &[], "ten thousand rows of one person").await;
    scene.stop().await;
}
