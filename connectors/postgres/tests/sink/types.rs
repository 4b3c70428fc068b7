//! Every type of the source's matrix, captured from a real server, through the sink, and compared as the server's own
//! text.

use connector_api::{Cursor, Value, ValueKind};

use crate::fixture::{Harness, LOG, column, database, server, table_of};

/// Type and a literal of it.
const MATRIX: &[(&str, &str)] = &[
    ("bool", "true"),
    ("int2", "-32768"),
    ("int4", "2147483647"),
    ("int8", "-9223372036854775808"),
    ("oid", "4294967295"),
    ("float4", "0.1"),
    ("float4", "'-Infinity'"),
    ("float8", "-1.5e300"),
    ("float8", "'NaN'"),
    ("numeric(12,2)", "1.50"),
    ("numeric", "-12345678901234567890.123450"),
    ("numeric", "0.000000000000000000001"),
    ("numeric", "'NaN'"),
    ("numeric", "'-Infinity'"),
    ("text", "E'tab\\t nul \\\\N quote '' \" é 🦀 \\n'"),
    ("varchar(10)", "'abc'"),
    ("char(5)", "'abc'"),
    ("name", "'n'"),
    ("\"char\"", "'c'"),
    ("bytea", "'\\x00ff5c0a'"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
    ("date", "'4713-01-01 BC'"),
    ("date", "'infinity'"),
    ("time", "'24:00:00'"),
    ("time(3)", "'01:02:03.456'"),
    ("timetz", "'01:02:03+02'"),
    ("timestamp", "'0044-03-15 12:00:00.000001 BC'"),
    ("timestamp", "'-infinity'"),
    ("timestamp(2)", "'2026-01-02 03:04:05.67'"),
    ("timestamptz", "'294276-12-31 23:59:59.999999+00'"),
    ("interval", "'1 year 2 days 03:04:05.6'"),
    ("json", "'{\"a\":  [1, null]}'"),
    ("jsonb", "'{\"a\":1.50}'"),
    ("inet", "'10.0.0.1/8'"),
    ("cidr", "'10.0.0.0/8'"),
    ("macaddr", "'08:00:2b:01:02:03'"),
    ("money", "1.5"),
    ("bit(3)", "B'101'"),
    ("varbit", "B'10'"),
    ("int4range", "'[1,5)'"),
    ("tstzrange", "'[2026-01-01 00:00:00+00,)'"),
    ("int4multirange", "'{[1,3),[5,8)}'"),
    ("point", "'(1,2)'"),
    ("tsvector", "'a b'"),
    ("xml", "'<a/>'"),
    ("mood", "'sad face'"),
    ("pair", "'(1,\"x y\")'"),
    ("positive", "5"),
    ("ints", "'{1,2}'"),
    ("int4[]", "'{}'"),
    ("int4[]", "'{1,NULL,3}'"),
    ("int4[]", "'[0:1][2:3]={{1,2},{3,4}}'"),
    ("text[]", "ARRAY['a,b', NULL, 'NULL', E'q\"\\\\', '']"),
    ("bytea[]", "ARRAY['\\x00'::bytea, '\\x5c']"),
    (
        "timestamptz[]",
        "ARRAY['2000-01-01 00:00:00+00'::timestamptz, '0044-03-15 12:00:00+00 BC', 'infinity']",
    ),
    ("numeric(6,1)[]", "'{1.25,-2}'"),
    ("uuid[]", "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"),
    ("jsonb[]", "ARRAY['{\"a\": \"b\"}'::jsonb]"),
    ("box[]", "'{(1,1),(0,0);(2,2),(1,1)}'"),
    ("bool[]", "'{t,f,NULL}'"),
    ("float8[]", "'{NaN,-0.5}'"),
    ("inet[]", "'{10.0.0.1,::1}'"),
    ("mood[]", "ARRAY['ok', 'sad face']::mood[]"),
    ("text", "NULL"),
];

/// One source table, copied once and streamed once; enough rows for a COPY when `many`.
fn through_the_sink(many: bool) {
    let (source, session) = database();
    let columns: Vec<_> = MATRIX.iter().enumerate().map(|(at, (of, _))| format!("c{at} {of}")).collect();
    let values: Vec<_> = MATRIX.iter().map(|(_, literal)| *literal).collect();
    let rows = if many { 200 } else { 1 };
    session.execute(&format!(
        "SET timezone = 'UTC'; CREATE TYPE mood AS ENUM ('ok', 'sad face'); CREATE TYPE pair AS (a int, b text);
         CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN ints AS int[];
         CREATE TABLE t (id int PRIMARY KEY, {columns}); CREATE TABLE loose ({columns});
         INSERT INTO t SELECT i, {values} FROM generate_series(1, {rows}) AS s(i);
         INSERT INTO loose VALUES ({values})",
        columns = columns.join(", "),
        values = values.join(", "),
    ));
    let mut harness = Harness::new();
    capture(&mut harness, &source, rows + 1, |session| {
        session.execute("UPDATE t SET id = -id WHERE id = 1; UPDATE t SET c0 = c0");
    });
    for (at, (of, literal)) in MATRIX.iter().enumerate() {
        let sql = |table: &str| format!("SELECT DISTINCT c{at}::text FROM {table}");
        for table in ["t", "loose"] {
            let expected = crate::fixture::rows(&session, &sql("t"));
            assert_eq!(harness.rows(&sql(table)), expected, "{of} {literal} in {table}");
        }
        let declared = |table: &str| {
            format!(
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = 'c{at}'"
            )
        };
        let expected = match *of {
            "mood" | "pair" => "text".to_owned(),
            "mood[]" => "text[]".to_owned(),
            "positive" => "bigint".to_owned(),
            "ints" => "bigint[]".to_owned(),
            _ => crate::fixture::rows(&session, &declared("t")).remove(0),
        };
        assert_eq!(harness.rows(&declared("t")), [expected], "{of}");
    }
    assert_eq!(harness.rows("SELECT count(*), min(id) FROM t"), [format!("{rows}|-1")]);
    // A row without a key is found by all its values, whatever their types.
    let gone = harness.rows("SELECT count(*) FROM loose");
    assert_eq!(gone, ["1"]);
}

/// Captures `t` and `loose` of a database, copy and stream, and gives everything to the sink.
fn capture(
    harness: &mut Harness,
    database: &str,
    copied: usize,
    stream: impl FnOnce(&throwaway_servers::postgres::Session),
) {
    use connector_api::{BatchBuilder, Delivery, Target};
    use std::sync::Arc;
    let url = server().socket_url(database);
    let mut options = connector_postgres::Options::new(url, &["t", "loose"]);
    options.slot = Some(format!("slot_{database}"));
    let session = server().session(database);
    session.execute("ALTER TABLE loose REPLICA IDENTITY FULL");
    let mut source = connector_postgres::source("shop", &options).unwrap();
    harness.runtime.block_on(source.start(None)).unwrap();
    let mut builder = BatchBuilder::new("shop", 64 << 10);
    let mut next = std::collections::HashMap::new();
    let (mut seen, mut wanted, mut stream) = (0, copied, Some(stream));
    while seen < wanted || stream.is_some() {
        if seen >= wanted && source.status().phase == "streaming" {
            let before = seen;
            stream.take().unwrap()(&session);
            session.execute("DELETE FROM loose");
            // The move is two records; every row is updated; one row of `loose` goes.
            wanted = before + 2 + (copied - 1) + 1;
        }
        let position = harness.runtime.block_on(source.read(&mut builder)).unwrap();
        let mut batch = builder.take(position.clone());
        for section in &mut batch.sections {
            let offset = next.entry(section.topic.clone()).or_insert(0u64);
            section.base = *offset;
            *offset += u64::from(section.span);
            seen += section.count as usize;
            let schema = section.schema.clone().unwrap();
            if !harness
                .feed
                .targets
                .iter()
                .any(|known| known.topic == section.topic.topic && known.schema == schema)
            {
                harness.feed.route(&Arc::new(Target::whole(&section.topic.topic, &schema)));
            }
        }
        let delivery = Delivery {
            log: LOG,
            sequence: 1,
            producer: batch.producer,
            continued: batch.continued,
            continues: batch.continues,
            transactions: batch.transactions,
            sections: batch.sections,
        };
        // The last delete is looked at by the caller: everything before it is.
        if seen == wanted && stream.is_none() {
            check_loose(harness, &delivery);
        } else {
            harness.try_deliver(&delivery).unwrap();
        }
        if let Some(position) = position {
            harness.runtime.block_on(source.confirm(&position)).unwrap();
        }
    }
    harness.runtime.block_on(source.stop()).unwrap();
}

fn check_loose(harness: &mut Harness, delivery: &connector_api::Delivery) {
    harness.session.execute("CREATE TABLE loose_before AS TABLE loose");
    harness.try_deliver(delivery).unwrap();
    assert_eq!(harness.rows("SELECT count(*) FROM loose"), ["0"], "a row is found by its values");
    harness.session.execute("INSERT INTO loose TABLE loose_before");
}

#[test]
fn the_whole_matrix_by_statements() {
    through_the_sink(false);
}

#[test]
fn the_whole_matrix_by_copy() {
    through_the_sink(true);
}

#[test]
fn a_table_of_types_with_binary_forms_is_copied() {
    let mut harness = Harness::new();
    let kinds = [
        ("id", ValueKind::Int, "bigint"),
        ("amount", ValueKind::Decimal, "numeric(12,2)"),
        ("at", ValueKind::TimestampTz, "timestamp with time zone"),
        ("data", ValueKind::Json, "jsonb"),
        ("text", ValueKind::Text, "text"),
    ];
    let plain =
        table_of("plain", kinds.iter().map(|(name, kind, of)| column(name, *kind, of)).collect(), &[0]);
    for id in 0..500 {
        let amount = format!("{id}.25");
        harness.feed.insert(
            &plain,
            &[
                Value::Int(id),
                Value::Decimal(&amount),
                Value::TimestampTz(id),
                Value::Json("{\"a\": 1}"),
                Value::Text("tab\tline\n\\N"),
            ],
        );
    }
    harness.deliver();
    assert_eq!(
        harness.rows("SELECT count(*), sum(amount), min(text) = E'tab\\tline\\n\\\\N' FROM plain"),
        ["500|124875.00|t"]
    );
    assert_eq!(harness.cursor, Cursor { log: LOG, next: harness.cursor.next.clone() });
}
