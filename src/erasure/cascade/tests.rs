//! Rules for one person.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use connector_api::erasure::Find;

use super::super::rules::{Coverage, LogRule};
use super::*;

fn rule(table: &str, is: Option<&str>, action: rules::Action) -> Rule {
    Rule {
        table: table.to_owned(),
        find: Find::Column("id".to_owned()),
        is: is.map(str::to_owned),
        action,
        reason: None,
    }
}

fn subject(rules: Vec<Rule>) -> Subject {
    Subject {
        name: "users".to_owned(),
        topic: Arc::from("shop.public.users"),
        key: "id".to_owned(),
        deadline: Duration::from_secs(1),
        overdue_not_ready: false,
        verify_every: None,
        sinks: BTreeMap::from([
            ("billing".to_owned(), Coverage::Steps(rules)),
            ("hooks".to_owned(), Coverage::Told),
            ("search".to_owned(), Coverage::Exempt("nothing".to_owned())),
        ]),
        log: LogRule::Purge,
        topics: Vec::new(),
    }
}

#[test]
fn steps_come_in_order_with_their_values_and_the_hash() {
    let marks = vec![
        ("name".to_owned(), Mark::Constant(Constant::Null)),
        ("who".to_owned(), Mark::Hash),
        ("tries".to_owned(), Mark::Constant(Constant::Int(0))),
    ];
    let subject = subject(vec![
        rule("cache", Some("'user:' + string(row.key)"), rules::Action::Delete),
        rule("invoices", None, rules::Action::Set(marks)),
        rule("contracts", Some("row.key * 2"), rules::Action::Keep),
    ]);
    let erasure = erasure(&subject, "billing", "c1", Value::Int(7), "ab12").unwrap();
    assert_eq!((erasure.case.as_str(), erasure.subject.as_str()), ("c1", "users"));
    assert_eq!(erasure.key, Step::encode(Value::Int(7)));
    let values: Vec<_> = erasure.steps.iter().map(Step::value).collect();
    assert_eq!(values, [Value::Text("user:7"), Value::Int(7), Value::Int(14)]);
    let tables: Vec<_> = erasure.steps.iter().map(|step| step.table.as_str()).collect();
    assert_eq!(tables, ["cache", "invoices", "contracts"]);
    let set = |name: &str, constant| (name.to_owned(), constant);
    let marks = vec![
        set("name", Constant::Null),
        set("who", Constant::Text("ab12".to_owned())),
        set("tries", Constant::Int(0)),
    ];
    let actions: Vec<_> = erasure.steps.into_iter().map(|step| step.action).collect();
    assert_eq!(actions, [Action::Delete, Action::Set(marks), Action::Keep]);
}

#[test]
fn who_is_told_gets_no_steps_and_owes_a_receipt() {
    let subject = subject(vec![rule("a", None, rules::Action::Delete)]);
    assert_eq!(erasure(&subject, "hooks", "c", Value::Text("k"), "h").unwrap().steps, []);
    assert_eq!(subject.due(), ["billing", "hooks"]);
}

#[test]
fn an_expression_that_finds_nothing_is_an_error_that_shows_no_key() {
    let secret = Value::Text("hunter2");
    for is in ["row.key == 'x' ? row.key : null", "int(row.key)", "row.other", "row.key +", "1 / 0"] {
        let subject = subject(vec![rule("cache", Some(is), rules::Action::Delete)]);
        let error = erasure(&subject, "billing", "c", secret, "h").unwrap_err();
        assert_eq!(error.kind(), connector_api::Kind::Config);
        let shown = format!("{error} {error:?} {:?}", error.remedy());
        assert!(shown.contains("users") && shown.contains("cache") && error.remedy().is_some(), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert!(wanted(None, Value::Null).is_err() && wanted(None, Value::Unchanged).is_err());
}

#[test]
fn faults_are_found_before_there_is_a_key() {
    for good in
        ["row.key", "'u' + row.key", "row.key * 2", "string(row.key)", "row.key.lowerAscii()", "'all'"]
    {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for (bad, at) in [("row.id", 0), ("row.key +", 8), ("'a' + 1", 0), ("null", 0), ("'x' + key", 6)] {
        let fault = check(bad).unwrap_err();
        assert!(fault.place.start >= at, "{bad}: {fault:?}");
    }
    assert_eq!(kind_of(None, ValueKind::Uuid), Ok(Type::Uuid));
    assert_eq!(kind_of(Some("string(row.key)"), ValueKind::Int), Ok(Type::Text));
    assert!(kind_of(Some("row.key * 2"), ValueKind::Text).is_err());
}
