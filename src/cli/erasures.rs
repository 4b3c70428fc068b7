//! `millstream erasures`: cases as tables, a case in words, and a certificate checked offline.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use comfy_table::{Table, presets};
use connector_api::{Error, Result};

use crate::erasure::certificate::{Report, Verdict, verify};
use crate::erasure::receipt::Done;
use crate::erasure::view::{CaseView, TargetView};

/// More than any certificate has: one of thousands of receipts is some megabytes.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Checks a certificate's file and prints what was found. True when nothing is wrong with it.
///
/// # Errors
/// When the file cannot be read. What is wrong with a certificate is no error of this call.
pub fn verify_file(path: &Path, fingerprint: Option<&str>, json: bool) -> Result<bool> {
    let bytes = read(path)?;
    let report = verify(&bytes, fingerprint);
    println!("{}", if json { super::pretty(&report)? } else { report_text(&report) });
    Ok(report.valid)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io(format!("read certificate {}", path.display()), error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::data(format!("read certificate {}: no certificate is that long", path.display())));
    }
    Ok(bytes)
}

/// What was found of a certificate, for people.
pub fn report_text(report: &Report) -> String {
    let mut table = new_table(&["", "CHECK", ""]);
    for check in &report.checks {
        let mark = match check.verdict {
            Verdict::Holds => "ok",
            Verdict::Fails => "WRONG",
            Verdict::Open => "you",
        };
        table.add_row([mark, check.what, &check.why]);
    }
    let case = report.case.as_deref().unwrap_or("unknown");
    let open = report.checks.iter().any(|check| check.verdict == Verdict::Open);
    let verdict = match (report.valid, open) {
        (false, _) => "NOT VALID",
        (true, true) => "valid, if the fingerprint is the operator's",
        (true, false) => "valid",
    };
    format!("case {case}: the certificate is {verdict}\n\n{table}")
}

/// Cases as a table.
pub fn list_text(cases: &[CaseView]) -> String {
    if cases.is_empty() {
        return "no erasures".to_owned();
    }
    let mut table = new_table(&[
        "CASE",
        "STATE",
        "SUBJECT",
        "KEY HASH",
        "OPENED",
        "DEADLINE",
        "COMPLETED",
        "RECEIPTS",
        "WAITS FOR",
    ]);
    for case in cases {
        let due = case.targets.iter().filter(|target| target.due).count();
        table.add_row([
            case.id.clone(),
            case.state.clone(),
            case.subject.clone(),
            case.key_hash.clone(),
            second(&case.opened_at),
            second(&case.deadline_at),
            case.completed_at.as_deref().map_or_else(dash, second),
            format!("{}/{due}", due - case.waits_for.len().min(due)),
            if case.waits_for.is_empty() { dash() } else { case.waits_for.join(", ") },
        ]);
    }
    table.to_string()
}

/// A case in full.
pub fn show_text(case: &CaseView) -> String {
    let mut out = format!(
        "case {} · {}\nsubject {} · key hash {}\nopened {} ({}) · due {} · {}\n",
        case.id,
        case.state,
        case.subject,
        case.key_hash,
        second(&case.opened_at),
        if case.trigger == crate::erasure::event::Trigger::Deleted {
            "deleted in the source"
        } else {
            "asked for"
        },
        second(&case.deadline_at),
        case.completed_at
            .as_deref()
            .map_or_else(|| "not complete".to_owned(), |at| format!("completed {}", second(at))),
    );
    if let Some(at) = case.checked_at.as_deref().filter(|at| Some(*at) != case.completed_at.as_deref()) {
        let found =
            if case.state == "violated" { "ROWS OF THE SUBJECT WERE FOUND" } else { "nothing was found" };
        out.push_str(&format!("looked at again {}: {found}\n", second(at)));
    }
    if case.returned {
        out.push_str("a new row of the subject came since\n");
    }
    for target in &case.targets {
        out.push_str(&target_text(target));
    }
    out
}

fn target_text(target: &TargetView) -> String {
    let mut out =
        format!("\n{} · {}{}", target.target, target.state, if target.due { "" } else { " · not due" });
    let Some(receipt) = &target.receipt else { return out + "\n" };
    out.push_str(&format!(
        " · {} · {}\n",
        receipt.kind,
        second(&crate::erasure::certificate::rfc3339(receipt.at_us))
    ));
    if !receipt.steps.is_empty() {
        let mut table = new_table(&["TABLE", "ACTION", "ROWS", "REASON"]);
        for step in &receipt.steps {
            table.add_row([
                step.table.clone(),
                action(step),
                step.rows.to_string(),
                step.reason.clone().unwrap_or_else(dash),
            ]);
        }
        out.push_str(&format!("{table}\n"));
    }
    out.extend(target.scrubbed_at.as_deref().map(|at| format!("bytes overwritten by {}\n", second(at))));
    out.extend(receipt.confirmed_by.as_ref().map(|by| format!("confirmed by {by}\n")));
    out.extend(receipt.remains.as_ref().map(|remains| format!("remains: {remains}\n")));
    out
}

fn action(step: &Done) -> String {
    if step.columns.is_empty() {
        step.action.clone()
    } else {
        format!("{} {}", step.action, step.columns.join(", "))
    }
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    table
}

/// Without parts of a second.
fn second(at: &str) -> String {
    match at.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => at.to_owned(),
    }
}

fn dash() -> String {
    "-".to_owned()
}
