#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;

/// Writes messages as the server does.
#[derive(Debug, Clone)]
enum Value {
    Null,
    Unchanged,
    Text(Vec<u8>),
}

fn tuple(values: &[Value]) -> Vec<u8> {
    let mut out = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        match value {
            Value::Null => out.push(b'n'),
            Value::Unchanged => out.push(b'u'),
            Value::Text(text) => {
                out.push(b't');
                out.extend((text.len() as u32).to_be_bytes());
                out.extend(text);
            }
        }
    }
    out
}

fn read(mut tuple: Tuple<'_>) -> Option<Vec<Datum<'_>>> {
    let values = (0..tuple.columns()).map(|_| tuple.next()).collect();
    tuple.is_whole().then_some(values)
}

fn same(values: &[Value], data: &[Datum<'_>]) -> bool {
    values.len() == data.len()
        && values.iter().zip(data).all(|pair| match pair {
            (Value::Null, Datum::Null) | (Value::Unchanged, Datum::Unchanged) => true,
            (Value::Text(text), Datum::Text(bytes)) => text == bytes,
            _ => false,
        })
}

fn values() -> impl Strategy<Value = Vec<Value>> {
    let value = prop_oneof![
        Just(Value::Null),
        Just(Value::Unchanged),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Text),
    ];
    prop::collection::vec(value, 0..12)
}

fn update_bytes(oid: u32, kind: u8, old: &[Value], new: &[Value]) -> Vec<u8> {
    let mut bytes = vec![b'U'];
    bytes.extend(oid.to_be_bytes());
    if kind != b'N' {
        bytes.push(kind);
        bytes.extend(tuple(old));
    }
    bytes.push(b'N');
    bytes.extend(tuple(new));
    bytes
}

fn relation_bytes(columns: &[(bool, &str, u32, i32)]) -> Vec<u8> {
    let mut bytes = b"R\0\0\0\x2apublic\0users\0d".to_vec();
    bytes.extend((columns.len() as u16).to_be_bytes());
    for (key, name, oid, typmod) in columns {
        bytes.push(u8::from(*key));
        bytes.extend(name.bytes().chain([0]));
        bytes.extend(oid.to_be_bytes());
        bytes.extend(typmod.to_be_bytes());
    }
    bytes
}

/// Reads everything that can be read of a message, as the stream does.
fn walk(bytes: &[u8]) {
    let _ = envelope(bytes);
    let Ok(message) = message(bytes) else { return };
    match message {
        Message::Insert { new, .. } => drop(read(new)),
        Message::Update { old, new, .. } => {
            if let Some(Old::Key(old) | Old::Full(old)) = old {
                read(old);
            }
            read(new);
        }
        Message::Delete { old: Old::Key(old) | Old::Full(old), .. } => drop(read(old)),
        Message::Truncate(truncate) => drop(truncate.relations().count()),
        _ => {}
    }
}

#[test]
fn transactions_and_relations_are_read() {
    let begin = [&b"B"[..], &7u64.to_be_bytes(), &8i64.to_be_bytes(), &9u32.to_be_bytes()].concat();
    let Ok(Message::Begin(begin)) = message(&begin) else { panic!("no begin") };
    assert_eq!(begin, Begin { commit_lsn: 7, time: 8, xid: 9 });

    let commit = [&b"C\0"[..], &7u64.to_be_bytes(), &8u64.to_be_bytes(), &9i64.to_be_bytes()].concat();
    let Ok(Message::Commit(commit)) = message(&commit) else { panic!("no commit") };
    assert_eq!(commit, Commit { commit_lsn: 7, end_lsn: 8, time: 9 });

    let bytes = relation_bytes(&[(true, "id", 20, -1), (false, "größe", 1700, 655_366)]);
    let Ok(Message::Relation(relation)) = message(&bytes) else { panic!("no relation") };
    assert_eq!((relation.oid, relation.schema.as_str(), relation.name.as_str()), (42, "public", "users"));
    assert!(relation.columns[0].key && !relation.columns[1].key);
    assert_eq!((relation.columns[1].name.as_str(), relation.columns[1].typmod), ("größe", 655_366));

    let Ok(Message::Truncate(truncate)) = message(b"T\0\0\0\x02\0\0\0\0\x05\0\0\x01\0") else { panic!() };
    assert_eq!(truncate.relations().collect::<Vec<_>>(), [5, 256]);

    let emitted = [&b"M\x01"[..], &7u64.to_be_bytes(), b"app\0", &2u32.to_be_bytes(), b"hi"].concat();
    assert!(matches!(message(&emitted), Ok(Message::Emitted { prefix: b"app", content: b"hi" })));
    assert!(message(&emitted[..emitted.len() - 1]).is_err());
}

#[test]
fn unknown_tags_and_binary_values_are_errors() {
    assert!(message(b"Z").is_err());
    assert!(message(b"").is_err());
    assert!(envelope(b"x").is_err());
    let Ok(Message::Insert { new, .. }) = message(b"I\0\0\0\x01N\0\x01b\0\0\0\x01x") else { panic!() };
    assert!(read(new).is_none());
}

proptest! {
    #[test]
    fn tuples_come_back(
        oid in any::<u32>(),
        old in values(),
        new in values(),
        kind in prop::sample::select(vec![b'K', b'O', b'N']),
    ) {
        let bytes = update_bytes(oid, kind, &old, &new);
        let Ok(Message::Update { relation, old: found, new: tuple }) = message(&bytes) else { panic!("no update") };
        prop_assert_eq!(relation, oid);
        prop_assert!(same(&new, &read(tuple).unwrap()));
        match found {
            None => prop_assert_eq!(kind, b'N'),
            Some(Old::Key(mut tuple) | Old::Full(mut tuple)) => {
                let data: Vec<_> = (0..tuple.columns()).map(|_| tuple.next()).collect();
                prop_assert!(same(&old, &data));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(tag in prop::sample::select(b"BCORYIUDTMwk".to_vec()), rest: Vec<u8>) {
        walk(&rest);
        walk(&[&[tag], &rest[..]].concat());
    }

    #[test]
    fn damaged_messages_never_panic(
        old in values(),
        new in values(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        for mut bytes in [
            update_bytes(1, b'O', &old, &new),
            relation_bytes(&[(true, "id", 20, -1), (false, "name", 25, -1)]),
        ] {
            for (at, byte) in &flips {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            walk(&bytes);
            walk(&bytes[..cut.index(bytes.len())]);
        }
    }

    /// A count that the bytes cannot hold must not be believed.
    #[test]
    fn truncated_messages_are_errors_or_not_whole(new in values(), cut in any::<prop::sample::Index>()) {
        let mut bytes = b"I\0\0\0\x01N".to_vec();
        bytes.extend(tuple(&new));
        let cut = cut.index(bytes.len());
        match message(&bytes[..cut]) {
            Ok(Message::Insert { new, .. }) => prop_assert!(read(new).is_none()),
            other => prop_assert!(other.is_err()),
        }
    }
}
