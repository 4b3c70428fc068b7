use std::sync::Arc;

use super::*;
use crate::builder::{BatchBuilder, Image, SectionHandle};
use crate::schema::{Column, Schema};
use crate::target::Target;
use crate::value::{Value, ValueKind};

fn schema() -> Arc<Schema> {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        element: None,
        type_name: String::new(),
        nullable: true,
    };
    Arc::new(Schema {
        namespace: "public".to_owned(),
        table: "users".to_owned(),
        columns: vec![
            column("name", ValueKind::Text),
            column("id", ValueKind::Int),
            column("more", ValueKind::Json),
            column("long", ValueKind::Text),
        ],
        key: vec![1],
    })
}

/// One change rendered: the plain members, and the envelope parsed.
fn rendered(op: Op, images: &[(Image, &[Value<'_>])], target: Option<&Target>) -> (String, Json) {
    let schema = schema();
    let topic: Arc<str> = "shop.public.users".into();
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    builder.begin(7, 1_000_000);
    let section = builder.section(&mut SectionHandle::default(), &topic, &schema);
    let mut writer = builder.change(section, op);
    for (image, values) in images {
        writer.image(*image, values.len());
        values.iter().for_each(|value| writer.push(*value));
    }
    writer.finish().unwrap();
    builder.commit(b"p");
    let batch = builder.take(None);
    let section = &batch.sections[0];
    let record = section.records().next().unwrap().unwrap();
    let change = Change::decode(record, &schema).unwrap();
    let transaction = Transaction { id: 7, timestamp_us: 1_000_000, position: b"p", first: 0, end: 1 };
    let view = target.map_or(View::Source(&schema), View::Target);
    let event = Event { topic: &section.topic, transaction, change: &change, view };
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    plain::put_change(&mut object, &event).unwrap();
    object.end();
    let mut envelope = Vec::new();
    let info = SourceInfo { connector: "test", database: "db".to_owned(), position: None };
    debezium::put_envelope(&mut envelope, &event, &info).unwrap();
    (String::from_utf8(out).unwrap(), serde_json::from_slice(&envelope).unwrap())
}

fn target() -> Target {
    Target {
        table: "customers".to_owned(),
        named: true,
        columns: vec![(1, "Id \"x\"".to_owned()), (2, "more".to_owned()), (3, "long".to_owned())],
        key: vec![0],
        ..Target::whole(&"shop.public.users".into(), &schema())
    }
}

const NEW: [Value<'static>; 4] = [
    Value::Text("Ann"),
    Value::Int(1),
    Value::Json("{ \"big\": 12345678901234567890123, \"s\": \"a \\\" b\" }"),
    Value::Unchanged,
];

#[test]
fn the_source_view_shows_every_column_and_leaves_out_what_was_not_sent() {
    let (plain, envelope) = rendered(Op::Update, &[(Image::NewRow, &NEW)], None);
    assert_eq!(
        plain,
        r#"{"op":"u","key":{"id":1},"row":{"name":"Ann","id":1,"more":{"big":12345678901234567890123,"s":"a \" b"}}}"#
    );
    assert_eq!(envelope["after"]["long"], "__debezium_unavailable_value");
    assert_eq!(envelope["before"], Json::Null);
    assert_eq!(envelope["transaction"]["total_order"], 1);
    assert_eq!(envelope["source"]["connector"], "test");
}

#[test]
fn the_target_view_projects_and_renames() {
    let (plain, envelope) = rendered(Op::Update, &[(Image::NewRow, &NEW)], Some(&target()));
    assert_eq!(
        plain,
        r#"{"op":"u","key":{"Id \"x\"":1},"row":{"Id \"x\"":1,"more":{"big":12345678901234567890123,"s":"a \" b"}}}"#
    );
    assert_eq!(envelope["after"].as_object().unwrap().len(), 3);
    assert_eq!(envelope["after"]["Id \"x\""], 1);
}

#[test]
fn a_delete_of_which_the_key_is_known_shows_it_as_a_row_in_the_target_too() {
    let (plain, envelope) = rendered(Op::Delete, &[(Image::OldKey, &[Value::Int(1)])], Some(&target()));
    assert_eq!(plain, r#"{"op":"d","key":{"Id \"x\"":1}}"#);
    assert_eq!(envelope["before"], serde_json::json!({"Id \"x\"": 1, "more": null, "long": null}));
    assert_eq!(envelope["after"], Json::Null);
}

#[test]
fn text_that_is_no_json_is_shown_as_text_and_floats_as_numbers() {
    let mut out = Vec::new();
    plain::put_value(&mut out, Value::Json("{oops")).unwrap();
    plain::put_value(&mut out, Value::Float(0.1)).unwrap();
    plain::put_value(&mut out, Value::Float(f64::NAN)).unwrap();
    plain::put_value(&mut out, Value::Json("[1,\n 2, \"\\\\\" , \" \"]")).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), r#""{oops"0.1"NaN"[1,2,"\\"," "]"#);
}
