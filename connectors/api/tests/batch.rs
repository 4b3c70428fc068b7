//! What a source pushes in is what a sink gets out: builder, batch, delivery, change.

use std::collections::BTreeMap;
use std::sync::Arc;

use connector_api::array::{Array, Dimension, put_array_head};
use connector_api::record::Attributes;
use connector_api::{
    Batch, BatchBuilder, Before, Change, Column, Delivery, Event, Headers, Image, Kind, LogId, Op, Position,
    Row, Schema, SectionHandle, Value, ValueKind,
};
use proptest::prelude::*;

/// A value that owns its bytes, because a generated row has to.
#[derive(Debug, Clone, PartialEq)]
enum Owned {
    Null,
    Unchanged,
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal(String),
    Text(String),
    Bytes(Vec<u8>),
    Uuid([u8; 16]),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    TimestampTz(i64),
    Json(String),
    Array(Vec<u8>),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Owned::Null => Value::Null,
            Owned::Unchanged => Value::Unchanged,
            Owned::Bool(value) => Value::Bool(*value),
            Owned::Int(value) => Value::Int(*value),
            Owned::Float(value) => Value::Float(*value),
            Owned::Decimal(text) => Value::Decimal(text),
            Owned::Text(text) => Value::Text(text),
            Owned::Bytes(bytes) => Value::Bytes(bytes),
            Owned::Uuid(bytes) => Value::Uuid(*bytes),
            Owned::Date(days) => Value::Date(*days),
            Owned::Time(micros) => Value::Time(*micros),
            Owned::Timestamp(micros) => Value::Timestamp(*micros),
            Owned::TimestampTz(micros) => Value::TimestampTz(*micros),
            Owned::Json(text) => Value::Json(text),
            Owned::Array(bytes) => Value::Array(Array::from_bytes(bytes)),
        }
    }
}

fn present() -> impl Strategy<Value = Owned> {
    prop_oneof![
        any::<bool>().prop_map(Owned::Bool),
        any::<i64>().prop_map(Owned::Int),
        // NaN equals nothing, and -0.0 equals 0.0: bits are compared in a test of their own.
        (-1e300f64..1e300).prop_map(Owned::Float),
        "-?[0-9]{1,40}(\\.[0-9]{1,20})?".prop_map(Owned::Decimal),
        ".{0,40}".prop_map(Owned::Text),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Owned::Bytes),
        any::<[u8; 16]>().prop_map(Owned::Uuid),
        any::<i32>().prop_map(Owned::Date),
        any::<i64>().prop_map(Owned::Time),
        any::<i64>().prop_map(Owned::Timestamp),
        any::<i64>().prop_map(Owned::TimestampTz),
        ".{0,40}".prop_map(Owned::Json),
        proptest::collection::vec(any::<i64>(), 1..5).prop_map(|values| {
            let mut bytes = Vec::new();
            put_array_head(&mut bytes, &[Dimension { len: values.len() as u32, lower: 1 }]);
            values.iter().for_each(|value| Value::Int(*value).encode(&mut bytes));
            Owned::Array(bytes)
        }),
    ]
}

fn any_value() -> impl Strategy<Value = Owned> {
    prop_oneof![8 => present(), 2 => Just(Owned::Null), 2 => Just(Owned::Unchanged)]
}

/// What a source says about one row of one table.
#[derive(Debug, Clone)]
struct Said {
    table: usize,
    op: Op,
    before: Option<(Image, Vec<Owned>)>,
    after: Option<Vec<Owned>>,
    /// The writer is dropped before it is finished.
    dropped: bool,
    /// The source transaction ends after it.
    commit: bool,
    /// The batch is taken after it, maybe in the middle of a transaction.
    take: bool,
}

/// Width and key of each table.
const TABLES: [(usize, &[usize]); 4] = [(1, &[0]), (4, &[0]), (5, &[3, 1]), (3, &[])];

