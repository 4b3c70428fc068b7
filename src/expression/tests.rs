//! Expressions with the values that they give, and the ones that are refused with their places.

use super::*;
use connector_api::array::Array;
use connector_api::array::{Dimension, put_array_head};
use connector_api::civil::{MICROS_PER_DAY, days_from_civil};
use connector_api::{Column, ValueKind};
use proptest::prelude::*;

fn column(name: &str, kind: ValueKind) -> Column {
    Column { name: name.into(), kind, element: None, type_name: kind.as_str().into(), nullable: true }
}

fn schema() -> Schema {
    let tags = Column { element: Some(ValueKind::Text), ..column("tags", ValueKind::Array) };
    Schema {
        namespace: "public".into(),
        table: "users".into(),
        columns: vec![
            column("id", ValueKind::Int),
            column("name", ValueKind::Text),
            column("active", ValueKind::Bool),
            column("score", ValueKind::Float),
            column("amount", ValueKind::Decimal),
            column("profile", ValueKind::Json),
            column("born", ValueKind::Date),
            column("seen", ValueKind::TimestampTz),
            column("nothing", ValueKind::Int),
            column("big", ValueKind::Text),
            column("ref", ValueKind::Uuid),
            tags,
            column("two words", ValueKind::Text),
            column("local", ValueKind::Timestamp),
            column("silent", ValueKind::Bool),
        ],
        key: vec![0],
    }
}

const PROFILE: &str = r#" {"age": 41, "city" : "Bern\u00e9\n", "address": {"city": "Basel", "zip": ["4000", 4001, null]},
    "rate": 1.50, "vip": true, "none": null, "a": 1, "a": 2, "deep": {"x": {"y": {"z": "end"}}}, "q\"k": 7, "e": 1e3} "#;

fn row(tags: &[u8]) -> Vec<Value<'_>> {
    let day = days_from_civil(2026, 2, 28);
    vec![
        Value::Int(7),
        Value::Text("Ann Lee"),
        Value::Bool(true),
        Value::Float(2.5),
        Value::Decimal("1234.50"),
        Value::Json(PROFILE),
        Value::Date(day as i32),
        Value::TimestampTz(day * MICROS_PER_DAY + 9 * 3_600_000_000 + 30_000_000),
        Value::Null,
        Value::Unchanged,
        Value::Uuid([0x11; 16]),
        Value::Array(Array::from_bytes(tags)),
        Value::Text("spaced"),
        Value::Timestamp(0),
        Value::Null,
    ]
}

fn tags() -> Vec<u8> {
    let mut out = Vec::new();
    put_array_head(&mut out, &[Dimension { len: 2, lower: 1 }]);
    Value::Text("a").encode(&mut out);
    Value::Text("b").encode(&mut out);
    out
}

fn shown(text: &str) -> String {
    let expression = match Expression::compile(text, &schema()) {
        Ok(expression) => expression,
        Err(fault) => return format!("{}: {}", fault.place.start + 1, fault.message),
    };
    let (tags, mut out) = (tags(), String::new());
    let row = row(&tags);
    match expression.run(&row) {
        Err(Failure::Unknown(column)) => format!("unknown {column}"),
        Err(Failure::Bad(what)) => format!("bad: {what}"),
        Ok(Datum::Null) => "null".to_owned(),
        Ok(datum) => {
            connector_api::json::put_text(&mut out, datum.value()).unwrap();
            out
        }
    }
}

