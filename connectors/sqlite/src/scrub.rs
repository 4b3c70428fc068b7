//! What an erasure leaves under the rows.
//!
//! `secure_delete` overwrites a cell that is freed and a page that is freed. It does not overwrite the gap between a page's
//! cell pointers and its cells, where cells stood before the page was balanced: found by searching files for the bytes
//! of erased rows. And the write-ahead log holds pages as they were. So the log is emptied, and then, while nobody else
//! can write, the gaps of the tables' pages are overwritten in the file itself: no reader ever looks at them, so that
//! none is disturbed, and a crash in the middle leaves a sound file. The commit at the end makes every other connection
//! forget the pages that it has in memory, gaps included.
//!
//! The file is written through SQLite's own handle of it: opening it beside SQLite would drop SQLite's locks when it is
//! closed (POSIX).
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::time::Duration;

use connector_api::{Error, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::error::{Code, Context, Failure, from_rusqlite};

const WHAT: &str = "clean pages of the database";

/// B-trees of the tables that were erased in, the shadow tables of a virtual one, and the planner's samples.
const TREES: &str = "SELECT DISTINCT s.name FROM sqlite_schema AS s JOIN _millstream_unscrubbed AS u \
     ON s.tbl_name = u.name COLLATE NOCASE OR substr(s.tbl_name, 1, length(u.name) + 1) = u.name || '_' \
     WHERE s.rootpage > 0 UNION SELECT name FROM sqlite_schema WHERE name IN ('sqlite_stat3', 'sqlite_stat4')";

/// Whether there is anything to clean.
pub fn is_due(connection: &Connection) -> Result<bool> {
    let due = "SELECT EXISTS (SELECT 1 FROM _millstream_unscrubbed)";
    connection.query_row(due, [], |row| row.get(0)).context("read bookkeeping tables")
}

/// Cleans the file; false while a reader or a writer is in the way. Nobody is waited for: the next try comes soon. It takes
/// as long as reading the tables takes.
///
/// # Errors
/// When the file cannot be read or written.
pub fn scrub(path: &Path) -> Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    // Its own connection, so that the sink's forgets its pages, too.
    let connection = Connection::open_with_flags(path, flags).context(WHAT)?;
    connection.busy_timeout(Duration::ZERO).context(WHAT)?;
    // Looked at once, or the first statement would find no log.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).context(WHAT)?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    if unless_busy(busy)?.is_none_or(|busy| busy) {
        return Ok(false);
    }
    if unless_busy(connection.execute_batch("BEGIN EXCLUSIVE"))?.is_none() {
        return Ok(false);
    }
    if log_bytes(path) > 0 {
        // Somebody wrote in between: the newest pages are in the log again.
        return Ok(false);
    }
    let file = File::of(&connection)?;
    let trees: Vec<String> = {
        let mut statement = connection.prepare(TREES).context(WHAT)?;
        let names = statement.query_map([], |row| row.get(0)).context(WHAT)?;
        names.collect::<rusqlite::Result<_>>().context(WHAT)?
    };
    let mut pages = connection
        .prepare("SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype IN ('internal', 'leaf')")
        .context(WHAT)?;
    for tree in trees {
        let mut rows = pages.query([&tree]).context(WHAT)?;
        while let Some(row) = rows.next().context(WHAT)? {
            file.clean(row.get(0).context(WHAT)?)?;
        }
    }
    file.sync()?;
    connection.execute_batch("DELETE FROM _millstream_unscrubbed; COMMIT").context(WHAT)?;
    Ok(true)
}

fn log_bytes(path: &Path) -> u64 {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).map_or(0, |facts| facts.len())
}

/// `None` when another connection is in the way.
fn unless_busy<T>(result: rusqlite::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(from_rusqlite(error, WHAT)),
    }
}

/// The ranges of a page that hold nothing: its gap, and the bodies of its free blocks. `None` when it is no page of a tree.
fn unused(page: &[u8], number: i64, usable: usize) -> Option<Vec<std::ops::Range<usize>>> {
    let start = if number == 1 { 100 } else { 0 };
    let word = |at: usize| {
        let bytes = page.get(at..)?.first_chunk::<2>()?;
        Some(usize::from(u16::from_be_bytes(*bytes)))
    };
    let header = match page.get(start)? {
        2 | 5 => 12,
        10 | 13 => 8,
        _ => return None,
    };
    let cells = start + header + 2 * word(start + 3)?;
    let content = match word(start + 5)? {
        0 => 65_536,
        content => content,
    };
    if cells > content || content > usable {
        return None;
    }
    let mut ranges = Vec::new();
    ranges.push(cells..content);
    let mut block = word(start + 1)?;
    while block != 0 {
        let (next, size) = (word(block)?, word(block + 2)?);
        // Blocks come in the order of their places.
        if size < 4 || block + size > usable || (next != 0 && next < block + size) {
            return None;
        }
        ranges.push(block + 4..block + size);
        block = next;
    }
    Some(ranges)
}

