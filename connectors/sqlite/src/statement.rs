//! Prepared statements bound without copies, and the connection they belong to.
//!
//! rusqlite copies every text it binds, and its statements borrow the connection, so that they cannot live beside it in
//! one struct. Here a statement is a number, and a bound value is borrowed until the statement has run. This is the
//! crate's only unsafe code; what makes it sound is said at [`Database::execute`].

use std::marker::PhantomData;
use std::os::raw::c_int;
use std::ptr::{self, NonNull};

use connector_api::Error;
use rusqlite::{Connection, ffi};

use crate::error::{Code, Failure};

/// A connection and its prepared statements.
#[derive(Debug)]
pub struct Database {
    // Declared first because it is dropped first: a statement must be finalized before its connection closes.
    statements: Vec<Option<Handle>>,
    connection: Connection,
}

/// A statement of one [`Database`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementId(usize);

#[derive(Debug)]
struct Handle {
    raw: NonNull<ffi::sqlite3_stmt>,
    parameters: c_int,
}

// SAFETY: SQLite (compiled with SQLITE_THREADSAFE=1) lets a statement be used on any thread as long as no two use its
// connection at a time; the statement and the connection have one owner, `Database`, and move together.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: `raw` came from sqlite3_prepare_v3, is finalized only here, and its connection is still open because
        // `Database` drops its statements first.
        unsafe { ffi::sqlite3_finalize(self.raw.as_ptr()) };
    }
}

/// Binds the parameters of one execution, in order. `'v` is how long the values live: longer than the execution.
#[derive(Debug)]
pub struct Binder<'v> {
    raw: NonNull<ffi::sqlite3_stmt>,
    next: c_int,
    values: PhantomData<&'v [u8]>,
}

impl Database {
    /// Takes a connection over.
    pub fn new(connection: Connection) -> Self {
        Database { statements: Vec::new(), connection }
    }

    /// The connection, for everything that is not hot.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// True while a transaction is open.
    pub fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn raw(&self) -> *mut ffi::sqlite3 {
        // SAFETY: the handle is used only while `self.connection` is open, and never closed by us.
        unsafe { self.connection.handle() }
    }

    fn failure(&self, code: c_int) -> Failure {
        // SAFETY: the message belongs to the connection until its next call, and is copied here; it is never null.
        let message = unsafe { std::ffi::CStr::from_ptr(ffi::sqlite3_errmsg(self.raw())) };
        Failure::Sqlite(Code(code), message.to_string_lossy().into_owned())
    }

    /// Prepares one statement that will be used many times.
    pub fn prepare(&mut self, sql: &str) -> Result<StatementId, Failure> {
        let mut raw = ptr::null_mut();
        let length =
            c_int::try_from(sql.len()).map_err(|_| Failure::from(Error::config("prepare: text too long")))?;
        // SAFETY: the text is read within its length, and `raw` is written before the call returns.
        let code = unsafe {
            ffi::sqlite3_prepare_v3(
                self.raw(),
                sql.as_ptr().cast(),
                length,
                ffi::SQLITE_PREPARE_PERSISTENT,
                &mut raw,
                ptr::null_mut(),
            )
        };
        if code != ffi::SQLITE_OK {
            return Err(self.failure(code));
        }
        let raw = NonNull::new(raw).ok_or_else(|| Error::config("prepare: no statement in the text"))?;
        // SAFETY: `raw` is the statement just prepared.
        let parameters = unsafe { ffi::sqlite3_bind_parameter_count(raw.as_ptr()) };
        let handle = Some(Handle { raw, parameters });
        let free = self.statements.iter().position(Option::is_none);
        let at = free.unwrap_or(self.statements.len());
        match self.statements.get_mut(at) {
            Some(slot) => *slot = handle,
            None => self.statements.push(handle),
        }
        Ok(StatementId(at))
    }

    /// Forgets a statement. Its number may be given out again.
    pub fn finalize(&mut self, id: StatementId) {
        if let Some(slot) = self.statements.get_mut(id.0) {
            *slot = None;
        }
    }

    /// Runs a statement that returns no rows; the number of rows it changed.
    ///
    /// Sound because a value bound with the lifetime `'v` outlives this call, and because the statement runs only after
    /// `bind` has bound every parameter anew: no address of an earlier execution is ever read.
    #[inline]
    pub fn execute<'v>(
        &mut self,
        id: StatementId,
        bind: impl FnOnce(&mut Binder<'v>) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let Some(Some(handle)) = self.statements.get(id.0) else {
            return Err(Error::config("execute: no such statement").into());
        };
        let (raw, parameters) = (handle.raw, handle.parameters);
        let mut binder = Binder { raw, next: 1, values: PhantomData };
        bind(&mut binder)?;
        if binder.next != parameters + 1 {
            let bound = binder.next - 1;
            return Err(
                Error::corrupt(format!("bind row: {bound} values for {parameters} parameters")).into()
            );
        }
        // SAFETY: the statement is live and was reset after its last run; all its parameters were bound by `bind`, to
        // values that outlive this call.
        let code = unsafe { ffi::sqlite3_step(raw.as_ptr()) };
        let result = match code {
            // SAFETY: the connection is open.
            ffi::SQLITE_DONE => Ok(unsafe { ffi::sqlite3_changes64(self.raw()) } as u64),
            // A row (of a statement with RETURNING, or a PRAGMA) is of no interest.
            ffi::SQLITE_ROW => Ok(0),
            code => Err(self.failure(code)),
        };
        // SAFETY: the statement is live. The code repeats the failure of the step.
        unsafe { ffi::sqlite3_reset(raw.as_ptr()) };
        result
    }

    /// Runs a statement without parameters.
    pub fn run(&mut self, id: StatementId) -> Result<u64, Failure> {
        self.execute(id, |_| Ok(()))
    }
}

