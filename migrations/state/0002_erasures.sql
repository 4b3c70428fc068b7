-- What is known of the log's topic of erasures: one row.
CREATE TABLE erasure_state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    -- The next offset to read. It moves in the transaction of what was read.
    followed INTEGER NOT NULL,
    -- Hash of the public key that belongs to the key file; NULL until the first start with one.
    key_id   TEXT,
    -- A MAC over the newest entry of the ledger: who does not have the key file can neither cut nor rewrite the chain.
    head_mac BLOB
);
INSERT INTO erasure_state VALUES (1, 0, NULL, NULL);

CREATE TABLE erasure_cases (
    id           TEXT    PRIMARY KEY,
    "offset"     INTEGER NOT NULL,
    subject      TEXT    NOT NULL,
    key_hash     TEXT    NOT NULL,
    sealed       TEXT    NOT NULL,
    opened_by    TEXT    NOT NULL,
    opened_us    INTEGER NOT NULL,
    deadline_us  INTEGER NOT NULL,
    -- Due receipts that are not final.
    missing      INTEGER NOT NULL,
    completed_us INTEGER,
    -- The offset of the event that lifted the fence.
    lifted       INTEGER,
    -- When absence was last seen: at completion, then at each verification.
    checked_us   INTEGER,
    -- The last verification found rows.
    violated     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX erasure_cases_newest ON erasure_cases ("offset");
CREATE INDEX erasure_cases_subject ON erasure_cases (subject, key_hash, "offset");
CREATE INDEX erasure_cases_open ON erasure_cases (deadline_us) WHERE completed_us IS NULL;
CREATE INDEX erasure_cases_ready ON erasure_cases ("offset") WHERE completed_us IS NULL AND missing = 0;
CREATE INDEX erasure_cases_checked ON erasure_cases (subject, checked_us) WHERE completed_us IS NOT NULL AND lifted IS NULL;
CREATE INDEX erasure_cases_violated ON erasure_cases ("offset") WHERE violated = 1;

-- One row for each case and target. There is no foreign key: a sink may meet the event before the service followed it.
CREATE TABLE erasure_receipts (
    case_id  TEXT    NOT NULL,
    target   TEXT    NOT NULL,
    -- 1: the case is not complete without it.
    due      INTEGER NOT NULL,
    state    TEXT    NOT NULL CHECK (state IN ('awaited', 'prepared', 'final')),
    "offset" INTEGER NOT NULL,
    receipt  TEXT    CHECK ((receipt IS NULL) = (state = 'awaited')),
    -- When no bytes were left under the rows that the receipt is about, as far as the target knows.
    scrubbed_us INTEGER,
    PRIMARY KEY (case_id, target)
) WITHOUT ROWID;
CREATE INDEX erasure_receipts_waiting ON erasure_receipts (target, "offset") WHERE state <> 'final';

-- The ledger: append-only, hash-chained.
CREATE TABLE erasure_ledger (
    seq       INTEGER PRIMARY KEY,
    at_us     INTEGER NOT NULL,
    case_id   TEXT    NOT NULL,
    entry     TEXT    NOT NULL,
    prev_hash BLOB    NOT NULL CHECK (length(prev_hash) = 32),
    hash      BLOB    NOT NULL CHECK (length(hash) = 32)
);
CREATE INDEX erasure_ledger_case ON erasure_ledger (case_id);
CREATE TRIGGER erasure_ledger_no_update BEFORE UPDATE ON erasure_ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER erasure_ledger_no_delete BEFORE DELETE ON erasure_ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
-- Also refuses INSERT OR REPLACE, for which the trigger on DELETE does not run.
CREATE TRIGGER erasure_ledger_in_order BEFORE INSERT ON erasure_ledger
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM erasure_ledger)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
