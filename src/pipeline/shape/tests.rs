//! What changes become by rules: single cases, and random histories against the rule applied to the rows that remain.

mod model;
mod random;
mod speed;

use connector_api::Kind;

use super::*;
use crate::pipeline::mapping::{Computed, Mark, Rule};
use model::{Source, Table};

/// A rule for the model's topic.
pub(super) fn rule() -> Rule {
    Rule { topic: "shop.public.users".to_owned(), table: Some("people".to_owned()), ..Rule::default() }
}

pub(super) fn computed(name: &str, value: &str) -> Computed {
    Computed { name: name.to_owned(), value: value.to_owned(), kind: None }
}

fn deleted_at() -> OnDelete {
    OnDelete::Set(vec![("deleted_at".to_owned(), Mark::Now), ("gone".to_owned(), Mark::Bool(true))])
}

fn mapping(rules: &[Rule]) -> Mapping {
    Mapping { rules: rules.to_vec() }
}

/// The rows of the target after these changes, as text.
fn rows(rule: Rule, source: &Source) -> Vec<String> {
    let mut table = Table::new(mapping(&[rule]));
    table.apply_all(source).unwrap();
    table.rows()
}

fn refused(rule: Rule, source: &Source) -> Error {
    Table::new(mapping(&[rule])).apply_all(source).unwrap_err()
}

#[test]
fn rows_come_in_stay_and_leave() {
    let rule =
        Rule { condition: Some("row.kind == 'a'".to_owned()), exclude: vec!["big".to_owned()], ..rule() };
    for full in [false, true] {
        let mut source = Source::new(full);
        source.insert(1, "a", Some(1));
        source.insert(2, "b", Some(2));
        source.read(3, "a", Some(3));
        source.insert(4, "a", Some(4));
        assert_eq!(rows(rule.clone(), &source), ["1 a 1 e1", "3 a 3 e3", "4 a 4 e4"]);
        source.update(1, |row| row.kind = "b".into());
        source.update(2, |row| row.kind = "a".into());
        source.update(3, |row| row.n = Some(33));
        // A key change that leaves, and the row that a copy read before and reads again.
        source.update(4, |row| (row.id, row.kind) = (40, "b".into()));
        assert_eq!(rows(rule.clone(), &source), ["2 a 2 e2", "3 a 33 e3"]);
        source.read(2, "b", Some(2));
        source.update(3, |row| row.id = 30);
        assert_eq!(rows(rule.clone(), &source), ["30 a 33 e3"]);
        source.update(40, |row| (row.id, row.kind) = (41, "a".into()));
        source.delete(30);
        assert_eq!(rows(rule.clone(), &source), ["41 a 4 e4"]);
        source.truncate();
        assert_eq!(rows(rule.clone(), &source), [""; 0]);
    }
}

#[test]
fn columns_are_computed_and_have_the_types_that_they_are_given() {
    let kind = Computed { kind: Some(connector_api::ValueKind::Decimal), ..computed("n2", "row.n * 2") };
    let rule = Rule {
        columns: Some(vec![("id".into(), "id".into()), ("email".into(), "email".into())]),
        computed: vec![computed("shop", "'eu'"), kind, computed("email", "row.email.upperAscii()")],
        ..rule()
    };
    let mut source = Source::new(false);
    source.insert(1, "a", Some(4));
    source.insert(2, "a", None);
    assert_eq!(rows(rule, &source), ["1 E1 eu 8", "2 E2 eu NULL"]);
}

#[test]
fn deletes_mark_rows_and_upserts_bring_them_back() {
    let rule = Rule { on_delete: deleted_at(), exclude: vec!["big".into()], ..rule() };
    let mut source = Source::new(false);
    source.insert(1, "a", Some(1));
    source.insert(2, "a", Some(2));
    source.delete(1);
    source.update(2, |row| row.id = 3);
    let at = "2000-01-01 00:00:01+00:00";
    assert_eq!(
        rows(rule.clone(), &source),
        [format!("1 a 1 e1 {at} true"), "3 a 2 e2 NULL false".to_owned()]
    );
    source.insert(1, "b", Some(9));
    assert_eq!(rows(rule.clone(), &source), ["1 b 9 e1 NULL false", "3 a 2 e2 NULL false"]);
    source.truncate();
    let marked = [format!("1 b 9 e1 {at} true"), format!("3 a 2 e2 {at} true")];
    assert_eq!(rows(rule.clone(), &source), marked);
    // Columns of the row itself can be set, too; a row that stops matching is marked.
    let email = OnDelete::Set(vec![("email".into(), Mark::Null), ("deleted".into(), Mark::Now)]);
    let rule = Rule { on_delete: email, condition: Some("row.kind != 'x'".into()), ..rule };
    let mut source = Source::new(false);
    source.insert(1, "a", Some(1));
    source.insert(2, "a", Some(2));
    source.update(1, |row| row.kind = "x".into());
    source.delete(2);
    assert_eq!(rows(rule, &source), [format!("1 a 1 NULL {at}"), format!("2 a 2 NULL {at}")]);
}