/// SQLite's own handle of the database file, while a connection is open and holds the lock to write.
struct File<'c> {
    raw: *mut ffi::sqlite3_file,
    page: usize,
    usable: usize,
    connection: std::marker::PhantomData<&'c Connection>,
}

impl<'c> File<'c> {
    fn of(connection: &'c Connection) -> Result<File<'c>> {
        let mut raw: *mut ffi::sqlite3_file = std::ptr::null_mut();
        // SAFETY: the connection is open, and SQLite writes one pointer to where it is told.
        let code = unsafe {
            ffi::sqlite3_file_control(
                connection.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_FILE_POINTER,
                std::ptr::from_mut(&mut raw).cast(),
            )
        };
        done(code)?;
        if raw.is_null() {
            return Err(Error::config(format!("{WHAT}: it has no file")));
        }
        let mut file = File { raw, page: 100, usable: 100, connection: std::marker::PhantomData };
        let header = file.read(0)?;
        let size = match header.get(16..18) {
            Some([0, 1]) => 65_536,
            Some([high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        let reserved = header.get(20).copied().map_or(0, usize::from);
        if size < 512 || !header.starts_with(b"SQLite format 3\0") {
            return Err(Error::corrupt(format!("{WHAT}: this is not a SQLite database")));
        }
        (file.page, file.usable) = (size, size - reserved);
        Ok(file)
    }

    fn methods(&self) -> Result<&'c ffi::sqlite3_io_methods> {
        // SAFETY: the handle belongs to the connection, which is open for 'c; a file that is open has methods.
        let methods = unsafe { (*self.raw).pMethods.as_ref() };
        methods.ok_or_else(|| Error::config(format!("{WHAT}: its file is not open")))
    }

    fn read(&self, offset: i64) -> Result<Vec<u8>> {
        let mut page = vec![0; self.page];
        let read = self.methods()?.xRead.ok_or_else(unable)?;
        let length = c_int::try_from(page.len()).map_err(|_| unable())?;
        // SAFETY: `page` has room for as many bytes as are asked for.
        done(unsafe { read(self.raw, page.as_mut_ptr().cast(), length, offset) })?;
        Ok(page)
    }

    /// Overwrites what a page does not use, where it is not zero.
    fn clean(&self, number: i64) -> Result<()> {
        let before = number.checked_sub(1).and_then(|before| before.checked_mul(self.page as i64));
        let offset = before.filter(|offset| *offset >= 0).ok_or_else(unable)?;
        let page = self.read(offset)?;
        let ranges = unused(&page, number, self.usable).ok_or_else(|| {
            Error::corrupt(format!("{WHAT}: page {number} is damaged"))
                .with_remedy("run `sqlite3 FILE 'PRAGMA integrity_check'`; restore the file, or remove it to fill it again from the log")
        })?;
        let write = self.methods()?.xWrite.ok_or_else(unable)?;
        for range in ranges {
            let dirty = page.get(range.clone()).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0));
            if !dirty {
                continue;
            }
            let zeros = vec![0u8; range.len()];
            let length = c_int::try_from(zeros.len()).map_err(|_| unable())?;
            // SAFETY: `zeros` holds as many bytes as are written; they go where the page holds nothing, while this
            // connection has the lock to write and the log is empty.
            done(unsafe {
                write(self.raw, zeros.as_ptr().cast::<c_void>(), length, offset + range.start as i64)
            })?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let sync = self.methods()?.xSync.ok_or_else(unable)?;
        // SAFETY: the handle is open.
        done(unsafe { sync(self.raw, ffi::SQLITE_SYNC_FULL) })
    }
}

#[cold]
fn unable() -> Error {
    Error::config(format!("{WHAT}: its file system cannot do that"))
}

fn done(code: c_int) -> Result<()> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(Failure::Sqlite(Code(code), Code(code).text()).into_error(WHAT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_does_not_use() {
        let mut page = vec![0xaa; 512];
        // A leaf of a table: a free block at 400, two cells, content from 300 on.
        page.splice(0..8, [13, 1, 0x90, 0, 2, 1, 0x2c, 0]);
        page.splice(400..404, [0, 0, 0, 20]);
        assert_eq!(unused(&page, 2, 512), Some(vec![12..300, 404..420]));
        assert_eq!(unused(&page, 1, 512), None, "the first page begins behind the file's header");
        for (at, byte) in [(0, 1), (5, 3), (403, 3), (402, 1), (1, 2), (3, 9)] {
            let mut wrong = page.clone();
            wrong.splice(at..=at, [byte]);
            assert_eq!(unused(&wrong, 2, 512), None, "byte {at}");
        }
        assert_eq!(unused(&[], 2, 512), None);
    }
}
