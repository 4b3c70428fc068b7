//! Every type has one value, whether a row comes from the copy or from the stream.

use crate::support::capture::Capture;
use crate::support::server::Server;
use connector_api::Change;
use connector_postgres::Options;

/// Type, literal, and the value it has.
const MATRIX: &[(&str, &str, &str)] = &[
    ("bool", "true", "Bool(true)"),
    ("int2", "-32768", "Int(-32768)"),
    ("int4", "2147483647", "Int(2147483647)"),
    ("int8", "-9223372036854775808", "Int(-9223372036854775808)"),
    ("oid", "4294967295", "Int(4294967295)"),
    ("float4", "1.1", "Float(1.1)"),
    ("float8", "'NaN'", "Float(NaN)"),
    ("float8", "'-Infinity'", "Float(-inf)"),
    ("float8", "1e-300", "Float(1e-300)"),
    (
        "numeric",
        "12345678901234567890123456789.000000000100",
        "Decimal(\"12345678901234567890123456789.000000000100\")",
    ),
    ("numeric(12,2)", "-1.5", "Decimal(\"-1.50\")"),
    ("numeric", "'NaN'", "Decimal(\"NaN\")"),
    ("numeric", "'Infinity'", "Decimal(\"Infinity\")"),
    (
        "text",
        "E'tab\\tline\\nback\\\\slash \\r\\b\\f\\x0b ü😀'",
        "Text(\"tab\\tline\\nback\\\\slash \\r\\u{8}\\u{c}\\u{b} ü😀\")",
    ),
    ("text", "'\\N'", "Text(\"\\\\N\")"),
    ("text", "''", "Text(\"\")"),
    ("varchar(9)", "'abc'", "Text(\"abc\")"),
    ("char(5)", "'abc'", "Text(\"abc  \")"),
    ("name", "'n'", "Text(\"n\")"),
    ("\"char\"", "'c'", "Text(\"c\")"),
    ("bytea", "'\\x00ff5c0a'", "Bytes([0, 255, 92, 10])"),
    (
        "uuid",
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        "Uuid([160, 238, 188, 153, 156, 11, 78, 248, 187, 109, 107, 185, 189, 56, 10, 17])",
    ),
    ("date", "'2000-01-02'", "Date(1)"),
    ("date", "'4713-01-01 BC'", "Date(-2451507)"),
    ("date", "'5874897-12-31'", "Date(2145031948)"),
    ("date", "'infinity'", "Date(2147483647)"),
    ("time", "'24:00:00'", "Time(86400000000)"),
    ("time(3)", "'01:02:03.456'", "Time(3723456000)"),
    ("timetz", "'01:02:03+02'", "Text(\"01:02:03+02\")"),
    ("timestamp", "'0044-03-15 12:00:00.000001 BC'", "Timestamp(-64464465599999999)"),
    ("timestamp", "'294276-12-31 23:59:59.999999'", "Timestamp(9223371331199999999)"),
    ("timestamp", "'-infinity'", "Timestamp(-9223372036854775808)"),
    ("timestamptz", "'2000-01-01 01:00:00+01'", "TimestampTz(0)"),
    ("timestamptz", "'infinity'", "TimestampTz(9223372036854775807)"),
    ("interval", "'1 year 2 days 03:04:05.6'", "Text(\"1 year 2 days 03:04:05.6\")"),
    ("json", "'{\"a\":  [1, null]}'", "Json(\"{\\\"a\\\":  [1, null]}\")"),
    ("jsonb", "'{\"a\":1.50}'", "Json(\"{\\\"a\\\": 1.50}\")"),
    ("inet", "'10.0.0.1/8'", "Text(\"10.0.0.1/8\")"),
    ("cidr", "'10.0.0.0/8'", "Text(\"10.0.0.0/8\")"),
    ("macaddr", "'08:00:2b:01:02:03'", "Text(\"08:00:2b:01:02:03\")"),
    ("money", "1.5", "Text(\"$1.50\")"),
    ("bit(3)", "B'101'", "Text(\"101\")"),
    ("int4range", "'[1,5)'", "Text(\"[1,5)\")"),
    ("point", "'(1,2)'", "Text(\"(1,2)\")"),
    ("tsvector", "'a b'", "Text(\"'a' 'b'\")"),
    ("xml", "'<a/>'", "Text(\"<a/>\")"),
    ("int2vector", "'1 2'", "Text(\"1 2\")"),
    ("mood", "'sad face'", "Text(\"sad face\")"),
    ("pair", "ROW(1, 'x y')", "Text(\"(1,\\\"x y\\\")\")"),
    ("positive", "5", "Int(5)"),
    ("small", "7", "Int(7)"),
    ("ints", "'{1,2}'", "Array[2@1][Int(1), Int(2)]"),
    ("int4[]", "'{}'", "Array[]"),
    ("int4[]", "'{1,NULL,3}'", "Array[3@1][Int(1), Null, Int(3)]"),
    ("int4[]", "'[0:1][2:3]={{1,2},{3,4}}'", "Array[2@0, 2@2][Int(1), Int(2), Int(3), Int(4)]"),
    (
        "text[]",
        "ARRAY['a,b', NULL, 'NULL', E'q\"\\\\', '']",
        "Array[5@1][Text(\"a,b\"), Null, Text(\"NULL\"), Text(\"q\\\"\\\\\"), Text(\"\")]",
    ),
    ("bytea[]", "ARRAY['\\x00'::bytea, '\\x5c']", "Array[2@1][Bytes([0]), Bytes([92])]"),
    ("timestamptz[]", "ARRAY['2000-01-01 00:00:00+00'::timestamptz]", "Array[1@1][TimestampTz(0)]"),
    ("numeric(6,1)[]", "'{1.25,-2}'", "Array[2@1][Decimal(\"1.3\"), Decimal(\"-2.0\")]"),
    (
        "uuid[]",
        "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'",
        "Array[1@1][Uuid([160, 238, 188, 153, 156, 11, 78, 248, 187, 109, 107, 185, 189, 56, 10, 17])]",
    ),
    ("jsonb[]", "ARRAY['{\"a\": \"b\"}'::jsonb]", "Array[1@1][Json(\"{\\\"a\\\": \\\"b\\\"}\")]"),
    ("box[]", "'{(1,1),(0,0);(2,2),(1,1)}'", "Array[2@1][Text(\"(1,1),(0,0)\"), Text(\"(2,2),(1,1)\")]"),
    ("mood[]", "ARRAY['ok', 'sad face']::mood[]", "Array[2@1][Text(\"ok\"), Text(\"sad face\")]"),
    ("positive[]", "ARRAY[1, 2]::positive[]", "Array[2@1][Int(1), Int(2)]"),
    ("ints[]", "ARRAY['{1,2}'::ints]", "Array[1@1][Text(\"{1,2}\")]"),
    ("text", "NULL", "Null"),
];

