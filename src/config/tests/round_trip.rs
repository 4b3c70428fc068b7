//! Any configuration that can be built is written as YAML and comes back equal; any text at all is read or refused.

use super::*;
use crate::config::erasure::{Coverage, Every, LogCopy, Match, Overdue, Step, Subject, SubjectRow, Through};
use crate::config::sink::Kind;
use crate::erasure::rules::{Action, Mark};
use crate::pipeline::mapping;
use connector_api::erasure::Constant;
use connector_api::options::{Secret, Size, Span};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::fmt::Write;

fn limits() -> impl Strategy<Value = Limits> {
    (of(1u64..1 << 40), of(1u64..1 << 40))
        .prop_map(|(age, size)| Limits { age: age.map(Span), size: size.map(Size) })
}

fn log() -> impl Strategy<Value = Log> {
    let tables = prop_oneof![Just(TableRetention::Compact), limits().prop_map(TableRetention::Limits)];
    let engine = prop_oneof![Just(Engine::Embedded), Just(Engine::Memory)];
    (engine, "[a-z/ :#'\"é-]{1,12}", 1u64..60_000, 1u64 << 16..1 << 32, 0u64..1 << 32, tables, limits())
        .prop_map(|(engine, path, interval, segment, cache, tables, events)| Log {
            engine,
            path: path.into(),
            sync: Sync::Interval,
            sync_interval: Span(interval),
            segment_size: Size(segment),
            tail_cache: Size(cache),
            retention: Retention { tables, events },
        })
}

fn admin() -> impl Strategy<Value = Admin> {
    let token = "[ -~äß€]{1,20}".prop_filter("no variable", |token| !token.contains("${"));
    (any::<[u8; 4]>(), any::<u16>(), token)
        .prop_map(|(ip, port, token)| Admin { listen: (ip, port).into(), token: Some(Secret::new(token)) })
}

type Drawn = (bool, Option<Columns>, Vec<String>, Computed, Option<String>, OnDelete);

fn rules() -> impl Strategy<Value = SinkRules> {
    let columns = of(btree_map("[a-zA-Z0-9 _\"ä]{1,8}", "[a-z]{1,8}", 1..4)).prop_map(|columns| {
        // Two columns of one name would be refused.
        columns.map(|columns| {
            Columns(
                columns.into_iter().enumerate().map(|(at, (from, to))| (from, format!("{to}{at}"))).collect(),
            )
        })
    });
    let table =
        (any::<bool>(), columns, vec("[a-zA-Z0-9 _\"ä]{1,8}", 0..3), computed(), condition(), on_delete());
    let retry = prop_oneof![Just(Retry::Forever), any::<u32>().prop_map(Retry::Times)];
    let apply = prop_oneof![Just(Apply::Transactional), Just(Apply::Batched)];
    (vec(table, 0..4), any::<bool>(), apply, retry, any::<bool>()).prop_map(
        |(tables, create_tables, apply, retry, dead_letter)| {
            let table = |(at, drawn): (usize, Drawn)| {
                let (named, columns, exclude, computed, condition, on_delete) = drawn;
                SinkTable {
                    topic: format!("shop.public.t{at}"),
                    table: Some(format!("target {at}")).filter(|_| named),
                    exclude: if columns.is_none() { exclude } else { Vec::new() },
                    key: Some(vec!["c0".to_owned()]).filter(|_| columns.is_none() && at == 1),
                    columns,
                    computed,
                    condition,
                    on_delete,
                }
            };
            let tables = tables.into_iter().enumerate().map(table).collect();
            SinkRules { tables, create_tables, apply, on_error: OnError { retry, dead_letter } }
        },
    )
}

fn computed() -> impl Strategy<Value = Computed> {
    let value =
        prop_oneof![Just("row.a + 1"), Just("row['x y'].z == 'it''s \"é\" \\n'"), Just("null"), Just("1.5")];
    let kind = of(prop_oneof![Just(Kind::Text), Just(Kind::TimestampTz), Just(Kind::Json)]);
    vec((value, kind), 0..3).prop_map(|columns| {
        let column = |(at, (value, kind)): (usize, (&str, Option<Kind>))| {
            let value = value.replace("''", "`");
            (format!("C {at}"), ComputedColumn { value, kind })
        };
        Computed(columns.into_iter().enumerate().map(column).collect())
    })
}

fn condition() -> impl Strategy<Value = Option<String>> {
    of(prop_oneof![
        Just("row.plan != 'free'"),
        Just("row.`a b` in [1, 2]\n  || !row.c"),
        Just("has(row.\u{72}ow)")
    ])
    .prop_map(|text| text.map(str::to_owned))
}

fn on_delete() -> impl Strategy<Value = OnDelete> {
    let mark = prop_oneof![
        Just(mapping::Mark::Now),
        Just(mapping::Mark::Null),
        any::<bool>().prop_map(mapping::Mark::Bool),
        any::<i64>().prop_map(mapping::Mark::Int),
        (-1000i32..1000).prop_map(|value| mapping::Mark::Float(f64::from(value) + 0.5)),
        "[ -~äß€]{1,10}"
            .prop_filter("now is a word", |text| text != "now" && !text.contains("${"))
            .prop_map(mapping::Mark::Text),
    ];
    let marks =
        btree_map("[a-z ]{1,6}", mark, 1..3).prop_map(|marks| OnDelete::Set(marks.into_iter().collect()));
    prop_oneof![Just(OnDelete::Delete), Just(OnDelete::Ignore), marks]
}

