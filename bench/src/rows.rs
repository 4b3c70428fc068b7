//! The changes of a workload for the bare loops, made before the clock starts.

use crate::Part;

pub enum Change {
    Upsert(Row),
    Delete(i64),
}

/// A row, as text where a driver would take text.
pub struct Row {
    pub id: i64,
    pub name: String,
    pub email: String,
    pub amount: String,
    pub n: i64,
    pub created_at: String,
    pub active: bool,
}

/// The change number `i` of a workload whose first one inserts so many rows.
pub fn change(part: Part, i: u64, inserts: u64) -> Change {
    let half = inserts / 2;
    match part {
        Part::W2 => Change::Upsert(row(1 + scatter(i) % inserts, i)),
        Part::W3 if i % 10 < 6 => Change::Upsert(row(inserts + 1 + i, 0)),
        Part::W3 if i % 10 < 9 => Change::Upsert(row(half + 1 + scatter(i) % half, i)),
        Part::W3 => Change::Delete((1 + (i / 10 * 7919) % half) as i64),
        _ => Change::Upsert(row(i + 1, 0)),
    }
}

/// The rows of a workload that only inserts or only updates.
pub fn upserts(part: Part, count: u64, inserts: u64) -> Vec<Row> {
    let row = |i| match change(part, i, inserts) {
        Change::Upsert(row) => Some(row),
        Change::Delete(_) => None,
    };
    (0..count).filter_map(row).collect()
}

/// The row of a key as the source has it; `revision` makes it differ from what is there.
fn row(id: u64, revision: u64) -> Row {
    Row {
        id: id as i64,
        name: format!("Customer number {id:09}"),
        email: format!("customer{id:09}@example.com"),
        amount: format!("{}.{:02}", (id + revision) % 1000, id % 100),
        n: (id % 1000 + revision) as i64,
        created_at: format!("2026-01-{:02} {:02}:{:02}:{:02}", 1 + id % 28, id % 24, id % 60, id % 60),
        active: id.is_multiple_of(2),
    }
}

/// A uniform number for a counter (the finalizer of splitmix64).
fn scatter(i: u64) -> u64 {
    let z = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) >> 1
}
