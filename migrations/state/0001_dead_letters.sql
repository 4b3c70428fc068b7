-- Records that a sink could not apply, with all that is needed to show them and to try again.
CREATE TABLE dead_letters (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    sink        TEXT    NOT NULL,
    topic       TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    "offset"    INTEGER NOT NULL,
    -- Key bytes as the log encodes them; NULL for a record without a key. Later records of a key that waits here
    -- wait behind it, so that order per key holds.
    key         BLOB,
    attributes  INTEGER NOT NULL,
    value       BLOB    NOT NULL,
    schema      BLOB    NOT NULL,
    source_xid  INTEGER NOT NULL,
    source_us   INTEGER NOT NULL,
    error       TEXT    NOT NULL,
    failed_us   INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    UNIQUE (sink, topic, partition, "offset")
);