#[test]
fn ignored_deletes_leave_rows_and_key_changes_move_them() {
    for condition in [None, Some("true".to_owned())] {
        let rule = Rule { on_delete: OnDelete::Ignore, condition, exclude: vec!["big".into()], ..rule() };
        let mut source = Source::new(false);
        source.insert(1, "a", Some(1));
        source.insert(2, "a", Some(2));
        source.delete(1);
        source.update(2, |row| row.id = 3);
        source.truncate();
        assert_eq!(rows(rule, &source), ["1 a 1 e1", "3 a 2 e2"]);
    }
}

#[test]
fn another_key_needs_whole_old_rows_unless_it_is_made_of_the_old_one() {
    let email = Rule { key: Some(vec!["email".into()]), exclude: vec!["big".into()], ..rule() };
    let mut source = Source::new(true);
    source.insert(1, "a", Some(1));
    source.insert(2, "a", Some(2));
    source.update(1, |row| row.email = "new".into());
    source.update(2, |row| (row.id, row.n) = (9, Some(9)));
    assert_eq!(rows(email.clone(), &source), ["9 a 9 e2", "1 a 1 new"]);
    source.delete(9);
    assert_eq!(rows(email.clone(), &source), ["1 a 1 new"]);
    let with = |change: fn(&mut Source)| {
        let mut source = Source::new(false);
        source.insert(1, "a", Some(1));
        change(&mut source);
        refused(email.clone(), &source)
    };
    for error in [with(|source| source.update(1, |row| row.n = None)), with(|source| source.delete(1))] {
        assert_eq!(error.kind(), Kind::Config, "{error}");
        assert_eq!(error.remedy(), Some(r#"ALTER TABLE "public"."users" REPLICA IDENTITY FULL;"#));
    }
    // A constant and the source's own key are enough.
    let both = Rule {
        key: Some(vec!["shop".into(), "id".into()]),
        computed: vec![computed("shop", "'eu'")],
        exclude: vec!["big".into()],
        ..rule()
    };
    let mut source = Source::new(false);
    source.insert(1, "a", Some(1));
    source.insert(2, "a", Some(2));
    source.update(1, |row| row.n = None);
    source.update(2, |row| row.id = 3);
    source.insert(2, "b", Some(4));
    source.delete(1);
    assert_eq!(rows(both, &source), ["2 b 4 e2 eu", "3 a 2 e2 eu"]);
    let null = Rule { key: Some(vec!["n".into()]), ..rule() };
    let mut source = Source::new(true);
    source.insert(1, "a", None);
    let error = refused(null, &source);
    assert_eq!((error.kind(), error.to_string().contains("key column \"n\"")), (Kind::Data, true), "{error}");
}

#[test]
fn values_that_were_not_sent_are_taken_from_the_old_row_or_refused() {
    let with = |value: &str, condition: Option<&str>| Rule {
        computed: vec![computed("x", value)],
        condition: condition.map(str::to_owned),
        ..rule()
    };
    let history = |full: bool| {
        let mut source = Source::new(full);
        source.insert(1, "a", Some(1));
        source.update(1, |row| row.n = Some(2));
        source
    };
    // Of nothing but unchanged values: unchanged as well.
    assert_eq!(rows(with("row.big.size()", None), &history(false)), ["1 a 2 e1 big1 4"]);
    assert_eq!(rows(with("row.big + string(row.n)", None), &history(true)), ["1 a 2 e1 big1 big12"]);
    for (rule, what) in [
        (with("row.big + string(row.n)", None), "column \"x\" needs column \"big\""),
        (with("1", Some("row.big != ''")), "where needs column \"big\""),
    ] {
        let error = refused(rule, &history(false));
        assert_eq!(error.kind(), Kind::Data, "{error}");
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("REPLICA IDENTITY FULL")), "{error:?}");
    }
    // A condition that is decided without the value does not need it.
    let decided = with("1", Some("row.kind == 'a' || row.big != ''"));
    assert_eq!(rows(decided, &history(false)), ["1 a 2 e1 big1 1"]);
    // A row that comes in brings the old value along, where the source sent it.
    let mut source = Source::new(true);
    source.insert(1, "b", Some(1));
    source.update(1, |row| row.kind = "a".into());
    assert_eq!(rows(with("1", Some("row.kind == 'a'")), &source), ["1 a 1 e1 big1 1"]);
}

