-- One row: since when the sink overwrites what it deletes (secure_delete). It is written only when the file has no free
-- pages, so that none was freed before.
CREATE TABLE _millstream_overwrites (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    since TEXT    NOT NULL
);
