-- What the sink keeps in the target. All names begin with _millstream_; no mapping may write to them.

-- How far each sink has applied the log: written in the transaction that holds the changes (I3).
CREATE TABLE _millstream_cursor (
    sink        TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    log_id      TEXT    NOT NULL, -- the log that the offset counts, 32 hexadecimal digits
    next_offset INTEGER NOT NULL, -- the next offset that the sink wants
    PRIMARY KEY (sink, topic, partition)
) WITHOUT ROWID;

-- The tables that a sink created. Only these may be rebuilt when a column's type changes in the source: a table that
-- somebody else made is extended, never rebuilt.
CREATE TABLE _millstream_tables (
    name  TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
    sink  TEXT NOT NULL,
    topic TEXT NOT NULL
) WITHOUT ROWID;
