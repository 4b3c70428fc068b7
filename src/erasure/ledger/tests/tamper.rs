//! Somebody writes into the tables, with the triggers out of the way: every change is found.

use rusqlite::types::Value as Sql;

use super::*;

/// A ledger of two complete cases, the second looked at again, and an open one.
fn written() -> Ledger {
    let ledger = ledger();
    complete(&ledger, 0);
    complete(&ledger, 1);
    ledger.note_scrub("case-1", "news", 22).unwrap();
    ledger.verified("case-1", 40, &[("news".into(), 1)]).unwrap();
    ledger.opened(2, &opened(2), &due()).unwrap();
    assert_eq!(ledger.chain_ok().unwrap(), Ok(()));
    ledger
}

fn break_in(ledger: &Ledger, sql: &str) -> usize {
    ledger.tamper(sql)
}

fn found(ledger: &Ledger) -> Broken {
    ledger.chain_ok().unwrap().expect_err("it was tampered with")
}

#[test]
fn triggers_refuse_what_is_not_an_append() {
    let ledger = written();
    for sql in [
        "UPDATE erasure_ledger SET entry = '{}' WHERE seq = 1",
        "DELETE FROM erasure_ledger WHERE seq = 1",
        "INSERT OR REPLACE INTO erasure_ledger SELECT * FROM erasure_ledger WHERE seq = 1",
        "INSERT INTO erasure_ledger SELECT 99, at_us, case_id, entry, prev_hash, hash FROM erasure_ledger WHERE seq = 1",
    ] {
        let error = ledger.state.lock().execute(sql, []).expect_err("refused");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

/// Every byte of every column that says something, turned over one by one.
#[test]
fn a_changed_byte_anywhere_in_the_ledger_is_found() {
    let ledger = written();
    break_in(&ledger, "DELETE FROM erasure_ledger WHERE 0");
    let count = ledger.head().unwrap().seq as i64;
    let mut flips = 0;
    for seq in 1..=count {
        for column in ["at_us", "case_id", "entry", "prev_hash", "hash"] {
            let select = format!("SELECT {column} FROM erasure_ledger WHERE seq = ?1");
            let update = format!("UPDATE erasure_ledger SET {column} = ?2 WHERE seq = ?1");
            let set = |value: &Sql| {
                ledger.state.lock().execute(&update, rusqlite::params![seq, value]).unwrap();
            };
            let kept: Sql = ledger.state.lock().query_row(&select, [seq], |row| row.get(0)).unwrap();
            for changed in changes(&kept) {
                set(&changed);
                let broken = found(&ledger);
                assert!(
                    broken.seq.is_some_and(|at| at == seq as u64 || at == seq as u64 + 1),
                    "{seq} {column}: {broken}"
                );
                flips += 1;
            }
            set(&kept);
        }
    }
    assert_eq!(ledger.chain_ok().unwrap(), Ok(()), "all is back");
    assert!(flips > 500, "{flips} changes");
}

/// A value with each of its bytes changed; of long ones every seventh.
fn changes(value: &Sql) -> Vec<Sql> {
    let stride = |length: usize| (0..length).step_by(if length > 64 { 7 } else { 1 });
    match value {
        Sql::Integer(number) => vec![Sql::Integer(number ^ 1), Sql::Integer(number + 1_000)],
        Sql::Text(text) => stride(text.len())
            .map(|at| {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1;
                Sql::Text(String::from_utf8(bytes).unwrap())
            })
            .collect(),
        Sql::Blob(bytes) => stride(bytes.len())
            .map(|at| {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1;
                Sql::Blob(bytes)
            })
            .collect(),
        other => panic!("{other:?} in the ledger"),
    }
}

#[test]
fn a_changed_case_or_receipt_is_found() {
    for sql in [
        "UPDATE erasure_cases SET subject = 'people' WHERE id = 'case-0'",
        "UPDATE erasure_cases SET key_hash = 'ff' WHERE id = 'case-0'",
        "UPDATE erasure_cases SET opened_by = 'asked' WHERE id = 'case-0'",
        "UPDATE erasure_cases SET opened_us = opened_us - 1 WHERE id = 'case-0'",
        "UPDATE erasure_cases SET deadline_us = deadline_us + 1 WHERE id = 'case-2'",
        "UPDATE erasure_cases SET completed_us = 29 WHERE id = 'case-0'",
        "UPDATE erasure_cases SET completed_us = 29, checked_us = 29, missing = 0 WHERE id = 'case-2'",
        "UPDATE erasure_cases SET missing = 0 WHERE id = 'case-2'",
        "UPDATE erasure_cases SET lifted = 3 WHERE id = 'case-0'",
        "UPDATE erasure_cases SET violated = 0 WHERE id = 'case-1'",
        "UPDATE erasure_cases SET checked_us = 41 WHERE id = 'case-1'",
        "DELETE FROM erasure_cases WHERE id = 'case-2'",
        "INSERT INTO erasure_cases SELECT 'made up', 9, subject, key_hash, sealed, opened_by, opened_us, deadline_us, missing,
         completed_us, lifted, checked_us, violated FROM erasure_cases WHERE id = 'case-0'",
        "UPDATE erasure_receipts SET receipt = replace(receipt, '\"rows\":1', '\"rows\":2') WHERE case_id = 'case-0'",
        "UPDATE erasure_receipts SET receipt = replace(receipt, '\"at_us\":20', '\"at_us\":21') WHERE case_id = 'case-0'",
        "UPDATE erasure_receipts SET target = 'other' WHERE case_id = 'case-0' AND target = 'news'",
        "UPDATE erasure_receipts SET scrubbed_us = 23 WHERE case_id = 'case-1' AND target = 'news'",
        "UPDATE erasure_receipts SET scrubbed_us = 23 WHERE case_id = 'case-0' AND target = 'news'",
        "UPDATE erasure_receipts SET due = 0 WHERE case_id = 'case-2' AND target = 'news'",
        "DELETE FROM erasure_receipts WHERE case_id = 'case-2' AND target = 'news'",
        "INSERT INTO erasure_receipts SELECT 'case-2', 'made up', 0, state, \"offset\", receipt, NULL FROM erasure_receipts
         WHERE case_id = 'case-0' AND target = 'news'",
        "UPDATE erasure_state SET head_mac = NULL",
        "UPDATE erasure_state SET head_mac = zeroblob(32)",
    ] {
        let ledger = written();
        assert!(break_in(&ledger, sql) > 0, "{sql}");
        let broken = found(&ledger);
        assert!(!broken.why.is_empty(), "{sql}: {broken}");
    }
}

#[test]
fn swapped_removed_and_cut_entries_are_found() {
    let swap = "UPDATE erasure_ledger SET (at_us, case_id, entry) = (SELECT at_us, case_id, entry FROM erasure_ledger AS other
                WHERE other.seq = 5 - erasure_ledger.seq) WHERE seq IN (2, 3)";
    for (sql, seq) in [
        (swap, 2),
        ("DELETE FROM erasure_ledger WHERE seq = 3", 3),
        ("DELETE FROM erasure_ledger WHERE seq = 1", 1),
        ("DELETE FROM erasure_ledger WHERE seq > 10", 10),
        ("DELETE FROM erasure_ledger", 0),
    ] {
        let ledger = written();
        break_in(&ledger, sql);
        assert_eq!(found(&ledger).seq, Some(seq), "{sql}");
    }
}

/// Somebody writes the whole chain anew, with right hashes: the hashes need no key, the mark on the head does.
#[test]
fn a_chain_written_anew_without_the_key_is_found_and_not_gone_on_with() {
    let ledger = written();
    let head = ledger.head().unwrap();
    // The same things happened, but for the last: the tables agree, every hash is right.
    let forger = self::ledger();
    complete(&forger, 0);
    complete(&forger, 1);
    let forged: Vec<Vec<Sql>> = {
        let connection = forger.state.lock();
        let mut statement = connection.prepare("SELECT * FROM erasure_ledger").unwrap();
        let row = |row: &rusqlite::Row<'_>| (0..6).map(|at| row.get(at)).collect();
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    };
    break_in(&ledger, "DELETE FROM erasure_ledger");
    for row in forged {
        let put = "INSERT INTO erasure_ledger VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        ledger.state.lock().execute(put, rusqlite::params_from_iter(row)).unwrap();
    }
    break_in(&ledger, "DELETE FROM erasure_receipts WHERE case_id = 'case-2'");
    break_in(&ledger, "DELETE FROM erasure_cases WHERE id = 'case-2'");
    break_in(&ledger, "UPDATE erasure_cases SET checked_us = completed_us, violated = 0");
    break_in(&ledger, "UPDATE erasure_receipts SET scrubbed_us = NULL");
    assert!(found(&ledger).why.contains("does not end where this service left it"));
    let error = ledger.opened(9, &opened(9), &due()).expect_err("does not make it look right");
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("backup")));
    assert!(!ledger.holds(&head).unwrap(), "a certificate that was signed before says so, too");
}