fn table(at: usize) -> (Arc<str>, Arc<Schema>) {
    let (width, key) = TABLES[at];
    let column = |at| Column {
        name: format!("c{at}"),
        kind: ValueKind::Text,
        element: None,
        type_name: "text".to_owned(),
        nullable: true,
    };
    let schema = Schema {
        namespace: "public".to_owned(),
        table: format!("t{at}"),
        columns: (0..width).map(column).collect(),
        key: key.to_vec(),
    };
    (format!("shop.public.t{at}").into(), Arc::new(schema))
}

fn said() -> impl Strategy<Value = Said> {
    let flags =
        (proptest::bool::weighted(0.1), proptest::bool::weighted(0.4), proptest::bool::weighted(0.15));
    let changes = (0..TABLES.len(), 0..6u8).prop_flat_map(|(table, form)| {
        let (width, key) = TABLES[table];
        let row = proptest::collection::vec(any_value(), width);
        let whole = proptest::collection::vec(prop_oneof![9 => present(), 1 => Just(Owned::Null)], width);
        let old_key = proptest::collection::vec(present(), key.len());
        (Just(table), Just(form), row, whole, old_key)
    });
    (changes, flags).prop_map(|((table, form, row, whole, old_key), (dropped, commit, take))| {
        let key = TABLES[table].1;
        // A key is never left out, unless the old one comes with it.
        let keyed = |mut row: Vec<Owned>| {
            key.iter().for_each(|at| row[*at] = whole[*at].clone());
            row
        };
        let (op, before, after) = match form {
            0 => (Op::Insert, None, Some(whole.clone())),
            1 => (Op::Read, None, Some(whole.clone())),
            2 if key.is_empty() => (Op::Update, Some((Image::OldRow, whole.clone())), Some(row)),
            2 => (Op::Update, Some((Image::OldKey, old_key)), Some(row)),
            3 => (Op::Update, None, Some(keyed(row))),
            4 if key.is_empty() => (Op::Delete, Some((Image::OldRow, whole.clone())), None),
            4 => (Op::Delete, Some((Image::OldKey, old_key)), None),
            _ => (Op::Truncate, None, None),
        };
        Said { table, op, before, after, dropped, commit, take }
    })
}

/// What a sink should see: one line a record.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    topic: String,
    op: Op,
    key: Option<Vec<Owned>>,
    before: Option<(Image, Vec<Owned>)>,
    after: Option<Vec<Owned>>,
    null: bool,
    moved: bool,
    partial: bool,
    transaction: u64,
}

fn expected(said: &Said, transaction: u64) -> Vec<Seen> {
    let (topic, _) = table(said.table);
    let key = TABLES[said.table].1;
    let pick = |row: &Vec<Owned>| key.iter().map(|at| row[*at].clone()).collect::<Vec<_>>();
    let old = said.before.as_ref().filter(|_| !key.is_empty()).map(|(image, values)| match image {
        Image::OldKey => values.clone(),
        _ => pick(values),
    });
    let mut new = said.after.as_ref().filter(|_| !key.is_empty()).map(pick);
    if let (Some(new), Some(old)) = (&mut new, &old) {
        let left_out = new.iter_mut().zip(old).filter(|(new, _)| **new == Owned::Unchanged);
        left_out.for_each(|(new, old)| *new = old.clone());
    }
    let partial = said.after.iter().flatten().any(|value| *value == Owned::Unchanged);
    let moved = said.op == Op::Update && old.is_some() && old != new;
    let only_key = said.op == Op::Delete && matches!(said.before, Some((Image::OldKey, _)));
    let first = Seen {
        topic: topic.to_string(),
        op: said.op,
        key: new.or(old.clone()),
        before: said.before.clone().filter(|_| !only_key),
        after: said.after.clone(),
        null: only_key,
        moved: false,
        partial,
        transaction,
    };
    let mut seen = vec![first];
    if moved {
        seen.push(Seen {
            topic: topic.to_string(),
            op: Op::Delete,
            key: old,
            before: None,
            after: None,
            null: true,
            moved: partial,
            partial: false,
            transaction,
        });
    }
    seen
}