/// Values as text that keeps arrays apart.
fn show(value: &connector_api::Value<'_>) -> String {
    let connector_api::Value::Array(array) = value else { return format!("{value:?}") };
    let (dimensions, elements) = array.open().unwrap();
    let heads: Vec<_> = dimensions.iter().map(|d| format!("{}@{}", d.len, d.lower)).collect();
    let elements: Vec<_> = elements.map(|element| show(&element.unwrap())).collect();
    if heads.is_empty() {
        "Array[]".into()
    } else {
        format!("Array[{}][{}]", heads.join(", "), elements.join(", "))
    }
}

#[tokio::test]
async fn copy_and_stream_give_the_same_values() {
    let server = Server::start(&[], "");
    let columns: Vec<_> =
        MATRIX.iter().enumerate().map(|(at, (of_type, ..))| format!("c{at} {of_type}")).collect();
    let values: Vec<_> = MATRIX.iter().map(|(_, literal, _)| *literal).collect();
    server
        .sql(&format!(
            "CREATE TYPE mood AS ENUM ('ok', 'sad face'); CREATE TYPE pair AS (a int, b text);
             CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN small AS positive CHECK (VALUE < 10);
             CREATE DOMAIN ints AS int[];
             CREATE TABLE t (id int PRIMARY KEY, {}, twice int GENERATED ALWAYS AS (id * 2) STORED);
             INSERT INTO t VALUES (1, {})",
            columns.join(", "),
            values.join(", ")
        ))
        .await;
    let options = Options::new(server.url(), &["t"]);
    let mut capture = Capture::start(&options, None).await.unwrap();
    capture.until_streaming().await;
    // The role's own settings must not show.
    server
        .sql("ALTER ROLE postgres SET datestyle = 'German'; ALTER ROLE postgres SET bytea_output = 'escape'")
        .await;
    server.sql(&format!("SET datestyle = ISO; INSERT INTO t VALUES (2, {})", values.join(", "))).await;
    capture.until(2).await;

    let mut rows = Vec::new();
    let mut schemas = Vec::new();
    for section in capture.batches.iter().flat_map(|batch| &batch.sections) {
        let schema = section.schema.clone().unwrap();
        for record in section.records() {
            let change = Change::decode(record.unwrap(), &schema).unwrap();
            let row: Vec<_> = change.after.unwrap().to_vec().unwrap().iter().map(show).collect();
            rows.push(row[1..].to_vec());
        }
        schemas.push(schema);
    }
    for (at, (of_type, literal, expected)) in MATRIX.iter().enumerate() {
        assert_eq!(rows[0][at], *expected, "copied {of_type} {literal}");
        assert_eq!(rows[1][at], *expected, "streamed {of_type} {literal}");
    }
    assert_eq!(schemas[0], schemas[1]);
    let name = |of_type: &str| {
        let at = MATRIX.iter().position(|(found, ..)| *found == of_type).unwrap();
        schemas[0].columns[at + 1].type_name.clone()
    };
    assert_eq!(name("numeric(12,2)"), "numeric(12,2)");
    assert_eq!(
        (name("small"), name("mood"), name("mood[]")),
        ("small".into(), "mood".into(), "mood[]".into())
    );
    assert_eq!((name("time(3)"), name("int4[]")), ("time(3) without time zone".into(), "integer[]".into()));
    capture.stop().await;
}
