//! Tables in pieces: ranges of pages, each copied by whichever worker is free.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::catalog::{Catalog, Table, number, text};
use crate::changes::{Plan, Scratch};
use crate::connection::{Connection, identifier};
use connector_api::{BatchBuilder, Error, Result};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Bytes of a chunk: enough to make hand-over cheap, little enough to bound memory.
pub(super) const CHUNK: usize = 128 << 10;
/// Pages of one piece: 64 MiB of table with the usual page.
const PIECE_PAGES: u64 = 8192;

/// What is still to be copied.
pub(super) type Queue = VecDeque<Piece>;

/// One COPY.
#[derive(Debug)]
pub(super) struct Piece {
    table: usize,
    doing: String,
    sql: String,
}

/// Lines of one COPY.
pub(super) struct Chunk {
    pub(super) table: usize,
    /// Whole lines, each with its end.
    lines: Vec<u8>,
    at: usize,
    /// No more of this piece follows.
    pub(super) last: bool,
}

impl Chunk {
    /// Decodes lines until the builder is full or all are done; returns how many.
    pub(super) fn decode(
        &mut self,
        table: &mut Plan,
        into: &mut BatchBuilder,
        scratch: &mut Scratch,
    ) -> Result<u64> {
        let mut rows = 0;
        while !into.is_full() {
            let Some(rest) = self.lines.get(self.at..).filter(|rest| !rest.is_empty()) else { break };
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            table.line(rest.get(..end).unwrap_or_default(), into, scratch)?;
            self.at += end + 1;
            rows += 1;
        }
        Ok(rows)
    }
}

/// The pieces of a table: its leaf partitions, large ones in ranges of pages.
pub(super) async fn of_table(catalog: &mut Catalog, at: usize, table: &Table) -> Result<Vec<Piece>> {
    let oid = table.oid;
    let leaves = match table.kind {
        b'p' => format!("SELECT relid FROM pg_partition_tree({oid}) WHERE isleaf"),
        _ => format!("SELECT {oid}::oid"),
    };
    let sql = format!(
        "SELECT n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int8 \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid IN ({leaves}) AND c.relkind = 'r' ORDER BY c.oid"
    );
    let rows = catalog.query("read sizes of tables", &sql).await?;
    let columns: Vec<_> = table.columns.iter().map(|column| identifier(&column.name)).collect();
    let columns = columns.join(", ");
    let filter = table.filter.as_ref().map(|filter| format!("({filter})"));
    let doing = format!("copy {}", table.full_name());
    let mut pieces = Vec::new();
    for row in &rows {
        let leaf = format!("{}.{}", identifier(text(row, 0)), identifier(text(row, 1)));
        for range in ranges(number(row, 2)?) {
            let conditions: Vec<_> = range.into_iter().chain(filter.clone()).collect();
            let conditions = match conditions.is_empty() {
                true => String::new(),
                false => format!(" WHERE {}", conditions.join(" AND ")),
            };
            let sql = format!("COPY (SELECT {columns} FROM ONLY {leaf}{conditions}) TO STDOUT");
            pieces.push(Piece { table: at, doing: doing.clone(), sql });
        }
    }
    Ok(pieces)
}

/// Conditions that together meet every page; the last range has no end, in case the table grew.
fn ranges(pages: u64) -> Vec<Option<String>> {
    let count = pages.div_ceil(PIECE_PAGES).max(1);
    if count == 1 {
        return vec![None];
    }
    let range = |at: u64| {
        let from = format!("ctid >= '({},0)'", at * PIECE_PAGES);
        match at + 1 == count {
            true => from,
            false => format!("{from} AND ctid < '({},0)'", (at + 1) * PIECE_PAGES),
        }
    };
    (0..count).map(|at| Some(range(at))).collect()
}

/// One worker: copies pieces until none is left, and sends what went wrong, if anything did.
pub(super) async fn work(
    mut connection: Connection,
    queue: Arc<Mutex<Queue>>,
    chunks: mpsc::Sender<Result<Chunk>>,
) {
    loop {
        let piece = match queue.lock() {
            Ok(mut queue) => queue.pop_front(),
            Err(_) => None,
        };
        let Some(piece) = piece else { break };
        if let Err(error) = copy(&mut connection, &piece, &chunks).await {
            chunks.send(Err(error)).await.ok();
            return;
        }
    }
    connection.close().await;
}

async fn copy(
    connection: &mut Connection,
    piece: &Piece,
    chunks: &mpsc::Sender<Result<Chunk>>,
) -> Result<()> {
    let gone = || Error::transient("copy: the reader is gone");
    let chunk = |lines, last| Ok(Chunk { table: piece.table, lines, at: 0, last });
    connection.copy_out(&piece.doing, &piece.sql).await?;
    let mut lines = Vec::with_capacity(CHUNK + CHUNK / 8);
    while let Some(line) = connection.copied(&piece.doing).await? {
        lines.extend_from_slice(line);
        lines.push(b'\n');
        if lines.len() >= CHUNK {
            let full = std::mem::replace(&mut lines, Vec::with_capacity(CHUNK + CHUNK / 8));
            chunks.send(chunk(full, false)).await.map_err(|_| gone())?;
        }
    }
    chunks.send(chunk(lines, true)).await.map_err(|_| gone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_every_page() {
        assert_eq!(ranges(0), [None]);
        assert_eq!(ranges(8192), [None]);
        let three = ranges(8192 * 2 + 1);
        let three: Vec<_> = three.iter().map(|range| range.as_deref().unwrap_or_default()).collect();
        assert_eq!(
            three,
            [
                "ctid >= '(0,0)' AND ctid < '(8192,0)'",
                "ctid >= '(8192,0)' AND ctid < '(16384,0)'",
                "ctid >= '(16384,0)'"
            ]
        );
    }
}
