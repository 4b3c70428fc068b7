//! What `millstream check` says about a SQLite sink, without changing anything.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use connector_api::options::Size;
use connector_api::{Error, Finding, Result, Severity, Target};
use connector_sql::{Rights, names::check_target};
use rusqlite::{Connection, OpenFlags};

use crate::Wanted;
use crate::catalog::{self, Object};
use crate::dialect::Lite;
use crate::error::{Context, from_rusqlite};
use crate::evolve::is_ours;
use crate::migrate;
use crate::options::Options;

/// Less free space than this is a warning: the WAL alone grows to 80 MiB between checkpoints.
const DISK_LOW_BYTES: u64 = 1 << 30;

/// How long the check waits for another writer.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Checks the file, and the target tables. Blocks for up to half a second.
pub fn check(options: &Options, targets: &[Arc<Target>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = options.path.as_path();
    let connection = match check_file(path, &mut findings) {
        Ok(connection) => connection,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    if let Some(connection) = connection.as_ref().filter(|_| options.erases) {
        match freed_pages(connection, path) {
            Ok(finding) => findings.extend(finding),
            Err(error) => findings.push(of_error("sqlite-unreadable", path, error)),
        }
    }
    for target in targets {
        match check_target(&Lite, target) {
            Err(error) => findings.push(of_error("sqlite-mapping", path, error)),
            Ok(()) => {
                check_table(options, connection.as_ref(), &Wanted { target, dialect: &Lite }, &mut findings)
            }
        }
    }
    findings
}

fn check_table(
    options: &Options,
    connection: Option<&Connection>,
    wanted: &Wanted<'_>,
    findings: &mut Vec<Finding>,
) {
    let read = |connection| {
        Ok::<_, Error>((
            catalog::read(connection, &wanted.target.table)?,
            is_ours(connection, &wanted.target.table)?,
        ))
    };
    let (object, ours) = match connection.map_or(Ok((Object::Missing, false)), read) {
        Ok(found) => found,
        Err(error) => return findings.push(of_error("sqlite-unreadable", &options.path, error)),
    };
    let rights = Rights { create: options.create_tables, ours };
    findings.extend(connector_sql::evolve::findings(wanted, &object, rights));
}

/// Pages that were freed before deleted rows were overwritten: what was in them is there still. After a VACUUM there is none.
pub fn freed_pages(connection: &Connection, path: &Path) -> Result<Option<Finding>> {
    if migrate::overwrites(connection)? {
        return Ok(None);
    }
    let what = "count free pages";
    let free: i64 = connection.query_row("PRAGMA freelist_count", [], |row| row.get(0)).context(what)?;
    let shown = path.display();
    Ok((free > 0).then(|| {
        let what = format!(
            "{free} pages were freed before deleted rows were overwritten (secure_delete), and may hold what was erased"
        );
        Finding::new(Severity::Warning, "sqlite-erasure-freed-pages", shown.to_string(), what)
            .with_remedy(format!("sqlite3 '{shown}' 'VACUUM' (while the sink is stopped)"))
    }))
}

fn of_error(code: &'static str, path: &Path, error: Error) -> Finding {
    let finding = Finding::new(Severity::Error, code, path.display().to_string(), error.to_string());
    match error.remedy() {
        Some(remedy) => finding.with_remedy(remedy),
        None => finding,
    }
}

/// Looks at folder, disk and file. `Ok(None)` when the file is yet to be made.
fn check_file(path: &Path, findings: &mut Vec<Finding>) -> Result<Option<Connection>, Finding> {
    let place = path.display().to_string();
    let error = |code, what: &str| Finding::new(Severity::Error, code, place.clone(), what);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let shown = folder.display();
    if !folder.is_dir() {
        return Err(error("sqlite-folder-missing", "its folder does not exist")
            .with_remedy(format!("mkdir -p '{shown}'")));
    }
    if rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_err() {
        return Err(error(
            "sqlite-folder-read-only",
            "this user cannot write its folder, where SQLite keeps the WAL",
        )
        .with_remedy(format!("chown \"$(id -u)\" '{shown}' (as an administrator)")));
    }
    if let Ok(disk) = rustix::fs::statvfs(folder) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < DISK_LOW_BYTES {
            let what = format!("{} of disk are left", Size(free));
            findings.push(Finding::new(Severity::Warning, "sqlite-disk-low", place.clone(), what));
        }
    }
    match path.metadata() {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(error("sqlite-unreadable", &format!("the file cannot be read: {cause}"))),
        Ok(facts) if !facts.is_file() => return Err(error("sqlite-not-a-file", "this is not a file")),
        Ok(_) => {}
    }
    if rustix::fs::access(path, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK).is_err() {
        return Err(error("sqlite-read-only", "this user cannot write the file")
            .with_remedy(format!("chown \"$(id -u)\" '{place}' (as an administrator)")));
    }
    open(path, findings).map(Some)
}

/// Opens the file and asks for the writer's lock, which is given back at once.
fn open(path: &Path, findings: &mut Vec<Finding>) -> Result<Connection, Finding> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    let connection: Connection = open().map_err(|error: rusqlite::Error| {
        of_error("sqlite-unreadable", path, from_rusqlite(error, "open database"))
    })?;
    if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        let finding = of_error("sqlite-locked", path, from_rusqlite(error, "lock database for writing"));
        findings.push(Finding { severity: Severity::Warning, ..finding });
    }
    Ok(connection)
}