impl<'v> Binder<'v> {
    #[inline]
    fn bound(&mut self, code: c_int) -> Result<(), Failure> {
        self.next += 1;
        match code {
            ffi::SQLITE_OK => Ok(()),
            ffi::SQLITE_TOOBIG => {
                Err(Error::data("bind value: larger than SQLite allows (1,000,000,000 bytes)").into())
            }
            ffi::SQLITE_RANGE => Err(Error::corrupt("bind row: more values than columns").into()),
            code => Err(Failure::Sqlite(Code(code), Code(code).text())),
        }
    }

    /// Binds NULL.
    #[inline]
    pub fn null(&mut self) -> Result<(), Failure> {
        // SAFETY: the statement is live and was reset.
        let code = unsafe { ffi::sqlite3_bind_null(self.raw.as_ptr(), self.next) };
        self.bound(code)
    }

    /// Binds an integer.
    #[inline]
    pub fn int(&mut self, value: i64) -> Result<(), Failure> {
        // SAFETY: the statement is live and was reset.
        let code = unsafe { ffi::sqlite3_bind_int64(self.raw.as_ptr(), self.next, value) };
        self.bound(code)
    }

    /// Binds a float. SQLite stores NaN as NULL.
    #[inline]
    pub fn float(&mut self, value: f64) -> Result<(), Failure> {
        // SAFETY: the statement is live and was reset.
        let code = unsafe { ffi::sqlite3_bind_double(self.raw.as_ptr(), self.next, value) };
        self.bound(code)
    }

    /// Binds text, borrowed.
    #[inline]
    pub fn text(&mut self, value: &'v str) -> Result<(), Failure> {
        // SAFETY: the statement is live and was reset; the text is valid UTF-8 and outlives the execution ('v), so
        // that SQLite need not copy it (SQLITE_STATIC).
        let code = unsafe {
            ffi::sqlite3_bind_text64(
                self.raw.as_ptr(),
                self.next,
                value.as_ptr().cast(),
                value.len() as u64,
                ffi::SQLITE_STATIC(),
                ffi::SQLITE_UTF8 as u8,
            )
        };
        self.bound(code)
    }

    /// Binds bytes, borrowed.
    #[inline]
    pub fn blob(&mut self, value: &'v [u8]) -> Result<(), Failure> {
        // SAFETY: as for `text`.
        let code = unsafe {
            ffi::sqlite3_bind_blob64(
                self.raw.as_ptr(),
                self.next,
                value.as_ptr().cast(),
                value.len() as u64,
                ffi::SQLITE_STATIC(),
            )
        };
        self.bound(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (a, b)").unwrap();
        Database::new(connection)
    }

    #[test]
    fn a_statement_runs_only_with_every_parameter_bound() {
        let mut database = database();
        let insert = database.prepare("INSERT INTO t VALUES (?, ?)").unwrap();
        let too_few = database.execute(insert, |binder| binder.int(1));
        assert!(matches!(too_few, Err(Failure::Other(_))));
        let too_many = database.execute(insert, |binder| {
            binder.int(1)?;
            binder.int(2)?;
            binder.int(3)
        });
        assert!(matches!(too_many, Err(Failure::Other(_))));
        assert_eq!(
            database.execute(insert, |binder| binder.int(1).and_then(|()| binder.text(""))).unwrap(),
            1
        );
        let kinds: String = database
            .connection()
            .query_row("SELECT typeof(a) || typeof(b) FROM t", [], |row| row.get(0))
            .unwrap();
        assert_eq!(kinds, "integertext");
    }

    #[test]
    fn a_failed_statement_can_run_again() {
        let mut database = database();
        database.connection().execute_batch("CREATE UNIQUE INDEX i ON t (a)").unwrap();
        let insert = database.prepare("INSERT INTO t VALUES (?, NULL)").unwrap();
        database.execute(insert, |binder| binder.int(1)).unwrap();
        let twice = database.execute(insert, |binder| binder.int(1));
        let Err(Failure::Sqlite(code, message)) = twice else { panic!("{twice:?}") };
        assert!(code.is_constraint());
        assert_eq!(message, "UNIQUE constraint failed: t.a");
        assert_eq!(database.execute(insert, |binder| binder.int(2)).unwrap(), 1);
    }

    #[test]
    fn numbers_of_finalized_statements_are_reused() {
        let mut database = database();
        let first = database.prepare("DELETE FROM t").unwrap();
        database.finalize(first);
        assert!(database.run(first).is_err());
        assert_eq!(database.prepare("DELETE FROM t").unwrap(), first);
    }
}
