//! The story's end: a user leaves while others go on, and it is looked whether anything is left anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use connector_api::{Error, Result};
use throwaway_servers::postgres::Session;

use super::{Demo, PATIENCE, command, copies, note, span, step};
use crate::erasure::receipt::{Done, Receipt};
use crate::erasure::view::CaseView;

/// The one who leaves.
const ID: i64 = 42;
/// Two who stay.
const OTHERS: [i64; 2] = [41, 43];
/// An address that user 42 had for a while only.
const INTERIM: &str = "forty-two@interim.example";
/// How the shop names user 42 by then.
const LATEST: &str = "douglas@h2g2.example";

/// The section of the configuration.
pub const YAML: &str = r#"erasure:
  users:
    subject: {topic: shop.public.users, key: id}
    sinks:
      billing:
        - {table: invoices, match: user_id, action: {set: {bill_to: null, email: {hash: key}}}, reason: "tax law: kept for 10 years"}
        - {table: orders, match: user_id, action: delete}
        - {table: customers, match: id, action: delete}
      newsletter: [{table: recipients, match: id, action: delete}]
      analytics:
        - {table: orders, match: user_id, action: delete}
        - {table: users, match: id, action: delete}
      notifications: notify
"#;

/// Tells it.
///
/// # Errors
/// When something of the user is left, or something of others is gone.
pub fn user_leaves(demo: &mut Demo) -> Result<()> {
    step("User 42 changes the e-mail address twice, and leaves under load: DELETE FROM users WHERE id = 42");
    for email in [INTERIM, LATEST] {
        demo.shop.execute(&format!("UPDATE users SET email = '{email}' WHERE id = {ID}"));
    }
    demo.agreed()?;
    demo.until("the webhook knows user 42", || Ok(demo.notified.known().people.contains_key(&ID)))?;
    let before = traces(demo.directory.path(), &person(ID));
    let rows = demo.found(ID)?;
    if rows == 0 || before.is_empty() {
        return Err(Error::data("nothing of user 42 is found while the user is there: the search is wrong"));
    }
    note(&format!(
        "before: {rows} rows in five tables, an invoice, and the person's name, phone or e-mails in {}",
        files(&before)
    ));

    let load = Load::start(demo.server.session("shop"));
    demo.shop.execute(&format!("DELETE FROM users WHERE id = {ID}"));
    let committed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
    let case = complete(demo)?;
    times(&case, committed);
    rows_are_gone(demo, &case)?;
    bytes_are_gone(demo)?;
    told(demo, &case)?;
    certified(demo, &case)?;
    receipts(&case);
    returns(demo)?;
    note(&format!("{} transactions of other users were made meanwhile", load.stop()?));
    demo.agreed().map(drop)
}