fn write(builder: &mut BatchBuilder, handles: &mut [SectionHandle], said: &Said) {
    let (topic, schema) = table(said.table);
    let section = builder.section(&mut handles[said.table], &topic, &schema);
    let mut writer = builder.change(section, said.op);
    let images =
        said.before.iter().cloned().chain(said.after.iter().cloned().map(|row| (Image::NewRow, row)));
    for (image, values) in images {
        writer.image(image, values.len());
        values.iter().for_each(|value| writer.push(value.value()));
    }
    if !said.dropped {
        writer.finish().unwrap();
    }
}

/// Gives a batch offsets, as a log does.
fn append(batch: Batch, next: &mut BTreeMap<String, u64>, sequence: u64) -> Delivery {
    let mut sections = batch.sections;
    for section in &mut sections {
        let next = next.entry(section.topic.topic.to_string()).or_default();
        section.base = *next;
        *next = section.end();
    }
    Delivery {
        log: LogId(1),
        sequence,
        producer: batch.producer,
        continued: batch.continued,
        continues: batch.continues,
        transactions: batch.transactions,
        sections,
    }
}

fn owned(row: Row<'_>) -> Vec<Owned> {
    let own = |value: Value<'_>| match value {
        Value::Null => Owned::Null,
        Value::Unchanged => Owned::Unchanged,
        Value::Bool(value) => Owned::Bool(value),
        Value::Int(value) => Owned::Int(value),
        Value::Float(value) => Owned::Float(value),
        Value::Decimal(text) => Owned::Decimal(text.to_owned()),
        Value::Text(text) => Owned::Text(text.to_owned()),
        Value::Bytes(bytes) => Owned::Bytes(bytes.to_vec()),
        Value::Uuid(bytes) => Owned::Uuid(bytes),
        Value::Date(days) => Owned::Date(days),
        Value::Time(micros) => Owned::Time(micros),
        Value::Timestamp(micros) => Owned::Timestamp(micros),
        Value::TimestampTz(micros) => Owned::TimestampTz(micros),
        Value::Json(text) => Owned::Json(text.to_owned()),
        Value::Array(array) => Owned::Array(array.as_bytes().to_vec()),
    };
    row.to_vec().unwrap().into_iter().map(own).collect()
}

