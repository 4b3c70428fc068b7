//! The statements of steps, in a system that is played.

use connector_api::erasure::{Action, Constant, Find, Step};
use connector_api::{Kind, Severity, Value};

use super::*;

/// A system; `JOIN` when it joins.
#[derive(Debug)]
struct Played<const JOIN: bool>;

impl<const JOIN: bool> Finder for Played<JOIN> {
    type Facts = ();
    type Value = String;

    const CODES: &'static Codes = &crate::erasure_codes!("played");
    const JOINS: bool = JOIN;

    fn quote(&self, name: &str) -> String {
        crate::names::quote_with('"', name)
    }

    fn same_column(&self, one: &str, other: &str) -> bool {
        one == other
    }

    fn equals(&self, at: &At<'_, ()>, sought: &Sought<'_>, values: &mut Vec<String>) -> Option<String> {
        if at.column.name == "unfit" {
            return None;
        }
        values.push(sought.text().to_owned());
        Some(format!("{} = ?{}", at.sql, values.len()))
    }

    fn holds(
        &self,
        _at: &At<'_, ()>,
        _path: &[String],
        _sought: &Sought<'_>,
        _values: &mut Vec<String>,
    ) -> Result<String, String> {
        Err("it has no JSON".to_owned())
    }

    fn link(&self, ours: &At<'_, ()>, theirs: &At<'_, ()>) -> Result<Link, String> {
        Ok(Link::plain(&ours.sql, &theirs.sql).and(format!("x({})", ours.sql), format!("x({})", theirs.sql)))
    }

    fn set(&self, at: &At<'_, ()>, constant: &Constant, values: &mut Vec<String>) -> Result<Set, String> {
        values.push(format!("{constant:?}"));
        let value = format!("?{}", values.len());
        Ok(Set { differs: format!("{} <> {value}", at.sql), value })
    }
}

fn column(name: &str) -> Column<()> {
    Column { name: name.to_owned(), generated: name == "computed", facts: () }
}

fn tables(names: &[&str]) -> Tables<()> {
    let columns = ["id", "a", "b\"", "unfit", "computed"].map(column).to_vec();
    let limits = Limits {
        indexed: vec!["id".to_owned()],
        filled: vec!["id".to_owned(), "a".to_owned()],
        key: vec!["id".to_owned()],
        unique: vec![vec!["unfit".to_owned()], vec!["a".to_owned(), "b\"".to_owned()]],
        lacking: vec!["DELETE"],
    };
    let table = || Place::Table(Table { columns: columns.clone(), limits: limits.clone() });
    names.iter().map(|name| ((*name).to_owned(), table())).collect()
}

fn step(find: Find, action: Action) -> Step {
    Step { table: "t".to_owned(), find, value: Step::encode(Value::Int(7)), action }
}

fn by(column: &str) -> Find {
    Find::Column(column.to_owned())
}

fn through(column: &str, table: &str, find: Find) -> Find {
    let (column, table, theirs) = (column.to_owned(), table.to_owned(), "id".to_owned());
    Find::Through { column, table, theirs, find: Box::new(find) }
}

fn acts<const JOIN: bool>(step: &Step) -> Statement<String> {
    let tables = tables(&["t", "u", "v"]);
    Search::new(&Played::<JOIN>, step, &tables).unwrap().unwrap().act().unwrap().unwrap()
}