#[test]
fn failures_name_the_column_and_show_no_value() {
    let rule = Rule { computed: vec![computed("x", "100 / row.n")], ..rule() };
    let mut source = Source::new(false);
    source.insert(1, "secret", Some(0));
    let error = refused(rule, &source);
    assert_eq!(error.to_string(), "map shop.public.users: column \"x\": a division by zero");
    assert_eq!(error.kind(), Kind::Data);
}

#[test]
fn a_truncate_does_not_empty_a_table_that_other_topics_share() {
    let other = Rule { topic: "other.public.users".into(), ..rule() };
    let own = Rule { table: Some("own".into()), ..rule() };
    for computed in [Vec::new(), vec![computed("shop", "1")]] {
        let mut table = Table::new(mapping(&[Rule { computed, ..rule() }, own.clone(), other.clone()]));
        let mut source = Source::new(false);
        source.insert(1, "a", Some(1));
        source.truncate();
        let error = table.apply_all(&source).unwrap_err();
        assert_eq!(error.kind(), Kind::Data, "{error}");
        assert!(error.to_string().contains("other topics are written to table \"people\""), "{error}");
        // The table that the topic has for itself is emptied all the same.
        assert_eq!((table.rows().len(), table.rows_of("own").len()), (1, 0));
    }
}

#[test]
fn what_does_not_fit_names_its_place() {
    let source = Source::new(false);
    let misfit = |rule: Rule| {
        let mut shaper = Shaper::new(mapping(&[rule]));
        let misfit = shaper.targets(&source.topic().topic, source.schema()).unwrap_err();
        let at = misfit.place.map(|(text, place)| text[place].to_owned()).unwrap_or_default();
        (misfit.path.join("."), at, misfit.error.to_string())
    };
    let found = [
        misfit(Rule { condition: Some("row.nope".into()), ..rule() }),
        misfit(Rule { condition: Some("row.n".into()), ..rule() }),
        misfit(Rule { computed: vec![computed("x", "1 +  row.kind")], ..rule() }),
        misfit(Rule { computed: vec![computed("x", "null")], ..rule() }),
        misfit(Rule { key: Some(vec!["nope".into()]), ..rule() }),
        misfit(Rule { exclude: vec!["nope".into()], ..rule() }),
        misfit(Rule { exclude: vec!["id".into()], ..rule() }),
        misfit(Rule { columns: Some(vec![("kind".into(), "kind".into())]), ..rule() }),
        misfit(Rule { on_delete: OnDelete::Set(vec![("id".into(), Mark::Int(1))]), ..rule() }),
        misfit(Rule { on_delete: OnDelete::Set(vec![("n".into(), Mark::Text("x".into()))]), ..rule() }),
        misfit(Rule { on_delete: OnDelete::Set(vec![("x".into(), Mark::Null)]), ..rule() }),
    ];
    let shown: Vec<String> = found.iter().map(|(path, at, text)| format!("{path} [{at}] {text}\n")).collect();
    assert_eq!(shown.concat(), include_str!("tests/misfits.txt"));
}

#[test]
fn two_topics_meet_in_one_table_only_when_both_name_it() {
    let source = Source::new(false);
    let try_both = |one: Option<&str>, two: Option<&str>| {
        let rule = |topic: &str, table: Option<&str>| Rule {
            topic: topic.to_owned(),
            table: table.map(str::to_owned),
            ..Rule::default()
        };
        let mut shaper = Shaper::new(mapping(&[rule("a.public.users", one), rule("b.public.users", two)]));
        shaper.targets(&"a.public.users".into(), source.schema()).unwrap();
        shaper.targets(&"b.public.users".into(), source.schema()).map_err(|misfit| misfit.error.to_string())
    };
    assert!(try_both(Some("people"), Some("PEOPLE")).is_ok());
    assert!(try_both(None, Some("other")).is_ok());
    for (one, two) in [(None, None), (Some("users"), None), (None, Some("Users"))] {
        let error = try_both(one, two).unwrap_err();
        assert!(error.contains("topic a.public.users is already written to table"), "{error}");
    }
}

#[test]
fn one_topic_goes_to_two_tables_by_two_rules() {
    let small = Rule { table: Some("small".into()), condition: Some("row.n < 10".into()), ..rule() };
    let mut table = Table::new(mapping(&[rule(), small]));
    let mut source = Source::new(false);
    source.insert(1, "a", Some(1));
    source.insert(2, "a", Some(20));
    source.update(1, |row| row.n = Some(11));
    source.update(2, |row| row.n = Some(2));
    table.apply_all(&source).unwrap();
    assert_eq!(table.rows_of("people"), ["1 a 11 e1 big1", "2 a 2 e2 big2"]);
    // The big value was not sent again, and the row was not there: it comes without it.
    assert_eq!(table.rows_of("small"), ["2 a 2 e2 -"]);
}