fn read(delivery: &Delivery) -> Vec<Seen> {
    let mut offsets: BTreeMap<String, u64> = BTreeMap::new();
    let mut order = None;
    let mut out = Vec::new();
    for delivered in delivery.records() {
        let delivered = delivered.unwrap();
        let (section, record) = (delivered.section, delivered.record);
        // Order grows over all sections, offsets grow without a gap in each topic.
        assert!(order.is_none_or(|order| order < record.order));
        order = Some(record.order);
        let topic = section.topic.topic.to_string();
        if let Some(last) = offsets.insert(topic.clone(), record.offset) {
            assert_eq!(record.offset, last + 1);
        }
        let change = Change::decode(record, section.schema.as_ref().unwrap()).unwrap();
        out.push(Seen {
            topic,
            op: change.op,
            key: change.key().map(owned),
            before: change.before.map(|before| match before {
                Before::Key(row) => (Image::OldKey, owned(row)),
                Before::Full(row) => (Image::OldRow, owned(row)),
            }),
            after: change.after.map(owned),
            null: record.is_null(),
            moved: change.follows_move(),
            partial: record.attributes.has(Attributes::PARTIAL),
            transaction: delivered.transaction.id,
        });
    }
    out
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_in_the_order_of_the_source(all in proptest::collection::vec(said(), 1..60)) {
        let mut builder = BatchBuilder::new("shop", 1 << 20);
        let mut handles = [SectionHandle::default(); TABLES.len()];
        let (mut next, mut sequence, mut id) = (BTreeMap::new(), 0, 0);
        let (mut expects, mut deliveries) = (Vec::new(), Vec::new());
        let mut continues = false;
        for said in &all {
            if !builder.in_transaction() {
                id += 1;
                builder.begin(id, 1_700_000_000_000_000 - id as i64);
            }
            write(&mut builder, &mut handles, said);
            if !said.dropped {
                expects.extend(expected(said, id));
            }
            if said.commit {
                builder.commit(&id.to_be_bytes());
            }
            if said.take {
                let position = (!builder.in_transaction()).then(|| Position::new(id.to_be_bytes()));
                let open = builder.in_transaction();
                let batch = builder.take(position);
                prop_assert_eq!(batch.continued, continues);
                prop_assert_eq!(batch.continues, open);
                continues = batch.continues;
                sequence += 1;
                deliveries.push(append(batch, &mut next, sequence));
            }
        }
        builder.commit(&id.to_be_bytes());
        let batch = builder.take(Some(Position::new(id.to_be_bytes())));
        prop_assert_eq!(batch.continued, continues);
        prop_assert!(!batch.continues);
        deliveries.push(append(batch, &mut next, sequence + 1));
        let seen: Vec<Seen> = deliveries.iter().flat_map(read).collect();
        prop_assert_eq!(seen, expects);
    }

    #[test]
    fn floats_keep_their_bits(bits in any::<u64>()) {
        let mut bytes = Vec::new();
        connector_api::put_row(&mut bytes, [Value::Float(f64::from_bits(bits))].into_iter());
        let row = Row::from_bytes(&bytes).to_vec().unwrap();
        prop_assert!(matches!(row[..], [Value::Float(value)] if value.to_bits() == bits));
    }

    #[test]
    fn bytes_of_a_peer_give_errors_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Row::from_bytes(&bytes).to_vec();
        let _ = Schema::decode(&bytes);
        let _ = Array::from_bytes(&bytes).open().map(|(_, elements)| elements.collect::<Vec<_>>());
        let _ = Headers::decode(&bytes);
        let (topic, schema) = table(1);
        let records = connector_api::record::Records::new(&bytes, 0);
        for record in records.flatten() {
            let _ = Change::decode(record, &schema).and_then(|change| change.old_key());
        }
        let mut batch = BatchBuilder::new(topic, 1).take(None);
        batch.transactions = bytes::Bytes::from(bytes);
        let _ = connector_api::Transactions::new(&batch.transactions).collect::<Vec<_>>();
    }
}

fn text<'a>(values: &[&'a str]) -> Vec<Value<'a>> {
    values.iter().map(|value| Value::Text(value)).collect()
}

fn push(
    builder: &mut BatchBuilder,
    at: usize,
    op: Op,
    images: &[(Image, Vec<Value<'_>>)],
) -> connector_api::Result<()> {
    let (topic, schema) = table(at);
    let section = builder.section(&mut SectionHandle::default(), &topic, &schema);
    let mut writer = builder.change(section, op);
    for (image, values) in images {
        writer.image(*image, values.len());
        values.iter().for_each(|value| writer.push(*value));
    }
    writer.finish()
}

fn delivered(builder: &mut BatchBuilder) -> Delivery {
    append(builder.take(None), &mut BTreeMap::new(), 1)
}

#[test]
fn a_partial_key_change_marks_its_tombstone_as_moved() {
    for (note, moved) in [(Value::Unchanged, true), (Value::Null, false)] {
        let mut builder = BatchBuilder::new("shop", 1 << 20);
        builder.begin(1, 0);
        let new = [text(&["new", "b", "c"]), vec![note]].concat();
        push(&mut builder, 1, Op::Update, &[(Image::OldKey, text(&["old"])), (Image::NewRow, new)]).unwrap();
        builder.commit(b"");
        let delivery = delivered(&mut builder);
        let records: Vec<_> = delivery.records().map(|delivered| delivered.unwrap().record).collect();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].attributes.has(Attributes::PARTIAL), moved);
        assert!(records[1].is_null());
        assert_eq!(records[1].attributes.has(Attributes::MOVED), moved);
        assert_eq!(Row::from_bytes(records[1].key.unwrap()).to_vec().unwrap(), text(&["old"]));
    }
}