#[test]
fn what_is_done_and_what_is_left() {
    let set = Action::Set(vec![("a".to_owned(), Constant::Null), ("b\"".to_owned(), Constant::Int(1))]);
    let (delete, set) = (step(by("a"), Action::Delete), step(by("a"), set));
    assert_eq!(acts::<false>(&delete).sql, r#"DELETE FROM "t" AS t0 WHERE t0."a" = ?1"#);
    assert_eq!(acts::<true>(&delete).sql, r#"DELETE t0 FROM "t" AS t0 WHERE t0."a" = ?1"#);
    let statement = acts::<false>(&set);
    assert_eq!(
        statement.sql,
        r#"UPDATE "t" AS t0 SET "a" = ?2, "b""" = ?3 WHERE (t0."a" = ?1) AND (t0."a" <> ?2 OR t0."b""" <> ?3)"#
    );
    assert_eq!(statement.values, ["7", "Null", "Int(1)"]);
    let tables = tables(&["t"]);
    let search = Search::new(&Played::<false>, &set, &tables).unwrap().unwrap();
    assert_eq!(
        search.left().unwrap().unwrap().sql,
        r#"SELECT count(*) FROM "t" AS t0 WHERE (t0."a" = ?1) AND (t0."a" <> ?2 OR t0."b""" <> ?3)"#
    );
    assert_eq!(search.count().unwrap().sql, r#"SELECT count(*) FROM "t" AS t0 WHERE t0."a" = ?1"#);
    assert!(search.held().unwrap().sql.starts_with(r#"SELECT t0."id", t0."a", t0."b""","#));
    let kept = step(by("a"), Action::Keep);
    let search = Search::new(&Played::<false>, &kept, &tables).unwrap().unwrap();
    assert!(search.act().unwrap().is_none() && search.left().unwrap().is_none());
}

#[test]
fn tables_are_found_through_others() {
    let find = through("a", "u", through("a", "v", by("b\"")));
    let statement = acts::<false>(&step(find.clone(), Action::Delete));
    assert_eq!(
        statement.sql,
        r#"DELETE FROM "t" AS t0 WHERE (t0."a", x(t0."a")) IN (SELECT t1."id", x(t1."id") FROM "u" AS t1 WHERE (t1."a", x(t1."a")) IN (SELECT t2."id", x(t2."id") FROM "v" AS t2 WHERE t2."b""" = ?1))"#
    );
    assert_eq!(statement.values, ["7"]);
    assert_eq!(
        acts::<true>(&step(find, Action::Delete)).sql,
        r#"DELETE t0 FROM "t" AS t0 JOIN (SELECT DISTINCT t1."id" AS k0, x(t1."id") AS k1 FROM "u" AS t1 JOIN (SELECT DISTINCT t2."id" AS k0, x(t2."id") AS k1 FROM "v" AS t2 WHERE t2."b""" = ?1) AS d1 ON t1."a" = d1.k0 AND x(t1."a") = d1.k1 WHERE 1 = 1) AS d0 ON t0."a" = d0.k0 AND x(t0."a") = d0.k1 WHERE 1 = 1"#
    );
}

#[test]
fn nothing_is_found_where_nothing_can_be() {
    assert!(acts::<false>(&step(by("unfit"), Action::Delete)).sql.ends_with("WHERE 1 = 0"));
    let find = step(through("a", "w", by("a")), Action::Delete);
    let mut tables = tables(&["t"]);
    assert!(Search::new(&Played::<false>, &find, &tables).is_err(), "no one looked at it");
    tables.insert("w".to_owned(), Place::Missing);
    assert!(Search::new(&Played::<false>, &find, &tables).unwrap().is_none());
    tables.insert("w".to_owned(), Place::Other("view".to_owned()));
    assert!(Search::new(&Played::<false>, &find, &tables).unwrap_err().to_string().contains("view"));
}

#[test]
fn what_cannot_be_said_is_an_error_with_a_remedy() {
    let mut deep = by("a");
    for _ in 0..=LEVELS_MAX {
        deep = through("a", "t", deep);
    }
    let set = |name: &str| Action::Set(vec![(name.to_owned(), Constant::Null)]);
    for wrong in [
        step(by("nothing"), Action::Delete),
        step(through("nothing", "u", by("a")), Action::Delete),
        step(through("a", "u", by("nothing")), Action::Delete),
        step(Find::Json { column: "a".to_owned(), path: vec!["x".to_owned()] }, Action::Delete),
        step(by("a"), set("nothing")),
        step(by("a"), set("computed")),
        step(by("a"), Action::Set(Vec::new())),
    ] {
        let tables = tables(&["t", "u"]);
        let search = Search::new(&Played::<false>, &wrong, &tables).unwrap().unwrap();
        let error = search.act().unwrap_err();
        assert!(error.kind() == Kind::Config && error.remedy().is_some(), "{error}");
    }
    let (deep, tables) = (step(deep, Action::Delete), tables(&["t"]));
    let search = Search::new(&Played::<false>, &deep, &tables).unwrap().unwrap();
    assert!(search.act().unwrap_err().to_string().contains("16 tables"));
    let mut none = step(by("a"), Action::Delete);
    none.value = Step::encode(Value::Null);
    let search = Search::new(&Played::<false>, &none, &tables).unwrap().unwrap();
    assert_eq!(search.act().unwrap_err().kind(), Kind::Corrupt);
}

fn codes(step: &Step) -> Vec<(&'static str, Severity)> {
    let found = examine(&Played::<false>, step, &tables(&["t", "u"]));
    assert!(found.iter().all(|finding| finding.remedy.is_some()), "{found:?}");
    found.iter().map(|finding| (finding.code, finding.severity)).collect()
}

#[test]
fn what_is_wrong_with_a_step() {
    use Severity::{Error, Warning};
    let rights = ("played-erasure-rights", Error);
    let no_index = ("played-erasure-no-index", Warning);
    assert_eq!(codes(&step(by("id"), Action::Keep)), []);
    assert_eq!(codes(&step(by("id"), Action::Delete)), [rights]);
    assert_eq!(codes(&step(by("a"), Action::Keep)), [no_index]);
    assert_eq!(codes(&step(through("id", "u", by("a")), Action::Keep)), [no_index]);
    assert_eq!(codes(&step(by("nothing"), Action::Delete)), [("played-erasure-invalid", Error)]);
    assert_eq!(
        codes(&step(through("id", "w", by("a")), Action::Keep)),
        [("played-erasure-table-missing", Error)]
    );
    let set = |sets: &[(&str, Constant)]| {
        let sets = sets.iter().map(|(name, constant)| ((*name).to_owned(), constant.clone()));
        codes(&step(by("id"), Action::Set(sets.collect())))
    };
    let one = Constant::Int(1);
    assert_eq!(set(&[("id", one.clone())]), [("played-erasure-set-key", Error)]);
    assert_eq!(set(&[("a", Constant::Null)]), [("played-erasure-set-null", Error)]);
    assert_eq!(set(&[("unfit", Constant::Null)]), []);
    assert_eq!(set(&[("unfit", one.clone())]), [("played-erasure-set-unique", Error)]);
    assert_eq!(
        set(&[("a", one.clone())]),
        [("played-erasure-set-unique", Warning)],
        "the other column may differ"
    );
    assert_eq!(set(&[("a", one.clone()), ("b\"", one)]), [("played-erasure-set-unique", Error)]);
}