/// What cannot be found from the files alone: an older copy of all of them, which is whole in itself. A certificate that
/// was signed later tells.
#[test]
fn an_older_copy_is_told_by_a_later_certificate_only() {
    let ledger = ledger();
    complete(&ledger, 0);
    let older = ledger.head().unwrap();
    let secret = ledger.secret.clone();
    let copy = Ledger::on(State::open(None).unwrap(), &secret).unwrap();
    complete(&copy, 0);
    complete(&ledger, 1);
    let later = ledger.head().unwrap();
    assert_eq!(copy.chain_ok().unwrap(), Ok(()));
    assert!(copy.holds(&older).unwrap() && !copy.holds(&later).unwrap());
}

#[test]
fn a_proof_that_was_changed_is_refused() {
    let ledger = written();
    let proof = ledger.proof("case-0").unwrap().expect("a proof");
    assert!(proof.entries("case-1").is_err(), "of another case");
    type Spoil = fn(&mut Proof);
    let spoilt: [(&str, Spoil); 6] = [
        ("head", |proof| proof.head.hash.0[0] ^= 1),
        ("number of the head", |proof| proof.head.seq += 1),
        ("nothing", |proof| proof.links.clear()),
        ("a link less", |proof| drop(proof.links.remove(1))),
        ("the first link less", |proof| drop(proof.links.remove(0))),
        ("links swapped", |proof| proof.links.swap(1, 2)),
    ];
    for (what, spoil) in spoilt {
        let mut changed = proof.clone();
        spoil(&mut changed);
        assert!(changed.entries("case-0").is_err(), "{what}");
    }
    for at in 0..proof.links.len() {
        let mut changed = proof.clone();
        changed.links[at].prev.0[31] ^= 1;
        assert!(changed.entries("case-0").is_err(), "prev of {at}");
        let mut changed = proof.clone();
        if let Some(entry) = &mut changed.links[at].entry {
            entry.text = entry.text.replace("sqlite", "sqlith").replace("case-0\",\"sub", "case-0\", \"sub");
            entry.at_us += 1;
        } else {
            changed.links[at].body = Some(Digest([7; 32]));
        }
        assert!(changed.entries("case-0").is_err(), "what {at} says");
    }
}