#[test]
fn an_old_key_that_is_the_same_makes_no_tombstone() {
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    builder.begin(1, 0);
    let images = [(Image::OldKey, text(&["a"])), (Image::NewRow, text(&["a", "b", "c", "d"]))];
    push(&mut builder, 1, Op::Update, &images).unwrap();
    builder.commit(b"");
    let delivery = delivered(&mut builder);
    assert_eq!(delivery.records().count(), 1);
    let record = delivery.records().next().unwrap().unwrap();
    let change = Change::decode(record.record, record.section.schema.as_ref().unwrap()).unwrap();
    assert_eq!(change.old_key().unwrap(), None);
}

#[test]
fn a_delete_by_key_has_no_value_and_one_by_row_has() {
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    builder.begin(1, 0);
    push(&mut builder, 1, Op::Delete, &[(Image::OldKey, text(&["a"]))]).unwrap();
    push(&mut builder, 1, Op::Delete, &[(Image::OldRow, text(&["a", "b", "c", "d"]))]).unwrap();
    push(&mut builder, 3, Op::Delete, &[(Image::OldRow, text(&["a", "b", "c"]))]).unwrap();
    builder.commit(b"");
    let delivery = delivered(&mut builder);
    let facts: Vec<_> = delivery
        .records()
        .map(|delivered| {
            let record = delivered.unwrap().record;
            (record.is_null(), record.attributes.has(Attributes::TOMBSTONE), record.key.is_some())
        })
        .collect();
    assert_eq!(facts, [(true, true, true), (false, true, true), (false, false, false)]);
}

#[test]
fn a_truncate_voids_what_is_older_and_has_no_key() {
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    builder.begin(1, 0);
    push(&mut builder, 1, Op::Truncate, &[]).unwrap();
    builder.commit(b"");
    let delivery = delivered(&mut builder);
    let record = delivery.records().next().unwrap().unwrap().record;
    assert!(record.attributes.has(Attributes::CLEAR));
    assert_eq!(record.key, None);
}

#[test]
fn a_key_that_is_left_out_altogether_is_a_data_error_without_a_trace() {
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    builder.begin(1, 0);
    let row = [vec![Value::Unchanged], text(&["b", "c", "d"])].concat();
    let error = push(&mut builder, 1, Op::Update, &[(Image::NewRow, row)]).unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert_eq!(builder.records(), 0);
    builder.commit(b"");
    let batch = builder.take(None);
    assert!(batch.is_empty() && batch.transactions.is_empty());
}

#[test]
fn a_transaction_in_three_chunks_keeps_its_number_and_ends_once() {
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    builder.begin(42, 7);
    let mut batches = Vec::new();
    for value in ["a", "b"] {
        push(&mut builder, 1, Op::Insert, &[(Image::NewRow, text(&[value, "", "", ""]))]).unwrap();
        batches.push(builder.take(None));
    }
    // The end comes when nothing is left to say.
    builder.commit(b"end");
    builder.begin(43, 8);
    push(&mut builder, 1, Op::Insert, &[(Image::NewRow, text(&["c", "", "", ""]))]).unwrap();
    builder.commit(b"next");
    batches.push(builder.take(Some(Position::new(*b"next"))));
    let facts: Vec<_> = batches.iter().map(|batch| (batch.continued, batch.continues)).collect();
    assert_eq!(facts, [(false, true), (true, true), (true, false)]);
    let transactions = |batch: &Batch| {
        let all = connector_api::Transactions::new(&batch.transactions);
        all.map(|transaction| transaction.unwrap())
            .map(|one| (one.id, one.position.to_vec(), one.end))
            .collect::<Vec<_>>()
    };
    assert_eq!(transactions(&batches[0]), [(42, vec![], 1)]);
    assert_eq!(transactions(&batches[1]), [(42, vec![], 1)]);
    assert_eq!(transactions(&batches[2]), [(42, b"end".to_vec(), 0), (43, b"next".to_vec(), 1)]);
}

