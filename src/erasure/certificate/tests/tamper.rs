//! Somebody changes a certificate: with no key, with another key, and with the right one.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn document() -> (Example, Value) {
    let example = Example::new();
    let document = serde_json::to_value(example.certificate()).unwrap();
    (example, document)
}

fn check(document: &Value, fingerprint: &str) -> Report {
    verify(&serde_json::to_vec(document).unwrap(), Some(fingerprint))
}

fn failed(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|check| check.verdict == Verdict::Fails).map(|check| check.what).collect()
}

/// Signs a document, as somebody who has a key does.
fn sign(document: &mut Value, secret: &Secret) {
    document["public_key"] = Value::from(BASE64.encode(secret.public_key()));
    document["fingerprint"] = Value::from(secret.fingerprint());
    let signed = canonical::signed_bytes(document).unwrap();
    document["signature"] = Value::from(BASE64.encode(secret.sign(&signed)));
}

/// Every document that differs from this one in one place: a leaf that is another, a member or an element that is gone, one that
/// is there twice. With the place.
fn variants(value: &Value, place: &str) -> Vec<(String, Value)> {
    match value {
        Value::Object(members) => {
            let mut found = Vec::new();
            for (name, member) in members {
                let place = format!("{place}.{name}");
                let mut without = members.clone();
                without.remove(name);
                found.push((format!("{place} removed"), Value::Object(without)));
                for (place, changed) in variants(member, &place) {
                    let mut with = members.clone();
                    with.insert(name.clone(), changed);
                    found.push((place, Value::Object(with)));
                }
            }
            let mut more = members.clone();
            more.insert("more".into(), Value::from(1));
            found.push((format!("{place}.more added"), Value::Object(more)));
            found
        }
        Value::Array(elements) => {
            let mut found = Vec::new();
            for (at, element) in elements.iter().enumerate() {
                let with = |change: &dyn Fn(&mut Vec<Value>)| {
                    let mut elements = elements.clone();
                    change(&mut elements);
                    Value::Array(elements)
                };
                let place = format!("{place}[{at}]");
                found.push((format!("{place} removed"), with(&|elements| drop(elements.remove(at)))));
                found
                    .push((format!("{place} twice"), with(&|elements| elements.insert(at, element.clone()))));
                for (place, changed) in variants(element, &place) {
                    found.push((place, with(&|elements| elements[at] = changed.clone())));
                }
            }
            found
        }
        Value::String(text) => {
            let mut changed = text.clone().into_bytes();
            let middle = changed.len() / 2;
            match changed.get_mut(middle) {
                Some(byte) => *byte = if *byte == b'0' { b'1' } else { b'0' },
                None => changed.push(b'0'),
            }
            vec![(place.to_owned(), Value::from(String::from_utf8_lossy(&changed).into_owned()))]
        }
        Value::Number(number) => vec![(place.to_owned(), Value::from(number.as_i64().unwrap() + 1))],
        Value::Bool(value) => vec![(place.to_owned(), Value::from(!value))],
        Value::Null => vec![(place.to_owned(), Value::from(1))],
    }
}

#[test]
fn every_field_that_is_changed_is_found() {
    let (example, document) = document();
    let variants = variants(&document, "");
    assert!(variants.len() > 200, "{} variants", variants.len());
    for (place, changed) in variants {
        let report = check(&changed, &example.secret.fingerprint());
        assert!(!report.valid, "{place}");
        // Without the operator's fingerprint, too: the signature is over everything.
        assert!(!verify(&serde_json::to_vec(&changed).unwrap(), None).valid, "{place}");
    }
}

#[test]
fn another_key_is_found_by_its_fingerprint() {
    let (example, mut document) = document();
    document["case"]["subject"] = Value::from("staff");
    sign(&mut document, &Secret::fixed(8));
    let report = check(&document, &example.secret.fingerprint());
    assert!(failed(&report).contains(&"signer"), "{report:?}");
    // With all of the ledger made up, too, nothing but the fingerprint tells.
    let forger = Secret::fixed(8);
    let made_up = Issue { secret: &forger, ..example.issue() }.certificate(example::CASE).unwrap();
    let report = verify(made_up.to_json().unwrap().as_bytes(), Some(&example.secret.fingerprint()));
    assert_eq!(failed(&report), ["signer"]);
    assert!(verify(made_up.to_json().unwrap().as_bytes(), None).valid, "and that is why it must be compared");
}

