//! What follows for the log from the steps of the sinks.

use super::*;
use crate::config::erasure::{Remark, derive};
use crate::erasure::rules::{Action, Coverage, Field, LogRule, Mark, TopicRule};
use connector_api::erasure::{Constant, Find};
use std::time::Duration;

const SHOP: &str = "
sources: {shop: {type: postgres, url: '${URL}', tables: [users, public.orders]}}
sinks:
  billing:
    type: sqlite
    path: b.db
    tables:
      - {topic: shop.public.users, table: customers, columns: {id: id, mail: email, name: name}, on_delete: ignore}
      - {topic: shop.public.invoices, columns: {id: id, owner: customer_id, who: name, at: place}, computed: {line: row.who}}
      - {topic: shop.public.letters, exclude: [secret]}
      - {topic: shop.crm.*}
";

/// The topics that follow, as text, and the codes of the remarks.
fn derived(more: &str) -> (Vec<String>, Vec<Remark>) {
    let text = format!("{SHOP}{more}");
    let config = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let derived = derive(&config, "users", &config.erasure["users"]);
    assert_eq!(config.rules().subjects[0].topics, derived.topics);
    (derived.topics.iter().map(shown).collect(), derived.remarks)
}

fn shown(rule: &TopicRule) -> String {
    let field = match &rule.field {
        Field::Column(column) => column.clone(),
        Field::Json { column, path } => format!("{column}:{}", path.join(".")),
    };
    let action = match &rule.action {
        Action::Delete => "delete".to_owned(),
        Action::Keep => "keep".to_owned(),
        Action::Set(marks) => {
            format!("set {}", marks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" "))
        }
    };
    let is = rule.is.as_ref().map(|is| format!(" = {is}")).unwrap_or_default();
    let reason = rule.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{} {field}{is} {action}{reason}", rule.topic)
}

fn codes(remarks: &[Remark]) -> Vec<&str> {
    remarks.iter().map(|remark| remark.code).collect()
}

#[test]
fn the_section_is_read_with_its_defaults() {
    let config = parse(&format!(
        "{SHOP}erasure: {{users: {{subject: {{topic: shop.public.users, key: id}}, sinks: {{billing: [\
            {{table: customers, match: {{column: mail, through: {{table: a, column: b, match: {{column: c, path: [d]}}}}}}, \
            action: {{set: {{a: null, b: {{hash: key}}, c: 1.5, d: x}}}}}}]}}}}}}\n"
    ))
    .unwrap();
    let rules = config.rules();
    let users = rules.subject("users").unwrap();
    assert_eq!(
        (users.deadline, users.verify_every),
        (Duration::from_secs(2_592_000), Some(Duration::from_secs(604_800)))
    );
    assert!(!users.overdue_not_ready && users.log == LogRule::Purge && users.due() == ["billing"]);
    let Some(Coverage::Steps(steps)) = users.sinks.get("billing") else { panic!("{users:?}") };
    let inner = Find::Json { column: "c".into(), path: vec!["d".into()] };
    let find =
        Find::Through { column: "mail".into(), table: "a".into(), theirs: "b".into(), find: Box::new(inner) };
    assert_eq!(steps[0].find, find);
    let mark = |name: &str, constant| (name.to_owned(), Mark::Constant(constant));
    let marks = vec![
        mark("a", Constant::Null),
        ("b".to_owned(), Mark::Hash),
        mark("c", Constant::Float(1.5)),
        mark("d", Constant::Text("x".into())),
    ];
    assert_eq!(steps[0].action, Action::Set(marks));
    let SinkConnector::Sqlite(options) = &config.sinks["billing"].connector else { panic!("a SQLite sink") };
    assert!(options.erases);
}

#[test]
fn steps_are_carried_back_to_the_names_of_the_source() {
    let (topics, remarks) = derived(
        "erasure:
  users:
    subject: {topic: shop.public.users, key: id}
    sinks:
      billing:
        - {table: customers, match: id, action: {set: {email: null, phone: null}}, reason: tax}
        - {table: Invoices, match: customer_id, action: {set: {name: null, place: x}}}
        - {table: letters, match: {column: payload, path: [user, id]}, action: delete}
        - {table: notes, match: writer, is: 'row.key + 1', action: delete}
        - {table: own_table, match: user_id, action: delete}
",
    );
    let expected = [
        "shop.public.users id set mail (tax)",
        "shop.public.invoices owner set who at",
        "shop.public.letters payload:user.id delete",
        "shop.crm.notes writer = row.key + 1 delete",
        // Whether there is such a table does not matter.
        "shop.crm.own_table user_id delete",
    ];
    assert_eq!(topics, expected);
    assert_eq!(remarks, []);
}

