-- What the sink keeps in the target. All names begin with _millstream_; no mapping may write to them.
-- {schema} is the quoted schema that the sink's options name.

-- How far each sink has applied the log: written in the transaction that holds the changes (I3).
CREATE TABLE {schema}._millstream_cursor (
    sink        text    NOT NULL,
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    log_id      text    NOT NULL, -- the log that the offset counts, 32 hexadecimal digits
    next_offset bigint  NOT NULL, -- the next offset that the sink wants
    PRIMARY KEY (sink, topic, partition)
) WITH (fillfactor = 50);

-- Which topics a sink writes to which tables, and the tables that a sink created: only those may have a column's type
-- widened when it changes in the source. A table that somebody else made is extended, never changed.
CREATE TABLE {schema}._millstream_tables (
    name    text    NOT NULL,
    sink    text    NOT NULL,
    topic   text    NOT NULL,
    created boolean NOT NULL,
    PRIMARY KEY (name, sink, topic)
);
