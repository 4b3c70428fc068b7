-- What the sink keeps in the target. All names begin with _millstream_; no mapping may write to them. Each statement can
-- be run again: MySQL commits after each, so a crash may come in between.

-- How far each sink has applied the log: written in the transaction that holds the changes (I3).
CREATE TABLE IF NOT EXISTS _millstream_cursor (
    sink        VARBINARY(255)  NOT NULL,
    topic       VARBINARY(1000) NOT NULL,
    `partition` INT UNSIGNED    NOT NULL,
    log_id      CHAR(32) CHARACTER SET ascii NOT NULL, -- the log that the offset counts
    next_offset BIGINT UNSIGNED NOT NULL,              -- the next offset that the sink wants
    PRIMARY KEY (sink, topic, `partition`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Which session of a sink may commit. A new session counts up, which waits for the transactions of the one before; what
-- that one begins later finds another number and gives up. So an answer that was lost after a COMMIT leaves no doubt.
CREATE TABLE IF NOT EXISTS _millstream_sessions (
    sink        VARBINARY(255)  NOT NULL PRIMARY KEY,
    session     BIGINT UNSIGNED NOT NULL,
    connections VARBINARY(1000) NOT NULL -- of the server, to end those that hold locks although their other end is gone
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The tables that a sink created. Only these may have the type of a column changed when it changes in the source: a table
-- that somebody else made is extended, never rebuilt.
CREATE TABLE IF NOT EXISTS _millstream_tables (
    name  VARBINARY(256)  NOT NULL PRIMARY KEY,
    sink  VARBINARY(255)  NOT NULL,
    topic VARBINARY(1000) NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
