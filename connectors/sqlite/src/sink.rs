//! The sink: one connection, one open transaction, a plan for every topic and shape.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use connector_api::erasure::{Erasure, Outcome, Scrubbed};
use connector_api::{BoxFuture, Cursor, Error, Incoming, Kind, LogId, Result, Sink, Target};
use rusqlite::{Connection, OpenFlags};

use crate::cursor::CursorStore;
use crate::erase;
use crate::error::{Context, Failure};
use crate::migrate::{migrate, remember_overwrites};
use crate::options::Options;
use crate::plan::{Basis, Plan};
use crate::pragmas;
use crate::scrub;
use crate::statement::{Database, StatementId};

/// Applies changes to one SQLite file. Several sinks may share a file: each has its own cursor, told apart by name.
#[derive(Debug)]
pub struct Sqlite {
    name: Arc<str>,
    options: Options,
    /// `None` before the first use, and after a failure that leaves the connection in doubt.
    session: Option<Session>,
    notices: Vec<String>,
    /// Pages may hold bytes of what was erased; after a start the file knows.
    unscrubbed: bool,
}

/// An open connection, and everything that lives as long as it.
#[derive(Debug)]
struct Session {
    database: Database,
    begin: StatementId,
    commit: StatementId,
    cursor: CursorStore,
    plans: Plans,
}

impl Sqlite {
    /// A sink named `name`. Opens nothing before [`Sink::start`].
    pub fn new(name: impl Into<Arc<str>>, options: Options) -> Self {
        Sqlite { name: name.into(), options, session: None, notices: Vec::new(), unscrubbed: true }
    }

    fn open(&mut self) -> Result<&mut Session> {
        if self.session.is_none() {
            self.session = Some(self.connect()?);
        }
        self.session.as_mut().ok_or_else(|| Error::transient("open database"))
    }

    fn connect(&mut self) -> Result<Session> {
        let mut connection = open_file(&self.options.path)?;
        if let Some(mode) = pragmas::configure(&connection, &self.options)? {
            self.notices.push(format!(
                "{} cannot have a write-ahead log on its file system; journal mode is {mode}: readers and this sink wait \
                 for each other",
                self.options.path.display()
            ));
        }
        migrate(&mut connection).map_err(|error| error.within(self.options.path.display()))?;
        if self.options.erases {
            remember_overwrites(&connection).map_err(|error| error.within(self.options.path.display()))?;
        }
        let mut database = Database::new(connection);
        let mut prepare =
            |sql| database.prepare(sql).map_err(|failure| failure.into_error("prepare transaction"));
        // IMMEDIATE: the wait for another writer happens here, where it is harmless, and never in the middle.
        let (begin, commit) = (prepare("BEGIN IMMEDIATE")?, prepare("COMMIT")?);
        let cursor = CursorStore::open(&mut database, self.name.clone())?;
        Ok(Session { database, begin, commit, cursor, plans: Plans::default() })
    }

    fn started(&mut self, log: LogId) -> Result<Option<Cursor>> {
        // Another process may have moved the cursor since: what counts is the file.
        self.session = None;
        self.open()?.cursor.cursor(log)
    }

    fn applied(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        self.open()?;
        let Sqlite { name, options, session: Some(session), notices, .. } = self else {
            return Err(Error::transient("open database"));
        };
        session.begin()?;
        let basis = Basis { sink: name, create_tables: options.create_tables };
        let Session { database, plans, .. } = session;
        let at = plans.find(database, basis, incoming.target, notices)?;
        let first = plans.apply(at, database, incoming, notices);
        let (at, result) = match first {
            Err(Failure::Sqlite(code, _)) if code.is_outdated() && database.in_transaction() => {
                // Another connection changed the tables: look again, once.
                plans.forget(at, database);
                let at = plans.find(database, basis, incoming.target, notices)?;
                (at, plans.apply(at, database, incoming, notices))
            }
            first => (at, first),
        };
        result.map_err(|failure| plans.word(at, database, failure))
    }