#[test]
fn a_new_shape_in_the_middle_keeps_offsets_in_the_order_of_the_source() {
    let (topic, narrow) = table(1);
    let (_, wide) = table(2);
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    let (mut one, mut two) = (SectionHandle::default(), SectionHandle::default());
    builder.begin(1, 0);
    for at in 0..6 {
        let (handle, schema) = if at % 2 == 0 { (&mut one, &narrow) } else { (&mut two, &wide) };
        let section = builder.section(handle, &topic, schema);
        let mut writer = builder.change(section, Op::Insert);
        writer.image(Image::NewRow, schema.columns.len());
        (0..schema.columns.len()).for_each(|_| writer.push(Value::Int(at)));
        writer.finish().unwrap();
    }
    builder.commit(b"");
    let delivery = delivered(&mut builder);
    let rows: Vec<_> = delivery
        .records()
        .map(|delivered| {
            let delivered = delivered.unwrap();
            let change =
                Change::decode(delivered.record, delivered.section.schema.as_ref().unwrap()).unwrap();
            (delivered.record.offset, change.schema.columns.len(), owned(change.after.unwrap())[0].clone())
        })
        .collect();
    let expected: Vec<_> =
        (0..6).map(|at| (at as u64, if at % 2 == 0 { 4 } else { 5 }, Owned::Int(at))).collect();
    assert_eq!(rows, expected);
}

#[test]
fn records_below_from_are_passed_over() {
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    builder.begin(1, 0);
    for value in ["a", "b", "c"] {
        push(&mut builder, 1, Op::Insert, &[(Image::NewRow, text(&[value, "", "", ""]))]).unwrap();
    }
    builder.commit(b"");
    let mut delivery = delivered(&mut builder);
    delivery.sections[0].from = 2;
    let offsets: Vec<_> = delivery.records().map(|delivered| delivered.unwrap().record.offset).collect();
    assert_eq!(offsets, [2]);
}

#[test]
fn events_carry_key_value_and_headers_as_they_are() {
    let mut builder = BatchBuilder::new("app", 1 << 20);
    let topic: Arc<str> = "clicks".into();
    let mut headers = Headers::default();
    headers.push("trace", b"\x00\x01");
    builder.event(&topic, 5, Event { key: Some(b"k"), value: Some(b"v"), headers: &headers }).unwrap();
    builder.event(&topic, 6, Event { key: Some(b""), value: None, headers: &Headers::default() }).unwrap();
    builder.event(&topic, 7, Event { key: None, value: Some(b""), headers: &Headers::default() }).unwrap();
    let delivery = delivered(&mut builder);
    let records: Vec<_> = delivery.records().map(|delivered| delivered.unwrap()).collect();
    let facts: Vec<_> = records
        .iter()
        .map(|one| (one.record.key, one.record.value, one.record.is_null(), one.transaction.timestamp_us))
        .collect();
    let empty: &[u8] = b"";
    assert_eq!(
        facts,
        [(Some(&b"k"[..]), &b"v"[..], false, 5), (Some(empty), empty, true, 6), (None, empty, false, 7),]
    );
    assert_eq!(Headers::decode(records[0].record.headers).unwrap(), [("trace", &[0u8, 1][..])]);
}

#[test]
fn a_damaged_section_ends_the_merge_with_an_error() {
    let mut builder = BatchBuilder::new("shop", 1 << 20);
    builder.begin(1, 0);
    for at in [1, 2] {
        let row = vec![Value::Int(1); TABLES[at].0];
        push(&mut builder, at, Op::Insert, &[(Image::NewRow, row)]).unwrap();
    }
    builder.commit(b"");
    let mut delivery = delivered(&mut builder);
    let cut = delivery.sections[1].payload.len() - 1;
    delivery.sections[1].payload.truncate(cut);
    let results: Vec<_> = delivery.records().collect();
    assert!(results.iter().any(|result| result.as_ref().is_err_and(|error| error.kind() == Kind::Corrupt)));
    assert!(results.len() <= 2);
}
