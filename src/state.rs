//! The service's state database: what the log does not hold and a restart must find again. One SQLite file beside the
//! log, or one in memory for the memory engine; dead letters and the ledger of erasures share it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use connector_api::{Error, Result};
use rusqlite::Connection;

const MIGRATIONS: [&str; 2] = [
    include_str!("../migrations/state/0001_dead_letters.sql"),
    include_str!("../migrations/state/0002_erasures.sql"),
];
/// The first version whose files never held deleted rows in the clear: `secure_delete` came with it.
const SCRUBBED_SINCE: usize = 2;
/// How long another process that writes is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// How long a checkpoint waits for readers: every user of the connection waits with it.
const CHECKPOINT_BUSY: Duration = Duration::from_millis(250);

/// The open database; clones share its one connection.
#[derive(Clone)]
pub struct State(Arc<Mutex<Connection>>);

impl State {
    /// Opens (and creates, and migrates) the database; `None` is one in memory, for the memory engine.
    ///
    /// # Errors
    /// When the file cannot be opened or is of a newer version.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let shown = path.map_or_else(|| "in memory".to_owned(), |path| path.display().to_string());
        let failed =
            |error: rusqlite::Error| Error::config(format!("open state database {shown}")).caused_by(error);
        let mut connection = match path {
            Some(path) => Connection::open(path),
            None => Connection::open_in_memory(),
        }
        .map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        // FULL: a letter must survive a power failure before the cursor passes it. What is deleted is overwritten, and
        // nothing of it goes to temporary files: dead letters hold personal data.
        connection
            .execute_batch(
                "PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;",
            )
            .map_err(failed)?;
        migrate(&mut connection).map_err(|error| error.within(format!("open state database {shown}")))?;
        Ok(State(Arc::new(Mutex::new(connection))))
    }

    /// The connection, for one transaction at a time.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the bytes of deleted rows out of the write-ahead log, too: rows are overwritten where they lay in the
    /// database when they are deleted. False when a reader held the log back: ask again.
    ///
    /// # Errors
    /// [`connector_api::Kind::Transient`] when it cannot be written.
    pub fn scrub(&self) -> Result<bool> {
        let connection = self.lock();
        let scrub = || {
            connection.busy_timeout(CHECKPOINT_BUSY)?;
            let done = checkpoint(&connection);
            connection.busy_timeout(BUSY)?;
            done
        };
        scrub().map_err(|error| Error::transient("scrub state database").caused_by(error))
    }
}

/// Moves the whole write-ahead log into the database and cuts it. False when a reader is in the way.
fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Brings the state database to the newest version; one transaction a step, the version in `user_version`.
fn migrate(connection: &mut Connection) -> Result<()> {
    let failed = |error: rusqlite::Error| Error::config("migrate").caused_by(error);
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        return Err(Error::config(format!(
            "version {version} is newer than this program knows ({})",
            MIGRATIONS.len()
        ))
        .with_remedy("use the program that wrote it, or a newer one"));
    }
    if (1..SCRUBBED_SINCE).contains(&version) {
        // Rows that were deleted before `secure_delete` still lie in free pages. Before the new version is written, so
        // that a crash in between only does it again.
        connection.execute_batch("VACUUM").map_err(failed)?;
        checkpoint(connection).map_err(failed)?;
    }
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(sql).map_err(failed)?;
        transaction.pragma_update(None, "user_version", step as i64 + 1).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;

    /// A database as the first version wrote it: a letter that waits, and one that was deleted without being overwritten.
    fn first_version(path: &Path) {
        let connection = Connection::open(path).expect("a file");
        connection.execute_batch("PRAGMA secure_delete = OFF; PRAGMA journal_mode = WAL;").expect("pragmas");
        connection.execute_batch(MIGRATIONS[0]).expect("the first step");
        connection.pragma_update(None, "user_version", 1).expect("a version");
        let put =
            "INSERT INTO dead_letters VALUES (NULL, 'billing', 't', 0, ?1, NULL, 0, ?2, x'', 0, 0, '', 0, 1)";
        connection.execute(put, params![1, b"stays@example.org"]).expect("a letter");
        connection.execute(put, params![2, b"gone@example.org"]).expect("a letter");
        connection.execute("DELETE FROM dead_letters WHERE \"offset\" = 2", []).expect("deleted");
    }

    fn holds(path: &Path, text: &[u8]) -> bool {
        ["", "-wal"].iter().any(|end| {
            let bytes = std::fs::read(format!("{}{end}", path.display())).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text)
        })
    }

    #[test]
    fn the_first_version_is_migrated_and_what_was_deleted_in_it_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        first_version(&path);
        assert!(holds(&path, b"gone@example.org"), "else this test shows nothing");
        let state = State::open(Some(&path)).expect("migrates");
        assert!(!holds(&path, b"gone@example.org"));
        let (version, letters): (i64, i64) = state
            .lock()
            .query_row(
                "SELECT user_version, (SELECT count(*) FROM dead_letters) FROM pragma_user_version",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .expect("a row");
        assert_eq!((version, letters), (MIGRATIONS.len() as i64, 1));
        drop(state);
        State::open(Some(&path)).expect("opens again");
    }

    #[test]
    fn what_is_deleted_is_gone_from_the_files_after_a_scrub() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let state = State::open(Some(&path)).expect("a database");
        let put = "INSERT INTO dead_letters VALUES (NULL, 's', 't', 0, ?1, NULL, 0, ?2, x'', 0, 0, '', 0, 1)";
        for offset in 0..100 {
            state.lock().execute(put, params![offset, b"gone@example.org"]).expect("a letter");
        }
        state.lock().execute("DELETE FROM dead_letters", []).expect("deleted");
        assert!(holds(&path, b"gone@example.org"), "the write-ahead log still has it");

        // A reader in the middle of a transaction may need the old pages: the scrub says that it is not complete.
        let reader = Connection::open(&path).expect("another connection");
        reader.execute_batch("BEGIN; SELECT count(*) FROM dead_letters;").expect("reads");
        assert!(!state.scrub().expect("tries"));
        reader.execute_batch("COMMIT").expect("ends");
        assert!(state.scrub().expect("scrubs"));
        assert!(!holds(&path, b"gone@example.org"));
    }

    #[test]
    fn a_newer_version_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let connection = Connection::open(&path).expect("a file");
        connection.pragma_update(None, "user_version", 99).expect("a version");
        drop(connection);
        let error = State::open(Some(&path)).err().expect("refuses");
        assert!(error.to_string().contains("version 99 is newer than this program knows (2)"), "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("newer one")));
    }

    #[test]
    fn a_database_in_memory_is_scrubbed_at_once() {
        assert!(State::open(None).expect("memory").scrub().expect("scrubs"));
    }
}