    fn committed(&mut self, cursor: &Cursor) -> Result<()> {
        let session = self.open()?;
        if !session.database.in_transaction() && session.cursor.holds(cursor) {
            return Ok(());
        }
        session.begin()?;
        session.cursor.write(&mut session.database, cursor)?;
        session.commit()?;
        session.cursor.committed(cursor);
        session.plans.settled = session.plans.list.len();
        Ok(())
    }

    fn erased(&mut self, erasure: &Erasure) -> Result<Outcome> {
        let session = self.open()?;
        let connection = session.database.connection();
        // A sink that was not told that it erases still leaves no bytes of what it deletes now.
        connection.pragma_update(None, "secure_delete", true).context("configure database")?;
        session.begin()?;
        let connection = session.database.connection();
        let done = erasure.steps.iter().map(|step| erase::act(connection, step)).collect::<Result<_>>()?;
        self.unscrubbed = true;
        Ok(Outcome::Done(done))
    }

    fn scrubbed(&mut self) -> Result<Scrubbed> {
        if !self.unscrubbed {
            return Ok(Scrubbed::Done);
        }
        let path = self.options.path.clone();
        let connection = self.open()?.database.connection();
        if !connection.is_autocommit() {
            return Ok(Scrubbed::Later("a transaction of the sink itself is open".to_owned()));
        }
        if scrub::is_due(connection)? && !scrub::scrub(&path)? {
            return Ok(Scrubbed::Later("a reader holds the write-ahead log".to_owned()));
        }
        self.unscrubbed = false;
        Ok(Scrubbed::Done)
    }

    fn rolled_back(&mut self) {
        let Some(session) = &mut self.session else { return };
        // After some errors (a full disk, a failed write) SQLite has already rolled back.
        if session.database.in_transaction()
            && session.database.connection().execute_batch("ROLLBACK").is_err()
        {
            // The connection is in doubt; the next use opens another.
            self.session = None;
            return;
        }
        session.plans.rolled_back(&mut session.database);
    }

    fn moved_to(&mut self, cursor: &Cursor) -> Result<()> {
        self.rolled_back();
        let session = self.open()?;
        session.begin()?;
        session.cursor.clear(&session.database)?;
        session.cursor.write(&mut session.database, cursor)?;
        session.commit()?;
        session.cursor.committed(cursor);
        Ok(())
    }
}

impl Session {
    #[inline]
    fn begin(&mut self) -> Result<()> {
        if self.database.in_transaction() {
            return Ok(());
        }
        self.database.run(self.begin).map(drop).map_err(|failure| failure.into_error("begin transaction"))
    }

    fn commit(&mut self) -> Result<()> {
        match self.database.run(self.commit) {
            Ok(_) => Ok(()),
            // Foreign keys that are checked at the end: no single change is to blame.
            Err(failure @ Failure::Sqlite(code, _)) if code.is_constraint() => {
                let error = failure.into_error("commit transaction");
                Err(Error::config(error.to_string()).with_remedy(
                    "set foreign_keys: false for this sink, or map every table that the keys refer to",
                ))
            }
            Err(failure) => Err(failure.into_error("commit transaction")),
        }
    }
}

