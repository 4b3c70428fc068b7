//! The workloads, generated inside the server so that loading is fast and the backlog is pure WAL.

use crate::Part;
use crate::source::Source;

/// The table of every workload; about 120 bytes a row.
pub const TABLE: &str = "CREATE TABLE bench(id bigserial PRIMARY KEY, name text, email text, amount numeric(12,2), \
     n int, created_at timestamptz, active bool)";

/// The columns without the id, for a row that is made from `g`.
const ROW: &str = "'Customer number ' || lpad(g::text, 9, '0'), 'customer' || lpad(g::text, 9, '0') || '@example.com', \
     (g % 100000) / 100.0, (g % 1000)::int, '2026-01-01Z'::timestamptz + g * interval '1 second', g % 2 = 0";

const COLUMNS: &str = "name, email, amount, n, created_at, active";

/// The row that ends a workload: when it has arrived, all has.
const SENTINEL: u64 = 4_000_000_000;

/// The sizes of a run. The row count of W1 is the key range of W2 and W3.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub inserts: u64,
    pub updates: u64,
    pub mixed: u64,
    pub huge: u64,
}

impl Sizes {
    pub fn new(quick: bool) -> Self {
        if quick {
            Self { inserts: 100_000, updates: 30_000, mixed: 20_000, huge: 500_000 }
        } else {
            Self { inserts: 1_000_000, updates: 300_000, mixed: 200_000, huge: 5_000_000 }
        }
    }

    /// Those of the sinks of databases; a quick run makes many copies, and takes few rows.
    pub fn for_sinks(quick: bool) -> Self {
        if quick { Self::with_inserts(20_000) } else { Self::new(false) }
    }

    /// Smaller ones, in the same proportions, for targets that take fewer rows a second.
    pub fn with_inserts(inserts: u64) -> Self {
        Self { inserts, updates: inserts * 3 / 10, mixed: inserts / 5, huge: inserts }
    }

    /// The changes of one part, its sentinel included.
    pub fn changes(&self, part: Part) -> u64 {
        1 + match part {
            Part::W1 => self.inserts,
            Part::W2 => self.updates,
            Part::W3 => self.mixed,
            Part::Huge => self.huge,
            _ => 0,
        }
    }
}

/// Changes per source transaction.
pub fn transaction_size(part: Part) -> u64 {
    match part {
        Part::W1 => 1000,
        Part::W2 => 100,
        _ => 1,
    }
}

/// A generated backlog.
pub struct Backlog {
    /// The id of the row that was inserted last.
    pub sentinel: u64,
    /// A position that a reader has passed only with everything but this row behind it.
    pub before_sentinel: String,
    /// The position behind it.
    pub end: String,
}

/// Generates a workload and ends it with its sentinel, fsynced.
pub fn load(source: &Source, part: Part, sizes: Sizes) -> Backlog {
    let session = &source.session;
    // Only the load: the drains meet a server that commits as it should.
    session.execute("SET synchronous_commit = off; SELECT setseed(0.5)");
    session.execute(&statements(part, sizes));
    let sentinel = SENTINEL + part as u64;
    session.execute("SET synchronous_commit = on");
    let before_sentinel = session.value("SELECT pg_current_wal_insert_lsn()");
    session.execute(&format!(
        "INSERT INTO bench(id, {COLUMNS}) SELECT {sentinel}, {ROW} FROM (VALUES ({sentinel})) v(g)"
    ));
    let end = session.value("SELECT pg_current_wal_lsn()");
    // What the drains run beside should not be the load's dirty pages.
    session.execute("CHECKPOINT");
    Backlog { sentinel, before_sentinel, end }
}

fn statements(part: Part, sizes: Sizes) -> String {
    let insert = |rows: &str| format!("INSERT INTO bench({COLUMNS}) SELECT {ROW} FROM {rows} g");
    let (body, times) = match part {
        Part::W1 => (insert("generate_series(i * 1000 + 1, (i + 1) * 1000)"), sizes.inserts / 1000),
        Part::W2 => {
            let key = random_key("1", sizes.inserts);
            let update =
                "UPDATE bench SET n = n + 1, amount = amount + 0.01, active = NOT active WHERE id = k";
            (format!("FOR j IN 1..100 LOOP {key}; {update}; END LOOP"), sizes.updates / 100)
        }
        Part::W3 => (mixed(sizes), sizes.mixed),
        Part::Huge => return insert(&format!("generate_series(1, {})", sizes.huge)),
        _ => return String::new(),
    };
    format!("DO $$ DECLARE k bigint; BEGIN FOR i IN 0..{} LOOP {body}; COMMIT; END LOOP; END $$", times - 1)
}

/// Sets `k` to one of `count` keys. A variable, and not `random()` in the statement: that would be asked anew for
/// every row of the table.
fn random_key(first: &str, count: u64) -> String {
    format!("k := {first} + floor(random() * {count})::bigint")
}

/// Deletes take each key of the lower half once, in scattered order, and updates stay in the upper half, so that
/// every transaction changes exactly one row.
fn mixed(sizes: Sizes) -> String {
    let half = sizes.inserts / 2;
    let key = random_key(&format!("{half} + 1"), half);
    format!(
        "IF i % 10 < 6 THEN INSERT INTO bench({COLUMNS}) SELECT {ROW} FROM (VALUES (i)) v(g); \
         ELSIF i % 10 < 9 THEN {key}; UPDATE bench SET n = n + 1, amount = amount + 0.01 WHERE id = k; \
         ELSE DELETE FROM bench WHERE id = 1 + (i / 10 * 7919) % {half}; END IF"
    )
}
