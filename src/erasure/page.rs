//! A certificate as one page of HTML, for a person who does not program: to read, to print, to file. No script, nothing
//! that is loaded; every word of the certificate is escaped.
//!
//! The page is a rendering. What is signed is the certificate's JSON, and the page says so.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

#[cfg(test)]
mod tests;
mod words;

use std::fmt::{self, Display, Write as _};

use crate::erasure::certificate::{Certificate, Certified};
use crate::erasure::event::Trigger;
use crate::erasure::receipt::LOG;

const STYLE: &str = "\
body{font:16px/1.5 Georgia,'Times New Roman',serif;color:#1a1a1a;background:#fff;max-width:46rem;margin:2rem auto;padding:0 1.25rem}\
h1{font-size:1.7rem;margin:0 0 .25rem}h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:1px solid #bbb}\
h3{font-size:1rem;margin:1.25rem 0 .25rem}table{border-collapse:collapse;width:100%;margin:.5rem 0}\
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #ddd}\
th{font-weight:600;white-space:nowrap}code{font:.85em/1.4 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}\
.note{background:#f4f4f0;padding:.6rem .9rem;border-left:3px solid #777}.bad{border-color:#a00;background:#fbeeee}\
@media print{body{margin:0;max-width:none;font-size:11pt}h2,h3{break-after:avoid}table,.note{break-inside:avoid}}";

/// Text in HTML: no tag and no attribute can come out of it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            other => f.write_char(other),
        })
    }
}

/// The page of a certificate. Does not check it: [`crate::erasure::certificate::verify()`] does.
pub fn page(certificate: &Certificate) -> String {
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = write_page(&mut out, certificate);
    out
}

fn write_page(out: &mut String, certificate: &Certificate) -> fmt::Result {
    let id = Escaped(&certificate.case.id);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Certificate of erasure {id}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )?;
    summary(out, certificate)?;
    case(out, certificate)?;
    writeln!(out, "<h2>What was done, and where</h2>")?;
    certificate.receipts.iter().try_for_each(|receipt| target(out, receipt))?;
    not_erased(out, certificate)?;
    later(out, certificate)?;
    checking(out, certificate)?;
    writeln!(out, "</body>\n</html>")
}

fn summary(out: &mut String, certificate: &Certificate) -> fmt::Result {
    let case = &certificate.case;
    let (own, told): (Vec<&Certified>, Vec<&Certified>) =
        certificate.receipts.iter().partition(|receipt| receipt.confirmed_by.is_none());
    let names =
        |receipts: &[&Certified]| words::list(receipts.iter().map(|receipt| words::target(&receipt.target)));
    writeln!(out, "<h1>Certificate of erasure</h1>")?;
    writeln!(
        out,
        "<p>The data of one person, of the kind <b>{}</b>, was erased from {}. The case opened on {}, and was complete on {}.</p>",
        Escaped(&case.subject),
        Escaped(&names(&own)),
        day(&case.opened_at),
        day(&case.completed_at)
    )?;
    if !told.is_empty() {
        writeln!(
            out,
            "<p>It was also passed on to {}, where this service cannot look, and was confirmed from there.</p>",
            Escaped(&names(&told))
        )?;
    }
    if does_not_hold(certificate) {
        writeln!(
            out,
            "<p class=\"note bad\"><b>The erasure does not hold any more:</b> see “Later checks”.</p>"
        )?;
    }
    writeln!(
        out,
        "<p>This page does not say who the person is. It knows the person by a code, which only the service that made this page \
         can compute: <code>{}</code>.</p>",
        Escaped(&case.key_hash)
    )
}

fn case(out: &mut String, certificate: &Certificate) -> fmt::Result {
    let case = &certificate.case;
    writeln!(out, "<h2>The case</h2>\n<table>")?;
    let trigger = match case.trigger {
        Trigger::Deleted => "The person’s record was deleted in the source system",
        Trigger::Asked => "An operator asked for it",
    };
    row(out, "Case", Escaped(&case.id))?;
    row(out, "Why it opened", trigger)?;
    row(out, "Opened", Escaped(&case.opened_at))?;
    row(out, "Had to be done by", Escaped(&case.deadline_at))?;
    row(out, "Complete", Escaped(&case.completed_at))?;
    row(
        out,
        "In time",
        if case.completed_at <= case.deadline_at { "Yes" } else { "No: it was complete after the deadline" },
    )?;
    if let Some(returned) = &case.returned_at {
        row(
            out,
            "New record",
            format_args!(
                "On {} a new record with the same key was made. It is a new beginning: what is described here stays erased.",
                day(returned)
            ),
        )?;
    }
    row(
        out,
        "Service",
        format_args!(
            "{} {}, log {}",
            Escaped(&certificate.issuer.program),
            Escaped(&certificate.issuer.version),
            Escaped(&certificate.issuer.service)
        ),
    )?;
    row(out, "Certificate made", Escaped(&certificate.issued_at))?;
    writeln!(out, "</table>")
}