#[test]
fn what_does_not_follow_is_told() {
    let (topics, remarks) = derived(
        "  all: {type: sqlite, path: all.db}
erasure:
  users:
    subject: {topic: shop.public.users, key: id}
    sinks:
      billing:
        - {table: letters, match: {column: a, through: {table: customers, column: email, match: id}}, action: delete}
        - {table: invoices, match: line, action: delete}
        - {table: invoices, match: id, action: {set: {line: null}}, reason: r}
        - {table: letters, match: secret, action: delete}
        - {table: customers, match: nick, action: {set: {name: null}}}
      all:
        - {table: users, match: id, action: keep, reason: contract}
        - {table: orders, match: user_id, action: delete}
        - {table: carts, match: user_id, action: delete}
",
    );
    // What serves both sinks is kept; tables that the source's configuration names are known behind a pattern.
    let expected = [
        "shop.public.users id keep (contract)",
        "shop.public.orders user_id delete",
        "shop.public.invoices id keep (r)",
    ];
    assert_eq!(topics, expected);
    let expected = [
        "erasure-deleted-anyway",
        "erasure-topic-unknown",
        "erasure-not-followed",
        "erasure-not-followed",
        "erasure-not-followed",
        "erasure-not-followed",
        "erasure-log-differs",
    ];
    assert_eq!(codes(&remarks), expected);
    for remark in &remarks {
        assert_eq!(remark.path[..3], ["erasure", "users", "sinks"]);
        assert!(!remark.table.is_empty() && !remark.remedy.is_empty(), "{remark:?}");
    }
}

#[test]
fn who_is_told_is_covered_and_a_redis_sink_knows_its_topics() {
    let text = format!(
        "{SHOP}  hooks: {{type: http, url: 'https://hooks.example/x'}}\n  \
            cache: {{type: redis, url: 'redis://localhost/0', tables: [{{topic: shop.public.users, table: people}}, {{topic: shop.public.orders}}]}}\n\
            erasure: {{users: {{subject: {{topic: shop.public.users, key: id}}, sinks: {{billing: {{exempt: x}}, hooks: notify, \
            cache: [{{table: people, match: id, action: delete}}]}}}}}}\n"
    );
    let config = parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let users = &config.rules().subjects[0];
    assert_eq!(users.sinks.get("hooks"), Some(&Coverage::Told));
    assert_eq!(users.due(), ["cache", "hooks"]);
    let SinkConnector::Redis(options) = &config.sinks["cache"].connector else { panic!("a Redis sink") };
    let topic = |table: &str| options.topics.get(table).map(Vec::as_slice);
    assert!(options.erases);
    assert_eq!(topic("people"), Some(&["shop.public.users".to_owned()][..]));
    assert_eq!(topic("orders"), Some(&["shop.public.orders".to_owned()][..]));
}

#[test]
fn what_is_stated_wins() {
    let (topics, remarks) = derived(
        "erasure:
  users:
    subject: {topic: shop.public.users, key: id}
    sinks:
      billing:
        - {table: customers, match: id, action: delete}
        - {table: invoices, match: line, action: delete}
        - {table: letters, match: user_id, action: delete}
    topics:
      - {topic: shop.public.letters, match: {column: payload, path: [id]}, is: string(row.key), action: keep, reason: r}
      - {topic: shop.public.invoices, match: owner, action: delete}
      - {topic: shop.public.users, match: id, action: {set: {mail: null}}}
      - {topic: shop.public.users, match: referred_by, action: {set: {referred_by: null}}}
",
    );
    let expected = [
        "shop.public.users id set mail",
        "shop.public.letters payload:id = string(row.key) keep (r)",
        "shop.public.invoices owner delete",
        "shop.public.users referred_by set referred_by",
    ];
    assert_eq!(topics, expected);
    assert_eq!(remarks, []);
}

#[test]
fn of_several_sets_the_columns_that_all_name_are_set() {
    let sinks = |steps: [&str; 3]| {
        let sink = |at: usize| {
            format!(
                "  s{at}: {{type: sqlite, path: {at}.db, tables: [{{topic: shop.public.users, on_delete: ignore}}]}}\n"
            )
        };
        let steps = steps.iter().enumerate().map(|(at, step)| {
            format!("      s{at}: [{{table: users, match: id, reason: r{at}, action: {step}}}]\n")
        });
        let sinks = (0..3).map(sink).collect::<String>();
        format!(
            "{sinks}erasure:\n  users:\n    subject: {{topic: shop.public.users, key: id}}\n    sinks:\n      billing: {{exempt: x}}\n{}",
            steps.collect::<String>()
        )
    };
    let (topics, remarks) =
        derived(&sinks(["{set: {a: null, b: null}}", "{set: {b: null, c: null}}", "delete"]));
    assert_eq!(topics, ["shop.public.users id set b (r0; r1; r2)"]);
    assert_eq!(codes(&remarks), ["erasure-log-differs"; 2]);
    let (topics, _) = derived(&sinks(["{set: {a: null}}", "{set: {b: null}}", "delete"]));
    assert_eq!(topics, ["shop.public.users id keep (r0; r1; r2)"]);
    let (topics, remarks) = derived(&sinks(["delete", "delete", "delete"]));
    assert_eq!(topics, ["shop.public.users id delete (r0; r1; r2)"]);
    assert_eq!(remarks, []);
}
