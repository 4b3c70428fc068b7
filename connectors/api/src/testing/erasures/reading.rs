//! What the reading side says: what is held, whether an erasure holds, what is wrong with a step.

use serde_json::{Value as Json, json};

use super::finding::slices;
use super::{Scene, at, by, delete, step, table, through};
use crate::erasure::{Action, Constant, Step};
use crate::testing::sinks::Subject;
use crate::{Finding, Rows, Severity, Value, ValueKind};

pub(super) async fn cases(subject: &dyn Subject) {
    held(subject).await;
    examined(subject).await;
}

async fn held_by(rows: &mut dyn Rows, step: &Step) -> Vec<Json> {
    let mut found = Vec::new();
    rows.held(step, &mut |row| {
        found.push(Json::Object(row));
        Ok(())
    })
    .await
    .expect("held");
    found.sort_by_key(Json::to_string);
    found
}

async fn held(subject: &dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let (text, bytes) = (ValueKind::Text, ValueKind::Bytes);
    let users = table("e_held", &[text, ValueKind::Int, bytes]);
    let row = |id, text, of: i64| [Value::Int(id), text, Value::Int(of), Value::Bytes(b"\0\xff")];
    let rows = [row(1, Value::Text("it's \"é"), 7), row(2, Value::Null, 7), row(3, Value::Text("other"), 70)];
    scene.fill(&users, &slices(&rows)).await;
    let mut reader = subject.rows();
    for action in [Action::Delete, Action::Keep] {
        let wanted = [
            json!({"id": 1, "a": "it's \"é", "b": 7, "c": "\\x00ff"}),
            json!({"id": 2, "a": null, "b": 7, "c": "\\x00ff"}),
        ];
        let mut wanted = wanted.to_vec();
        wanted.sort_by_key(Json::to_string);
        assert_eq!(held_by(&mut *reader, &step(&users, by("b"), Value::Int(7), action)).await, wanted);
    }
    let gone = || delete(&users, by("b"), Value::Int(7));
    assert_eq!(reader.left(&gone()).await.expect("left"), 2);
    let kept = step(&users, by("b"), Value::Int(7), Action::Keep);
    assert_eq!(reader.left(&kept).await.expect("left"), 0, "kept rows are left on purpose");
    scene.erases(gone(), 2).await;
    assert_eq!(reader.left(&gone()).await.expect("left"), 0);
    assert!(held_by(&mut *reader, &gone()).await.is_empty());
    // What comes back is seen.
    scene.fill(&users, &slices(&[row(9, Value::Null, 7)])).await;
    assert_eq!(reader.left(&gone()).await.expect("left"), 1);
    let missing = delete(&table("e_nowhere", &[]), by("a"), Value::Int(7));
    assert_eq!(reader.left(&missing).await.expect("left"), 0);
    assert!(held_by(&mut *reader, &missing).await.is_empty());
    let wrong = delete(&users, by("nothing"), Value::Int(7));
    assert_eq!(reader.left(&wrong).await.expect_err("no column").kind(), crate::Kind::Config);
    assert_eq!(reader.left(&gone()).await.expect("left"), 1, "the reader works on");
    // More rows than are fetched at a time; the taker ends it when it likes.
    let many: Vec<_> = (100..1_100).map(|id| row(id, Value::Null, 5)).collect();
    scene.fill(&users, &slices(&many)).await;
    let fives = delete(&users, by("b"), Value::Int(5));
    assert_eq!(held_by(&mut *reader, &fives).await.len(), 1_000);
    let mut taken = 0;
    let error = reader
        .held(&fives, &mut |_| {
            taken += 1;
            if taken < 3 { Ok(()) } else { Err(crate::Error::data("enough")) }
        })
        .await;
    assert!(error.expect_err("it is told to end").to_string().contains("enough"));
    assert_eq!((taken, reader.left(&fives).await.expect("left")), (3, 1_000));
    scene.stop().await;
}

async fn examined(subject: &dyn Subject) {
    let mut scene = Scene::new(subject).await;
    let orders = table("e_examined", &[ValueKind::Int, ValueKind::Json]);
    scene.fill(&orders, &[&[Value::Int(1), Value::Int(7), Value::Null]]).await;
    let mut reader = subject.rows();
    let value = Value::Int(7);
    let set = |name: &str, constant| Action::Set(vec![(name.to_owned(), constant)]);
    let cases = [
        (delete(&orders, by("id"), value), &[][..]),
        (delete(&orders, by("a"), value), &[("erasure-no-index", Severity::Warning)][..]),
        (delete(&orders, at("b", &["x"]), value), &[("erasure-no-index", Severity::Warning)]),
        (
            delete(&orders, through("id", &orders, "a", by("a")), value),
            &[("erasure-no-index", Severity::Warning)],
        ),
        (delete(&orders, by("nothing"), value), &[("erasure-invalid", Severity::Error)]),
        (delete(&table("e_nowhere", &[]), by("a"), value), &[("erasure-table-missing", Severity::Error)]),
        (
            step(&orders, by("id"), value, set("nothing", Constant::Null)),
            &[("erasure-invalid", Severity::Error)],
        ),
        (step(&orders, by("id"), value, set("id", Constant::Null)), &[("erasure-set-key", Severity::Error)]),
        (step(&orders, by("id"), value, set("a", Constant::Null)), &[]),
    ];
    for (step, wanted) in cases {
        let found = reader.examine(&step).await.expect("examine");
        let codes: Vec<_> = found.iter().map(|finding| (finding.code, finding.severity)).collect();
        let same = found.len() == wanted.len()
            && found.iter().zip(wanted).all(|(finding, (code, severity))| {
                finding.code.ends_with(code) && finding.severity == *severity && is_useful(finding)
            });
        assert!(same, "{:?} {:?}: {codes:?} {found:?}", step.find, step.action);
    }
    scene.stop().await;
}

fn is_useful(finding: &Finding) -> bool {
    finding.remedy.as_ref().is_some_and(|remedy| !remedy.is_empty()) && !finding.what.is_empty()
}