/// Waits until the case is complete.
fn complete(demo: &Demo) -> Result<CaseView> {
    let began = Instant::now();
    loop {
        let output = erasures(demo, &["list", "--json"])?;
        let cases: Vec<CaseView> = serde_json::from_slice(&output.stdout).map_err(|error| {
            Error::data("read what `millstream erasures list --json` says").caused_by(error)
        })?;
        match <[CaseView; 1]>::try_from(cases) {
            Ok([case]) if case.state == "completed" => return Ok(case),
            Err(cases) if cases.len() > 1 => {
                return Err(Error::data(format!("one user left, and there are {} cases", cases.len())));
            }
            seen if began.elapsed() > PATIENCE => {
                return Err(Error::data(format!("the case is not complete after {PATIENCE:?}: {seen:?}")));
            }
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn times(case: &CaseView, committed: i64) {
    let at = |log: bool| {
        let receipts = case.targets.iter().filter_map(|target| target.receipt.as_ref());
        let times = receipts.filter(|receipt| (receipt.target == "log") == log).map(|receipt| receipt.at_us);
        let last = times.max().unwrap_or(committed);
        span(Duration::from_micros(u64::try_from(last - committed).unwrap_or(0)))
    };
    note(&format!(
        "every service gave its receipt within {}, the log {} after the commit: case {} is complete",
        at(false),
        at(true),
        case.id
    ));
}

/// What the services have in rows.
fn rows_are_gone(demo: &Demo, case: &CaseView) -> Result<()> {
    let left = demo.found(ID)?;
    let sql = format!("SELECT bill_to, email FROM invoices WHERE user_id = {ID}");
    let invoices = copies::rows(&demo.directory.path().join("billing.db"), &sql)?;
    let wanted = [["NULL".to_owned(), case.key_hash.clone()]];
    if left != 0 || invoices != wanted {
        return Err(Error::data(format!(
            "{left} rows of user 42 are left, and the invoice says {invoices:?}"
        )));
    }
    note(
        "after: 0 rows in the five tables; billing keeps the invoice, with a code instead of the e-mail, and no name",
    );
    Ok(())
}

/// What the files have in bytes: those of the log, of its state and of every service, with their write-ahead logs.
fn bytes_are_gone(demo: &Demo) -> Result<()> {
    let directory = demo.directory.path();
    let left = traces(directory, &person(ID));
    if let Some((file, trace)) = left.iter().next() {
        return Err(Error::data(format!("{} still holds {trace:?} of user 42", file.display())));
    }
    for id in OTHERS {
        let found = traces(directory, &person(id));
        let in_log = found.keys().any(|file| file.starts_with(directory.join("data")));
        if found.len() < 4 || !in_log {
            return Err(Error::data(format!("user {id} stays, and is found in {} only", files(&found))));
        }
    }
    let all = every_file(directory);
    let bytes: u64 = all.iter().filter_map(|file| fs::metadata(file).ok()).map(|data| data.len()).sum();
    note(&format!(
        "a search through all {} files ({:.1} MiB: the log, state.db, the SQLite files, every -wal) finds neither e-mail, name nor \
         phone; users 41 and 43 are found as before",
        all.len(),
        bytes as f64 / f64::from(1 << 20)
    ));
    Ok(())
}

/// The service behind the webhook was told, once.
fn told(demo: &Demo, case: &CaseView) -> Result<()> {
    let known = demo.notified.known();
    if known.cases != [case.id.clone()] || known.people.contains_key(&ID) {
        return Err(Error::data(format!(
            "the webhook was told of {:?}, and should be of {} once",
            known.cases, case.id
        )));
    }
    note(&format!(
        "the webhook was told once, with the case's id, and forgot 1 of {} people",
        known.people.len() + 1
    ));
    Ok(())
}

/// The certificate is valid, says nothing personal, and shows a change.
fn certified(demo: &Demo, case: &CaseView) -> Result<()> {
    let issued = erasures(demo, &["certificate", &case.id])?;
    let verify = |name: &str, bytes: &[u8]| {
        let file = demo.directory.path().join(name);
        fs::write(&file, bytes).map_err(|error| Error::io("write the certificate", error))?;
        let verified = command()?.args(["erasures", "verify"]).arg(&file).output();
        verified
            .map(|output| (file, output))
            .map_err(|error| Error::io("run millstream erasures verify", error))
    };
    let (file, verified) = verify("certificate.json", &issued.stdout)?;
    let text = String::from_utf8_lossy(&issued.stdout);
    if !issued.status.success() || !verified.status.success() {
        return Err(Error::data(format!(
            "no valid certificate: {}",
            String::from_utf8_lossy(&verified.stdout)
        )));
    }
    if person(ID).iter().any(|trace| text.contains(&**trace)) {
        return Err(Error::data(format!("{} holds something personal", file.display())));
    }
    let changed = text.replacen("\"rows\": 1", "\"rows\": 2", 1);
    let (_, refused) = verify("changed.json", changed.as_bytes())?;
    if changed == text || refused.status.code() != Some(3) {
        return Err(Error::data("a changed certificate is taken for a valid one"));
    }
    note(&format!(
        "the certificate ({} bytes, signed) is valid, and holds nothing personal; with one digit changed it is refused:",
        text.len()
    ));
    String::from_utf8_lossy(&verified.stdout).lines().for_each(|line| println!("      {}", line.trim_end()));
    Ok(())
}

/// The receipts in words.
fn receipts(case: &CaseView) {
    note("the receipts in it:");
    for Receipt { target, steps, .. } in case.targets.iter().filter_map(|target| target.receipt.as_ref()) {
        let mut name = &**target;
        for step in steps {
            println!("      {name:<14} {}", words(step));
            name = "";
        }
    }
}

fn words(done: &Done) -> String {
    let Done { table, action, columns, rows, reason, .. } = done;
    let what = match &**action {
        "delete" => format!("{table}: {rows} deleted"),
        "set" => format!("{table}: {} overwritten in {rows}", columns.join(", ")),
        "told" => format!("told, and says that {rows} are forgotten"),
        other => format!("{table}: {rows} {other}"),
    };
    what + &reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// Somebody else gets the number 42.
fn returns(demo: &Demo) -> Result<()> {
    demo.shop.execute(&format!(
        "INSERT INTO users(id, email, name) VALUES ({ID}, 'new@example.org', 'Somebody new')"
    ));
    let took = demo.until("a new user 42 is in every copy", || {
        let notified = demo.notified.known().people.get(&ID).is_some_and(|(name, _)| name == "Somebody new");
        Ok(notified && demo.found(ID)? == 3)
    })?;
    note(&format!("a new user with the number 42 signs up, and is everywhere {took} later"));
    Ok(())
}

fn erasures(demo: &Demo, arguments: &[&str]) -> Result<Output> {
    let mut command = command()?;
    command.arg("erasures").arg(&demo.config).args(arguments);
    command.output().map_err(|error| Error::io("run millstream erasures", error))
}

/// What names a user, and no other user: user 42 had three addresses.
fn person(id: i64) -> Vec<String> {
    let mut traces =
        vec![format!("user{id}@example.org"), format!("User {id:04}"), format!("+49 30 {}", 100_000 + id)];
    if id == ID {
        traces.extend([INTERIM.to_owned(), LATEST.to_owned()]);
    }
    traces
}

/// The files below a folder that hold one of these as bytes, each with the first one.
fn traces(directory: &Path, traces: &[String]) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for file in every_file(directory) {
        // A segment may be gone by now.
        let bytes = fs::read(&file).unwrap_or_default();
        let holds = |trace: &&String| bytes.windows(trace.len()).any(|window| window == trace.as_bytes());
        if let Some(trace) = traces.iter().find(holds) {
            found.insert(file, trace.clone());
        }
    }
    found
}

fn every_file(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(place) else { return Vec::new() };
    entries.flatten().flat_map(|entry| every_file(&entry.path())).collect()
}

fn files(found: &BTreeMap<PathBuf, String>) -> String {
    let names = found.keys().filter_map(|file| file.file_name()?.to_str());
    format!("{} files: {}", found.len(), names.collect::<Vec<_>>().join(", "))
}

/// Other users' changes, on a thread of its own.
struct Load {
    stop: Arc<AtomicBool>,
    transactions: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    fn start(session: Session) -> Load {
        let (stop, transactions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, count) = (stop.clone(), transactions.clone());
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                if until.load(Ordering::Relaxed) {
                    break;
                }
                let (new, other) = (100_000 + number, 1_000 + number % 1_000);
                session.execute(&format!(
                    "INSERT INTO users(id, email, name) VALUES ({new}, 'visitor{new}@example.org', 'Visitor {new}');
                     UPDATE users SET email = 'again{number}.{other}@example.org' WHERE id = {other};
                     INSERT INTO orders(user_id, amount) VALUES ({other}, 1)"
                ));
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Load { stop, transactions, thread: Some(thread) }
    }

    fn stop(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        match self.transactions.load(Ordering::Relaxed) {
            0 => Err(Error::data("there was no load")),
            _ if !ended => Err(Error::data("the load failed")),
            count => Ok(count),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
