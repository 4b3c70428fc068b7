//! Type, SQL expression, and what SQLite is to hold: `int`, `real` and `blob` are said; text stands alone.

pub type Case<'a> = (&'a str, &'a str, &'a str);

/// Types that the cases use.
pub const TYPES: &str = r#"
    CREATE SCHEMA "Types";
    CREATE TYPE mood AS ENUM ('sad', 'it''s "ok", {é}');
    CREATE TYPE "Types"."Größe" AS ENUM ('klein', 'groß');
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN small AS positive CHECK (VALUE < 100);
    CREATE DOMAIN moment AS timestamptz;
    CREATE DOMAIN numbers AS int[];
    CREATE TYPE pair AS (a int, b text);
    CREATE TYPE nested AS (p pair, at timestamptz);
    CREATE TYPE textrange AS RANGE (subtype = text);
"#;

/// More digits than any number type of a machine holds, on both sides of the point.
pub fn huge_numeric() -> String {
    format!("-{}.{}", "1234567890".repeat(200), "0987654321".repeat(100))
}

pub const CASES: &[Case<'static>] = &[
    ("bool", "true", "int 1"),
    ("bool", "false", "int 0"),
    // Integers
    ("int2", "-32768", "int -32768"),
    ("int4", "2147483647", "int 2147483647"),
    ("int8", "'-9223372036854775808'", "int -9223372036854775808"),
    ("int8", "9223372036854775807", "int 9223372036854775807"),
    ("oid", "4294967295", "int 4294967295"),
    // Floats
    ("float4", "1.1", "real 1.1"),
    ("float4", "'3.4028235e38'", "real 3.4028235e38"),
    ("float4", "'NaN'", "NaN"),
    ("float4", "'Infinity'", "real inf"),
    ("float8", "'0.30000000000000004'", "real 0.30000000000000004"),
    ("float8", "'5e-324'", "real 5e-324"),
    ("float8", "'1.7976931348623157e308'", "real 1.7976931348623157e308"),
    ("float8", "'-Infinity'", "real -inf"),
    ("float8", "'NaN'", "NaN"),
    ("float8", "3", "real 3.0"),
    // Decimals
    ("numeric", "'12345678901234567890.123456789'", "12345678901234567890.123456789"),
    ("numeric(10,2)", "1.5", "1.50"),
    ("numeric", "0.000", "0.000"),
    ("numeric", "'1e-30'", "0.000000000000000000000000000001"),
    ("numeric", "'NaN'", "NaN"),
    ("numeric", "'Infinity'", "Infinity"),
    ("numeric", "'-Infinity'", "-Infinity"),
    // Texts
    ("text", "''", ""),
    ("text", r#"E'tab\t nl\n cr\r bs\\ \\N quote\' "é中🦀'"#, "tab\t nl\n cr\r bs\\ \\N quote' \"é中🦀"),
    ("text", r"E'\\N'", "\\N"),
    ("text", r"E'\\.'", "\\."),
    ("text", "'NULL'", "NULL"),
    ("text", "'12'", "12"),
    ("varchar(10)", "'varchar'", "varchar"),
    ("char(5)", "'ab'", "ab   "),
    ("\"char\"", "'x'", "x"),
    ("name", "'a name'", "a name"),
    ("bytea", r"'\x00ff415c27'", "blob 00ff415c27"),
    ("bytea", "''", "blob "),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    // Dates and times
    ("date", "'2026-11-23'", "2026-11-23"),
    ("date", "'0044-03-15 BC'", "0044-03-15 BC"),
    ("date", "'4714-11-24 BC'", "4714-11-24 BC"),
    ("date", "'5874897-12-31'", "5874897-12-31"),
    ("date", "'12345-06-07'", "12345-06-07"),
    ("date", "'infinity'", "infinity"),
    ("date", "'-infinity'", "-infinity"),
    ("time", "'00:00'", "00:00:00"),
    ("time", "'23:59:59.999999'", "23:59:59.999999"),
    ("time", "'24:00:00'", "24:00:00"),
    ("time(0)", "'09:30:01.6'", "09:30:02"),
    ("timetz", "'09:30:00.5+05:30'", "09:30:00.5+05:30"),
    ("timetz", "'24:00:00-15:59:59'", "24:00:00-15:59:59"),
    ("timestamp", "'2026-11-23 09:30:00.123456'", "2026-11-23 09:30:00.123456"),
    ("timestamp", "'0001-12-31 23:59:59.5 BC'", "0001-12-31 23:59:59.5 BC"),
    ("timestamp", "'4714-11-24 00:00:00 BC'", "4714-11-24 00:00:00 BC"),
    ("timestamp", "'294276-12-31 23:59:59.999999'", "294276-12-31 23:59:59.999999"),
    ("timestamp", "'infinity'", "infinity"),
    ("timestamp", "'-infinity'", "-infinity"),
    ("timestamptz", "'2026-11-23 09:30:00+05:30'", "2026-11-23 04:00:00+00:00"),
    ("timestamptz", "'1850-01-01 00:00:00 Europe/Amsterdam'", "1849-12-31 23:40:28+00:00"),
    ("timestamptz", "'0044-03-15 12:00:00+00 BC'", "0044-03-15 12:00:00+00:00 BC"),
    ("timestamptz", "'12345-06-07 00:00:00.000001+00'", "12345-06-07 00:00:00.000001+00:00"),
    ("timestamptz", "'infinity'", "infinity"),
    ("timestamptz", "'-infinity'", "-infinity"),
    ("interval", "'1 year 2 mons -3 days 04:05:06.789'", "1 year 2 mons -3 days +04:05:06.789"),
    ("interval", "'0'", "00:00:00"),
    // JSON
    ("json", r#"'{"b": [1, 2.50, null],  "a": "é"}'"#, r#"{"b": [1, 2.50, null],  "a": "é"}"#),
    ("jsonb", r#"'{"b":1.0,"a":{"x":"\u00e9"}}'"#, r#"{"a": {"x": "é"}, "b": 1.0}"#),
    ("jsonb", "'null'", "null"),
    // Networks
    ("inet", "'192.168.0.1/24'", "192.168.0.1/24"),
    ("inet", "'2001:db8::1'", "2001:db8::1"),
    ("cidr", "'10.0.0.0/8'", "10.0.0.0/8"),
    ("macaddr", "'08-00-2B-01-02-03'", "08:00:2b:01:02:03"),
    ("macaddr8", "'08:00:2b:01:02:03:04:05'", "08:00:2b:01:02:03:04:05"),
    // Enums and domains
    ("mood", "'sad'", "sad"),
    ("mood", r#"'it''s "ok", {é}'"#, r#"it's "ok", {é}"#),
    ("\"Types\".\"Größe\"", "'groß'", "groß"),
    ("positive", "7", "int 7"),
    ("small", "8", "int 8"),
    ("moment", "'2026-01-01 00:00:00+01'", "2025-12-31 23:00:00+00:00"),
    ("numbers", "'{1,2}'", "[1,2]"),
    // Arrays
    ("int4[]", "'{}'", "[]"),
    ("int4[]", "'{1,NULL,-3}'", "[1,null,-3]"),
    ("int4[]", "'{{1,2},{3,NULL}}'", "[[1,2],[3,null]]"),
    ("int4[]", "'{{{1},{2}},{{3},{4}}}'", "[[[1],[2]],[[3],[4]]]"),
    ("int4[]", "'[0:1]={5,6}'", "[5,6]"),
    ("int4[]", "'[-1:0][2:3]={{1,2},{3,4}}'", "[[1,2],[3,4]]"),
    ("bool[]", "'{t,f,NULL}'", "[true,false,null]"),
    ("int8[]", "'{9223372036854775807}'", "[9223372036854775807]"),
    ("float8[]", "'{NaN,-Infinity,1.5}'", r#"["NaN","-Infinity",1.5]"#),
    ("numeric[]", "'{1.50,NaN,12345678901234567890.1}'", r#"["1.50","NaN","12345678901234567890.1"]"#),
    (
        "text[]",
        r#"ARRAY['a,b', 'c"d', NULL, 'NULL', '', E'back\\slash', '{x}', E'new\nline', ' ']"#,
        r#"["a,b","c\"d",null,"NULL","","back\\slash","{x}","new\nline"," "]"#,
    ),
    ("varchar(3)[]", "'{abc}'", r#"["abc"]"#),
    ("char(3)[]", "'{a}'", r#"["a  "]"#),
    ("bytea[]", r"ARRAY['\x00ff'::bytea, '']", r#"["\\x00ff","\\x"]"#),
    ("uuid[]", "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'", r#"["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]"#),
    ("date[]", r#"'{2026-11-23,infinity,"0044-03-15 BC"}'"#, r#"["2026-11-23","infinity","0044-03-15 BC"]"#),
    ("time[]", "'{24:00:00}'", r#"["24:00:00"]"#),
    ("timetz[]", "'{09:30:00+01}'", r#"["09:30:00+01"]"#),
    ("timestamp[]", r#"'{"2026-11-23 09:30:00.5"}'"#, r#"["2026-11-23 09:30:00.5"]"#),
    (
        "timestamptz[]",
        r#"'{"2026-11-23 09:30:00+05:30",-infinity}'"#,
        r#"["2026-11-23 04:00:00+00:00","-infinity"]"#,
    ),
    ("interval[]", r#"'{"1 day 02:00"}'"#, r#"["1 day 02:00:00"]"#),
    ("json[]", r#"ARRAY['{"a": [1, "x"]}'::json, NULL]"#, r#"[{"a": [1, "x"]},null]"#),
    ("jsonb[]", r#"ARRAY['[1,"}"]'::jsonb]"#, r#"[[1, "}"]]"#),
    ("inet[]", "'{10.0.0.1}'", r#"["10.0.0.1"]"#),
    ("macaddr[]", "'{08:00:2b:01:02:03}'", r#"["08:00:2b:01:02:03"]"#),
    ("mood[]", r#"ARRAY['sad', 'it''s "ok", {é}']::mood[]"#, r#"["sad","it's \"ok\", {é}"]"#),
    ("positive[]", "'{1,2}'", "[1,2]"),
    ("int4range[]", r#"'{"[1,5)",empty}'"#, r#"["[1,5)","empty"]"#),
    ("pair[]", "ARRAY[ROW(1, 'a b')::pair]", r#"["(1,\"a b\")"]"#),
    ("box[]", "ARRAY['((1,1),(0,0))'::box, '((2,2),(0,0))']", r#"["(1,1),(0,0)","(2,2),(0,0)"]"#),
    // Ranges and composites
    ("int4range", "'[1,5]'", "[1,6)"),
    ("int8range", "'(,5)'", "(,5)"),
    ("numrange", "'[1.50,2)'", "[1.50,2)"),
    ("daterange", "'[2026-01-01,2026-02-01)'", "[2026-01-01,2026-02-01)"),
    ("tsrange", "'[2026-01-01 00:00,)'", r#"["2026-01-01 00:00:00",)"#),
    ("tstzrange", "'[2026-01-01 00:00+01,infinity]'", r#"["2025-12-31 23:00:00+00",infinity]"#),
    ("int4multirange", "'{[1,3),[5,7)}'", "{[1,3),[5,7)}"),
    ("textrange", r#"'["a b","c,d"]'"#, r#"["a b","c,d"]"#),
    ("pair", r#"ROW(1, 'a "b"')"#, r#"(1,"a ""b""")"#),
    ("pair", "ROW(NULL, '')", r#"(,"")"#),
    ("nested", "ROW(ROW(1, 'x')::pair, '2026-01-01 00:00+01')", r#"("(1,x)","2025-12-31 23:00:00+00")"#),
    // Anything else is its text
    ("money", "12.34", "$12.34"),
    ("bit(4)", "B'1010'", "1010"),
    ("varbit", "B'10101'", "10101"),
    ("xml", "'<a b=\"c\">é</a>text'", "<a b=\"c\">é</a>text"),
    ("tsvector", "'fat:2A cat:3'", "'cat':3 'fat':2A"),
    ("tsquery", "'fat & !cat'", "'fat' & !'cat'"),
    ("point", "'(1.5,-2)'", "(1.5,-2)"),
    ("box", "'((1,1),(0,0))'", "(1,1),(0,0)"),
    ("circle", "'<(0,0),1>'", "<(0,0),1>"),
    ("polygon", "'((0,0),(1,1),(1,0))'", "((0,0),(1,1),(1,0))"),
    ("pg_lsn", "'16/B374D848'", "16/B374D848"),
    ("regtype", "'int4'", "integer"),
    ("int2vector", "'1 2 3'", "1 2 3"),
    ("xid", "'7'", "7"),
    ("jsonpath", "'$.a[*]'", r#"$."a"[*]"#),
];
