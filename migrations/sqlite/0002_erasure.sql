-- One row: since when the sink overwrites what it deletes (secure_delete). It is written only when the file has no free
-- pages, so that none was freed before.
CREATE TABLE _millstream_overwrites (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    since TEXT    NOT NULL
);

-- Tables in which rows were erased, and whose pages may still hold bytes of them. Written in the transaction of the
-- erasure, removed when the pages were cleaned.
CREATE TABLE _millstream_unscrubbed (
    name TEXT NOT NULL COLLATE NOCASE PRIMARY KEY
) WITHOUT ROWID;