#[test]
fn expressions_give_what_the_manual_says() {
    let table = include_str!("tests/values.txt");
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (text, wanted) = line.rsplit_once("  => ").unwrap_or_else(|| panic!("{line}"));
        let found = shown(text.trim());
        count += 1;
        if found != wanted {
            wrong.push(format!("{text} => {found}, not {wanted}"));
        }
    }
    assert!(count > 100, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_wrong_is_shown_where_it_stands() {
    let table = include_str!("tests/faults.txt");
    let mut wrong = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (text, wanted) = line.rsplit_once("  => ").unwrap_or_else(|| panic!("{line}"));
        let found = match Expression::compile(text.trim(), &schema()) {
            Ok(expression) => format!("no fault: {expression:?}"),
            Err(fault) => format!("{:?} {}", &text.trim()[fault.place], fault.message),
        };
        if found != wanted {
            wrong.push(format!("{}  => {found}", text.trim()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_a_shape_syntax_functions_and_constants_are_checked() {
    for good in [
        "row.x.y[0].z == 1 && row.t.getFullYear() > 2000",
        "row.a + row.b == 2",
        "row.m in ['a', 1]",
        "!row.b",
    ] {
        assert_eq!(Expression::check(good), Ok(()), "{good}");
    }
    for bad in ["row.", "nope(row.x)", "row.x.matches('(')", "1 + 'a' == 2", "x == 1", "1 / 0 == row.x"] {
        assert!(Expression::check(bad).is_err(), "{bad}");
    }
    assert!(
        Expression::check_condition("row.a").is_ok() && Expression::check_condition("row.a == 1").is_ok()
    );
    assert!(Expression::check_condition("'a'").is_err());
}

#[test]
fn a_place_counts_lines_and_characters() {
    let text = "row.name == 'é' &&\n  row.nope == 1";
    let fault = Expression::compile(text, &schema()).unwrap_err();
    assert_eq!(fault.line_and_column(text), (2, 6), "{fault:?}");
    assert_eq!(&text[fault.place.clone()], ".", "{fault:?}");
    let text = "row.name == 'ü' && (";
    let fault = Expression::compile(text, &schema()).unwrap_err();
    assert_eq!(fault.line_and_column(text), (1, 21), "{fault:?}");
}

#[test]
fn columns_that_are_read_are_known() {
    let of = |text: &str| Expression::compile(text, &schema()).unwrap();
    assert_eq!(of("row.amount > 1 && row.id in [1] || row['two words'] == 'x'").columns(), [0, 4, 12]);
    assert_eq!((of("row.name").column(), of("row.name + ''").column()), (Some(1), None));
    assert!(of("1 + 2 * 3").is_constant() && !of("row.id").is_constant());
    assert_eq!(of("row.profile.age").kind(), Type::Json);
    assert_eq!(of("row.active ? row.id : row.amount").kind(), Type::Decimal);
}

#[test]
fn hostile_sizes_are_refused_and_long_chains_are_not_a_stack() {
    let fails = |text: String| Expression::check(&text).expect_err(&text[..40.min(text.len())]);
    fails(format!("row.a == '{}'", "x".repeat(BYTES_MAX)));
    fails(format!("{}1{}", "(".repeat(2000), ")".repeat(2000)));
    fails(format!("1{}", "+1".repeat(2000)));
    fails(format!("row{}", ".a".repeat(2000)).replace("row.a", "x.a"));
    fails(format!("{}true == 'a'", "!".repeat(4000)));
    fails("[".repeat(4000));
    fails("row.x.matches('(a{1000}){1000}')".to_owned());
    fails("a?".repeat(2000));
    assert!(Expression::check(&format!("row{}", ".a".repeat(1900))).is_ok());
    assert!(Expression::check(&format!("true{}", " && true".repeat(150))).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_or_lowered(text in "\\PC{0,60}") {
        let _ = Expression::check(&text);
    }

    #[test]
    fn any_mixture_of_words_is_refused_or_runs(
        words in proptest::collection::vec(prop_oneof![
            Just("row.id"), Just("row.name"), Just("row.profile"), Just("row.amount"), Just(".x"), Just("[0]"), Just("("), Just(")"),
            Just("&&"), Just("||"), Just("!"), Just("=="), Just("<"), Just("in"), Just("["), Just("]"), Just(","), Just("+"), Just("-"),
            Just("*"), Just("/"), Just("%"), Just("?"), Just(":"), Just("1"), Just("-9223372036854775808"), Just("2.5"), Just("'a'"),
            Just("null"), Just("true"), Just("size"), Just("int("), Just("string("), Just(".matches('a')"), Just(".substring("),
            Just("has("), Just("row.seen"), Just(".getMonth()"), Just("{"), Just("}"), Just("b'x'"), Just("1u"), Just("\\"), Just("'"),
        ], 1..14)
    ) {
        let text = words.join(" ");
        let _ = shown(&text);
        let _ = Expression::check(&text);
    }

    #[test]
    fn any_json_is_walked_without_a_panic(text in "[\\[\\]{}\":,\\\\ua0-9e.+ -]{0,80}", other in "\\PC{0,40}") {
        for text in [&text, &other] {
            let steps = [json::Step::Key("a".into()), json::Step::Item(1)];
            let _ = json::find(text, &steps[..1]).map(json::scalar);
            let _ = json::find(text, &steps).map(json::scalar);
            let _ = json::items(text).map(json::scalar).count();
        }
    }

    #[test]
    fn json_paths_agree_with_a_parser(value in tree(), key in "[a-c]", item in 0usize..3) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let found = json::find(&text, &[json::Step::Key(key.clone()), json::Step::Item(item)]);
        let wanted = value.get(&key).and_then(|value| value.as_array()).and_then(|items| items.get(item));
        let found = found.map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        prop_assert_eq!(found.as_ref(), wanted);
        if let Some(serde_json::Value::String(wanted)) = wanted {
            let text = serde_json::to_string(wanted).unwrap();
            prop_assert_eq!(json::scalar(&text), Datum::Text(wanted.as_str().into()));
        }
    }

    #[test]
    fn decimals_agree_with_whole_numbers(left in -10_000i64..10_000, right in -10_000i64..10_000) {
        let shown = |value: i64| decimal::work(&value.to_string(), "0.001", decimal::Work::Multiply).unwrap();
        let (one, two) = (shown(left), shown(right));
        prop_assert_eq!(decimal::order(&one, &two), Some(left.cmp(&right)));
        prop_assert_eq!(decimal::work(&one, &two, decimal::Work::Add).unwrap(), shown(left + right));
        prop_assert_eq!(decimal::work(&one, &two, decimal::Work::Subtract).unwrap(), shown(left - right));
    }
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "\\PC{0,6}".prop_map(Into::into),
        "[\"\\\\/\n\t{}:,é😀]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            proptest::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
