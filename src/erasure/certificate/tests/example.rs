//! The case of the documents: a shop with billing, recommendations and a mailer, and a person who leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::erasure::event::{Lifted, Opened};
use crate::erasure::ledger::Ledger;
use crate::erasure::receipt::{LOG, Receipt};
use crate::state::State;

pub const CASE: &str = "er-019ab6c25d107f3e8a416a3f1c0d9e27";
pub const OTHER: &str = "er-019ab6c260027b119c550b8e7d2f4a90";

/// A time of 24 November 2026.
pub fn at(minute: i64, second: i64) -> i64 {
    1_795_539_600_000_000 + (minute * 60 + second) * 1_000_000
}

pub struct Example {
    pub ledger: Ledger,
    pub secret: Secret,
    pub rules: Subject,
}

impl Example {
    pub fn new() -> Example {
        let secret = Secret::fixed(7);
        let ledger = Ledger::on(State::open(None).unwrap(), &secret).unwrap();
        let due = ["billing", "recommendations", "mailer", LOG].map(str::to_owned);
        let open = |offset: u64, case: &str, key: &str, at: i64| {
            let opened = Opened {
                case: case.into(),
                subject: "users".into(),
                key_hash: secret.hash("users", key).to_string(),
                sealed: "sealed".into(),
                trigger: Trigger::Deleted,
                opened_us: at,
                deadline_us: at + 30 * 86_400_000_000,
                sinks: due[..3].to_vec(),
            };
            ledger.opened(offset, &opened, &due).unwrap();
        };
        open(41, CASE, "4711", at(0, 0));
        open(42, OTHER, "4712", at(0, 1));
        ledger.prepare(&receipt(CASE, "billing", "postgres", &[
            done("invoices", "set", &["name", "email"], 3, Some("tax law: invoices are kept for 10 years")),
            done("customers", "delete", &[], 1, None),
        ], Some("Deleted rows stay in the table's file until VACUUM, in WAL until it is recycled, and in backups until these expire."))).unwrap();
        ledger.finish(CASE, "billing", at(0, 2)).unwrap();
        ledger
            .receive(&receipt(
                OTHER,
                "recommendations",
                "sqlite",
                &[done("viewed", "delete", &[], 9, None)],
                None,
            ))
            .unwrap();
        ledger
            .receive(&Receipt {
                at_us: at(0, 3),
                ..receipt(
                    CASE,
                    "recommendations",
                    "sqlite",
                    &[done("viewed", "delete", &[], 214, None)],
                    Some("Nothing inside of the database's files. Backups of them go when they expire."),
                )
            })
            .unwrap();
        ledger.note_scrub(CASE, "recommendations", at(0, 4)).unwrap();
        ledger
            .receive(&Receipt {
                at_us: at(1, 30),
                verified: false,
                confirmed_by: Some("mailer's callback".into()),
                ..receipt(CASE, "mailer", "http", &[], None)
            })
            .unwrap();
        let topics = [
            done("shop.public.users", "delete", &[], 5, None),
            done("shop.public.orders", "set", &["email"], 3, None),
        ];
        ledger.receive(&Receipt {
            at_us: at(2, 0),
            ..receipt(CASE, LOG, LOG, &topics, Some("Rewritten files are deleted: what snapshots and backups keep of them goes when these do."))
        }).unwrap();
        ledger.complete(CASE, at(2, 1)).unwrap();
        let left = ["billing", "recommendations", LOG].map(|target| (target.to_owned(), 0));
        ledger.verified(CASE, at(10, 0), &left).unwrap();
        Example { ledger, secret, rules: rules() }
    }

    pub fn issue(&self) -> Issue<'_> {
        Issue {
            ledger: &self.ledger,
            secret: &self.secret,
            rules: Some(&self.rules),
            service: "3f2a9c",
            at_us: at(15, 0),
        }
    }

    pub fn certificate(&self) -> Certificate {
        self.issue().certificate(CASE).expect("a certificate")
    }

    /// The person came back with a new row.
    pub fn lift(&self) {
        let key_hash = self.secret.hash("users", "4711").to_string();
        let lifted = Lifted { case: CASE.into(), subject: "users".into(), key_hash };
        self.ledger.lifted(50, &lifted, at(11, 0)).unwrap();
    }
}

fn done(table: &str, action: &str, columns: &[&str], rows: u64, reason: Option<&str>) -> Done {
    Done {
        table: table.into(),
        action: action.into(),
        columns: columns.iter().map(|&name| name.into()).collect(),
        rows,
        left: 0,
        reason: reason.map(str::to_owned),
    }
}

fn receipt(case: &str, target: &str, kind: &str, steps: &[Done], remains: Option<&str>) -> Receipt {
    Receipt {
        case: case.into(),
        target: target.into(),
        kind: kind.into(),
        steps: steps.to_vec(),
        verified: true,
        offset: 41,
        at_us: at(0, 2),
        remains: remains.map(str::to_owned),
        confirmed_by: None,
    }
}

fn rules() -> Subject {
    let reason = "it holds monthly sums only, which are of nobody";
    Subject {
        name: "users".into(),
        topic: "shop.public.users".into(),
        key: "id".into(),
        deadline: Duration::from_secs(30 * 86_400),
        overdue_not_ready: false,
        verify_every: None,
        sinks: BTreeMap::from([("statistics".to_owned(), Coverage::Exempt(reason.into()))]),
        log: LogRule::Purge,
        topics: Vec::new(),
    }
}

#[test]
fn a_person_who_came_back_is_told_of() {
    let example = Example::new();
    assert_eq!(example.ledger.chain_ok().unwrap(), Ok(()));
    example.lift();
    let returned = example.certificate();
    assert_eq!(returned.case.returned_at.as_deref(), Some("2026-11-24T17:11:00Z"));
    assert!(page(&returned).contains("a new record with the same key"));
}
