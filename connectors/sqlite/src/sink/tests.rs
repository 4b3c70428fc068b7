//! A full disk, played by a limit on the sink's own connection; everything else is tested from outside.

use connector_api::{
    BatchBuilder, Change, Column, Image, Op, Schema, SectionHandle, Transaction, Value, ValueKind,
};

use super::*;

fn shape() -> Arc<Schema> {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
        element: None,
        type_name: String::new(),
        nullable: true,
    };
    Arc::new(Schema {
        namespace: "public".to_owned(),
        table: "t".to_owned(),
        columns: vec![column("id", ValueKind::Int), column("text", ValueKind::Text)],
        key: vec![0],
    })
}

fn insert(sink: &mut Sqlite, target: &Arc<Target>, rows: &[(i64, &str)]) -> Result<()> {
    let Target { topic, schema, .. } = &**target;
    let mut builder = BatchBuilder::new("test", 1 << 20);
    builder.begin(1, 0);
    for (id, text) in rows {
        let section = builder.section(&mut SectionHandle::default(), topic, schema);
        let mut writer = builder.change(section, Op::Insert);
        writer.image(Image::NewRow, 2);
        writer.push(Value::Int(*id));
        writer.push(Value::Text(text));
        writer.finish()?;
    }
    builder.commit(b"");
    for section in builder.take(None).sections {
        for record in section.records() {
            let change = Change::decode(record?, schema)?;
            let transaction = Transaction::default();
            sink.applied(&Incoming { topic: &section.topic, transaction, change, target })?;
        }
    }
    Ok(())
}

fn limit_pages(sink: &mut Sqlite, more: u32) {
    let connection = sink.session.as_ref().unwrap().database.connection();
    let pages: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    connection.pragma_update_and_check(None, "max_page_count", pages + more, |_| Ok(())).unwrap();
}

fn count(sink: &Sqlite) -> i64 {
    let reader = Connection::open(&sink.options.path).unwrap();
    reader.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_full_disk_is_transient_and_work_resumes_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("target.db"));
    let mut sink = Sqlite::new("billing", options);
    let topic: Arc<str> = "shop.public.t".into();
    let target = Arc::new(Target::whole(&topic, &shape()));
    let log = LogId(1);
    assert_eq!(sink.started(log).unwrap(), None);
    let mut cursor = Cursor::start(log);
    let of = connector_api::TopicPartition::first(topic.clone());

    insert(&mut sink, &target, &[(0, "first")]).unwrap();
    cursor.advance(&of, 1);
    sink.committed(&cursor).unwrap();

    limit_pages(&mut sink, 4);
    let big = "x".repeat(3_000);
    let rows: Vec<(i64, &str)> = (1..=200).map(|id| (id, big.as_str())).collect();
    for _ in 0..2 {
        let error = insert(&mut sink, &target, &rows).unwrap_err();
        assert_eq!(error.kind(), Kind::Transient);
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("free space")), "{error:?}");
        sink.rolled_back();
        assert_eq!(count(&sink), 1);
    }

    // What fits is applied although the disk is still full.
    insert(&mut sink, &target, &[(1, "small")]).unwrap();
    cursor.advance(&of, 2);
    sink.committed(&cursor).unwrap();
    assert_eq!(count(&sink), 2);

    limit_pages(&mut sink, 100_000);
    insert(&mut sink, &target, &rows).unwrap();
    cursor.advance(&of, 202);
    sink.committed(&cursor).unwrap();
    assert_eq!(count(&sink), 201);
    assert_eq!(sink.started(log).unwrap(), Some(cursor));
}