/// Who has the key can sign anything; what he signs must still agree with the entries that he shows.
#[test]
fn what_the_ledger_says_cannot_be_signed_differently() {
    let (example, document) = document();
    let signed_over = [".case", ".receipts", ".verifications", ".proof"];
    let mut seen = 0;
    for (place, mut changed) in variants(&document, "") {
        if !signed_over.iter().any(|start| place.starts_with(start)) {
            continue;
        }
        sign(&mut changed, &example.secret);
        let report = check(&changed, &example.secret.fingerprint());
        assert!(!report.valid, "{place}");
        assert!(!failed(&report).contains(&"signature"), "{place}: {report:?}");
        seen += 1;
    }
    assert!(seen > 150, "{seen} variants");
}

#[test]
fn an_entry_that_is_left_out_or_moved_is_found_though_it_is_signed() {
    let (example, document) = document();
    let links = document["proof"]["links"].as_array().unwrap().len();
    for at in 0..links - 1 {
        let mut changed = document.clone();
        changed["proof"]["links"].as_array_mut().unwrap().swap(at, at + 1);
        sign(&mut changed, &example.secret);
        assert_eq!(
            failed(&check(&changed, &example.secret.fingerprint())),
            ["chain"],
            "links {at} and {}",
            at + 1
        );
    }
}

/// A chain that is cut at its new end is whole, and a certificate of it would not have the later entries. That is what the
/// ledger's own check, and older certificates, are for.
#[test]
fn a_proof_that_ends_earlier_is_another_proof() {
    let (example, mut document) = document();
    let links = document["proof"]["links"].as_array_mut().unwrap();
    let first = links.remove(0);
    document["proof"]["head"]["seq"] = Value::from(first["seq"].as_u64().unwrap() - 1);
    document["proof"]["head"]["hash"] = first["prev"].clone();
    sign(&mut document, &example.secret);
    let report = check(&document, &example.secret.fingerprint());
    assert_eq!(failed(&report), ["agreement"], "the last verification is no longer told of: {report:?}");
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let (example, document) = document();
    let text = serde_json::to_string(&document).unwrap();
    let twice = text.replacen("\"version\":1", "\"version\":2,\"version\":1", 1);
    assert_ne!(text, twice);
    assert_eq!(failed(&verify(twice.as_bytes(), None)), ["form"]);
    let inner = text.replacen("\"rows\":3", "\"rows\":4,\"rows\":3", 1);
    assert_eq!(failed(&verify(inner.as_bytes(), None)), ["form"]);
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    assert_eq!(failed(&verify(newer.as_bytes(), None)), ["form"]);
    assert_eq!(failed(&verify(b"", Some(&example.secret.fingerprint()))), ["form"]);
}

#[test]
fn a_ledger_whose_tables_lie_gives_no_certificate() {
    let example = Example::new();
    example.ledger.tamper("DELETE FROM erasure_receipts WHERE target = 'mailer'");
    let error = example.issue().certificate(example::CASE).expect_err("refused");
    assert_eq!(error.kind(), Kind::Corrupt);
    let example = Example::new();
    example.ledger.tamper("UPDATE erasure_ledger SET entry = replace(entry, '\"rows\":3', '\"rows\":4')");
    let error = example.issue().certificate(example::CASE).expect_err("refused");
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("backup")), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_byte_that_is_changed_anywhere_in_the_file_is_found(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let text = include_bytes!("../../../../docs/erasure/certificate.json");
        let mut changed = text.to_vec();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        // White space between the members says nothing, and may be other white space.
        let same = serde_json::from_slice::<Value>(&changed).ok() == serde_json::from_slice(text).ok();
        prop_assert_eq!(verify(&changed, None).valid, same, "byte {}", at);
    }

    #[test]
    fn what_is_no_certificate_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!verify(&bytes, None).valid);
    }
}