impl Sink for Sqlite {
    fn start(&mut self, log: LogId) -> BoxFuture<'_, Result<Option<Cursor>>> {
        Box::pin(async move { self.started(log) })
    }

    #[inline]
    fn apply(&mut self, incoming: &Incoming<'_>) -> Result<()> {
        self.applied(incoming)
    }

    fn commit<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.committed(cursor) })
    }

    fn rollback(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.rolled_back();
            Ok(())
        })
    }

    fn reset<'a>(&'a mut self, cursor: &'a Cursor) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let result = self.moved_to(cursor);
            if result.is_err() {
                // What the target holds is in doubt: read it again.
                self.session = None;
            }
            result
        })
    }

    fn erase<'a>(&'a mut self, erasure: &'a Erasure) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move { self.erased(erasure) })
    }

    /// Empties the write-ahead log and cleans the pages of the tables that were erased in ([`scrub`]).
    fn scrub(&mut self) -> BoxFuture<'_, Result<Scrubbed>> {
        Box::pin(async move { self.scrubbed() })
    }

    fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn stop(mut self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move {
            self.rolled_back();
            match &self.session {
                Some(session) => pragmas::close(session.database.connection()),
                None => Ok(()),
            }
        })
    }
}

/// Opens the file for writing, creating it when it is missing. A path that looks like a URI is a path all the same.
fn open_file(path: &Path) -> Result<Connection> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        let error = Error::config(format!("open database {}: its folder does not exist", path.display()));
        return Err(error.with_remedy(format!("mkdir -p '{}'", folder.display())));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    Connection::open_with_flags(path, flags).context(format_args!("open database {}", path.display()))
}

/// The plans of a session.
#[derive(Debug, Default)]
struct Plans {
    list: Vec<Plan>,
    /// By the addresses of targets. The plans hold them, so that no address can come to mean another.
    index: HashMap<usize, usize>,
    last: usize,
    /// How many of the list a commit has made permanent: a rollback takes the tables of the others away.
    settled: usize,
}

fn address(target: &Arc<Target>) -> usize {
    Arc::as_ptr(target) as usize
}

impl Plans {
    #[inline]
    fn find(
        &mut self,
        database: &mut Database,
        basis: Basis<'_>,
        target: &Arc<Target>,
        notices: &mut Vec<String>,
    ) -> Result<usize> {
        if self.list.get(self.last).is_some_and(|plan| Arc::ptr_eq(&plan.target, target)) {
            return Ok(self.last);
        }
        self.last = match self.index.get(&address(target)) {
            Some(at) => *at,
            None => {
                self.list.push(Plan::build(database, basis, target, notices)?);
                self.index.insert(address(target), self.list.len() - 1);
                self.list.len() - 1
            }
        };
        Ok(self.last)
    }

    #[inline]
    fn apply(
        &mut self,
        at: usize,
        database: &mut Database,
        incoming: &Incoming<'_>,
        notices: &mut Vec<String>,
    ) -> Result<(), Failure> {
        match self.list.get_mut(at) {
            Some(plan) => plan.apply(database, &incoming.change, notices),
            None => Err(Error::config("apply change: no plan").into()),
        }
    }

    #[cold]
    fn word(&self, at: usize, database: &Database, failure: Failure) -> Error {
        let error = failure.into_error(self.list.get(at).map_or("apply change", Plan::context));
        if error.kind() == Kind::Data && !database.in_transaction() {
            // Not one change is void but all since the last commit, and a retry would end here again.
            return Error::config(format!(
                "{error}; the constraint or trigger rolled the whole transaction back"
            ))
            .with_remedy("change ON CONFLICT ROLLBACK or RAISE(ROLLBACK) of the target table to ABORT");
        }
        error
    }

    /// Drops one plan.
    fn forget(&mut self, at: usize, database: &mut Database) {
        if at < self.list.len() {
            self.list.remove(at).retire(database);
            self.settled = self.settled.min(at);
        }
        self.reindex();
    }

    fn rolled_back(&mut self, database: &mut Database) {
        self.list.drain(self.settled..).for_each(|plan| plan.retire(database));
        self.list.iter_mut().for_each(Plan::rolled_back);
        self.reindex();
    }

    fn reindex(&mut self) {
        self.last = 0;
        self.index.clear();
        let entries = self.list.iter().enumerate();
        self.index.extend(entries.map(|(at, plan)| (address(&plan.target), at)));
    }
}

#[cfg(test)]
mod tests;