fn target(out: &mut String, receipt: &Certified) -> fmt::Result {
    let name = words::target(&receipt.target);
    writeln!(out, "<h3>{} <small>({})</small></h3>", Escaped(&name), Escaped(&receipt.kind))?;
    steps(out, receipt)?;
    write!(out, "<p>Committed {}. {}", Escaped(&receipt.committed_at), words::verified(receipt))?;
    if let Some(by) = &receipt.confirmed_by {
        write!(out, " Confirmed by {}.", Escaped(by))?;
    }
    if let Some(scrubbed) = &receipt.scrubbed_at {
        write!(out, " The bytes under the rows were overwritten by {}.", Escaped(scrubbed))?;
    }
    writeln!(out, "</p>")?;
    match &receipt.remains {
        Some(remains) => {
            writeln!(out, "<p class=\"note\"><b>What remains there:</b> {}</p>", Escaped(remains))
        }
        None => Ok(()),
    }
}

fn steps(out: &mut String, receipt: &Certified) -> fmt::Result {
    if receipt.steps.is_empty() {
        return writeln!(out, "<p>It was told of the erasure, and carried it out itself.</p>");
    }
    let what = if receipt.target == LOG { "Topic" } else { "Table" };
    writeln!(out, "<table>\n<tr><th>{what}</th><th>What was done</th><th>Reason</th></tr>")?;
    for step in &receipt.steps {
        let reason = step.reason.as_deref().unwrap_or("–");
        let done = words::done(step, receipt.target == LOG);
        let (table, done, reason) = (Escaped(&step.table), Escaped(&done), Escaped(reason));
        writeln!(out, "<tr><td>{table}</td><td>{done}</td><td>{reason}</td></tr>")?;
    }
    writeln!(out, "</table>")
}

fn not_erased(out: &mut String, certificate: &Certificate) -> fmt::Result {
    writeln!(out, "<h2>What was not erased, and why</h2>")?;
    let kept = certificate.receipts.iter().flat_map(|receipt| {
        receipt
            .steps
            .iter()
            .filter(|step| step.action != "delete" && step.rows > 0)
            .map(move |step| (receipt, step))
    });
    let log = certificate.log.as_ref().and_then(|log| log.reason.as_ref());
    let mut lines = Vec::new();
    for (receipt, step) in kept {
        let reason = step.reason.as_deref().unwrap_or("no reason is stated");
        lines.push(format!(
            "{}, {}: {} Reason: {reason}",
            words::target(&receipt.target),
            step.table,
            words::kept(step, receipt.target == LOG)
        ));
    }
    for exempt in &certificate.exempt {
        lines.push(format!(
            "{}: nothing was asked of it. Reason: {}",
            words::target(&exempt.sink),
            exempt.reason
        ));
    }
    lines.extend(log.map(|reason| {
        format!("The log keeps the person’s changes until its retention removes them. Reason: {reason}")
    }));
    if lines.is_empty() {
        return writeln!(out, "<p>Nothing, in the systems that this certificate is about.</p>");
    }
    writeln!(out, "<ul>")?;
    lines.iter().try_for_each(|line| writeln!(out, "<li>{}</li>", Escaped(line)))?;
    writeln!(out, "</ul>")
}

fn later(out: &mut String, certificate: &Certificate) -> fmt::Result {
    writeln!(out, "<h2>Later checks</h2>")?;
    if certificate.verifications.is_empty() {
        return writeln!(
            out,
            "<p>It was not looked again since. Right after the erasure each system was asked once more, in the same step.</p>"
        );
    }
    writeln!(out, "<table>\n<tr><th>When</th><th>What was found</th></tr>")?;
    for looked in &certificate.verifications {
        let found = words::looked(looked);
        writeln!(out, "<tr><td>{}</td><td>{}</td></tr>", Escaped(&looked.at), Escaped(&found))?;
    }
    writeln!(out, "</table>")?;
    if does_not_hold(certificate) {
        let note = "<b>The erasure does not hold any more:</b> the last check found rows of the person.";
        writeln!(out, "<p class=\"note bad\">{note}</p>")?;
    }
    Ok(())
}

fn does_not_hold(certificate: &Certificate) -> bool {
    certificate.verifications.last().is_some_and(|last| last.left.iter().any(|left| left.left > 0))
}

fn checking(out: &mut String, certificate: &Certificate) -> fmt::Result {
    writeln!(out, "<h2>How to check this</h2>")?;
    writeln!(
        out,
        "<p>This page is made for reading and proves nothing by itself: anybody can write a page. The proof is the file that came with it \
         (JSON), which is signed. Check it, without any connection to the service, with</p>\n\
         <p><code>millstream erasures verify FILE --fingerprint {}</code></p>",
        Escaped(&certificate.fingerprint)
    )?;
    writeln!(
        out,
        "<p>The fingerprint must be the one that the operator of the service has published. That it stands here is no evidence.</p>\n<table>"
    )?;
    let head = &certificate.proof.head;
    row(out, "Fingerprint of the key", format_args!("<code>{}</code>", Escaped(&certificate.fingerprint)))?;
    row(out, "Signature", format_args!("<code>{}</code>", Escaped(&certificate.signature)))?;
    row(out, "Ledger", format_args!("entry {}, <code>{}</code>", head.seq, hex::encode(head.hash.0)))?;
    writeln!(out, "</table>")?;
    writeln!(
        out,
        "<p>This certificate is about the systems that are named above. It does not speak for backups, for copies that people or other \
         programs have taken, or for what lies below a database on the disk, except where it says so.</p>"
    )
}

fn row(out: &mut String, name: &str, value: impl Display) -> fmt::Result {
    writeln!(out, "<tr><th>{name}</th><td>{value}</td></tr>")
}

/// The day of a time.
fn day(at: &str) -> Escaped<'_> {
    Escaped(at.split('T').next().unwrap_or(at))
}
