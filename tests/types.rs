//! Every type that the source knows, copied and streamed: the two ways must give the target the same value, and the
//! value that the manual promises.

mod cases;

use rusqlite::types::ValueRef;

use crate::support::shop::Shop;
use crate::support::sqlite;
use cases::{CASES, Case, TYPES, huge_numeric};

/// A database whose sessions write every value in an unusual form, unless a client asks for another.
const ODD_FORMS: &str = "
    ALTER DATABASE shop SET timezone = 'America/St_Johns';
    ALTER DATABASE shop SET datestyle = 'German';
    ALTER DATABASE shop SET intervalstyle = 'iso_8601';
    ALTER DATABASE shop SET bytea_output = 'escape';
    ALTER DATABASE shop SET extra_float_digits = -4;
    ALTER DATABASE shop SET xmloption = 'document';";

#[test]
fn every_type_is_copied_and_streamed_as_the_same_value() {
    let shop = Shop::new("types");
    shop.sql.execute(ODD_FORMS);
    // The table is written by a session in which the literals mean what they say.
    shop.sql.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET xmloption = 'content'");
    shop.sql.execute(TYPES);
    let huge = huge_numeric();
    let huge_input = format!("'{huge}'");
    let mut cases: Vec<Case<'_>> = CASES.to_vec();
    cases.push(("numeric", &huge_input, &huge));
    shop.sql.execute(&table(&cases));
    let values: Vec<_> = cases.iter().map(|(of_type, input, _)| format!("({input})::{of_type}")).collect();
    let values = values.join(", ");
    let config = shop.simple("tables: [public.t]");

    shop.sql.execute(&format!("INSERT INTO t VALUES (1, {values}); INSERT INTO t VALUES (2)"));
    shop.catch_up(&config);
    // 3 is inserted, 4 is inserted without values and then updated.
    shop.sql.execute(&format!("INSERT INTO t VALUES (3, {values}); INSERT INTO t VALUES (4)"));
    let names: Vec<_> = (0..cases.len()).map(|at| format!("c{at}")).collect();
    shop.sql.execute(&format!("UPDATE t SET ({}) = ROW({values}) WHERE id = 4", names.join(", ")));
    shop.catch_up(&config);

    let rows = stored(&shop);
    assert_eq!(rows.len(), 4, "{rows:?}");
    let mut wrong = Vec::new();
    for (at, (of_type, input, expected)) in cases.iter().enumerate() {
        for (id, way) in [(0, "copied"), (2, "inserted"), (3, "updated")] {
            let found = &rows[id][at];
            if found != expected {
                wrong.push(format!(
                    "{of_type} {input:.60} {way}:\n  expected {expected:.60}\n  found    {found:.60}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} values:\n{}", wrong.len(), cases.len() * 3, wrong.join("\n"));
    assert!(rows[1].iter().all(|value| value == "null"), "{:?}", rows[1]);
}

fn table(cases: &[Case<'_>]) -> String {
    let columns = cases.iter().enumerate().map(|(at, (of_type, ..))| format!("c{at} {of_type}"));
    format!("CREATE TABLE t(id int PRIMARY KEY, {})", columns.collect::<Vec<_>>().join(", "))
}

/// The rows in order of id, without it. Numbers and blobs say what they are; text stands alone.
fn stored(shop: &Shop) -> Vec<Vec<String>> {
    let connection = sqlite::open(&shop.target());
    let mut statement = connection.prepare("SELECT * FROM t ORDER BY id").expect("the target table");
    let columns = statement.column_count();
    let mut rows = statement.query([]).expect("query the target");
    let mut found = Vec::new();
    while let Some(row) = rows.next().expect("read the target") {
        let shown = |at| match row.get_ref(at).expect("a column") {
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(value) => format!("int {value}"),
            ValueRef::Real(value) => format!("real {value:?}"),
            ValueRef::Text(text) => String::from_utf8(text.to_vec()).expect("text is UTF-8"),
            ValueRef::Blob(bytes) => {
                bytes.iter().fold("blob ".to_owned(), |shown, byte| format!("{shown}{byte:02x}"))
            }
        };
        found.push((1..columns).map(shown).collect());
    }
    found
}

#[test]
fn types_of_extensions_are_their_text() {
    let shop = Shop::new("extensions");
    let available = "SELECT count(*) FROM pg_available_extensions WHERE name IN ('hstore', 'citext')";
    if shop.sql.value(available) != "2" {
        return crate::support::skip::skip(
            "types::types_of_extensions_are_their_text",
            "hstore and citext are not here",
        );
    }
    shop.sql.execute(
        "CREATE EXTENSION hstore; CREATE SCHEMA \"Ext\"; CREATE EXTENSION citext SCHEMA \"Ext\";
         CREATE TABLE t(id int PRIMARY KEY, h hstore, c \"Ext\".citext, l hstore[]);
         INSERT INTO t VALUES (1, 'a=>1, b=>NULL', 'MixedCase', ARRAY['a=>1'::hstore, NULL])",
    );
    let config = shop.simple("tables: [public.t]");
    shop.catch_up(&config);
    shop.sql.execute("INSERT INTO t SELECT 2, h, c, l FROM t");
    shop.catch_up(&config);
    let wanted =
        [r#""a"=>"1", "b"=>NULL"#, "MixedCase", r#"["\"a\"=>\"1\"",null]"#].map(|text| Some(text.to_owned()));
    let rows = sqlite::rows(&shop.target(), "SELECT h, c, l FROM t ORDER BY id");
    assert_eq!(rows, [wanted.clone(), wanted]);
}