fn erasure() -> impl Strategy<Value = Vec<Coverage>> {
    let mark = prop_oneof![
        Just(Mark::Hash),
        Just(Mark::Constant(Constant::Null)),
        any::<bool>().prop_map(|value| Mark::Constant(Constant::Bool(value))),
        any::<i64>().prop_map(|value| Mark::Constant(Constant::Int(value))),
        (-1000i32..1000).prop_map(|value| Mark::Constant(Constant::Float(f64::from(value) + 0.5))),
        "[ -~äß€]{0,10}"
            .prop_filter("no variable", |text| !text.contains("${"))
            .prop_map(|text| Mark::Constant(Constant::Text(text))),
    ];
    let marks =
        btree_map("[a-z ]{1,6}", mark, 1..3).prop_map(|marks| Action::Set(marks.into_iter().collect()));
    let action = prop_oneof![Just(Action::Delete), Just(Action::Keep), marks];
    let name = || "[a-zA-Z0-9 _\"ä]{1,8}".boxed();
    let leaf = prop_oneof![
        name().prop_map(Match::Column),
        (name(), vec(name(), 1..3)).prop_map(|(column, path)| Match::Json { column, path }),
    ];
    let found = leaf.prop_recursive(3, 4, 1, move |inner| {
        (name(), name(), inner).prop_map(|(column, theirs, r#match)| {
            // No step is about such a table, so that none takes rows away from another.
            let through = Through { table: format!("{column}!"), column: theirs, r#match };
            Match::Through { column, through: Box::new(through) }
        })
    });
    let is = of(prop_oneof![Just("'user:' + string(row.key)"), Just("row.key")]);
    let step = (found, is, action).prop_map(|(r#match, is, action)| Step {
        table: String::new(),
        r#match,
        is: is.map(str::to_owned),
        reason: (action == Action::Keep).then(|| "running: \"contract\"".to_owned()),
        action,
    });
    let steps = vec(step, 1..4).prop_map(|mut steps| {
        steps.iter_mut().enumerate().for_each(|(at, step)| step.table = format!("target {at}"));
        Coverage::Steps(steps)
    });
    vec(prop_oneof![steps, Just(Coverage::Exempt("holds: nothing".to_owned()))], 4..5)
}

/// Block style, every text in quotes. Written here, not by the crate that reads it.
fn yaml(value: &Json, indent: usize, out: &mut String) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let _ = write!(out, "\n{:indent$}{}:", "", json!(key));
                yaml(value, indent + 2, out);
            }
        }
        Json::Array(list) if !list.is_empty() => {
            for item in list {
                let _ = write!(out, "\n{:indent$}-", "");
                yaml(item, indent + 2, out);
            }
        }
        scalar => {
            let _ = write!(out, " {scalar}");
        }
    }
}

proptest! {
    #[test]
    fn a_written_configuration_comes_back(log in log(), admin in admin(), sinks in btree_map("[a-z0-9_-]{1,20}", rules(), 0..4), erasure in erasure(), days in of(1u64..99)) {
        let mut written = json!({
            "log": log,
            "admin": admin,
            "sources": { "shop": { "type": "postgres", "url": "postgres://me@db/shop", "tables": ["public.*"] } },
        });
        written["admin"]["token"] = json!(admin.token.as_ref().unwrap().expose());
        for (name, rules) in &sinks {
            let mut sink = json!(rules);
            sink["type"] = json!("sqlite");
            sink["path"] = json!(format!("{name}.db"));
            if rules.tables.is_empty() {
                sink.as_object_mut().unwrap().remove("tables");
            }
            written["sinks"][name] = sink;
        }
        let subject = Subject {
            subject: SubjectRow { topic: "shop.public.t0".to_owned(), key: "id".to_owned() },
            deadline: Span::secs(days.unwrap_or(30) * 86_400),
            overdue: if days.is_some() { Overdue::NotReady } else { Overdue::Report },
            verify_every: days.map_or(Every::Never, |days| Every::Span(Span::secs(days * 86_400))),
            sinks: sinks.keys().cloned().zip(erasure).collect(),
            log: days.map_or(LogCopy::Purge, |days| LogCopy::Keep(format!("{days} days"))),
            topics: Vec::new(),
        };
        written["erasure"]["people"] = json!(subject);
        let mut text = String::new();
        yaml(&written, 0, &mut text);
        let config = parse(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        let known = config.rules();
        let own = known.subjects.first().and_then(|subject| subject.topics.first());
        prop_assert_eq!(own.map(|rule| &*rule.topic), Some("shop.public.t0"));
        prop_assert_eq!(config.erasure.get("people"), Some(&subject));
        prop_assert_eq!(config.log, log);
        prop_assert_eq!(config.admin, admin);
        let read: BTreeMap<_, _> = config.sinks.into_iter().map(|(name, sink)| (name, sink.rules)).collect();
        prop_assert_eq!(read, sinks);
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = parse(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn any_change_of_a_good_file_is_read_or_refused(at: usize, with in "[\\PC\n\r\t ]{0,3}", cut in 0usize..4) {
        let mut text = include_str!("../../../examples/fan-out.yaml").to_owned();
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let from = starts[at % starts.len()];
        let to = text[from..].char_indices().nth(cut).map_or(text.len(), |(at, _)| from + at);
        text.replace_range(from..to, &with);
        let _ = parse(&text).map_err(|error| error.to_string());
    }
}
