#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use connector_api::{Kind, Value};
use proptest::prelude::*;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::*;

fn text(value: Value<'_>) -> String {
    key_text(value).expect("a key")
}

#[test]
fn one_key_is_one_text_whatever_type_keeps_it() {
    for value in
        [Value::Int(7), Value::Text("7"), Value::Decimal("7"), Value::Decimal("7.00"), Value::Float(7.0)]
    {
        assert_eq!(text(value), "7");
    }
    assert_eq!(text(Value::Decimal("-007.50")), "-7.5");
    assert_eq!(text(Value::Decimal("-0.00")), "0");
    assert_eq!(text(Value::Decimal("1000")), "1000");
    assert_eq!(text(Value::Decimal("NaN")), "NaN");
    assert_eq!(text(Value::Float(-0.0)), "0");
    // Two texts are two keys, whatever numbers they look like.
    assert_eq!(text(Value::Text("7.00")), "7.00");
    assert_eq!(text(Value::Text("007")), "007");
    let uuid = "0190a5c0-7e1b-7c4e-9a53-0f4b2a3c9d1e";
    let bytes = *uuid::Uuid::parse_str(uuid).expect("a uuid").as_bytes();
    assert_eq!(text(Value::Uuid(bytes)), uuid);
    assert_eq!(text(Value::Text(&uuid.to_uppercase())), uuid);
    assert_eq!(text(Value::Text("Ada")), "Ada");
    for none in [Value::Null, Value::Unchanged] {
        assert_eq!(key_text(none).expect_err("no key").kind(), Kind::Data);
    }
}

#[test]
fn a_hash_depends_on_secret_subject_and_key() {
    let (secret, other) = (Secret::open(None).unwrap(), Secret::open(None).unwrap());
    let hash = secret.hash("users", "7");
    assert_eq!(hash, secret.hash("users", "7"));
    assert_eq!(hash.to_string().len(), 32);
    for different in [secret.hash("users", "8"), secret.hash("user", "s7"), other.hash("users", "7")] {
        assert_ne!(hash, different);
    }
}

/// What is in ledgers, topics and targets must be found again by every later version.
#[test]
fn what_is_derived_never_changes() {
    let secret = Secret::fixed(7);
    assert_eq!(secret.hash("users", "7").to_string(), "9926dffb963fe6949c5e3931cfdd807d");
    assert_eq!(secret.fingerprint(), "26844dc0896a59d8e85b841bf74c0fc7ddd6dd49433574c0a38851cfabe9ad28");
    let sealed = "AAECAwQFBgcICQoLE00eq+OUVwT9i6ErgwoLMGE5awQA8gHQUDVarHWEamq6nZp9YqYPVA1Hs5ebXDhG";
    assert_eq!(secret.unseal("case", sealed).unwrap(), b"ada");
}

#[test]
fn a_seal_opens_for_its_case_and_with_its_secret_only() {
    let (secret, other) = (Secret::open(None).unwrap(), Secret::open(None).unwrap());
    let sealed = secret.seal("case-1", b"ada@example.org").unwrap();
    assert_eq!(secret.unseal("case-1", &sealed).unwrap(), b"ada@example.org");
    assert_ne!(sealed, secret.seal("case-1", b"ada@example.org").unwrap(), "the nonce is random");
    assert_eq!(sealed.len(), secret.seal("case-1", b"7").unwrap().len(), "the length says little");
    for error in
        [secret.unseal("case-2", &sealed), other.unseal("case-1", &sealed), secret.unseal("case-1", "?")]
    {
        let error = error.expect_err("does not open");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.remedy().is_some() && !format!("{error:?}").contains("ada"));
    }
}

proptest! {
    #[test]
    fn what_is_sealed_comes_back_and_no_changed_byte_passes(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), flip in 1..=255u8,
    ) {
        let secret = Secret::open(None).unwrap();
        let sealed = secret.seal("case", &bytes).unwrap();
        prop_assert_eq!(secret.unseal("case", &sealed).unwrap(), bytes);
        let mut raw = BASE64.decode(sealed).unwrap();
        let at = at.index(raw.len());
        raw[at] ^= flip;
        prop_assert!(secret.unseal("case", &BASE64.encode(&raw)).is_err());
    }

    #[test]
    fn text_that_came_with_the_log_never_panics(text in ".*") {
        prop_assert!(Secret::open(None).unwrap().unseal("case", &text).is_err());
    }

    #[test]
    fn numbers_are_one_key_as_numbers_decimals_and_text(number in any::<i64>(), zeros in 0..4usize) {
        let kept = number.to_string();
        let decimal = format!("{number}.{}", "0".repeat(zeros));
        prop_assert_eq!(&text(Value::Int(number)), &kept);
        prop_assert_eq!(&text(Value::Text(&kept)), &kept);
        prop_assert_eq!(&text(Value::Decimal(&kept)), &kept);
        prop_assert_eq!(&text(Value::Decimal(&decimal)), &kept);
    }
}

#[test]
fn a_key_file_is_made_once_and_is_the_same_key_ever_after() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/erasure.key");
    assert_eq!(Secret::existing(&path).expect_err("none yet").kind(), Kind::Lost);
    let secret = Secret::open(Some(&path)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&path).unwrap().len(), SECRET_BYTES);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
    let again = Secret::open(Some(&path)).unwrap();
    assert_eq!(secret.fingerprint(), again.fingerprint());
    assert_eq!(secret.hash("users", "7"), Secret::existing(&path).unwrap().hash("users", "7"));
    let sealed = secret.seal("case", b"7").unwrap();
    assert_eq!(again.unseal("case", &sealed).unwrap(), b"7");
    assert!(
        UnparsedPublicKey::new(&ED25519, again.public_key()).verify(b"text", &secret.sign(b"text")).is_ok()
    );
}

#[test]
fn a_key_file_that_is_wrong_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("erasure.key");
    Secret::open(Some(&path)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Secret::open(Some(&path)).expect_err("others may read it");
    assert!(error.to_string().contains("others may read it (mode 640)"), "{error}");
    assert_eq!(error.remedy(), Some(&*format!("chmod 600 {}", path.display())));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for length in [0, SECRET_BYTES - 1, SECRET_BYTES + 1] {
        fs::write(&path, vec![1; length]).unwrap();
        let error = Secret::open(Some(&path)).expect_err("no key");
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("backup")));
        assert_eq!(fs::read(&path).unwrap().len(), length, "it is left as it was");
    }
}

#[test]
fn debug_shows_nothing() {
    assert_eq!(format!("{:?}", Secret::open(None).unwrap()), "Secret");
}
